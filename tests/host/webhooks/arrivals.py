"""Events as an enclave hands them over."""

from __future__ import annotations

import json
import uuid
from typing import Any

from host.webhooks.events import CREATED, Arrival, read
from protocol.envelope.messages import OutboxEvent

ENVIRONMENT = "sandbox"
SUBSCRIPTION_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
URL = "https://developer.example/webhooks"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_760_000_000_000


def outbox_event(name: str = CREATED, data: Any = None, **changes: Any) -> OutboxEvent:
    """An event; ``data`` is written as JSON unless it is bytes."""
    if data is None:
        data = {"walletId": "w", "shareSetId": "s", "chain": "EVM"}
    fields: dict[str, Any] = {
        "event_id": str(uuid.uuid4()),
        "environment": ENVIRONMENT,
        "endpoint": URL,
        "subscription_id": SUBSCRIPTION_ID,
        **changes,
    }
    return OutboxEvent(
        name=name, data=data if isinstance(data, bytes) else json.dumps(data).encode(), **fields
    )


def subscription(
    url: str = URL, *, enabled: bool = True, events: Any = None, secret: str = SECRET, **changes: Any
) -> OutboxEvent:
    """The event that says where events go."""
    wanted = (
        [CREATED, "wallet.delegation.revoked", "wallet.delegation.signature"] if events is None else events
    )
    data = {"url": url, "secret": secret, "events": wanted, "enabled": enabled}
    return outbox_event("subscription", data, endpoint=url, **changes)


def arrival(name: str = CREATED, data: Any = None, *, now: int = NOW, **changes: Any) -> Arrival:
    return read(outbox_event(name, data, **changes), now=now)
