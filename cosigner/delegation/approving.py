"""The ceremony of a delegation on the user's device: two handovers of one key at once, and one encryption (``docs/spec/delegation.md`` §4).

The user's own part is a handover like every other: what is decided lies in the store before the enclave is told to commit. The delegate's
share is in memory alone, from the enclave's second answer until it is encrypted to the developer. What a crash leaves behind is settled as
after every handover: the user's new share comes to count, or does not, and a delegation that was not committed is none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

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
from protocol.wallets import CLIENT_PARTY, THRESHOLD

from ..reshare import Handover, NewShares, prove, replace_shares  # noqa: TID252
from .share import share_json

if TYPE_CHECKING:
    from protocol.delegation import DelegationTerms, DeveloperKey
    from protocol.hybrid import Envelope
    from threshold import KeyShare

    from ..actions import Actions  # noqa: TID252
    from ..evidence import Given  # noqa: TID252
    from ..reshare import Prepare  # noqa: TID252
    from ..session import Session  # noqa: TID252
    from ..store import NextHeader, ShareStore  # noqa: TID252

_OF_TWO = 2


async def approve(
    actions: Actions,
    store: ShareStore,
    share: KeyShare,
    found: WalletReply,
    terms: DelegationTerms,
    *,
    key: DeveloperKey,
    prepare: Prepare,
    given: Given | None = None,
) -> CosignerError | None:
    """Give an app a share of its own, with the enclave, and take new shares for the user.

    :param share: the user's own. :param found: the wallet as the enclave has just described it.
    :param key: what the delegate's share is encrypted to; the terms name its hash.
    :param prepare: as in :func:`cosigner.reshare.renew`, for the user's new shares.
    :returns: what came in place of an answer to the commit, where the user's own new shares came to count all the same. Whether the
        delegation does, the enclave knows.
    :raises CosignerError: as :func:`cosigner.reshare.renew`; ``developer_key_refused``.
    """
    wallet = found.wallet
    encryption_key = EncryptionKey.from_der(key.public_key, key.kid)
    if (encryption_key.hash, key.kid) != (terms.key_hash, terms.kid):
        raise CosignerError(
            "developer_key_refused", "The terms name another key than this one.", culprit=Culprit.CLIENT
        )
    made: list[tuple[bytes, Envelope]] = []
    failed: list[CosignerError] = []

    async def make() -> NewShares:
        own, delegated = await actions.run(ceremony)
        (proof,) = prove(actions.environment, delegated)
        content = share_json(actions.environment, delegated.wallet, delegated.shares[CLIENT_PARTY])
        made.append((proof, encryption_key.encrypt(content)))
        return own

    async def ceremony(session: Session) -> tuple[NewShares, NewShares]:
        new = replace(wallet, epoch=wallet.epoch + 1)
        theirs = replace(new, share_set_id=terms.share_set_id, parties=_OF_TWO)
        own = Handover(session, actions.environment, share, new, "reshare")
        delegate = Handover(session, actions.environment, share, theirs, "delegate")
        begun = await actions.perform(
            session,
            BeginDelegation(
                wallet_id=wallet.wallet_id,
                epoch=wallet.epoch,
                terms=terms,
                dealer=share.identifier,
                threshold=THRESHOLD,
                parties=wallet.parties,
                message1=own.message1,
                delegate_message1=delegate.message1,
            ),
            DelegationBegun,
            given=given,
        )
        message2, confirmations = own.receive(begun.message1, begun.messages2)
        delegate2, (confirmation,) = delegate.receive(begun.delegate_message1, [begun.delegate_message2])
        stored = await session.call(
            FinishDelegation(
                wallet_id=wallet.wallet_id,
                share_set_id=terms.share_set_id,
                message2=message2,
                confirmations=confirmations,
                delegate_message2=delegate2,
                delegate_confirmation=confirmation,
            ),
            DelegationStored,
        )
        return (
            own.finish(stored.wallet, stored.confirmation),
            delegate.finish(stored.delegate, stored.delegate_confirmation),
        )

    async def commit(decided: NextHeader) -> None:
        ((proof, encrypted),) = made
        request = CommitDelegation(
            wallet_id=wallet.wallet_id,
            share_set_id=terms.share_set_id,
            epoch=decided.wallet.epoch,
            proofs=decided.proofs,
            delegate_proof=proof,
            encrypted_share=encrypted,
        )
        try:
            reply = await actions.act(request, WalletReply, given=given)
        except CosignerError as error:
            failed.append(error)
            raise
        if (reply.wallet, reply.confirmation) != (decided.wallet, decided.confirmation):
            raise CosignerError(
                "wallet_mismatch",
                "The enclave committed other shares than this device asked for; the device keeps both of its own.",
                culprit=Culprit.ENCLAVE,
            )
        await asyncio.to_thread(store.adopt, wallet.wallet_id)

    await replace_shares(actions, store, share, found, make=make, prepare=prepare, commit=commit)
    return failed[0] if failed else None
