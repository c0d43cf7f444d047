"""What a host gains that puts old records back: nothing while the enclave lives. Across a restart a revoked delegate comes back, if the whole of
the delegation is put back, and within what the user once approved. That is a limitation, and stands in ``docs/limitations.md``.
"""

from __future__ import annotations

import typing

import pytest

from protocol import delegation as d
from protocol import messages as m
from protocol.envelope.errors import CosignerError
from protocol.envelope.messages import Done
from tests.enclave.delegation.test_limits import pay, spending
from tests.support.delegating import (
    Approval,
    Delegate,
    configure,
    delegated,
    key,
    settings,
    started,
    user_with_wallet,
)
from tests.support.door import User, now_ms
from tests.support.refusals import refuses
from tests.support.world import Host, run

HOUR = 3_600_000


async def revoked(host: Host, **changes: typing.Any) -> tuple[User, Delegate, dict[str, typing.Any]]:
    """A delegation that was revoked, and the host's storage from before."""
    user, delegate = await delegated(host, **changes)
    await delegate.sign(pay(delegate.wallet, 1))
    before = dict(host.storage.records)
    await user.door.call(d.RevokeDelegation(delegate.wallet.wallet_id, delegate.wallet.share_set_id), Done)
    return user, delegate, before


def roll_back(host: Host, before: dict[str, typing.Any], *kinds: str) -> None:
    """Records of these kinds as they were; all, if none is named."""
    for name, record in before.items():
        if not kinds or any(name.startswith(f"environments/sandbox/{kind}") for kind in kinds):
            host.storage.records[name] = record


def test_while_the_enclave_lives_nothing_comes_back():
    async def scenario():
        host = await started()
        _, delegate, before = await revoked(host)
        roll_back(host, before)
        await refuses("delegation_refused", delegate.log_in())
        rooms = host.enclave.environments.in_service("sandbox")._rooms
        rooms.delegations._book._records._cache.clear()
        await refuses("epoch_stale", delegate.log_in())
        vault = rooms.vault
        await refuses("epoch_stale", vault.open(delegate.wallet.wallet_id, delegate.wallet.share_set_id))

    run(scenario)


def test_across_a_restart_the_record_without_the_share_or_the_share_without_the_record_is_not_enough():
    async def scenario():
        for kinds in (("delegations/",), ("wallets/",), ("delegations/", "usage/"), ("wallets/", "usage/")):
            host = await started()
            _, delegate, before = await revoked(host)
            roll_back(host, before, *kinds)
            await host.start_enclave()
            with pytest.raises(CosignerError) as refused:
                await delegate.log_in()
            assert refused.value.code == "delegation_refused"

    run(scenario)


def test_limitation_across_a_restart_a_whole_delegation_that_is_put_back_signs_again():
    """Needs the host, and whoever holds the developer's API key and share: with the developer's RSA key, the host itself has these from the
    webhook. Bounded by the approved rules and expiry, by settings that are enabled, and by the wallet's and environment's rules.
    """

    async def scenario():
        host = await started()
        user, delegate, before = await revoked(
            host, rules=spending(per_call=10, total=15), expires_at=now_ms() + HOUR
        )
        roll_back(host, before)
        await host.start_enclave()
        await delegate.log_in()
        await delegate.sign(pay(delegate.wallet, 10))
        # never more than was approved,
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 11)))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 5)))
        # though totals are rolled back as well, once for each restart,
        roll_back(host, before)
        await host.start_enclave()
        await delegate.log_in()
        await delegate.sign(pay(delegate.wallet, 10))
        # not longer than was approved,
        clock = host.enclave.clock
        now = clock.now_ms
        clock.now_ms = lambda: now() + HOUR + 1000
        await refuses("delegation_refused", delegate.sign(pay(delegate.wallet, 1)))
        clock.now_ms = now
        # and not if the user looks: the revoked delegation is in the list again, and is revoked again.
        await user.reopen()
        listed = await user.door.call(d.ListDelegations(delegate.wallet.wallet_id), d.Delegations)
        assert [found.revoked_by for found in listed.delegations] == [""]
        await user.door.call(
            d.RevokeDelegation(delegate.wallet.wallet_id, delegate.wallet.share_set_id), Done
        )
        await refuses("delegation_refused", delegate.log_in())

    run(scenario)


def test_limitation_across_a_restart_an_old_developers_key_is_active_again_but_encrypts_only_what_the_user_approves():
    """Settings from before a rotation, with the approvals that were good for them. Who has stolen the old key gets shares that users delegate
    from then on; users whose clients have seen newer settings are not protected by that: settings have no epoch at the client.
    """

    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        before = dict(host.storage.records)
        await configure(user, settings(key(1, "revoked"), key(2)), version=1)
        await refuses("developer_key_refused", Approval.of(user, wallet_id).begin())
        roll_back(host, before, "delegation-settings/")
        await refuses(
            "developer_key_refused", Approval.of(user, wallet_id).begin()
        )  # still this enclave's life
        await host.start_enclave()
        await user.reopen()
        await Approval.of(user, wallet_id).begin()

    run(scenario)


def test_limitation_settings_that_the_host_hides_altogether_are_the_manifests_again():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        name = "environments/sandbox/delegation-settings/settings"
        host.storage.lies[name] = None
        await host.start_enclave()
        await refuses("delegation_disabled", delegate.log_in())

    run(scenario)


def test_with_the_owners_record_rolled_back_nobody_signs_and_nobody_is_told_that_it_is_revoked():
    """Fails closed: the delegate is refused as long as the owner's record is not the newest, and the revocation is not said to be done."""

    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        bare = {name: record for name, record in host.storage.records.items() if "/users/" in name}
        await user.add_passkey()
        wallet_id = (await user.create()).wallet_id
        delegate = await Approval.of(user, wallet_id).run()
        await delegate.log_in()
        host.storage.records.update(bare)
        await host.start_enclave()
        await refuses("epoch_stale", delegate.log_in())
        door = await user.reopen()
        revoke = d.RevokeDelegation(wallet_id, delegate.wallet.share_set_id)
        await refuses("epoch_stale", door.call(revoke))
        await refuses("epoch_stale", door.call(m.GetWallet(wallet_id)))

    run(scenario)


def test_a_host_that_hides_a_delegation_ends_it():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        name = f"environments/sandbox/delegations/{delegate.wallet.wallet_id}/{delegate.wallet.share_set_id}"
        host.storage.lies[name] = None
        await host.start_enclave()
        await refuses("delegation_refused", delegate.log_in())
        del host.storage.lies[name]
        await delegate.log_in()

    run(scenario)


def test_a_record_of_one_delegation_is_of_no_use_under_the_name_of_another():
    async def scenario():
        host = await started()
        user, one = await delegated(host)
        other = await Approval.of(user, one.wallet.wallet_id).run()
        await user.door.call(d.RevokeDelegation(one.wallet.wallet_id, one.wallet.share_set_id), Done)
        for kind in ("delegations", "wallets"):
            prefix = f"environments/sandbox/{kind}/{one.wallet.wallet_id}/"
            host.storage.records[prefix + one.wallet.share_set_id] = host.storage.records[
                prefix + other.wallet.share_set_id
            ]
        await host.start_enclave()
        await refuses("sealed_record_rejected", one.log_in())

    run(scenario)
