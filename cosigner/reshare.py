"""New shares of the same key: refresh, reshare, and the last step of every recovery (``docs/spec/lifecycle.md`` §2).

Two shares deal: the enclave's, and one that this device holds. The device receives for every party of the new set but the enclave. Its own
new share goes into the store; the others' go to wherever the caller puts them, and never stay here. Until the caller has done that, and the
store has written down what was decided, nothing is committed and the old shares sign (:mod:`cosigner.settling`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
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
    from threshold import KeyShare, ReshareRound3

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
        what it was; else ``renewal_pending``, and :func:`cosigner.settling.settle` goes on; ``share_outdated``: another device was first.
    """
    if not THRESHOLD <= parties <= MAX_PARTIES:
        raise CosignerError(
            "parties_unsupported",
            f"A wallet has {THRESHOLD} to {MAX_PARTIES} shares, of which any {THRESHOLD} sign.",
            culprit=Culprit.CLIENT,
        )
    wallet = found.wallet

    async def make() -> NewShares:
        return await _ceremony(actions, share, wallet, purpose=purpose, parties=parties, given=given)

    async def commit(decided: NextHeader) -> None:
        await settling.commit(actions, store, decided)

    return await replace_shares(actions, store, share, found, make=make, prepare=prepare, commit=commit)


async def replace_shares(
    actions: Actions,
    store: ShareStore,
    share: KeyShare,
    found: WalletReply,
    *,
    make: Callable[[], Awaitable[NewShares]],
    prepare: Prepare,
    commit: Callable[[NextHeader], Awaitable[None]],
) -> WalletInfo:
    """The steps around a ceremony that replaces the user's shares, each safe to be interrupted.

    :param found: the wallet as the enclave has just described it.
    :param make: the ceremony, as far as the enclave has its new share beside the old one.
    :param commit: has the enclave commit what was decided, and the store adopt it.
    :raises CosignerError: as :func:`renew`.
    """
    wallet = found.wallet
    await _clear(actions, store, share, found)
    new = await make()
    try:
        await prepare(new)
    except BaseException:
        with contextlib.suppress(CosignerError):
            await settling.abort(actions, wallet.wallet_id, new.wallet.epoch)
        raise
    # A store that fails here may have written the decision all the same: what lies there settles it, and nothing is aborted.
    decided = await _decide(actions, store, new)
    try:
        await commit(decided)
    except EnclaveRefused as error:
        if error.code != "backup_required":
            await _settled_after(actions, store, decided, error)
            return new.wallet
        # Its rules want a backup first. Nothing was committed, and cannot be once the enclave has dropped its half.
        await settling.give_up(actions, store, decided)
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


