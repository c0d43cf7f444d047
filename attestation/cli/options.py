"""What commands have in common: reading options and files, and what a bad one is told."""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from attestation.document import PCR_BYTES, PCR_COUNT
from attestation.verify import ISSUED, Moment

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.ArgumentParser, argparse.Namespace], int],
    *,
    help_: str,
    description: str,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """One command; `run` gets its parser, whose `error` tells of bad usage, and the options."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=lambda options: run(command, options))
    return command


def read(parser: argparse.ArgumentParser, name: str, limit: int) -> bytes:
    """At most one byte more than `limit`: enough to notice that a file is too long."""
    with opened(parser, name) as file:
        return file.read(limit + 1)


@contextmanager
def opened(parser: argparse.ArgumentParser, name: str) -> Iterator[BinaryIO]:
    """The file `name`, or standard input for `-`; what cannot be read is bad usage."""
    try:
        if name == "-":
            yield sys.stdin.buffer
        else:
            with Path(name).open("rb") as file:
                yield file
    except OSError as error:
        parser.error(f"cannot read {name}: {error.strerror}")


def hex_bytes(text: str) -> bytes:
    # bytes.fromhex alone would let spaces pass.
    if not re.fullmatch("([0-9a-fA-F]{2})+", text):
        raise argparse.ArgumentTypeError("not an even, positive number of hex digits")
    return bytes.fromhex(text)


def fingerprint(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError("a SHA-256 has 64 hex digits")
    return text.lower()


def pcr(text: str) -> tuple[int, bytes]:
    match = re.fullmatch(r"([0-9]{1,2})=([0-9a-fA-F]+)", text)
    if not match or int(match[1]) >= PCR_COUNT or len(match[2]) != 2 * PCR_BYTES:
        raise argparse.ArgumentTypeError("not N=HEX with N from 0 to 31 and 96 hex digits")
    return int(match[1]), bytes.fromhex(match[2])


def pcr_sets(pairs: list[tuple[int, bytes]]) -> dict[int, frozenset[bytes]]:
    """Each PCR with all of the values that were given for it."""
    allowed: defaultdict[int, set[bytes]] = defaultdict(set)
    for index, value in pairs:
        allowed[index].add(value)
    return {index: frozenset(values) for index, values in allowed.items()}


def seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text):
        raise argparse.ArgumentTypeError("not a whole number of seconds")
    return int(text)


def moment(text: str) -> datetime | Moment:
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
