"""What an operator does by hand: send events again, and try an endpoint."""

from __future__ import annotations

from collections.abc import Callable

from host.errors import HostError
from protocol.envelope.errors import Culprit

from . import canonical
from .clock import milliseconds
from .events import CREATED, PING, Arrival, Event, NewId, new_id
from .outbox import Outbox, Subscribed


async def redeliver(
    outbox: Outbox,
    channel: str,
    event_id: str,
    *,
    clock: Callable[[], int] = milliseconds,
    new_id: NewId = new_id,
) -> str:
    """Send an event again, in a new message that says so; the message's id.

    :raises HostError: ``webhook_event_unknown``; ``webhook_superseded``: it tells of a delegation that was revoked.
    """
    event = await outbox.event(channel, event_id)
    if event is None or not event.data:
        raise unknown(event_id)
    if event.name == CREATED and await outbox.revoked(event.channel, event.subject):
        raise _error(
            "webhook_superseded", "The delegation was revoked since; nobody may be told that it was made."
        )
    message_id = new_id()
    await outbox.redeliver(event, message_id=message_id, now=clock())
    return message_id


async def ping(
    outbox: Outbox, environment: str, *, clock: Callable[[], int] = milliseconds, new_id: NewId = new_id
) -> str:
    """Queue a ``ping`` to an environment's endpoint; the message's id.

    :raises HostError: ``webhook_unsubscribed``: the environment has no subscription, or a disabled one.
    """
    subscribed = await outbox.subscription(environment)
    if subscribed is None or not subscribed.content.enabled:
        raise _error("webhook_unsubscribed", f"{environment} has no webhook that is enabled.")
    message_id = new_id()
    await outbox.add(
        Arrival(_ping_event(environment, subscribed, now=clock(), event_id=new_id()), message_id)
    )
    return message_id


def _ping_event(environment: str, subscribed: Subscribed, *, now: int, event_id: str) -> Event:
    subscription = subscribed.content
    data = {
        "webhookId": subscribed.subscription_id,
        "message": "The webhook works.",
        "events": list(subscription.events),
        "url": subscription.url,
        "isEnabled": subscription.enabled,
    }
    return Event(
        event_id=event_id,
        channel=environment,
        name=PING,
        subscription_id=subscribed.subscription_id,
        endpoint=subscription.url,
        subject="",
        data=canonical.write(data),
        recorded_at=now,
    )


def unknown(event_id: str) -> HostError:
    """No such event is kept, or it is one that nobody is told."""
    return _error("webhook_event_unknown", f"No event {event_id} is kept that could be sent.")


def _error(code: str, message: str) -> HostError:
    return HostError(code, message, culprit=Culprit.CLIENT)