class Handover:
    """One handover of shares on this device, between its messages. Two shares deal: the enclave's, and ``share``.

    :param new: the wallet as it will be; the device receives for every party of it but the enclave.
    :param purpose: as in :func:`protocol.binding.reshare_context`.
    :ivar message1: for the enclave.
    """

    def __init__(
        self, session: Session, environment: str, share: KeyShare, new: WalletInfo, purpose: str
    ) -> None:
        self._dealer = share.identifier
        self._new = new
        self.receivers = [party for party in range(1, new.parties + 1) if party != ENCLAVE_PARTY]
        context = reshare_context(
            transcript=session.transcript,
            environment=environment,
            wallet_id=new.wallet_id,
            share_set_id=new.share_set_id,
            purpose=purpose,
            epoch=new.epoch,
        )
        quorum = sorted([self._dealer, ENCLAVE_PARTY])
        self._round1, messages1 = reshare_start(
            [share], quorum, self.receivers, THRESHOLD, new.parties, context
        )
        self.message1 = messages1[self._dealer]
        self._round3: ReshareRound3 | None = None

    def receive(self, message1: bytes, messages2: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        """Take the enclave's first message, and its second ones for this device's parties.

        :returns: the second message for the enclave, and the confirmations of this device's parties, ascending.
        :raises ProtocolError: ``reply_unexpected``. :raises ThresholdError: a message is not valid.
        """
        if len(messages2) != len(self.receivers):
            raise ProtocolError(
                "reply_unexpected",
                "The enclave dealt for another number of parties than it was asked to.",
                culprit=Culprit.ENCLAVE,
            )
        round2, outgoing = self._round1.advance({ENCLAVE_PARTY: message1})
        dealt = {
            (ENCLAVE_PARTY, party): message for party, message in zip(self.receivers, messages2, strict=True)
        }
        self._round3, confirmations = round2.advance(dealt)
        return outgoing[self._dealer, ENCLAVE_PARTY], [confirmations[party] for party in self.receivers]

    def finish(self, described: WalletInfo, confirmation: bytes) -> NewShares:
        """Take what the enclave says of its own new share.

        :raises CosignerError: ``wallet_mismatch``. :raises ThresholdError: ``confirmation_mismatch``.
        """
        if described != self._new or self._round3 is None:
            raise CosignerError(
                "wallet_mismatch",
                "The enclave describes the new shares otherwise than this device; the old ones stay.",
                culprit=Culprit.ENCLAVE,
            )
        return NewShares(self._new, confirmation, self._round3.confirm({ENCLAVE_PARTY: confirmation}))


async def _ceremony(
    actions: Actions,
    share: KeyShare,
    wallet: WalletInfo,
    *,
    purpose: Purpose,
    parties: int,
    given: Given | None,
) -> NewShares:
    new = replace(wallet, epoch=wallet.epoch + 1, threshold=THRESHOLD, parties=parties)

    async def ceremony(session: Session) -> NewShares:
        handover = Handover(session, actions.environment, share, new, purpose)
        begun = await actions.perform(
            session,
            BeginReshare(
                wallet_id=wallet.wallet_id,
                epoch=wallet.epoch,
                purpose=purpose,
                dealer=share.identifier,
                threshold=THRESHOLD,
                parties=parties,
                message1=handover.message1,
            ),
            ReshareBegun,
            given=given,
        )
        message2, confirmations = handover.receive(begun.message1, begun.messages2)
        stored = await session.call(
            FinishReshare(wallet_id=wallet.wallet_id, message2=message2, confirmations=confirmations),
            ReshareStored,
        )
        return handover.finish(stored.wallet, stored.confirmation)

    return await actions.run(ceremony)


def prove(environment: str, new: NewShares) -> list[bytes]:
    """Proofs of possession that commit new shares, one for each party but the enclave, ascending."""
    context = commit_context(
        environment=environment,
        wallet_id=new.wallet.wallet_id,
        share_set_id=new.wallet.share_set_id,
        epoch=new.wallet.epoch,
        confirmation=new.confirmation,
    )
    return [share.prove(context) for _, share in sorted(new.shares.items())]


async def _decide(actions: Actions, store: ShareStore, new: NewShares) -> NextHeader:
    decided = NextHeader(
        version=1,
        environment=actions.environment,
        party=CLIENT_PARTY,
        wallet=new.wallet,
        confirmation=new.confirmation,
        proofs=prove(actions.environment, new),
    )
    await asyncio.to_thread(store.decide, decided, new.shares[CLIENT_PARTY])
    return decided


async def _settled_after(
    actions: Actions, store: ShareStore, decided: NextHeader, cause: CosignerError
) -> None:
    """The commit's answer is missing, or was a refusal: ask how things stand.

    :raises StoreError: ``share_outdated``: another device's new shares count, and not these.
    :raises CosignerError: ``renewal_pending``.
    """
    wallet, newest = decided.wallet, 0
    with contextlib.suppress(CosignerError):
        reply = await settling.settle(actions, store, wallet.wallet_id)
        if (reply.wallet, reply.confirmation) == (wallet, decided.confirmation):
            return
        newest = reply.wallet.epoch
    if newest >= wallet.epoch:
        raise share_outdated(wallet.wallet_id, wallet.epoch - 1, newest) from cause
    raise CosignerError(
        "renewal_pending",
        f"It is not known whether the enclave has put the new shares of wallet {wallet.wallet_id} in force ({cause.message}). This device "
        "keeps the old share and the new one; the next use of the wallet settles it, and so does `cosigner wallet list --resume`.",
        culprit=cause.culprit,
        reaction=cause.reaction,
    ) from cause
