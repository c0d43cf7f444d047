"""The body of a webhook: Dynamic's envelope around an event's data (``docs/spec/webhooks.md`` §2)."""

from __future__ import annotations

import time
from typing import Any

from . import canonical
from .events import Event


def body(event: Event, *, message_id: str, webhook_id: str, environment_name: str, redelivery: bool) -> bytes:
    """The exact bytes that are signed and sent: the same for every attempt at one message.

    :raises NotPortableError: never for an event that :func:`host.webhooks.events.read` made.
    """
    data = canonical.parse(event.data)
    user_id = data.get("userId")
    envelope: dict[str, Any] = {
        "messageId": message_id,
        "eventId": event.event_id,
        "eventName": event.name,
        "timestamp": timestamp(event.recorded_at),
        "webhookId": webhook_id,
        "userId": user_id if isinstance(user_id, str) else None,
        "environmentId": event.environment,
        "environmentName": environment_name,
        "redelivery": redelivery,
        "data": data,
    }
    return canonical.write(envelope)


def timestamp(milliseconds: int) -> str:
    """RFC 3339 with milliseconds, as JavaScript's ``toISOString`` writes it."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03d}Z"
