"""One action, as far as it has come on its way through the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .permits import PermitError

if TYPE_CHECKING:
    from enclave.actors import Actor
    from enclave.sessions import Session
    from enclave.signing import Signing
    from enclave.vault import OpenedWallet
    from protocol.actions import Action, Authorization, RecoveryCode, SignedApproval, TotpCode
    from protocol.envelope.messages import Message

    from .evidence import Verified
    from .journal import Judged
    from .requirements import Requirement


@dataclass(slots=True)
class Case:
    """One action on its way through the gate.

    :ivar judged: what a receipt says of it, should it be denied now.
    """

    session: Session
    actor: Actor
    request: Message
    requirement: Requirement
    action: Action
    authorization: Authorization | None
    now: int
    judged: Judged
    evidence: Verified
    opened: OpenedWallet | None = None
    signing: Signing | None = None

    @property
    def approvals(self) -> list[SignedApproval]:
        return [] if self.authorization is None else self.authorization.approvals

    def need_opened(self) -> OpenedWallet:
        """The wallet, which the check of its owner has opened.

        :raises PermitError: it was not looked at; that is a mistake in this enclave.
        """
        if self.opened is None:
            msg = "this wallet's owner was not checked"
            raise PermitError(msg)
        return self.opened

    @property
    def second(self) -> TotpCode | RecoveryCode | None:
        return None if self.authorization is None else self.authorization.second
