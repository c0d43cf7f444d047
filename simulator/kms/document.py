"""`python -m simulator.kms.document`: an attestation document that the simulator believes, from the fake NSM.

For enclave code in other languages, which has no NSM on a development machine: give it the document instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from enclave.nsm import PCR_BYTES, NsmError
from simulator.nsm import LOCKED_AT_BOOT, FakeNsm
from simulator.pki import NitroPki


def main() -> int:
    """Write one document to standard output or a file."""
    options = _options()
    try:
        nsm = FakeNsm(
            NitroPki.open(options.state), measurements=dict(options.pcr), module_id=options.module_id
        )
        document = nsm.attest(
            options.user_data, options.nonce, options.public_key.read_bytes() if options.public_key else None
        )
    except (NsmError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.out is None:
        sys.stdout.buffer.write(document)
    else:
        options.out.write_bytes(document)
    return 0


def _pcr(text: str) -> tuple[int, bytes]:
    index, separator, value = text.partition("=")
    if not (separator and index.isascii() and index.isdigit() and int(index) < LOCKED_AT_BOOT):
        raise argparse.ArgumentTypeError(f"a PCR is INDEX=HEX, the index below {LOCKED_AT_BOOT}")
    measured = bytes.fromhex(value)
    if len(measured) != PCR_BYTES:
        raise argparse.ArgumentTypeError(f"a PCR has {PCR_BYTES} bytes")
    return int(index), measured


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.kms.document",
        description="Mint an attestation document under the simulated Nitro root. It is valid for five minutes.",
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the simulator's own")
    parser.add_argument(
        "--pcr",
        type=_pcr,
        action="append",
        default=[],
        metavar="INDEX=HEX",
        help="a measurement (repeatable); PCR0, 1 and 2 must not be zero, or the enclave counts as debugged",
    )
    parser.add_argument(
        "--public-key", type=Path, metavar="FILE", help="RSA key in DER (SubjectPublicKeyInfo)"
    )
    parser.add_argument("--nonce", type=bytes.fromhex, metavar="HEX")
    parser.add_argument("--user-data", type=bytes.fromhex, metavar="HEX")
    parser.add_argument("--module-id", metavar="ID", help="default: a fresh one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
