"""Settings of delegated access: who sets them, what they may say, and what becomes of the developer's keys."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from enclave.delegation import developer_keys
from enclave.manifest import parse
from protocol import accounts as a
from protocol import delegation as d
from protocol.envelope.errors import CosignerError
from protocol.envelope.messages import Done
from tests.support.delegating import (
    ENDPOINT,
    Approval,
    configure,
    data_of,
    events,
    key,
    public_der,
    settings,
    started,
    user_with_wallet,
)
from tests.support.door import Refused, User, administrators
from tests.support.holding import Held
from tests.support.manifests import environment
from tests.support.world import MANIFEST, run

NOTHING = settings(enabled=False, endpoint="", keys=[])


def refused(code: str):
    return pytest.raises(CosignerError, check=lambda error: error.code == code)


async def asked(user: User) -> d.DelegationSettingsReply:
    return await user.door.call(d.GetDelegationSettings(), d.DelegationSettingsReply)


# --- who --------------------------------------------------------------------------------------------------------------------


def test_without_settings_in_the_manifest_nothing_is_delegated():
    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        reply = await asked(user)
        assert (reply.settings.enabled, reply.version, reply.approvals, reply.denied) == (False, 0, [], False)
        with refused("delegation_disabled"):
            await Approval.of(user, wallet_id).begin()

    run(scenario)


def test_a_quorum_of_administrators_sets_them_and_anybody_can_check_that():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        made = await configure(user)
        reply = await asked(user)
        assert (reply.settings, reply.version, made.version) == (settings(), 1, 1)
        assert {one.approver for one in reply.approvals} == {"administrator:ada", "administrator:bea"}

    run(scenario)


def test_less_than_a_quorum_sets_nothing():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        request = d.SetDelegationSettings(settings(), 0, new_secret=False)
        for approvals in ([], administrators(request, "ada", asker=user.user_id)):
            evidence = user.authorize(request, by=None, approvals=approvals)
            with refused("approval_required"):
                await user.door.call(request, authorization=evidence)
        assert (await asked(user)).version == 0
        assert not host.storage.events

    run(scenario)


def test_approvals_of_other_settings_set_nothing():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        approved = d.SetDelegationSettings(settings(), 0, new_secret=False)
        hosts_own = d.SetDelegationSettings(settings(key(2)), 0, new_secret=False)
        evidence = user.authorize(hosts_own, by=None, approvals=administrators(approved, asker=user.user_id))
        with refused("evidence_invalid"):
            await user.door.call(hosts_own, authorization=evidence)

    run(scenario)


def test_approvals_are_good_once():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        request = d.SetDelegationSettings(settings(), 0, new_secret=False)
        approvals = administrators(request, asker=user.user_id)
        await user.door.call(request, authorization=user.authorize(request, by=None, approvals=approvals))
        await configure(user, NOTHING, version=1)
        again = msgspec.structs.replace(request, version=2)  # approvals do not name the version
        with refused("action_replayed"):
            await user.door.call(again, authorization=user.authorize(again, by=None, approvals=approvals))
        assert not (await asked(user)).settings.enabled

    run(scenario)


def test_whoever_does_not_know_the_newest_settings_replaces_nothing():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        with refused("user_conflict"):
            await configure(user, NOTHING, version=0)
        assert (await asked(user)).settings == settings()

    run(scenario)


def test_settings_survive_a_restart_and_an_older_state_is_refused_while_the_enclave_lives():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        name = "environments/sandbox/delegation-settings/settings"
        old = host.storage.records[name]
        await configure(user, settings(key(1, "revoked"), key(2)), version=1)
        host.storage.records[name], new = old, host.storage.records[name]
        rooms = host.enclave.environments.in_service("sandbox")._rooms
        rooms.delegations._settings._records._cache.clear()
        with refused("epoch_stale"):
            await asked(user)
        host.storage.records[name] = new
        await host.start_enclave()
        await user.reopen()
        assert (await asked(user)).settings.active_key() == key(2)

    run(scenario)


def test_what_is_held_up_until_its_session_key_is_revoked_sets_nothing():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        held = Held(host.storage, "get", lambda key: key.endswith("delegation-settings/settings"))
        setting = asyncio.create_task(configure(user))
        await held.reached.wait()
        other = await User.log_in(host, user.subject)
        await other.door.call(a.RevokeSessionKeys([user.session_key.public]))
        held.let_go()
        with pytest.raises(CosignerError) as caught:
            await setting
        assert caught.value.code in {"session_unknown", "session_key_rejected"}
        assert not host.storage.events
        assert (await asked(other)).version == 0

    run(scenario)


# --- secret and subscription ------------------------------------------------------------------------------------------------


def test_the_webhook_secret_is_handed_over_once_and_goes_to_the_host_as_the_subscription():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        first = await configure(user)
        second = await configure(user, settings(app="Other"), version=1)
        third = await configure(user, settings(), version=2, new_secret=True)
        assert first.webhook_secret.startswith("whsec_")
        assert second.webhook_secret == ""
        assert third.webhook_secret.startswith("whsec_")
        assert third.webhook_secret != first.webhook_secret
        assert first.webhook_id == second.webhook_id == third.webhook_id
        told = events(host, "subscription")
        assert [data_of(event)["secret"] for event in told] == [
            first.webhook_secret,
            first.webhook_secret,
            third.webhook_secret,
        ]
        for event in told:
            assert event.endpoint == data_of(event)["url"] == ENDPOINT
            assert event.subscription_id == first.webhook_id
            assert data_of(event)["enabled"]
            assert "wallet.delegation.created" in data_of(event)["events"]

    run(scenario)


def test_the_secret_stands_nowhere_in_what_the_host_keeps_but_in_the_subscription():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        secret = (await configure(user)).webhook_secret.encode()
        assert not any(secret in value for _, value in host.storage.records.values())
        assert not any(secret in entry.entry for chain in host.storage.log.values() for entry in chain)

    run(scenario)


def test_an_endpoint_that_is_taken_away_is_told_to_the_host():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        await configure(user, NOTHING, version=1)
        last = events(host, "subscription")[-1]
        assert (last.endpoint, data_of(last)["enabled"]) == (ENDPOINT, False)

    run(scenario)


def test_events_go_on_where_delegated_access_is_disabled():
    """A revocation must reach the developer then, too."""

    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        await configure(user, settings(enabled=False), version=1)
        last = events(host, "subscription")[-1]
        assert (last.endpoint, data_of(last)["enabled"]) == (ENDPOINT, True)

    run(scenario)


def test_ping_is_for_administrators_and_goes_to_the_endpoint():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        made = await configure(user)
        with refused("approval_required"):
            await user.door.call(d.PingWebhook(), authorization=user.authorize(d.PingWebhook(), by=None))
        for _ in range(2):
            approvals = administrators(d.PingWebhook(), asker=user.user_id)
            evidence = user.authorize(d.PingWebhook(), by=None, approvals=approvals)
            await user.door.call(d.PingWebhook(), Done, authorization=evidence)
        pings = events(host, "ping")
        assert len(pings) == 2
        data = data_of(pings[0])
        assert (data["webhookId"], data["url"], data["isEnabled"]) == (made.webhook_id, ENDPOINT, True)
        assert isinstance(data["message"], str)
        assert (await asked(user)).version == 1

    run(scenario)


def test_there_is_nothing_to_ping_without_an_endpoint():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user, NOTHING)
        approvals = administrators(d.PingWebhook(), asker=user.user_id)
        with refused("delegation_disabled"):
            await user.door.call(
                d.PingWebhook(),
                authorization=user.authorize(d.PingWebhook(), by=None, approvals=approvals),
            )

    run(scenario)


def test_settings_of_the_manifest_alone_have_no_secret_and_delegate_nothing_yet():
    async def scenario():
        host = await started(delegation=settings())
        user, wallet_id = await user_with_wallet(host)
        reply = await asked(user)
        assert (reply.settings, reply.version) == (settings(), 0)
        with refused("delegation_disabled"):
            await Approval.of(user, wallet_id).begin()
        await configure(user)
        await Approval.of(user, wallet_id).begin()

    run(scenario)


# --- what they may say ------------------------------------------------------------------------------------------------------


def der(private) -> bytes:
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


BAD: dict[str, d.DelegationSettings] = {
    "two names alike": settings(key(1), d.DeveloperKey("key-1", public_der(2), "pending")),
    "one key twice": settings(key(1), d.DeveloperKey("other", public_der(1), "pending")),
    "two active keys": settings(key(1), key(2)),
    "no active key": settings(key(1, "pending")),
    "no endpoint": settings(endpoint=""),
    "required and not enabled": settings(enabled=False, requires_delegation=True),
    "a user in the endpoint": settings(endpoint="https://user@app.example/"),
    "no host in the endpoint": settings(endpoint="https:///path"),
    "a port that is none": settings(endpoint="https://app.example:port/"),
    "a line break in the app's name": settings(app="Robot\nasks for nothing"),
    "a terminal's escape in the app's name": settings(app="Robot\x1b[2K\rYour bank"),
    "a direction in the app's name": settings(app="Robot \u202eknab"),
    "an app's name between blanks": settings(app=" Robot"),
    "a fragment": settings(endpoint="https://app.example/#here"),
    "a key that is not RSA": settings(
        d.DeveloperKey("ec", der(ec.generate_private_key(ec.SECP521R1())).ljust(256, b"\0"), "active")
    ),
    "a short key": settings(d.DeveloperKey("short", der(rsa.generate_private_key(65537, 2040)), "active")),  # noqa: S505  (that is the point)
    "an exponent of 3": settings(d.DeveloperKey("three", der(rsa.generate_private_key(3, 2048)), "active")),
    "something behind the key": settings(d.DeveloperKey("more", public_der() + b"\0", "active")),
}


@pytest.mark.parametrize("name", BAD)
def test_settings_that_cannot_be_are_refused(name):
    with refused("delegation_settings_refused"):
        developer_keys.check(BAD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_manifest_with_such_settings_is_refused(name):
    changed = msgspec.structs.replace(
        MANIFEST,
        environments=[environment(delegation=BAD[name], kms_key_arn=MANIFEST.environments[0].kms_key_arn)],
    )
    with refused("manifest_invalid"):
        parse(changed.encode())


def test_refused_settings_change_nothing_and_leave_a_receipt():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        with pytest.raises(Refused) as caught:
            await configure(user, BAD["two active keys"])
        assert caught.value.code == "delegation_settings_refused"
        assert caught.value.receipt is not None
        assert (await asked(user)).version == 0

    run(scenario)


# --- keys' lives ------------------------------------------------------------------------------------------------------------

STATES = ("pending", "active", "revoked")


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_a_key_never_goes_back(before, after):
    def change():
        developer_keys.check_change(
            settings(key(1, before), enabled=False), settings(key(1, after), enabled=False), ()
        )

    if STATES.index(after) >= STATES.index(before):
        change()
    else:
        with refused("delegation_settings_refused"):
            change()


def test_a_name_is_one_keys():
    other = d.DeveloperKey("key-1", public_der(2), "active")
    with refused("delegation_settings_refused"):
        developer_keys.check_change(settings(), settings(other), ())


@st.composite
def histories(draw) -> list[d.DelegationSettings]:
    """Settings one after another, with three keys in any state or absent."""
    found = []
    for _ in range(draw(st.integers(1, 6))):
        states = [draw(st.sampled_from([None, *STATES])) for _ in range(3)]
        keys = [key(number, state) for number, state in enumerate(states, 1) if state]
        found.append(settings(enabled=False, keys=keys))
    return found


@given(histories())
def test_what_was_revoked_or_taken_away_is_never_active_again(history):
    now, spent = settings(enabled=False, keys=[]), ()
    over: set[bytes] = set()
    for wanted in history:
        try:
            developer_keys.check(wanted)
            developer_keys.check_change(now, wanted, spent)
        except CosignerError:
            continue
        spent = developer_keys.spent_after(now, wanted, spent)
        live = {one.public_key for one in wanted.keys if one.state != "revoked"}
        assert not live & over
        over |= {one.public_key for one in (*now.keys, *wanted.keys)} - live
        assert {developer_keys.fingerprint(one) for one in over} == set(spent)
        now = wanted


def test_the_memory_of_spent_keys_is_bounded_and_nothing_is_forgotten_for_room():
    spent = tuple(bytes([number // 256, number % 256]) * 16 for number in range(developer_keys.MAX_SPENT))
    with refused("delegation_settings_refused"):
        developer_keys.spent_after(settings(), settings(key(1, "revoked"), enabled=False), spent)


def test_rotation_goes_by_pending_and_revoked():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        await configure(user, settings(key(1), key(2, "pending")), version=1)
        await configure(user, settings(key(1, "revoked"), key(2)), version=2)
        await configure(user, settings(key(2)), version=3)
        for back in (settings(key(1)), settings(key(1), key(2, "revoked"))):
            with refused("delegation_settings_refused"):
                await configure(user, back, version=4)
        assert (await asked(user)).settings == settings(key(2))

    run(scenario)
