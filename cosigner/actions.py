"""Actions: requests that change something, with the evidence that the enclave asks for (``docs/spec/authorization.md``).

The client computes the canonical action exactly as the enclave does, from the request itself, and has its hash signed. What nobody asks for
is not collected: the session key alone vouches first, unless the application says otherwise.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, TypeVar

from protocol.accounts import Account, GetAccount
from protocol.actions import Authorization
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.intents import action_of

from . import receipts
from .errors import EnclaveRefused
from .evidence import Asked, Evidence, parse_code
from .session_keys import now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from protocol.actions import (
        Action,
        DeviceCode,
        KeySignature,
        PasskeyAssertion,
        RecoveryCode,
        SignedApproval,
        TotpCode,
    )
    from protocol.envelope.messages import SignedEntry
    from protocol.messages import Request

    from .evidence import Given
    from .receipts import Receipt
    from .session import Session, SessionKeeper

T = TypeVar("T")

_LIFETIME_MS: Final = 240_000  # of an action; the enclave allows 300 s, and clocks differ
_PAUSES: Final = (0.2, 1.0)  # seconds before a lost reply is asked for again
_IN_TURN: Final = ("passkey", "signing_key", "totp")
_FIRST: Final = frozenset({"passkey", "signing_key"})

Factors = frozenset[str]


class Actions:
    """Sends actions of one user.

    :param keep: is given every receipt, of what was allowed and of what was denied.
    :ivar last: the newest receipt.
    """

    def __init__(
        self,
        keeper: SessionKeeper,
        environment: str,
        evidence: Evidence,
        keep: Callable[[Receipt], None] | None = None,
    ) -> None:
        self._keeper = keeper
        self._keep = keep
        self.environment: Final = environment
        self.evidence: Final = evidence
        self._needed: dict[str, Factors] = {}  # what an operation needed the last time
        self.last: Receipt | None = None

    async def act(
        self,
        request: Request,
        kind: type[T],
        *,
        given: Given | None = None,
        device_code: DeviceCode | None = None,
    ) -> T:
        """Send an action in the user's session. A lost reply is asked for again, under the same idempotency key.

        :raises EnclaveRefused: see :meth:`perform`.
        """
        key = new_key()

        async def once(session: Session) -> T:
            return await self.perform(session, request, kind, key=key, given=given, device_code=device_code)

        return await self.persist(once)

    async def run(self, operation: Callable[[Session], Awaitable[T]], *, ecdsa: bool = False) -> T:
        """As :meth:`cosigner.session.SessionKeeper.run`: a lost reply is not asked for again."""
        return await self._keeper.run(operation, ecdsa=ecdsa)

    async def persist(self, operation: Callable[[Session], Awaitable[T]], *, ecdsa: bool = False) -> T:
        """Run an operation whose actions carry idempotency keys made outside of it; again when a reply is lost.

        What fails before anything was sent is not repeated: nothing can have happened.
        """
        sent = False

        async def watched(session: Session) -> T:
            nonlocal sent
            sent = True
            return await operation(session)

        for pause in (*_PAUSES, None):
            try:
                return await self._keeper.run(watched, ecdsa=ecdsa)
            except CosignerError as error:
                again = sent and error.reaction is Reaction.RETRY
                if isinstance(error, EnclaveRefused):
                    again = (
                        error.code == "user_conflict"
                    )  # somebody changed the same record at the same moment
                if not again or pause is None:
                    raise
                self._keeper.forget()
            await asyncio.sleep(pause)
        raise AssertionError

    async def perform(
        self,
        session: Session,
        request: Request,
        kind: type[T],
        *,
        key: bytes | None = None,
        given: Given | None = None,
        device_code: DeviceCode | None = None,
    ) -> T:
        """Send an action in ``session``. When the enclave asks for more evidence, get it, and send the same request with it.

        :param key: the idempotency key.
        :raises EnclaveRefused: ``policy_denied``, ``approval_required``, ``not_owner``, ``factor_locked``, …; ``factor_required``: what it asks
            for cannot be given here.
        """
        attempt = _Attempt(self, session, request, given or {}, device_code)
        needed = attempt.beforehand(self._needed.get(request.kind, frozenset()))
        key = new_key() if key is None else key
        while True:
            authorization, action = await attempt.authorize(needed)
            try:
                exchanged = await session.exchange(
                    request, kind, authorization=authorization, idempotency_key=key
                )
            except EnclaveRefused as error:
                if error.receipt is not None:
                    await self._record(session, request, error.receipt, action)
                if error.code != "factor_required":
                    raise
                more = attempt.more(error, needed)
                if not more:
                    raise _unable(error, self.evidence) from error
                needed = more
                continue
            if exchanged.receipt is None:
                raise receipts.missing()
            await self._record(session, request, exchanged.receipt, action)
            self._needed[request.kind] = needed
            return exchanged.reply

    async def _record(
        self, session: Session, request: Request, signed: SignedEntry, action: Action | None
    ) -> None:
        receipt = receipts.check(
            signed,
            receipt_key=session.enclave.receipt_key,
            request=request,
            environment=self.environment,
            user_id=session.user_id or "",
            transcript=session.transcript,
            action=action,
        )
        self.last = receipt
        if self._keep is not None:
            await asyncio.to_thread(self._keep, receipt)


class _Attempt:
    """One request until it is allowed or refused."""

    def __init__(
        self,
        actions: Actions,
        session: Session,
        request: Request,
        given: Given,
        device_code: DeviceCode | None,
    ) -> None:
        self._environment = actions.environment
        self._evidence = actions.evidence
        self._session = session
        self._request = request
        self._approvals: Sequence[SignedApproval] = given.get("approvals", ())
        self._mfa_token = given.get("mfa_token")
        self._device_code = device_code
        self._allow: list[bytes] | None = None
        self._tried: Factors = frozenset()

    def beforehand(self, before: Factors) -> Factors:
        """What is collected before the enclave asks: what the application wants, what is at hand, what was needed the last time."""
        wanted = set(before)
        if self._request.kind in self._evidence.beforehand and not wanted & _FIRST:
            wanted |= self._available() & {"passkey"} or self._available() & {"signing_key"}
        if self._mfa_token is not None:
            wanted.add("totp")
        return frozenset(wanted & self._available())

    def more(self, refusal: EnclaveRefused, needed: Factors) -> Factors:
        """What to come back with; empty if there is nothing new, or nothing would help.

        What the enclave needs is what one way to be allowed asks for. There may be others, so where none of it is at hand the rest is
        tried in turn.
        """
        named = frozenset(refusal.needs)
        left = self._available() - needed - self._tried if named else frozenset[str]()
        wanted = left & named or left
        first = next((factor for factor in _IN_TURN if factor in wanted & _FIRST), None)
        self._tried |= needed & _FIRST
        if first is not None:  # one action carries one of them
            needed = needed - _FIRST | {first}
        if "totp" in wanted and ("totp" in named or first is None):
            needed |= {"totp"}
        return needed if wanted else frozenset()

    def _available(self) -> Factors:
        at_hand = {
            "passkey": self._evidence.passkeys is not None and self._device_code is None,
            "signing_key": self._evidence.signing_key is not None and self._device_code is None,
            "totp": self._evidence.second_factor is not None or self._mfa_token is not None,
        }
        return frozenset(factor for factor, there in at_hand.items() if there)

    async def authorize(self, needed: Factors) -> tuple[Authorization | None, Action | None]:
        """The authorization with this much evidence; ``None`` where the session key alone vouches."""
        if not needed and not self._approvals and self._device_code is None:
            return None, None
        # The code is asked for first: whatever is signed by then must still be fresh when it arrives.
        second = await self._second() if "totp" in needed else None
        nonce, expires_at = os.urandom(16), now_ms() + _LIFETIME_MS
        action = action_of(
            self._request,
            environment=self._environment,
            session=self._session.transcript,
            user_id=self._session.user_id or "",
            nonce=nonce,
            expires_at=expires_at,
        )
        first = await self._first(action, needed) if needed & _FIRST else self._device_code
        return Authorization(nonce, expires_at, first, second, list(self._approvals)), action

    async def _first(self, action: Action, needed: Factors) -> PasskeyAssertion | KeySignature:
        passkeys, key = self._evidence.passkeys, self._evidence.signing_key
        if passkeys is not None and "passkey" in needed:
            asked = Asked(action, self._request, await self._passkeys())
            if asked.allow or key is None:
                return await passkeys.get(action.hash, asked)
        if key is None:
            raise _nothing_to_sign_with()
        return await asyncio.to_thread(key.evidence, action.hash)

    async def _passkeys(self) -> list[bytes]:
        if self._allow is None:
            account = await self._session.call(GetAccount(), Account)
            self._allow = [
                credential.credential_id
                for credential in account.credentials
                if credential.type == "passkey" and credential.active
            ]
        return self._allow

    async def _second(self) -> TotpCode | RecoveryCode:
        given, self._mfa_token = self._mfa_token, None  # a code works once
        return parse_code(given) if given is not None else await self._evidence.code()


def _nothing_to_sign_with() -> CosignerError:
    return CosignerError(
        "factor_required", "This client was given neither a passkey nor a key.", culprit=Culprit.CLIENT
    )


def new_key() -> bytes:
    """A fresh idempotency key."""
    return os.urandom(16)


def _unable(error: EnclaveRefused, evidence: Evidence) -> CosignerError:
    """``factor_required``, and what would help."""
    help_ = []
    if not evidence.has_first:
        help_.append("a passkey or signing key (--key FILE; passkeys= or signing_key= of the client)")
    if evidence.second_factor is None:
        help_.append("a code (--totp; second_factor= or mfa_token= of the client)")
    hint = f" This client was given no {', and no '.join(help_)}." if help_ else ""
    return EnclaveRefused(
        error.code,
        error.message + hint,
        culprit=Culprit.CLIENT,
        reaction=error.reaction,
        receipt=error.receipt,
        needs=error.needs,
    )
