"""The two steps of entering: what is verified has changed nothing, and what changes in between is seen by the second step."""

from __future__ import annotations

import asyncio

import pytest

from enclave.accounts.user import NO_EVIDENCE, Evidence
from protocol.accounts import AddCredential, ChangeCredential, RecoveryPending, RevokeSessionKeys
from tests.enclave.accounts.devices import (
    Phone,
    Signing,
    World,
    environment,
    in_world,
    session,
    with_recovery_key,
)
from tests.enclave.accounts.users import DAY, MINUTE, refused

# Each gives the request's first step, still to be awaited.


async def a_first_login(world: World):
    asking = session()
    return world.entry.steps.login(asking, Phone().login(world, asking))


async def a_login(world: World):
    phone, asking = Phone(), session()
    await phone.enter(world)
    phone.new_session_key()
    return world.entry.steps.login(asking, phone.login(world, asking))


async def a_renewal(world: World):
    old, asking = Phone(), session()
    await old.enter(world)
    return world.entry.steps.login(asking, Phone(old.subject).login(world, asking, previous=old))


async def a_key_login(world: World):
    key, asking = Signing(), session()
    made = await world.service_account(key)
    return world.entry.steps.key_login(asking, key.login(asking, made.user_id, Phone()))


async def a_recovery(world: World):
    actor = await Phone().enter(world)
    key = await with_recovery_key(world, actor, NO_EVIDENCE)
    return world.entry.steps.recover(*await Phone().recovery(world, actor.user_id, key))


WAYS = [a_first_login, a_login, a_renewal, a_key_login, a_recovery]


@pytest.mark.parametrize("lock", [0, 86400])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_is_verified_has_changed_nothing_until_it_is_committed(way, lock):
    async def scenario():
        world = World(environment(time_lock_s=lock))
        asked = await way(world)
        puts = world.storage.puts
        admitted = await asked
        assert (world.storage.puts, world.ended) == (puts, [])
        entered = await admitted.commit()
        assert world.storage.puts > puts
        if way is a_recovery and lock:
            assert admitted.actor is None
            assert entered == RecoveryPending(world.clock.now + DAY)
        else:
            assert entered.actor == admitted.actor
            assert entered.reply.created == (way is a_first_login)
        assert await world.directory.get(admitted.user_id)

    asyncio.run(scenario())


@in_world
async def test_a_refused_login_leaves_no_user_behind(world):
    old, new = Phone(), Phone()
    await old.enter(world)
    puts = world.storage.puts
    for request in (
        {"previous": old},  # somebody else's key
        {"previous": Phone()},  # nobody's
        {"proof": bytes(64)},
        {"jwt": world.token("new", exp=world.clock.now // 1000)},
    ):
        asking = session()
        with pytest.raises(Exception, match="session_key_rejected|evidence_invalid|jwt_expired"):
            await world.entry.login(asking, new.login(world, asking, **request))
    assert world.storage.puts == puts


@in_world
async def test_of_two_first_logins_at_once_one_makes_the_user_and_the_other_is_to_try_again(world):
    one, asking = Phone(), session()
    two, also = Phone(one.subject), session()
    first = await world.entry.steps.login(asking, one.login(world, asking))
    second = await world.entry.steps.login(also, two.login(world, also))
    assert first.user_id != second.user_id
    entered = await first.commit()
    with pytest.raises(Exception, match="user_conflict"):
        await second.commit()
    assert await world.directory.get(second.user_id) is None
    assert (await two.enter(world)).user_id == entered.actor.user_id


@in_world
async def test_a_login_that_was_admitted_twice_is_carried_out_once(world):
    phone, asking = Phone(), session()
    await phone.enter(world)
    phone.new_session_key()
    request = phone.login(world, asking)
    first, second = [await world.entry.steps.login(asking, request) for _ in range(2)]
    await first.commit()
    with refused("session_key_rejected"):
        await second.commit()


@in_world
async def test_a_login_that_waits_while_all_sessions_are_ended_is_refused(world):
    owner, thief, asking = Phone(), Phone(), session()
    actor = await owner.enter(world)
    admitted = await world.entry.steps.login(
        asking, thief.login(world, asking, jwt=world.token(owner.subject))
    )
    world.clock.now += MINUTE
    await world.accounts.revoke_session_keys(actor, RevokeSessionKeys([]))
    with refused("jwt_expired"):
        await admitted.commit()


@in_world
async def test_a_login_that_waits_until_its_token_has_expired_is_refused(world):
    admitted = await (await a_first_login(world))
    world.clock.now += 10 * MINUTE
    with refused("jwt_expired"):
        await admitted.commit()


@in_world
async def test_a_renewal_that_waits_while_the_old_key_is_revoked_is_refused(world):
    old, other, asking = Phone(), Phone(), session()
    await old.enter(world)
    other.subject = old.subject
    owner = await other.enter(world)
    admitted = await world.entry.steps.login(asking, Phone(old.subject).login(world, asking, previous=old))
    await world.accounts.revoke_session_keys(owner, RevokeSessionKeys([old.session_key]))
    with refused("session_key_rejected"):
        await admitted.commit()


@in_world
async def test_a_key_login_that_waits_while_the_key_is_deactivated_is_refused(world):
    key, second, asking, phone = Signing(), Signing(), session(), Phone()
    made = await world.service_account(key)
    actor = (await world.entry.key_login(asking, key.login(asking, made.user_id, phone))).actor
    evidence = Evidence(credential=made.credential_id)
    challenge = (await world.accounts.begin_credential(asking, actor)).challenge
    request = AddCredential(name="two", challenge=challenge, credential=second.registration(challenge))
    await world.accounts.add_credential(asking, actor, request, evidence)
    waiting = session()
    admitted = await world.entry.steps.key_login(waiting, key.login(waiting, made.user_id, Phone()))
    await world.accounts.change_credential(
        actor, ChangeCredential(made.credential_id, None, False), Evidence(credential=second.credential_id)
    )
    with refused("evidence_invalid"):
        await admitted.commit()


def test_a_recovery_that_waits_while_it_is_cancelled_neither_goes_on_nor_completes():
    async def scenario():
        world = World(environment(time_lock_s=86400))
        actor = await (owner := Phone()).enter(world)
        evidence = Evidence(credential=(await owner.add_passkey(world, actor, NO_EVIDENCE)).credential_id)
        key, new = await with_recovery_key(world, actor, evidence), Phone()
        _, request = begun = await new.recovery(world, actor.user_id, key)
        await world.entry.recover(*begun)
        looked = await world.entry.steps.recover(*new.asks_again(request))
        world.clock.now += DAY
        completing = await world.entry.steps.recover(*new.asks_again(request))
        assert (looked.actor, completing.actor.session_key) == (None, new.session_key)
        await world.accounts.cancel_recovery(await Phone(owner.subject).enter(world), evidence)
        for admitted in (looked, completing):
            with refused("recovery_refused"):
                await admitted.commit()
        assert (await world.directory.require(actor.user_id)).generation == 0

    asyncio.run(scenario())


@in_world
async def test_tokens_from_before_a_recovery_took_effect_are_refused_however_long_its_entry_took(world):
    actor = await (owner := Phone()).enter(world)
    key = await with_recovery_key(world, actor, NO_EVIDENCE)
    admitted = await world.entry.steps.recover(*await Phone().recovery(world, actor.user_id, key))
    world.clock.now += MINUTE
    stolen = world.token(owner.subject, issued_at_ms=world.clock.now - 1000)
    await admitted.commit()
    asking = session()
    with refused("jwt_expired"):
        await world.entry.login(asking, Phone().login(world, asking, jwt=stolen))
