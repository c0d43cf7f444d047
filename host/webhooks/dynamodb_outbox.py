"""The outbox in the DynamoDB store: items beside the records (:mod:`host.webhooks.dynamodb_items`). Any number of hosts may share it.

Whether a delivery is pending, and when it is due, is in its item's key. To claim, postpone or end a delivery is to delete the item and
to put another in one transaction, which only one of several hosts can do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from .dynamodb_items import (
    CHANNELS,
    SECRET_ITEM,
    SUBSCRIPTION_KEY,
    Item,
    moment,
    partition,
    place,
    puts,
    text,
    texts,
)
from .events import REVOKED, Arrival, Event, Subscription, new_secret
from .outbox import Delivery, End, Line, Outbox, State, Subscribed

T = TypeVar("T")

_ABOVE: Final = "\x7f"  # sorts after every character of a key
_MAX_CHANNELS: Final = 1000
_MANY: Final = 1000
_GONE: Final = "event_gone"


class Table(Protocol):
    """What an outbox needs of the store that it belongs to; all but ``run`` block."""

    async def run(self, call: Callable[[], T]) -> T: ...

    def item(self, key: Mapping[str, Any]) -> Mapping[str, Any] | None: ...

    def query(self, shard: str, low: str, high: str, *, count: int, newest: bool = False) -> list[Any]: ...

    def transact(self, actions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]: ...


class DynamoDbOutbox(Outbox):
    """:class:`host.webhooks.outbox.Outbox` in the table of a :class:`host.storage.dynamodb.DynamoDbStore`."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table

    async def channels(self) -> list[str]:
        items = await self._table.run(lambda: self._table.query(CHANNELS, " ", _ABOVE, count=_MAX_CHANNELS))
        return [text(item, "key") for item in items]

    async def subscription(self, channel: str) -> Subscribed | None:
        item = await self._table.run(lambda: self._table.item(place(channel, SUBSCRIPTION_KEY)))
        if item is None:
            return None
        content = msgspec.json.decode(bytes(item["content"]["B"]), type=Subscription)
        return Subscribed(text(item, "subscription_id"), content)

    async def secret(self, channel: str, *, new: bool = False) -> str:
        where = place(channel, SECRET_ITEM)
        if new or (item := await self._table.run(lambda: self._table.item(where))) is None:
            put: dict[str, Any] = {"Item": {**where, **texts(secret=new_secret())}}
            if not new:
                put |= {
                    "ConditionExpression": "attribute_not_exists(#k)",
                    "ExpressionAttributeNames": {"#k": "key"},
                }
            await self._table.run(lambda: self._table.transact([{"Put": put}]))  # or another host was first
            item = await self._table.run(lambda: self._table.item(where))
        return text(item or {}, "secret")

    async def add(self, arrival: Arrival) -> None:
        actions = [{"Put": put} for put in puts(arrival)]
        if not await self._table.run(lambda: self._table.transact(actions)):
            self.arrived(arrival)

    async def claim(self, channel: str, *, now: int, until: int, count: int) -> list[Delivery]:
        due = await self._table.run(
            lambda: self._table.query(partition(channel), "due/", f"due/{moment(now)}/{_ABOVE}", count=count)
        )
        claims = (
            self._table.run(lambda item=item: self._claim(channel, item, now=now, until=until))  # type: ignore[misc]
            for item in due
        )
        return [delivery for delivery in await asyncio.gather(*claims) if delivery is not None]

    async def postpone(self, delivery: Delivery, *, attempts: int, due_at: int, reason: str) -> None:
        await self._move(delivery, f"due/{moment(due_at)}", attempts, reason)

    async def finish(self, delivery: Delivery, end: End, *, now: int, reason: str) -> None:
        where = "dead" if end == "dead" else "done"
        await self._move(
            delivery, f"{where}/{moment(now)}", delivery.attempts + (end != "dropped"), reason, state=end
        )

    async def revoked(self, channel: str, subject: str) -> bool:
        found = await self._table.run(lambda: self._table.item(place(channel, f"revoked/{subject}")))
        return found is not None

    async def lines(self, channel: str, state: State, *, count: int) -> list[Line]:
        room = {"pending": "due", "dead": "dead"}.get(state, "done")
        items = await self._table.run(
            lambda: self._table.query(
                partition(channel),
                f"{room}/",
                f"{room}/{_ABOVE}",
                count=count if room != "done" else _MANY,  # two states share it
                newest=state != "pending",
            )
        )
        return [line for line in (_line(channel, item) for item in items) if line.state == state][:count]

    async def event(self, channel: str, event_id: str) -> Event | None:
        return await self._table.run(lambda: self._event(channel, event_id))

    async def redeliver(self, event: Event, *, message_id: str, now: int) -> None:
        fresh = _pending(event, message_id, 0, now, redelivery=True, reason="")
        await self._table.run(lambda: self._send_again(event, fresh, now))
        dead = await self._table.run(
            lambda: self._table.query(
                partition(event.channel), "dead/", f"dead/{_ABOVE}", count=_MANY, newest=True
            )
        )
        for item in dead:
            if text(item, "event_id") == event.event_id:
                buried = {
                    **item,
                    "key": {"S": text(item, "key").replace("dead/", "done/", 1)},
                    **texts(state="dropped", reason="redelivered"),
                }
                actions = [_delete(item), {"Put": {"Item": buried}}]
                await self._table.run(lambda actions=actions: self._table.transact(actions))  # type: ignore[misc]
        self.notify(event.channel)

    async def purge(self, channel: str, *, before: int) -> int:
        total = 0
        for room in ("done", "dead"):
            while items := await self._table.run(
                lambda room=room: self._table.query(  # type: ignore[misc]
                    partition(channel), f"{room}/", f"{room}/{moment(before)}", count=_MANY
                )
            ):
                for item in items:
                    await self._table.run(lambda item=item: self._forget(channel, item, before))  # type: ignore[misc]
                total += len(items)
        return total

    def _send_again(self, event: Event, fresh: Item, now: int) -> None:
        """Put the message, and a mark on its event, which must not be forgotten with the messages of before."""
        kept = self._table.item(place(event.channel, f"event/{event.event_id}"))
        marked = [] if kept is None else [{"Put": {"Item": {**kept, "needed_at": {"N": str(now)}}}}]
        self._table.transact([{"Put": {"Item": fresh}}, *marked])

    def _claim(self, channel: str, item: Item, *, now: int, until: int) -> Delivery | None:
        message_id = text(item, "key").rpartition("/")[2]
        claimed = {**item, "key": {"S": f"due/{moment(until)}/{message_id}"}}
        if self._table.transact([_delete(item), {"Put": {"Item": claimed}}]):
            return None  # another host was first
        event = self._event(channel, text(item, "event_id"))
        if event is None:
            ended = {
                **claimed,
                "key": {"S": f"dead/{moment(now)}/{message_id}"},
                **texts(state="dead", reason=_GONE),
            }
            self._table.transact([_delete(claimed), {"Put": {"Item": ended}}])
            return None
        return Delivery(
            message_id, event, int(item["attempts"]["N"]), until, bool(item["redelivery"]["BOOL"])
        )

    def _event(self, channel: str, event_id: str) -> Event | None:
        item = self._table.item(place(channel, f"event/{event_id}"))
        if item is None:
            return None
        return Event(
            event_id=event_id,
            channel=channel,
            name=text(item, "name"),
            subscription_id=text(item, "subscription_id"),
            endpoint=text(item, "endpoint"),
            subject=text(item, "subject"),
            data=bytes(item["data"]["B"]),
            recorded_at=int(item["recorded_at"]["N"]),
        )

    async def _move(self, delivery: Delivery, to: str, attempts: int, reason: str, **state: str) -> None:
        event = delivery.event
        old = _pending(
            event, delivery.message_id, 0, delivery.due_at, reason="", redelivery=delivery.redelivery
        )
        new = {
            **old,
            "key": {"S": f"{to}/{delivery.message_id}"},
            "attempts": {"N": str(attempts)},
            **texts(reason=reason, **state),
        }
        actions = [_delete(old), {"Put": {"Item": new}}]
        await self._table.run(lambda: self._table.transact(actions))

    def _forget(self, channel: str, item: Item, before: int) -> None:
        key = place(channel, f"event/{text(item, 'event_id')}")
        event = self._table.item(key)
        actions = [_delete(item)]
        if event is not None and _needed_at(event) < before:
            actions.append(_remove(key))
            if text(event, "name") == REVOKED and text(event, "subject"):
                actions.append(_remove(place(channel, f"revoked/{text(event, 'subject')}")))
        self._table.transact(actions)


