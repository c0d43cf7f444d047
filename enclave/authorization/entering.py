"""Requests that make a session a user's: verified by the rules of user records, logged, and only then carried out.

What cannot be logged does not happen: no user is made, no session key registered, no recovery begun or completed.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from enclave import faults
from enclave.accounts.registration import Asking
from protocol.accounts import KeyLogin, Login, Recover, RecoveryPending
from protocol.actions import MAX_ACTION_LIFETIME
from protocol.channel import session_auth_digest
from protocol.envelope.errors import CosignerError, Culprit
from protocol.intents import action_of
from protocol.receipts import TokenEvidence

from .granted import DeniedError
from .journal import Judged

if TYPE_CHECKING:
    from enclave.accounts.entry import Admitted, Entry
    from enclave.actors import Actor
    from enclave.authn.clock import Clock
    from enclave.counters import Counters
    from enclave.sessions import Session, Sessions
    from protocol.accounts import LoggedIn, SessionAuth
    from protocol.channel import HelloBinding
    from protocol.envelope.messages import SignedEntry

    from .journal import Journal

Entering = Login | KeyLogin | Recover
_NONCE_LENGTH: Final = 16


class Doorway:
    """How sessions of one environment become users'."""

    def __init__(
        self, entry: Entry, *, sessions: Sessions, journal: Journal, clock: Clock, counters: Counters
    ) -> None:
        self._entry = entry
        self._sessions = sessions
        self._journal = journal
        self._clock = clock
        self._counters = counters

    async def by_hello(self, auth: SessionAuth, binding: HelloBinding) -> tuple[Actor, int]:
        """Whose session a hello opens, and for how many seconds their session key is good.

        :raises CosignerError: ``session_key_rejected``, ``session_key_expired``, and those of storage and clock.
        """
        digest = session_auth_digest(
            binding, user_id=auth.user_id, session_key=auth.session_key, issued_at=auth.issued_at
        )
        actor = await self._entry.authenticate(auth, digest)
        return actor, self._seconds(actor)

    async def enter(
        self, session: Session, request: Entering
    ) -> tuple[LoggedIn | RecoveryPending, SignedEntry]:
        """Carry one out. A renewal, or a login of the same user, may happen in their own session.

        :raises DeniedError: it was allowed, and failed; so says the log.
        :raises CosignerError: ``session_taken``; as :class:`enclave.accounts.entry.Entry`; ``receipt_failed``: then nothing has happened.
        """
        self._require_free(session, request)
        admitted = await self._admit(session, request)
        receipt = await self._log(session, request, admitted)
        try:
            entered = await admitted.commit()
        except Exception as error:  # noqa: BLE001  (whatever it was, the log and the client are told)
            fault = faults.translate(error)
            await self._journal.failed(receipt, fault.code)
            raise DeniedError(fault.error(), receipt) from None
        if isinstance(request, Recover):
            self._counters["recoveries_asked"] += 1
        if isinstance(entered, RecoveryPending):
            return entered, receipt
        self._sessions.assign(session, entered.actor, self._seconds(entered.actor))
        self._counters["recoveries" if isinstance(request, Recover) else "logins"] += 1
        return entered.reply, receipt

    async def _admit(self, session: Session, request: Entering) -> Admitted:
        asking = Asking(session.channel.transcript, session.challenges)
        match request:
            case Login():
                return await self._entry.login(asking, request)
            case KeyLogin():
                return await self._entry.key_login(asking, request)
            case Recover():
                return await self._entry.recover(asking, request)

    def _require_free(self, session: Session, request: Entering) -> None:
        """A session that is a user's stays that user's."""
        actor = session.actor
        if actor is None:
            return
        own = (
            request.previous == actor.session_key
            if isinstance(request, Login)
            else request.user_id == actor.user_id
        )
        if not own:
            raise CosignerError(
                "session_taken",
                "This session is a user's; log in to a session of your own.",
                culprit=Culprit.CLIENT,
            )

    async def _log(self, session: Session, request: Entering, admitted: Admitted) -> SignedEntry:
        now = self._clock.now_ms()
        action = action_of(
            request,
            environment=session.environment,
            session=session.channel.transcript,
            user_id=admitted.user_id,
            nonce=os.urandom(_NONCE_LENGTH),
            expires_at=now + MAX_ACTION_LIFETIME * 1000,
        )
        return await self._journal.allowed(
            Judged(admitted.actor, "", action, request, None, now, tokens=list(_tokens(request)))
        )

    def _seconds(self, actor: Actor) -> int:
        return max((actor.expires_at_ms - self._clock.now_ms()) // 1000, 0)


def _tokens(request: Entering) -> list[TokenEvidence]:
    """What vouched, as hashes: a JWT is a secret as long as it is good."""
    match request:
        case Login(jwt=jwt):
            return [TokenEvidence(what="jwt", hash=hashlib.sha256(jwt.encode()).digest())]
        case KeyLogin(signature=signature):
            return [TokenEvidence(what="account_key", hash=hashlib.sha256(signature).digest())]
        case Recover(signature=signature, gate=gate):
            found = [TokenEvidence(what="recovery_key", hash=hashlib.sha256(signature).digest())]
            if gate is not None:
                found.append(TokenEvidence(what="release_gate", hash=hashlib.sha256(gate).digest()))
            return found
