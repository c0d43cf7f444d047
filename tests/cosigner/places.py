"""A place for backups in memory, which loses, swaps and alters what a test tells it to."""

from __future__ import annotations

from typing import ClassVar

from cosigner.backups.locations import LocationError
from protocol.envelope.errors import Culprit, Reaction


class Place:
    """Implements :class:`cosigner.backups.locations.BackupLocation`.

    :ivar blobs: by name.
    :ivar down: whether it answers at all.
    """

    kind: ClassVar[str] = "service"

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.down = False

    async def put(self, name: str, blob: bytes) -> None:
        self._answer()
        self.blobs[name] = blob

    async def get(self, name: str) -> bytes:
        self._answer()
        if name not in self.blobs:
            raise LocationError(
                "backup_missing", "It is gone.", culprit=Culprit.STORAGE, reaction=Reaction.ABORT
            )
        return self.blobs[name]

    async def delete(self, name: str) -> None:
        self._answer()
        self.blobs.pop(name, None)

    async def names(self) -> list[str]:
        self._answer()
        return sorted(self.blobs)

    def _answer(self) -> None:
        if self.down:
            raise LocationError(
                "location_unavailable", "Not now.", culprit=Culprit.NETWORK, reaction=Reaction.RETRY
            )


class Cloud(Place):
    """As :class:`Place`, of another kind."""

    kind: ClassVar[str] = "s3"
