"""The command `python -m attestation`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from attestation.cli import inspect, measure, policy, verify

_DESCRIPTION: Final = (
    "Attestation documents and image files of AWS Nitro Enclaves: verify, look into, measure."
)
_EPILOG: Final = """\
exit status: 0 done; 1 the document or the file is refused (with a code that programs may compare); 2 bad usage

This command reads files and writes to its output. It contacts nobody. Codes and formats: attestation/README.md.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on `arguments` (default: the process's own); return the exit status, or exit 2 on bad usage."""
    parser = argparse.ArgumentParser(
        prog="python -m attestation",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (verify, inspect, measure, policy):
        command.add_to(commands)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status
