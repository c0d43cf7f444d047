"""The log in a folder: ``CHAIN/FIRST.seg``, append-only, synced before a write is answered.

CHAIN is the chain's key in hexadecimal, FIRST the number of the segment's first entry in 20 digits. A batch is one write and one sync. After
a crash the last segment may end inside a record that nobody was told is kept; that piece is put aside (``FIRST.seg.OFFSET.cut``) before
anything is appended. Any other fault is left alone for the auditor to see, and its chain takes no more entries.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from host.errors import HostError
from host.log import Log
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import HEADER, SUFFIX, LogRecord, SegmentError, last_record, read_segment

from . import AuditLogError, Backend

T = TypeVar("T")

SEGMENT_BYTES: Final = 8 << 20  # a segment that has as many takes no more
_CHAIN_NAME: Final = re.compile(r"[0-9a-f]{64}")
_SEGMENT_NAME: Final = re.compile(r"[0-9]{20}" + re.escape(SUFFIX))
_FOLDER_MODE: Final = 0o750  # the group may read: auditors need not be the host's user
_FILE_MODE: Final = 0o640


@dataclass(slots=True)
class _Tail:
    """A chain's last segment, open for appending."""

    descriptor: int
    size: int


class FileBackend(Backend):
    """A folder of its own; one host process at a time.

    :param path: created if it does not exist; the folder it lies in must.
    :raises HostError: ``audit_log_unusable``.
    """

    def __init__(self, path: str, *, log: Log) -> None:
        self._folder = Path(path)
        self._log = log
        self._tails: dict[bytes, _Tail] = {}
        self._closed = False
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            _sync_folder(self._folder.parent)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._lock)
                raise
        except OSError as error:
            raise HostError(
                "audit_log_unusable",
                f"Cannot keep the log of decisions in {path}: {error.strerror}. Give a folder of its own that this user may write; no two "
                "host processes may share it.",
                culprit=Culprit.STORAGE,
            ) from None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-log")

    async def length(self, chain: bytes) -> int:
        return await self._run(lambda: self._recover(chain))

    async def read(self, chain: bytes, first: int, count: int) -> list[SignedEntry]:
        return await self._run(lambda: self._read(chain, first, count))

    async def write(self, records: Sequence[LogRecord]) -> None:
        await self._run(lambda: self._write(records))

    async def newest(self, count: int, besides: bytes) -> list[LogRecord]:
        return await self._run(lambda: self._newest(count, besides))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown)
        for tail in self._tails.values():
            os.close(tail.descriptor)
        os.close(self._lock)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise AuditLogError("it is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            raise AuditLogError(error.strerror or type(error).__name__) from None
        except SegmentError as error:
            raise AuditLogError(f"a segment is damaged: {error}") from None

    # --- in the thread ---

    def _write(self, records: Sequence[LogRecord]) -> None:
        chain, first = records[0].chain, records[0].sequence
        content = b"".join(record.encode() for record in records)
        tail = self._tails.pop(chain, None)  # it comes back when all has gone well
        if tail is not None and tail.size >= SEGMENT_BYTES:
            os.close(tail.descriptor)
            tail = None
        if tail is None:
            content = HEADER + content
            tail = _Tail(self._create(chain, first), 0)
        try:
            _write_all(tail.descriptor, content)
            os.fdatasync(tail.descriptor)
        except BaseException:
            # What was not synced may be readable and yet not be kept: a later sync need not tell. It must be written anew.
            with contextlib.suppress(OSError):
                os.ftruncate(tail.descriptor, tail.size)
            os.close(tail.descriptor)
            raise
        self._tails[chain] = _Tail(tail.descriptor, tail.size + len(content))

    def _create(self, chain: bytes, first: int) -> int:
        """A new, empty segment whose name is durable. One that is there already ends the write: somebody else made it."""
        folder = self._folder / chain.hex()
        if not folder.exists():
            folder.mkdir(mode=_FOLDER_MODE)
            _sync_folder(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(folder / f"{first:020d}{SUFFIX}", flags, _FILE_MODE)
        try:
            _sync_folder(folder)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _recover(self, chain: bytes) -> int:
        """The chain's length, and its last segment opened, without what a crash left at its end."""
        tail = self._tails.pop(chain, None)
        if tail is not None:
            os.close(tail.descriptor)
        while segments := self._segments(chain):
            path = segments[-1]
            last, size = self._cut(path)
            if last is None:
                path.unlink()  # nothing in it was ever confirmed
                _sync_folder(path.parent)
                continue
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)  # a process that was killed may have written without syncing
            except BaseException:
                os.close(descriptor)
                raise
            self._tails[chain] = _Tail(descriptor, size)
            return last.sequence + 1
        return 0

    def _cut(self, path: Path) -> tuple[LogRecord | None, int]:
        """Cut a torn end off; the last record and the size in bytes."""
        raw = path.read_bytes()
        last, error = last_record(raw)
        if error is None:
            return last, len(raw)
        if not _is_remnant(raw, error):
            raise error
        aside = path.with_name(f"{path.name}.{error.offset}.cut")
        aside.write_bytes(raw[error.offset :])  # nothing is thrown away, whatever it is
        with path.open("r+b") as file:
            file.truncate(error.offset)
            os.fsync(file.fileno())
        self._log.event("audit_log_repaired", "warning", bytes_out=len(raw) - error.offset)
        return last, error.offset

    def _read(self, chain: bytes, first: int, count: int) -> list[SignedEntry]:
        segments = self._segments(chain)
        starts = [int(path.stem) for path in segments]
        wanted = range(first, first + count)
        found = {
            record.sequence: record.signed
            for path, start, end in zip(segments, starts, [*starts[1:], wanted.stop], strict=True)
            if start < wanted.stop and end > first
            for record in read_segment(path.read_bytes())
            if record.sequence in wanted and record.chain == chain
        }
        if len(found) < count:
            raise AuditLogError("entries that it kept are gone")
        return [found[sequence] for sequence in wanted]

    def _newest(self, count: int, besides: bytes) -> list[LogRecord]:
        with os.scandir(self._folder) as names:
            chains = [bytes.fromhex(name.name) for name in names if _CHAIN_NAME.fullmatch(name.name)]
        last_used = {
            chain: segments[-1].stat().st_mtime_ns
            for chain in chains
            if chain != besides and (segments := self._segments(chain))
        }
        newest_first = sorted(last_used, key=lambda chain: (last_used[chain], chain), reverse=True)
        return list(itertools.islice(filter(None, map(self._last, newest_first)), count))

    def _last(self, chain: bytes) -> LogRecord | None:
        """The last record that reads. What comes after it is for the auditor to judge."""
        for path in reversed(self._segments(chain)):
            last, error = last_record(path.read_bytes())
            if error is not None and not error.torn:
                self._log.event("audit_log_damaged", "error", reason=str(error))
            if last is not None:
                return last
        return None

    def _segments(self, chain: bytes) -> list[Path]:
        folder = self._folder / chain.hex()
        try:
            return sorted(path for path in folder.iterdir() if _SEGMENT_NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []


def _is_remnant(raw: bytes, error: SegmentError) -> bool:
    """Whether a fault is what an interrupted write leaves: an end that is missing, or was allocated and never filled in."""
    filled = raw[: error.offset] + raw[error.offset :].rstrip(b"\0")
    _, fault = last_record(filled)
    return error.torn or fault is None or (fault.torn and len(filled) < len(raw))


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(path: Path) -> None:
    with contextlib.closing(
        _Descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    ) as folder:
        os.fsync(folder.number)


class _Descriptor:
    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)
