"""The service's own storage for encrypted backups: slots in the host's store (``protocol.envelope.backups``).

The enclave opens a slot, through its storage port, for a user whom it knows; the host takes a backup for an open slot only, and asks for
nothing but its locator. It sees ciphertext. Emptying a slot leaves it open.
"""

from __future__ import annotations

from typing import Final, Self

from protocol.envelope.backups import EMPTY, MIN_BACKUP, slot_key
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import MAX_STORED_VALUE

from .errors import HostError
from .metrics import Metrics
from .problems import client_error
from .storage import EpochConflict, Store, Stored

MAX_BACKUP: Final = MAX_STORED_VALUE
_LAST_EPOCH: Final = (1 << 32) - 1


class Backups:
    """The slots of a store."""

    def __init__(self, store: Store, *, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def keep(self, environment: str, locator: str, backup: bytes) -> None:
        """Keep a backup in an open slot, in place of what was there. Durable when this returns.

        :raises HostError: ``backup_malformed``, ``backup_unknown``, ``backup_conflict``, ``backup_exhausted``.
        :raises StorageError: whether it was kept is unknown; it may be sent again.
        """
        with self._counted("put") as done:
            if len(backup) < MIN_BACKUP:
                raise client_error("backup_malformed", f"A backup has {MIN_BACKUP} to {MAX_BACKUP} bytes.")
            await self._replace(environment, locator, backup)
            done("kept")

    async def fetch(self, environment: str, locator: str) -> bytes:
        """The backup in a slot.

        :raises HostError: ``backup_unknown``: there is no such slot, or nothing in it.
        """
        with self._counted("get") as done:
            stored = await self._open(environment, locator)
            if stored.value == EMPTY:
                raise _unknown()
            done("found")
            return stored.value

    async def empty(self, environment: str, locator: str) -> None:
        """Forget the backup in a slot, and leave the slot open.

        :raises HostError: as :meth:`keep`.
        """
        with self._counted("delete") as done:
            await self._replace(environment, locator, EMPTY)
            done("emptied")

    async def _replace(self, environment: str, locator: str, value: bytes) -> None:
        stored = await self._open(environment, locator)
        if stored.value == value:
            return
        if stored.epoch >= _LAST_EPOCH:
            raise client_error("backup_exhausted", "This backup was replaced too often; begin another one.")
        try:
            await self._store.put(
                slot_key(environment, locator), expected=stored.epoch, epoch=stored.epoch + 1, value=value
            )
        except EpochConflict as conflict:
            if not conflict.current:  # the enclave has closed the slot in between
                raise _unknown() from None
            raise HostError(
                "backup_conflict",
                "Another request changed this backup at the same moment. Look at what is there before you send it again.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.RETRY,
            ) from None

    async def _open(self, environment: str, locator: str) -> Stored:
        stored = await self._store.get(slot_key(environment, locator))
        if stored is None:
            raise _unknown()
        return stored

    def _counted(self, operation: str) -> _Counted:
        return _Counted(self._metrics, operation)


class _Counted:
    """Counts one operation under its outcome: a word of ours, or the code of the error that ended it."""

    def __init__(self, metrics: Metrics, operation: str) -> None:
        self._metrics = metrics
        self._operation = operation
        self._outcome = "failed"

    def __enter__(self) -> Self:
        return self

    def __call__(self, outcome: str) -> None:
        self._outcome = outcome

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        outcome = error.code if isinstance(error, CosignerError) else self._outcome
        self._metrics.backups.labels(self._operation, outcome).inc()


def _unknown() -> HostError:
    return client_error("backup_unknown", "No backup is kept here under this locator.")
