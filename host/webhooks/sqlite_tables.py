"""The outbox's tables in the SQLite store, and how an arrival is written: inside the transaction of the record that it tells of.

The tables were added to version 1 of the store; a program that does not know them leaves them alone.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from .events import Arrival, new_secret

SCHEMA: Final = (
    """
CREATE TABLE IF NOT EXISTS event (
    event_id TEXT NOT NULL PRIMARY KEY,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    subscription_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    subject TEXT NOT NULL,
    data BLOB NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT
""",
    "CREATE INDEX IF NOT EXISTS event_of_subject ON event (channel, subject, name)",
    """
CREATE TABLE IF NOT EXISTS delivery (
    message_id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL REFERENCES event,
    channel TEXT NOT NULL,
    redelivery INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT
""",
    "CREATE INDEX IF NOT EXISTS delivery_due ON delivery (channel, state, due_at)",
    "CREATE INDEX IF NOT EXISTS delivery_of_event ON delivery (event_id)",
    """
CREATE TABLE IF NOT EXISTS notices (channel TEXT NOT NULL PRIMARY KEY, secret TEXT NOT NULL) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS subscription (
    channel TEXT NOT NULL PRIMARY KEY,
    subscription_id TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT
""",
)


def record(connection: sqlite3.Connection, arrival: Arrival) -> None:
    """Keep an arrival, once; to be called inside a transaction."""
    event = arrival.event
    added = connection.execute(
        "INSERT INTO event (event_id, channel, name, subscription_id, endpoint, subject, data, recorded_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
        (
            event.event_id,
            event.channel,
            event.name,
            event.subscription_id,
            event.endpoint,
            event.subject,
            event.data,
            event.recorded_at,
        ),
    ).rowcount
    if not added:
        return
    if event.subscription is not None:
        connection.execute(
            "INSERT OR REPLACE INTO subscription (channel, subscription_id, content) VALUES (?, ?, ?)",
            (event.channel, event.subscription_id, msgspec.json.encode(event.subscription)),
        )
    if event.is_notice:
        make_secret(connection, event.channel)
    if arrival.message_id is not None:
        connection.execute(
            "INSERT INTO delivery (message_id, event_id, channel, redelivery, attempts, state, due_at, reason)"
            " VALUES (?, ?, ?, 0, 0, 'pending', ?, '')",
            (arrival.message_id, event.event_id, event.channel, event.recorded_at),
        )


def make_secret(connection: sqlite3.Connection, channel: str, *, new: bool = False) -> None:
    """Give a channel of notices its secret, if it has none or another is wanted; to be called inside a transaction."""
    if new:
        connection.execute("DELETE FROM notices WHERE channel = ?", (channel,))
    connection.execute(
        "INSERT OR IGNORE INTO notices (channel, secret) VALUES (?, ?)", (channel, new_secret())
    )
