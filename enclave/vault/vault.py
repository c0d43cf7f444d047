"""Fetches, opens, changes and stores the enclave's shares of one environment.

Every change is one conditional write of a whole record, at the revision that was opened: of two changes at once, one happens. Within the life
of this enclave an older record, or another of the same revision, is noticed, as :mod:`enclave.records` does. Across restarts clients
notice, who name the newest epoch that they know (``docs/limitations.md``).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from enclave.storage import Storage, StorageConflictError
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.limits import MAX_STORED_VALUE
from protocol.wallets import ENCLAVE_PARTY, WalletInfo

from . import forms, version1
from .forms import EpochFacts, ShareSetHeader, StoredShareSet
from .opened import OpenedWallet, deleted, stale, superseded

if TYPE_CHECKING:
    from enclave.authorization.permits import Permit
    from protocol.envelope.messages import Found
    from threshold import KeyShare, SealingKey

_REMEMBERED: Final = 100_000  # share sets whose newest revision is kept in memory
_ATTEMPTS: Final = 4
_Name = tuple[str, str]  # wallet, share set


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest state of a record that this enclave has seen or written.

    :ivar epoch: that counts; 0: the shares are destroyed.
    """

    revision: int
    digest: bytes
    epoch: int


class Vault:
    """The shares of one environment.

    :param storage: the host's; not trusted.
    """

    def __init__(self, *, environment: str, key_arn: str, sealing_key: SealingKey, storage: Storage) -> None:
        self._environment = environment
        self._key_arn = key_arn
        self._sealing_key = sealing_key
        self._storage = storage
        self._newest: OrderedDict[_Name, _Newest] = OrderedDict()

    async def create(
        self,
        permit: Permit,
        share: KeyShare,
        wallet: WalletInfo,
        *,
        creator: str,
        confirmation: bytes,
        made_at: int,
        pending: bool = False,
        imported: bool = False,
        legacy_wallet_id: str = "",
    ) -> OpenedWallet:
        """Seal and store a new share set; when this returns, the host has acknowledged a durable write.

        :param creator: the user whose wallet it becomes.
        :param pending: the share waits for :meth:`commit`.
        :raises CosignerError: ``wallet_exists``, ``storage_unavailable``.
        :raises PermitError: the permit is spent, or for another wallet.
        """
        permit.spend(environment=self._environment, wallet_id=wallet.wallet_id)
        facts = EpochFacts(wallet=wallet, confirmation=confirmation, made_at=made_at)
        header = ShareSetHeader(
            version=2,
            environment=self._environment,
            key_arn=self._key_arn,
            party=ENCLAVE_PARTY,
            wallet_id=wallet.wallet_id,
            share_set_id=wallet.share_set_id,
            revision=1,
            creator=creator,
            imported=imported,
            legacy_wallet_id=legacy_wallet_id,
            active=None if pending else facts,
            pending=facts if pending else None,
            retired_at=None,
        )
        try:
            return await self._write(header, None if pending else share, share if pending else None)
        except StorageConflictError:
            raise CosignerError(
                "wallet_exists", "A wallet with this id exists already.", culprit=Culprit.CLIENT
            ) from None

    async def open(self, wallet_id: str, share_set_id: str | None = None) -> OpenedWallet:
        """Fetch a share set's record and verify its seals.

        :param share_set_id: the user's own, which carries the wallet's id, if not given.
        :raises CosignerError: ``wallet_unknown``, ``sealed_record_rejected``, ``record_forked``, ``epoch_stale``,
            ``storage_unavailable``.
        """
        name = (wallet_id, share_set_id or wallet_id)
        for _ in range(_ATTEMPTS):
            before = self._newest.get(name)
            found = await self._storage.get(self._key(name))
            if self._newest.get(name) != before:
                continue  # written here meanwhile: the answer may be older through no fault of the host's
            if found is not None:
                return self._accept(name, found, before)
            if before is not None:
                raise stale()
            raise CosignerError(
                "wallet_unknown",
                "The enclave's storage has no such wallet in this environment.",
                culprit=Culprit.CLIENT,
            )
        raise _conflict()

    async def keep_pending(
        self,
        permit: Permit,
        opened: OpenedWallet,
        share: KeyShare,
        wallet: WalletInfo,
        *,
        confirmation: bytes,
        made_at: int,
    ) -> OpenedWallet:
        """Store the share of the next epoch beside the active one.

        :raises CosignerError: ``reshare_pending``: another waits; ``wallet_retired``; as :meth:`_change`.
        :raises PermitError: the permit is spent, or for another wallet.
        """
        self._spend(permit, opened)
        opened.require_live()
        require_nothing_pending(opened)
        facts = EpochFacts(wallet=wallet, confirmation=confirmation, made_at=made_at)
        active, _ = opened.both_shares()
        return await self._change(replace(opened.header, pending=facts), active, share)

    async def commit(self, permit: Permit, opened: OpenedWallet) -> OpenedWallet:
        """The pending share takes the place of the active one, which is gone. Whoever calls has checked that the others hold theirs.

        :raises CosignerError: ``reshare_unknown``: nothing waits; as :meth:`_change`.
        :raises PermitError: the permit is spent, or for another wallet.
        """
        self._spend(permit, opened)
        _, pending = opened.both_shares()
        if pending is None:
            raise nothing_pending()
        return await self._change(replace(opened.header, active=opened.pending, pending=None), pending, None)

    async def abort(self, permit: Permit, opened: OpenedWallet, *, now_ms: int) -> OpenedWallet:
        """Destroy the pending share, if there is one; a share set that has no other is retired with it.

        :raises CosignerError: as :meth:`_change`.
        :raises PermitError: the permit is spent, or for another wallet.
        """
        self._spend(permit, opened)
        active, pending = opened.both_shares()
        if pending is None:
            return opened
        if active is None:
            return await self._bury(opened, now_ms)
        return await self._change(replace(opened.header, pending=None), active, None)

    async def retire(self, permit: Permit, opened: OpenedWallet, *, now_ms: int) -> OpenedWallet:
        """Destroy the shares; a tombstone takes their place. What is retired stays as it is.

        :raises CosignerError: as :meth:`_change`.
        :raises PermitError: the permit is spent, or for another wallet.
        """
        self._spend(permit, opened)
        return opened if opened.retired else await self._bury(opened, now_ms)

    async def _bury(self, opened: OpenedWallet, now_ms: int) -> OpenedWallet:
        header = replace(opened.header, active=opened.current, pending=None, retired_at=now_ms)
        return await self._change(header, None, None)

    async def _change(
        self, header: ShareSetHeader, active: KeyShare | None, pending: KeyShare | None
    ) -> OpenedWallet:
        """Write the next revision.

        :param header: of the revision that was opened, with the changes.
        :raises CosignerError: ``record_conflict``: somebody else was first; ``storage_unavailable``: whether it was written is unknown.
        """
        try:
            return await self._write(replace(header, revision=header.revision + 1), active, pending)
        except StorageConflictError:
            raise _conflict() from None

    async def _write(
        self, header: ShareSetHeader, active: KeyShare | None, pending: KeyShare | None
    ) -> OpenedWallet:
        name, expected = (header.wallet_id, header.share_set_id), header.revision - 1
        newest = self._newest.get(name)
        if newest is not None and newest.revision != expected:
            raise StorageConflictError(newest.revision)
        value = forms.seal(self._sealing_key, header, active, pending)
        await self._storage.put(self._key(name), value, expected=expected, epoch=header.revision)
        opened = OpenedWallet(header, active, pending, self._require_newest)
        newest, written = self._newest.get(name), _newest(opened, value)
        if newest is None or newest.revision < written.revision:  # a reader may have seen a later one
            self._remember(name, written)
        elif newest.revision == written.revision and newest != written:
            raise _forked()  # the host acknowledged another change at once with this one
        return opened

    def _accept(self, name: _Name, found: Found, newest: _Newest | None) -> OpenedWallet:
        """Judge what storage gave. The epoch that it reports beside the value is not used."""
        opened = self._open(name, found.value)
        seen = _newest(opened, found.value)
        if newest is not None and seen.revision < newest.revision:
            raise stale()
        if newest is not None and seen.revision == newest.revision and seen.digest != newest.digest:
            raise _forked()
        self._remember(name, seen)
        return opened

    def _open(self, name: _Name, value: bytes) -> OpenedWallet:
        stored = _parse(value)
        header = stored.header if isinstance(stored, StoredShareSet) else version1.header_of(stored.header)
        expected = (self._environment, self._key_arn, ENCLAVE_PARTY, *name)
        named = (header.environment, header.key_arn, header.party, header.wallet_id, header.share_set_id)
        if named != expected:
            raise forms.rejected("it was sealed for another wallet, party or environment")
        if isinstance(stored, StoredShareSet):
            return OpenedWallet(header, *forms.unseal(self._sealing_key, stored), self._require_newest)
        return OpenedWallet(header, version1.unseal(self._sealing_key, stored), None, self._require_newest)

    def _require_newest(self, opened: OpenedWallet) -> None:
        """That the epoch of what was opened has not ended here since.

        :raises CosignerError: ``wallet_retired``, ``epoch_superseded``.
        """
        newest = self._newest.get((opened.header.wallet_id, opened.header.share_set_id))
        if newest is None or newest.revision <= opened.revision:
            return
        if not newest.epoch:
            raise deleted()
        if newest.epoch != opened.wallet.epoch:
            raise superseded(newest.epoch, opened.wallet.epoch)

    def _spend(self, permit: Permit, opened: OpenedWallet) -> None:
        permit.spend(environment=self._environment, wallet_id=opened.header.wallet_id)

    def _key(self, name: _Name) -> str:
        """The first share set of a wallet carries the wallet's own id."""
        return f"environments/{self._environment}/wallets/{name[0]}/{name[1]}"

    def _remember(self, name: _Name, newest: _Newest) -> None:
        self._newest[name] = newest
        self._newest.move_to_end(name)
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)


