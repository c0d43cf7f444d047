"""A key that existed before becomes a wallet: the user's own device deals it out (``docs/spec/lifecycle.md`` §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.binding import import_context
from protocol.chains import chain_for
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, WalletInfo
from threshold import import_receive

from .reshares import Shape, by_party, require_shape
from .work import compute

if TYPE_CHECKING:
    from protocol.lifecycle import ImportWallet
    from threshold import KeyShare

    from .sessions import Session


async def receive(session: Session, request: ImportWallet) -> tuple[KeyShare, WalletInfo, bytes]:
    """The enclave's share, the wallet that it is of, and the enclave's confirmation.

    :raises CosignerError: ``chain_unsupported``, ``network_unsupported``, ``party_set_unsupported``, ``parties_wrong_count``.
    :raises ThresholdError: the dealer's messages are not valid, or a confirmation is of another dealing.
    """
    chain_for(request.chain, request.network, suite=request.suite)
    require_shape(Shape(CLIENT_PARTY, request.threshold, request.parties))
    context = import_context(
        transcript=session.channel.transcript,
        environment=session.environment,
        wallet_id=request.wallet_id,
        suite=request.suite,
        chain=request.chain,
        network=request.network,
    )
    share, confirmation = await compute(_receive, request, context)
    wallet = WalletInfo(
        wallet_id=request.wallet_id,
        share_set_id=request.wallet_id,
        suite=share.suite,
        chain=request.chain,
        network=request.network,
        epoch=share.epoch,
        threshold=share.min_signers,
        parties=share.max_signers,
        public_key=share.group_public_key,
    )
    return share, wallet, confirmation


def _receive(request: ImportWallet, context: bytes) -> tuple[KeyShare, bytes]:
    theirs = by_party(request.parties, request.confirmations)
    state, own = import_receive(
        request.suite,
        [ENCLAVE_PARTY],
        request.threshold,
        request.parties,
        context,
        request.message1,
        {ENCLAVE_PARTY: request.message2},
    )
    return state.confirm(theirs)[ENCLAVE_PARTY], own[ENCLAVE_PARTY]
