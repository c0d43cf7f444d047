"""The host's log of decisions: every backend against one contract, and a crash at each step of a write."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host import config as configuration
from host.audit_log import AuditLog, AuditLogError, Backend, LogConflictError, file
from host.audit_log.choice import open_audit_log
from host.audit_log.file import FileBackend
from host.audit_log.s3 import S3Backend
from host.config import S3AuditLog
from host.errors import HostError
from host.log import Log
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import HEADER, LogRecord, entry_hash, read_segment
from tests.host.rig import configuration_for
from tests.support.aws import REGION

pytestmark = pytest.mark.usefixtures("credentials")

ROOT = str(Path(__file__).parents[2])
CHAIN, OTHER = bytes([1]) * 32, bytes([2]) * 32


def entry(number: int, size: int = 8) -> SignedEntry:
    return SignedEntry(entry=b"entry %d" % number + bytes(size) + b".", signature=bytes([number % 256]) * 64)


def entries(first: int, count: int) -> list[SignedEntry]:
    return [entry(number) for number in range(first, first + count)]


def run(scenario: Coroutine[Any, Any, object]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(main())


# --- places ----------------------------------------------------------------------------------------------------------------


class Place:
    """Somewhere to keep a log, opened again and again."""

    def backend(self) -> Backend:
        raise NotImplementedError

    def segments(self) -> dict[str, bytes]:
        """What is kept, by name."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[AuditLog]:
        log = AuditLog(self.backend())
        try:
            yield log
        finally:
            await log.close()
            await log.close()  # once more: nothing happens

    def kept(self, chain: bytes = CHAIN) -> list[SignedEntry]:
        found = [
            record
            for name, raw in sorted(self.segments().items())
            if chain.hex() in name
            for record in read_segment(raw)
        ]
        assert [record.sequence for record in found] == list(range(len(found)))
        assert all(record.chain == chain for record in found)
        return [record.signed for record in found]


class Folder(Place):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = io.StringIO()

    def backend(self) -> Backend:
        return FileBackend(str(self.path), log=Log(self.log))

    def segments(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*.seg")}


class Bucket(Place):
    made = 0

    def __init__(self, endpoint: str, *, lock: bool = True, **changes: Any) -> None:
        Bucket.made += 1
        self.endpoint = endpoint
        self.client = boto3.client("s3", region_name=REGION, endpoint_url=endpoint)
        self.section = S3AuditLog(
            **{
                "bucket": f"decisions-{Bucket.made}",
                "region": REGION,
                "mode": "compliance",
                "retention_days": 30,
                "prefix": "logs/a/",
                **changes,
            }
        )
        self.client.create_bucket(Bucket=self.section.bucket, ObjectLockEnabledForBucket=lock)

    def backend(self) -> Backend:
        return S3Backend(self.section, endpoint=self.endpoint)

    def segments(self) -> dict[str, bytes]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.section.bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: self.get(key) for key in keys if key.endswith(".seg")}

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.section.bucket, Key=key)["Body"].read())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "log")


@pytest.fixture
def bucket(endpoint: str, credentials: None) -> Iterator[Bucket]:
    made = Bucket(endpoint)
    yield made
    made.client.close()


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


# --- the contract ----------------------------------------------------------------------------------------------------------


def test_entries_are_kept_in_order(place: Place) -> None:
    async def scenario() -> None:
        async with place.open() as log:
            await log.append(CHAIN, 0, entries(0, 2))
            await log.append(CHAIN, 2, entries(2, 1))
            await log.append(OTHER, 0, entries(7, 1))

    run(scenario())
    assert place.kept() == entries(0, 3)
    assert place.kept(OTHER) == entries(7, 1)


def test_entries_go_on_after_a_restart(place: Place) -> None:
    async def scenario() -> None:
        for first in range(0, 12, 3):
            async with place.open() as log:
                await log.append(CHAIN, first, entries(first, 3))

    run(scenario())
    assert place.kept() == entries(0, 12)


