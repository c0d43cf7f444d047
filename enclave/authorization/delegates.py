"""Delegates at the gate: whether their delegation stands, what they may ask at all, and by which rules it is judged."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from enclave.delegation import ceremony
from enclave.delegation.record import Delegation, refused, require_live, unknown
from protocol.delegation import RevokeDelegation, TightenDelegation
from protocol.envelope.errors import CosignerError, Culprit

from .rulebook import SignerRules

if TYPE_CHECKING:
    from enclave.actors import Actor, Delegated
    from enclave.authn.clock import Clock
    from enclave.delegation.book import Book
    from enclave.delegation.settings import Settings
    from enclave.vault import OpenedWallet
    from protocol.actions import Authorization
    from protocol.delegation import BeginDelegation
    from protocol.envelope.messages import Message

    from .requirements import Requirement

_REMEMBERED: Final = 100_000


class Delegates:
    """The delegates of one environment."""

    def __init__(self, settings: Settings, book: Book, clock: Clock) -> None:
        self._settings = settings
        self._book = book
        self._clock = clock
        self._shut: OrderedDict[Delegated, None] = OrderedDict()

    async def require(self, actor: Actor) -> Delegation:
        """The delegation that a delegate's session is for, while it stands. Asked for every request, and again before it is carried out.

        :raises CosignerError: ``delegation_refused``, ``delegation_disabled``, and those of records.
        """
        delegation = actor.delegation
        if delegation is None:
            raise refused("This is no delegate's session.")
        (await self._settings.in_force()).require_enabled()
        one = await self._book.find(delegation.wallet_id, delegation.share_set_id)
        if one is None or delegation in self._shut:
            raise refused("The delegation is over.")
        require_live(one, self._clock.now_ms())
        return one

    async def require_possible(self, opened: OpenedWallet, request: BeginDelegation, now: int) -> None:
        """What can be said of a delegation before anything is dealt.

        :raises CosignerError: ``delegation_disabled``, ``developer_key_refused``, and as :func:`enclave.delegation.ceremony.require_possible`.
        """
        settings = await self._settings.in_force()
        settings.require_enabled()
        settings.require_key(request.terms.kid, request.terms.key_hash)
        ceremony.require_possible(opened, request, settings.settings, now)

    def shut_out(self, delegation: Delegated) -> None:
        """Whoever may has revoked this delegation. Until this enclave ends it is refused here, even if the host does not store that."""
        self._shut[delegation] = None
        if len(self._shut) > _REMEMBERED:
            self._shut.popitem(last=False)


def require_allowed(actor: Actor, requirement: Requirement, request: Message) -> None:
    """What a delegate may ask at all: what the table says, of its own share set.

    :raises CosignerError: ``delegate_forbidden``, ``delegation_unknown``.
    """
    if actor.delegation is None:
        return
    if not requirement.delegate:
        raise CosignerError(
            "delegate_forbidden",
            f"A delegate may not ask for {request.kind}: that is for the wallet's owner.",
            culprit=Culprit.CLIENT,
        )
    if (
        isinstance(request, RevokeDelegation | TightenDelegation)
        and request.share_set_id != actor.delegation.share_set_id
    ):
        raise unknown()


def require_bare(authorization: Authorization | None) -> None:
    """That a delegate brings nobody's evidence: it acts by what the user approved, and never as the user.

    :raises CosignerError: ``evidence_invalid``.
    """
    if authorization is not None and (authorization.first is not None or authorization.second is not None):
        raise CosignerError(
            "evidence_invalid",
            "A delegate brings no passkey, key or code of anybody's.",
            culprit=Culprit.CLIENT,
        )


def signer_rules(one: Delegation) -> list[SignerRules]:
    """The rules in the place of the user's own layer ``signer``: what was approved, and what was said beside it. All must allow."""
    rules = [SignerRules(one.share_set_id, 1, one.terms.rules)]
    if one.tightened:
        rules.append(SignerRules(f"{one.share_set_id}/tightened", 2, one.tightened))
    return rules
