"""Sealed shares in untrusted storage.

A stored record is a public header and a sealed share whose associated data is that header, so that a record is of use only for the
environment, wallet, share set, party, suite, epoch and KMS key that it was made for (``docs/spec/seal.md``).

What comes out of the vault is an :class:`OpenedWallet`: its public facts are verified and free to read. Its share is handed out against
a :class:`~enclave.authorization.permits.Permit`, and a share goes in against one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from protocol.accounts import UserId
from protocol.actions import Hash
from protocol.chains import ECDSA_SUITE
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import MAX_STORED_VALUE
from protocol.names import EnvironmentId
from protocol.wallets import ENCLAVE_PARTY, PartyId, WalletInfo
from threshold import ThresholdError, derive_public_key

from .storage import Storage, StorageConflictError

if TYPE_CHECKING:
    from threshold import KeyShare, SealingKey

    from .authorization.permits import Permit

_REMEMBERED: Final = 100_000  # wallets whose newest epoch is kept in memory


class ShareHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public half of a stored share, and the associated data of its seal.

    :ivar creator: the user who made the wallet. Whose it is today stands in a record of its own; that one must go back to this user, or the
        host could hide it and have another user claim the wallet.
    :ivar confirmation: what this enclave's party confirmed of the ceremony's transcript; lets a client settle a ceremony whose last
        answer it lost.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    key_arn: str
    party: PartyId
    wallet: WalletInfo
    creator: UserId
    confirmation: Hash


class StoredShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What storage holds for a share."""

    header: ShareHeader
    sealed: Annotated[bytes, Meta(min_length=1, max_length=16384)]


class OpenedWallet:
    """A stored share whose seal has verified.

    :ivar wallet: the public facts, as sealed.
    :ivar confirmation: see :class:`ShareHeader`.
    """

    __slots__ = ("_environment", "_share", "confirmation", "creator", "wallet")

    def __init__(self, environment: str, share: KeyShare, header: ShareHeader) -> None:
        self._environment = environment
        self._share = share
        self.wallet = header.wallet
        self.creator = header.creator
        self.confirmation = header.confirmation

    def require_epoch(self, epoch: int) -> None:
        """Refuse any other epoch than the stored one.

        :raises CosignerError: ``epoch_stale`` (storage serves an older epoch than it must have), ``epoch_superseded`` (the client does
            not know the newest epoch).
        """
        if self.wallet.epoch < epoch:
            raise _stale()
        if self.wallet.epoch > epoch:
            raise CosignerError(
                "epoch_superseded",
                f"The wallet's shares are at epoch {self.wallet.epoch}; the share of epoch {epoch} is no longer valid.",
                culprit=Culprit.CLIENT,
            )

    def public_key(self, path: list[int]) -> bytes:
        """The key that signs at a path: the group public key, or the one derived from it.

        :raises ThresholdError: ``invalid_path``, ``wrong_suite``.
        """
        if not path:
            return self.wallet.public_key
        if self.wallet.suite == ECDSA_SUITE:
            return derive_public_key(self.wallet.public_key, self._share.chain_code, path)
        return self._share.derive(path).group_public_key

    def release(self, permit: Permit) -> KeyShare:
        """The share.

        :raises PermitError: the permit is spent, or for another wallet.
        """
        permit.spend(environment=self._environment, wallet_id=self.wallet.wallet_id)
        return self._share


class Vault:
    """Seals, stores, fetches and opens the enclave's shares of one environment."""

    def __init__(self, *, environment: str, key_arn: str, sealing_key: SealingKey, storage: Storage) -> None:
        self._environment = environment
        self._key_arn = key_arn
        self._sealing_key = sealing_key
        self._storage = storage
        self._newest: OrderedDict[str, int] = OrderedDict()

    async def create(
        self, permit: Permit, share: KeyShare, wallet: WalletInfo, *, creator: str, confirmation: bytes
    ) -> None:
        """Seal and store the first epoch of a wallet; when this returns, the host has acknowledged a durable write.

        :param creator: the user whose wallet it becomes.
        :raises CosignerError: ``wallet_exists``, ``storage_unavailable``.
        :raises PermitError: the permit is spent, or for another wallet.
        """
        permit.spend(environment=self._environment, wallet_id=wallet.wallet_id)
        header = ShareHeader(
            version=1,
            environment=self._environment,
            key_arn=self._key_arn,
            party=ENCLAVE_PARTY,
            wallet=wallet,
            creator=creator,
            confirmation=confirmation,
        )
        sealed = self._sealing_key.seal_share(share, cbor.encode(header))
        value = cbor.encode(StoredShare(header=header, sealed=sealed))
        try:
            await self._storage.put(self._key(wallet.wallet_id), value, expected=0, epoch=wallet.epoch)
        except StorageConflictError:
            raise CosignerError(
                "wallet_exists", "A wallet with this id exists already.", culprit=Culprit.CLIENT
            ) from None
        self._remember(wallet.wallet_id, wallet.epoch)

    async def open(self, wallet_id: str) -> OpenedWallet:
        """Fetch a wallet's record and verify its seal.

        :raises CosignerError: ``wallet_unknown``, ``sealed_record_rejected``, ``epoch_stale``, ``storage_unavailable``.
        """
        found = await self._storage.get(self._key(wallet_id))
        if found is None:
            if wallet_id in self._newest:
                raise _stale()
            raise CosignerError(
                "wallet_unknown",
                "The enclave's storage has no such wallet in this environment.",
                culprit=Culprit.CLIENT,
            )
        stored = cbor.decode(found.value, StoredShare, limit=MAX_STORED_VALUE, culprit=Culprit.STORAGE)
        header = stored.header
        expected = (self._environment, self._key_arn, ENCLAVE_PARTY, wallet_id)
        if (header.environment, header.key_arn, header.party, header.wallet.wallet_id) != expected:
            raise _rejected("it was sealed for another wallet, party or environment")
        try:
            share = self._sealing_key.open_share(stored.sealed, cbor.encode(header))
        except ThresholdError:
            raise _rejected("its seal does not verify") from None
        wallet = header.wallet
        sealed_facts = (share.suite, share.identifier, share.epoch, share.group_public_key)
        if sealed_facts != (wallet.suite, ENCLAVE_PARTY, wallet.epoch, wallet.public_key):
            raise _rejected("its header contradicts the sealed share")
        if wallet.epoch < self._newest.get(wallet_id, 0):
            raise _stale()
        self._remember(wallet_id, wallet.epoch)
        return OpenedWallet(self._environment, share, header)

    def _key(self, wallet_id: str) -> str:
        """The first share set of a wallet carries the wallet's own id."""
        return f"environments/{self._environment}/wallets/{wallet_id}/{wallet_id}"

    def _remember(self, wallet_id: str, epoch: int) -> None:
        self._newest[wallet_id] = epoch
        self._newest.move_to_end(wallet_id)
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)


def _rejected(why: str) -> CosignerError:
    return CosignerError(
        "sealed_record_rejected",
        f"The stored record of this wallet was not accepted: {why}.",
        culprit=Culprit.STORAGE,
    )


def _stale() -> CosignerError:
    return CosignerError(
        "epoch_stale",
        "The host's storage serves an older state of this wallet than it must have.",
        culprit=Culprit.STORAGE,
        reaction=Reaction.RETRY,
    )
