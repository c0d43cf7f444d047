"""The requests of users about themselves, with real passkeys, keys and codes."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from enclave.accounts import credentials
from enclave.accounts.user import NO_EVIDENCE, Evidence
from enclave.authn import passkeys, totp
from protocol.accounts import (
    AddCredential,
    ChangeCredential,
    ConfirmTotp,
    HandOver,
    LinkLogin,
    RemoveCredential,
    RevokeSessionKeys,
    SetRecoveryKey,
    UnlinkLogin,
)
from protocol.actions import TotpCode
from protocol.envelope.messages import Done
from simulator.authenticator import AuthenticatorError
from tests.enclave.accounts.devices import (
    OTHER_ISSUER,
    RP,
    Phone,
    Signing,
    World,
    asking_here,
    environment,
    in_world,
    session,
)
from tests.enclave.accounts.users import DAY, MINUTE, NOW, USER_ID, refused

WALLET = "d0000000-0000-4000-8000-000000000000"


async def with_passkey(world):
    phone = Phone()
    actor = await phone.enter(world)
    passkey = await phone.add_passkey(world, actor, NO_EVIDENCE)
    return phone, actor, Evidence(credential=passkey.credential_id)


# --- what the user may see ---------------------------------------------------------------------------------------------------------


@in_world
async def test_a_new_user_has_a_login_and_nothing_else(world):
    actor = await Phone().enter(world)
    account = await world.accounts.get_account(actor)
    assert (account.user_id, account.kind_of_user) == (actor.user_id, "user")
    assert [one.issuer for one in account.logins] == ["https://issuer.example"]
    assert (account.credentials, account.totp, account.recovery_codes_left) == ([], False, 0)
    assert (account.recovery_key, account.recovery_not_before, account.locked_until) == (False, None, None)


@in_world
async def test_session_keys_are_listed_while_they_are_good(world):
    phone = Phone()
    laptop = Phone(phone.subject)
    actor = await phone.enter(world)
    world.clock.now += 1000
    await laptop.enter(world)
    listed = (await world.accounts.list_session_keys(actor)).keys
    assert [(one.session_key, one.current) for one in listed] == [
        (phone.session_key, True),
        (laptop.session_key, False),
    ]
    assert [one.expires_at - one.created_at for one in listed] == [DAY, DAY]
    world.clock.now = NOW + DAY
    assert [one.session_key for one in (await world.accounts.list_session_keys(actor)).keys] == [
        laptop.session_key
    ]


@in_world
async def test_session_keys_are_listed_as_long_as_a_stricter_policy_lets_them(world):
    actor = await Phone().enter(world)
    world.environment = replace(world.environment, session_lifetime_s=3600)
    world.restart()
    assert [one.expires_at for one in (await world.accounts.list_session_keys(actor)).keys] == [
        NOW + 3600_000
    ]
    world.clock.now += 3600_000
    assert (await world.accounts.list_session_keys(actor)).keys == []


@in_world
async def test_revoking_without_names_ends_all_other_sessions(world):
    phone = Phone()
    others = [Phone(phone.subject) for _ in range(3)]
    actor = await phone.enter(world)
    for other in others:
        await other.enter(world)
    assert await world.accounts.revoke_session_keys(actor, RevokeSessionKeys([])) == Done()
    assert world.ended == [(actor.user_id, frozenset(one.session_key for one in others))]
    assert len((await world.accounts.list_session_keys(actor)).keys) == 1


# --- logins ---------------------------------------------------------------------------------------------------------------------------


@in_world
async def test_a_second_login_is_linked_and_recovers_access_when_the_first_is_gone(world):
    phone = Phone()
    actor = await phone.enter(world)
    account = await world.accounts.link_login(
        actor, LinkLogin(world.token("else", issuer=OTHER_ISSUER)), NO_EVIDENCE
    )
    assert [one.issuer for one in account.logins] == ["https://issuer.example", OTHER_ISSUER]
    account = await world.accounts.unlink_login(actor, UnlinkLogin(account.logins[0].login), NO_EVIDENCE)
    assert [one.issuer for one in account.logins] == [OTHER_ISSUER]
    assert world.ended == [(actor.user_id, frozenset({phone.session_key}))]
    new, asking = Phone(), session()
    token = world.token("else", issuer=OTHER_ISSUER)
    assert (
        await world.entry.login(asking, new.login(world, asking, jwt=token))
    ).actor.user_id == actor.user_id
    assert (await Phone(phone.subject).enter(world)).user_id != actor.user_id


@in_world
async def test_a_login_of_somebody_else_cannot_be_linked(world):
    actor, other = await Phone().enter(world), Phone()
    await other.enter(world)
    with refused("login_taken"):
        await world.accounts.link_login(actor, LinkLogin(world.token(other.subject)), NO_EVIDENCE)


@in_world
async def test_a_login_is_linked_by_a_jwt_that_verifies_and_was_not_voided(world):
    actor = await Phone().enter(world)
    old = world.token("else")
    with refused("jwt_invalid"):
        await world.accounts.link_login(actor, LinkLogin(world.token("else", aud="another")), NO_EVIDENCE)
    world.clock.now += 5000
    await world.accounts.revoke_session_keys(actor, RevokeSessionKeys([]))
    with refused("jwt_expired"):
        await world.accounts.link_login(actor, LinkLogin(old), NO_EVIDENCE)


# --- credentials ----------------------------------------------------------------------------------------------------------------------


@in_world
async def test_what_a_browser_needs_for_a_registration(world):
    _, actor, evidence = await with_passkey(world)
    challenge = await world.accounts.begin_credential(session(), actor)
    assert (challenge.rp_id, challenge.user_verification) == ("app.example", "required")
    assert challenge.exclude == [evidence.credential]
    assert challenge.user_handle.hex() == actor.user_id.replace("-", "")
    first, second = [await world.accounts.begin_credential(session(), None) for _ in range(2)]
    assert first.exclude == second.exclude == []
    assert len({one.challenge for one in (challenge, first, second)}) == 3
    assert (
        len({one.user_handle for one in (challenge, first, second)}) == 3
    )  # none overwrites another's passkey


@in_world
async def test_a_registered_passkey_is_the_authenticators_and_its_assertions_verify(world):
    phone, actor, evidence = await with_passkey(world)
    record = await world.directory.require(actor.user_id)
    credential = credentials.find_active(record, evidence.credential)
    assertion = phone.authenticator.get(bytes(32), rp_id="app.example")
    count = passkeys.verify_assertion(assertion, challenge=bytes(32), credential=credential, relying_party=RP)
    assert count > 0
    after = await world.directory.change(
        actor.user_id, lambda r: credentials.used(r, evidence.credential, count)
    )
    with refused("evidence_invalid"):
        passkeys.verify_assertion(
            assertion, challenge=bytes(32), credential=after.credentials[0], relying_party=RP
        )


@in_world
async def test_a_challenge_is_good_once_in_one_session_for_five_minutes(world):
    phone = Phone()
    actor = await phone.enter(world)
    asking, elsewhere = session(), session()
    first, second = [(await world.accounts.begin_credential(asking, actor)).challenge for _ in range(2)]

    async def add(challenge, where):
        new = phone.passkey(challenge, actor.user_id)
        request = AddCredential(name="x", challenge=challenge, credential=new)
        await world.accounts.add_credential(where, actor, request, NO_EVIDENCE)

    with refused("evidence_invalid"):
        await add(first, elsewhere)
    await add(first, asking)
    with refused("evidence_invalid"):
        await add(first, asking)
    world.clock.now += 5 * MINUTE
    with refused("evidence_invalid"):
        await add(second, asking)


@in_world
async def test_a_failed_registration_uses_its_challenge_up(world):
    phone = Phone()
    actor, asking = await phone.enter(world), session()
    challenge = (await world.accounts.begin_credential(asking, actor)).challenge
    for new in (Signing().registration(bytes(32)), Signing().registration(challenge)):
        with refused("evidence_invalid"):
            await world.accounts.add_credential(
                asking, actor, AddCredential(name="x", challenge=challenge, credential=new), NO_EVIDENCE
            )
    assert (await world.directory.require(actor.user_id)).credentials == ()


@in_world
async def test_challenges_that_nobody_uses_are_limited(world):
    asking = session()
    for _ in range(3):
        await world.accounts.begin_credential(asking, None)
    with refused("challenge_limit"):
        await world.accounts.begin_credential(asking, None)


def test_an_environment_without_relying_party_has_keys_and_no_passkeys():
    async def scenario():
        world, phone, key = World(environment(passkeys=False)), Phone(), Signing()
        actor, asking = await phone.enter(world), session()
        begun = await world.accounts.begin_credential(asking, actor)
        assert (begun.rp_id, begun.user_verification) == ("", "required")
        new = phone.passkey(begun.challenge, actor.user_id)
        with refused("credential_refused"):
            await world.accounts.add_credential(
                asking, actor, AddCredential(name="x", challenge=begun.challenge, credential=new), NO_EVIDENCE
            )
        challenge = (await world.accounts.begin_credential(asking, actor)).challenge
        info = await world.accounts.add_credential(
            asking,
            actor,
            AddCredential(name="k", challenge=challenge, credential=key.registration(challenge)),
            NO_EVIDENCE,
        )
        assert (info.credential_id, info.type, info.active) == (key.credential_id, "key", True)

    asyncio.run(scenario())


@in_world
async def test_credentials_are_renamed_deactivated_and_removed(world):
    phone, actor, evidence = await with_passkey(world)
    second = await Phone().add_passkey(world, actor, evidence, name="second")
    change = lambda **what: world.accounts.change_credential(
        actor,
        ChangeCredential(**{"credential_id": second.credential_id, "name": None, "active": None, **what}),
        evidence,
    )
    assert (await change(name="tablet")).name == "tablet"
    assert not (await change(active=False)).active
    listed = (await world.accounts.get_account(actor)).credentials
    assert [(one.name, one.active) for one in listed] == [("phone", True), ("tablet", False)]
    with refused("last_credential"):
        await world.accounts.remove_credential(actor, RemoveCredential(evidence.credential), evidence)
    await world.accounts.remove_credential(actor, RemoveCredential(second.credential_id), evidence)
    assert len((await world.accounts.get_account(actor)).credentials) == 1


@in_world
async def test_a_second_device_is_added_by_a_code_that_the_first_one_made(world):
    first, actor, evidence = await with_passkey(world)
    made = await world.accounts.make_device_code(actor, evidence)
    assert made.expires_at == NOW + 10 * MINUTE
    second = Phone(first.subject)
    there = await second.enter(world)
    with refused("factor_required"):
        await second.add_passkey(world, there, NO_EVIDENCE)
    take = lambda: world.directory.change(
        there.user_id, lambda r: credentials.take_device_code(r, made.code, now_ms=world.clock.now)
    )
    await take()
    added = await second.add_passkey(world, there, Evidence(device_code=True), name="second")
    with refused("device_code_invalid"):
        await take()
    account = await world.accounts.get_account(actor)
    assert [one.credential_id for one in account.credentials] == [evidence.credential, added.credential_id]
    with pytest.raises(AuthenticatorError):  # the same device does not register twice
        await second.add_passkey(world, there, evidence)


@in_world
async def test_of_two_devices_that_use_one_code_at_once_one_gets_it(world):
    _, actor, evidence = await with_passkey(world)
    made = await world.accounts.make_device_code(actor, evidence)
    results = await asyncio.gather(
        *(
            world.directory.change(
                actor.user_id, lambda r: credentials.take_device_code(r, made.code, now_ms=NOW)
            )
            for _ in range(5)
        ),
        return_exceptions=True,
    )
    assert sorted(getattr(one, "code", "taken") for one in results) == ["device_code_invalid"] * 4 + ["taken"]


# --- second factors -------------------------------------------------------------------------------------------------------------------


@in_world
async def test_totp_is_enrolled_used_replaced_and_removed(world):
    _, actor, evidence = await with_passkey(world)
    secret = (await world.accounts.begin_totp(asking_here(), actor, evidence)).secret
    first = await world.accounts.confirm_totp(
        asking_here(), actor, ConfirmTotp(totp.code_of(secret, NOW // totp.STEP_MS))
    )
    assert len(set(first.codes)) == 10
    account = await world.accounts.get_account(actor)
    assert (account.totp, account.recovery_codes_left) == (True, 10)
    world.clock.now += MINUTE
    code = TotpCode(totp.code_of(secret, world.clock.now // totp.STEP_MS))
    await world.second_factors.spend(actor.user_id, code, world.clock.now)
    both = Evidence(credential=evidence.credential, second_factor=True)
    with refused("factor_required"):
        await world.accounts.new_recovery_codes(actor, evidence)
    second = await world.accounts.new_recovery_codes(actor, both)
    assert not set(first.codes) & set(second.codes)
    with refused("factor_required"):
        await world.accounts.remove_totp(actor, evidence)
    assert await world.accounts.remove_totp(actor, both) == Done()
    assert not (await world.accounts.get_account(actor)).totp


@in_world
async def test_a_wrong_code_confirms_nothing(world):
    actor = await Phone().enter(world)
    secret = (await world.accounts.begin_totp(asking_here(), actor, NO_EVIDENCE)).secret
    right = int(totp.code_of(secret, NOW // totp.STEP_MS))
    with refused("evidence_invalid"):
        await world.accounts.confirm_totp(
            asking_here(), actor, ConfirmTotp(f"{(right + 500_000) % 1_000_000:06d}")
        )
    assert not (await world.accounts.get_account(actor)).totp


# --- recovery key ---------------------------------------------------------------------------------------------------------------------


@in_world
async def test_a_recovery_key_is_set_and_taken_away(world):
    _, actor, evidence = await with_passkey(world)
    for public_key, expected in ((Signing().public_key, True), (None, False)):
        request = SetRecoveryKey(algorithm="ed25519", public_key=public_key)
        with refused("factor_required"):
            await world.accounts.set_recovery_key(actor, request, NO_EVIDENCE)
        await world.accounts.set_recovery_key(actor, request, evidence)
        assert (await world.accounts.get_account(actor)).recovery_key is expected


@pytest.mark.parametrize(
    ("algorithm", "key"), [("p256", Signing().public_key), ("ed25519", bytes(44)), ("rsa", bytes(300))]
)
def test_a_recovery_key_that_is_none_is_refused(algorithm, key):
    async def scenario():
        world = World()
        actor = await Phone().enter(world)
        with refused("evidence_invalid"):
            await world.accounts.set_recovery_key(
                actor, SetRecoveryKey(algorithm=algorithm, public_key=key), NO_EVIDENCE
            )

    asyncio.run(scenario())


# --- service accounts -----------------------------------------------------------------------------------------------------------------


@in_world
async def test_a_service_account_has_a_name_and_a_key_that_was_proven(world):
    key = Signing()
    made = await world.service_account(key, "payroll")
    record = await world.directory.require(made.user_id)
    assert (record.kind, record.name, record.logins) == ("service", "payroll", ())
    assert [one.credential_id for one in record.credentials] == [made.credential_id] == [key.credential_id]
    key.sign = lambda message: bytes(64)
    with refused("evidence_invalid"):
        await world.service_account(key)


@in_world
async def test_a_custodial_wallet_is_handed_over_to_its_user_for_good(world):
    key, phone = Signing(), Phone()
    made = await world.service_account(key)
    asking = session()
    robot = (await world.entry.key_login(asking, key.login(asking, made.user_id, phone))).actor
    user = await Phone().enter(world)
    assert (await world.wallets.claim(robot, WALLET, now_ms=NOW)).custody == "custodial"
    request = HandOver(wallet_id=WALLET, user_id=user.user_id)
    evidence = Evidence(credential=key.credential_id)
    with refused("factor_required"):
        await world.accounts.hand_over(robot, request, NO_EVIDENCE)
    with refused("user_unknown"):
        await world.accounts.hand_over(robot, HandOver(wallet_id=WALLET, user_id=USER_ID), evidence)
    assert await world.accounts.hand_over(robot, request, evidence) == Done()
    assert (await world.wallets.require_owner(user, WALLET)).custody == "delegated"
    with refused("not_owner"):
        await world.wallets.require_owner(robot, WALLET)
    for actor, back in ((robot, evidence), (user, NO_EVIDENCE)):
        with refused("not_owner" if actor is robot else "hand_over_final"):
            await world.accounts.hand_over(actor, HandOver(wallet_id=WALLET, user_id=made.user_id), back)
