"""What the log of decisions is told: who asked on what evidence, what would be signed, which rules judged, and what they said.

Evidence that anybody can check again stands there in full. Of what can be guessed, such as codes, nothing does.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from policy.rendering import tree
from protocol.actions import DeviceCode, KeySignature, PasskeyAssertion, TotpCode
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.limits import MAX_LOG_ENTRY
from protocol.receipts import (
    MAX_REASONS,
    MAX_SUMMARY,
    CodeEvidence,
    Decision,
    Entry,
    KeyEvidence,
    LoggedActor,
    Outcome,
    PasskeyEvidence,
    UncheckedEvidence,
    bounded_json,
)
from protocol.summaries import summary_of

if TYPE_CHECKING:
    from enclave.accounts.user import Credential
    from enclave.actors import Actor
    from enclave.counters import Counters
    from enclave.receipts import Log
    from policy import Decision as RulesDecision
    from protocol.actions import Action, Authorization
    from protocol.envelope.messages import Message, SignedEntry
    from protocol.receipts import Evidence as LoggedEvidence
    from protocol.receipts import LoggedApproval, PolicyVersion
    from threshold.tasks import SigningTask

MAX_DENIALS: Final = 60  # entries of denials for one user and minute; the rest is only counted
_MINUTE: Final = 60_000  # ms
_MAX_USERS: Final = 10_000


@dataclass(slots=True)
class Judged:
    """One action, and how far its judgement got.

    :ivar login: which login registered the session key; empty: none did.
    :ivar credential: the one that vouched.
    :ivar second: whether the code of a second factor was right; ``None``: none was looked at.
    :ivar device_code: whether the device code was right.
    """

    actor: Actor | None
    login: str
    action: Action
    request: Message
    authorization: Authorization | None
    now: int
    credential: Credential | None = None
    second: bool | None = None
    device_code: bool = False
    approvals: list[LoggedApproval] = field(default_factory=list)
    tokens: list[LoggedEvidence] = field(default_factory=list)
    task: SigningTask | None = None
    epoch: int | None = None
    policies: list[PolicyVersion] = field(default_factory=list)
    rules: RulesDecision | None = None

    @property
    def approvers(self) -> frozenset[str]:
        """Whose approvals were verified."""
        return frozenset(one.approver for one in self.approvals)


class Journal:
    """Writes decisions to the log, and counts denials, those without an entry apart."""

    def __init__(self, log: Log, counters: Counters) -> None:
        self._log = log
        self._counters = counters
        self._denials: OrderedDict[str, tuple[int, int]] = OrderedDict()  # user: minute, denials in it

    async def allowed(self, judged: Judged) -> SignedEntry:
        """Log that an action may happen; when this returns, the host has confirmed to keep the entry.

        :raises CosignerError: ``receipt_failed``: then it must not happen.
        """
        return await self._log.append(_decision(judged, ""))

    async def denied(self, judged: Judged, code: str) -> SignedEntry | None:
        """Log that an action must not happen; ``None`` where the user has had too many denials lately.

        :raises CosignerError: ``receipt_failed``.
        """
        self._counters["denied"] += 1
        if judged.actor is None or not self._may_log(judged.actor.principal, judged.now):
            self._counters["denied_unlogged"] += 1
            return None
        return await self._log.append(_decision(judged, code))

    async def failed(self, receipt: SignedEntry, code: str) -> None:
        """Log that nothing came of what ``receipt`` allowed; that this cannot be logged changes nothing for the caller."""
        entry = cbor.decode(receipt.entry, Entry, limit=MAX_LOG_ENTRY, culprit=Culprit.ENCLAVE)
        with contextlib.suppress(CosignerError):
            await self._log.append(Outcome(of=entry.sequence, code=code, result=None))

    def _may_log(self, user_id: str, now: int) -> bool:
        minute, count = self._denials.pop(user_id, (0, 0))
        if minute != now // _MINUTE:
            minute, count = now // _MINUTE, 0
        self._denials[user_id] = (minute, count + 1)
        if len(self._denials) > _MAX_USERS:
            self._denials.popitem(last=False)
        return count < MAX_DENIALS


def logged_actor(actor: Actor, login: str) -> LoggedActor:
    """Whose session it is, as the log names them."""
    return LoggedActor(
        user_id=actor.user_id,
        kind=actor.kind,
        session_key=hashlib.sha256(actor.session_key).digest(),
        login=login,
    )


def logged_signature(
    credential: Credential, evidence: PasskeyAssertion | KeySignature
) -> PasskeyEvidence | KeyEvidence:
    """A verified assertion or signature, with the key that it was verified with."""
    if isinstance(evidence, PasskeyAssertion):
        return PasskeyEvidence(public_key=credential.public_key, assertion=evidence)
    return KeyEvidence(algorithm=credential.algorithm, public_key=credential.public_key, signature=evidence)


def _decision(judged: Judged, code: str) -> Decision:
    return Decision(
        action=judged.action,
        actor=None if judged.actor is None else logged_actor(judged.actor, judged.login),
        evidence=_evidence(judged),
        approvals=judged.approvals,
        summary=_summary(judged),
        policies=judged.policies,
        allowed=not code,
        code=code,
        reasons="" if judged.rules is None else bounded_json(tree(judged.rules), MAX_REASONS),
        epoch=judged.epoch,
        result=None,
    )


def _summary(judged: Judged) -> str:
    """What would be signed; of any other action, and of a payload that was never read, what the request asks for."""
    if judged.task is not None:
        return bounded_json(_plain(judged.task.summary), MAX_SUMMARY)
    asked = summary_of(judged.request)
    return bounded_json(asked, MAX_SUMMARY) if asked else ""


def _evidence(judged: Judged) -> list[LoggedEvidence]:
    found = list(judged.tokens)
    authorization = judged.authorization
    if authorization is None:
        return found
    match authorization.first:
        case DeviceCode():
            found.append(CodeEvidence(what="device_code", accepted=judged.device_code))
        case PasskeyAssertion() | KeySignature() as signed:
            found.append(
                UncheckedEvidence(hash=hashlib.sha256(cbor.encode(signed)).digest())
                if judged.credential is None
                else logged_signature(judged.credential, signed)
            )
    if authorization.second is not None and judged.second is not None:
        is_totp = isinstance(authorization.second, TotpCode)
        found.append(CodeEvidence(what="totp" if is_totp else "recovery_code", accepted=judged.second))
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401  (JSON-like, with bytes)
    """The same with bytes as hex."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {name: _plain(entry) for name, entry in value.items()}
        case list():
            return [_plain(entry) for entry in value]
        case _:
            return value
