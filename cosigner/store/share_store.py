"""A share store as a whole: made once, opened with its passphrase."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from protocol.envelope import cbor
from threshold import ThresholdError

from ..errors import StoreError  # noqa: TID252
from .files import make_directory, read, write, writing
from .formats import SALT_LENGTH, KdfParameters, StoredWallet, StoreFile
from .locators import LocatorFiles
from .shares import ShareFiles
from .users import UserFiles

if TYPE_CHECKING:
    from pathlib import Path

    from threshold import KeyShare, SealingKey

    from .shares import _Versions

_CHECK: Final = b"cosigner/store-check/v1"
_MAX_PASSPHRASE: Final = 1024  # bytes; what the native core accepts


class ShareStore(ShareFiles, LocatorFiles, UserFiles):
    """An unlocked share store."""

    def __init__(self, directory: Path, key: SealingKey) -> None:
        self._directory = directory
        self._key = key
        self._opened: dict[str, tuple[_Versions, KeyShare, StoredWallet]] = {}

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether a store was made there."""
        return (directory / "store.cbor").exists()

    @classmethod
    def create(cls, directory: Path, passphrase: bytes) -> ShareStore:
        """Make a new store, readable by its owner only. Of two that try at once, one succeeds.

        :param passphrase: 1 to 1024 bytes.
        :raises StoreError: ``store_exists``, ``store_incomplete``, ``passphrase_length``, ``store_unwritable``.
        """
        if cls.exists(directory):
            raise _store_exists(directory)
        if any(any(directory.glob(f"*.{kind}")) for kind in ("share", "pending", "next")):
            raise StoreError(
                "store_incomplete",
                f"{directory} holds shares but no store.cbor, without which no passphrase opens them; restore that file.",
            )
        kdf = KdfParameters(salt=os.urandom(SALT_LENGTH))
        key = _derive(kdf, passphrase)
        check = key.seal_bytes(_CHECK, cbor.encode(kdf))
        with writing(directory):
            make_directory(directory)
            try:
                write(
                    directory / "store.cbor",
                    cbor.encode(StoreFile(version=1, kdf=kdf, check=check)),
                    exclusive=True,
                )
            except FileExistsError:
                raise _store_exists(directory) from None
        return cls(directory, key)

    @classmethod
    def unlock(cls, directory: Path, passphrase: bytes) -> ShareStore:
        """Open an existing store.

        :raises StoreError: ``store_missing``, ``store_malformed``, ``passphrase_length``, ``passphrase_wrong``.
        """
        parsed = read(directory / "store.cbor", StoreFile, missing="store_missing")
        key = _derive(parsed.kdf, passphrase)
        try:
            key.open_bytes(parsed.check, cbor.encode(parsed.kdf))
        except ThresholdError:
            raise StoreError("passphrase_wrong", f"The passphrase does not open {directory}.") from None
        return cls(directory, key)


def _derive(kdf: KdfParameters, passphrase: bytes) -> SealingKey:
    if not 1 <= len(passphrase) <= _MAX_PASSPHRASE:
        raise StoreError("passphrase_length", f"A passphrase has 1 to {_MAX_PASSPHRASE} bytes.")
    return kdf.derive(passphrase)


def _store_exists(directory: Path) -> StoreError:
    return StoreError("store_exists", f"{directory} holds a share store already.")
