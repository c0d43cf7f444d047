"""The outbox in the SQLite store: tables beside the records, written by the same thread in the same transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

import msgspec

from . import sqlite_tables
from .events import REVOKED, Arrival, Event, Subscription
from .outbox import Delivery, End, Line, Outbox, State, Subscribed

T = TypeVar("T")

_EVENT: Final = (
    "e.event_id, e.channel, e.name, e.subscription_id, e.endpoint, e.subject, e.data, e.recorded_at"
)
_PURGE_BATCH: Final = 1000


class Database(Protocol):
    """What an outbox needs of the store that it belongs to."""

    def read(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]: ...

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class SqliteOutbox(Outbox):
    """:class:`host.webhooks.outbox.Outbox` in tables of a :class:`host.storage.sqlite.SqliteStore`."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    async def channels(self) -> list[str]:
        rows = self._database.read(
            "SELECT channel FROM subscription UNION SELECT channel FROM notices ORDER BY channel", ()
        )
        return [channel for (channel,) in rows]

    async def subscription(self, channel: str) -> Subscribed | None:
        rows = self._database.read(
            "SELECT subscription_id, content FROM subscription WHERE channel = ?", (channel,)
        )
        return Subscribed(rows[0][0], msgspec.json.decode(rows[0][1], type=Subscription)) if rows else None

    async def secret(self, channel: str, *, new: bool = False) -> str:
        statement = "SELECT secret FROM notices WHERE channel = ?"
        rows = self._database.read(statement, (channel,))
        if new or not rows:
            await self._database.transact(
                lambda connection: sqlite_tables.make_secret(connection, channel, new=new)
            )
            rows = self._database.read(statement, (channel,))
        return str(rows[0][0])

    async def add(self, arrival: Arrival) -> None:
        await self._database.transact(lambda connection: sqlite_tables.record(connection, arrival))
        self.arrived(arrival)

    async def claim(self, channel: str, *, now: int, until: int, count: int) -> list[Delivery]:
        due = (
            "FROM delivery d JOIN event e USING (event_id)"
            " WHERE d.channel = ? AND d.state = 'pending' AND d.due_at <= ? ORDER BY d.due_at, d.rowid LIMIT ?"
        )
        if not self._database.read(f"SELECT 1 {due}", (channel, now, 1)):
            return []  # without a turn of the writer

        def work(connection: sqlite3.Connection) -> list[Delivery]:
            rows = connection.execute(
                f"SELECT d.message_id, d.attempts, d.redelivery, {_EVENT} {due}",
                (channel, now, count),
            ).fetchall()
            connection.executemany(
                "UPDATE delivery SET due_at = ? WHERE message_id = ?", [(until, row[0]) for row in rows]
            )
            return [Delivery(row[0], Event(*row[3:]), row[1], until, bool(row[2])) for row in rows]

        return await self._database.transact(work)

    async def postpone(self, delivery: Delivery, *, attempts: int, due_at: int, reason: str) -> None:
        await self._change(delivery, "pending", attempts, due_at, reason)

    async def finish(self, delivery: Delivery, end: End, *, now: int, reason: str) -> None:
        await self._change(delivery, end, delivery.attempts + (end != "dropped"), now, reason)

    async def revoked(self, channel: str, subject: str) -> bool:
        return bool(
            self._database.read(
                "SELECT 1 FROM event WHERE channel = ? AND subject = ? AND name = ? LIMIT 1",
                (channel, subject, REVOKED),
            )
        )

    async def lines(self, channel: str, state: State, *, count: int) -> list[Line]:
        order = "" if state == "pending" else " DESC"
        rows = self._database.read(
            "SELECT d.message_id, d.event_id, d.channel, e.name, d.state, d.attempts, d.due_at, d.reason, d.redelivery"  # noqa: S608
            " FROM delivery d JOIN event e USING (event_id) WHERE d.channel = ? AND d.state = ?"
            f" ORDER BY d.due_at{order}, d.rowid{order} LIMIT ?",
            (channel, state, count),
        )
        return [replace(Line(*row), redelivery=bool(row[8])) for row in rows]

    async def event(self, channel: str, event_id: str) -> Event | None:
        rows = self._database.read(
            f"SELECT {_EVENT} FROM event e WHERE e.channel = ? AND e.event_id = ?",  # noqa: S608  (constants)
            (channel, event_id),
        )
        return Event(*rows[0]) if rows else None

    async def redeliver(self, event: Event, *, message_id: str, now: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE delivery SET state = 'dropped', reason = 'redelivered' WHERE event_id = ? AND state = 'dead'",
                (event.event_id,),
            )
            connection.execute(
                "INSERT INTO delivery (message_id, event_id, channel, redelivery, attempts, state, due_at, reason)"
                " VALUES (?, ?, ?, 1, 0, 'pending', ?, '')",
                (message_id, event.event_id, event.channel, now),
            )

        await self._database.transact(work)
        self.notify(event.channel)

    async def purge(self, channel: str, *, before: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            gone = connection.execute(
                "DELETE FROM delivery WHERE message_id IN (SELECT message_id FROM delivery"
                " WHERE channel = ? AND state <> 'pending' AND due_at < ? LIMIT ?)",
                (channel, before, _PURGE_BATCH),
            ).rowcount
            connection.execute(
                "DELETE FROM event WHERE channel = ? AND recorded_at < ? AND name <> 'subscription'"
                " AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = event.event_id)",
                (channel, before),
            )
            return gone

        total = 0
        while gone := await self._database.transact(work):
            total += gone
        return total

    async def _change(self, delivery: Delivery, state: State, attempts: int, at: int, reason: str) -> None:
        await self._database.transact(
            lambda connection: connection.execute(
                "UPDATE delivery SET state = ?, attempts = ?, due_at = ?, reason = ?"
                " WHERE message_id = ? AND state = 'pending' AND due_at = ?",
                (state, attempts, at, reason, delivery.message_id, delivery.due_at),
            )
        )
