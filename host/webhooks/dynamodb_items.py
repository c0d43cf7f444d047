"""The outbox's items in the DynamoDB store, and what an arrival adds to the transaction of the record that it tells of.

All of a channel lies in one partition, ``webhooks/CHANNEL``, which no listing of records looks into:

``event/ID``          an event
``due/TIME/MESSAGE``  a delivery that is pending; TIME is 13 digits, milliseconds since 1970, so that what is due sorts first
``dead/TIME/MESSAGE`` one that was given up, by when it was
``done/TIME/MESSAGE`` one that ended otherwise
``revoked/SUBJECT``   that a delegation was revoked
``subscription``      where events go
``secret``            of a channel of notices

The partition ``webhooks`` names the channels that have a subscription or notices. One partition takes about 1,000 units of writing a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .events import REVOKED, Arrival

CHANNELS: Final = "webhooks"
SUBSCRIPTION_KEY: Final = "subscription"
SECRET_ITEM: Final = "secret"  # noqa: S105  (a key of the table)

Item = dict[str, dict[str, Any]]


def partition(channel: str) -> str:
    """Where a channel's outbox lies. Records lie in partitions of one character."""
    return f"{CHANNELS}/{channel}"


def place(channel: str, key: str) -> Item:
    return {"shard": {"S": partition(channel)}, "key": {"S": key}}


def moment(milliseconds: int) -> str:
    return f"{milliseconds:013d}"


def puts(arrival: Arrival) -> list[dict[str, Any]]:
    """What to put, without table names; the first one is conditional on the event's being new."""
    event = arrival.event
    items: list[dict[str, Any]] = [
        {
            "Item": {
                **place(event.channel, f"event/{event.event_id}"),
                **texts(
                    name=event.name,
                    subscription_id=event.subscription_id,
                    endpoint=event.endpoint,
                    subject=event.subject,
                ),
                "data": {"B": event.data},
                "recorded_at": {"N": str(event.recorded_at)},
            },
            "ConditionExpression": "attribute_not_exists(#k)",
            "ExpressionAttributeNames": {"#k": "key"},
        },
    ]
    if event.subscription is not None or event.is_notice:
        items.append({"Item": {"shard": {"S": CHANNELS}, "key": {"S": event.channel}}})
    if event.subscription is not None:
        items.append(
            {
                "Item": {
                    **place(event.channel, SUBSCRIPTION_KEY),
                    **texts(subscription_id=event.subscription_id),
                    "content": {"B": msgspec.json.encode(event.subscription)},
                }
            }
        )
    if event.name == REVOKED and event.subject:
        items.append({"Item": place(event.channel, f"revoked/{event.subject}")})
    if arrival.message_id is not None:
        items.append(
            {
                "Item": {
                    **place(event.channel, f"due/{moment(event.recorded_at)}/{arrival.message_id}"),
                    **texts(event_id=event.event_id, name=event.name, reason=""),
                    "attempts": {"N": "0"},
                    "redelivery": {"BOOL": False},
                }
            }
        )
    return items


def texts(**fields: str) -> Item:
    return {name: {"S": value} for name, value in fields.items()}


def text(item: Mapping[str, Mapping[str, Any]], name: str) -> str:
    return str(item[name]["S"])
