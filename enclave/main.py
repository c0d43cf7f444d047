"""The production composition root: the real NSM device, vsock, and nothing that could be chosen otherwise."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from protocol.envelope.address import VMADDR_CID_ANY, VSOCK_PARENT_CID, Address

from . import log
from .app import Parts, run
from .nsm import NsmError, open_device

LISTEN_PORT: Final = 5000
STORAGE_PORT: Final = 5001
TUNNEL_PORT: Final = 5002


def main() -> int:
    """Run the enclave until the parent stops it; 1 where there is no NSM device, without which there is no enclave."""
    try:
        nsm = open_device()
    except NsmError as error:
        log.event("no_nsm_device", code=error.code)
        return 1
    parts = Parts(
        nsm=nsm,
        listen=Address("vsock", str(VMADDR_CID_ANY), LISTEN_PORT),
        storage=Address("vsock", str(VSOCK_PARENT_CID), STORAGE_PORT),
        tunnel=Address("vsock", str(VSOCK_PARENT_CID), TUNNEL_PORT),
    )
    asyncio.run(_until_terminated(parts))
    return 0


async def _until_terminated(parts: Parts) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(parts, stop)
