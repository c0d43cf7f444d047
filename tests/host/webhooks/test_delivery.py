"""Webhooks from the outbox to a receiver over real TLS: at least once, in every kind of trouble, and nothing lost."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

import pytest

from host.storage.sqlite import SqliteStore
from host.webhooks import redelivery
from host.webhooks.events import CREATED, REVOKED
from tests.host.rig import eventually
from tests.host.webhooks.arrivals import ENVIRONMENT, SECRET, SUBSCRIPTION_ID, outbox_event, subscription
from tests.host.webhooks.receiver import Hang, Receiver
from tests.host.webhooks.running import Sending, section, sending


def scenario(tmp_path: Path, body: Any, **changes: Any) -> None:
    """Run ``body(sending, receiver)`` with a subscription in place."""

    async def run(receiver: Receiver) -> None:
        async with sending(tmp_path, section(receiver, **changes)) as running:
            await running.put(subscription(url=f"{receiver.url}/hooks?x=1"))
            await body(running, receiver)

    with Receiver() as receiver:
        asyncio.run(run(receiver))


async def ended(running: Sending, state: str, count: int = 1) -> list[Any]:
    outbox = running.store.outbox
    async with asyncio.timeout(20):
        while len(found := await outbox.lines(ENVIRONMENT, state, count=1000)) < count:  # type: ignore[arg-type]  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return found


def test_an_event_arrives_signed_and_in_the_products_form(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        event = outbox_event(data={"chain": "EVM", "walletId": "w", "userId": "u", "shareSetId": "s"})
        await running.put(event, now=1_759_331_606_348)
        (line,) = await ended(running, "delivered")
        (taken,) = receiver.taken
        assert taken.path == "/hooks?x=1"
        assert list(taken.json) == [
            "messageId",
            "eventId",
            "eventName",
            "timestamp",
            "webhookId",
            "userId",
            "environmentId",
            "environmentName",
            "redelivery",
            "data",
        ]
        assert taken.json == {
            "messageId": line.message_id,
            "eventId": event.event_id,
            "eventName": "wallet.delegation.created",
            "timestamp": "2025-10-01T15:13:26.348Z",
            "webhookId": SUBSCRIPTION_ID,
            "userId": "u",
            "environmentId": "sandbox",
            "environmentName": "Sandbox",
            "redelivery": False,
            "data": {"chain": "EVM", "walletId": "w", "userId": "u", "shareSetId": "s"},
        }
        digest = hmac.new(SECRET.encode(), taken.body, hashlib.sha256).hexdigest()
        assert taken.headers["x-dynamic-signature-256"] == f"sha256={digest}"
        assert taken.headers["webhook-id"] == line.message_id
        assert abs(int(taken.headers["webhook-timestamp"]) - time.time()) < 60
        assert taken.headers["content-type"] == "application/json"
        await eventually(lambda: running.count("delivered") == 1)
        assert (line.attempts, running.count("failed")) == (1, 0)

    scenario(tmp_path, body, environment_names={"sandbox": "Sandbox"})


def test_what_fails_comes_again_the_same_and_newly_stamped(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        receiver.answer(lambda taken: 503 if len(receiver.taken) < 3 else 204)
        await running.put(outbox_event())
        (line,) = await ended(running, "delivered")
        assert line.attempts == 3
        assert len({taken.body for taken in receiver.taken}) == 1
        assert running.count("failed") == 2
        assert [entry["code"] for entry in running.logged("webhook_failed")] == ["status_503"] * 2

    scenario(tmp_path, body)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda taken: 500, "status_500"),
        (lambda taken: 404, "status_404"),
        (
            lambda taken: (
                b"HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n"
            ),
            "redirect_refused",
        ),
        (
            lambda taken: (
                b"HTTP/1.1 307 Over There\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n"
            ),
            "redirect_refused",
        ),
        (lambda taken: b"SSH-2.0-OpenSSH_9.2\r\n", "webhook_failed"),
        (lambda taken: b"", "webhook_failed"),
        (lambda taken: b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "webhook_failed"),
    ],
    ids=["500", "404", "302", "307", "no-http", "nothing", "endless-headers"],
)
def test_after_the_last_attempt_it_is_a_dead_letter(tmp_path: Path, answer: Any, reason: str) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        receiver.answer(answer)
        await running.put(outbox_event())
        (line,) = await ended(running, "dead")
        assert (line.attempts, line.reason) == (3, reason)
        assert len(receiver.taken) == 3
        await eventually(lambda: running.logged("webhook_dead"))
        assert (running.count("failed"), running.count("dead")) == (2, 1)
        assert [entry["code"] for entry in running.logged("webhook_dead")] == [reason]
        assert SECRET not in running.text.getvalue()
        assert "x=1" not in running.text.getvalue()

    scenario(tmp_path, body)


def test_an_answers_body_is_not_waited_for(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        receiver.answer(
            lambda taken: b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n" + b"z" * 200_000
        )
        await running.put(outbox_event())
        (line,) = await ended(running, "delivered")
        assert line.attempts == 1

    scenario(tmp_path, body)


def test_a_connection_is_used_again_and_replaced_when_the_other_side_closed_it(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        for number in range(3):
            await running.put(outbox_event(data={"n": number}))
            await ended(running, "delivered", number + 1)
        assert len({taken.connection for taken in receiver.taken}) == 1
        receiver.answer(
            lambda taken: b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        )  # and closes without a word
        await running.put(outbox_event())
        await ended(running, "delivered", 4)
        await running.put(outbox_event())
        lines = await ended(running, "delivered", 5)
        assert {line.attempts for line in lines} == {1}

    scenario(tmp_path, body)


def test_an_endpoint_that_hangs_delays_nobody_else(tmp_path: Path) -> None:
    async def run(hanging: Receiver, fine: Receiver) -> None:
        both = tmp_path / "both.pem"
        both.write_bytes(hanging.ca_pem + fine.ca_pem)
        config = section(ca_file=str(both), timeout=30, concurrency=2)
        async with sending(tmp_path, config) as running:
            await running.put(subscription(url=f"{hanging.url}/", environment="slow"))
            await running.put(subscription(url=f"{fine.url}/", environment=ENVIRONMENT))
            for number in range(50):
                await running.put(outbox_event(data={"n": number}, environment="slow"))
            await eventually(lambda: len(hanging.taken) == 2)  # all that may be under way there
            for number in range(50):
                await running.put(outbox_event(data={"n": number}))
            await ended(running, "delivered", 50)
            assert len(hanging.taken) == 2
            hanging.book.released.set()

    with Receiver() as hanging, Receiver() as fine:
        hanging.answer(lambda taken: Hang())
        asyncio.run(run(hanging, fine))


def test_a_hanging_answer_is_given_up(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        receiver.answer(lambda taken: Hang() if len(receiver.taken) == 1 else 200)
        await running.put(outbox_event())
        (line,) = await ended(running, "delivered")
        assert line.attempts == 2
        assert "no answer within" in running.logged("webhook_failed")[0]["reason"]

    scenario(tmp_path, body, timeout=0.3)


def test_nobody_hears_of_a_delegation_after_its_revocation(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        receiver.answer(lambda taken: 200 if taken.json["eventName"] == REVOKED else 500)
        await running.put(outbox_event(CREATED, {"walletId": "w", "shareSetId": "s"}))
        await running.put(outbox_event(CREATED, {"walletId": "w", "shareSetId": "other"}))
        await eventually(lambda: receiver.named(CREATED))
        await running.put(outbox_event(REVOKED, {"walletId": "w", "shareSetId": "s"}))
        await ended(running, "delivered")
        (dropped,) = await ended(running, "dropped")
        assert dropped.reason == "superseded"
        told = [(taken.json["eventName"], taken.json["data"]["shareSetId"]) for taken in receiver.taken]
        assert (CREATED, "s") not in told[told.index((REVOKED, "s")) :]
        (dead,) = await ended(running, "dead")  # of the other share set, which nobody revoked
        assert dead.attempts == 3

    scenario(tmp_path, body, schedule=[0, 0.3, 0.6])


def test_a_revocation_waits_until_what_it_revokes_is_no_longer_under_way(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        receiver.answer(lambda taken: Hang() if taken.json["eventName"] == CREATED else 200)
        await running.put(outbox_event(CREATED, {"shareSetId": "s"}))
        await eventually(lambda: receiver.named(CREATED))
        await running.put(outbox_event(REVOKED, {"shareSetId": "s"}))
        await running.put(outbox_event(REVOKED, {"shareSetId": "t"}))
        await ended(running, "delivered")
        assert [taken.json["data"]["shareSetId"] for taken in receiver.named(REVOKED)] == ["t"]
        receiver.book.released.set()
        await ended(running, "delivered", 2)
        assert [
            taken.json["eventName"] for taken in receiver.taken if taken.json["data"]["shareSetId"] == "s"
        ] == [
            CREATED,
            REVOKED,
        ]

    scenario(tmp_path, body)


def test_what_nobody_subscribed_to_is_not_sent_and_what_is_disabled_is_kept(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        await running.put(outbox_event("wallet.other"))
        (dropped,) = await ended(running, "dropped")
        assert dropped.reason == "unsubscribed"
        await running.put(subscription(url=f"{receiver.url}/", enabled=False))
        event = outbox_event()
        await running.put(event)
        (dead,) = await ended(running, "dead")
        assert (dead.reason, receiver.taken) == ("subscription_disabled", [])
        await running.put(subscription(url=f"{receiver.url}/new"))
        message_id = await redelivery.redeliver(running.store.outbox, ENVIRONMENT, event.event_id)
        await ended(running, "delivered")
        (taken,) = receiver.taken
        assert (taken.path, taken.json["eventId"], taken.json["messageId"]) == (
            "/new",
            event.event_id,
            message_id,
        )

    scenario(tmp_path, body)


def test_a_notice_goes_to_its_own_endpoint_whatever_is_subscribed_to(tmp_path: Path) -> None:
    async def run(developer: Receiver, watcher: Receiver) -> None:
        both = tmp_path / "both.pem"
        both.write_bytes(developer.ca_pem + watcher.ca_pem)
        async with sending(tmp_path, section(ca_file=str(both))) as running:
            notice = outbox_event("user.recovery.begun", {"userId": "u"}, endpoint=f"{watcher.url}/notices")
            await running.put(notice)  # before there is any subscription
            await eventually(lambda: watcher.taken)
            await running.put(subscription(url=f"{developer.url}/", enabled=False))
            await running.put(
                outbox_event("user.recovery.completed", {"userId": "u"}, endpoint=f"{watcher.url}/moved")
            )
            await eventually(lambda: len(watcher.taken) == 2)
            assert [taken.path for taken in watcher.taken] == ["/notices", "/moved"]
            assert watcher.taken[0].json["eventId"] == notice.event_id
            assert (
                watcher.taken[0].json["environmentId"]
                == watcher.taken[0].json["environmentName"]
                == ENVIRONMENT
            )
            assert watcher.taken[0].json["webhookId"] == SUBSCRIPTION_ID
            secret = await running.store.outbox.secret(f"{ENVIRONMENT}/notices")
            for taken in watcher.taken:
                digest = hmac.new(secret.encode(), taken.body, hashlib.sha256).hexdigest()
                assert taken.headers["x-dynamic-signature-256"] == f"sha256={digest}"
            assert developer.taken == []

    with Receiver() as developer, Receiver() as watcher:
        asyncio.run(run(developer, watcher))


def test_an_event_before_its_subscription_waits_for_it(tmp_path: Path) -> None:
    async def run(receiver: Receiver) -> None:
        async with sending(tmp_path, section(receiver)) as running:
            await running.put(outbox_event())
            await running.put(subscription(url=f"{receiver.url}/"))
            await ended(running, "delivered")

    with Receiver() as receiver:
        asyncio.run(run(receiver))


def test_a_new_secret_counts_from_the_next_attempt_on(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        receiver.answer(lambda taken: 500 if len(receiver.taken) == 1 else 200)
        await running.put(outbox_event())
        await eventually(lambda: receiver.taken)
        other = "whsec_" + "bmV3IHNlY3JldCBieXRlcyBhcmUgaGVyZSE="
        await running.put(subscription(url=f"{receiver.url}/", secret=other))
        await ended(running, "delivered")
        last = receiver.taken[-1]
        digest = hmac.new(other.encode(), last.body, hashlib.sha256).hexdigest()
        assert last.headers["x-dynamic-signature-256"] == f"sha256={digest}"

    scenario(tmp_path, body, schedule=[0, 0.5])


def test_a_redelivery_is_a_new_message_about_the_same_event(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        event = outbox_event()
        await running.put(event)
        await ended(running, "delivered")
        await redelivery.redeliver(running.store.outbox, ENVIRONMENT, event.event_id)
        await ended(running, "delivered", 2)
        first, second = (taken.json for taken in receiver.taken)
        assert (first.pop("redelivery"), second.pop("redelivery")) == (False, True)
        assert first.pop("messageId") != second.pop("messageId")
        assert first == second

    scenario(tmp_path, body)


def test_a_ping_says_what_is_subscribed(tmp_path: Path) -> None:
    async def body(running: Sending, receiver: Receiver) -> None:
        await redelivery.ping(running.store.outbox, ENVIRONMENT)
        await ended(running, "delivered")
        (taken,) = receiver.taken
        assert taken.json["eventName"] == "ping"
        assert taken.json["data"] == {
            "webhookId": SUBSCRIPTION_ID,
            "message": "The webhook works.",
            "events": [
                "wallet.delegation.created",
                "wallet.delegation.revoked",
                "wallet.delegation.signature",
            ],
            "url": f"{receiver.url}/hooks?x=1",
            "isEnabled": True,
        }

    scenario(tmp_path, body)


def test_a_stop_lets_attempts_end_and_what_does_not_end_is_due_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.webhooks.dispatch._GRACE", 0.2)

    async def run(receiver: Receiver) -> None:
        receiver.answer(lambda taken: Hang())
        async with sending(tmp_path, section(receiver, timeout=60)) as running:
            await running.put(subscription(url=f"{receiver.url}/"))
            await running.put(outbox_event())
            await eventually(lambda: receiver.taken)
        store = SqliteStore(str(tmp_path / "store"))
        (line,) = await store.outbox.lines(ENVIRONMENT, "pending", count=9)
        assert (line.attempts, line.reason) == (0, "interrupted")
        assert line.at <= time.time() * 1000
        await store.close()
        receiver.book.released.set()
        receiver.answer(lambda taken: 200)
        async with sending(tmp_path, section(receiver)) as running:
            await ended(running, "delivered")

    with Receiver() as receiver:
        asyncio.run(run(receiver))
