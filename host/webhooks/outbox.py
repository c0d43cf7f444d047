"""The durable queue of deliveries: what every store's outbox must do.

Each channel is a queue of its own: an environment's events, and its notices.

A delivery is one message about one event. It is *pending* until it is *delivered*, *dead* (given up; an operator can send the event
again) or *dropped*. Whoever works on a delivery claims it for a time; if it dies, the delivery is due again when that time is over.
So a message may be sent twice, and is never lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .events import Arrival, Event, Subscription

End = Literal["delivered", "dead", "dropped"]
State = Literal["pending", "delivered", "dead", "dropped"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message under way.

    :ivar attempts: those that failed before.
    :ivar due_at: when it is due, or until when it is claimed, in milliseconds since 1970.
    :ivar redelivery: made by hand of an event that had a message before.
    """

    message_id: str
    event: Event
    attempts: int
    due_at: int
    redelivery: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A delivery as operators see it: nothing of its data.

    :ivar at: when it is due, or when it ended, in milliseconds since 1970.
    :ivar reason: of its last failure, or why it was dropped; empty for none.
    """

    message_id: str
    event_id: str
    channel: str
    name: str
    state: State
    attempts: int
    at: int
    reason: str
    redelivery: bool


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A channel's subscription and its id."""

    subscription_id: str
    content: Subscription = field(repr=False)


def _nobody(_: str) -> None:
    pass


class Outbox(ABC):
    """The outbox of a store. Every method raises ``StorageError`` when the store fails; a write that returned is durable.

    :ivar notify: called with the channel in which a delivery became due by a write of this process; set by the sender.
    """

    def __init__(self) -> None:
        self.notify: Callable[[str], None] = _nobody

    def arrived(self, arrival: Arrival) -> None:
        """Say that an event was kept."""
        self.notify(arrival.event.channel)

    @abstractmethod
    async def channels(self) -> list[str]:
        """Those that have a subscription, or notices, in order. Events of others wait until they have one."""

    @abstractmethod
    async def subscription(self, channel: str) -> Subscribed | None:
        """Where the channel's events go."""

    @abstractmethod
    async def secret(self, channel: str, *, new: bool = False) -> str:
        """What this store's hosts sign the channel's notices with: made once, unless another one is asked for."""

    @abstractmethod
    async def add(self, arrival: Arrival) -> None:
        """Keep an event that is told with no record: the host's own."""

    @abstractmethod
    async def claim(self, channel: str, *, now: int, until: int, count: int) -> list[Delivery]:
        """At most ``count`` deliveries that are due, longest first; nobody else gets them before ``until``."""

    @abstractmethod
    async def postpone(self, delivery: Delivery, *, attempts: int, due_at: int, reason: str) -> None:
        """Give a claimed delivery back; it is due again at ``due_at``. Nothing happens if the claim is over."""

    @abstractmethod
    async def finish(self, delivery: Delivery, end: End, *, now: int, reason: str) -> None:
        """End a claimed delivery. Nothing happens if the claim is over."""

    @abstractmethod
    async def revoked(self, channel: str, subject: str) -> bool:
        """Whether a revocation of ``subject`` was handed over."""

    @abstractmethod
    async def lines(self, channel: str, state: State, *, count: int) -> list[Line]:
        """At most ``count`` deliveries in a state: pending ones by when they are due, others the newest first."""

    @abstractmethod
    async def event(self, channel: str, event_id: str) -> Event | None:
        """An event that is still kept."""

    @abstractmethod
    async def redeliver(self, event: Event, *, message_id: str, now: int) -> None:
        """Send an event again, in a message of its own. Its dead letters are dead no more: they become dropped."""

    @abstractmethod
    async def purge(self, channel: str, *, before: int) -> int:
        """Forget what ended before ``before``, with its events; how many deliveries that were."""
