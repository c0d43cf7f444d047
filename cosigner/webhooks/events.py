"""What a webhook says. Fields that are not known are legal everywhere, and ignored."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec
from msgspec import Meta

from protocol import hybrid
from protocol.envelope.errors import ProtocolError

from .errors import WebhookRefused
from .signature import MAX_BODY

_T = TypeVar("_T", bound=msgspec.Struct)

CREATED: Final = "wallet.delegation.created"
REVOKED: Final = "wallet.delegation.revoked"
SIGNATURE: Final = "wallet.delegation.signature"
PING: Final = "ping"

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]

_SHARE_FIELDS: Final = ("encryptedDelegatedShare", "encryptedDelegatedKeyShare", "encryptedShare")


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """One message, whatever its event.

    :ivar message_id: new with every redelivery. :ivar event_id: the same with every delivery: what effects are keyed on.
    :ivar timestamp: when it happened, not when it was sent.
    :ivar data: as it came; see :func:`created` and :func:`revoked`.
    """

    message_id: Id
    event_id: Id
    event_name: Name
    timestamp: dt.datetime
    webhook_id: str
    user_id: str | None
    environment_id: str
    environment_name: str
    redelivery: bool
    data: dict[str, Any]


class Created(msgspec.Struct, frozen=True):
    """A user delegated a wallet.

    :ivar public_key: what the wallet is known by: its address. :ivar share_set_id: names the delegation; ``None`` from senders that do not
        say.
    :ivar share: the encrypted delegated share. :ivar api_key: the encrypted wallet API key.
    """

    chain: str
    wallet_id: Id
    user_id: str | None
    public_key: str
    share_set_id: Id | None
    share: hybrid.Envelope
    api_key: hybrid.Envelope


class Revoked(msgspec.Struct, frozen=True):
    """A delegation ended. :ivar share_set_id: ``None``: of all delegations of the wallet so far."""

    chain: str
    wallet_id: Id
    share_set_id: Id | None


def parse(raw_body: bytes) -> Event:
    """Read a webhook whose signature was verified.

    :raises WebhookRefused: ``webhook_too_large``, ``webhook_malformed``.
    """
    if len(raw_body) > MAX_BODY:
        raise WebhookRefused("webhook_too_large", f"The body has more than {MAX_BODY} bytes.")
    try:
        event = msgspec.json.decode(raw_body, type=Event, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _malformed(str(error))
    if event.timestamp.tzinfo is None:
        _malformed("its timestamp names no time zone")
    return event


def created(event: Event) -> Created:
    """What a ``wallet.delegation.created`` says; the share's field may have any of the three names that are documented.

    :raises WebhookRefused: ``webhook_malformed``.
    """
    data = _data(event, CREATED)
    shares = [data[name] for name in _SHARE_FIELDS if name in data]
    if len(shares) != 1:
        _malformed("it holds no encrypted share, or several")
    try:
        share, api_key = hybrid.parse(shares[0]), hybrid.parse(data.get("encryptedWalletApiKey"))
    except ProtocolError as error:
        _malformed(error.message)
    return _convert(
        {
            "chain": data.get("chain"),
            "wallet_id": data.get("walletId"),
            "user_id": data.get("userId", event.user_id),
            "public_key": data.get("publicKey"),
            "share_set_id": data.get("shareSetId"),
            "share": share,
            "api_key": api_key,
        },
        Created,
    )


def revoked(event: Event) -> Revoked:
    """What a ``wallet.delegation.revoked`` says.

    :raises WebhookRefused: ``webhook_malformed``.
    """
    data = _data(event, REVOKED)
    named = {
        "chain": data.get("chain", ""),
        "wallet_id": data.get("walletId"),
        "share_set_id": data.get("shareSetId"),
    }
    return _convert(named, Revoked)


def _data(event: Event, name: str) -> dict[str, Any]:
    if event.event_name != name:
        msg = f"this is a {event.event_name} event, not {name}"
        raise ValueError(msg)
    return event.data


def _convert(fields: dict[str, Any], kind: type[_T]) -> _T:
    try:
        return msgspec.convert(fields, kind, strict=True)
    except msgspec.ValidationError as error:
        _malformed(str(error))


def _malformed(reason: str) -> NoReturn:
    raise WebhookRefused("webhook_malformed", f"The webhook does not say what it must: {reason[:200]}.")
