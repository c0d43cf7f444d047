"""New shares of the same key: the enclave's side of every handover (``docs/spec/lifecycle.md`` §2, ADR 0022).

Two shares deal, the enclave's and one that the client holds. The ceremony's two messages make the enclave's share of the next epoch, which
is stored beside the active one; it takes that one's place when the client has proved that it holds its own new shares. So at every
moment there is one epoch that signs, and each side can find out which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.binding import commit_context, reshare_context
from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import BeginReshare, ReshareBegun, ReshareStored
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, MAX_PARTIES, THRESHOLD
from threshold import reshare_start

from .sessions import Ceremony
from .vault.vault import nothing_pending, require_nothing_pending
from .work import compute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.lifecycle import CommitReshare, FinishReshare
    from protocol.wallets import WalletInfo
    from threshold import KeyShare, ReshareRound2

    from .actors import Actor
    from .authorization.permits import Permit
    from .sessions import Session
    from .vault import OpenedWallet, Vault


@dataclass(frozen=True, slots=True)
class Shape:
    """Who deals and who receives. The enclave always does both.

    :ivar dealer: the party, of the old share set, whose share the client deals with.
    :ivar parties: of the new share set; the client receives for all but the enclave.
    """

    dealer: int
    threshold: int
    parties: int

    @property
    def dealers(self) -> list[int]:
        """Ascending."""
        return sorted((self.dealer, ENCLAVE_PARTY))

    @property
    def others(self) -> list[int]:
        """The client's parties of the new share set, ascending."""
        return client_parties(self.parties)


def client_parties(parties: int) -> list[int]:
    """All parties of a share set but the enclave, ascending: the order of whatever comes from the client for each."""
    return [party for party in range(1, parties + 1) if party != ENCLAVE_PARTY]


def by_party(parties: int, values: Sequence[bytes]) -> dict[int, bytes]:
    """What came from the client for each of its parties.

    :raises CosignerError: ``parties_wrong_count``.
    """
    others = client_parties(parties)
    if len(others) != len(values):
        raise CosignerError(
            "parties_wrong_count",
            f"There must be one for each party but the enclave, {len(others)} in all; {len(values)} came.",
            culprit=Culprit.CLIENT,
        )
    return dict(zip(others, values, strict=True))


# --- the ceremony ----------------------------------------------------------------------------------------------------------


def require_shape(shape: Shape) -> None:
    """That a share set of this shape is one that the service has.

    :raises CosignerError: ``party_set_unsupported``.
    """
    if shape.threshold != THRESHOLD or not THRESHOLD <= shape.parties <= MAX_PARTIES:
        raise CosignerError(
            "party_set_unsupported",
            f"Wallets have {THRESHOLD} of {THRESHOLD} to {THRESHOLD} of {MAX_PARTIES} shares.",
            culprit=Culprit.CLIENT,
        )


def deal(
    share: KeyShare, shape: Shape, context: bytes, message1: bytes
) -> tuple[ReshareRound2, bytes, list[bytes]]:
    """Deal with the enclave's share, taking the other dealer's first message.

    :returns: the state, the enclave's message 1, and its messages 2 to the client's parties in their order.
    :raises ThresholdError: the message is not valid.
    """
    round1, own1 = reshare_start(
        [share], shape.dealers, [ENCLAVE_PARTY], shape.threshold, shape.parties, context
    )
    round2, own2 = round1.advance({shape.dealer: message1})
    return round2, own1[ENCLAVE_PARTY], [own2[ENCLAVE_PARTY, party] for party in shape.others]


def receive(
    state: ReshareRound2, shape: Shape, message2: bytes, confirmations: Sequence[bytes]
) -> tuple[KeyShare, bytes]:
    """Take the other dealer's second message, and the client's confirmations.

    :returns: the enclave's new share, and its confirmation.
    :raises CosignerError: ``parties_wrong_count``.
    :raises ThresholdError: a message is not valid, or a confirmation is of another transcript.
    """
    theirs = by_party(shape.parties, confirmations)
    round3, own = state.advance({(shape.dealer, ENCLAVE_PARTY): message2})
    return round3.confirm(theirs)[ENCLAVE_PARTY], own[ENCLAVE_PARTY]


def next_facts(wallet: WalletInfo, share: KeyShare) -> WalletInfo:
    """A wallet as a new share has it."""
    return replace(wallet, epoch=share.epoch, threshold=share.min_signers, parties=share.max_signers)


# --- the requests ----------------------------------------------------------------------------------------------------------


