"""The log in an S3 bucket with Object Lock: one object for each batch, which nobody can change or delete before its time.

``PREFIX CHAIN/FIRST.seg`` is a segment (``docs/spec/receipts.md`` §5): CHAIN in hexadecimal, FIRST the number of its first entry in 20
digits. ``PREFIX index/TIME-CHAIN``, written before a chain's first object, says when the chain began: 13 digits of milliseconds by the
host's clock. Every object is written under the condition that it is not there: of several writers one wins, and the others find out.

Each host that writes needs s3:PutObject, s3:PutObjectRetention, s3:GetObject, s3:ListBucket and s3:GetBucketObjectLockConfiguration.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from host import aws
from host.config import S3AuditLog
from host.errors import HostError
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import HEADER, SUFFIX, LogRecord, SegmentError, last_record, read_segment

from . import AuditLogError, Backend

T = TypeVar("T")

_THREADS: Final = 16
_TIMEOUT: Final = 3.0  # seconds; the enclave gives up after 10
_ATTEMPTS: Final = 3
_INDEX_NAME: Final = re.compile(r"[0-9]{13}-[0-9a-f]{64}")
_EXISTS: Final = frozenset({"PreconditionFailed", "412"})


class S3Backend(Backend):
    """A bucket, or what is below a prefix of one.

    :param endpoint: another server than AWS's, for tests.
    :raises HostError: ``audit_log_unusable``: the bucket cannot be reached, or has no Object Lock.
    """

    def __init__(self, section: S3AuditLog, *, endpoint: str | None = None) -> None:
        self._bucket = section.bucket
        self._prefix = section.prefix
        self._mode = section.mode.upper()
        self._retention = timedelta(days=section.retention_days)
        self._closed = False
        try:
            self._client = aws.client(
                "s3", section.region, endpoint, threads=_THREADS, timeout=_TIMEOUT, attempts=_ATTEMPTS
            )
            lock = self._client.get_object_lock_configuration(Bucket=self._bucket)
        except (ClientError, BotoCoreError, ValueError) as error:
            raise _unusable(self._bucket, aws.reason(error)) from None
        if lock.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise _unusable(self._bucket, "it has no Object Lock")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="audit-log")

    async def length(self, chain: bytes) -> int:
        last = await self._run(lambda: self._last(chain))
        return 0 if last is None else last.sequence + 1

    async def read(self, chain: bytes, first: int, count: int) -> list[SignedEntry]:
        return await self._run(lambda: self._read(chain, first, count))

    async def write(self, records: Sequence[LogRecord]) -> None:
        await self._run(lambda: self._write(records))

    async def newest(self, count: int, besides: bytes) -> list[LogRecord]:
        chains = [chain for chain in await self._run(self._chains) if chain != besides][:count]
        found = await asyncio.gather(*(self._run(functools.partial(self._last, chain)) for chain in chains))
        return [record for record in found if record is not None]

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise AuditLogError("it is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (ClientError, BotoCoreError) as error:
            raise AuditLogError(aws.reason(error)) from None
        except SegmentError as error:
            raise AuditLogError(f"an object is no segment: {error}") from None

    # --- in a thread ---

    def _write(self, records: Sequence[LogRecord]) -> None:
        chain, first = records[0].chain, records[0].sequence
        if first == 0:
            self._put(f"{self._prefix}index/{time.time_ns() // 1_000_000:013d}-{chain.hex()}", b"\n")
        self._put(self._key(chain, first), HEADER + b"".join(record.encode() for record in records))

    def _put(self, key: str, content: bytes) -> None:
        """Write an object that is not there. If it is, it must be the same: an earlier attempt of ours whose answer was lost."""
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",  # Object Lock asks for a checksum
                ObjectLockMode=self._mode,
                ObjectLockRetainUntilDate=datetime.now(UTC) + self._retention,
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _EXISTS:
                raise
            if self._get(key) != content:
                raise AuditLogError("another writer was first") from None

    def _get(self, key: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return content

    def _last(self, chain: bytes) -> LogRecord | None:
        key = self._last_key(chain)
        if key is None:
            return None
        last, error = last_record(self._get(key))
        if error is not None:
            raise error
        return last

    def _last_key(self, chain: bytes) -> str | None:
        """The last object's key. A listing goes upward only, so its end is searched for: by doubling, then by halving."""
        low, found = -1, self._after(chain, None)
        if found is None:
            return None
        step = 1
        while (later := self._after(chain, low + step)) is not None:
            found, low, step = later, low + step, step * 2
        high = low + step  # nothing is after this
        while high - low > 1:
            middle = (low + high) // 2
            later = self._after(chain, middle)
            if later is None:
                high = middle
            else:
                found, low = later, middle
        return found

    def _after(self, chain: bytes, sequence: int | None) -> str | None:
        """The first object of a chain, or the first whose number is above ``sequence``."""
        start = {} if sequence is None else {"StartAfter": self._key(chain, sequence)}
        page = self._client.list_objects_v2(
            Bucket=self._bucket, Prefix=self._key(chain, None), MaxKeys=1, **start
        )
        contents = page.get("Contents", [])
        return contents[0]["Key"] if contents else None

    def _read(self, chain: bytes, first: int, count: int) -> list[SignedEntry]:
        found: dict[int, SignedEntry] = {}
        wanted = range(first, first + count)
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._key(chain, None)
        )
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        starts = [int(key[-20 - len(SUFFIX) : -len(SUFFIX)]) for key in keys]
        for key, start, end in zip(keys, starts, [*starts[1:], wanted.stop], strict=True):
            if start < wanted.stop and end > first:
                found |= {record.sequence: record.signed for record in read_segment(self._get(key))}
        if any(sequence not in found for sequence in wanted):
            raise AuditLogError("entries that it kept are gone")
        return [found[sequence] for sequence in wanted]

    def _chains(self) -> list[bytes]:
        """All chains, those that began last first."""
        prefix = f"{self._prefix}index/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        names = [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", [])]
        if not all(map(_INDEX_NAME.fullmatch, names)):
            raise AuditLogError("an object of the index is none; somebody else wrote it")
        return list(dict.fromkeys(bytes.fromhex(name[-64:]) for name in sorted(names, reverse=True)))

    def _key(self, chain: bytes, sequence: int | None) -> str:
        return f"{self._prefix}{chain.hex()}/" + ("" if sequence is None else f"{sequence:020d}{SUFFIX}")


def _unusable(bucket: str, reason: str) -> HostError:
    return HostError(
        "audit_log_unusable",
        f"Cannot keep the log of decisions in the bucket {bucket!r}: {reason}. Check audit_log and the instance's role.",
        culprit=Culprit.STORAGE,
    )
