"""The action of a call, and that it is fresh: not expired, not too far ahead, and its nonce never seen in this session."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from protocol.actions import MAX_ACTION_LIFETIME, Action
from protocol.envelope.errors import CosignerError, Culprit
from protocol.intents import action_of

if TYPE_CHECKING:
    from enclave.actors import Actor
    from enclave.sessions import Session
    from protocol.messages import Call

_NONCE_LENGTH: Final = 16


def fresh_action(session: Session, actor: Actor, call: Call, now: int) -> Action:
    """The action that a call is. Where the session alone vouches for it, the enclave draws the nonce itself.

    :param now: milliseconds since 1970.
    :raises CosignerError: ``action_expired``, ``action_replayed``.
    """
    evidence = call.authorization
    if evidence is None:
        nonce, expires_at = os.urandom(_NONCE_LENGTH), now + MAX_ACTION_LIFETIME * 1000
    else:
        nonce, expires_at = evidence.nonce, evidence.expires_at
        require_fresh(expires_at, now, MAX_ACTION_LIFETIME)
        if not session.nonces.add(nonce, until=expires_at, now=now):
            raise CosignerError(
                "action_replayed",
                "This action was sent before in this session, or too many were; make a new one.",
                culprit=Culprit.CLIENT,
            )
    return action_of(
        call.request,
        environment=session.environment,
        session=session.channel.transcript,
        user_id=actor.user_id,
        nonce=nonce,
        expires_at=expires_at,
    )


def require_fresh(expires_at: int, now: int, lifetime: int) -> None:
    """Refuse what has expired, and what would be good for longer than ``lifetime`` seconds.

    :raises CosignerError: ``action_expired``.
    """
    if expires_at <= now:
        raise CosignerError(
            "action_expired", "What was authorized has expired; make it anew.", culprit=Culprit.CLIENT
        )
    if expires_at > now + lifetime * 1000:
        raise CosignerError(
            "action_expired",
            f"What is authorized expires within {lifetime} seconds; this would not. Is the device's clock right?",
            culprit=Culprit.CLIENT,
        )
