"""What a record of shares looks like, how it is sealed, and how it is opened again.

Every write seals everything anew under the new header, which holds the record's revision. So a sealed share belongs to one revision of one
record: what was aborted, superseded or destroyed cannot be put back beside anything newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.accounts import UserId
from protocol.actions import Hash, Milliseconds
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Epoch
from protocol.names import EnvironmentId
from protocol.wallets import ENCLAVE_PARTY, PartyId, WalletId, WalletInfo
from threshold import ThresholdError

if TYPE_CHECKING:
    from threshold import KeyShare, SealingKey

MAX_SEALED: Final = 16384
_SealedShare = Annotated[bytes, Meta(min_length=1, max_length=MAX_SEALED)]
Slot = Literal["active", "pending", "tombstone"]


class EpochFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is public of the enclave's share of one epoch.

    :ivar confirmation: what this enclave's party confirmed of the ceremony's transcript; lets a client settle a ceremony whose last
        answer it lost.
    :ivar made_at: 0 in records of version 1, which did not say.
    """

    wallet: WalletInfo
    confirmation: Hash
    made_at: Milliseconds


class ShareSetHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public half of a record: the associated data of every seal in it.

    :ivar revision: how often the record was written; it is at this epoch in storage.
    :ivar creator: the user who made the wallet. Whose it is today stands in a record of its own; that one must go back to this user, or the
        host could hide it and have another user claim the wallet.
    :ivar active: the share that signs; of a retired share set, the one that did.
    :ivar pending: the share of the next epoch, which waits for its commit; alone, where the whole share set is new and waits.
    :ivar retired_at: when the shares were destroyed; ``None``: they were not.
    """

    version: Annotated[int, Meta(ge=2, le=2)]
    environment: EnvironmentId
    key_arn: str
    party: PartyId
    wallet_id: WalletId
    share_set_id: WalletId
    revision: Epoch
    creator: UserId
    imported: bool
    legacy_wallet_id: Annotated[str, Meta(max_length=128)]
    active: EpochFacts | None
    pending: EpochFacts | None
    retired_at: Milliseconds | None

    def __post_init__(self) -> None:
        if self.active is None and self.pending is None:
            msg = "a share set has, or had, a share"
            raise ValueError(msg)
        if self.retired_at is not None and (self.active is None or self.pending is not None):
            msg = "of what is retired nothing waits"
            raise ValueError(msg)


class StoredShareSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What storage holds, version 2.

    :ivar tombstone: nothing, sealed, where no share is left that could vouch for the header.
    """

    header: ShareSetHeader
    active: _SealedShare | None
    pending: _SealedShare | None
    tombstone: _SealedShare | None


def seal(
    sealing_key: SealingKey, header: ShareSetHeader, active: KeyShare | None, pending: KeyShare | None
) -> bytes:
    """A record's bytes. The shares are those of the header."""
    retired = header.retired_at is not None
    stored = StoredShareSet(
        header=header,
        active=None if active is None else sealing_key.seal_share(active, _bound(header, "active")),
        pending=None if pending is None else sealing_key.seal_share(pending, _bound(header, "pending")),
        tombstone=sealing_key.seal_bytes(b"", _bound(header, "tombstone")) if retired else None,
    )
    return cbor.encode(stored)


def unseal(sealing_key: SealingKey, stored: StoredShareSet) -> tuple[KeyShare | None, KeyShare | None]:
    """The active and the pending share of a record that is what it claims to be.

    :raises CosignerError: ``sealed_record_rejected``.
    """
    header = stored.header
    retired = header.retired_at is not None
    there = (stored.active is not None, stored.pending is not None, stored.tombstone is not None)
    if there != (header.active is not None and not retired, header.pending is not None, retired):
        raise rejected("it does not hold what its header says")
    try:
        if stored.tombstone is not None:
            sealing_key.open_bytes(stored.tombstone, _bound(header, "tombstone"))
        active = _open(sealing_key, stored.active, header, "active")
        pending = _open(sealing_key, stored.pending, header, "pending")
    except ThresholdError:
        raise rejected("its seal does not verify") from None
    for share, facts in ((active, header.active), (pending, header.pending)):
        if share is not None and facts is not None:
            require_fitting(share, facts.wallet)
    return active, pending


def require_fitting(share: KeyShare, wallet: WalletInfo) -> None:
    """That a share is the enclave's of these facts.

    :raises CosignerError: ``sealed_record_rejected``.
    """
    sealed = (share.suite, share.identifier, share.epoch, share.group_public_key)
    if sealed != (wallet.suite, ENCLAVE_PARTY, wallet.epoch, wallet.public_key):
        raise rejected("its header contradicts the sealed share")


def rejected(why: str) -> CosignerError:
    """What storage gave is not what was sealed."""
    return CosignerError(
        "sealed_record_rejected",
        f"The stored record of this wallet was not accepted: {why}.",
        culprit=Culprit.STORAGE,
    )


def _open(
    sealing_key: SealingKey, sealed: bytes | None, header: ShareSetHeader, slot: Slot
) -> KeyShare | None:
    return None if sealed is None else sealing_key.open_share(sealed, _bound(header, slot))


def _bound(header: ShareSetHeader, slot: Slot) -> bytes:
    return cbor.encode([header, slot])
