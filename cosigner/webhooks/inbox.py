"""What came, once each: effects are keyed on the event, and a revocation stays.

Webhooks come at least once and in no order. The inbox is one SQLite file; an event and what it changes are written in one transaction.

* An event that was handled is *repeated*: nothing changes, whatever message brought it.
* A delegation that was revoked never comes back: a late ``created`` finds the tombstone. Where a sender names share sets, a tombstone
  names one; where it names wallets only, everything that happened to the wallet before the revocation is revoked.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from cosigner.errors import StoreError

from .envelope import Opened
from .events import Created, Event, Revoked
from .sealing import Sealer

APPLICATION_ID: Final = 0x434F4842  # "COHB", in the file's header
SCHEMA_VERSION: Final = 1

Result = Literal["new", "repeated", "late"]

_SCHEMA: Final = """
CREATE TABLE event (event_id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, happened_at INTEGER NOT NULL) STRICT;
CREATE TABLE message (message_id TEXT NOT NULL PRIMARY KEY, event_id TEXT NOT NULL) STRICT;
CREATE TABLE delegation (
    wallet_id TEXT NOT NULL,
    share_set_id TEXT NOT NULL,
    chain TEXT NOT NULL,
    user_id TEXT NOT NULL,
    public_key TEXT NOT NULL,
    happened_at INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (wallet_id, share_set_id)
) STRICT;
CREATE TABLE tombstone (
    wallet_id TEXT NOT NULL,
    share_set_id TEXT NOT NULL,
    happened_at INTEGER NOT NULL,
    PRIMARY KEY (wallet_id, share_set_id)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Delegation:
    """A delegation that is in force, as far as this inbox was told.

    :ivar share_set_id: empty from senders that do not name it.
    """

    wallet_id: str
    share_set_id: str
    chain: str
    user_id: str
    public_key: str
    opened: Opened = field(repr=False)


class Inbox:
    """An inbox in a file; for any number of threads and processes.

    :param path: made, readable by its owner only, if there is none.
    :param sealer: seals shares and API keys.
    :raises StoreError: ``inbox_unusable``.
    """

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self._sealer = sealer
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise _unusable(f"{path}: {error}") from None

    def note(self, event: Event) -> Result:
        """Remember an event without an effect here. Call it after the effect elsewhere: if that fails, the event comes again."""
        with self._writing():
            return self._first_time(event)

    def create(self, event: Event, created: Created, opened: Opened) -> Result:
        """Keep a delegation, unless it was revoked: then ``late``, and nothing of it is kept."""
        happened_at = _milliseconds(event)
        share_set_id = created.share_set_id or ""
        sealed = self._sealer.seal(
            json.dumps({"share": opened.share, "api_key": opened.api_key}).encode(),
            _context(created.wallet_id, share_set_id),
        )
        with self._writing():
            if self._first_time(event) == "repeated":
                return "repeated"
            if self._is_revoked(created.wallet_id, share_set_id, happened_at):
                return "late"
            self._connection.execute(
                "INSERT INTO delegation VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET chain = excluded.chain,"
                " user_id = excluded.user_id, public_key = excluded.public_key, sealed = excluded.sealed,"
                " happened_at = excluded.happened_at WHERE excluded.happened_at >= happened_at",
                (
                    created.wallet_id,
                    share_set_id,
                    created.chain,
                    created.user_id or "",
                    created.public_key,
                    happened_at,
                    sealed,
                ),
            )
            return "new"

    def revoke(self, event: Event, revoked: Revoked) -> Result:
        """Forget a delegation's secrets, and remember for ever that it was revoked."""
        happened_at = _milliseconds(event)
        share_set_id = revoked.share_set_id or ""
        with self._writing():
            if self._first_time(event) == "repeated":
                return "repeated"
            self._connection.execute(
                "INSERT INTO tombstone VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
                " SET happened_at = max(happened_at, excluded.happened_at)",
                (revoked.wallet_id, share_set_id, happened_at),
            )
            if share_set_id:
                self._connection.execute(
                    "DELETE FROM delegation WHERE wallet_id = ? AND share_set_id = ?",
                    (revoked.wallet_id, share_set_id),
                )
            # A delegation without a share set is the wallet's only one: whatever is revoked of the wallet, it is.
            self._connection.execute(
                "DELETE FROM delegation WHERE wallet_id = ? AND happened_at <= ? AND (share_set_id = '' OR ? = '')",
                (revoked.wallet_id, happened_at, share_set_id),
            )
            return "new"

    def delegations(self) -> list[Delegation]:
        """Those in force, opened.

        :raises StoreError: ``delegation_not_authentic``, ``sealing_key_unusable``.
        """
        return [self._opened(row) for row in self._rows("", ())]

    def delegation(self, wallet_id: str, share_set_id: str | None = None) -> Delegation | None:
        """A wallet's delegation: the newest one, unless a share set is named."""
        named = "" if share_set_id is None else " AND share_set_id = ?"
        values = (wallet_id,) if share_set_id is None else (wallet_id, share_set_id)
        rows = self._rows(f"WHERE wallet_id = ?{named}", values)
        return self._opened(rows[-1]) if rows else None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _first_time(self, event: Event) -> Result:
        self._connection.execute(
            "INSERT OR IGNORE INTO message VALUES (?, ?)", (event.message_id, event.event_id)
        )
        added = self._connection.execute(
            "INSERT OR IGNORE INTO event VALUES (?, ?, ?)",
            (event.event_id, event.event_name, _milliseconds(event)),
        ).rowcount
        return "new" if added else "repeated"

    def _is_revoked(self, wallet_id: str, share_set_id: str, happened_at: int) -> bool:
        rows = self._connection.execute(
            "SELECT share_set_id, happened_at FROM tombstone WHERE wallet_id = ?", (wallet_id,)
        )
        for buried, at in rows:
            if buried == share_set_id != "":
                return True
            if "" in {buried, share_set_id} and happened_at <= at:
                return True
        return False

    def _rows(self, where: str, values: tuple[str, ...]) -> list[Any]:
        with self._lock, _failures():
            return self._connection.execute(
                "SELECT wallet_id, share_set_id, chain, user_id, public_key, sealed FROM delegation"  # noqa: S608  (constants)
                f" {where} ORDER BY happened_at, rowid",
                values,
            ).fetchall()

    def _opened(self, row: Any) -> Delegation:  # noqa: ANN401  (a row)
        wallet_id, share_set_id, chain, user_id, public_key, sealed = row
        content = json.loads(self._sealer.open(sealed, _context(wallet_id, share_set_id)))
        opened = Opened(content["share"], content["api_key"])
        return Delegation(wallet_id, share_set_id, chain, user_id, public_key, opened)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, _failures():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _prepare(self) -> None:
        for pragma in (
            "journal_mode = DELETE",  # no log beside the file in which a revoked share would live on
            "synchronous = FULL",
            "secure_delete = ON",  # what is deleted is overwritten
            "trusted_schema = OFF",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("BEGIN EXCLUSIVE")
        found = tuple(
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if found == (0, 0) and tables == 0:
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif found != (APPLICATION_ID, SCHEMA_VERSION):
            raise sqlite3.DatabaseError("it is another program's database, or another version's")
        self._connection.execute("COMMIT")


def _milliseconds(event: Event) -> int:
    return round(event.timestamp.timestamp() * 1000)


def _context(wallet_id: str, share_set_id: str) -> bytes:
    return json.dumps(["cosigner/delegation/v1", wallet_id, share_set_id]).encode()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _unusable(str(error)) from None


def _unusable(reason: str) -> StoreError:
    return StoreError("inbox_unusable", f"The inbox cannot be used: {reason}.")
