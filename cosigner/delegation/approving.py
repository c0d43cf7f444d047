"""The ceremony of a delegation on the user's device: two resharings of one key at once, and one encryption (``docs/spec/delegation.md`` §4).

The user's new share is on disk before the enclave is told to commit, as in every resharing. The delegate's share is in memory alone, from the
enclave's second answer until it is encrypted to the developer. What a crash leaves behind is settled as after every resharing: the user's new
share comes to count, and a delegation that was not committed is none.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.binding import commit_context, reshare_context
from protocol.delegation import (
    BeginDelegation,
    CommitDelegation,
    DelegationBegun,
    DelegationStored,
    FinishDelegation,
)
from protocol.envelope.errors import CosignerError, Culprit
from protocol.hybrid import EncryptionKey
from protocol.messages import WalletReply
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, THRESHOLD
from threshold import reshare_start

from .share import share_json

if TYPE_CHECKING:
    from protocol.delegation import DelegationTerms, DeveloperKey
    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from ..actions import Actions  # noqa: TID252
    from ..evidence import Given  # noqa: TID252
    from ..session import Session  # noqa: TID252
    from ..store import ShareStore  # noqa: TID252

_DELEGATED_PARTIES = 2


async def approve(
    actions: Actions,
    store: ShareStore,
    share: KeyShare,
    wallet: WalletInfo,
    terms: DelegationTerms,
    *,
    key: DeveloperKey,
    given: Given | None = None,
) -> WalletInfo:
    """Give an app a share of its own, with the enclave, and take a new share for the user.

    :param share: the user's.
    :param key: what the delegate's share is encrypted to; the terms name its hash.
    :returns: the user's wallet, at its next epoch.
    :raises CosignerError: what host or enclave refused; ``wallet_mismatch``. The wallet signs whatever happens.
    :raises ThresholdError: the enclave's messages are not valid; it names the enclave.
    """
    if hashlib.sha256(key.public_key).digest() != terms.key_hash or key.kid != terms.kid:
        raise CosignerError(
            "developer_key_refused", "The terms name another key than this one.", culprit=Culprit.CLIENT
        )
    environment = actions.environment

    async def ceremony(session: Session) -> CommitDelegation:
        def context(share_set_id: str, purpose: str, epoch: int) -> bytes:
            return reshare_context(
                transcript=session.transcript,
                environment=environment,
                wallet_id=wallet.wallet_id,
                share_set_id=share_set_id,
                purpose=purpose,
                epoch=epoch,
            )

        own, delegates = _shapes(wallet, terms)
        receivers = [party for party in range(1, own.parties + 1) if party != ENCLAVE_PARTY]
        quorum = sorted((share.identifier, ENCLAVE_PARTY))
        state, messages1 = reshare_start(
            [share],
            quorum,
            receivers,
            THRESHOLD,
            own.parties,
            context(own.share_set_id, "reshare", own.epoch),
        )
        delegate, delegate1 = reshare_start(
            [share],
            quorum,
            [CLIENT_PARTY],
            THRESHOLD,
            _DELEGATED_PARTIES,
            context(delegates.share_set_id, "delegate", delegates.epoch),
        )
        begun = await actions.perform(
            session,
            BeginDelegation(
                wallet_id=wallet.wallet_id,
                epoch=wallet.epoch,
                terms=terms,
                dealer=share.identifier,
                threshold=THRESHOLD,
                parties=own.parties,
                message1=messages1[share.identifier],
                delegate_message1=delegate1[share.identifier],
            ),
            DelegationBegun,
            given=given,
        )
        round2, messages2 = state.advance({ENCLAVE_PARTY: begun.message1})
        round3, confirmations = round2.advance(
            {
                (ENCLAVE_PARTY, party): message
                for party, message in zip(receivers, begun.messages2, strict=True)
            }
        )
        delegate_round2, delegate2 = delegate.advance({ENCLAVE_PARTY: begun.delegate_message1})
        delegate_round3, delegate_confirmations = delegate_round2.advance(
            {(ENCLAVE_PARTY, CLIENT_PARTY): begun.delegate_message2}
        )
        stored = await session.call(
            FinishDelegation(
                wallet_id=wallet.wallet_id,
                share_set_id=terms.share_set_id,
                message2=messages2[share.identifier, ENCLAVE_PARTY],
                confirmations=[confirmations[party] for party in receivers],
                delegate_message2=delegate2[share.identifier, ENCLAVE_PARTY],
                delegate_confirmation=delegate_confirmations[CLIENT_PARTY],
            ),
            DelegationStored,
        )
        if (stored.wallet, stored.delegate) != (own, delegates):
            raise CosignerError(
                "wallet_mismatch",
                "The enclave made other shares than were agreed on; the delegation is not committed.",
                culprit=Culprit.ENCLAVE,
            )
        shares = round3.confirm({ENCLAVE_PARTY: stored.confirmation})
        delegated = delegate_round3.confirm({ENCLAVE_PARTY: stored.delegate_confirmation})[CLIENT_PARTY]
        committing = _committing(environment, own, stored.confirmation)
        proofs = [shares[party].prove(committing) for party in receivers]
        await asyncio.to_thread(
            store.decide,
            environment,
            shares[CLIENT_PARTY],
            own,
            confirmation=stored.confirmation,
            proofs=proofs,
        )
        return CommitDelegation(
            wallet_id=wallet.wallet_id,
            share_set_id=terms.share_set_id,
            epoch=own.epoch,
            proofs=proofs,
            delegate_proof=delegated.prove(_committing(environment, delegates, stored.delegate_confirmation)),
            encrypted_share=EncryptionKey.from_der(key.public_key, key.kid).encrypt(
                share_json(environment, delegates, delegated)
            ),
        )

    commit = await actions.run(ceremony)
    reply = await actions.act(commit, WalletReply, given=given)
    await asyncio.to_thread(store.adopt, wallet.wallet_id)
    return reply.wallet


def _shapes(wallet: WalletInfo, terms: DelegationTerms) -> tuple[WalletInfo, WalletInfo]:
    """What becomes of the user's set, and what the delegate's is."""
    own = replace(wallet, epoch=wallet.epoch + 1)
    return own, replace(own, share_set_id=terms.share_set_id, parties=_DELEGATED_PARTIES)


def _committing(environment: str, wallet: WalletInfo, confirmation: bytes) -> bytes:
    return commit_context(
        environment=environment,
        wallet_id=wallet.wallet_id,
        share_set_id=wallet.share_set_id,
        epoch=wallet.epoch,
        confirmation=confirmation,
    )
