"""Log files, receipts and archived documents from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from protocol.envelope.limits import MAX_LOG_ENTRY
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import SUFFIX, LogRecord, SegmentError, read_segment

from ..errors import CosignerError  # noqa: TID252
from .report import Problem

_MAX_DOCUMENT: Final = 16 << 10
_MAX_RECEIPT: Final = MAX_LOG_ENTRY + 1024


@dataclass(frozen=True, slots=True)
class Placed:
    """A record and the file it stands in."""

    file: str
    record: LogRecord


def read_log(paths: Iterable[Path]) -> Iterator[Placed | Problem]:
    """Every record of the segments named, and of those below the folders named; each file once. A damaged file is a problem in its place.

    :raises CosignerError: ``input_unreadable``.
    """
    seen: set[Path] = set()
    for path in _segments(paths):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        raw = _read(path)
        try:
            for record in read_segment(raw):
                yield Placed(str(path), record)
        except SegmentError as error:
            message = "The file ends inside a record." if error.torn else "The file is damaged."
            yield Problem(
                "segment_damaged", f"{message} What is before byte {error.offset} was read.", where=str(path)
            )


def read_receipts(paths: Iterable[Path]) -> list[SignedEntry | Problem]:
    """Receipts, each a file of a signed entry in its encoding.

    :raises CosignerError: ``input_unreadable``.
    """
    found: list[SignedEntry | Problem] = []
    for path in paths:
        try:
            found.append(cbor.decode(_read(path), SignedEntry, limit=_MAX_RECEIPT, culprit=Culprit.CLIENT))
        except CosignerError as error:
            if error.code == "input_unreadable":
                raise
            found.append(Problem("receipt_invalid", error.message, where=str(path)))
    return found


def read_documents(paths: Iterable[Path]) -> list[bytes]:
    """Archived attestation documents.

    :raises CosignerError: ``input_unreadable``, ``input_too_large``.
    """
    documents = [_read(path) for path in paths]
    if any(len(document) > _MAX_DOCUMENT for document in documents):
        raise CosignerError(
            "input_too_large", "An attestation document has at most 16 KiB.", culprit=Culprit.CLIENT
        )
    return documents


def _segments(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob(f"*{SUFFIX}"))
        else:
            yield path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CosignerError(
            "input_unreadable", f"Cannot read {path}: {error.strerror}.", culprit=Culprit.CLIENT
        ) from None
