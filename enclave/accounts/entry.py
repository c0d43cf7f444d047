"""How a session becomes a user's: by a session key; by a JWT, a service account's key, or recovery.

All of this happens before anybody is known. Refusals do not tell whether a user, a key or a credential exists.

The last three change records, in two steps: what is asked for is verified to the end, which gives an :class:`Admitted`, and only its
``commit`` writes. In between whoever calls puts the decision into the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from enclave.actors import Actor
from enclave.authn import keys
from enclave.authn import session_keys as proofs
from enclave.authn.refusals import evidence_invalid
from protocol.accounts import LoggedIn
from protocol.envelope.errors import CosignerError

from . import credentials, logins, session_keys
from .directory import conflict
from .recovering import Recovering
from .user import Credential, LinkedLogin, UserRecord, key_login_id, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enclave.authn.clock import Clock
    from enclave.authn.jwt import VerifiedLogin
    from enclave.manifest import Environment
    from protocol.accounts import KeyLogin, Login, Recover, RecoveryPending, SessionAuth

    from .directory import Directory
    from .registration import Asking

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


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request to enter that has verified. Nothing has happened yet: no user was made, no key registered, no recovery begun.

    :ivar user_id: whom it is about; of a user who is still to be made, too.
    :ivar actor: whose the session is going to be; ``None``: nobody's yet, a time lock holds the recovery up.
    :ivar commit: makes it happen; to be called once, and only when the decision is in the log. Raises ``user_conflict``, what is refused
        after all because the record changed in the meantime, and the errors of storage.
    """

    user_id: str
    actor: Actor | None
    commit: Callable[[], Awaitable[Entered | RecoveryPending]]


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
        self._directory = directory
        self._issuers = issuers
        self._clock = clock
        self._end_sessions = end_sessions
        self._longest_ms = environment.session_lifetime_s * 1000
        self._recovering = Recovering(environment, directory=directory, clock=clock)

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

    async def login(self, session: Asking, request: Login) -> Admitted:
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
        login = LinkedLogin(login_id=verified.login_id, issuer=verified.issuer, linked_at=now)
        user, created = await self._directory.expect(login, now_ms=now)

        async def make() -> None:
            if not created:
                return
            made, _ = await self._directory.log_in(login, now_ms=now, user_id=user.user_id)
            if made.user_id != user.user_id:
                raise conflict()  # somebody else was first, with the same login

        def register(record: UserRecord, now_ms: int) -> UserRecord:
            if now_ms >= verified.expires_at_ms:
                raise refusal("jwt_expired", "The JWT has expired.")
            logins.require_fresh_token(record, verified.issued_at_ms)
            if not logins.has(record, verified.login_id):
                raise refusal("jwt_invalid", "This login was unlinked at the same moment.")
            return session_keys.register(
                record,
                request.session_key,
                login=verified.login_id,
                lifetime_ms=request.lifetime * 1000,
                longest_ms=self._longest_ms,
                now_ms=now_ms,
                previous=request.previous,
            )

        return self._admit(user, request.session_key, register, make=make, created=created)

    async def key_login(self, session: Asking, request: KeyLogin) -> Admitted:
        """Register a session key under a service account's own key.

        :raises CosignerError: ``evidence_invalid``, ``session_key_rejected``, and those of storage.
        """
        digest = proofs.proof_digest(session.transcript, request.session_key)
        proofs.verify(request.session_key, digest, request.proof)
        account = await self._directory.get(request.user_id)
        if account is None:
            raise _unvouched()
        credential = _account_key(account, request.credential_id)
        try:
            keys.verify(credential.algorithm, credential.public_key, digest, request.signature)
        except CosignerError:
            raise _unvouched() from None

        def register(record: UserRecord, now_ms: int) -> UserRecord:
            return session_keys.register(
                record,
                request.session_key,
                login=key_login_id(_account_key(record, request.credential_id).credential_id),
                lifetime_ms=request.lifetime * 1000,
                longest_ms=self._longest_ms,
                now_ms=now_ms,
            )

        return self._admit(account, request.session_key, register)

    async def recover(self, session: Asking, request: Recover) -> Admitted:
        """Begin, look after, or complete a recovery; a new one without a time lock is completed at once.

        :raises CosignerError: ``recovery_refused``, ``evidence_invalid``, ``session_key_rejected``, ``credential_refused``, and those of
            storage.
        """
        proofs.verify(
            request.session_key, proofs.proof_digest(session.transcript, request.session_key), request.proof
        )
        asked = await self._recovering.verify(session, request)
        if asked.waits:
            return Admitted(request.user_id, None, asked.wait)
        return self._admit(asked.user, request.session_key, asked.complete)

    def _admit(
        self,
        user: UserRecord,
        session_key: bytes,
        transition: Callable[[UserRecord, int], UserRecord],
        *,
        make: Callable[[], Awaitable[None]] | None = None,
        created: bool = False,
    ) -> Admitted:
        """That a user may enter by a change of their record, which is tried here, and made by the commit.

        :param transition: the change, of a record, at a time.
        :param make: comes before it: makes the user.
        """

        async def commit() -> Entered:
            if make is not None:
                await make()
            return await self._enter(
                user.user_id,
                session_key,
                lambda record: transition(record, self._clock.now_ms()),
                created=created,
            )

        after = transition(user, self._clock.now_ms())
        return Admitted(user.user_id, self._actor(after, session_key), commit)

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


def _account_key(record: UserRecord, credential_id: bytes) -> Credential:
    """A service account's own key that is good now. Everything else is one and the same to who asks.

    :raises CosignerError: ``evidence_invalid``.
    """
    try:
        credential = credentials.find_active(record, credential_id)
    except CosignerError:
        raise _unvouched() from None
    if record.kind != "service" or credential.type != "key":
        raise _unvouched()
    return credential


def _unvouched() -> CosignerError:
    return evidence_invalid("No service account's key vouches for this login.")
