"""Export: the enclave's share comes to this device, where the key is put together. No enclave ever does that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import ExportedShare, ExportShare
from protocol.wallets import ENCLAVE_PARTY
from threshold import KeyShare, SealingKey, ThresholdError
from threshold.device import SecretKey

if TYPE_CHECKING:
    from protocol.wallets import WalletInfo

    from .actions import Actions
    from .evidence import Given

_KEY = 32


async def enclave_share(actions: Actions, wallet: WalletInfo, *, given: Given | None = None) -> KeyShare:
    """Ask for the enclave's share.

    :raises EnclaveRefused: ``factor_required``, ``policy_denied``, ``epoch_superseded``.
    :raises CosignerError: ``export_refused``: what came is no share of this wallet.
    """
    wrapping_key = os.urandom(_KEY)
    reply = await actions.act(
        ExportShare(wallet_id=wallet.wallet_id, epoch=wallet.epoch, wrapping_key=wrapping_key),
        ExportedShare,
        given=given,
    )
    if reply.wallet != wallet:
        raise _refused()
    try:
        share = SealingKey.from_data_key(wrapping_key).open_share(reply.sealed, cbor.encode(reply.wallet))
    except ThresholdError:
        raise _refused() from None
    facts = (share.suite, share.identifier, share.epoch, share.group_public_key)
    if facts != (wallet.suite, ENCLAVE_PARTY, wallet.epoch, wallet.public_key):
        raise _refused()
    return share


def combine(ours: KeyShare, theirs: KeyShare, wallet: WalletInfo) -> SecretKey:
    """Two shares of a wallet become its key.

    :raises CosignerError: ``export_refused``: they are not of one key.
    """
    try:
        key = SecretKey.combine([ours, theirs])
    except ThresholdError:
        raise _refused() from None
    if key.public_key != wallet.public_key:
        raise _refused()
    return key


def _refused() -> CosignerError:
    return CosignerError(
        "export_refused",
        "The enclave gave something that is no share of this wallet; no key was made.",
        culprit=Culprit.ENCLAVE,
    )
