"""`python -m attestation verify`."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Final

from attestation import policy_file
from attestation.cli import options as opts
from attestation.cli.output import field, hex_or_none, hex_pcrs, print_json, print_refusal, rfc3339, warn
from attestation.document import MAX_DOCUMENT, MAX_USER_FIELD
from attestation.errors import AttestationError
from attestation.policy import AWS_NITRO_ROOT_G1, DEFAULT_MAX_AGE, IMAGE_PCRS, TrustPolicy
from attestation.strict_json import FileError
from attestation.verify import VerifiedAttestation, verify

_DESCRIPTION: Final = """\
Check one attestation document (COSE_Sign1, binary): structure, root, certificate chain, signature, age,
debug mode, and whatever --policy or the other options name. Without measurements the result means only
«some Nitro enclave, not in debug mode».
"""
_EPILOG: Final = """\
exit status: 0 the document verifies; 1 it does not (the code and the failing step are printed); 2 bad usage,
or a policy file that is not one

examples:
  python -m attestation verify document.cbor --policy trust.json --nonce HEX
  python -m attestation verify document.cbor --pcr 0=HEX --pcr 1=HEX --pcr 2=HEX --nonce HEX
  python -m attestation verify archived.cbor --policy trust.json --at issued --json
"""


def add_to(commands: opts.Commands) -> None:
    """Add the command."""
    command = opts.add_command(
        commands, "verify", _run, help_="verify one document", description=_DESCRIPTION, epilog=_EPILOG
    )
    command.add_argument("file", metavar="FILE", help="the document; - reads standard input")
    command.add_argument(
        "--policy",
        metavar="FILE",
        help="the trust policy: roots, releases, PCRs, age (`policy` writes one; format: README.md)",
    )
    command.add_argument(
        "--pcr",
        metavar="N=HEX",
        type=opts.pcr,
        action="append",
        help="require PCR N (0 to 31) to be HEX (48 bytes); the same N again allows either value. Values of "
        "different PCRs are not tied to each other: for two releases at once use --policy",
    )
    command.add_argument("--nonce", metavar="HEX", type=opts.hex_bytes, help="require this nonce")
    command.add_argument("--user-data", metavar="HEX", type=opts.hex_bytes, help="require this user_data")
    command.add_argument(
        "--public-key", metavar="FILE", help="require the public key to be exactly the bytes of FILE (DER)"
    )
    command.add_argument(
        "--at",
        metavar="TIME",
        type=opts.moment,
        default="now",
        help="time of judgement: now (default), issued (the document's own timestamp, for archives), or RFC 3339",
    )
    command.add_argument(
        "--max-age",
        metavar="SECONDS",
        type=opts.seconds,
        help=f"how old the document may be at that time (default: {DEFAULT_MAX_AGE.seconds})",
    )
    command.add_argument(
        "--root-sha256",
        metavar="HEX",
        type=opts.fingerprint,
        action="append",
        help="trust the root certificate with this SHA-256 instead of AWS Nitro Enclaves Root G1 (repeatable)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    policy = _policy(parser, options)
    raw = opts.read(parser, options.file, MAX_DOCUMENT)
    public_key = opts.read(parser, options.public_key, MAX_USER_FIELD) if options.public_key else None
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
        print_refusal(error, as_json=options.json)
        return 1
    if options.json:
        print_json(_fields(verified, policy))
    else:
        _print(verified, policy)
    return 0


def _policy(parser: argparse.ArgumentParser, options: argparse.Namespace) -> TrustPolicy:
    if options.policy is None:
        max_age = DEFAULT_MAX_AGE if options.max_age is None else timedelta(seconds=options.max_age)
        return TrustPolicy(
            roots=frozenset(options.root_sha256 or {AWS_NITRO_ROOT_G1}),
            pcrs=opts.pcr_sets(options.pcr or []),
            max_age=max_age,
        )
    # What the file does not allow, no option should: the file is the reviewed part of a command line.
    for name in ("pcr", "max_age", "root_sha256"):
        if getattr(options, name) is not None:
            parser.error(
                f"--policy and --{name.replace('_', '-')} exclude each other: write it into the file"
            )
    try:
        return policy_file.load(opts.read(parser, options.policy, policy_file.MAX_BYTES))
    except FileError as error:
        parser.error(f"{options.policy} is no trust policy: {error}")


def _fields(verified: VerifiedAttestation, policy: TrustPolicy) -> dict[str, object]:
    return {
        "verified": True,
        "module_id": verified.module_id,
        "timestamp": rfc3339(verified.issued_at),
        "timestamp_ms": verified.document.timestamp_ms,
        "digest": verified.document.digest,
        "release": verified.release.name if verified.release else None,
        "pcrs": hex_pcrs(verified.pcrs),
        "pinned_pcrs": _pinned(verified, policy),
        "public_key": hex_or_none(verified.public_key),
        "user_data": hex_or_none(verified.user_data),
        "nonce": hex_or_none(verified.nonce),
        "root_sha256": verified.root_sha256,
        "checked_at": rfc3339(verified.checked_at),
        "age_s": verified.age_s,
    }


def _pinned(verified: VerifiedAttestation, policy: TrustPolicy) -> list[int]:
    """The PCRs that the policy, and the release that the document is of, had something to say about."""
    return sorted({*policy.pcrs, *(verified.release.pcrs if verified.release else ())})


def _print(verified: VerifiedAttestation, policy: TrustPolicy) -> None:
    pinned = _pinned(verified, policy)
    print("VERIFIED")
    field("module", verified.module_id)
    field(
        "issued",
        f"{rfc3339(verified.issued_at)} (judged at {rfc3339(verified.checked_at)}, {verified.age_s:.3f} s later)",
    )
    named = " (AWS Nitro Enclaves Root G1)" if verified.root_sha256 == AWS_NITRO_ROOT_G1 else ""
    field("root", f"{verified.root_sha256}{named}")
    if verified.release:
        field("release", verified.release.name or "(unnamed)")
    for index, value in verified.pcrs.items():
        # Twelve of the sixteen are normally zero; a person wants to see the others.
        if index in pinned or any(value):
            field(f"PCR{index}", f"{value.hex()}{' (pinned)' if index in pinned else ''}")
    for name, content in (
        ("public_key", verified.public_key),
        ("user_data", verified.user_data),
        ("nonce", verified.nonce),
    ):
        field(name, hex_or_none(content))
    if not IMAGE_PCRS.issubset(pinned):
        warn("PCR0, PCR1 and PCR2 are not all pinned, so this may be another image")
