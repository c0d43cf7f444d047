"""New shares of the same key: refresh, reshare, and the last step of every recovery (``docs/spec/lifecycle.md`` §2).

Two shares deal: the enclave's, and one that this device holds. The device receives for every party of the new set but the enclave. Its own
new share goes into the store; the others' go to wherever the caller puts them, and never stay here. Until the caller has done that, and the
store has written down what was decided, nothing is committed and the old shares sign (:mod:`cosigner.settling`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.binding import commit_context, reshare_context
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError
from protocol.lifecycle import BeginReshare, FinishReshare, ReshareBegun, ReshareStored
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, MAX_PARTIES, THRESHOLD
from threshold import reshare_start

from . import settling
from .errors import EnclaveRefused
from .store import NextHeader
from .store.shares import share_outdated

if TYPE_CHECKING:
    from protocol.lifecycle import Purpose
    from protocol.messages import WalletReply
    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from .actions import Actions
    from .evidence import Given
    from .session import Session
    from .store import ShareStore


@dataclass(frozen=True)
class NewShares:
    """What a ceremony gave this device, before anything counts.

    :ivar wallet: as it will be.
    :ivar confirmation: the enclave's.
    :ivar shares: by party; all but the enclave's.
    """

    wallet: WalletInfo
    confirmation: bytes
    shares: dict[int, KeyShare]


Prepare = Callable[[NewShares], Awaitable[None]]
"""Puts away what must be safe before the new shares may count: backups, and the shares of other parties."""


async def renew(
    actions: Actions,
    store: ShareStore,
    share: KeyShare,
    found: WalletReply,
    *,
    purpose: Purpose,
    parties: int,
    prepare: Prepare,
    given: Given | None = None,
) -> WalletInfo:
    """Replace all shares of a wallet; returns when the new ones count and the old ones are worthless.

    :param share: the one that deals, of any party but the enclave, of the wallet's epoch.
    :param found: what :func:`cosigner.settling.settle` has just found.
    :param parties: of the new set, 2 to 5.
    :raises CosignerError: ``parties_unsupported``; whatever ``prepare``, enclave or host refused. Where nothing was decided the wallet is
        what it was; else ``renewal_pending``, and :func:`cosigner.settling.settle` goes on.
    """
    if not THRESHOLD <= parties <= MAX_PARTIES:
        raise CosignerError(
            "parties_unsupported",
            f"A wallet has {THRESHOLD} to {MAX_PARTIES} shares, of which any {THRESHOLD} sign.",
            culprit=Culprit.CLIENT,
        )
    wallet = found.wallet
    await _clear(actions, store, share, found)
    new = await _ceremony(actions, share, wallet, purpose=purpose, parties=parties, given=given)
    try:
        await prepare(new)
    except BaseException:
        with contextlib.suppress(CosignerError):
            await settling.abort(actions, wallet.wallet_id, new.wallet.epoch)
        raise
    # A store that fails here may have written the decision all the same: what lies there settles it, and nothing is aborted.
    decided = await _decide(actions, store, new)
    try:
        await settling.commit(actions, store, decided)
    except EnclaveRefused as error:
        if error.code != "backup_required":
            await _settled_after(actions, store, decided, error)
            return new.wallet
        # Its rules want a backup first. Nothing was committed, and cannot be once the enclave has dropped its half.
        await asyncio.to_thread(store.set_aside, wallet.wallet_id)
        await settling.abort(actions, wallet.wallet_id, new.wallet.epoch)
        raise
    except CosignerError as error:
        await _settled_after(actions, store, decided, error)
    return new.wallet


async def _clear(actions: Actions, store: ShareStore, share: KeyShare, found: WalletReply) -> None:
    """Make room: put away what this device decided and the enclave does not know of, and drop what nobody decided."""
    wallet = found.wallet
    if share.epoch != wallet.epoch:
        raise share_outdated(wallet.wallet_id, share.epoch, wallet.epoch)
    await asyncio.to_thread(store.set_aside, wallet.wallet_id)
    if found.status.pending is not None:
        await settling.abort(actions, wallet.wallet_id, found.status.pending)


async def _ceremony(
    actions: Actions,
    share: KeyShare,
    wallet: WalletInfo,
    *,
    purpose: Purpose,
    parties: int,
    given: Given | None,
) -> NewShares:
    dealer = share.identifier
    receivers = [party for party in range(1, parties + 1) if party != ENCLAVE_PARTY]
    new = replace(wallet, epoch=wallet.epoch + 1, threshold=THRESHOLD, parties=parties)

    async def ceremony(session: Session) -> NewShares:
        context = reshare_context(
            transcript=session.transcript,
            environment=actions.environment,
            wallet_id=wallet.wallet_id,
            share_set_id=wallet.share_set_id,
            purpose=purpose,
            epoch=new.epoch,
        )
        round1, messages1 = reshare_start(
            [share], sorted([dealer, ENCLAVE_PARTY]), receivers, THRESHOLD, parties, context
        )
        begun = await actions.perform(
            session,
            BeginReshare(
                wallet_id=wallet.wallet_id,
                epoch=wallet.epoch,
                purpose=purpose,
                dealer=dealer,
                threshold=THRESHOLD,
                parties=parties,
                message1=messages1[dealer],
            ),
            ReshareBegun,
            given=given,
        )
        if len(begun.messages2) != len(receivers):
            raise ProtocolError(
                "reply_unexpected",
                "The enclave dealt for another number of parties than it was asked to.",
                culprit=Culprit.ENCLAVE,
            )
        round2, messages2 = round1.advance({ENCLAVE_PARTY: begun.message1})
        dealt = {
            (ENCLAVE_PARTY, party): message for party, message in zip(receivers, begun.messages2, strict=True)
        }
        round3, confirmations = round2.advance(dealt)
        stored = await session.call(
            FinishReshare(
                wallet_id=wallet.wallet_id,
                message2=messages2[dealer, ENCLAVE_PARTY],
                confirmations=[confirmations[party] for party in receivers],
            ),
            ReshareStored,
        )
        if stored.wallet != new:
            raise CosignerError(
                "wallet_mismatch",
                "The enclave describes the new shares otherwise than this device; the old ones stay.",
                culprit=Culprit.ENCLAVE,
            )
        return NewShares(new, stored.confirmation, round3.confirm({ENCLAVE_PARTY: stored.confirmation}))

    return await actions.run(ceremony)


async def _decide(actions: Actions, store: ShareStore, new: NewShares) -> NextHeader:
    wallet = new.wallet
    context = commit_context(
        environment=actions.environment,
        wallet_id=wallet.wallet_id,
        share_set_id=wallet.share_set_id,
        epoch=wallet.epoch,
        confirmation=new.confirmation,
    )
    decided = NextHeader(
        version=1,
        environment=actions.environment,
        party=CLIENT_PARTY,
        wallet=wallet,
        confirmation=new.confirmation,
        proofs=[share.prove(context) for _, share in sorted(new.shares.items())],
    )
    await asyncio.to_thread(store.decide, decided, new.shares[CLIENT_PARTY])
    return decided


async def _settled_after(
    actions: Actions, store: ShareStore, decided: NextHeader, cause: CosignerError
) -> None:
    """The commit's answer is missing, or was a refusal: ask how things stand."""
    wallet = decided.wallet
    with contextlib.suppress(CosignerError):
        await settling.settle(actions, store, wallet.wallet_id)
        if await asyncio.to_thread(store.decided, wallet.wallet_id) is None:
            return
    raise CosignerError(
        "renewal_pending",
        f"It is not known whether the enclave has put the new shares of wallet {wallet.wallet_id} in force ({cause.message}). This device "
        "keeps the old share and the new one; the next use of the wallet settles it, and so does `cosigner wallet list --resume`.",
        culprit=cause.culprit,
        reaction=cause.reaction,
    ) from cause
