"""What comes out of the gate: leave to carry a request out, with all that this may use; or a refusal, with its receipt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from enclave.accounts.user import NO_EVIDENCE
from protocol.envelope.errors import CosignerError

from .permits import PermitError

if TYPE_CHECKING:
    from enclave.accounts.user import Evidence
    from enclave.actors import Actor
    from enclave.signing import Signing
    from enclave.vault import OpenedWallet
    from protocol.actions import SignedApproval
    from protocol.envelope.messages import Message, SignedEntry

    from .permits import Permit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Granted:
    """A request that may be carried out, and all that carrying it out may use.

    :ivar actor: ``None``: nobody's request, of those that anybody may ask.
    :ivar permit: for the wallet that the request is about.
    :ivar opened: that wallet, where the request reads or signs.
    :ivar signing: what is signed.
    :ivar receipt: of the decision.
    :ivar approvals: those that were verified and counted.
    """

    actor: Actor | None
    request: Message
    now: int
    evidence: Evidence = NO_EVIDENCE
    permit: Permit | None = None
    opened: OpenedWallet | None = None
    signing: Signing | None = None
    receipt: SignedEntry | None = None
    approvals: tuple[SignedApproval, ...] = ()

    def need_actor(self) -> Actor:
        """Whose request it is.

        :raises PermitError: nobody's; then this must not be carried out.
        """
        return _needed(self.actor)

    def need_permit(self) -> Permit:
        """The permit.

        :raises PermitError: there is none; then no share may be used.
        """
        return _needed(self.permit)

    def need_signing(self) -> Signing:
        """What is signed.

        :raises PermitError: nothing is.
        """
        return _needed(self.signing)

    def need_opened(self) -> OpenedWallet:
        """The wallet that is read.

        :raises PermitError: none is.
        """
        return _needed(self.opened)


class DeniedError(CosignerError):
    """A refusal of something whose decision stands in the log: it was denied, or was allowed and failed.

    :ivar receipt: the decision's entry.
    """

    def __init__(self, error: CosignerError, receipt: SignedEntry | None) -> None:
        super().__init__(
            error.code, error.message, culprit=error.culprit, reaction=error.reaction, needs=error.needs
        )
        self.receipt = receipt


def _needed(value: T | None) -> T:
    if value is None:
        msg = "the gate did not grant this"
        raise PermitError(msg)
    return value
