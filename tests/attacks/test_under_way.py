"""Session keys that are revoked while the host holds a request up: what was waiting does not happen any more."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
import typing

import pytest

from enclave.accounts import credentials, session_keys
from enclave.accounts.user import Evidence, UserRecord
from protocol import accounts as a
from protocol import lifecycle as life
from protocol import messages as m
from protocol.receipts import Outcome
from tests.attacks.test_authorization import payment, refuses, started, with_wallet
from tests.attacks.test_rules import OPERATIONS, entries, handing, replace
from tests.enclave.lifecycle.test_ways_in_and_out import dealt, exporting, secret
from tests.support.door import User, service_account
from tests.support.holding import Held
from tests.support.lives import back_up, handover
from tests.support.manifests import layer, spki
from tests.support.spies import watch
from tests.support.world import ENVIRONMENT, Host, run


def rooms(host: Host) -> typing.Any:
    return host.enclave.environments.in_service(ENVIRONMENT)._rooms


async def revoked_elsewhere(host: Host, user: User) -> None:
    """The user's session key is revoked at another enclave."""
    await changed_elsewhere(host, user, lambda record: session_keys.drop(record, [user.session_key.public]))


async def changed_elsewhere(
    host: Host, user: User, transition: typing.Callable[[UserRecord], UserRecord]
) -> None:
    """Another enclave changes the user's record, and so much time passes that this one looks again."""
    other = Host(storage=host.storage, kms=host.kms, manifest=host.manifest)
    await other.start_enclave()
    await rooms(other).gate._directory.change(user.user_id, transition)
    rooms(host).gate._directory._records._monotonic = lambda: time.monotonic() + 11


async def signing(user: User, wallet: str, _: User) -> object:
    return await user.sign(wallet, payment(user, wallet))


async def signing_by_passkey(user: User, wallet: str, _: User) -> object:
    return await user.sign(wallet, payment(user, wallet), authorize=user.authorize)


async def creating(user: User, _: str, __: User) -> object:
    return await user.create()


async def a_new_policy(user: User, wallet: str, _: User) -> object:
    return await replace(user, "wallet", wallet, layer(OPERATIONS, name="wallet"))


async def a_hand_over(desk: User, wallet: str, to: User) -> object:
    return await handing(desk, to, wallet)


async def a_device_code(user: User, _: str, __: User) -> object:
    request = a.MakeDeviceCode()
    return await user.door.call(request, authorization=user.authorize(request))


async def a_refresh(user: User, wallet: str, _: User) -> object:
    return await handover(user, wallet).begin()


async def an_import(user: User, _: str, __: User) -> object:
    _, request = dealt(user, secret("solana"))
    return await user.door.call(request, authorization=user.authorize(request))


async def an_export(user: User, wallet: str, _: User) -> object:
    request = exporting(user.wallets[wallet])
    return await user.door.call(request, authorization=user.authorize(request))


async def a_deletion(user: User, wallet: str, _: User) -> object:
    request = life.DeleteWallet(wallet_id=wallet)
    return await user.door.call(request, authorization=user.authorize(request))


UNDER_WAY = [signing, creating, a_new_policy, a_hand_over, a_device_code]
UNDER_WAY += [a_refresh, an_import, an_export, a_deletion]


@pytest.mark.parametrize("act", UNDER_WAY, ids=lambda act: act.__name__)
def test_attack_what_waits_for_the_log_does_not_outlive_its_session_key(act):
    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        to = user
        if act is a_hand_over:
            user = await service_account(to)
            wallet = (await user.create()).wallet_id
        spy, before = watch(host), set(host.storage.records)
        log = Held(host.storage, "append_log")
        under_way = asyncio.create_task(act(user, wallet, to))
        await log.reached.wait()
        await revoked_elsewhere(host, user)
        after = dict(host.storage.records)
        log.let_go()
        refused = await refuses("session_key_rejected", under_way)
        assert (spy.released, spy.created) == (0, [])
        assert host.storage.records == after
        assert set(after) == before
        decision, outcome = entries(host)[-2:]
        assert refused.receipt == next(iter(host.storage.log.values()))[-2]
        assert outcome.body == Outcome(of=decision.sequence, code="session_key_rejected", result=None)

    run(scenario)


@pytest.mark.parametrize("gone", ["deactivated", "removed"])
@pytest.mark.parametrize("act", [signing_by_passkey, a_new_policy], ids=lambda act: act.__name__)
def test_attack_what_waits_for_the_log_does_not_outlive_the_passkey_that_vouched(act, gone):
    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        await user.add_key()
        spy = watch(host)
        log = Held(host.storage, "append_log")
        stolen = asyncio.create_task(act(user, wallet, user))
        await log.reached.wait()
        evidence = Evidence(credential=hashlib.sha256(spki(user.raw_key)).digest())
        await changed_elsewhere(
            host,
            user,
            lambda record: (
                credentials.remove(record, user.passkey_id, evidence)
                if gone == "removed"
                else credentials.change(record, user.passkey_id, name=None, active=False, evidence=evidence)
            ),
        )
        log.let_go()
        await refuses("credential_unknown" if gone == "removed" else "credential_inactive", stolen)
        assert spy.released == 0
        assert isinstance(entries(host)[-1].body, Outcome)

    run(scenario)


