"""What developers are told of a recovery: that it began, was completed, or came to nothing (``docs/spec/accounts.md`` §8).

An event goes to the host in the same durable write as the change that it tells of. It follows from the records before and after, so that
no way to change a recovery passes it by.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import msgspec

from protocol.envelope.messages import OutboxEvent

from .session_keys import fingerprint

if TYPE_CHECKING:
    from enclave.authn.clock import Clock
    from enclave.manifest import Environment

    from .user import PendingRecovery, UserRecord

_NAMESPACE: Final = uuid.UUID("5b1d5d0e-6f4a-4c2e-9a57-0d1f3c8e7a42")  # of these events alone (RFC 9562 §5.5)


class Notices:
    """The events of one environment's recoveries."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        self._environment = environment.id
        self._endpoint = environment.recovery.notify
        self._clock = clock
        self._subscription = uuid.uuid5(_NAMESPACE, environment.id)

    def of(self, before: UserRecord, after: UserRecord) -> OutboxEvent | None:
        """What a change of a user's record is told as, if it is about a recovery, and the manifest names somebody to tell."""
        if not self._endpoint:
            return None
        was, now = before.pending_recovery, after.pending_recovery
        if after.generation > before.generation:
            (key,) = after.session_keys
            began = was if was is not None and was.session_key == key.session_key else None
            return self._event("completed", after, fingerprint(key.session_key), began)
        if now is not None and now != was:
            return self._event("begun", after, now.digest, now)
        if now is None and was is not None:
            return self._event("cancelled", after, was.digest, was)
        return None

    def _event(
        self, name: str, user: UserRecord, what: bytes, recovery: PendingRecovery | None
    ) -> OutboxEvent:
        """An event. The same thing always has the same id, which the host keeps once.

        :param recovery: ``None``: one that was begun and completed in one step.
        """
        now = self._clock.now_ms()
        data: dict[str, str | int] = {"userId": user.user_id, "notBefore": now, "at": now}
        if recovery is not None:
            data |= {"recoveryId": recovery.digest.hex(), "notBefore": recovery.not_before}
        return OutboxEvent(
            event_id=str(uuid.uuid5(self._subscription, f"{user.user_id}/{name}/{what.hex()}")),
            environment=self._environment,
            name=f"user.recovery.{name}",
            endpoint=self._endpoint,
            data=msgspec.json.encode(data),
            subscription_id=str(self._subscription),
        )