def test_the_same_entries_again_are_kept_once(place: Place) -> None:
    async def scenario() -> None:
        async with place.open() as log:
            await log.append(CHAIN, 0, entries(0, 3))
            await log.append(CHAIN, 1, entries(1, 2))
            await log.append(CHAIN, 0, entries(0, 5))
        async with place.open() as log:
            await log.append(CHAIN, 2, entries(2, 4))

    run(scenario())
    assert place.kept() == entries(0, 6)


def test_a_gap_and_other_entries_are_refused(place: Place) -> None:
    async def scenario() -> None:
        async with place.open() as log:
            for first in (1, 77):
                with pytest.raises(LogConflictError) as caught:
                    await log.append(CHAIN, first, entries(first, 1))
                assert caught.value.next == 0
            await log.append(CHAIN, 0, entries(0, 3))
            for first, given_ in ((4, entries(4, 1)), (1, [entry(9)]), (2, [entry(9), entry(3)])):
                with pytest.raises(LogConflictError) as caught:
                    await log.append(CHAIN, first, given_)
                assert caught.value.next == 3

    run(scenario())
    assert place.kept() == entries(0, 3)


def test_the_heads_of_other_chains_are_shown(place: Place) -> None:
    async def scenario() -> None:
        async with place.open() as log:
            assert await log.heads(CHAIN) == []
            await log.append(CHAIN, 0, entries(0, 3))
            await log.append(OTHER, 0, entries(0, 1))
            await log.append(CHAIN, 3, entries(3, 2))
            (head,) = await log.heads(OTHER)
            assert (head.chain, head.sequence) == (CHAIN, 4)
            assert (head.hash, head.signature) == (entry_hash(entry(4).entry), entry(4).signature)
            assert {found.chain for found in await log.heads(bytes(32))} == {CHAIN, OTHER}

    run(scenario())


def test_at_most_sixteen_heads_are_shown(place: Place) -> None:
    async def scenario() -> None:
        async with place.open() as log:
            for number in range(18):
                await log.append(bytes([number]) * 32, 0, entries(number, 1))
                await asyncio.sleep(0.002)  # times of the folder's files and of the bucket's index differ
            shown = [head.chain[0] for head in await log.heads(bytes([17]) * 32)]
            assert sorted(shown) == list(range(1, 17))

    run(scenario())


def test_a_long_chain_is_found_again(place: Place) -> None:
    """In a bucket its end is searched for: any number of objects, any sizes."""

    async def scenario() -> None:
        length = 0
        for count in (1, 1, 2, 1, 5, 1, 1, 300, 1, 1, 1, 7):
            async with place.open() as log:
                await log.append(CHAIN, length, entries(length, count))
                length += count
        async with place.open() as log:
            with pytest.raises(LogConflictError) as caught:
                await log.append(CHAIN, length + 1, entries(0, 1))
            assert caught.value.next == length
            await log.append(CHAIN, 3, entries(3, length - 3))

    run(scenario())


def test_chains_at_once_do_not_wait_for_one_another(place: Place) -> None:
    async def scenario() -> None:
        async with place.open() as log:
            await asyncio.gather(
                *(log.append(bytes([number]) * 32, 0, entries(0, 2)) for number in range(70))
            )

    run(scenario())
    assert len(place.segments()) == 70


def test_a_closed_log_refuses(place: Place) -> None:
    async def scenario() -> None:
        async with place.open() as log:
            pass
        with pytest.raises(AuditLogError, match="closed"):
            await log.append(CHAIN, 0, entries(0, 1))

    run(scenario())


# --- the folder ------------------------------------------------------------------------------------------------------------


def test_two_processes_do_not_share_a_folder(folder: Folder) -> None:
    async def scenario() -> None:
        async with folder.open():
            with pytest.raises(HostError, match="audit_log_unusable"):
                folder.backend()

    run(scenario())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="audit_log_unusable"):
        FileBackend(str(tmp_path / "no" / "where"), log=Log(io.StringIO()))


