"""Approvals: what administrators, and other users whom the policy names, say beforehand to what somebody is going to ask for.

An approval names what is approved and until when, not who will ask and in which session. It is good once: its nonce is stored, sealed,
before what it approved happens.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from enclave.authn import keys
from protocol.actions import ActionNonce, KeySignature, Milliseconds
from protocol.envelope.errors import CosignerError, Culprit
from protocol.intents import approval_of
from protocol.receipts import KeyEvidence, LoggedApproval

from .evidence import verify_by_credential
from .freshness import require_fresh
from .journal import logged_signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from enclave.accounts.directory import Directory
    from enclave.authn.clock import Clock
    from enclave.manifest import Environment
    from enclave.records import Records
    from protocol.actions import Action, SignedApproval
    from protocol.envelope.messages import Message
    from protocol.receipts import PasskeyEvidence

KIND: Final = "approvals"
MAX_LIFETIME: Final = 7 * 86400  # seconds
MAX_SPENT: Final = 512
KEPT_LONGER: Final = 600_000  # milliseconds past its expiry: another enclave's clock may be behind
_USER: Final = "user:"
_ADMINISTRATOR: Final = "administrator:"


class SpentApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nonce: ActionNonce
    expires_at: Milliseconds


class SpentApprovals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Approvals of one approver that were used and have not expired, as sealed."""

    version: Annotated[int, Meta(ge=1, le=1)]
    spent: Annotated[list[SpentApproval], Meta(max_length=MAX_SPENT)]


class Approvals:
    """Verifies approvals for one environment, and lets each be used once."""

    def __init__(
        self, environment: Environment, directory: Directory, records: Records, clock: Clock
    ) -> None:
        self._environment = environment
        self._directory = directory
        self._records = records
        self._clock = clock
        self._administrators = {entry.name: entry for entry in environment.administrators}

    async def verify(
        self, request: Message, action: Action, approvals: list[SignedApproval], now: int
    ) -> list[LoggedApproval]:
        """Who approves the request, ``user:ID`` or ``administrator:NAME``, each once, with evidence that anybody can check again.

        :raises CosignerError: ``evidence_invalid``, ``credential_unknown``, ``credential_inactive``, ``action_expired``: one of the
            approvals is not good; none counts then.
        """
        found = []
        for signed in approvals:
            require_fresh(signed.expires_at, now, MAX_LIFETIME)
            approval = approval_of(
                request,
                environment=self._environment.id,
                subject=action.subject,
                nonce=signed.nonce,
                expires_at=signed.expires_at,
            )
            evidence = await self._verify_one(signed, approval.hash)
            found.append(LoggedApproval(approver=signed.approver, approval=approval, evidence=evidence))
        if len({one.approver for one in found}) != len(found):
            raise _invalid("Somebody approves twice.")
        return found

    def require_quorum(self, approvers: frozenset[str]) -> None:
        """That enough of the environment's administrators approve.

        :raises CosignerError: ``approval_required``.
        """
        quorum = self._environment.quorum
        given = sum(name.startswith(_ADMINISTRATOR) for name in approvers)
        if not quorum:
            raise CosignerError(
                "approval_required",
                "This is for the environment's administrators, and the manifest names none.",
                culprit=Culprit.CLIENT,
            )
        if given < quorum:
            raise CosignerError(
                "approval_required",
                f"{quorum} of the environment's administrators must approve this; {given} did.",
                culprit=Culprit.CLIENT,
                needs=[
                    name
                    for name in map(_ADMINISTRATOR.__add__, self._administrators)
                    if name not in approvers
                ],
            )

    @asynccontextmanager
    async def unspent(self, approvals: list[SignedApproval]) -> AsyncIterator[None]:
        """Hold approvals while what they approve is decided; if the block ends well, they are spent, durably.

        The time is looked at here again: what expired while the request was held up may be forgotten by now.

        :raises CosignerError: ``action_expired``; ``action_replayed``: one was used before; and as :meth:`enclave.records.Records.write`.
        """
        if not approvals:
            yield
            return
        async with self._records.lock(KIND, "all"):
            held: dict[str, tuple[list[SpentApproval], int]] = {}  # names that differ may share a record
            now = self._clock.now_ms()
            for signed in approvals:
                require_fresh(signed.expires_at, now, MAX_LIFETIME)
                key = signed.approver.replace(":", "/").replace(".", "_")
                if key not in held:
                    held[key] = await self._unforgotten(key, now)
                spent, _ = held[key]
                if any(old.nonce == signed.nonce for old in spent) or len(spent) >= MAX_SPENT:
                    raise CosignerError(
                        "action_replayed",
                        f"An approval of {signed.approver} was used before, or too many were.",
                        culprit=Culprit.CLIENT,
                    )
                spent.append(SpentApproval(nonce=signed.nonce, expires_at=signed.expires_at))
            yield
            for key, (spent, revision) in held.items():
                await self._records.write(
                    KIND, key, SpentApprovals(version=1, spent=spent), expected=revision
                )

    async def _unforgotten(self, key: str, now: int) -> tuple[list[SpentApproval], int]:
        """The approvals that were used and are still remembered, and the revision of their record."""
        found = await self._records.read(KIND, key, SpentApprovals)
        if found is None:
            return [], 0
        return [old for old in found.value.spent if old.expires_at + KEPT_LONGER > now], found.revision

    async def _verify_one(self, signed: SignedApproval, digest: bytes) -> PasskeyEvidence | KeyEvidence:
        if signed.approver.startswith(_USER):
            record = await self._directory.get(signed.approver.removeprefix(_USER))
            vouched = verify_by_credential(
                record, signed.evidence, digest, relying_party=self._environment.relying_party
            )
            return logged_signature(vouched.credential, signed.evidence)
        administrator = self._administrators.get(signed.approver.removeprefix(_ADMINISTRATOR))
        if administrator is None or not signed.approver.startswith(_ADMINISTRATOR):
            raise _invalid(f"Nobody here is {signed.approver!r}.")
        if not isinstance(signed.evidence, KeySignature):
            raise _invalid("Administrators sign with the key that the manifest names.")
        keys.verify(administrator.algorithm, administrator.public_key, digest, signed.evidence.signature)
        return KeyEvidence(
            algorithm=administrator.algorithm,
            public_key=administrator.public_key,
            signature=signed.evidence,
        )


def _invalid(message: str) -> CosignerError:
    return CosignerError("evidence_invalid", message, culprit=Culprit.CLIENT)
