"""A delegate's server opens its session: it knows the wallet's API key, and holds the delegate's share (``docs/spec/delegation.md`` §6)."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Final

from enclave.actors import Delegated, delegate
from enclave.authorization.journal import Judged
from enclave.sessions import LIFETIME
from protocol.actions import MAX_ACTION_LIFETIME
from protocol.binding import delegate_context
from protocol.delegation import DelegateLoggedIn
from protocol.envelope.errors import CosignerError, Culprit
from protocol.intents import action_of
from protocol.receipts import TokenEvidence
from protocol.wallets import CLIENT_PARTY
from threshold import ThresholdError

from . import record

if TYPE_CHECKING:
    from enclave.authn.clock import Clock
    from enclave.authorization.delegates import Delegates
    from enclave.authorization.journal import Journal
    from enclave.authorization.owners import Owners
    from enclave.counters import Counters
    from enclave.sessions import Session, Sessions
    from protocol.delegation import DelegateLogin
    from protocol.envelope.messages import SignedEntry

    from .book import Book
    from .settings import Settings

_NONCE_LENGTH: Final = 16
_NOBODYS: Final = bytes(32)


class DelegateEntry:
    """Makes sessions of one environment delegates'."""

    def __init__(
        self,
        settings: Settings,
        book: Book,
        delegates: Delegates,
        owners: Owners,
        *,
        sessions: Sessions,
        journal: Journal,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._settings = settings
        self._book = book
        self._delegates = delegates
        self._owners = owners
        self._sessions = sessions
        self._journal = journal
        self._clock = clock
        self._counters = counters

    async def enter(self, session: Session, request: DelegateLogin) -> tuple[DelegateLoggedIn, SignedEntry]:
        """Verify key and share, log it, and make the session the delegate's.

        Whoever does not know the key learns nothing: not whether there is such a wallet or delegation.

        :raises CosignerError: ``session_taken``; ``delegation_disabled``; ``delegation_refused``: the key or the share is not right, or the
            delegation is over; ``not_owner``: the wallet is another user's by now; ``receipt_failed``.
        """
        if session.actor is not None:
            raise CosignerError(
                "session_taken",
                "This session is somebody's; log in to a session of your own.",
                culprit=Culprit.CLIENT,
            )
        (await self._settings.in_force()).require_enabled()
        one = await self._book.find(request.wallet_id, request.share_set_id)
        given = hashlib.sha256(request.api_key.encode()).digest()
        known = _NOBODYS if one is None or one.api_key_hash is None else one.api_key_hash
        if not hmac.compare_digest(given, known) or one is None:
            raise _unvouched()
        record.require_live(one, self._clock.now_ms())
        delegation = Delegated(request.wallet_id, request.share_set_id)
        actor = delegate(one.user_id, delegation, expires_at_ms=one.expires_at)
        opened = await self._owners.own(actor, request.wallet_id)
        context = delegate_context(
            transcript=session.channel.transcript,
            environment=session.environment,
            wallet_id=request.wallet_id,
            share_set_id=request.share_set_id,
        )
        try:
            opened.verify_proofs(opened.wallet.epoch, context, [(CLIENT_PARTY, request.proof)])
        except ThresholdError:
            raise _unvouched() from None
        now = self._clock.now_ms()
        action = action_of(
            request,
            environment=session.environment,
            session=session.channel.transcript,
            user_id=one.user_id,
            nonce=os.urandom(_NONCE_LENGTH),
            expires_at=now + MAX_ACTION_LIFETIME * 1000,
        )
        token = TokenEvidence(what="delegate_key", hash=given)
        login = f"delegate:{request.share_set_id}"
        receipt = await self._journal.allowed(
            Judged(actor, login, action, request, None, now, tokens=[token])
        )
        await self._delegates.require(actor)  # it may have been revoked while the log took its time
        self._sessions.assign(session, actor, min(LIFETIME, max((one.expires_at - now) // 1000, 0)))
        self._counters["delegate_logins"] += 1
        return DelegateLoggedIn(user_id=one.user_id, wallet=opened.wallet, expires_at=one.expires_at), receipt


def _unvouched() -> CosignerError:
    return record.refused("No delegate of this wallet is known by this key and share.")
