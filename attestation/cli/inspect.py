"""`python -m attestation inspect`: everything that a document says, none of it verified."""

from __future__ import annotations

import argparse
import hashlib
from typing import Any, Final

from attestation import describe
from attestation.cli import options as opts
from attestation.cli.output import (
    MEANINGS,
    field,
    hex_or_none,
    hex_pcrs,
    print_json,
    print_refusal,
    printable,
    rfc3339,
)
from attestation.document import MAX_DOCUMENT, AttestationDocument, parse
from attestation.errors import AttestationError

WARNING: Final = (
    "NOTHING HERE IS VERIFIED: anybody can write such a document. Use `verify` to find out who did."
)
_DESCRIPTION: Final = """\
Show everything that an attestation document says: fields, PCRs, times, certificates. VERIFIES NOTHING: no root, no
chain, no signature, no time. A forged document looks the same. Only the form is checked, as far as it must be
to read it.
"""


def add_to(commands: opts.Commands) -> None:
    """Add the command."""
    command = opts.add_command(
        commands,
        "inspect",
        _run,
        help_="show what a document says, WITHOUT verifying anything",
        description=_DESCRIPTION,
        epilog="exit status: 0 the document could be read; 1 it could not; 2 bad usage",
    )
    command.add_argument("file", metavar="FILE", help="the document; - reads standard input")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    raw = opts.read(parser, options.file, MAX_DOCUMENT)
    try:
        document = parse(raw)
    except AttestationError as error:
        print_refusal(error, as_json=options.json)
        return 1
    certificates = describe.certificates(document)
    if options.json:
        print_json(_fields(raw, document, certificates))
    else:
        _print(raw, document, certificates)
    return 0


def _fields(raw: bytes, document: AttestationDocument, certificates: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "verified": False,
        "warning": WARNING,
        "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "tagged": raw.startswith(b"\xd2"),
        "module_id": document.module_id,
        "timestamp": rfc3339(document.issued_at),
        "timestamp_ms": document.timestamp_ms,
        "digest": document.digest,
        "pcrs": hex_pcrs(document.pcrs),
        "public_key": hex_or_none(document.public_key),
        "user_data": hex_or_none(document.user_data),
        "nonce": hex_or_none(document.nonce),
        "certificates": [
            {
                name: rfc3339(value) if name.startswith("not_") else value
                for name, value in certificate.items()
            }
            for certificate in certificates
        ],
        "signature": document.signature.hex(),
    }


def _print(raw: bytes, document: AttestationDocument, certificates: list[dict[str, Any]]) -> None:
    print(WARNING)
    field("size", f"{len(raw)} bytes{', with COSE tag 18' if raw.startswith(bytes([0xD2])) else ''}")
    field("module", document.module_id)
    field("issued", f"{rfc3339(document.issued_at)} ({document.timestamp_ms} ms)")
    field("digest", document.digest)
    for index, value in document.pcrs.items():
        shown = value.hex() if any(value) else "zero"
        field(f"PCR{index}", f"{shown}{f'  ({MEANINGS[index]})' if index in MEANINGS else ''}")
    for name, content in (
        ("public_key", document.public_key),
        ("user_data", document.user_data),
        ("nonce", document.nonce),
    ):
        field(name, None if content is None else f"{content.hex() or '(empty)'}  ({len(content)} bytes)")
    for position, certificate in enumerate(certificates):
        last = position == len(certificates) - 1
        print(f"  certificate {'of the enclave (leaf)' if last else f'{position} of the bundle'}")
        _print_certificate(certificate)
    field("signature", document.signature.hex())
    print(WARNING)


def _print_certificate(certificate: dict[str, Any]) -> None:
    def line(name: str, value: object) -> None:
        print(f"    {name:<10} {value}")

    line("sha256", certificate["sha256"])
    if certificate["malformed"]:
        line("malformed", f"{certificate['size']} bytes that cannot be parsed as a certificate")
        return
    line("subject", printable(certificate["subject"]))
    line("issuer", printable(certificate["issuer"]))
    line("serial", certificate["serial"])
    line("valid", f"{rfc3339(certificate['not_before'])} to {rfc3339(certificate['not_after'])}")
    line("key", f"{certificate['key']}, signed with {certificate['signature_algorithm']}")
    limit = "no limit" if certificate["path_length"] is None else certificate["path_length"]
    line("CA", f"yes, path length {limit}" if certificate["ca"] else "no")
    line("usage", ", ".join(certificate["key_usage"]) or "-")
    if certificate["critical"]:
        line("critical", ", ".join(certificate["critical"]))