def test_a_segment_has_an_end(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "SEGMENT_BYTES", 1000)

    async def scenario() -> None:
        async with folder.open() as log:
            for number in range(30):
                await log.append(CHAIN, number, entries(number, 1))
            await log.append(CHAIN, 5, entries(5, 20))  # known already, across segments

    run(scenario())
    assert len(folder.segments()) > 3
    assert folder.kept() == entries(0, 30)


def test_a_segment_of_somebody_else_is_never_written_into(folder: Folder) -> None:
    async def scenario() -> None:
        backend = folder.backend()
        path = folder.path / CHAIN.hex() / f"{0:020d}.seg"
        path.parent.mkdir()
        path.write_bytes(b"somebody else's")
        with pytest.raises(AuditLogError, match="exists"):
            await backend.write([LogRecord(CHAIN, 0, entry(0))])
        assert path.read_bytes() == b"somebody else's"
        await backend.close()

    run(scenario())


def test_files_are_for_the_owner_and_the_group(folder: Folder) -> None:
    async def scenario() -> None:
        async with folder.open() as log:
            await log.append(CHAIN, 0, entries(0, 1))

    run(scenario())
    for path in folder.path.rglob("*"):
        assert path.stat().st_mode & 0o007 == 0


def segment_path(folder: Folder) -> Path:
    return next(folder.path.rglob("*.seg"))


def whole() -> bytes:
    return HEADER + b"".join(
        LogRecord(CHAIN, number, signed).encode() for number, signed in enumerate(entries(0, 3))
    )


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(whole())), zeros=st.integers(0, 40))
def test_a_crash_inside_a_write_loses_what_nobody_was_told_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int, zeros: int
) -> None:
    """Cut at every byte, and with an end that was allocated but never filled in."""
    folder = Folder(tmp_path_factory.mktemp("log") / "log")
    path = folder.path / CHAIN.hex() / f"{0:020d}.seg"
    path.parent.mkdir(parents=True)
    path.write_bytes(whole()[:cut] + bytes(zeros))
    survived = sum(len(whole()) - len(tail) <= cut for tail in tails())

    async def scenario() -> None:
        async with folder.open() as log:
            with pytest.raises(LogConflictError) as caught:
                await log.append(CHAIN, 9, entries(9, 1))
            assert caught.value.next == survived
            await log.append(CHAIN, survived, entries(survived, 4))

    run(scenario())
    assert folder.kept() == entries(0, survived + 4)


def tails() -> list[bytes]:
    """What is left of :func:`whole` after each record."""
    raw, found = whole()[len(HEADER) :], []
    for number, signed in enumerate(entries(0, 3)):
        raw = raw[len(LogRecord(CHAIN, number, signed).encode()) :]
        found.append(raw)
    return found


def test_a_segment_that_is_damaged_is_left_as_it_is_and_takes_no_more(folder: Folder) -> None:
    async def scenario() -> None:
        async with folder.open() as log:
            await log.append(CHAIN, 0, entries(0, 3))
        path = segment_path(folder)
        raw = bytearray(path.read_bytes())
        raw[-30] ^= 1
        path.write_bytes(raw)
        async with folder.open() as log:
            with pytest.raises(AuditLogError, match="damaged"):
                await log.append(CHAIN, 3, entries(3, 1))
            assert [head.sequence for head in await log.heads(OTHER)] == [1]
        assert path.read_bytes() == bytes(raw)

    run(scenario())
    assert "audit_log_damaged" in folder.log.getvalue()


class Crash(BaseException):
    """The process dies here."""


