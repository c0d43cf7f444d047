"""Where the service keeps this device's backups: locators, which the enclave gives out once, so that a backup can be deleted there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.lifecycle import Locator
from protocol.names import EnvironmentId
from protocol.wallets import BackupId, WalletId
from threshold import ThresholdError

from ..errors import StoreError  # noqa: TID252
from .files import read, write, writing

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from threshold import SealingKey

_MOST: Final = 64  # the newest; a wallet has at most 16 backups


class LocatorsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seal is bound to."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    wallet_id: WalletId


class LocatorsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ID.backups``. :ivar sealed: locators by backup id, as CBOR, sealed as bytes."""

    header: LocatorsHeader
    sealed: Annotated[bytes, Meta(min_length=1, max_length=16384)]


class LocatorFiles:
    """The part of :class:`cosigner.store.ShareStore` that is about where backups lie."""

    _key: SealingKey

    def _path(self, wallet_id: str, kind: str) -> Path:
        raise NotImplementedError

    def keep_locator(self, environment: str, wallet_id: str, backup_id: str, locator: str) -> None:
        """Remember where the service keeps a backup.

        :raises StoreError: ``store_unwritable``, ``store_malformed``.
        """
        known = self.locators(environment, wallet_id)
        known.pop(backup_id, None)
        known[backup_id] = locator
        self._save_locators(environment, wallet_id, dict(list(known.items())[-_MOST:]))

    def drop_locators(self, environment: str, wallet_id: str, backup_ids: Collection[str]) -> None:
        """Forget where backups lay: they were deleted there.

        :raises StoreError: ``store_unwritable``, ``store_malformed``.
        """
        known = self.locators(environment, wallet_id)
        left = {backup_id: locator for backup_id, locator in known.items() if backup_id not in backup_ids}
        if left != known:
            self._save_locators(environment, wallet_id, left)

    def _save_locators(self, environment: str, wallet_id: str, kept: dict[str, str]) -> None:
        header = LocatorsHeader(version=1, environment=environment, wallet_id=wallet_id)
        sealed = self._key.seal_bytes(cbor.encode(kept), cbor.encode(header))
        path = self._path(wallet_id, "backups")
        with writing(path.parent):
            write(path, cbor.encode(LocatorsFile(header=header, sealed=sealed)))

    def locators(self, environment: str, wallet_id: str) -> dict[str, str]:
        """Locators by backup id.

        :raises StoreError: ``store_malformed``.
        """
        path = self._path(wallet_id, "backups")
        if not path.exists():
            return {}
        stored = read(path, LocatorsFile, missing="wallet_missing")
        if (stored.header.environment, stored.header.wallet_id) != (environment, wallet_id):
            raise _malformed(path)
        try:
            plain = self._key.open_bytes(stored.sealed, cbor.encode(stored.header))
            return cbor.decode(plain, dict[BackupId, Locator], culprit=Culprit.CLIENT)
        except (ThresholdError, ProtocolError):
            raise _malformed(path) from None


def _malformed(path: Path) -> StoreError:
    return StoreError(
        "store_malformed",
        f"{path} was altered, or belongs to another wallet or store. It can be removed: backups stay readable without it.",
    )
