"""`python -m simulator.issuer`: run the JWT issuer until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from simulator.issuer.server import AUDIENCE, ISSUER, JWKS_PATH, IssuerSimulator
from simulator.pki import write_private

ROLE: Final = "AKIAMOCKISSUERUSER"  # the simulator takes the access key id for the user's name


def main() -> int:
    """Serve; print one line when ready."""
    options = _options()
    ca_file = options.kms_ca or options.state / "kms-ca.pem"
    kms = boto3.client(
        "kms",
        region_name=options.region,
        endpoint_url=options.kms,
        verify=str(ca_file),
        aws_access_key_id=ROLE,
        aws_secret_access_key=secrets.token_hex(16),
        config=Config(proxies={}, retries={"max_attempts": 1}),
    )
    issuer = IssuerSimulator(
        options.state,
        kms,
        options.kms_key or _own_key(options.state, kms),
        issuer=options.issuer,
        audiences=options.audience or [AUDIENCE],
        environment=options.environment,
        host=options.host,
        port=options.port,
        names=tuple(options.name),
    )
    own_ca = options.state / "issuer-ca.pem"
    write_private(own_ca, issuer.ca_pem)
    finished = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: finished.set())
    with issuer:
        if options.json:
            ready = {
                "ready": True,
                "url": issuer.url,
                "port": issuer.port,
                "ca_file": str(own_ca),
                "issuer": options.issuer,
                "jwks_path": JWKS_PATH,
            }
            print(json.dumps(ready), flush=True)
        else:
            print(f"JWT issuer {options.issuer} ready at {issuer.url} (CA certificate: {own_ca})", flush=True)
        finished.wait()
    return 0


def _own_key(state: Path, kms: Any) -> str:  # noqa: ANN401  (boto3 makes client classes at run time)
    """The KMS key that was created at the first start."""
    file = state / "issuer-kms-key-arn"
    if not file.exists():
        made = kms.create_key(Description="Signing keys of the mock issuer")
        write_private(file, str(made["KeyMetadata"]["Arn"]).encode())
    return file.read_text()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.issuer",
        description="A stock JWT issuer for the mock stack. It gives a token for any user to whoever asks.",
    )
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="keeps keys and certificates"
    )
    parser.add_argument("--kms", required=True, metavar="URL", help="the KMS that wraps the signing keys")
    parser.add_argument(
        "--kms-ca", type=Path, metavar="FILE", help="its TLS authority (default: kms-ca.pem in DIR)"
    )
    parser.add_argument("--kms-key", metavar="ARN", help="its key (default: one created at the first start)")
    parser.add_argument("--region", default="us-east-1", help="its region (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument(
        "--name", action="append", default=[], help="a further host name for the certificate (repeatable)"
    )
    parser.add_argument("--issuer", default=ISSUER, metavar="NAME", help="claim iss (default: %(default)s)")
    parser.add_argument(
        "--audience", action="append", metavar="NAME", help=f"claim aud (repeatable; default: {AUDIENCE})"
    )
    parser.add_argument(
        "--environment", default="", metavar="ID", help="claim environment_id (default: none)"
    )
    parser.add_argument("--json", action="store_true", help="print the ready line as one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
