"""Recovery: with a key kept offline, one new credential and session key take the place of all (``docs/spec/accounts.md``).

Nobody is logged in meanwhile. Under a time lock the first request starts the lock; the same request completes it afterwards, and lies in
the share store until then.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.accounts import (
    RECOVERY_LABEL,
    BeginCredential,
    CredentialChallenge,
    LoggedIn,
    Recover,
    RecoveryPending,
    RecoverySubject,
)
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit

from .session_keys import RegisteredKey, SessionKey, now_ms, proof_digest

if TYPE_CHECKING:
    from protocol.accounts import NewKey, NewPasskey

    from .identity import Identity
    from .keys import SigningKey
    from .session import Session, SessionKeeper
    from .store import ShareStore

Gate = Callable[[bytes, RecoverySubject], bytes | Awaitable[bytes]]
"""Has the release gate sign the 32-byte digest of this subject."""
NewCredential = Callable[[CredentialChallenge], Awaitable["NewPasskey | NewKey"]]


_Reply: tuple[type[LoggedIn], type[RecoveryPending]] = (LoggedIn, RecoveryPending)


@dataclass(frozen=True)
class Recovered:
    """:ivar not_before: when the time lock ends, milliseconds since 1970; ``None``: the recovery is complete, and this device is logged in."""

    user_id: str
    not_before: int | None


class Recovery:
    """Recovery of one user, on one device."""

    def __init__(
        self,
        keeper: SessionKeeper,
        identity: Identity,
        store: ShareStore,
        *,
        environment: str,
        user_id: str,
    ) -> None:
        self._keeper = keeper
        self._identity = identity
        self._store = store
        self._environment = environment
        self._user_id = user_id

    async def begin(
        self, recovery_key: SigningKey, name: str, make: NewCredential, gate: Gate | None
    ) -> Recovered:
        """Ask for recovery; complete at once where there is no time lock.

        :param make: makes the new credential for a challenge.
        :raises EnclaveRefused: ``recovery_refused``: another key, no such user, or the release gate did not sign.
        """
        session = await self._keeper.anonymous()
        options = await session.call(BeginCredential(), CredentialChallenge)
        challenge = options.challenge
        key = SessionKey.generate()
        credential = await make(options)
        subject = RecoverySubject(
            version=1,
            environment=self._environment,
            user_id=self._user_id,
            session=session.transcript,
            challenge=challenge,
            name=name,
            credential=credential,
            session_key=key.public,
        )
        digest = hashlib.sha256(RECOVERY_LABEL + cbor.encode(subject)).digest()
        released = None
        if gate is not None:
            answer = gate(digest, subject)
            released = await answer if inspect.isawaitable(answer) else answer
        request = Recover(
            user_id=self._user_id,
            challenge=challenge,
            name=name,
            credential=credential,
            session_key=key.public,
            proof=key.sign(proof_digest(session.transcript, key.public)),
            signature=recovery_key.sign(digest),
            gate=released,
        )
        return await self._ask(session, request, key)

    async def complete(self) -> Recovered:
        """Ask again for the recovery that waits on this device.

        :raises CosignerError: ``recovery_missing``: none does.
        :raises EnclaveRefused: ``recovery_refused``: it was cancelled, or waited too long after its time lock.
        """
        waiting = await asyncio.to_thread(self._store.recovery, self._environment, self._user_id)
        if waiting is None:
            raise CosignerError(
                "recovery_missing",
                "No recovery of this user waits on this device; start one: cosigner recovery start.",
                culprit=Culprit.CLIENT,
            )
        request, key, _ = waiting
        session = await self._keeper.anonymous()
        proof = key.sign(proof_digest(session.transcript, key.public))
        return await self._ask(session, replace(request, proof=proof), key)

    async def _ask(self, session: Session, request: Recover, key: SessionKey) -> Recovered:
        reply: LoggedIn | RecoveryPending = await session.call(request, _Reply)
        if isinstance(reply, RecoveryPending):
            await asyncio.to_thread(
                self._store.save_recovery, self._environment, request, key, reply.not_before
            )
            return Recovered(self._user_id, reply.not_before)
        await self._identity.adopt(RegisteredKey(reply.user_id, key, now_ms(), reply.session_key_expires_at))
        await asyncio.to_thread(self._store.discard_recovery, self._environment, self._user_id)
        self._keeper.adopt(session, reply.user_id)
        return Recovered(reply.user_id, None)
