"""The ceremony of a delegation: two handovers of one key at once (``docs/spec/delegation.md`` §4, ADR 0022 and 0023).

Both deal from the same two shares, the user's and the enclave's. The one makes the user's share set anew, at its next epoch; the other makes a
share set apart, of delegate and enclave. They are polynomials of their own: a share of the one and a share of the other make nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from enclave import reshares
from enclave.reshares import Shape
from enclave.sessions import Ceremony
from enclave.vault.vault import require_nothing_pending
from enclave.work import compute
from protocol.binding import commit_context, reshare_context
from protocol.delegation import BeginDelegation, DelegationBegun, DelegationStored, FinishDelegation
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError
from protocol.wallets import CLIENT_PARTY, THRESHOLD

from .events import CHAINS
from .record import check_rules

if TYPE_CHECKING:
    from enclave.actors import Actor
    from enclave.authorization.permits import Permit
    from enclave.sessions import Session
    from enclave.vault import EpochFacts, OpenedWallet
    from protocol.delegation import DelegationSettings
    from protocol.hybrid import Envelope
    from protocol.wallets import WalletInfo
    from threshold import KeyShare, ReshareRound2

_OF_TWO: Final = 2
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
OWN: Final = "reshare"
DELEGATE: Final = "delegate"


@dataclass(frozen=True, slots=True)
class Dealt:
    """Both handovers between their two messages.

    :ivar approved_by: the credential that vouched for the approval, if the user has any.
    """

    own: ReshareRound2
    delegate: ReshareRound2
    approved_by: bytes | None


@dataclass(frozen=True, slots=True)
class Received:
    """The enclave's two new shares, which nothing knows of yet.

    :ivar own: the user's share set, as it will be. :ivar delegate: the delegate's.
    """

    own: WalletInfo
    own_share: KeyShare
    own_confirmation: bytes
    delegate: WalletInfo
    delegate_share: KeyShare
    delegate_confirmation: bytes

    def reply(self) -> DelegationStored:
        """What the client is told."""
        return DelegationStored(
            wallet=self.own,
            confirmation=self.own_confirmation,
            delegate=self.delegate,
            delegate_confirmation=self.delegate_confirmation,
        )


def require_possible(
    opened: OpenedWallet, request: BeginDelegation, settings: DelegationSettings, now: int
) -> None:
    """What can be said before anything is dealt.

    :raises CosignerError: ``epoch_stale``, ``epoch_superseded``, ``chain_unsupported``, ``terms_refused``, ``policy_invalid``, ``reshare_pending``, ``party_set_unsupported``,
        ``party_refused``, ``delegation_exists``.
    """
    opened.require_epoch(request.epoch)
    wallet, terms = opened.wallet, request.terms
    if wallet.chain not in CHAINS:
        raise CosignerError(
            "chain_unsupported",
            f"Wallets of {wallet.chain} cannot be delegated; those of {' and '.join(CHAINS)} can.",
            culprit=Culprit.CLIENT,
        )
    if terms.app != settings.app:
        raise _terms_refused(f"The environment's app is {settings.app!r}, not {terms.app!r}.")
    if terms.expires_at <= now:
        raise _terms_refused("A delegation ends some time after it begins.")
    if terms.share_set_id == wallet.wallet_id:
        raise CosignerError(
            "delegation_exists", "This id is the wallet's own; choose a fresh one.", culprit=Culprit.CLIENT
        )
    check_rules(terms.rules)
    require_nothing_pending(opened)
    if (request.threshold, request.parties) != (wallet.threshold, wallet.parties):
        raise CosignerError(
            "party_set_unsupported",
            "A delegation leaves the user's own parties as they are; changing them is a reshare.",
            culprit=Culprit.CLIENT,
        )
    if request.dealer != CLIENT_PARTY:
        raise CosignerError(
            "party_refused",
            f"A delegation deals with the share of party {CLIENT_PARTY}, the user's own device.",
            culprit=Culprit.CLIENT,
        )


async def begin(
    permit: Permit,
    owner: Actor,
    session: Session,
    opened: OpenedWallet,
    request: BeginDelegation,
    *,
    approved_by: bytes | None,
) -> DelegationBegun:
    """Take the client's two first messages; answer with the enclave's first and second of both.

    The permit stays with the ceremony, for the shares that come out of it.

    :raises ThresholdError: a message of the client is not valid.
    """
    share = opened.release(permit)
    own, delegate = _shapes(request)
    own_state, own1, own2 = await compute(
        reshares.deal,
        share,
        own,
        _context(session, opened, OWN, opened.wallet.share_set_id),
        request.message1,
    )
    delegate_state, delegate1, (delegate2,) = await compute(
        reshares.deal,
        share,
        delegate,
        _context(session, opened, DELEGATE, request.terms.share_set_id),
        request.delegate_message1,
    )
    session.put_ceremony(
        request.wallet_id, Ceremony(request, Dealt(own_state, delegate_state, approved_by), permit, owner)
    )
    return DelegationBegun(
        message1=own1, messages2=own2, delegate_message1=delegate1, delegate_message2=delegate2
    )


async def receive(
    state: Dealt, begun: BeginDelegation, opened: OpenedWallet, request: FinishDelegation
) -> Received:
    """Take the client's second messages and confirmations of both.

    :param opened: the user's share set, as it is now.
    :raises CosignerError: ``parties_wrong_count``.
    :raises ThresholdError: the client's messages are not right.
    """
    own, delegate = _shapes(begun)
    share, confirmation = await compute(
        reshares.receive, state.own, own, request.message2, request.confirmations
    )
    theirs, their_confirmation = await compute(
        reshares.receive,
        state.delegate,
        delegate,
        request.delegate_message2,
        [request.delegate_confirmation],
    )
    delegated = replace(opened.wallet, share_set_id=begun.terms.share_set_id)
    return Received(
        own=reshares.next_facts(opened.wallet, share),
        own_share=share,
        own_confirmation=confirmation,
        delegate=reshares.next_facts(delegated, theirs),
        delegate_share=theirs,
        delegate_confirmation=their_confirmation,
    )


def require_envelope(envelope: Envelope, kid: str) -> None:
    """That what the developer shall get has the form of an envelope, and names the approved key. What is in it nobody here can see; but it
    goes into an event as it is, and must be what events are made of.

    :raises CosignerError: ``developer_key_refused``.
    :raises ProtocolError: ``envelope_malformed``.
    """
    if envelope.kid != kid:
        raise CosignerError(
            "developer_key_refused",
            "The share is encrypted to another key than the approved one.",
            culprit=Culprit.CLIENT,
        )
    if not all(map(_BASE64URL.fullmatch, (envelope.iv, envelope.ct, envelope.tag, envelope.ek))):
        raise ProtocolError(
            "envelope_malformed",
            "The share's envelope is not base64url throughout.",
            culprit=Culprit.CLIENT,
        )


def committing(environment: str, facts: EpochFacts) -> bytes:
    """What possession of the shares of an epoch is proved over."""
    return commit_context(
        environment=environment,
        wallet_id=facts.wallet.wallet_id,
        share_set_id=facts.wallet.share_set_id,
        epoch=facts.wallet.epoch,
        confirmation=facts.confirmation,
    )


def _shapes(request: BeginDelegation) -> tuple[Shape, Shape]:
    """Of the user's new share set, and of the delegate's."""
    return (
        Shape(dealer=request.dealer, threshold=request.threshold, parties=request.parties),
        Shape(dealer=request.dealer, threshold=THRESHOLD, parties=_OF_TWO),
    )


def _context(session: Session, opened: OpenedWallet, purpose: str, share_set_id: str) -> bytes:
    return reshare_context(
        transcript=session.channel.transcript,
        environment=session.environment,
        wallet_id=opened.wallet.wallet_id,
        share_set_id=share_set_id,
        purpose=purpose,
        epoch=opened.wallet.epoch + 1,
    )


def _terms_refused(message: str) -> CosignerError:
    return CosignerError("terms_refused", message, culprit=Culprit.CLIENT)
