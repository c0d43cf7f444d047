"""`python -m simulator.kms`: run the fake KMS until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from attestation.policy import TrustPolicy
from simulator.kms.policy import ACCOUNT
from simulator.kms.server import REGION, KmsSimulator
from simulator.pki import NitroPki, write_private


def main() -> int:
    """Serve; print one line when ready."""
    options = _options()
    roots = frozenset(options.root_sha256) or frozenset({NitroPki.open(options.state).root_sha256})
    simulator = KmsSimulator(
        options.state,
        trust=TrustPolicy(roots=roots),
        host=options.host,
        port=options.port,
        region=options.region,
        account=options.account,
    )
    ca_file = options.state / "kms-ca.pem"
    write_private(ca_file, simulator.ca_pem)
    finished = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: finished.set())
    with simulator:
        if options.json:
            ready = {
                "ready": True,
                "url": simulator.url,
                "port": simulator.port,
                "ca_file": str(ca_file),
                "region": simulator.region,
                "account": simulator.account,
                "roots": sorted(roots),
            }
            print(json.dumps(ready), flush=True)
        else:
            print(f"KMS simulator ready at {simulator.url} (CA certificate: {ca_file})", flush=True)
        finished.wait()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.kms",
        description="A KMS stand-in that checks Nitro attestation documents. Any access key is accepted.",
    )
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="keeps keys and certificates"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--region", default=REGION, help="region of the keys (default: %(default)s)")
    parser.add_argument("--account", default=ACCOUNT, help="account of the keys (default: %(default)s)")
    parser.add_argument(
        "--root-sha256",
        action="append",
        default=[],
        metavar="HEX",
        help="believe documents under this root (repeatable; default: the simulated Nitro root in DIR)",
    )
    parser.add_argument("--json", action="store_true", help="print the ready line as one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
