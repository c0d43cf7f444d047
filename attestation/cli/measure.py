"""`python -m attestation measure`."""

from __future__ import annotations

import argparse
import hashlib
from typing import Final

from attestation.cli import options as opts
from attestation.cli.output import MEANINGS, field, hex_pcrs, print_json, printable, rfc3339
from attestation.eif import EifError, Measurements, measure

_DESCRIPTION: Final = """\
Measure an enclave image file (EIF, version 4): the PCR0, PCR1 and PCR2 that an enclave started from it has, and PCR8
if the image is signed. Structure, CRC and signature are checked first; an image that two readers could measure
differently is refused. Headers and metadata are not measured: attestation says nothing about them.
"""


def add_to(commands: opts.Commands) -> None:
    """Add the command."""
    command = opts.add_command(
        commands,
        "measure",
        _run,
        help_="measure an enclave image file",
        description=_DESCRIPTION,
        epilog="exit status: 0 measured; 1 the image is refused (the code is printed); 2 bad usage",
    )
    command.add_argument("file", metavar="IMAGE", help="the image file; - reads standard input")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    try:
        with opts.opened(parser, options.file) as file:
            measured = measure(file)
    except EifError as error:
        if options.json:
            print_json({"measured": False, "code": error.code, "message": error.message})
        else:
            print("NOT MEASURED")
            print(f"  code     {error.code}")
            print(f"  message  {error.message}")
        return 1
    if options.json:
        print_json(_fields(measured))
    else:
        _print(measured)
    return 0


def _fields(measured: Measurements) -> dict[str, object]:
    signer = measured.signer
    return {
        "measured": True,
        "pcrs": hex_pcrs(measured.pcrs),
        "signer": signer
        and {
            "sha256": hashlib.sha256(signer.certificate).hexdigest(),
            "subject": signer.subject,
            "not_before": rfc3339(signer.not_before),
            "not_after": rfc3339(signer.not_after),
        },
        "cmdline": measured.cmdline.decode("utf-8", "backslashreplace"),
        "size": measured.size,
        "sections": [{"type": kind, "size": size} for kind, size in measured.sections],
        "not_measured": {
            "architecture": measured.architecture,
            "default_memory": measured.default_memory,
            "default_cpus": measured.default_cpus,
            "metadata": dict(measured.metadata),
        },
    }


def _print(measured: Measurements) -> None:
    print("MEASURED")
    for index, value in measured.pcrs.items():
        field(f"PCR{index}", f"{value.hex()}  ({MEANINGS[index]})")
    if measured.signer is None:
        field("signer", "none: the image is not signed, and PCR8 will be zero")
    else:
        field("signer", printable(measured.signer.subject))
        field(
            "",
            f"valid {rfc3339(measured.signer.not_before)} to {rfc3339(measured.signer.not_after)} (not judged)",
        )
    field("cmdline", printable(measured.cmdline.decode("utf-8", "backslashreplace")))
    field("sections", ", ".join(f"{kind} {size}" for kind, size in measured.sections))
    field("size", f"{measured.size} bytes")
    print("not measured, so anybody may have changed it:")
    field(
        "for",
        f"{measured.architecture}, {measured.default_memory} bytes of memory, {measured.default_cpus} CPUs",
    )
    field("name", printable(f"{measured.metadata.get('ImageName')} {measured.metadata.get('ImageVersion')}"))
