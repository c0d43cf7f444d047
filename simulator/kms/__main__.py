"""`python -m simulator.kms`: run the fake KMS until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from attestation.policy import AWS_NITRO_ROOT_G1, TrustPolicy
from simulator.kms.faults import Injection
from simulator.kms.policy import ACCOUNT
from simulator.kms.principals import is_caller
from simulator.kms.server import REGION, KmsSimulator
from simulator.kms.sigv4 import Credential
from simulator.pki import NitroPki, write_private

SIMULATED: Final = "simulated"


def main() -> int:
    """Serve; print one line when ready."""
    parser = _parser()
    options = parser.parse_args()
    own_root = NitroPki.open(options.state).root_sha256
    roots = frozenset(own_root if root == SIMULATED else root for root in options.root_sha256 or [SIMULATED])
    try:
        simulator = KmsSimulator(
            options.state,
            trust=TrustPolicy(roots=roots),
            host=options.host,
            port=options.port,
            region=options.region,
            account=options.account,
            names=tuple(options.name),
            credentials=_credentials(options.credentials),
            principals=dict(options.principal),
            log=options.log,
        )
    except (OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    for injection in options.fault:
        simulator.faults.add(injection)
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


def _credentials(file: Path | None) -> dict[str, Credential] | None:
    if file is None:
        return None
    return {name: Credential(**members) for name, members in json.loads(file.read_bytes()).items()}


def _principal(text: str) -> tuple[str, str]:
    access_key, _, arn = text.partition("=")
    if not access_key or not is_caller(arn):
        raise argparse.ArgumentTypeError("a principal is ACCESS_KEY_ID=ARN of a user or of a role's session")
    return access_key, arn


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.kms",
        description="A KMS stand-in that checks Nitro attestation documents. It protects nothing.",
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
    parser.add_argument(
        "--aws-root",
        dest="root_sha256",
        action="append_const",
        const=AWS_NITRO_ROOT_G1,
        help="believe documents of real enclaves",
    )
    parser.add_argument(
        "--simulated-root",
        dest="root_sha256",
        action="append_const",
        const=SIMULATED,
        help="believe documents of the fake NSM, too, when other roots are given",
    )
    parser.add_argument(
        "--name", action="append", default=[], help="a further host name for the certificate (repeatable)"
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help='check signatures with these secrets, {"ID": {"secret_access_key": "…", "session_token": "…"}}; '
        "default: any access key passes",
    )
    parser.add_argument(
        "--principal",
        type=_principal,
        action="append",
        default=[],
        metavar="ID=ARN",
        help="whose the access key is (repeatable; default: a user of the same name)",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="append a CloudTrail event for each call")
    parser.add_argument(
        "--fault",
        type=Injection.parse,
        action="append",
        default=[],
        metavar="SPEC",
        help="misbehave: FAULT[:OPERATION][*TIMES|*always][@SECONDS] (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="print the ready line as one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
