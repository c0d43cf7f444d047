"""What a developer is told of a recovery: with the change, in one write, or not at all."""

from __future__ import annotations

import json
import typing
import uuid

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.manifest import RecoveryRules
from protocol import accounts as a
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError
from tests.attacks.test_authorization import refuses, started
from tests.attacks.test_rules import failing
from tests.support.door import Door, SessionKey, User, now_ms, recovery_request
from tests.support.manifests import spki
from tests.support.world import MANIFEST, Host, run

DAY = 86_400
HOOK = "https://hooks.example/recoveries"


class Spied:
    """Every put of a host's storage: its key, and the event that came with it, judged as the link does."""

    def __init__(self, host: Host) -> None:
        self.puts: list[tuple[str, typing.Any]] = []
        self._real = host.storage.put
        host.storage.put = self._put

    async def _put(self, key: str, value: bytes, **named: typing.Any) -> None:
        await self._real(key, value, **named)
        event = named.get("event")
        if event is not None:
            event = msgspec.convert(
                msgspec.to_builtins(event, builtin_types=(bytes,)),
                type(event),
                strict=True,
                builtin_types=(bytes,),
            )
        self.puts.append((key, event))

    def told(self) -> list[tuple[str, dict[str, typing.Any]]]:
        return [(event.name, json.loads(event.data)) for _, event in self.puts if event is not None]


async def lost_phone(lock: int = DAY, notify: str = HOOK) -> tuple[Host, User, Ed25519PrivateKey]:
    host = await started(recovery=RecoveryRules(time_lock_s=lock, gate=None, notify=notify))
    user, offline = await User.log_in(host), Ed25519PrivateKey.generate()
    await user.door.call(a.SetRecoveryKey(algorithm="ed25519", public_key=spki(offline)))
    return host, user, offline


def test_a_recovery_is_told_when_it_begins_and_when_it_is_completed_in_the_write_of_the_change():
    async def scenario():
        host, user, offline = await lost_phone()
        spied = Spied(host)
        door, key = await Door.open(host), SessionKey()
        request = await recovery_request(door, user.user_id, offline, key)
        waits = await door.call(request, a.RecoveryPending)
        await door.call(request, a.RecoveryPending)  # asked again: nothing new
        later = now_ms() + DAY * 1000
        host.enclave.clock.now_ms = lambda: later
        await door.call(request, a.LoggedIn)
        record = f"environments/sandbox/users/{user.user_id}"
        (first, begun), (second, completed) = spied.puts
        assert first == second == record
        assert (begun.name, completed.name) == ("user.recovery.begun", "user.recovery.completed")
        for event in (begun, completed):
            assert (event.environment, event.endpoint) == ("sandbox", HOOK)
            assert event.subscription_id == begun.subscription_id
            assert uuid.UUID(event.subscription_id).version == 5
        assert begun.event_id != completed.event_id
        (_, told), (_, done) = spied.told()
        assert told == {
            "userId": user.user_id,
            "recoveryId": told["recoveryId"],
            "notBefore": waits.not_before,
            "at": waits.not_before - DAY * 1000,
        }
        assert done == told | {"at": later}

    run(scenario)


def test_a_recovery_without_a_time_lock_is_told_once():
    async def scenario():
        host, user, offline = await lost_phone(lock=0)
        spied = Spied(host)
        door = await Door.open(host)
        await door.call(await recovery_request(door, user.user_id, offline, SessionKey()), a.LoggedIn)
        ((name, told),) = spied.told()
        assert (name, told["userId"]) == ("user.recovery.completed", user.user_id)
        assert told["notBefore"] == told["at"]

    run(scenario)


@pytest.mark.parametrize("by", ["cancel", "another key"])
def test_a_recovery_that_comes_to_nothing_is_told(by):
    async def scenario():
        host, user, offline = await lost_phone()
        spied = Spied(host)
        door = await Door.open(host)
        await door.call(await recovery_request(door, user.user_id, offline, SessionKey()))
        if by == "cancel":
            await user.door.call(a.CancelRecovery())
        else:
            await user.door.call(a.SetRecoveryKey(algorithm="ed25519", public_key=None))
        (_, begun), (name, cancelled) = spied.told()
        assert name == "user.recovery.cancelled"
        assert cancelled["recoveryId"] == begun["recoveryId"]

    run(scenario)


def test_a_recovery_that_takes_anothers_place_is_told_as_one_that_begins():
    async def scenario():
        host, user, offline = await lost_phone()
        spied = Spied(host)
        for _ in range(2):
            door = await Door.open(host)
            await door.call(await recovery_request(door, user.user_id, offline, SessionKey()))
        (first, one), (second, two) = spied.told()
        assert first == second == "user.recovery.begun"
        assert one["recoveryId"] != two["recoveryId"]

    run(scenario)


def test_what_did_not_happen_is_not_told():
    async def scenario():
        host, user, offline = await lost_phone()
        spied = Spied(host)
        door = await Door.open(host)
        request = await recovery_request(door, user.user_id, offline, SessionKey())
        host.storage.before_append = failing
        await refuses("receipt_failed", door.call(request))
        host.storage.before_append = lambda: None
        thief = await recovery_request(door, user.user_id, Ed25519PrivateKey.generate(), SessionKey())
        await refuses("recovery_refused", door.call(thief))
        await user.add_passkey()
        assert spied.puts
        assert spied.told() == []

    run(scenario)


def test_where_nobody_is_named_nobody_is_told():
    async def scenario():
        host, user, offline = await lost_phone(notify="")
        spied = Spied(host)
        door = await Door.open(host)
        await door.call(await recovery_request(door, user.user_id, offline, SessionKey()))
        assert [event for _, event in spied.puts] == [None]

    run(scenario)


def test_a_manifest_that_names_nobody_has_the_bytes_that_it_had():
    rules = RecoveryRules(time_lock_s=DAY, gate=None)
    assert cbor.encode(rules) == cbor.encode({"time_lock_s": DAY, "gate": None})
    named = RecoveryRules(time_lock_s=DAY, gate=None, notify=HOOK)
    assert cbor.encode(named) == cbor.encode({"time_lock_s": DAY, "gate": None, "notify": HOOK})


@pytest.mark.parametrize(
    "url", ["http://hooks.example", "https://", "https://a b", "ftp://x", "https://" + "x" * 512]
)
def test_a_manifest_that_names_no_https_url_is_refused(url):
    from enclave.manifest import parse

    rules = RecoveryRules(time_lock_s=0, gate=None, notify=url)
    first = msgspec.structs.replace(MANIFEST.environments[0], recovery=rules)
    manifest = msgspec.structs.replace(MANIFEST, environments=[first])
    with pytest.raises(CosignerError, match="message_malformed"):
        parse(manifest.encode())