def require_nothing_pending(opened: OpenedWallet) -> None:
    """That no new shares wait.

    :raises CosignerError: ``reshare_pending``.
    """
    if opened.pending is not None:
        raise CosignerError(
            "reshare_pending",
            f"New shares of epoch {opened.pending.wallet.epoch} wait; commit or abort them first.",
            culprit=Culprit.CLIENT,
        )


def nothing_pending() -> CosignerError:
    """No new shares wait, or others than asked for."""
    return CosignerError("reshare_unknown", "No such new shares wait; begin again.", culprit=Culprit.CLIENT)


def _parse(value: bytes) -> StoredShareSet | version1.StoredShare:
    try:
        return cbor.decode(value, StoredShareSet, limit=MAX_STORED_VALUE, culprit=Culprit.STORAGE)
    except ProtocolError:
        return cbor.decode(value, version1.StoredShare, limit=MAX_STORED_VALUE, culprit=Culprit.STORAGE)


def _newest(opened: OpenedWallet, value: bytes) -> _Newest:
    epoch = 0 if opened.retired else opened.wallet.epoch
    return _Newest(opened.revision, hashlib.sha256(value).digest()[:16], epoch)


def _forked() -> CosignerError:
    return CosignerError(
        "record_forked",
        "The host's storage serves another record of this wallet in place of the one of the same revision.",
        culprit=Culprit.STORAGE,
    )


def _conflict() -> CosignerError:
    return CosignerError(
        "record_conflict",
        "This wallet's shares were changed by somebody else at the same moment; try again.",
        culprit=Culprit.STORAGE,
        reaction=Reaction.RETRY,
    )
