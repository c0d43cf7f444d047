"""Files of log entries: what the host appends and auditors read (``docs/spec/receipts.md`` §5).

A segment is 16 bytes of header, then records; a record is a length, a CRC-32 (as in gzip, RFC 1952 §8) over the body, and the body:
chain, sequence, signature, entry. The checksum tells a write that was cut short from one that was finished; it protects nothing.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .limits import MAX_LOG_ENTRY
from .messages import SignedEntry

ENTRY_LABEL: Final = b"cosigner/log-entry/v1"
HEADER: Final = b"COSIGNER LOG v1\n"
SUFFIX: Final = ".seg"
_PREFIX: Final = struct.Struct(">II")  # length of the body, CRC-32 of the body
_FIXED: Final = struct.Struct(">32sQ64s")
MAX_RECORD: Final = _PREFIX.size + _FIXED.size + MAX_LOG_ENTRY


def entry_hash(entry: bytes) -> bytes:
    """The 32 bytes that name an entry."""
    return hashlib.sha256(ENTRY_LABEL + entry).digest()


@dataclass(frozen=True, slots=True)
class LogRecord:
    """An entry in a segment: where the host says that it belongs, and the entry."""

    chain: bytes
    sequence: int
    signed: SignedEntry

    def encode(self) -> bytes:
        body = _FIXED.pack(self.chain, self.sequence, self.signed.signature) + self.signed.entry
        return _PREFIX.pack(len(body), zlib.crc32(body)) + body


class SegmentError(ValueError):
    """A segment that does not read to its end.

    :ivar offset: where the first record begins that does not read, in bytes: what is before is good.
    :ivar torn: the segment ends inside that record, as it does when a write is cut short.
    """

    def __init__(self, reason: str, *, offset: int, torn: bool) -> None:
        super().__init__(f"{reason} at byte {offset}")
        self.offset = offset
        self.torn = torn


def read_segment(raw: bytes) -> Iterator[LogRecord]:
    """The records of a segment, in order; those before a fault come out before it is raised.

    :raises SegmentError: the header or a record is cut short, or is none.
    """
    if raw[: len(HEADER)] != HEADER:
        raise SegmentError("no header of a segment", offset=0, torn=HEADER.startswith(raw))
    offset = len(HEADER)
    while offset < len(raw):
        start = offset + _PREFIX.size
        if start > len(raw):
            raise SegmentError("a record is cut short", offset=offset, torn=True)
        length, checksum = _PREFIX.unpack_from(raw, offset)
        if not _FIXED.size < length <= _FIXED.size + MAX_LOG_ENTRY:
            raise SegmentError("a record has an impossible length", offset=offset, torn=False)
        body = raw[start : start + length]
        if len(body) < length:
            raise SegmentError("a record is cut short", offset=offset, torn=True)
        if zlib.crc32(body) != checksum:
            raise SegmentError("a record does not match its checksum", offset=offset, torn=False)
        chain, sequence, signature = _FIXED.unpack_from(body)
        yield LogRecord(chain, sequence, SignedEntry(entry=body[_FIXED.size :], signature=signature))
        offset = start + length


def last_record(raw: bytes) -> tuple[LogRecord | None, SegmentError | None]:
    """The last record that reads, and what is wrong after it."""
    last: LogRecord | None = None
    try:
        for record in read_segment(raw):
            last = record
    except SegmentError as error:
        return last, error
    return last, None
