"""Records of version 1: one share, never changed. They are read, and written anew as version 2 with the next change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from protocol.accounts import UserId
from protocol.actions import Hash
from protocol.envelope import cbor
from protocol.names import EnvironmentId
from protocol.wallets import PartyId, WalletInfo
from threshold import ThresholdError

from .forms import EpochFacts, ShareSetHeader, rejected, require_fitting

if TYPE_CHECKING:
    from threshold import KeyShare, SealingKey


class ShareHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public half, and the associated data of the seal. The record's revision is the share's epoch."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    key_arn: str
    party: PartyId
    wallet: WalletInfo
    creator: UserId
    confirmation: Hash


class StoredShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What storage holds."""

    header: ShareHeader
    sealed: Annotated[bytes, Meta(min_length=1, max_length=16384)]


def header_of(old: ShareHeader) -> ShareSetHeader:
    """The same in the words of today."""
    return ShareSetHeader(
        version=2,
        environment=old.environment,
        key_arn=old.key_arn,
        party=old.party,
        wallet_id=old.wallet.wallet_id,
        share_set_id=old.wallet.share_set_id,
        revision=old.wallet.epoch,
        creator=old.creator,
        imported=False,
        legacy_wallet_id="",
        active=EpochFacts(wallet=old.wallet, confirmation=old.confirmation, made_at=0),
        pending=None,
        retired_at=None,
    )


def unseal(sealing_key: SealingKey, stored: StoredShare) -> KeyShare:
    """The share.

    :raises CosignerError: ``sealed_record_rejected``.
    """
    try:
        share = sealing_key.open_share(stored.sealed, cbor.encode(stored.header))
    except ThresholdError:
        raise rejected("its seal does not verify") from None
    require_fitting(share, stored.header.wallet)
    return share
