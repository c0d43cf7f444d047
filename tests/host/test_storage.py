"""The SQLite store against its contract: conditional, ordered, durable, and one winner of a race."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sqlite3
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, rule

from host.errors import HostError
from host.storage import EpochConflict, StorageError, Store, Stored
from host.storage.sqlite import SqliteStore
from tests.host.store_model import StoreModel


def with_store(path: Path, body: Any) -> None:
    async def run() -> None:
        store = SqliteStore(str(path))
        try:
            await body(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_a_value_comes_back_with_its_epoch(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        assert await store.get("a/b") is None
        await store.put("a/b", expected=0, epoch=1, value=b"one")
        assert await store.get("a/b") == Stored(1, b"one")
        await store.put("a/b", expected=1, epoch=2, value=bytes(range(256)) * 256)
        assert await store.get("a/b") == Stored(2, bytes(range(256)) * 256)

    with_store(tmp_path / "s", body)


def test_a_wrong_epoch_changes_nothing_and_says_the_right_one(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(EpochConflict) as caught:
            await store.put("k", expected=1, epoch=2, value=b"x")
        assert caught.value.current == 0
        await store.put("k", expected=0, epoch=5, value=b"x")
        for attempt in (0, 4, 6):
            with pytest.raises(EpochConflict) as caught:
                await store.put("k", expected=attempt, epoch=9, value=b"y")
            assert caught.value.current == 5
        with pytest.raises(EpochConflict) as caught:
            await store.delete("k", expected=4)
        assert caught.value.current == 5
        assert await store.get("k") == Stored(5, b"x")
        await store.delete("k", expected=5)
        assert await store.get("k") is None
        with pytest.raises(EpochConflict) as caught:
            await store.delete("k", expected=5)
        assert caught.value.current == 0

    with_store(tmp_path / "s", body)


def test_a_listing_is_sorted_paged_and_keeps_to_its_prefix(tmp_path: Path) -> None:
    keys = ["a", "a-b/c", "a/0", "a/b", "a/b/c", "a0", "b/a"] + [f"w/{number:04d}" for number in range(250)]

    async def body(store: Store) -> None:
        await asyncio.gather(*(store.put(key, expected=0, epoch=1, value=b"v") for key in keys))
        assert await store.keys("a/", after="", count=1000) == ["a/0", "a/b", "a/b/c"]
        assert await store.keys("", after="", count=1000) == sorted(keys)
        assert await store.keys("a/b/", after="", count=1000) == ["a/b/c"]
        assert await store.keys("nothing/", after="", count=1000) == []
        assert await store.keys("a/", after="b", count=10) == []
        assert await store.keys("w/", after="a", count=1) == ["w/0000"]
        found: list[str] = []
        while page := await store.keys("w/", after=found[-1] if found else "", count=60):
            assert len(page) <= 60
            found += page
        assert found == [key for key in keys if key.startswith("w/")]

    with_store(tmp_path / "s", body)


def test_of_many_threads_exactly_one_wins_each_epoch(tmp_path: Path) -> None:
    path, rounds, threads = str(tmp_path / "s"), 10, 8
    wins: list[tuple[int, int]] = []
    barrier = threading.Barrier(threads)

    def compete(number: int) -> None:
        async def run() -> None:
            store = SqliteStore(path)  # a connection of its own, as another process would have
            try:
                for epoch in range(rounds):
                    barrier.wait(20)
                    with contextlib.suppress(EpochConflict):
                        await store.put("k", expected=epoch, epoch=epoch + 1, value=b"%d" % number)
                        wins.append((epoch, number))
                    barrier.wait(20)
            finally:
                await store.close()

        asyncio.run(run())

    workers = [threading.Thread(target=compete, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [epoch for epoch, _ in sorted(wins)] == list(range(rounds))


def test_of_many_tasks_in_one_batch_exactly_one_wins(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        outcomes = await asyncio.gather(
            *(store.put("k", expected=0, epoch=1, value=b"%d" % number) for number in range(100)),
            return_exceptions=True,
        )
        winners = [number for number, outcome in enumerate(outcomes) if outcome is None]
        assert len(winners) == 1
        assert await store.get("k") == Stored(1, b"%d" % winners[0])

    with_store(tmp_path / "s", body)


def _put_and_wait_to_be_killed(path: str, connection: Any) -> None:
    async def run() -> None:
        store = SqliteStore(path)
        for number in range(1, 200):
            await store.put("k", expected=number - 1, epoch=number, value=b"%d" % number)
            connection.send(number)

    asyncio.run(run())


def test_a_put_that_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_put_and_wait_to_be_killed, args=(str(tmp_path / "s"), there))
    process.start()
    there.close()
    while here.recv() < 5:
        pass
    process.kill()
    process.join(20)
    acknowledged = 5
    try:
        while here.poll():
            acknowledged = here.recv()
    except EOFError:
        pass
    here.close()

    async def body(store: Store) -> None:
        stored = await store.get("k")
        assert stored is not None
        assert stored.epoch in {acknowledged, acknowledged + 1}  # the last one may not have been told
        assert stored.value == b"%d" % stored.epoch

    with_store(tmp_path / "s", body)


def test_the_file_is_durable_by_its_settings_and_private(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def body(store: SqliteStore) -> None:
        assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        await store.put("k", expected=0, epoch=1, value=b"v")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "s-wal").stat().st_mode) == 0o600

    with_store(path, body)


def test_a_file_that_is_no_such_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"not a database" * 100)
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with sqlite3.connect(tmp_path / "newer") as newer:
        newer.execute("PRAGMA application_id = 0x434F5349")
        newer.execute("PRAGMA user_version = 2")
        newer.execute("CREATE TABLE record (x)")
    newer.close()
    for name in ("text", "other", "newer", "missing/folder/file", "."):
        before = (tmp_path / name).read_bytes() if (tmp_path / name).is_file() else None
        with pytest.raises(HostError) as caught:
            SqliteStore(str(tmp_path / name))
        assert caught.value.code == "storage_unusable"
        if before is not None and name == "text":
            assert (tmp_path / name).read_bytes() == before


def test_a_failing_transaction_fails_its_writes_and_no_others(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        await store.put("k", expected=0, epoch=1, value=b"v")
        with pytest.raises(StorageError) as caught:
            await store.put("k", expected=1, epoch=0, value=b"w")  # breaks the table's own check
        assert caught.value.code == "storage_unavailable"
        assert caught.value.reaction == "retry"
        await store.put("k", expected=1, epoch=2, value=b"w")
        assert await store.get("k") == Stored(2, b"w")

    with_store(tmp_path / "s", body)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> None:
        await store.close()
        with pytest.raises(StorageError):
            await store.get("k")
        with pytest.raises(StorageError):
            await store.put("k", expected=0, epoch=1, value=b"v")

    with_store(tmp_path / "s", body)


class SqliteModel(StoreModel):
    """Through any order of operations and reopenings."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="ch-")
        self.store = self.opened()

    def opened(self) -> SqliteStore:
        return SqliteStore(f"{self.folder.name}/store")

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    @rule()
    def reopen(self) -> None:
        self.do(self.store.close())
        self.store = self.opened()

    @invariant()
    def keys_are_the_same(self) -> None:
        self.same_keys()


TestStoreModel = SqliteModel.TestCase
TestStoreModel.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
