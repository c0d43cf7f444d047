"""Requests to recover a user: verified here to the end, by the rules of :mod:`.recovery`, before anything is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enclave.authn import keys
from protocol.accounts import RecoveryPending, RecoverySubject
from protocol.envelope.errors import CosignerError

from . import recovery, registration
from .user import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enclave.authn.clock import Clock
    from enclave.manifest import Environment
    from protocol.accounts import Recover

    from .directory import Directory
    from .registration import Asking
    from .user import PendingRecovery, RecoveryKey, UserRecord

    Transition = Callable[[UserRecord, int], UserRecord]  # of a record, at a time


@dataclass(frozen=True, slots=True)
class Asked:
    """A recovery that the recovery key, and the release gate if there is one, have signed. It was neither begun nor completed yet.

    :ivar user: as they were found.
    :ivar waits: a time lock holds it up; else it may be completed.
    :ivar wait: begins it, if it was not begun before; how long it waits.
    :ivar complete: the change that completes it, of a record, at a time.
    """

    user: UserRecord
    waits: bool
    wait: Callable[[], Awaitable[RecoveryPending]]
    complete: Transition


class Recovering:
    """The recoveries of one environment's users.

    A request whose subject is that of the recovery under way is about that one: its credential was verified when it began, in the
    session that the subject names. Every other request is a new recovery, in the place of the one under way.
    """

    def __init__(self, environment: Environment, *, directory: Directory, clock: Clock) -> None:
        self._environment = environment
        self._directory = directory
        self._clock = clock

    async def verify(self, session: Asking, request: Recover) -> Asked:
        """Judge a request whose session key has proven itself.

        :raises CosignerError: ``recovery_refused``, ``evidence_invalid``, ``session_key_rejected``, ``credential_refused``, and those of
            storage.
        """
        now = self._clock.now_ms()
        key = recovery.require_key(await self._directory.get(request.user_id))
        user = await self._directory.require(request.user_id)
        digest = self._digest_under_way(user, request, now)
        if digest is not None:
            self._require_signatures(key, request, digest)
            begin: Transition = _as_it_is
        else:
            digest = recovery.digest_of(self._subject(request, session.transcript))
            self._require_signatures(key, request, digest)
            begin = self._begin(session, request, key, digest, now)
        return self._asked(user, digest, begin, now)

    def _asked(self, user: UserRecord, digest: bytes, begin: Transition, now: int) -> Asked:
        link = os.urandom(32)

        async def wait() -> RecoveryPending:
            record = await self._directory.change(
                user.user_id, lambda record: begin(record, self._clock.now_ms())
            )
            return RecoveryPending(not_before=self._require(record, digest).not_before)

        def complete(record: UserRecord, now_ms: int) -> UserRecord:
            return recovery.complete(
                begin(record, now_ms),
                digest=digest,
                link=link,
                lifetime_ms=self._environment.session_lifetime_s * 1000,
                now_ms=now_ms,
            )

        return Asked(
            user=user,
            waits=now < self._require(begin(user, now), digest).not_before,
            wait=wait,
            complete=complete,
        )

    def _begin(
        self, session: Asking, request: Recover, key: RecoveryKey, digest: bytes, now: int
    ) -> Transition:
        """Verify the new credential; what begins its recovery."""
        credential = registration.verify(
            session,
            request.challenge,
            request.credential,
            name=request.name,
            relying_party=self._environment.relying_party,
            now_ms=now,
        )

        def begin(record: UserRecord, now_ms: int) -> UserRecord:
            if record.recovery_key != key:  # replaced while this was being verified, or logged
                raise _unrecoverable()
            return recovery.begin(
                record,
                digest=digest,
                session=session.transcript,
                credential=credential,
                session_key=request.session_key,
                time_lock_ms=self._environment.recovery.time_lock_s * 1000,
                now_ms=now_ms,
            )

        return begin

    def _digest_under_way(self, record: UserRecord, request: Recover, now: int) -> bytes | None:
        pending = record.pending_recovery
        if pending is None:
            return None
        digest = recovery.digest_of(self._subject(request, pending.session))
        return digest if recovery.waiting(record, digest, now_ms=now) else None

    def _require(self, record: UserRecord, digest: bytes) -> PendingRecovery:
        """The recovery under way, which must be this one: it may have been cancelled in the meantime.

        :raises CosignerError: ``recovery_refused``.
        """
        pending = recovery.waiting(record, digest, now_ms=self._clock.now_ms())
        if pending is None:
            raise refusal("recovery_refused", "No such recovery is under way.")
        return pending

    def _subject(self, request: Recover, session: bytes) -> RecoverySubject:
        return RecoverySubject(
            version=1,
            environment=self._environment.id,
            user_id=request.user_id,
            session=session,
            challenge=request.challenge,
            name=request.name,
            credential=request.credential,
            session_key=request.session_key,
        )

    def _require_signatures(self, key: RecoveryKey, request: Recover, digest: bytes) -> None:
        """The recovery key's, and the release gate's if the manifest names one."""
        gate = self._environment.recovery.gate
        try:
            keys.verify(key.algorithm, key.public_key, digest, request.signature)
            if gate is not None and request.gate is not None:
                keys.verify(gate.algorithm, gate.public_key, digest, request.gate)
        except CosignerError:
            raise _unrecoverable() from None
        if (gate is None) != (request.gate is None):
            raise refusal(
                "recovery_refused",
                "This environment has no release gate."
                if gate is None
                else f"The recovery must be released by {gate.name}.",
            )


def _as_it_is(record: UserRecord, _: int) -> UserRecord:
    """How a recovery begins that is under way."""
    return record


def _unrecoverable() -> CosignerError:
    return refusal("recovery_refused", "This user cannot be recovered by this key.")