def test_attack_a_signature_that_waits_for_the_log_is_not_made_once_its_key_is_revoked_here():
    """The user shuts the thief out at the same enclave, and the host lets the revocation pass before the thief's own entry."""

    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        phone = await User.log_in(host, user.subject)
        spy = watch(host)
        put = Held(host.storage, "put", lambda key, *_, **__: "/users/" in key)
        revocation = asyncio.create_task(
            phone.door.call(a.RevokeSessionKeys(session_keys=[user.session_key.public]), m.Done)
        )
        await put.reached.wait()
        log = Held(host.storage, "append_log")
        stolen = asyncio.create_task(user.sign(wallet, payment(user, wallet)))
        await log.reached.wait()
        put.let_go()
        await revocation
        log.let_go()
        await refuses("session_unknown", stolen)
        assert spy.released == 0
        assert isinstance(entries(host)[-1].body, Outcome)

    run(scenario)


@pytest.mark.parametrize("act", [creating, an_import], ids=lambda act: act.__name__)
def test_attack_a_wallet_is_not_made_once_its_session_key_is_revoked(act):
    """The host holds up the write that makes the wallet its user's: no share is stored after that."""

    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await user.add_passkey()
        spy = watch(host)
        put = Held(host.storage, "put", lambda key, *_, **__: "/owners/" in key)
        under_way = asyncio.create_task(act(user, "", user))
        await put.reached.wait()
        await revoked_elsewhere(host, user)
        put.let_go()
        await refuses("session_key_rejected", under_way)
        assert spy.created == []

    run(scenario)


@pytest.mark.parametrize(("act", "part"), [(a_new_policy, "/policies/wallet/"), (a_hand_over, "/users/")])
def test_attack_what_waits_for_storage_does_not_outlive_its_session_key(act, part):
    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        to = user
        if act is a_hand_over:
            user = await service_account(to)
            wallet = (await user.create()).wallet_id
            to = await User.log_in(host)
            await host.start_enclave()  # it has to look the recipient up
            await user.reopen()
        log = Held(host.storage, "append_log")
        under_way = asyncio.create_task(act(user, wallet, to))
        await log.reached.wait()
        read = Held(host.storage, "get", lambda key: part in key and user.user_id not in key)
        log.let_go()
        await read.reached.wait()
        await revoked_elsewhere(host, user)
        after = dict(host.storage.records)
        read.let_go()
        await refuses("session_key_rejected", under_way)
        assert host.storage.records == after

    run(scenario)


@pytest.mark.parametrize("over", ["renewed", "deleted"])
def test_attack_a_signature_that_waits_for_the_log_is_not_made_with_a_share_that_is_over(over):
    """Whoever stole a device signs with its share; the host holds that up until the user has made the share worthless, then lets it go."""

    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        thief = dataclasses.replace(user, door=None, shares=dict(user.shares))
        await thief.reopen()
        if over == "renewed":
            renewal = handover(user, wallet)
            await renewal.begin()
            await renewal.store()
            request = renewal.commit_request()
        else:
            request = life.DeleteWallet(wallet_id=wallet)
        put = Held(host.storage, "put", lambda key, *_, **__: f"/wallets/{wallet}/" in key)
        ending = asyncio.create_task(
            user.door.call(request, m.WalletReply, authorization=user.authorize(request))
        )
        await put.reached.wait()
        spy, log = watch(host), Held(host.storage, "append_log")
        stolen = asyncio.create_task(thief.sign(wallet, payment(thief, wallet)))
        await log.reached.wait()
        put.let_go()
        await ending
        log.let_go()
        await refuses("epoch_superseded" if over == "renewed" else "wallet_retired", stolen)
        assert spy.released == 0

    run(scenario)


def test_attack_a_backups_key_does_not_leave_once_its_session_key_is_revoked():
    """The host holds up the write that counts the passcode, and lets it go when the user has shut the thief out."""

    async def scenario():
        host = await started()
        user, wallet = await with_wallet(host)
        passcode = bytes(range(32))
        key = await back_up(user, wallet, passcode_proof=passcode)
        put = Held(host.storage, "put", lambda name, *_, **__: name.endswith(f"/backups/{wallet}"))
        request = life.OpenBackup(wallet_id=wallet, backup_id=key.backup_id, passcode_proof=passcode)
        under_way = asyncio.create_task(
            user.door.call(request, life.BackupKey, authorization=user.authorize(request))
        )
        await put.reached.wait()
        await revoked_elsewhere(host, user)
        put.let_go()
        await refuses("session_key_rejected", under_way)

    run(scenario)
