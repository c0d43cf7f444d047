"""The outbox's tables in the SQLite store, and how an arrival is written: inside the transaction of the record that it tells of.

The tables were added to version 1 of the store; a program that does not know them leaves them alone.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from .events import Arrival

SCHEMA: Final = (
    """
CREATE TABLE IF NOT EXISTS event (
    event_id TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    subscription_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    subject TEXT NOT NULL,
    data BLOB NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT
""",
    "CREATE INDEX IF NOT EXISTS event_of_subject ON event (environment, subject, name)",
    """
CREATE TABLE IF NOT EXISTS delivery (
    message_id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL REFERENCES event,
    environment TEXT NOT NULL,
    redelivery INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT
""",
    "CREATE INDEX IF NOT EXISTS delivery_due ON delivery (environment, state, due_at)",
    "CREATE INDEX IF NOT EXISTS delivery_of_event ON delivery (event_id)",
    """
CREATE TABLE IF NOT EXISTS subscription (
    environment TEXT NOT NULL PRIMARY KEY,
    subscription_id TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT
""",
)


def record(connection: sqlite3.Connection, arrival: Arrival) -> None:
    """Keep an arrival, once; to be called inside a transaction."""
    event = arrival.event
    added = connection.execute(
        "INSERT INTO event (event_id, environment, name, subscription_id, endpoint, subject, data, recorded_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING",
        (
            event.event_id,
            event.environment,
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
            "INSERT OR REPLACE INTO subscription (environment, subscription_id, content) VALUES (?, ?, ?)",
            (event.environment, event.subscription_id, msgspec.json.encode(event.subscription)),
        )
    if arrival.message_id is not None:
        connection.execute(
            "INSERT INTO delivery (message_id, event_id, environment, redelivery, attempts, state, due_at, reason)"
            " VALUES (?, ?, ?, 0, 0, 'pending', ?, '')",
            (arrival.message_id, event.event_id, event.environment, event.recorded_at),
        )
