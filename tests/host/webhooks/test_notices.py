"""Notices of recoveries, from an enclave that somebody recovers a user at to the endpoint that its manifest names, over real TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cosigner.webhooks import WebhookRefused, parse, verify
from enclave.manifest import RecoveryRules
from host.webhooks import redelivery
from protocol import accounts as a
from protocol.envelope.messages import OutboxEvent
from tests.attacks.test_authorization import started
from tests.host.rig import eventually
from tests.host.webhooks.arrivals import ENVIRONMENT, SECRET, outbox_event, subscription
from tests.host.webhooks.receiver import Hang, Receiver
from tests.host.webhooks.running import Sending, section, sending
from tests.support.door import Door, SessionKey, User, now_ms, recovery_request
from tests.support.manifests import spki
from tests.support.world import Host

DAY = 86_400
CHANNEL = f"{ENVIRONMENT}/notices"
BEGUN, COMPLETED = "user.recovery.begun", "user.recovery.completed"
DATA: dict[str, Any] = {"userId": "alice", "recoveryId": "00", "notBefore": 1, "at": 1}


async def ended(running: Sending, state: Any, count: int = 1) -> list[Any]:
    async with asyncio.timeout(20):
        while len(found := await running.store.outbox.lines(CHANNEL, state, count=100)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return found


def hand_over(host: Host, running: Sending) -> None:
    """Keep the events of an enclave's writes in the sender's store."""
    keep = host.storage.put

    async def put(key: str, value: bytes, *, event: OutboxEvent | None = None, **named: Any) -> None:
        await keep(key, value, event=event, **named)
        if event is not None:
            await running.put(event)

    host.storage.put = put  # type: ignore[method-assign]


def test_a_recovery_at_the_enclave_reaches_the_manifests_endpoint_signed(tmp_path: Path) -> None:
    async def run(receiver: Receiver) -> None:
        config = section(receiver, environment_names={ENVIRONMENT: "Sandbox"})
        async with sending(tmp_path, config) as running:
            rules = RecoveryRules(time_lock_s=DAY, gate=None, notify=f"{receiver.url}/recoveries")
            host = await started(recovery=rules)
            hand_over(host, running)
            user, offline = await User.log_in(host), Ed25519PrivateKey.generate()
            await user.door.call(a.SetRecoveryKey(algorithm="ed25519", public_key=spki(offline)))
            door = await Door.open(host)
            request = await recovery_request(door, user.user_id, offline, SessionKey())
            await door.call(request, a.RecoveryPending)
            await ended(running, "delivered")
            later = now_ms() + DAY * 1000
            host.enclave.clock.now_ms = lambda: later  # type: ignore[union-attr, method-assign]
            await door.call(request, a.LoggedIn)
            await ended(running, "delivered", 2)

            secret = await running.store.outbox.secret(CHANNEL)
            begun, completed = receiver.taken
            for taken in (begun, completed):
                assert taken.path == "/recoveries"
                verify(secret, taken.headers, taken.body, tolerance=60)
                assert (taken.json["environmentId"], taken.json["environmentName"]) == (
                    ENVIRONMENT,
                    "Sandbox",
                )
                assert taken.json["userId"] == taken.json["data"]["userId"] == user.user_id
            assert [parse(taken.body).event_name for taken in (begun, completed)] == [BEGUN, COMPLETED]
            assert begun.json["data"]["recoveryId"] == completed.json["data"]["recoveryId"]
            await eventually(lambda: running.count("delivered") == 2)

    with Receiver() as receiver:
        asyncio.run(run(receiver))


def test_a_notice_that_was_given_up_is_sent_again_by_hand_and_never_with_the_developers_secret(
    tmp_path: Path,
) -> None:
    async def run(receiver: Receiver) -> None:
        event = outbox_event(BEGUN, DATA, endpoint=f"{receiver.url}/")
        receiver.answer(lambda taken: 503)
        async with sending(tmp_path, section(receiver)) as running:
            await running.put(subscription(url=f"{receiver.url}/"))
            await running.put(event)
            (line,) = await ended(running, "dead")
            assert (line.reason, line.attempts) == ("status_503", 3)
            receiver.answer(lambda taken: 204)
            await redelivery.redeliver(running.store.outbox, CHANNEL, event.event_id)
            await ended(running, "delivered")
            taken = receiver.taken[-1]
            assert (taken.json["eventId"], taken.json["redelivery"]) == (event.event_id, True)
            verify(await running.store.outbox.secret(CHANNEL), taken.headers, taken.body, tolerance=60)
            with pytest.raises(WebhookRefused):
                verify(SECRET, taken.headers, taken.body, tolerance=60)

    with Receiver() as receiver:
        asyncio.run(run(receiver))


def test_neither_endpoint_of_an_environment_delays_the_other(tmp_path: Path) -> None:
    async def run(hanging: Receiver, fine: Receiver) -> None:
        authorities = tmp_path / "both.pem"
        authorities.write_bytes(hanging.ca_pem + fine.ca_pem)
        config = section(ca_file=str(authorities), timeout=30, concurrency=2)
        async with sending(tmp_path, config) as running:
            await running.put(subscription(url=f"{hanging.url}/"))
            for number in range(10):
                await running.put(outbox_event(data={"n": number}))
            await eventually(lambda: len(hanging.taken) == 2)
            await running.put(outbox_event(BEGUN, DATA, endpoint=f"{fine.url}/"))
            await ended(running, "delivered")
            assert len(hanging.taken) == 2
            hanging.book.released.set()

    with Receiver() as hanging, Receiver() as fine:
        hanging.answer(lambda taken: Hang())
        asyncio.run(run(hanging, fine))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://10.0.0.8/", "webhook_url_refused"),
        ("https://inside.example/", "webhook_address_refused"),
        ("http://hooks.example/", "webhook_url_refused"),
    ],
)
def test_a_notice_goes_nowhere_that_no_webhook_may_go(tmp_path: Path, url: str, reason: str) -> None:
    async def resolve(_: str, __: int) -> list[str]:
        return ["169.254.169.254"]

    async def run() -> None:
        async with sending(tmp_path, section(allow_private=False), resolve=resolve) as running:
            await running.put(outbox_event(BEGUN, DATA, endpoint=url))
            (line,) = await ended(running, "dead")
            assert line.reason == reason

    asyncio.run(run())
