"""The command `python -m attestation`: exit 0 when a document verifies, 1 when it does not, 2 for bad
usage.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from attestation.document import MAX_DOCUMENT, MAX_USER_FIELD, PCR_BYTES, PCR_COUNT
from attestation.errors import STEPS, AttestationError
from attestation.policy import AWS_NITRO_ROOT_G1, DEFAULT_MAX_AGE, TrustPolicy
from attestation.verify import ISSUED, Moment, VerifiedAttestation, verify

_DESCRIPTION: Final = "Verify attestation documents of AWS Nitro Enclaves."
_VERIFY_DESCRIPTION: Final = """\
Check one attestation document (COSE_Sign1, binary): structure, root, certificate chain, signature, age,
debug mode, and whatever the options name. Without --pcr the result means only «some Nitro enclave, not in
debug mode».
"""
_EPILOG: Final = """\
exit status: 0 the document verifies; 1 it does not (the code and the failing step are printed); 2 bad usage

examples:
  python -m attestation verify document.cbor --pcr 0=HEX --pcr 1=HEX --pcr 2=HEX --nonce HEX
  python -m attestation verify archived.cbor --at issued --json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on `arguments` (default: the process's own); return the exit status, or exit 2 on bad
    usage.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    policy = TrustPolicy(
        roots=frozenset(options.root_sha256 or {AWS_NITRO_ROOT_G1}),
        pcrs=_pcr_policy(options.pcr),
        max_age=timedelta(seconds=options.max_age),
    )
    try:
        raw = _read(options.file, MAX_DOCUMENT)
        public_key = _read(options.public_key, MAX_USER_FIELD) if options.public_key else None
    except OSError as error:
        parser.error(f"cannot read {error.filename}: {error.strerror}")
    try:
        verified = verify(
            raw,
            policy=policy,
            at=options.at,
            nonce=options.nonce,
            user_data=options.user_data,
            public_key=public_key,
        )
    except AttestationError as error:
        _print_refusal(error, as_json=options.json)
        return 1
    _print_verified(verified, policy, as_json=options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m attestation", description=_DESCRIPTION)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "verify",
        help="verify one document",
        description=_VERIFY_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the document; - reads standard input")
    command.add_argument(
        "--pcr",
        metavar="N=HEX",
        type=_pcr,
        action="append",
        default=[],
        help="require PCR N (0 to 31) to be HEX (48 bytes); the same N again allows either value",
    )
    command.add_argument("--nonce", metavar="HEX", type=_hex, help="require this nonce")
    command.add_argument("--user-data", metavar="HEX", type=_hex, help="require this user_data")
    command.add_argument(
        "--public-key", metavar="FILE", help="require the public key to be exactly the bytes of FILE (DER)"
    )
    command.add_argument(
        "--at",
        metavar="TIME",
        type=_moment,
        default="now",
        help="time of judgement: now (default), issued (the document's own timestamp, for archives), or RFC 3339",
    )
    command.add_argument(
        "--max-age",
        metavar="SECONDS",
        type=_seconds,
        default=DEFAULT_MAX_AGE.seconds,
        help="how old the document may be at that time (default: %(default)s)",
    )
    command.add_argument(
        "--root-sha256",
        metavar="HEX",
        type=_fingerprint,
        action="append",
        help="trust the root certificate with this SHA-256 instead of AWS Nitro Enclaves Root G1 (repeatable)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _hex(text: str) -> bytes:
    # bytes.fromhex alone would let spaces pass.
    if not re.fullmatch("([0-9a-fA-F]{2})+", text):
        raise argparse.ArgumentTypeError("not an even, positive number of hex digits")
    return bytes.fromhex(text)


def _fingerprint(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError("a SHA-256 has 64 hex digits")
    return text.lower()


def _pcr(text: str) -> tuple[int, bytes]:
    match = re.fullmatch(r"([0-9]{1,2})=([0-9a-fA-F]+)", text)
    if not match or int(match[1]) >= PCR_COUNT or len(match[2]) != 2 * PCR_BYTES:
        raise argparse.ArgumentTypeError("not N=HEX with N from 0 to 31 and 96 hex digits")
    return int(match[1]), bytes.fromhex(match[2])


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text):
        raise argparse.ArgumentTypeError("not a whole number of seconds")
    return int(text)


def _moment(text: str) -> datetime | Moment:
    if text == "now":
        return datetime.now(UTC)
    if text == "issued":
        return ISSUED
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text):
        raise argparse.ArgumentTypeError("neither now, issued, nor RFC 3339 such as 2025-12-25T16:04:19Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"no such time: {error}") from error


def _pcr_policy(pairs: list[tuple[int, bytes]]) -> dict[int, frozenset[bytes]]:
    allowed: defaultdict[int, set[bytes]] = defaultdict(set)
    for index, value in pairs:
        allowed[index].add(value)
    return {index: frozenset(values) for index, values in allowed.items()}


def _read(name: str, limit: int) -> bytes:
    """At most one byte more than `limit`: enough to notice that a file is too long."""
    if name == "-":
        return sys.stdin.buffer.read(limit + 1)
    with Path(name).open("rb") as file:
        return file.read(limit + 1)


def _print_refusal(error: AttestationError, *, as_json: bool) -> None:
    if as_json:
        refusal = {"verified": False, "code": error.code, "step": error.step, "message": error.message}
        print(json.dumps(refusal))
        return
    print("NOT VERIFIED")
    print(f"  code     {error.code}")
    print(f"  step     {error.step} ({STEPS[error.step]})")
    print(f"  message  {error.message}")


def _print_verified(verified: VerifiedAttestation, policy: TrustPolicy, *, as_json: bool) -> None:
    fields = {
        "verified": True,
        "module_id": verified.module_id,
        "timestamp": _rfc3339(verified.issued_at),
        "timestamp_ms": verified.document.timestamp_ms,
        "digest": verified.document.digest,
        "pcrs": {str(index): value.hex() for index, value in verified.pcrs.items()},
        "pinned_pcrs": sorted(policy.pcrs),
        "public_key": _hex_or_none(verified.public_key),
        "user_data": _hex_or_none(verified.user_data),
        "nonce": _hex_or_none(verified.nonce),
        "root_sha256": verified.root_sha256,
        "checked_at": _rfc3339(verified.checked_at),
        "age_s": verified.age_s,
    }
    if as_json:
        print(json.dumps(fields))
        return
    root = " (AWS Nitro Enclaves Root G1)" if verified.root_sha256 == AWS_NITRO_ROOT_G1 else ""
    print("VERIFIED")
    print(f"  module     {fields['module_id']}")
    print(
        f"  issued     {fields['timestamp']} (judged at {fields['checked_at']}, {verified.age_s:.3f} s later)"
    )
    print(f"  root       {fields['root_sha256']}{root}")
    for index, value in verified.pcrs.items():
        # Twelve of the sixteen are normally zero; a person wants to see the others.
        if index in policy.pcrs or any(value):
            print(f"  PCR{index:<6}  {value.hex()}{' (pinned)' if index in policy.pcrs else ''}")
    for name in ("public_key", "user_data", "nonce"):
        print(f"  {name:<10} {fields[name] if fields[name] is not None else '-'}")
    if not {0, 1, 2} <= policy.pcrs.keys():
        print(
            "warning: PCR0, PCR1 and PCR2 are not all pinned, so this may be another image", file=sys.stderr
        )


def _hex_or_none(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
