"""A host's storage in memory, with everything that a host can do to it, and a process that can die at any of its writes."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from enclave.records import Records
from enclave.storage import StorageConflictError
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import Found, OutboxEvent
from threshold import SealingKey

ENVIRONMENT = "sandbox"
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/sandbox"
DATA_KEY = bytes(range(1, 33))


class Died(BaseException):
    """The enclave is gone, in the middle of whatever it did."""


def unavailable() -> CosignerError:
    return CosignerError(
        "storage_unavailable", "The disk is on fire.", culprit=Culprit.STORAGE, reaction=Reaction.RETRY
    )


class HostileStorage:
    """Storage that keeps every state it ever had.

    :ivar records: key to (epoch, value).
    :ivar history: every value ever put under a key, oldest first.
    :ivar events: what developers would be told, by event id.
    :ivar faults: what to do at the next puts, in order: ``None`` lets one pass; ``("before" or "after", error)`` raises before or after
        it took effect.
    :ivar puts: how many were tried.
    :ivar pause: awaited in every call, so that concurrent callers mix.
    """

    def __init__(self) -> None:
        self.records: dict[str, tuple[int, bytes]] = {}
        self.history: dict[str, list[tuple[int, bytes]]] = {}
        self.events: dict[str, OutboxEvent] = {}
        self.faults: list[tuple[str, BaseException | type[BaseException]] | None] = []
        self.puts = 0
        self.gets = 0

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """A state to roll back to."""
        return copy.copy(self.records)

    def roll_back(self, snapshot: dict[str, tuple[int, bytes]], *prefixes: str) -> None:
        """The records whose keys begin so (all by default) as they were then; what did not exist then goes."""
        for key in {*self.records, *snapshot}:
            if not prefixes or any(key.startswith(f"environments/{ENVIRONMENT}/{p}") for p in prefixes):
                if key in snapshot:
                    self.records[key] = snapshot[key]
                else:
                    self.records.pop(key, None)

    async def get(self, key: str) -> Found | None:
        self.gets += 1
        await asyncio.sleep(0)
        record = self.records.get(key)
        await asyncio.sleep(0)
        return None if record is None else Found(epoch=record[0], value=record[1])

    async def put(
        self, key: str, value: bytes, *, expected: int, epoch: int, event: OutboxEvent | None = None
    ) -> None:
        self.puts += 1
        await asyncio.sleep(0)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault[0] == "before":
            raise fault[1]
        current = self.records.get(key, (0, b""))[0]
        if current != expected:
            raise StorageConflictError(current)
        self.records[key] = (epoch, value)
        self.history.setdefault(key, []).append((epoch, value))
        if event is not None:
            self.events.setdefault(event.event_id, event)
        if fault is not None:
            raise fault[1]
        await asyncio.sleep(0)


class Hands:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def sealing_key() -> SealingKey:
    return SealingKey.from_data_key(DATA_KEY)


def records(
    storage: HostileStorage, *, monotonic: Callable[[], float] | None = None, **other: str
) -> Records:
    """The records as an enclave that was started just now sees them."""
    return Records(
        environment=other.get("environment", ENVIRONMENT),
        key_arn=other.get("key_arn", KEY_ARN),
        sealing_key=sealing_key(),
        storage=storage,
        monotonic=monotonic or Hands(),
    )
