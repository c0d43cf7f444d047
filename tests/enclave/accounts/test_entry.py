"""How a session becomes a user's, and who does not get in."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from enclave.accounts.entry import AUTH_WINDOW_MS
from enclave.accounts.user import NO_EVIDENCE, Evidence
from enclave.authn.session_keys import proof_digest
from protocol.accounts import (
    AddCredential,
    ChangeCredential,
    LinkLogin,
    NewPasskey,
    RecoveryPending,
    RevokeSessionKeys,
    SetRecoveryKey,
    UnlinkLogin,
)
from protocol.envelope.errors import CosignerError, Culprit
from tests.enclave.accounts.devices import (
    OTHER_ISSUER,
    Phone,
    Signing,
    World,
    environment,
    in_world,
    session,
    with_recovery_key,
)
from tests.enclave.accounts.hostile import Died, unavailable
from tests.enclave.accounts.users import DAY, MINUTE, NOW, USER_ID, refused

DIGEST = b"\x0d" * 32


# --- logins ---------------------------------------------------------------------------------------------------------------------------


@in_world
async def test_a_jwt_registers_a_session_key_and_makes_the_user(world):
    phone, asking = Phone(), session()
    entered = await world.entry.login(asking, phone.login(world, asking))
    assert (entered.reply.created, entered.reply.user_id) == (True, entered.actor.user_id)
    assert entered.reply.session_key_expires_at == entered.actor.expires_at_ms == NOW + DAY
    assert (entered.actor.kind, entered.actor.session_key) == ("user", phone.session_key)
    assert entered.actor.factors == {"session_key"}
    assert world.ended == []


@in_world
async def test_the_same_login_is_the_same_user_on_every_device(world):
    phone = Phone()
    laptop, stranger = Phone(phone.subject), Phone()
    first, second, third = [await device.enter(world) for device in (phone, laptop, stranger)]
    assert first.user_id == second.user_id != third.user_id


@in_world
async def test_the_same_subject_at_another_issuer_is_somebody_else(world):
    phone = Phone()
    first = await phone.enter(world)
    other, asking = Phone(phone.subject), session()
    token = world.token(phone.subject, issuer=OTHER_ISSUER)
    second = await world.entry.login(asking, other.login(world, asking, jwt=token))
    assert second.actor.user_id != first.user_id


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": NOW // 1000 - 1}, "jwt_expired"),
        ({"iss": "https://evil.example"}, "issuer_unknown"),
        ({"aud": "another"}, "jwt_invalid"),
        ({"environment_id": "live"}, "jwt_invalid"),
        ({"scope": "openid"}, "jwt_invalid"),
        ({"scope": "user:basic requiresAdditionalAuth"}, "jwt_invalid"),
    ],
)
def test_a_jwt_that_does_not_verify_makes_no_user_and_no_session(claims, code):
    async def scenario():
        world, phone, asking = World(), Phone(), session()
        with refused(code):
            await world.entry.login(
                asking, phone.login(world, asking, jwt=world.token(phone.subject, **claims))
            )
        assert world.storage.puts == 0

    asyncio.run(scenario())


@in_world
async def test_a_session_key_whose_possession_is_not_proven_in_this_session_is_refused(world):
    phone, asking = Phone(), session()
    for proof in (
        phone.sign(proof_digest(session().transcript, phone.session_key)),
        Phone().sign(proof_digest(asking.transcript, phone.session_key)),
        bytes(64),
    ):
        with refused("evidence_invalid"):
            await world.entry.login(asking, phone.login(world, asking, proof=proof))
    assert world.storage.puts == 0


@in_world
async def test_a_renewal_replaces_the_old_key_and_ends_its_sessions(world):
    old = Phone()
    actor = await old.enter(world)
    new, asking = Phone(old.subject), session()
    world.clock.now += DAY - 1
    entered = await world.entry.login(asking, new.login(world, asking, previous=old))
    assert entered.actor.user_id == actor.user_id
    assert entered.actor.expires_at_ms == world.clock.now + DAY
    assert world.ended == [(actor.user_id, frozenset({old.session_key}))]
    with refused("session_key_rejected"):
        await world.entry.authenticate(old.hello(actor.user_id, DIGEST, at=world.clock.now), DIGEST)


@in_world
async def test_a_renewal_without_the_old_keys_signature_is_refused(world):
    old = Phone()
    await old.enter(world)
    new, asking = Phone(old.subject), session()
    request = new.login(world, asking, previous=old)
    for altered in (
        replace(request, previous_proof=None),
        replace(request, previous=None),
        replace(request, previous_proof=request.proof),
    ):
        with refused("evidence_invalid"):
            await world.entry.login(asking, altered)


@in_world
async def test_somebody_elses_key_cannot_be_renewed(world):
    old, thief, asking = Phone(), Phone(), session()
    await old.enter(world)
    with refused("session_key_rejected"):
        await world.entry.login(asking, thief.login(world, asking, previous=old))


@in_world
async def test_an_expired_key_cannot_be_renewed(world):
    old, asking = Phone(), session()
    await old.enter(world)
    world.clock.now += DAY
    new = Phone(old.subject)
    with refused("session_key_expired"):
        await world.entry.login(asking, new.login(world, asking, previous=old))


@in_world
async def test_a_stolen_jwt_is_void_once_the_user_ends_all_sessions(world):
    phone, thief = Phone(), Phone()
    actor = await phone.enter(world)
    stolen = world.token(phone.subject)
    world.clock.now += 5000
    await world.accounts.revoke_session_keys(actor, RevokeSessionKeys([]))
    asking = session()
    with refused("jwt_expired"):
        await world.entry.login(asking, thief.login(world, asking, jwt=stolen))
    phone.new_session_key()
    assert await phone.enter(world)


@pytest.mark.parametrize(
    "fault", [("before", Died), ("after", Died), ("before", unavailable()), ("after", unavailable())]
)
@pytest.mark.parametrize("write", range(3))
def test_a_first_login_that_is_cut_short_at_any_write_can_be_repeated_with_a_new_key(write, fault):
    async def scenario():
        world, phone = World(), Phone()
        world.storage.faults = [None] * write + [fault]
        with pytest.raises((Died, CosignerError)):
            await phone.enter(world)
        world.restart()
        phone.new_session_key()
        actor = await phone.enter(world)
        world.restart()
        assert await world.entry.authenticate(phone.hello(actor.user_id, DIGEST, at=NOW), DIGEST) == actor

    asyncio.run(scenario())


@in_world
async def test_a_login_that_is_unlinked_at_the_same_moment_registers_nothing(world):
    phone = Phone()
    actor = await phone.enter(world)
    await world.accounts.link_login(actor, LinkLogin(world.token("second")), NO_EVIDENCE)
    late, asking = Phone(phone.subject), session()
    admitted = await world.entry.steps.login(asking, late.login(world, asking))
    (first, _) = (await world.accounts.get_account(actor)).logins
    await world.accounts.unlink_login(actor, UnlinkLogin(first.login), NO_EVIDENCE)
    with refused("jwt_invalid"):
        await admitted.commit()
    assert (await world.directory.require(actor.user_id)).session_keys == ()


# --- session keys in a hello --------------------------------------------------------------------------------------------------------


@in_world
async def test_a_session_key_opens_sessions_of_its_user_also_in_the_next_enclave(world):
    phone = Phone()
    actor = await phone.enter(world)
    for _ in range(2):
        auth = phone.hello(actor.user_id, DIGEST, at=NOW)
        assert await world.entry.authenticate(auth, DIGEST) == actor
        world.restart()


@in_world
async def test_an_expired_session_key_opens_nothing(world):
    phone = Phone()
    actor = await phone.enter(world)
    world.clock.now = actor.expires_at_ms
    with refused("session_key_expired"):
        await world.entry.authenticate(phone.hello(actor.user_id, DIGEST, at=world.clock.now), DIGEST)


@in_world
async def test_a_revoked_session_key_opens_nothing_and_its_sessions_end(world):
    phone = Phone()
    laptop = Phone(phone.subject)
    actor = await phone.enter(world)
    await laptop.enter(world)
    await world.accounts.revoke_session_keys(actor, RevokeSessionKeys([laptop.session_key]))
    assert world.ended == [(actor.user_id, frozenset({laptop.session_key}))]
    for _ in range(2):
        with refused("session_key_rejected"):
            await world.entry.authenticate(laptop.hello(actor.user_id, DIGEST, at=NOW), DIGEST)
        world.restart()
    assert await world.entry.authenticate(phone.hello(actor.user_id, DIGEST, at=NOW), DIGEST)


@in_world
async def test_a_hello_that_the_session_key_did_not_sign_opens_nothing(world):
    phone = Phone()
    actor = await phone.enter(world)
    auth = phone.hello(actor.user_id, DIGEST, at=NOW)
    for altered, digest in (
        (replace(auth, signature=bytes(64)), DIGEST),
        (replace(auth, signature=Phone().sign(DIGEST)), DIGEST),
        (auth, b"\x0e" * 32),
        (replace(auth, user_id=USER_ID), DIGEST),
        (Phone().hello(actor.user_id, DIGEST, at=NOW), DIGEST),
    ):
        with refused("session_key_rejected"):
            await world.entry.authenticate(altered, digest)


@in_world
async def test_one_users_session_key_opens_no_session_of_another(world):
    phone, other = Phone(), Phone()
    await phone.enter(world)
    victim = await other.enter(world)
    with refused("session_key_rejected"):
        await world.entry.authenticate(phone.hello(victim.user_id, DIGEST, at=NOW), DIGEST)


@pytest.mark.parametrize(
    ("offset", "good"),
    [
        (0, True),
        (AUTH_WINDOW_MS, True),
        (-AUTH_WINDOW_MS, True),
        (AUTH_WINDOW_MS + 1, False),
        (-AUTH_WINDOW_MS - 1, False),
    ],
)
def test_a_hello_is_good_for_a_few_minutes(offset, good):
    async def scenario():
        world, phone = World(), Phone()
        actor = await phone.enter(world)
        auth = phone.hello(actor.user_id, DIGEST, at=NOW + offset)
        if good:
            assert await world.entry.authenticate(auth, DIGEST) == actor
        else:
            with refused("session_key_rejected"):
                await world.entry.authenticate(auth, DIGEST)

    asyncio.run(scenario())


# --- service accounts ---------------------------------------------------------------------------------------------------------------


@in_world
async def test_a_service_accounts_key_registers_a_session_key(world):
    key, phone, asking = Signing(), Phone(), session()
    made = await world.service_account(key)
    entered = await world.entry.key_login(asking, key.login(asking, made.user_id, phone))
    assert (entered.actor.kind, entered.actor.user_id) == ("service", made.user_id)
    assert entered.actor.expires_at_ms == NOW + 3600_000
    auth = phone.hello(made.user_id, DIGEST, at=NOW)
    assert await world.entry.authenticate(auth, DIGEST) == entered.actor


@in_world
async def test_who_is_not_vouched_for_by_an_active_key_of_a_service_account_is_refused_alike(world):
    key, other, phone, asking = Signing(), Signing(), Phone(), session()
    made = await world.service_account(key)
    actor = await phone.enter(world)
    phone.new_session_key()
    good = key.login(asking, made.user_id, phone)
    messages = set()
    for request in (
        replace(good, user_id=USER_ID),
        replace(good, user_id=actor.user_id),
        other.login(asking, made.user_id, phone),
        replace(good, credential_id=other.credential_id),
        replace(good, signature=other.sign(DIGEST)),
        replace(good, proof=bytes(64)),
        key.login(session(), made.user_id, phone),
    ):
        with refused("evidence_invalid") as caught:
            await world.entry.key_login(asking, request)
        messages.add(caught.value.message)
    assert len(messages) == 2  # no account's key vouches; or the signature does not hold
    assert await world.entry.key_login(asking, good)


@in_world
async def test_a_users_own_key_does_not_log_in(world):
    key, phone, asking = Signing(), Phone(), session()
    actor = await phone.enter(world)
    challenge = (await world.accounts.begin_credential(asking, actor)).challenge
    request = AddCredential(name="k", challenge=challenge, credential=key.registration(challenge))
    await world.accounts.add_credential(asking, actor, request, NO_EVIDENCE)
    phone.new_session_key()
    with refused("evidence_invalid"):
        await world.entry.key_login(asking, key.login(asking, actor.user_id, phone))


@in_world
async def test_a_deactivated_key_logs_nobody_in_and_ends_the_sessions_that_it_opened(world):
    key, second, phone, asking = Signing(), Signing(), Phone(), session()
    made = await world.service_account(key)
    actor = (await world.entry.key_login(asking, key.login(asking, made.user_id, phone))).actor
    challenge = (await world.accounts.begin_credential(asking, actor)).challenge
    await world.accounts.add_credential(
        asking,
        actor,
        AddCredential(name="second", challenge=challenge, credential=second.registration(challenge)),
        Evidence(credential=key.credential_id),
    )
    await world.accounts.change_credential(
        actor,
        ChangeCredential(credential_id=key.credential_id, name=None, active=False),
        Evidence(credential=second.credential_id),
    )
    assert world.ended == [(made.user_id, frozenset({phone.session_key}))]
    phone.new_session_key()
    with refused("evidence_invalid"):
        await world.entry.key_login(asking, key.login(asking, made.user_id, phone))
    assert await world.entry.key_login(asking, second.login(asking, made.user_id, phone))


# --- recovery -----------------------------------------------------------------------------------------------------------------------


async def lost_phone(world):
    """A user whose phone is at the bottom of the sea: (user id, old phone, recovery key)."""
    phone = Phone()
    actor = await phone.enter(world)
    passkey = await phone.add_passkey(world, actor, NO_EVIDENCE)
    key = await with_recovery_key(world, actor, Evidence(credential=passkey.credential_id))
    return actor.user_id, phone, key, Evidence(credential=passkey.credential_id)


@in_world
async def test_the_recovery_key_puts_a_new_device_in_the_place_of_everything(world):
    user_id, old, key, evidence = await lost_phone(world)
    new = Phone(old.subject)
    asking, request = await new.recovery(world, user_id, key)
    entered = await world.entry.recover(asking, request)
    assert (entered.reply.user_id, entered.reply.created) == (user_id, False)
    assert entered.actor.session_key == new.session_key
    assert world.ended == [(user_id, frozenset({old.session_key}))]
    record = await world.directory.require(user_id)
    assert [one.credential_id for one in record.credentials] == list(new.authenticator.credentials)
    assert record.generation == 1
    with refused("session_key_rejected"):
        await world.entry.authenticate(old.hello(user_id, DIGEST, at=NOW), DIGEST)
    with refused("factor_required"):
        await old.add_passkey(world, entered.actor, evidence)
    assert await world.entry.authenticate(new.hello(user_id, DIGEST, at=NOW), DIGEST) == entered.actor


@in_world
async def test_a_jwt_from_before_the_recovery_is_void(world):
    user_id, old, key, _ = await lost_phone(world)
    stolen = world.token(old.subject)
    world.clock.now += 5000
    await world.entry.recover(*await Phone().recovery(world, user_id, key))
    thief, asking = Phone(), session()
    with refused("jwt_expired"):
        await world.entry.login(asking, thief.login(world, asking, jwt=stolen))
    assert (await Phone(old.subject).enter(world)).user_id == user_id


@in_world
async def test_a_recovery_that_the_key_did_not_sign_is_refused_as_for_nobody(world):
    user_id, _, key, _ = await lost_phone(world)
    nobody = await Phone().enter(world)
    new = Phone()
    refusals = set()
    for request in (
        await new.recovery(world, user_id, Signing()),
        await new.recovery(world, nobody.user_id, key),
        await new.recovery(world, USER_ID, key),
    ):
        with refused("recovery_refused") as caught:
            await world.entry.recover(*request)
        refusals.add((caught.value.code, caught.value.message))
    assert len(refusals) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "live"},
        {"user_id": "c0000000-0000-4000-8000-000000000000"},
        {"session": bytes(32)},
        {"challenge": bytes(32)},
        {"name": "mine"},
        {"credential": NewPasskey(client_data_json=b"{}", attestation_object=b"x", discoverable=False)},
        {"session_key": Phone().session_key},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_recovery_with_another_subject_than_was_signed_is_refused(change):
    async def scenario():
        world = World()
        user_id, _, key, _ = await lost_phone(world)
        new = Phone()
        request = await new.recovery(world, user_id, key, signed=change)
        with refused("recovery_refused"):
            await world.entry.recover(*request)
        assert await world.entry.recover(
            *await new.recovery(world, user_id, key, signed={"name": "new phone"})
        )

    asyncio.run(scenario())


@in_world
async def test_a_recovery_is_good_in_its_own_session_and_once(world):
    user_id, _, key, _ = await lost_phone(world)
    new = Phone()
    asking, request = await new.recovery(world, user_id, key)
    elsewhere, again = new.asks_again(request)
    with refused("recovery_refused"):
        await world.entry.recover(elsewhere, again)
    await world.entry.recover(asking, request)
    for repeated in ((asking, request), new.asks_again(request)):
        with pytest.raises(CosignerError) as caught:
            await world.entry.recover(*repeated)
        assert caught.value.code in {"recovery_refused", "evidence_invalid"}
    assert (await world.directory.require(user_id)).generation == 1


@in_world
async def test_a_recovery_with_a_challenge_that_is_not_of_the_session_or_too_old_is_refused(world):
    user_id, _, key, _ = await lost_phone(world)
    asking, request = await Phone().recovery(world, user_id, key)
    world.clock.now += 5 * MINUTE
    with refused("evidence_invalid"):
        await world.entry.recover(asking, request)


@in_world
async def test_a_new_session_key_that_its_owner_did_not_prove_is_refused(world):
    user_id, _, key, _ = await lost_phone(world)
    asking, request = await Phone().recovery(world, user_id, key)
    with refused("evidence_invalid"):
        await world.entry.recover(asking, replace(request, proof=bytes(64)))


# --- recovery: time lock and release gate -----------------------------------------------------------------------------------------------


def locked():
    return World(environment(time_lock_s=2 * 86400))


def test_a_time_lock_makes_the_recovery_wait_and_the_same_request_completes_it():
    async def scenario():
        world = locked()
        user_id, old, key, _ = await lost_phone(world)
        new = Phone()
        asking, request = await new.recovery(world, user_id, key)
        assert await world.entry.recover(asking, request) == RecoveryPending(NOW + 2 * DAY)
        account = await world.accounts.get_account(await Phone(old.subject).enter(world))
        assert account.recovery_not_before == NOW + 2 * DAY
        world.restart()
        world.clock.now = NOW + 2 * DAY - 1
        assert await world.entry.recover(*new.asks_again(request)) == RecoveryPending(NOW + 2 * DAY)
        assert len((await world.directory.require(user_id)).session_keys) == 2
        world.clock.now = NOW + 2 * DAY
        entered = await world.entry.recover(*new.asks_again(request))
        assert entered.actor.session_key == new.session_key
        record = await world.directory.require(user_id)
        assert [one.credential_id for one in record.credentials] == list(new.authenticator.credentials)

    asyncio.run(scenario())


def test_who_saw_a_waiting_request_cannot_complete_it_without_the_new_session_key():
    async def scenario():
        world = locked()
        user_id, _, key, _ = await lost_phone(world)
        new, thief = Phone(), Phone()
        asking, request = await new.recovery(world, user_id, key)
        await world.entry.recover(asking, request)
        world.clock.now += 2 * DAY
        elsewhere, seen = new.asks_again(request)
        with refused("evidence_invalid"):
            await world.entry.recover(session(), seen)
        with refused("evidence_invalid"):
            await world.entry.recover(*thief.asks_again(request))
        with refused("evidence_invalid"):
            await world.entry.recover(elsewhere, replace(seen, session_key=thief.session_key))

    asyncio.run(scenario())


def test_an_active_credential_cancels_a_waiting_recovery_and_the_request_is_void():
    async def scenario():
        world = locked()
        user_id, old, key, evidence = await lost_phone(world)
        new = Phone()
        asking, request = await new.recovery(world, user_id, key)
        await world.entry.recover(asking, request)
        actor = await Phone(old.subject).enter(world)
        with refused("factor_required"):
            await world.accounts.cancel_recovery(actor, NO_EVIDENCE)
        await world.accounts.cancel_recovery(actor, evidence)
        world.clock.now += 2 * DAY
        for repeated in (new.asks_again(request), (asking, request)):
            with pytest.raises(CosignerError) as caught:
                await world.entry.recover(*repeated)
            assert caught.value.code in {"recovery_refused", "evidence_invalid"}
        assert (await world.directory.require(user_id)).generation == 0

    asyncio.run(scenario())


def test_a_new_request_starts_the_time_lock_anew():
    async def scenario():
        world = locked()
        user_id, _, key, _ = await lost_phone(world)
        first, second = Phone(), Phone()
        _, old = request = await first.recovery(world, user_id, key)
        await world.entry.recover(*request)
        world.clock.now += DAY
        await world.entry.recover(*await second.recovery(world, user_id, key))
        world.clock.now += DAY
        with refused("recovery_refused"):
            await world.entry.recover(*first.asks_again(old))

    asyncio.run(scenario())


def test_a_recovery_without_the_release_gates_signature_is_refused():
    async def scenario():
        gate = Signing()
        world = World(environment(gate=gate.administrator()))
        user_id, _, key, _ = await lost_phone(world)
        new = Phone()
        for wrong in (None, Signing(), key):
            with refused("recovery_refused"):
                await world.entry.recover(*await new.recovery(world, user_id, key, gate=wrong))
        with refused("recovery_refused"):
            await world.entry.recover(*await new.recovery(world, user_id, gate, gate=gate))
        assert await world.entry.recover(*await new.recovery(world, user_id, key, gate=gate))

    asyncio.run(scenario())


def test_a_released_recovery_needs_the_gates_signature_again_when_it_completes():
    async def scenario():
        gate = Signing()
        world = World(environment(time_lock_s=86400, gate=gate.administrator()))
        user_id, _, key, _ = await lost_phone(world)
        new = Phone()
        _, request = started = await new.recovery(world, user_id, key, gate=gate)
        await world.entry.recover(*started)
        world.clock.now += DAY
        asking, again = new.asks_again(request)
        with refused("recovery_refused"):
            await world.entry.recover(asking, replace(again, gate=None))
        assert await world.entry.recover(asking, again)

    asyncio.run(scenario())


@in_world
async def test_a_gates_signature_where_there_is_no_gate_is_refused(world):
    user_id, _, key, _ = await lost_phone(world)
    with refused("recovery_refused"):
        await world.entry.recover(*await Phone().recovery(world, user_id, key, gate=Signing()))


@in_world
async def test_a_recovery_key_that_is_replaced_meanwhile_recovers_nobody(world):
    """The key changes between the check of its signature and the change of the record."""
    user_id, old, key, evidence = await lost_phone(world)
    actor = await Phone(old.subject).enter(world)
    admitted = await world.entry.steps.recover(*await Phone().recovery(world, user_id, key))
    other = SetRecoveryKey(algorithm="ed25519", public_key=Signing().public_key)
    await world.accounts.set_recovery_key(actor, other, evidence)
    with refused("recovery_refused"):
        await admitted.commit()
    assert (await world.directory.require(user_id)).generation == 0


@pytest.mark.parametrize(
    "fault", [("before", Died), ("after", Died), ("before", unavailable()), ("after", unavailable())]
)
def test_a_recovery_that_is_cut_short_has_happened_entirely_or_not_at_all(fault):
    async def scenario():
        world = World()
        user_id, old, key, _ = await lost_phone(world)
        new = Phone()
        asking, request = await new.recovery(world, user_id, key)
        world.storage.faults = [fault]
        with pytest.raises((Died, CosignerError)) as caught:
            await world.entry.recover(asking, request)
        assert isinstance(caught.value, Died) or caught.value.culprit is Culprit.STORAGE
        world.restart()
        record = await world.directory.require(user_id)
        recovered = record.generation == 1
        assert recovered == (fault[0] == "after")
        good = new if recovered else old
        for phone in (old, new):
            auth = phone.hello(user_id, DIGEST, at=NOW)
            if phone is good:
                assert await world.entry.authenticate(auth, DIGEST)
            else:
                with refused("session_key_rejected"):
                    await world.entry.authenticate(auth, DIGEST)
        if not recovered:
            assert await world.entry.recover(*await new.recovery(world, user_id, key))

    asyncio.run(scenario())
