"""Key generation between a client and the enclave (``docs/spec/wire.md`` §6).

Two round trips: the client's first message is answered with the enclave's first and second; the client's second message and
transcript hash are answered once the enclave's share is sealed and durably stored. The client stores its own share before it sends
that second message, so that no crash can leave a usable wallet with only one share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.binding import dkg_context
from protocol.chains import chain_for
from protocol.envelope.errors import CosignerError, Culprit
from protocol.messages import BeginDkg, DkgBegun, FinishDkg
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, WalletInfo
from threshold import dkg_start

from .sessions import Ceremony
from .work import compute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .actors import Actor
    from .authorization.permits import Permit
    from .sessions import Session
    from .vault import OpenedWallet, Vault

_PARTY_SET = (2, 2)  # threshold, parties


async def begin_dkg(permit: Permit, owner: Actor, session: Session, request: BeginDkg) -> DkgBegun:
    """Take the client's first message; answer with the enclave's first and second.

    The permit stays with the ceremony, and lets its share into the vault when it is finished.

    :raises CosignerError: ``chain_unsupported``, ``network_unsupported``, ``party_set_unsupported``.
    :raises ThresholdError: the client's message is not valid.
    """
    chain_for(request.chain, request.network, suite=request.suite)
    if (request.threshold, request.parties) != _PARTY_SET:
        raise CosignerError(
            "party_set_unsupported", "Wallets are made with 2 of 2 shares.", culprit=Culprit.CLIENT
        )
    context = dkg_context(
        transcript=session.channel.transcript,
        environment=session.environment,
        wallet_id=request.wallet_id,
        suite=request.suite,
        chain=request.chain,
        network=request.network,
    )
    round1, message1 = await compute(
        dkg_start, request.suite, ENCLAVE_PARTY, request.threshold, request.parties, context
    )
    round2, messages2 = await compute(round1.advance, {CLIENT_PARTY: request.message1})
    session.put_ceremony(request.wallet_id, Ceremony(request, round2, permit, owner))
    return DkgBegun(message1=message1, message2=messages2[CLIENT_PARTY])


async def finish_dkg(
    session: Session,
    vault: Vault,
    request: FinishDkg,
    actor: Actor,
    claim: Callable[[Actor], Awaitable[object]],
    *,
    now_ms: int,
) -> OpenedWallet:
    """Take the client's second message and transcript hash; store the enclave's share.

    :param actor: who asks; must be who began.
    :param claim: makes the wallet its owner's; called when the share exists and before anybody could load it.
    :raises CosignerError: ``ceremony_unknown``, ``wallet_exists``, ``too_many_wallets``, ``storage_unavailable``.
    :raises ThresholdError: the client's message or its transcript hash is not right.
    """
    ceremony = session.take_ceremony(request.wallet_id, actor, BeginDkg)
    begun = ceremony.request
    round3, confirmation = await compute(ceremony.state.advance, {CLIENT_PARTY: request.message2})
    share = await compute(round3.confirm, {CLIENT_PARTY: request.confirmation})
    wallet = WalletInfo(
        wallet_id=request.wallet_id,
        share_set_id=request.wallet_id,
        suite=share.suite,
        chain=begun.chain,
        network=begun.network,
        epoch=share.epoch,
        threshold=share.min_signers,
        parties=share.max_signers,
        public_key=share.group_public_key,
    )
    await claim(ceremony.owner)
    return await vault.create(
        ceremony.permit,
        share,
        wallet,
        creator=ceremony.owner.user_id,
        confirmation=confirmation,
        made_at=now_ms,
    )