STEPS = [
    ("mkdir", lambda m, crash: m.setattr(file.Path, "mkdir", crash(file.Path.mkdir, before=True, on=2))),
    (
        "after mkdir",
        lambda m, crash: m.setattr(file.Path, "mkdir", crash(file.Path.mkdir, before=False, on=2)),
    ),
    ("open", lambda m, crash: m.setattr(file.os, "write", crash(os.write, before=True))),
    ("half a write", lambda m, crash: m.setattr(file.os, "write", crash(half, before=False))),
    ("a write", lambda m, crash: m.setattr(file.os, "write", crash(os.write, before=False))),
    ("sync", lambda m, crash: m.setattr(file.os, "fdatasync", crash(os.fdatasync, before=False))),
]
REAL_WRITE = os.write


def half(descriptor: int, content: bytes) -> int:
    return REAL_WRITE(descriptor, bytes(content)[: len(content) // 2])


@pytest.mark.parametrize("kept_before", [0, 3])
@pytest.mark.parametrize("step", STEPS, ids=[name for name, _ in STEPS])
def test_a_crash_at_any_step_leaves_a_log_that_goes_on(
    folder: Folder, step: tuple[str, Callable[..., None]], kept_before: int
) -> None:
    """The enclave sends again what was not confirmed; a new process must take it, be it there already or not."""

    def crash(real: Callable[..., Any], *, before: bool, on: int = 1) -> Callable[..., Any]:
        calls = 0

        def crashing(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < on:
                return real(*arguments, **named)
            if not before:
                real(*arguments, **named)
            raise Crash

        return crashing

    async def scenario() -> None:
        async with folder.open() as log:
            if kept_before:
                await log.append(CHAIN, 0, entries(0, kept_before))
        with pytest.MonkeyPatch.context() as patch:
            step[1](patch, crash)
            with contextlib.suppress(Crash):
                async with folder.open() as log:
                    await log.append(CHAIN, kept_before, entries(kept_before, 2))
        async with folder.open() as log:
            await log.append(CHAIN, kept_before, entries(kept_before, 2))
            await log.append(CHAIN, kept_before + 2, entries(kept_before + 2, 1))

    run(scenario())
    assert folder.kept() == entries(0, kept_before + 3)


@pytest.mark.parametrize("step", ["write", "fdatasync"])
def test_a_failure_of_the_disk_is_told_and_the_same_entries_can_be_sent_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def scenario() -> None:
        async with folder.open() as log:
            await log.append(CHAIN, 0, entries(0, 1))

            def full(*_: Any) -> Any:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(file.os, step, full)
                for _ in range(2):
                    with pytest.raises(AuditLogError, match="No space left"):
                        await log.append(CHAIN, 1, entries(1, 2))
            await log.append(CHAIN, 1, entries(1, 3))

    run(scenario())
    assert folder.kept() == entries(0, 4)


def test_what_was_confirmed_survives_kill_9(folder: Folder) -> None:
    program = textwrap.dedent(
        """
        import asyncio, io, sys
        from host.audit_log import AuditLog
        from host.audit_log.file import FileBackend
        from host.log import Log
        from tests.host.test_audit_log import CHAIN, entries

        async def main():
            log = AuditLog(FileBackend(sys.argv[1], log=Log(io.StringIO())))
            number = 0
            while True:
                await log.append(CHAIN, number, entries(number, 5))
                number += 5
                print(number, flush=True)

        asyncio.run(main())
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT},
        text=True,
    )
    assert process.stdout is not None
    confirmed = [int(process.stdout.readline()) for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    confirmed += [int(line) for line in process.stdout.read().split()]
    process.stdout.close()

    async def scenario() -> None:
        async with folder.open() as log:
            await log.append(CHAIN, 0, entries(0, confirmed[-1]))

    run(scenario())
    kept = folder.kept()
    assert len(kept) >= confirmed[-1] and kept == entries(0, len(kept))


# --- the bucket ------------------------------------------------------------------------------------------------------------


def test_every_object_is_locked_for_the_time_asked(bucket: Bucket) -> None:
    async def scenario() -> None:
        async with bucket.open() as log:
            await log.append(CHAIN, 0, entries(0, 2))

    run(scenario())
    listed = bucket.client.list_objects_v2(Bucket=bucket.section.bucket)["Contents"]
    assert len(listed) == 2
    for item in listed:
        kept = bucket.client.head_object(Bucket=bucket.section.bucket, Key=item["Key"])
        assert kept["ObjectLockMode"] == "COMPLIANCE"
        left = kept["ObjectLockRetainUntilDate"] - datetime.now(UTC)
        assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_nobody_deletes_an_object_before_its_time(endpoint: str, credentials: None, mode: str) -> None:
    bucket = Bucket(endpoint, mode=mode)

    async def scenario() -> None:
        async with bucket.open() as log:
            await log.append(CHAIN, 0, entries(0, 1))

    run(scenario())
    (key,) = bucket.segments()
    version = bucket.client.head_object(Bucket=bucket.section.bucket, Key=key)["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        bucket.client.delete_object(Bucket=bucket.section.bucket, Key=key, VersionId=version)
    bucket.client.close()


def test_a_bucket_without_object_lock_or_no_bucket_is_refused(endpoint: str, credentials: None) -> None:
    unlocked = Bucket(endpoint, lock=False)
    with pytest.raises(HostError, match="audit_log_unusable"):
        unlocked.backend()
    unlocked.section = msgspec.structs.replace(unlocked.section, bucket="no-such-bucket")
    with pytest.raises(HostError, match="audit_log_unusable"):
        unlocked.backend()
    unlocked.client.close()


def test_of_two_writers_of_one_chain_one_wins(bucket: Bucket) -> None:
    async def scenario() -> None:
        async with bucket.open() as one, bucket.open() as other:
            await one.append(CHAIN, 0, entries(0, 1))
            with pytest.raises(LogConflictError):
                await other.append(CHAIN, 0, [entry(9)])
            await other.append(CHAIN, 1, entries(1, 1))
            with pytest.raises(AuditLogError, match="another writer"):
                await one.append(CHAIN, 1, [entry(9)])
            await one.append(CHAIN, 1, entries(1, 2))  # it has looked again since

    run(scenario())
    assert bucket.kept() == entries(0, 3)


def test_a_write_whose_answer_was_lost_is_recognized(bucket: Bucket) -> None:
    async def scenario() -> None:
        backend = bucket.backend()
        assert isinstance(backend, S3Backend)
        log = AuditLog(backend)
        real = backend._client.put_object

        def lost(**arguments: Any) -> None:
            real(**arguments)
            raise ReadTimeoutError(endpoint_url="s3")

        await log.append(CHAIN, 0, entries(0, 1))
        backend._client.put_object = lost
        with pytest.raises(AuditLogError, match="ReadTimeoutError"):
            await log.append(CHAIN, 1, entries(1, 2))
        backend._client.put_object = real
        await log.append(CHAIN, 1, entries(1, 3))
        await backend.write([LogRecord(CHAIN, 3, entry(3))])  # botocore's own second attempt looks like this
        await log.close()

    run(scenario())
    assert bucket.kept() == entries(0, 4)


@pytest.mark.parametrize("crash_on", [1, 2])
@pytest.mark.parametrize("carried_out", [False, True])
def test_a_crash_between_the_objects_of_a_first_write_leaves_a_chain_that_begins(
    bucket: Bucket, crash_on: int, carried_out: bool
) -> None:
    """The index comes first: a chain that has an object is in it."""

    async def scenario() -> None:
        backend = bucket.backend()
        assert isinstance(backend, S3Backend)
        real, calls = backend._client.put_object, 0

        def crashing(**arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls < crash_on or carried_out:
                real(**arguments)
            if calls == crash_on:
                raise ReadTimeoutError(endpoint_url="s3")

        backend._client.put_object = crashing
        with pytest.raises(AuditLogError):
            await AuditLog(backend).append(CHAIN, 0, entries(0, 1))
        await backend.close()
        async with bucket.open() as log:
            assert len(await log.heads(OTHER)) == (crash_on == 2 and carried_out)
            await log.append(CHAIN, 0, entries(0, 2))
            assert [head.sequence for head in await log.heads(OTHER)] == [1]

    run(scenario())
    assert bucket.kept() == entries(0, 2)


def test_objects_of_somebody_else_are_told(bucket: Bucket) -> None:
    async def scenario() -> None:
        async with bucket.open() as log:
            await log.append(CHAIN, 0, entries(0, 1))
            key = f"logs/a/{CHAIN.hex()}/{5:020d}.seg"
            bucket.client.put_object(
                Bucket=bucket.section.bucket, Key=key, Body=b"x", ChecksumAlgorithm="SHA256"
            )
            with pytest.raises(AuditLogError, match="no segment"):
                await log.heads(OTHER)
            bucket.client.put_object(
                Bucket=bucket.section.bucket, Key="logs/a/index/what", Body=b"x", ChecksumAlgorithm="SHA256"
            )
            with pytest.raises(AuditLogError, match="index"):
                await log.heads(OTHER)

    run(scenario())


def test_an_entry_of_the_bucket_that_is_gone_is_told(bucket: Bucket) -> None:
    async def scenario() -> None:
        async with bucket.open() as log:
            for number in range(3):
                await log.append(CHAIN, number, entries(number, 1))
            bucket.client.delete_object(
                Bucket=bucket.section.bucket, Key=f"logs/a/{CHAIN.hex()}/{1:020d}.seg"
            )
            with pytest.raises(AuditLogError, match="gone"):
                await log.append(CHAIN, 1, entries(1, 1))

    run(scenario())


# --- configuration ---------------------------------------------------------------------------------------------------------


def parsed(folder: Path, **changes: Any) -> configuration.Config:
    return configuration.parse(json.dumps(configuration_for(folder, **changes)).encode())


def test_without_a_section_the_log_lies_beside_the_records(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = open_audit_log(parsed(tmp_path), log=Log(io.StringIO()))
        await log.close()

    run(scenario())
    assert (tmp_path / "store.sqlite3.audit-log").is_dir()


def test_the_section_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        config = parsed(tmp_path, audit_log={"sink": "file", "path": f"{tmp_path}/decisions"})
        log = open_audit_log(config, log=Log(io.StringIO()))
        await log.append(CHAIN, 0, entries(0, 1))
        await log.close()

    run(scenario())
    assert (tmp_path / "decisions" / CHAIN.hex()).is_dir()
    opened: list[S3AuditLog] = []
    monkeypatch.setattr("host.audit_log.s3.S3Backend", opened.append)
    section = {"sink": "s3", "bucket": "b-1", "region": REGION, "mode": "governance", "retention_days": 1}
    open_audit_log(parsed(tmp_path, audit_log=section), log=Log(io.StringIO()))
    assert opened[0].mode == "governance" and opened[0].prefix == ""


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"sink": "none"},
        {"sink": "file"},
        {"sink": "file", "path": "relative"},
        {"sink": "file", "path": "/a", "more": 1},
        {"sink": "s3", "bucket": "b-1", "region": REGION, "mode": "governance"},
        {"sink": "s3", "bucket": "b-1", "region": REGION, "mode": "none", "retention_days": 1},
        {"sink": "s3", "bucket": "b-1", "region": REGION, "mode": "governance", "retention_days": 0},
        {"sink": "s3", "bucket": "B", "region": REGION, "mode": "governance", "retention_days": 1},
        {
            "sink": "s3",
            "bucket": "b-1",
            "region": REGION,
            "mode": "governance",
            "retention_days": 1,
            "prefix": "a",
        },
        {
            "sink": "s3",
            "bucket": "b-1",
            "region": REGION,
            "mode": "governance",
            "retention_days": 1,
            "prefix": "../",
        },
    ],
)
def test_a_section_that_is_not_one_is_refused(tmp_path: Path, section: dict[str, Any]) -> None:
    with pytest.raises(HostError, match="audit_log"):
        parsed(tmp_path, audit_log=section)
