"""``python -m simulator.enclave``: the enclave's own parts over a fake NSM and unix sockets. The composition root of mock mode.

What differs from production is exactly what stands in this file: who signs attestation documents, what the PCRs hold, and how the
host is reached. Its documents are signed by the simulator's root, which no production client accepts.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from enclave.app import Parts, run
from protocol.envelope.address import Address
from simulator.measure import measurements
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    options = _options()
    parts = Parts(
        nsm=FakeNsm(NitroPki.open(options.state), measurements=measurements()),
        listen=options.listen,
        storage=options.storage,
        tunnel=options.tunnel,
    )
    asyncio.run(_until_terminated(parts))
    return 0


async def _until_terminated(parts: Parts) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(parts, stop)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.enclave",
        description="The enclave under mock attestation. It protects nothing: anyone with access to this machine can read its memory.",
    )
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="holds the simulated Nitro root"
    )
    parser.add_argument(
        "--listen", type=Address.parse, required=True, metavar="ADDRESS", help="where the host connects to"
    )
    parser.add_argument(
        "--storage", type=Address.parse, required=True, metavar="ADDRESS", help="the host's storage port"
    )
    parser.add_argument(
        "--tunnel", type=Address.parse, required=True, metavar="ADDRESS", help="the host's tunnel port"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