def _pending(
    event: Event, message_id: str, attempts: int, due_at: int, *, redelivery: bool, reason: str
) -> Item:
    return {
        **place(event.channel, f"due/{moment(due_at)}/{message_id}"),
        **texts(event_id=event.event_id, name=event.name, reason=reason),
        "attempts": {"N": str(attempts)},
        "redelivery": {"BOOL": redelivery},
    }


def _delete(item: Mapping[str, Any]) -> dict[str, Any]:
    """Delete an item that must still be there."""
    removed = _remove({"shard": item["shard"], "key": item["key"]})
    removed["Delete"] |= {
        "ConditionExpression": "attribute_exists(#k)",
        "ExpressionAttributeNames": {"#k": "key"},
    }
    return removed


def _needed_at(event: Mapping[str, Any]) -> int:
    """When a message about an event was made last, in milliseconds since 1970."""
    return int(event.get("needed_at", event["recorded_at"])["N"])


def _remove(key: Item) -> dict[str, Any]:
    return {"Delete": {"Key": key}}


def _line(channel: str, item: Mapping[str, Any]) -> Line:
    room, at, message_id = text(item, "key").split("/")
    state: Any = "pending" if room == "due" else text(item, "state")
    return Line(
        message_id=message_id,
        event_id=text(item, "event_id"),
        channel=channel,
        name=text(item, "name"),
        state=state,
        attempts=int(item["attempts"]["N"]),
        at=int(at),
        reason=text(item, "reason"),
        redelivery=bool(item["redelivery"]["BOOL"]),
    )
