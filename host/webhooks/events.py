"""What the enclave handed over, read and judged before anything of it is kept."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from host.errors import HostError
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import EventEndpoint, EventName, OutboxEvent

from . import canonical

SUBSCRIPTION: Final = "subscription"
PING: Final = "ping"
CREATED: Final = "wallet.delegation.created"
REVOKED: Final = "wallet.delegation.revoked"

NewId = Callable[[], str]


def new_secret() -> str:
    """A webhook secret: ``whsec_`` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def new_id() -> str:
    """A random UUID (RFC 9562, version 4)."""
    return str(uuid.uuid4())


class Subscription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an environment's events go; the data of a ``subscription`` event.

    :ivar secret: ``whsec_`` and the text that is the HMAC's key together with it.
    :ivar events: the names that are wanted; ``ping`` always is.
    """

    url: EventEndpoint
    secret: Annotated[str, Meta(pattern=r"^whsec_[A-Za-z0-9+/=_-]{16,256}\Z")]
    events: Annotated[list[EventName], Meta(max_length=32)]
    enabled: bool

    def __repr__(self) -> str:
        return f"<Subscription {'enabled' if self.enabled else 'disabled'}>"


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is kept.

    :ivar channel: the queue that it waits in: the environment's, or that of its notices.
    :ivar subject: the wallet and share set that it is about, ``WALLET/SHARE_SET``, as far as it names them; empty for none.
    :ivar data: a JSON object that :mod:`host.webhooks.canonical` wrote; empty for a subscription, whose secret is kept once only.
    :ivar recorded_at: when it was handed over, in milliseconds since 1970.
    :ivar subscription: what a ``subscription`` event says.
    """

    event_id: str
    channel: str
    name: str
    subscription_id: str
    endpoint: str
    subject: str
    data: bytes
    recorded_at: int
    subscription: Subscription | None = None

    @property
    def environment(self) -> str:
        """The environment that it is of."""
        return self.channel.partition("/")[0]

    @property
    def is_notice(self) -> bool:
        """Whether it goes to its own endpoint, whatever is subscribed to."""
        return "/" in self.channel


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event with the message that will carry it first.

    :ivar message_id: ``None`` for a subscription, which nobody is told.
    """

    event: Event
    message_id: str | None


def read(raw: OutboxEvent, *, now: int, new_id: NewId = new_id) -> Arrival:
    """Judge an event of the enclave.

    :param now: milliseconds since 1970.
    :raises HostError: ``event_malformed``: its data are not what they must be; nothing of the write may be carried out.
    """
    try:
        data = canonical.parse(raw.data)
        subscription = _subscription(data, raw.endpoint) if raw.name == SUBSCRIPTION else None
    except (canonical.NotPortableError, msgspec.ValidationError) as error:
        reason = str(error) if raw.name != SUBSCRIPTION else "it is no url, secret, events and enabled"
        raise HostError(
            "event_malformed",
            f"The data of a {raw.name} event cannot be sent: {reason}.",
            culprit=Culprit.ENCLAVE,
        ) from None
    event = Event(
        event_id=raw.event_id,
        channel=raw.environment if _is_subscribed_to(raw.name) else notices_of(raw.environment),
        name=raw.name,
        subscription_id=raw.subscription_id,
        endpoint=raw.endpoint,
        subject=_subject(data),
        data=b"" if subscription else canonical.write(data),
        recorded_at=now,
        subscription=subscription,
    )
    return Arrival(event, None if subscription else new_id())


def notices_of(environment: str) -> str:
    """The channel of an environment's notices; no environment is called so."""
    return f"{environment}/notices"


def _is_subscribed_to(name: str) -> bool:
    return name in {SUBSCRIPTION, PING} or name.startswith("wallet.")


def _subscription(data: dict[str, Any], endpoint: str) -> Subscription:
    subscription = msgspec.convert(data, Subscription, strict=True)
    if subscription.url != endpoint:
        raise canonical.NotPortableError("its url is not its endpoint")
    return subscription


def _subject(data: dict[str, Any]) -> str:
    """Both: a share set's id is its user's choice, and may be another wallet's, too."""
    found = (data.get(name) for name in ("walletId", "shareSetId"))
    return "/".join(name[:64] for name in found if isinstance(name, str))
