"""What a host gains that restarts the enclave over an older state of its storage: as much as ``docs/limitations.md`` says, and no more.

Within one life of the enclave it gains nothing: see :mod:`.test_records`.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from enclave.accounts import credentials
from enclave.accounts.user import NO_EVIDENCE, Evidence
from enclave.authn import totp
from protocol.accounts import (
    ChangeCredential,
    ConfirmTotp,
    HandOver,
    LinkLogin,
    RevokeSessionKeys,
    UnlinkLogin,
)
from protocol.actions import RecoveryCode, TotpCode
from protocol.envelope.errors import CosignerError, Culprit
from tests.enclave.accounts.devices import (
    Phone,
    Signing,
    World,
    asking_here,
    in_world,
    session,
    with_recovery_key,
)
from tests.enclave.accounts.users import DAY, MINUTE, NOW, add, refused

DIGEST = b"\x0d" * 32
WALLET = "d0000000-0000-4000-8000-000000000000"
LATER = "e0000000-0000-4000-8000-000000000000"


def stale(caught):
    return (caught.value.code, caught.value.culprit) == ("epoch_stale", Culprit.STORAGE)


async def with_passkey(world):
    phone = Phone()
    actor = await phone.enter(world)
    passkey = await phone.add_passkey(world, actor, NO_EVIDENCE)
    return phone, actor, Evidence(credential=passkey.credential_id)


@in_world
async def test_within_one_life_no_older_state_of_a_user_is_believed(world):
    phone, actor, _ = await with_passkey(world)
    before = world.storage.snapshot()
    await world.accounts.revoke_session_keys(actor, RevokeSessionKeys([phone.session_key]))
    world.storage.roll_back(before)
    world.directory._records._cache.clear()
    with pytest.raises(CosignerError) as caught:
        await world.entry.authenticate(phone.hello(actor.user_id, DIGEST, at=NOW), DIGEST)
    assert stale(caught)


@in_world
async def test_a_revoked_session_key_is_good_again_until_it_would_have_expired(world):
    thief = Phone()
    laptop = Phone(thief.subject)
    stolen = await thief.enter(world)
    actor = await laptop.enter(world)
    before = world.storage.snapshot()
    await world.accounts.revoke_session_keys(actor, RevokeSessionKeys([]))
    world.storage.roll_back(before)
    world.restart()
    assert await world.entry.authenticate(thief.hello(actor.user_id, DIGEST, at=NOW), DIGEST) == stolen
    world.clock.now = NOW + DAY
    with refused("session_key_expired"):
        await world.entry.authenticate(thief.hello(actor.user_id, DIGEST, at=world.clock.now), DIGEST)


@in_world
async def test_a_deactivated_credential_vouches_again_and_an_undone_recovery_is_undone(world):
    _, actor, evidence = await with_passkey(world)
    second = await Phone().add_passkey(world, actor, evidence)
    before = world.storage.snapshot()
    lost = ChangeCredential(credential_id=evidence.credential, name=None, active=False)
    await world.accounts.change_credential(actor, lost, Evidence(credential=second.credential_id))
    world.storage.roll_back(before)
    world.restart()
    record = await world.directory.require(actor.user_id)
    assert credentials.find_active(record, evidence.credential)


@in_world
async def test_an_unlinked_login_logs_in_again(world):
    phone = Phone()
    actor = await phone.enter(world)
    await world.accounts.link_login(actor, LinkLogin(world.token("stolen-account")), NO_EVIDENCE)
    before = world.storage.snapshot()
    login = (await world.accounts.get_account(actor)).logins[1].login
    await world.accounts.unlink_login(actor, UnlinkLogin(login), NO_EVIDENCE)
    world.storage.roll_back(before)
    world.restart()
    thief = Phone("stolen-account")
    assert (await thief.enter(world)).user_id == actor.user_id


@in_world
async def test_rolling_back_the_login_index_alone_gives_nothing(world):
    phone = Phone()
    actor = await phone.enter(world)
    await world.accounts.link_login(actor, LinkLogin(world.token("stolen-account")), NO_EVIDENCE)
    before = world.storage.snapshot()
    login = (await world.accounts.get_account(actor)).logins[1].login
    await world.accounts.unlink_login(actor, UnlinkLogin(login), NO_EVIDENCE)
    world.storage.roll_back(before, "logins/")
    world.restart()
    world.clock.now += 2 * MINUTE
    assert (await Phone("stolen-account").enter(world)).user_id != actor.user_id


@in_world
async def test_dropping_the_login_index_makes_a_new_user_without_the_old_ones_wallets(world):
    phone = Phone()
    actor = await phone.enter(world)
    await world.wallets.claim(actor, WALLET, now_ms=NOW)
    world.storage.roll_back({}, "logins/")
    world.restart()
    stranger = await Phone(phone.subject).enter(world)
    assert stranger.user_id != actor.user_id
    with refused("not_owner"):
        await world.wallets.require_owner(stranger, WALLET)


@in_world
async def test_a_used_code_works_again_while_it_is_on_the_display(world):
    actor = await Phone().enter(world)
    secret = (await world.accounts.begin_totp(asking_here(), actor, NO_EVIDENCE)).secret
    await world.accounts.confirm_totp(
        asking_here(), actor, ConfirmTotp(totp.code_of(secret, NOW // totp.STEP_MS))
    )
    world.clock.now += MINUTE
    code = TotpCode(totp.code_of(secret, world.clock.now // totp.STEP_MS))
    before = world.storage.snapshot()
    await world.second_factors.spend(actor.user_id, code, world.clock.now)
    world.storage.roll_back(before)
    world.restart()
    await world.second_factors.spend(actor.user_id, code, world.clock.now)
    world.storage.roll_back(before)
    world.restart()
    with refused("evidence_invalid"):
        await world.second_factors.spend(actor.user_id, code, world.clock.now + 2 * totp.STEP_MS)


@in_world
async def test_used_recovery_codes_and_device_codes_work_again(world):
    _, actor, evidence = await with_passkey(world)
    secret = (await world.accounts.begin_totp(asking_here(), actor, evidence)).secret
    right = totp.code_of(secret, NOW // totp.STEP_MS)
    recovery_code = RecoveryCode(
        (await world.accounts.confirm_totp(asking_here(), actor, ConfirmTotp(right))).codes[0]
    )
    device_code = (await world.accounts.make_device_code(actor, evidence)).code

    async def use_both():
        await world.second_factors.spend(actor.user_id, recovery_code, world.clock.now)
        await world.directory.change(
            actor.user_id,
            lambda record: credentials.take_device_code(record, device_code, now_ms=world.clock.now),
        )

    before = world.storage.snapshot()
    for _ in range(2):
        await use_both()
        world.storage.roll_back(before)
        world.restart()
    world.clock.now += 10 * MINUTE
    with refused("device_code_invalid"):
        await use_both()


@in_world
async def test_every_restart_gives_two_guesses_at_a_code_and_not_five(world):
    actor = await Phone().enter(world)
    secret = (await world.accounts.begin_totp(asking_here(), actor, NO_EVIDENCE)).secret
    right = totp.code_of(secret, NOW // totp.STEP_MS)
    await world.accounts.confirm_totp(asking_here(), actor, ConfirmTotp(right))
    before = world.storage.snapshot()
    guesses = 0
    for _ in range(10):
        world.storage.roll_back(before)
        world.restart()
        for number in range(8):
            with pytest.raises(CosignerError) as caught:
                await world.second_factors.spend(
                    actor.user_id, TotpCode(f"{(int(right) + 500_000 + number) % 1_000_000:06d}"), NOW
                )
            guesses += caught.value.code == "evidence_invalid"
    assert guesses == 20


@in_world
async def test_a_user_rolled_back_to_before_the_first_credential_has_no_wallet(world):
    """The rollback that would cost most: a user without credentials is whoever has the login. The wallet knows that there was one."""
    phone = Phone()
    actor = await phone.enter(world)
    bare = world.storage.snapshot()
    await phone.add_passkey(world, actor, NO_EVIDENCE)
    await world.wallets.claim(actor, WALLET, now_ms=NOW)
    world.storage.roll_back(bare, "users/")
    world.restart()
    stolen_login = Phone(phone.subject)
    thief = await stolen_login.enter(world)
    assert thief.user_id == actor.user_id
    for _ in range(10):  # whatever the thief then does
        with pytest.raises(CosignerError) as caught:
            await world.wallets.require_owner(thief, WALLET)
        assert stale(caught)
        evidence = Evidence(credential=next(iter(stolen_login.authenticator.credentials), None))
        stolen_login.authenticator.credentials.clear()
        with contextlib.suppress(CosignerError):
            await stolen_login.add_passkey(world, thief, evidence)


@in_world
async def test_registering_the_lost_credential_again_does_not_bring_the_wallet_back(world):
    """Nobody proves a passkey's possession when there is no attestation: its id and public key, which the log shows, are enough to
    register it. The thief could set a recovery key first, and then be the user with that very credential.
    """
    phone = Phone()
    actor = await phone.enter(world)
    bare = world.storage.snapshot()
    await phone.add_passkey(world, actor, NO_EVIDENCE)
    (genuine,) = (await world.directory.require(actor.user_id)).credentials
    await world.wallets.claim(actor, WALLET, now_ms=NOW)
    world.storage.roll_back(bare, "users/")
    world.restart()
    thief = await Phone(phone.subject).enter(world)
    await with_recovery_key(world, thief, NO_EVIDENCE)
    await world.directory.change(thief.user_id, lambda record: add(record, genuine, NO_EVIDENCE))
    with pytest.raises(CosignerError) as caught:
        await world.wallets.require_owner(thief, WALLET)
    assert stale(caught)


@in_world
async def test_a_second_factor_that_was_enrolled_is_not_asked_for_any_more(world):
    _, actor, evidence = await with_passkey(world)
    before = world.storage.snapshot()
    secret = (await world.accounts.begin_totp(asking_here(), actor, evidence)).secret
    await world.accounts.confirm_totp(
        asking_here(), actor, ConfirmTotp(totp.code_of(secret, NOW // totp.STEP_MS))
    )
    with refused("factor_required"):
        await world.accounts.begin_totp(asking_here(), actor, evidence)
    world.storage.roll_back(before)
    world.restart()
    with refused("factor_required"):
        await world.accounts.begin_totp(asking_here(), actor, NO_EVIDENCE)  # the passkey still is
    assert await world.accounts.begin_totp(asking_here(), actor, evidence)


@in_world
async def test_a_user_rolled_back_to_before_a_recovery_has_no_wallet_that_was_made_after_it(world):
    old = Phone()
    actor = await old.enter(world)
    passkey = await old.add_passkey(world, actor, NO_EVIDENCE)
    evidence = Evidence(credential=passkey.credential_id)
    key = await with_recovery_key(world, actor, evidence)
    await world.wallets.claim(actor, WALLET, now_ms=NOW)
    stolen = world.storage.snapshot()
    new = Phone()
    recovered = (await world.entry.recover(*await new.recovery(world, actor.user_id, key))).actor
    await world.wallets.claim(recovered, LATER, now_ms=NOW)
    for wallet_id in (WALLET, LATER):
        assert await world.wallets.require_owner(recovered, wallet_id)
    world.storage.roll_back(stolen, "users/")
    world.restart()
    assert await world.entry.authenticate(old.hello(actor.user_id, DIGEST, at=NOW), DIGEST) == actor
    assert await world.wallets.require_owner(actor, WALLET)
    with pytest.raises(CosignerError) as caught:
        await world.wallets.require_owner(actor, LATER)
    assert stale(caught)


@in_world
async def test_a_wallet_that_was_there_before_the_first_credential_is_open_to_who_has_the_login(world):
    """The other side of the bound: register a credential before the first wallet."""
    phone = Phone()
    actor = await phone.enter(world)
    await world.wallets.claim(actor, WALLET, now_ms=NOW)
    bare = world.storage.snapshot()
    await phone.add_passkey(world, actor, NO_EVIDENCE)
    world.storage.roll_back(bare, "users/")
    world.restart()
    thief = await Phone(phone.subject).enter(world)
    assert await world.wallets.require_owner(thief, WALLET)
    assert (await world.directory.require(thief.user_id)).credentials == ()


@in_world
async def test_a_lost_user_is_not_made_again(world):
    phone = Phone()
    await phone.enter(world)
    world.storage.roll_back({}, "users/")
    world.restart()
    with pytest.raises(CosignerError) as caught:
        await Phone(phone.subject).enter(world)
    assert stale(caught)


def test_a_handed_over_wallet_is_custodial_again():
    async def scenario():
        world, key, phone = World(), Signing(), Phone()
        made = await world.service_account(key)
        asking = session()
        robot = (await world.entry.key_login(asking, key.login(asking, made.user_id, phone))).actor
        user = await Phone().enter(world)
        await world.wallets.claim(robot, WALLET, now_ms=NOW)
        before = world.storage.snapshot()
        await world.accounts.hand_over(
            robot, HandOver(wallet_id=WALLET, user_id=user.user_id), Evidence(credential=key.credential_id)
        )
        world.storage.roll_back(before, "owners/")
        with refused("not_owner"):
            await world.wallets.require_owner(robot, WALLET)  # still cached
        world.restart()
        assert (await world.wallets.require_owner(robot, WALLET)).custody == "custodial"

    asyncio.run(scenario())
