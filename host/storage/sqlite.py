"""The embedded store: one SQLite file in WAL mode, synced before a write is answered.

Writes go to one thread, which commits whatever waits in one transaction: concurrent writers share the cost of the sync. Reads run
where they are asked: a lookup takes about 5 µs (a listing of 1,000 keys 500 µs), a hop to another thread and back about 70 µs.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from host.errors import HostError
from host.webhooks import sqlite_tables
from host.webhooks.events import Arrival
from host.webhooks.sqlite_outbox import SqliteOutbox
from protocol.envelope.errors import Culprit

from . import EpochConflict, StorageError, Store, Stored

T = TypeVar("T")

APPLICATION_ID: Final = 0x434F5349  # "COSI", in the file's header
SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 5.0
_MAX_BATCH: Final = 256

_SCHEMA: Final = """
CREATE TABLE record (
    key TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    value BLOB NOT NULL CHECK (length(value) >= 1)
) STRICT
"""


@dataclass(frozen=True, slots=True)
class _Write:
    """Work inside a transaction, and who waits for its outcome."""

    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def apply(self, connection: sqlite3.Connection) -> tuple[Any, Exception | None]:
        """Carry it out inside the open transaction; what it returned, or the conflict that it found."""
        try:
            return self.work(connection), None
        except EpochConflict as conflict:
            return None, conflict


class SqliteStore(Store):
    """A store in one file. Several processes may open the same file; SQLite's locks order their writes.

    :param path: created, readable by its owner only, if it does not exist; its folder must.
    :raises HostError: ``storage_unusable``: the file cannot be opened or is not such a store.
    """

    def __init__(self, path: str) -> None:
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closed = False
        self.outbox = SqliteOutbox(self)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._writer = _open(path)
            try:
                _prepare(self._writer)
                self._reader = _open(path)
            except BaseException:
                self._writer.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise HostError(
                "storage_unusable",
                f"Cannot use {path} as storage: {error}. Give a path in an existing folder, writable by this user.",
                culprit=Culprit.STORAGE,
            ) from None
        self._thread = threading.Thread(target=self._write_loop, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def get(self, key: str) -> Stored | None:
        row = self.read("SELECT epoch, value FROM record WHERE key = ?", (key,))
        return Stored(*row[0]) if row else None

    async def keys(self, prefix: str, *, after: str, count: int) -> list[str]:
        # Keys are ASCII, none ends in "/", and "0" follows "/": the keys below "a/" are those between "a/" and "a0".
        end = prefix[:-1] + "0" if prefix else "\x7f"
        rows = self.read(
            "SELECT key FROM record WHERE key > ? AND key < ? ORDER BY key LIMIT ?",
            (max(after, prefix), end, count),
        )
        return [key for (key,) in rows]

    async def put(
        self, key: str, *, expected: int, epoch: int, value: bytes, arrival: Arrival | None = None
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if expected == 0:
                cursor = connection.execute(
                    "INSERT INTO record (key, epoch, value) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
                    (key, epoch, value),
                )
            else:
                cursor = connection.execute(
                    "UPDATE record SET epoch = ?, value = ? WHERE key = ? AND epoch = ?",
                    (epoch, value, key, expected),
                )
            _require_change(connection, cursor, key)
            if arrival is not None:
                sqlite_tables.record(connection, arrival)

        await self.transact(work)
        if arrival is not None:
            self.outbox.arrived(arrival)

    async def delete(self, key: str, *, expected: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            cursor = connection.execute("DELETE FROM record WHERE key = ? AND epoch = ?", (key, expected))
            _require_change(connection, cursor, key)

        await self.transact(work)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reader.close()

    def read(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """What a query finds: everything that was committed before."""
        if self._closed:
            raise StorageError("it is closed")
        try:
            return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(_reason(error)) from None

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the writer's thread, in a transaction that others may share; it may raise :exc:`EpochConflict` before it has
        changed anything, and nothing else.
        """
        if self._closed:
            raise StorageError("it is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(work, future, loop))
        return await future

    def _write_loop(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            last = False
            while len(batch) < _MAX_BATCH and not last:
                try:
                    write = self._queue.get_nowait()
                except queue.Empty:
                    break
                if write is None:
                    last = True
                else:
                    batch.append(write)
            _settle(batch, self._commit(batch))
            if last:
                break
        self._writer.close()

    def _commit(self, batch: Sequence[_Write]) -> Sequence[tuple[Any, Exception | None]]:
        """Carry out a batch in one transaction; an outcome for each, all of them failures if the transaction fails."""
        connection = self._writer
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [write.apply(connection) for write in batch]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.rollback()
            return [(None, StorageError(_reason(error))) for _ in batch]
        return outcomes


def _require_change(connection: sqlite3.Connection, cursor: sqlite3.Cursor, key: str) -> None:
    if cursor.rowcount != 1:
        row = connection.execute("SELECT epoch FROM record WHERE key = ?", (key,)).fetchone()
        raise EpochConflict(0 if row is None else int(row[0]))


def _settle(batch: Sequence[_Write], outcomes: Sequence[tuple[Any, Exception | None]]) -> None:
    """Hand outcomes to the event loops that wait for them, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
    for write, (result, failure) in zip(batch, outcomes, strict=True):
        by_loop.setdefault(write.loop, []).append(_resolver(write.future, result, failure))
    for loop, resolvers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_run_all, resolvers)
        except RuntimeError:  # that loop is closed: nobody waits there any more
            continue


def _run_all(functions: Sequence[Callable[[], None]]) -> None:
    for function in functions:
        function()


def _resolver(future: asyncio.Future[Any], result: object, failure: Exception | None) -> Callable[[], None]:
    def resolve() -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)

    return resolve


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # the log is synced before a commit returns
        connection.execute("PRAGMA fullfsync = ON")  # where fsync alone does not reach the medium
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Create the table in a new file; refuse a file that is something else."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (application, version, tables) == (0, 0, 0):
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif application != APPLICATION_ID:
            raise sqlite3.DatabaseError("it is another program's database")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(
                f"its schema has version {version}, this program knows {SCHEMA_VERSION}"
            )
        for statement in sqlite_tables.SCHEMA:
            connection.execute(statement)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _reason(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)