def require_possible(opened: OpenedWallet, request: BeginReshare) -> None:
    """What can be said before anything is dealt.

    :raises CosignerError: ``epoch_stale``, ``epoch_superseded``, ``reshare_pending``, ``party_set_unsupported``, ``party_refused``,
        ``purpose_refused``.
    """
    opened.require_epoch(request.epoch)
    require_nothing_pending(opened)
    require_shape(shape_of(request))
    opened.require_party(request.dealer)
    wallet, purpose = opened.wallet, request.purpose
    if purpose != "recover" and request.dealer != CLIENT_PARTY:
        raise _purpose_refused(
            f"A {purpose} deals with the share of party {CLIENT_PARTY}; with another one it is a recovery."
        )
    same = (request.threshold, request.parties) == (wallet.threshold, wallet.parties)
    if purpose == "refresh" and not same:
        raise _purpose_refused(
            "A refresh leaves threshold and parties as they are; changing them is a reshare."
        )


async def begin_reshare(
    permit: Permit, owner: Actor, session: Session, opened: OpenedWallet, request: BeginReshare
) -> ReshareBegun:
    """Take the client's first message; answer with the enclave's first and second.

    The permit stays with the ceremony: one use deals, the other lets the new share into the vault.

    :raises CosignerError: as :func:`require_possible`.
    :raises ThresholdError: the client's message is not valid.
    """
    require_possible(opened, request)
    wallet = opened.wallet
    context = reshare_context(
        transcript=session.channel.transcript,
        environment=session.environment,
        wallet_id=wallet.wallet_id,
        share_set_id=wallet.share_set_id,
        purpose=request.purpose,
        epoch=wallet.epoch + 1,
    )
    state, message1, messages2 = await compute(
        deal, opened.release(permit), shape_of(request), context, request.message1
    )
    session.put_ceremony(request.wallet_id, Ceremony(request, state, permit, owner))
    return ReshareBegun(message1=message1, messages2=messages2)


async def finish_reshare(
    session: Session,
    vault: Vault,
    actor: Actor,
    opened: OpenedWallet,
    request: FinishReshare,
    *,
    now_ms: int,
) -> ReshareStored:
    """Take the client's second message and confirmations; keep the enclave's new share beside the old one.

    :param actor: who asks; must be who began, and own the wallet still.
    :raises CosignerError: ``ceremony_unknown``, ``parties_wrong_count``, ``epoch_superseded``, ``reshare_pending``,
        ``wallet_retired``, ``record_conflict``, ``storage_unavailable``.
    :raises ThresholdError: the client's messages are not right.
    """
    ceremony = session.take_ceremony(request.wallet_id, actor, BeginReshare)
    begun = ceremony.request
    opened.require_epoch(begun.epoch)
    share, confirmation = await compute(
        receive, ceremony.state, shape_of(begun), request.message2, request.confirmations
    )
    wallet = next_facts(opened.wallet, share)
    await vault.keep_pending(
        ceremony.permit, opened, share, wallet, confirmation=confirmation, made_at=now_ms
    )
    return ReshareStored(wallet=wallet, confirmation=confirmation)


def verify_commit(environment: str, opened: OpenedWallet, request: CommitReshare) -> bool:
    """That the client holds the new shares: those that wait, or those that were committed already.

    :returns: whether there is something left to commit.
    :raises CosignerError: ``reshare_unknown``; ``epoch_stale``, ``epoch_superseded``: the shares are of another epoch;
        ``parties_wrong_count``.
    :raises ThresholdError: ``invalid_proof``.
    """
    pending = opened.pending
    if pending is None and request.epoch == opened.wallet.epoch + 1:
        raise nothing_pending()
    facts = opened.facts_of(request.epoch)
    context = commit_context(
        environment=environment,
        wallet_id=facts.wallet.wallet_id,
        share_set_id=facts.wallet.share_set_id,
        epoch=facts.wallet.epoch,
        confirmation=facts.confirmation,
    )
    proofs = by_party(facts.wallet.parties, request.proofs)
    opened.verify_proofs(request.epoch, context, proofs.items())
    return facts is pending


def require_abortable(opened: OpenedWallet, epoch: int) -> None:
    """That an epoch does not count yet. Nothing needs to wait.

    :raises CosignerError: ``reshare_committed``: the shares count already; ``epoch_stale``, ``epoch_superseded``: it is another epoch's turn.
    """
    if epoch == opened.wallet.epoch:
        raise CosignerError(
            "reshare_committed",
            f"The shares of epoch {epoch} count already; keep them, and drop the older ones.",
            culprit=Culprit.CLIENT,
        )
    opened.require_epoch(epoch - 1)


def shape_of(request: BeginReshare) -> Shape:
    """Who deals and receives, as a client asks."""
    return Shape(dealer=request.dealer, threshold=request.threshold, parties=request.parties)


def _purpose_refused(message: str) -> CosignerError:
    return CosignerError("purpose_refused", message, culprit=Culprit.CLIENT)
