"""What one attempt at a delivery does, and what follows from its outcome."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from host.config import SCHEDULE
from host.errors import HostError

from . import payload, signing
from .endpoint import Endpoint
from .events import CREATED, PING, Subscription
from .outbox import Delivery, Outbox, Subscribed

_JITTER: Final = 0.1  # of a gap, at most, on top
_SUCCESS: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)

Kind = Literal["delivered", "failed", "dead", "dropped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """:ivar reason: empty for none; a code, or one with an HTTP status; nothing of the endpoint's own words."""

    kind: Kind
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """How attempts are made.

    :ivar names: what environments are called in the body; others by their id.
    :ivar clock: milliseconds since 1970.
    :ivar schedule: seconds from the first attempt to each, the first included; after the last one a delivery is dead.
    """

    outbox: Outbox
    names: dict[str, str]
    clock: Callable[[], int]
    schedule: Sequence[float] = SCHEDULE
    chance: Callable[[], float] = random.random

    async def subscription(self, channel: str) -> Subscribed | None:
        """What a channel's events are signed with and where they go; ``None``: they wait. Of notices only the secret counts."""
        if "/" not in channel:
            return await self.outbox.subscription(channel)
        return Subscribed("", Subscription("", await self.outbox.secret(channel), [], enabled=True))

    async def attempt(self, delivery: Delivery, subscribed: Subscribed, endpoint: Endpoint) -> Outcome:
        """Send a message once.

        :raises StorageError: the outbox failed; nothing was sent.
        """
        event, subscription = delivery.event, subscribed.content
        if event.name == CREATED and await self.outbox.revoked(event.channel, event.subject):
            return Outcome("dropped", "superseded")
        if not subscription.enabled:
            return Outcome("dead", "subscription_disabled")
        if not event.is_notice and event.name not in {PING, *subscription.events}:
            return Outcome("dropped", "unsubscribed")
        body = payload.body(
            event,
            message_id=delivery.message_id,
            webhook_id=event.subscription_id,
            environment_name=self.names.get(event.environment, event.environment),
            redelivery=delivery.redelivery,
        )
        signed = signing.headers(
            subscription.secret, body, message_id=delivery.message_id, seconds=self.clock() // 1000
        )
        headers = {"content-type": "application/json", "user-agent": "cosigner-webhooks/1", **signed}
        try:
            status = await endpoint.post(
                event.endpoint if event.is_notice else subscription.url, body, headers
            )
        except HostError as error:
            return self._failed(delivery, error.code, error.message)
        if status in _SUCCESS:
            return Outcome("delivered")
        return self._failed(delivery, "redirect_refused" if status in _REDIRECT else f"status_{status}")

    def due_again(self, delivery: Delivery) -> int:
        """When the next attempt is due after one that failed just now; gaps, not moments, so that a host that was down does not hurry."""
        gap = self.schedule[delivery.attempts + 1] - self.schedule[delivery.attempts]
        return self.clock() + round(gap * (1 + _JITTER * self.chance()) * 1000)

    def _failed(self, delivery: Delivery, reason: str, detail: str = "") -> Outcome:
        last = delivery.attempts + 1 >= len(self.schedule)
        return Outcome("dead" if last else "failed", reason, detail)
