"""Notices of recoveries, from an enclave that somebody recovers a user at to the endpoint that its manifest names, over real TLS."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cosigner.webhooks import WebhookRefused, parse, verify
from enclave.manifest import RecoveryRules
from host.errors import HostError
from host.log import Log
from host.metrics import Metrics
from host.webhooks import redelivery, service
from host.webhooks.events import NOTICES
from host.webhooks.outbox import Outbox
from protocol import accounts as a
from protocol.envelope.messages import OutboxEvent
from tests.attacks.test_authorization import started
from tests.host.rig import eventually
from tests.host.webhooks import stores
from tests.host.webhooks.arrivals import ENVIRONMENT, NOW, SECRET, arrival, outbox_event, subscription
from tests.host.webhooks.receiver import Hang, Receiver
from tests.host.webhooks.running import Sending, section, sending
from tests.support.door import Door, SessionKey, User, now_ms, recovery_request
from tests.support.manifests import spki
from tests.support.world import Host

DAY = 86_400
QUEUE = "sandbox/notices"
BEGUN = "user.recovery.begun"
THEIRS = "whsec_bm90aWNlcyBhcmUgc2lnbmVkIGJ5IHRoaXM="
DATA: dict[str, Any] = {"userId": "alice", "recoveryId": "00", "notBefore": 1, "at": 1}


def secret_file(folder: Path, text: str = f"{THEIRS}\n") -> dict[str, str]:
    path = folder / "secret"
    path.write_text(text)
    return {ENVIRONMENT: str(path)}


def run(body: Callable[[Receiver], Coroutine[Any, Any, None]]) -> None:
    with Receiver() as receiver:
        asyncio.run(body(receiver))


async def ended(running: Sending, state: Any, count: int = 1) -> list[Any]:
    async with asyncio.timeout(20):
        while len(found := await running.store.outbox.lines(QUEUE, state, count=100)) < count:  # noqa: ASYNC110
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
    async def body(receiver: Receiver) -> None:
        config = section(receiver, notices=secret_file(tmp_path), environment_names={"sandbox": "Sandbox"})
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

            begun, completed = receiver.taken
            for taken in (begun, completed):
                assert taken.path == "/recoveries"
                verify(THEIRS, taken.headers, taken.body, tolerance=60)
                assert (taken.json["environmentId"], taken.json["environmentName"]) == ("sandbox", "Sandbox")
                assert taken.json["userId"] == taken.json["data"]["userId"] == user.user_id
            assert [parse(taken.body).event_name for taken in (begun, completed)] == [BEGUN, NOTICES[2]]
            assert begun.json["data"]["recoveryId"] == completed.json["data"]["recoveryId"]
            await eventually(lambda: running.count("delivered") == 2)

    run(body)


def test_without_a_secret_nothing_is_sent_and_with_one_later_all_is(tmp_path: Path) -> None:
    async def body(receiver: Receiver) -> None:
        event = outbox_event(BEGUN, DATA, endpoint=f"{receiver.url}/")
        async with sending(tmp_path, section(receiver)) as running:
            await running.put(subscription(url=f"{receiver.url}/"))  # its secret is none for notices
            await running.put(event)
            (line,) = await ended(running, "dead")
            assert line.reason == "notice_secret_missing"
            await eventually(lambda: running.logged("webhook_dead"))
            assert running.logged("webhook_dead")[0]["environment"] == QUEUE
            assert running.count("dead") == 1
        assert receiver.taken == []
        async with sending(tmp_path, section(receiver, notices=secret_file(tmp_path))) as running:
            await redelivery.redeliver(running.store.outbox, QUEUE, event.event_id)
            await ended(running, "delivered")
            (taken,) = receiver.taken
            assert (taken.json["eventId"], taken.json["redelivery"]) == (event.event_id, True)
            verify(THEIRS, taken.headers, taken.body, tolerance=60)
            with pytest.raises(WebhookRefused):
                verify(SECRET, taken.headers, taken.body, tolerance=60)

    run(body)


def test_a_notice_is_tried_again_and_goes_where_it_says_itself(tmp_path: Path) -> None:
    async def body(receiver: Receiver) -> None:
        receiver.answer(lambda taken: 503 if len(receiver.taken) == 1 else 204)
        async with sending(tmp_path, section(receiver, notices=secret_file(tmp_path))) as running:
            for path in ("old", "new"):
                await running.put(outbox_event(BEGUN, DATA, endpoint=f"{receiver.url}/{path}"))
            lines = await ended(running, "delivered", 2)
            assert sorted(line.attempts for line in lines) == [1, 2]
            assert {taken.path for taken in receiver.taken} == {"/old", "/new"}

    run(body)


def test_neither_endpoint_of_an_environment_delays_the_other(tmp_path: Path) -> None:
    async def both(hanging: Receiver, fine: Receiver) -> None:
        authorities = tmp_path / "both.pem"
        authorities.write_bytes(hanging.ca_pem + fine.ca_pem)
        config = section(ca_file=str(authorities), timeout=30, concurrency=2, notices=secret_file(tmp_path))
        async with sending(tmp_path, config) as running:
            await running.put(subscription(url=f"{hanging.url}/"))
            for number in range(10):
                await running.put(outbox_event(data={"n": number}))
            await eventually(lambda: len(hanging.taken) == 2)
            await running.put(outbox_event(BEGUN, DATA, endpoint=f"{fine.url}/"))
            await ended(running, "delivered")
            hanging.book.released.set()

    with Receiver() as hanging, Receiver() as fine:
        hanging.answer(lambda taken: Hang())
        asyncio.run(both(hanging, fine))


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

    async def body() -> None:
        config = section(allow_private=False, notices=secret_file(tmp_path))
        async with sending(tmp_path, config, resolve=resolve) as running:
            await running.put(outbox_event(BEGUN, DATA, endpoint=url))
            (line,) = await ended(running, "dead")
            assert line.reason == reason

    asyncio.run(body())


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[str]:
    with stores.moto() as url:
        yield url


@pytest.mark.parametrize("kind", ["sqlite", "dynamodb"])
def test_notices_wait_in_a_queue_of_their_own(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = (
        stores.sqlite(tmp_path)
        if kind == "sqlite"
        else stores.dynamodb(request.getfixturevalue("dynamodb"), "notices")
    )

    async def body(store: Any) -> None:
        outbox: Outbox = store.outbox
        notice = arrival(BEGUN, DATA)
        await store.put("user", expected=0, epoch=1, value=b"v", arrival=notice)
        assert await outbox.environments() == [QUEUE]
        assert await outbox.subscription(ENVIRONMENT) is None
        assert await outbox.claim(ENVIRONMENT, now=NOW, until=NOW + 1, count=9) == []
        (claimed,) = await outbox.claim(QUEUE, now=NOW, until=NOW + 1, count=9)
        assert (claimed.event.environment_id, claimed.event.data) == (ENVIRONMENT, notice.event.data)
        await store.put("user", expected=1, epoch=2, value=b"w", arrival=arrival(BEGUN, DATA, now=NOW + 1))
        assert len(await outbox.lines(QUEUE, "pending", count=9)) == 2

    place.run(body)


@pytest.mark.parametrize(
    "text", [None, "", "whsec_", f"{THEIRS}\n{THEIRS}\n", "hunter2", "whsec_" + "\xe4" * 20]
)
def test_a_secret_that_cannot_be_read_stops_the_host(tmp_path: Path, text: str | None) -> None:
    notices = secret_file(tmp_path, text) if text is not None else {ENVIRONMENT: f"{tmp_path}/missing"}

    async def body(store: Any) -> None:
        with pytest.raises(HostError) as caught:
            service.dispatcher(
                section(notices=notices), store.outbox, log=Log(io.StringIO()), metrics=Metrics()
            )
        assert caught.value.code == "webhooks_unusable"
        assert "hunter2" not in caught.value.message

    stores.sqlite(tmp_path).run(body)


def test_a_subscription_without_a_secret_is_refused() -> None:
    data = {"url": "https://x.example/", "secret": None, "events": [], "enabled": True}
    with pytest.raises(HostError) as caught:
        arrival("subscription", data, endpoint="https://x.example/")
    assert caught.value.code == "event_malformed"
