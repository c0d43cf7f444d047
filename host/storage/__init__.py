"""The store of the enclave's sealed records: what every backend must do.

To the host a record is opaque bytes under a key, with an epoch that the enclave counts up. All writes are conditional on the epoch, so
that of several writers exactly one wins. The enclave does not trust the store: a wrong or old answer is found out when the record is
opened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from host.webhooks.events import Arrival
from host.webhooks.outbox import Outbox
from protocol.envelope.errors import CosignerError, Culprit, Reaction


@dataclass(frozen=True, slots=True)
class Stored:
    """A value of 1 to 65,536 bytes and its epoch, from 1."""

    epoch: int
    value: bytes


class EpochConflict(Exception):  # noqa: N818  (an outcome of a conditional write, not a failure)
    """The key's epoch is ``current`` (0: the key is absent), not the expected one. Nothing was changed."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the key's epoch is {current}")
        self.current = current


class StorageError(CosignerError):
    """The store failed; whether a write was carried out is unknown, and the same conditional write may be tried again."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "storage_unavailable",
            f"The host's storage failed: {reason}.",
            culprit=Culprit.STORAGE,
            reaction=Reaction.RETRY,
        )


class Store(ABC):
    """A store of records. Keys are checked by the caller (``protocol.envelope.messages.StorageKey``).

    Every method raises :exc:`StorageError` when the store fails. A write that returned is durable.

    :ivar outbox: the events that were written with records, and what became of them.
    """

    outbox: Outbox

    @abstractmethod
    async def get(self, key: str) -> Stored | None:
        """The key's record, ``None`` if it has none. Sees every write that returned before."""

    @abstractmethod
    async def put(
        self, key: str, *, expected: int, epoch: int, value: bytes, arrival: Arrival | None = None
    ) -> None:
        """Store ``value`` at ``epoch`` if the key's epoch is ``expected`` (0: if the key is absent).

        :param arrival: an event that is kept in the same transaction; one whose id is known already is kept once.
        :raises EpochConflict: it is not.
        """

    @abstractmethod
    async def delete(self, key: str, *, expected: int) -> None:
        """Delete the key if its epoch is ``expected``, which is at least 1.

        :raises EpochConflict: it is not.
        """

    @abstractmethod
    async def keys(self, prefix: str, *, after: str, count: int) -> list[str]:
        """At most ``count`` keys that begin with ``prefix`` (empty, or ending in ``/``) and sort after ``after``, in order."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was asked and close. May be called again."""
