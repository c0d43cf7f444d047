"""The outbox against its contract, in either store: claimed by one, due again when the claim is over, nothing forgotten too early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from host.errors import HostError
from host.storage import StorageError
from host.webhooks import redelivery
from host.webhooks.events import CREATED, REVOKED, read
from host.webhooks.outbox import Outbox
from tests.host.webhooks import stores
from tests.host.webhooks.arrivals import ENVIRONMENT, NOW, SECRET, SUBSCRIPTION_ID, URL, arrival, subscription

LATER = NOW + 60_000


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with stores.moto() as url:
        yield url


@pytest.fixture(params=["sqlite", "dynamodb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> stores.Place:
    if request.param == "sqlite":
        return stores.sqlite(tmp_path)
    return stores.dynamodb(request.getfixturevalue("endpoint"), f"o-{tmp_path.name[-40:]}")


def with_outbox(place: stores.Place, body: Callable[[Outbox], Any]) -> Any:
    return place.run(lambda store: body(store.outbox))


async def claim(outbox: Outbox, *, now: int = NOW, until: int = LATER, count: int = 100) -> list[Any]:
    return await outbox.claim(ENVIRONMENT, now=now, until=until, count=count)


async def states(outbox: Outbox) -> dict[str, list[tuple[str, int, str]]]:
    return {
        state: [
            (line.event_id, line.attempts, line.reason)
            for line in await outbox.lines(ENVIRONMENT, state, count=100)
        ]
        for state in ("pending", "delivered", "dead", "dropped")
    }


def test_a_delivery_is_due_in_order_and_claimed_once(place: stores.Place) -> None:
    events = [arrival(now=NOW + number) for number in range(5)]

    async def body(outbox: Outbox) -> None:
        for each in reversed(events):
            await outbox.add(each)
        assert await claim(outbox, now=NOW - 1) == []
        first = await claim(outbox, now=NOW + 3, count=2)
        assert [found.event for found in first] == [each.event for each in events[:2]]
        assert [(found.message_id, found.attempts, found.redelivery) for found in first] == [
            (each.message_id, 0, False) for each in events[:2]
        ]
        second = await claim(outbox, now=NOW + 3)
        assert [found.event for found in second] == [each.event for each in events[2:4]]
        assert await claim(outbox, now=NOW + 3) == []

    with_outbox(place, body)


def test_a_claim_that_is_over_is_anybodys(place: stores.Place) -> None:
    async def body(outbox: Outbox) -> None:
        await outbox.add(arrival())
        (mine,) = await claim(outbox)
        assert await claim(outbox, now=LATER - 1) == []
        (theirs,) = await claim(outbox, now=LATER, until=LATER + 60_000)
        assert theirs.event == mine.event
        await outbox.postpone(
            mine, attempts=9, due_at=NOW, reason="late"
        )  # nothing happens: the claim is over
        await outbox.finish(mine, "dead", now=LATER, reason="late")
        assert (await states(outbox))["pending"] == [(mine.event.event_id, 0, "")]
        await outbox.finish(theirs, "delivered", now=LATER, reason="")
        assert (await states(outbox))["delivered"] == [(mine.event.event_id, 1, "")]

    with_outbox(place, body)


def test_what_is_postponed_is_due_then_and_remembers(place: stores.Place) -> None:
    async def body(outbox: Outbox) -> None:
        await outbox.add(arrival())
        (found,) = await claim(outbox)
        await outbox.postpone(found, attempts=1, due_at=NOW + 15_000, reason="status_500")
        assert await claim(outbox, now=NOW + 14_999) == []
        (again,) = await claim(outbox, now=NOW + 15_000, until=LATER)
        assert (again.attempts, again.message_id) == (1, found.message_id)
        await outbox.finish(again, "dead", now=NOW + 15_001, reason="status_500")
        assert await states(outbox) == {
            "pending": [],
            "delivered": [],
            "dead": [(found.event.event_id, 2, "status_500")],
            "dropped": [],
        }

    with_outbox(place, body)


def test_everything_survives_a_restart(place: stores.Place) -> None:
    made = arrival()

    async def before(outbox: Outbox) -> None:
        await outbox.add(read(subscription(), now=NOW))
        await outbox.add(made)
        await claim(outbox)

    async def after(outbox: Outbox) -> None:
        assert await outbox.channels() == [ENVIRONMENT]
        subscribed = await outbox.subscription(ENVIRONMENT)
        assert subscribed is not None
        assert (subscribed.subscription_id, subscribed.content.url) == (SUBSCRIPTION_ID, URL)
        assert subscribed.content.secret == SECRET
        assert SECRET not in repr(subscribed)
        assert await claim(outbox, now=LATER - 1) == []
        (found,) = await claim(outbox, now=LATER, until=LATER + 1)
        assert found.event == made.event

    with_outbox(place, before)
    with_outbox(place, after)


def test_the_newest_subscription_counts_and_an_old_one_does_not_come_back(place: stores.Place) -> None:
    async def body(outbox: Outbox) -> None:
        first, second = read(subscription(), now=NOW), read(subscription(url=f"{URL}/2"), now=NOW)
        await outbox.add(first)
        await outbox.add(second)
        await outbox.add(first)  # the same event id again: kept once
        subscribed = await outbox.subscription(ENVIRONMENT)
        assert subscribed is not None
        assert subscribed.content.url == f"{URL}/2"
        assert await outbox.subscription("elsewhere") is None
        assert await claim(outbox) == []  # nobody is told of a subscription

    with_outbox(place, body)


def test_notices_have_a_channel_and_a_secret_of_their_own(place: stores.Place) -> None:
    notice = arrival("user.recovery.begun", {"userId": "u"})
    channel = f"{ENVIRONMENT}/notices"

    async def before(outbox: Outbox) -> str:
        assert (notice.event.channel, notice.event.environment) == (channel, ENVIRONMENT)
        await outbox.add(notice)
        assert await outbox.channels() == [channel]
        assert await claim(outbox) == []
        (found,) = await outbox.claim(channel, now=NOW, until=LATER, count=9)
        assert found.event == notice.event
        return await outbox.secret(channel)

    async def after(outbox: Outbox) -> None:
        await outbox.add(read(subscription(), now=NOW))
        assert await outbox.channels() == [ENVIRONMENT, channel]
        assert await outbox.secret(channel) == secret
        assert await outbox.secret("other/notices") != secret
        another = await outbox.secret(channel, new=True)
        assert another != secret
        assert await outbox.secret(channel) == another

    secret = with_outbox(place, before)
    assert secret.startswith("whsec_")
    with_outbox(place, after)


def test_a_revocation_is_known_by_its_subject(place: stores.Place) -> None:
    async def body(outbox: Outbox) -> None:
        await outbox.add(arrival(CREATED, {"walletId": "w", "shareSetId": "s"}))
        assert not await outbox.revoked(ENVIRONMENT, "w/s")
        await outbox.add(arrival(REVOKED, {"walletId": "w", "shareSetId": "s"}))
        await outbox.add(arrival(REVOKED, {"walletId": "v"}))
        assert await outbox.revoked(ENVIRONMENT, "w/s")
        assert await outbox.revoked(ENVIRONMENT, "v")
        for environment, subject in ((ENVIRONMENT, "w"), (ENVIRONMENT, "v/s"), ("other", "w/s")):
            assert not await outbox.revoked(environment, subject)

    with_outbox(place, body)


def test_environments_are_apart(place: stores.Place) -> None:
    async def body(outbox: Outbox) -> None:
        await outbox.add(arrival(environment="a"))
        await outbox.add(arrival(environment="b"))
        (found,) = await outbox.claim("a", now=NOW, until=LATER, count=10)
        assert found.event.environment == "a"
        assert await outbox.event("b", found.event.event_id) is None
        assert len(await outbox.lines("b", "pending", count=10)) == 1
        assert await outbox.lines("c", "pending", count=10) == []

    with_outbox(place, body)


def test_a_redelivery_takes_its_dead_letters_away(place: stores.Place) -> None:
    made, other = arrival(), arrival()

    async def body(outbox: Outbox) -> None:
        for each in (made, other):
            await outbox.add(each)
        for found in await claim(outbox):
            await outbox.finish(found, "dead", now=NOW, reason="status_500")
        message_id = await redelivery.redeliver(outbox, ENVIRONMENT, made.event.event_id, clock=lambda: LATER)
        assert [line.event_id for line in await outbox.lines(ENVIRONMENT, "dead", count=9)] == [
            other.event.event_id
        ]
        (again,) = await claim(outbox, now=LATER, until=LATER + 1)
        assert (again.message_id, again.redelivery, again.attempts) == (message_id, True, 0)
        assert again.event == made.event
        (line,) = await outbox.lines(ENVIRONMENT, "dropped", count=9)
        assert (line.message_id, line.reason) == (made.message_id, "redelivered")

    with_outbox(place, body)


def test_what_cannot_be_sent_again_is_refused(place: stores.Place) -> None:
    created, told = arrival(CREATED, {"shareSetId": "s"}), read(subscription(), now=NOW)

    async def body(outbox: Outbox) -> None:
        for each in (created, told, arrival(REVOKED, {"shareSetId": "s"})):
            await outbox.add(each)
        for event_id, code in (
            (created.event.event_id, "webhook_superseded"),
            (told.event.event_id, "webhook_event_unknown"),
            ("0f8fad5b-d9cb-469f-a165-70867728950e", "webhook_event_unknown"),
        ):
            with pytest.raises(HostError) as caught:
                await redelivery.redeliver(outbox, ENVIRONMENT, event_id)
            assert caught.value.code == code

    with_outbox(place, body)


def test_a_ping_needs_a_subscription_that_is_enabled(place: stores.Place) -> None:
    async def body(outbox: Outbox) -> None:
        for told in (None, subscription(enabled=False)):
            if told is not None:
                await outbox.add(read(told, now=NOW))
            with pytest.raises(HostError) as caught:
                await redelivery.ping(outbox, ENVIRONMENT)
            assert caught.value.code == "webhook_unsubscribed"
        await outbox.add(read(subscription(), now=NOW))
        message_id = await redelivery.ping(outbox, ENVIRONMENT, clock=lambda: NOW)
        (found,) = await claim(outbox)
        assert (found.message_id, found.event.name) == (message_id, "ping")

    with_outbox(place, body)


def test_only_what_ended_long_ago_is_forgotten(place: stores.Place) -> None:
    kinds = {
        end: arrival(name, {"shareSetId": end})
        for end, name in (("delivered", CREATED), ("dead", CREATED), ("dropped", REVOKED))
    }
    waiting, recent = arrival(), arrival()

    async def body(outbox: Outbox) -> None:
        await outbox.add(read(subscription(), now=NOW))
        for each in (*kinds.values(), recent, waiting):
            await outbox.add(each)
        for found in await claim(outbox):
            subject = found.event.subject
            if found.event == recent.event:
                await outbox.finish(found, "delivered", now=LATER, reason="")
            elif found.event != waiting.event:
                await outbox.finish(found, subject, now=NOW + 1, reason="")  # type: ignore[arg-type]
        assert await outbox.purge(ENVIRONMENT, before=NOW) == 0
        assert await outbox.purge(ENVIRONMENT, before=LATER) == 3
        assert await outbox.purge(ENVIRONMENT, before=LATER) == 0
        assert {name: [line[0] for line in lines] for name, lines in (await states(outbox)).items()} == {
            "pending": [waiting.event.event_id],
            "delivered": [recent.event.event_id],
            "dead": [],
            "dropped": [],
        }
        for each in kinds.values():
            assert await outbox.event(ENVIRONMENT, each.event.event_id) is None
        assert await outbox.event(ENVIRONMENT, recent.event.event_id) == recent.event
        assert await outbox.subscription(ENVIRONMENT) is not None

    with_outbox(place, body)


def test_of_many_processes_with_one_file_each_delivery_has_one(tmp_path: Path) -> None:
    place, made = stores.sqlite(tmp_path), [arrival() for _ in range(30)]

    async def body(store: Any) -> None:
        others = [place.open() for _ in range(3)]
        for each in made:
            await store.outbox.add(each)
        try:
            found: list[str] = []
            while batches := [
                batch
                for batch in await asyncio.gather(*(claim(other.outbox, count=5) for other in others))
                if batch
            ]:
                found += [delivery.event.event_id for batch in batches for delivery in batch]
            assert sorted(found) == sorted(each.event.event_id for each in made)
        finally:
            for other in others:
                await other.close()

    place.run(body)


def test_of_two_hosts_with_one_table_that_saw_the_same_one_gets_it(endpoint: str) -> None:
    """The second host's look is older than the first host's claim. (moto's transactions are none among threads, so one after the other.)"""
    place, made = stores.dynamodb(endpoint, "two"), [arrival() for _ in range(3)]

    async def body(store: Any) -> None:
        for each in made:
            await store.outbox.add(each)
        other = place.open()
        try:
            seen = other.query(f"webhooks/{ENVIRONMENT}", "due/", "due/~", count=9)  # type: ignore[attr-defined]
            assert len(await claim(store.outbox, count=2)) == 2
            late = [other.outbox._claim(ENVIRONMENT, item, now=NOW, until=LATER) for item in seen]  # type: ignore[attr-defined]
            assert [delivery is None for delivery in late] == [True, True, False]
        finally:
            await other.close()

    place.run(body)


def test_in_dynamodb_an_event_that_somebody_deleted_is_a_dead_letter(endpoint: str) -> None:
    place = stores.dynamodb(endpoint, "gone")
    made = arrival()

    async def body(outbox: Outbox) -> None:
        await outbox.add(made)
        client = boto3.client("dynamodb", region_name=stores.REGION, endpoint_url=endpoint)
        key = {"shard": {"S": f"webhooks/{ENVIRONMENT}"}, "key": {"S": f"event/{made.event.event_id}"}}
        client.delete_item(TableName="gone", Key=key)
        client.close()
        assert await claim(outbox) == []
        assert (await states(outbox))["dead"] == [(made.event.event_id, 0, "event_gone")]

    with_outbox(place, body)


def test_a_store_that_is_gone_says_so(place: stores.Place) -> None:
    async def body(store: Any) -> None:
        await store.close()
        for call in (
            store.outbox.channels(),
            store.outbox.add(arrival()),
            store.outbox.claim(ENVIRONMENT, now=NOW, until=LATER, count=1),
            store.outbox.revoked(ENVIRONMENT, "s"),
        ):
            with pytest.raises(StorageError):
                await call

    place.run(body)


def test_an_old_event_that_was_sent_again_is_kept_as_long_as_its_new_message(place: stores.Place) -> None:
    made = arrival()

    async def body(outbox: Outbox) -> None:
        await outbox.add(made)
        (first,) = await claim(outbox)
        await outbox.finish(first, "dead", now=NOW + 1, reason="status_500")
        await redelivery.redeliver(outbox, ENVIRONMENT, made.event.event_id, clock=lambda: LATER)
        assert await outbox.purge(ENVIRONMENT, before=LATER) == 1  # the dead letter that was sent again
        (again,) = await claim(outbox, now=LATER, until=LATER + 1)
        assert again.event == made.event
        await outbox.finish(again, "dead", now=LATER + 2, reason="status_500")
        assert await outbox.purge(ENVIRONMENT, before=LATER) == 0
        assert await outbox.event(ENVIRONMENT, made.event.event_id) == made.event
        assert await outbox.purge(ENVIRONMENT, before=LATER + 3) == 1
        assert await outbox.event(ENVIRONMENT, made.event.event_id) is None

    with_outbox(place, body)
