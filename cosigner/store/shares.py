"""The shares of a store, from the ceremony that makes them to the one that replaces them.

==============  ==========================================================================================
``ID.pending``  a first share, of a wallet that the enclave has not confirmed yet
``ID.share``    the share that signs
``ID.next``     a new share that this device has decided on, and has asked the enclave to commit, or will
``ID.aside``    one that the enclave did not know of when it was asked: the host may have hidden it
``ID.epoch``    the newest epoch that this device knows of
==============  ==========================================================================================

Each is written in full before another goes, so that a crash leaves one that can be gone on with. The newest epoch known is that of
``ID.epoch`` or of ``ID.share``, whichever is newer; an older share is not opened for signing.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol.envelope import cbor
from protocol.wallets import CLIENT_PARTY, WalletInfo
from threshold import ReshareRound3, ThresholdError

from ..errors import StoreError  # noqa: TID252
from .files import Version, read, remove, rename, version, write, writing
from .formats import EpochFile, EpochHeader, NextFile, NextHeader, ShareFile, ShareHeader, StoredWallet

if TYPE_CHECKING:
    from threshold import DkgRound3, KeyShare, SealingKey

_EPOCH_CHECK: Final = b"cosigner/newest-epoch/v1"
_WALLET_ID: Final = re.compile(r"[0-9a-f-]{36}\Z")
_KINDS: Final = ("pending", "next", "aside", "share", "epoch", "backups")

_Versions = tuple[Version | None, Version | None]


class ShareFiles:
    """The part of :class:`cosigner.store.ShareStore` that is about shares."""

    _directory: Path
    _key: SealingKey
    _opened: dict[str, tuple[_Versions, KeyShare, StoredWallet]]

    @staticmethod
    def wallets(directory: Path) -> list[StoredWallet]:
        """The wallets of a store, as their headers name them: no seal is opened, and a damaged file is left out.

        Needs no passphrase. Whoever can write the files can change what is read here; :meth:`load` opens the seal.
        """
        active = {path.stem: path for path in directory.glob("*.share")}
        renewing = {path.stem: path for path in directory.glob("*.next")}
        # A crash between writing ID.share and removing ID.pending leaves both; the share counts.
        pending = {path.stem: path for path in directory.glob("*.pending") if path.stem not in active}
        recovering = {stem: path for stem, path in renewing.items() if stem not in active}
        found = []
        for path in sorted([*active.values(), *(pending | recovering).values()]):
            with contextlib.suppress(StoreError):
                if path.suffix == ".next":
                    header: ShareHeader | NextHeader = read(path, NextFile, missing="wallet_missing").header
                else:
                    header = read(path, ShareFile, missing="wallet_missing").header
                found.append(
                    StoredWallet(
                        header.environment, header.wallet, path.suffix != ".share", path.stem in renewing
                    )
                )
        return found

    # --- the first share -----------------------------------------------------------------------------------------------------

    def save_pending(self, environment: str, state: DkgRound3 | ReshareRound3, wallet: WalletInfo) -> None:
        """Store durably what becomes the share once the enclave has confirmed the transcript.

        :param state: of a key generation, or of an import.
        :raises StoreError: ``store_unwritable``.
        """
        header = ShareHeader(version=1, environment=environment, party=CLIENT_PARTY, wallet=wallet)
        associated = cbor.encode(header)
        if isinstance(state, ReshareRound3):
            sealed = self._key.seal_reshare(state, associated)
        else:
            sealed = self._key.seal_unconfirmed(state, associated)
        self._save(header, sealed, "pending")

    def pending(self, wallet_id: str) -> StoredWallet:
        """The public facts of a pending wallet.

        :raises StoreError: ``wallet_missing``, ``store_malformed``.
        """
        header = read(self._path(wallet_id, "pending"), ShareFile, missing="wallet_missing").header
        return StoredWallet(header.environment, header.wallet, pending=True)

    def activate(self, wallet_id: str, confirmations: dict[int, bytes]) -> None:
        """The other parties confirmed: the pending share counts from now on.

        :raises StoreError: ``wallet_missing``, ``store_malformed``, ``share_rejected``, ``store_unwritable``.
        :raises ThresholdError: ``confirmation_mismatch``.
        """
        stored = read(self._path(wallet_id, "pending"), ShareFile, missing="wallet_missing")
        share = self._confirm(stored, confirmations)
        self._save(stored.header, self._key.seal_share(share, cbor.encode(stored.header)), "share")
        self.discard_pending(wallet_id)

    def discard_pending(self, wallet_id: str) -> None:
        """Remove a pending share: it became active, or the enclave refused its counterpart for good."""
        with writing(self._directory):
            remove(self._path(wallet_id, "pending"))

    def _confirm(self, stored: ShareFile, confirmations: dict[int, bytes]) -> KeyShare:
        associated = cbor.encode(stored.header)
        wallet_id = stored.header.wallet.wallet_id
        try:
            state = self._key.open_unconfirmed(stored.sealed, associated)
        except ThresholdError as error:
            if error.code != "record_malformed":  # else of another kind, such as an import's
                raise _share_rejected(wallet_id) from None
            try:
                imported = self._key.open_reshare(stored.sealed, associated)
            except ThresholdError:
                raise _share_rejected(wallet_id) from None
            return imported.confirm(confirmations)[CLIENT_PARTY]
        return state.confirm(confirmations)

    # --- the share that signs ------------------------------------------------------------------------------------------------

    def load(self, wallet_id: str) -> tuple[KeyShare, StoredWallet]:
        """Open the share of a wallet. One that was opened before is not opened again while its file is the same.

        :raises StoreError: ``wallet_missing``, ``store_malformed``, ``share_rejected``; ``share_outdated``: newer ones exist.
        """
        path = self._path(wallet_id, "share")
        versions = version(path), version(self._path(wallet_id, "epoch"))
        known = self._opened.get(wallet_id)
        if known is None or known[0] != versions:
            share, stored = self._open(wallet_id, path)
            newest = self._remembered(wallet_id, stored.environment)
            if newest > stored.info.epoch:
                raise share_outdated(wallet_id, stored.info.epoch, newest)
            known = versions, share, stored
            self._opened[wallet_id] = known
        return known[1:]

    def load_any(self, wallet_id: str) -> tuple[KeyShare, StoredWallet]:
        """As :meth:`load`, without asking whether newer shares exist: for use without the service, where nothing can say.

        :raises StoreError: ``wallet_missing``, ``store_malformed``, ``share_rejected``.
        """
        return self._open(wallet_id, self._path(wallet_id, "share"))

    def newest(self, wallet_id: str) -> int:
        """The newest epoch of a wallet that this device knows of; 0: none.

        A damaged share says nothing here, so that a recovery can take its place: whatever is newer than epoch 1 stands in ``ID.epoch``, too.

        :raises StoreError: ``store_malformed``, ``share_rejected``: of ``ID.epoch``.
        """
        share, path = 0, self._path(wallet_id, "share")
        environment = None
        if path.exists():
            try:
                header = self._open(wallet_id, path)[1]
            except StoreError as error:
                if error.code not in {"store_malformed", "share_rejected"}:
                    raise
            else:
                share, environment = header.info.epoch, header.environment
        return max(share, self._remembered(wallet_id, environment))

    def observe(self, environment: str, wallet_id: str, epoch: int) -> None:
        """The enclave said, over its channel, that a wallet is at this epoch: from now on an older one is refused.

        :raises StoreError: ``store_unwritable``, ``store_malformed``, ``share_rejected``.
        """
        if epoch > self.newest(wallet_id):
            self._remember(environment, wallet_id, epoch)

    def forget(self, wallet_id: str) -> None:
        """Remove everything of a wallet but its receipts: it was deleted.

        :raises StoreError: ``store_unwritable``.
        """
        self._opened.pop(wallet_id, None)
        with writing(self._directory):
            for kind in _KINDS:
                remove(self._path(wallet_id, kind))

    # --- the share that comes next -------------------------------------------------------------------------------------------

    def decide(self, header: NextHeader, share: KeyShare) -> None:
        """Store durably the share that the enclave is going to be told to commit. From here on there is no way but forward.

        :raises StoreError: ``store_unwritable``.
        """
        sealed = self._key.seal_share(share, cbor.encode(header))
        with writing(self._directory):
            write(
                self._path(header.wallet.wallet_id, "next"),
                cbor.encode(NextFile(header=header, sealed=sealed)),
            )

    def decided(self, wallet_id: str, kind: str = "next") -> NextHeader | None:
        """What was decided and is not settled; its seal is good.

        :param kind: ``next`` or ``aside``.
        :raises StoreError: ``store_malformed``, ``share_rejected``.
        """
        path = self._path(wallet_id, kind)
        return self._open_next(wallet_id, path)[1] if path.exists() else None

    def adopt(self, wallet_id: str, kind: str = "next") -> None:
        """The enclave committed it: the new share counts, and all older ones go.

        :raises StoreError: ``wallet_missing``, ``store_malformed``, ``share_rejected``, ``store_unwritable``.
        """
        share, header = self._open_next(wallet_id, self._path(wallet_id, kind))
        new = ShareHeader(version=1, environment=header.environment, party=header.party, wallet=header.wallet)
        self._save(new, self._key.seal_share(share, cbor.encode(new)), "share")
        self._remember(header.environment, wallet_id, header.wallet.epoch)
        with writing(self._directory):
            for old in ("next", "aside", "pending"):
                remove(self._path(wallet_id, old))

    def set_aside(self, wallet_id: str) -> None:
        """The enclave does not know of what was decided. It is kept: perhaps the host only hid it. Harmless where nothing was.

        :raises StoreError: ``store_unwritable``.
        """
        with writing(self._directory), contextlib.suppress(FileNotFoundError):
            rename(self._path(wallet_id, "next"), self._path(wallet_id, "aside"))

    def discard(self, decided: NextHeader, kind: str) -> None:
        """Remove what was decided: newer shares count already. What another call has decided since stays.

        :raises StoreError: ``store_unwritable``, ``store_malformed``, ``share_rejected``.
        """
        wallet_id = decided.wallet.wallet_id
        if self.decided(wallet_id, kind) == decided:
            with writing(self._directory):
                remove(self._path(wallet_id, kind))

    # --- common --------------------------------------------------------------------------------------------------------------

    def _open(self, wallet_id: str, path: Path) -> tuple[KeyShare, StoredWallet]:
        stored = read(path, ShareFile, missing="wallet_missing")
        share = self._open_sealed(wallet_id, stored)
        return share, StoredWallet(stored.header.environment, stored.header.wallet, pending=False)

    def _open_next(self, wallet_id: str, path: Path) -> tuple[KeyShare, NextHeader]:
        stored = read(path, NextFile, missing="wallet_missing")
        return self._open_sealed(wallet_id, stored), stored.header

    def _open_sealed(self, wallet_id: str, stored: ShareFile | NextFile) -> KeyShare:
        header = stored.header
        try:
            share = self._key.open_share(stored.sealed, cbor.encode(header))
        except ThresholdError:
            raise _share_rejected(wallet_id) from None
        facts = (share.suite, share.identifier, share.epoch, share.group_public_key, wallet_id)
        wallet = header.wallet
        if facts != (wallet.suite, CLIENT_PARTY, wallet.epoch, wallet.public_key, wallet.wallet_id):
            raise _share_rejected(wallet_id)
        return share

    def _remember(self, environment: str, wallet_id: str, epoch: int) -> None:
        header = EpochHeader(version=1, environment=environment, wallet_id=wallet_id, epoch=epoch)
        check = self._key.seal_bytes(_EPOCH_CHECK, cbor.encode(header))
        with writing(self._directory):
            write(self._path(wallet_id, "epoch"), cbor.encode(EpochFile(header=header, check=check)))

    def _remembered(self, wallet_id: str, environment: str | None) -> int:
        path = self._path(wallet_id, "epoch")
        if not path.exists():
            return 0
        stored = read(path, EpochFile, missing="wallet_missing")
        header = stored.header
        try:
            check = self._key.open_bytes(stored.check, cbor.encode(header))
        except ThresholdError:
            raise _share_rejected(wallet_id) from None
        if (check, header.wallet_id) != (_EPOCH_CHECK, wallet_id) or environment not in {
            None,
            header.environment,
        }:
            raise _share_rejected(wallet_id)
        return header.epoch

    def _save(self, header: ShareHeader, sealed: bytes, kind: str) -> None:
        with writing(self._directory):
            write(
                self._path(header.wallet.wallet_id, kind),
                cbor.encode(ShareFile(header=header, sealed=sealed)),
            )

    def _path(self, wallet_id: str, kind: str) -> Path:
        if not _WALLET_ID.match(wallet_id):  # it becomes a file name
            raise StoreError("wallet_missing", f"{wallet_id!r} is not the id of a wallet.")
        return self._directory / f"{wallet_id}.{kind}"


def share_outdated(wallet_id: str, epoch: int, newest: int) -> StoreError:
    """This device's share is of an epoch that is over."""
    return StoreError(
        "share_outdated",
        f"This device has a share of wallet {wallet_id} of epoch {epoch}, but the wallet is at epoch {newest}: another device renewed it, "
        "or an old copy of the store was put back. Recover: cosigner wallet recover.",
    )


def _share_rejected(wallet_id: str) -> StoreError:
    return StoreError(
        "share_rejected",
        f"The file of wallet {wallet_id} was altered, or belongs to another wallet or store.",
    )
