"""How a session becomes a user's: by a JWT, by a service account's key, by a session key, or by recovery.

All of this happens before anybody is known. Refusals do not tell whether a user, a key or a credential exists.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from enclave.actors import Actor
from enclave.authn import keys
from enclave.authn import session_keys as proofs
from enclave.authn.refusals import evidence_invalid
from protocol.accounts import LoggedIn, RecoveryPending, RecoverySubject
from protocol.envelope.errors import CosignerError

from . import credentials, logins, recovery, registration, session_keys
from .user import LinkedLogin, UserRecord, key_login_id, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from enclave.authn.clock import Clock
    from enclave.authn.jwt import VerifiedLogin
    from enclave.manifest import Environment
    from protocol.accounts import KeyLogin, Login, Recover, SessionAuth

    from .directory import Directory
    from .registration import Asking
    from .user import RecoveryKey

AUTH_WINDOW_MS: Final = 300_000  # how far from now a hello's evidence may have been made


class JwtVerifier(Protocol):
    """The issuers of an environment; see :class:`enclave.authn.logins.Logins`."""

    async def verify(self, token: str, *, now_ms: int) -> VerifiedLogin:
        """Verify a JWT.

        :raises CosignerError: ``jwt_invalid``, ``jwt_expired``, ``issuer_unknown``, ``issuer_unavailable``.
        """


@dataclass(frozen=True, slots=True)
class Entered:
    """Whose the session is from now on, and the answer to who asked."""

    actor: Actor
    reply: LoggedIn


class Entry:
    """The ways into one environment.

    :param end_sessions: told which session keys of a user have just ceased to be good: sessions that rest on them must end. The session
        that asked is to be answered first; after a login it rests on the new key.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        directory: Directory,
        issuers: JwtVerifier,
        clock: Clock,
        end_sessions: Callable[[str, frozenset[bytes]], None],
    ) -> None:
        self._environment = environment
        self._directory = directory
        self._issuers = issuers
        self._clock = clock
        self._end_sessions = end_sessions
        self._longest_ms = environment.session_lifetime_s * 1000

    async def authenticate(self, auth: SessionAuth, digest: bytes) -> Actor:
        """Whose session a hello opens.

        :param digest: what the session key signed: :func:`protocol.channel.session_auth_digest`, made from the hello itself.
        :raises CosignerError: ``session_key_rejected``, ``session_key_expired``.
        """
        now = self._clock.now_ms()
        record = await self._directory.get(auth.user_id)
        if record is None or abs(now - auth.issued_at) > AUTH_WINDOW_MS:
            raise _rejected()
        key = session_keys.find(record, auth.session_key, longest_ms=self._longest_ms, now_ms=now)
        try:
            proofs.verify(auth.session_key, digest, auth.signature)
        except CosignerError:
            raise _rejected() from None
        return self._actor(record, key.session_key)

    async def login(self, session: Asking, request: Login) -> Entered:
        """Register a session key under a JWT; the user is made if the login is nobody's.

        :raises CosignerError: ``evidence_invalid``, ``jwt_invalid``, ``jwt_expired``, ``issuer_unknown``, ``session_key_rejected``,
            ``session_key_expired``, ``user_conflict``, and those of storage.
        """
        now = self._clock.now_ms()
        digest = proofs.proof_digest(session.transcript, request.session_key)
        proofs.verify(request.session_key, digest, request.proof)
        if request.previous is not None and request.previous_proof is not None:
            proofs.verify(request.previous, digest, request.previous_proof)
        elif request.previous is not None or request.previous_proof is not None:
            raise evidence_invalid("A renewal names the old key and carries its signature.")
        verified = await self._issuers.verify(request.jwt, now_ms=now)
        user, created = await self._directory.log_in(
            LinkedLogin(login_id=verified.login_id, issuer=verified.issuer, linked_at=now), now_ms=now
        )

        def register(record: UserRecord) -> UserRecord:
            logins.require_fresh_token(record, verified.issued_at_ms)
            if not logins.has(record, verified.login_id):
                raise refusal("jwt_invalid", "This login was unlinked at the same moment.")
            return session_keys.register(
                record,
                request.session_key,
                login=verified.login_id,
                lifetime_ms=request.lifetime * 1000,
                longest_ms=self._longest_ms,
                now_ms=now,
                previous=request.previous,
            )

        return await self._enter(user.user_id, request.session_key, register, created=created)

    async def key_login(self, session: Asking, request: KeyLogin) -> Entered:
        """Register a session key under a service account's own key.

        :raises CosignerError: ``evidence_invalid``, ``session_key_rejected``, ``user_conflict``, and those of storage.
        """
        now = self._clock.now_ms()
        digest = proofs.proof_digest(session.transcript, request.session_key)
        proofs.verify(request.session_key, digest, request.proof)

        def register(record: UserRecord) -> UserRecord:
            credential = credentials.find_active(record, request.credential_id)
            if record.kind != "service" or credential.type != "key":
                raise _unvouched()
            try:
                keys.verify(credential.algorithm, credential.public_key, digest, request.signature)
            except CosignerError:
                raise _unvouched() from None
            return session_keys.register(
                record,
                request.session_key,
                login=key_login_id(credential.credential_id),
                lifetime_ms=request.lifetime * 1000,
                longest_ms=self._longest_ms,
                now_ms=now,
            )

        try:
            return await self._enter(request.user_id, request.session_key, register, created=False)
        except CosignerError as error:
            if error.code in {"user_unknown", "credential_unknown", "credential_inactive"}:
                raise _unvouched() from None
            raise

    async def recover(self, session: Asking, request: Recover) -> Entered | RecoveryPending:
        """Start, look after, or complete a recovery.

        A request whose subject is that of the recovery under way is about that one: its credential was verified when it began, in the
        session that the subject names. Every other request starts a recovery, in the place of the one under way.

        :raises CosignerError: ``recovery_refused``, ``evidence_invalid``, ``session_key_rejected``, ``credential_refused``,
            ``user_conflict``, and those of storage.
        """
        now = self._clock.now_ms()
        proofs.verify(
            request.session_key, proofs.proof_digest(session.transcript, request.session_key), request.proof
        )
        record = await self._directory.get(request.user_id)
        key = recovery.require_key(record)
        digest = self._digest_under_way(record, request, now)
        if digest is not None:
            self._require_signatures(key, request, digest)
        else:
            digest = recovery.digest_of(self._subject(request, session.transcript))
            self._require_signatures(key, request, digest)
            await self._begin_recovery(session, request, key, digest, now)
        record = await self._directory.require(request.user_id)
        pending = recovery.waiting(record, digest, now_ms=now)
        if pending is not None and now < pending.not_before:
            return RecoveryPending(not_before=pending.not_before)
        link = os.urandom(32)
        return await self._enter(
            request.user_id,
            request.session_key,
            lambda record: recovery.complete(
                record, digest=digest, link=link, lifetime_ms=self._longest_ms, now_ms=now
            ),
            created=False,
        )

    async def _begin_recovery(
        self, session: Asking, request: Recover, key: RecoveryKey, digest: bytes, now: int
    ) -> None:
        credential = registration.verify(
            session,
            request.challenge,
            request.credential,
            name=request.name,
            relying_party=self._environment.relying_party,
            now_ms=now,
        )

        def begin(record: UserRecord) -> UserRecord:
            if record.recovery_key != key:  # replaced while this was being verified
                raise refusal("recovery_refused", "This user cannot be recovered by this key.")
            return recovery.begin(
                record,
                digest=digest,
                session=session.transcript,
                credential=credential,
                session_key=request.session_key,
                time_lock_ms=self._environment.recovery.time_lock_s * 1000,
                now_ms=now,
            )

        await self._directory.change(request.user_id, begin)

    def _digest_under_way(self, record: UserRecord | None, request: Recover, now: int) -> bytes | None:
        pending = None if record is None else record.pending_recovery
        if record is None or pending is None:
            return None
        digest = recovery.digest_of(self._subject(request, pending.session))
        return digest if recovery.waiting(record, digest, now_ms=now) else None

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
            raise refusal("recovery_refused", "This user cannot be recovered by this key.") from None
        if (gate is None) != (request.gate is None):
            raise refusal(
                "recovery_refused",
                "This environment has no release gate."
                if gate is None
                else f"The recovery must be released by {gate.name}.",
            )

    async def _enter(
        self,
        user_id: str,
        session_key: bytes,
        transition: Callable[[UserRecord], UserRecord],
        *,
        created: bool,
    ) -> Entered:
        before, after = await self._directory.change_and_compare(user_id, transition)
        gone = session_keys.lost(before, after)
        if gone:
            self._end_sessions(user_id, gone)
        actor = self._actor(after, session_key)
        reply = LoggedIn(user_id=user_id, created=created, session_key_expires_at=actor.expires_at_ms)
        return Entered(actor, reply)

    def _actor(self, record: UserRecord, session_key: bytes) -> Actor:
        (key,) = (key for key in record.session_keys if key.session_key == session_key)
        return Actor(
            user_id=record.user_id,
            kind=record.kind,
            session_key=session_key,
            expires_at_ms=session_keys.expiry(key, longest_ms=self._longest_ms),
        )


def _rejected() -> CosignerError:
    return refusal("session_key_rejected", "The session key is not known, or was revoked; log in again.")


def _unvouched() -> CosignerError:
    return evidence_invalid("No service account's key vouches for this login.")
