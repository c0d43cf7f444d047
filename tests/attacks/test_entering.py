"""Logins and recoveries that the host keeps out of the log: they have not happened, and what has happened is in the log."""

from __future__ import annotations

import asyncio
import typing
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.manifest import RecoveryRules
from protocol import accounts as a
from protocol.receipts import Decision, Outcome
from tests.attacks.test_authorization import refuses, started
from tests.attacks.test_rules import decisions, entries, failing
from tests.support.door import (
    Door,
    SessionKey,
    User,
    key_login_request,
    login_request,
    now_ms,
    recovery_request,
    service_account,
)
from tests.support.holding import Held
from tests.support.manifests import spki, token
from tests.support.world import Host, run

DAY = 86_400  # seconds


class Way:
    """Somebody who is about to enter: a session, a request in it, and the session key that it brings.

    :ivar user_id: who that is; empty if they are still to be made.
    :ivar waits: a time lock keeps them out for now.
    """

    def __init__(
        self, door: Door, key: SessionKey, request: typing.Any, user_id: str = "", lock: int = 0
    ) -> None:
        self.door = door
        self.key = key
        self.request = request
        self.user_id = user_id
        self.waits = lock > 0

    async def enter(self) -> typing.Any:
        return await self.door.call(self.request)


async def a_first_login(host: Host) -> Way:
    door, key = await Door.open(host), SessionKey()
    return Way(door, key, login_request(door, key, token(f"new-{uuid.uuid4()}")))


async def a_login(host: Host) -> Way:
    user = await User.log_in(host)
    door, key = await Door.open(host), SessionKey()
    return Way(door, key, login_request(door, key, token(user.subject)), user.user_id)


async def a_renewal(host: Host) -> Way:
    user, key = await User.log_in(host), SessionKey()
    request = login_request(user.door, key, token(user.subject), renews=user.session_key)
    return Way(user.door, key, request, user.user_id)


async def a_key_login(host: Host) -> Way:
    desk = await service_account(await User.log_in(host))
    door, key = await Door.open(host), SessionKey()
    return Way(door, key, key_login_request(desk, door, key), desk.user_id)


async def a_recovery(host: Host) -> Way:
    user, offline, key = await User.log_in(host), Ed25519PrivateKey.generate(), SessionKey()
    await user.door.call(a.SetRecoveryKey(algorithm="ed25519", public_key=spki(offline)))
    door = await Door.open(host)
    request = await recovery_request(door, user.user_id, offline, key)
    return Way(door, key, request, user.user_id, host.manifest.environments[0].recovery.time_lock_s)


async def a_completion(host: Host) -> Way:
    """Of a recovery whose time lock has run out."""
    way = await a_recovery(host)
    await way.enter()
    later = now_ms() + DAY * 1000
    host.enclave.clock.now_ms = lambda: later
    return Way(way.door, way.key, way.request, way.user_id)


WAYS = [a_first_login, a_login, a_renewal, a_key_login, a_recovery, a_completion]
LOCKS = [0, DAY]
CASES = [(way, lock) for way in WAYS for lock in LOCKS if (lock, way) != (0, a_completion)]
each_way = pytest.mark.parametrize(
    ("way", "lock"), CASES, ids=lambda value: value if isinstance(value, int) else value.__name__
)


async def about_to_enter(way: typing.Callable[[Host], typing.Awaitable[Way]], lock: int) -> tuple[Host, Way]:
    host = await started(recovery=RecoveryRules(time_lock_s=lock, gate=None))
    await User.log_in(host)  # the log is open
    return host, await way(host)


async def stays_out(host: Host, way: Way, before: dict[str, typing.Any], actor: typing.Any) -> None:
    """Nothing was stored, the session is whose it was, and the key opens nothing."""
    assert host.storage.records == before
    (session,) = (
        one
        for one in host.enclave.sessions._sessions.values()
        if one.channel.session_id == way.door.channel.session_id
    )
    assert session.actor is actor
    if way.user_id:
        at = host.enclave.clock.now_ms()
        await refuses(
            "session_key_rejected",
            Door.open(host, authenticate=way.key.auth(way.user_id, issued_at=at)),
        )


def actor_of(host: Host, way: Way) -> typing.Any:
    return host.enclave.sessions.get(way.door.channel.session_id).actor


@each_way
@pytest.mark.parametrize("when", ["before_append", "after_append"])
def test_attack_a_host_refuses_the_entry_of_whoever_enters(way, lock, when):
    """Whether the host kept it all the same: nobody has entered, and the log, once it is written, says that."""

    async def scenario():
        host, asked = await about_to_enter(way, lock)
        before, actor = dict(host.storage.records), actor_of(host, asked)
        setattr(host.storage, when, failing)
        refused = await refuses("receipt_failed", asked.enter())
        assert refused.receipt is None
        await stays_out(host, asked, before, actor)
        setattr(host.storage, when, lambda: None)
        vars(host.enclave.clock).pop("now_ms", None)
        await User.log_in(host)  # whatever is logged next
        *_, decision, outcome, _ = entries(host)
        assert decision.body.allowed
        assert decision.body.action.operation == asked.request.kind
        assert outcome.body == Outcome(of=decision.sequence, code="receipt_failed", result=None)

    run(scenario)


@each_way
def test_attack_a_host_withholds_the_entry_of_whoever_enters(way, lock):
    """As long as it does, nothing has happened; when it lets go, everything does, and the entry was there first."""

    async def scenario():
        host, asked = await about_to_enter(way, lock)
        before, actor = dict(host.storage.records), actor_of(host, asked)
        log = Held(host.storage, "append_log")
        entering = asyncio.create_task(asked.enter())
        await log.reached.wait()
        await stays_out(host, asked, before, actor)
        put = Held(host.storage, "put")
        log.let_go()
        await put.reached.wait()
        assert host.storage.records == before
        decision = decisions(host)[-1]
        assert (decision.allowed, decision.action.operation) == (True, asked.request.kind)
        assert (decision.actor is None) == asked.waits
        put.let_go()
        reply = await entering
        assert isinstance(reply, a.RecoveryPending if asked.waits else a.LoggedIn)
        assert host.storage.records != before
        if not asked.waits:
            assert decision.actor.user_id == decision.action.subject == reply.user_id
            assert await asked.door.call(a.GetAccount(), a.Account)
        assert not any(isinstance(entry.body, Outcome) for entry in entries(host))

    run(scenario)


@each_way
@pytest.mark.parametrize("when", ["before_put", "after_put"])
def test_what_was_logged_and_then_failed_is_in_the_log_as_failed(way, lock, when):
    async def scenario():
        host, asked = await about_to_enter(way, lock)
        actor = actor_of(host, asked)
        setattr(host.storage, when, failing)
        refused = await refuses("storage_unavailable", asked.enter())
        setattr(host.storage, when, lambda key: None)
        assert actor_of(host, asked) is actor
        decision, outcome = entries(host)[-2:]
        assert isinstance(decision.body, Decision)
        assert refused.receipt == next(iter(host.storage.log.values()))[-2]
        assert outcome.body == Outcome(of=decision.sequence, code="storage_unavailable", result=None)

    run(scenario)


def test_a_login_that_is_refused_leaves_neither_a_user_nor_an_entry():
    async def scenario():
        host = await started()
        await User.log_in(host)
        before, logged = dict(host.storage.records), entries(host)
        door = await Door.open(host)
        request = login_request(door, SessionKey(), token("somebody new"), renews=SessionKey())
        await refuses("session_key_rejected", door.call(request))
        assert host.storage.records == before
        assert entries(host) == logged

    run(scenario)
