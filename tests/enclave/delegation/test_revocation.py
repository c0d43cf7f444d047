"""The end of a delegation: at once, for good, by whoever may, whatever the host does with its storage."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from enclave.actors import Delegated
from protocol import delegation as d
from protocol import messages as m
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Done
from protocol.lifecycle import AbortReshare
from tests.support.delegating import (
    CREATED,
    ENDPOINT,
    REVOKED,
    Approval,
    Delegate,
    configure,
    data_of,
    delegated,
    events,
    payment,
    settings,
    started,
    user_with_wallet,
)
from tests.support.door import User, administrators
from tests.support.holding import Held
from tests.support.refusals import refuses
from tests.support.spies import watch
from tests.support.world import Host, run


def revocation(delegate: Delegate) -> d.RevokeDelegation:
    return d.RevokeDelegation(delegate.wallet.wallet_id, delegate.wallet.share_set_id)


async def by_user(user: User, delegate: Delegate) -> None:
    await user.door.call(revocation(delegate), Done)


async def by_delegate(user: User, delegate: Delegate) -> None:
    await delegate.revoke()


async def by_administrator(user: User, delegate: Delegate) -> None:
    other = await User.log_in(user.host)
    request = d.RevokeDelegationAsAdministrator(delegate.wallet.wallet_id, delegate.wallet.share_set_id)
    approvals = administrators(request, asker=other.user_id)
    await other.door.call(request, Done, authorization=other.authorize(request, by=None, approvals=approvals))


BY = {"user": by_user, "delegate": by_delegate, "administrator": by_administrator}


async def is_over(host: Host, delegate: Delegate) -> None:
    """Neither the open session nor a new one signs."""
    with pytest.raises(CosignerError) as refused:
        await delegate.sign()
    assert refused.value.code in {"session_unknown", "delegation_refused"}
    await refuses("delegation_refused", delegate.log_in())


@pytest.mark.parametrize("who", BY)
def test_it_is_over_at_once_and_after_a_restart(who):
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        door = delegate.door
        await delegate.log_in()
        await BY[who](user, delegate)
        await is_over(host, delegate)
        await refuses("session_unknown", door.call(m.GetWallet(delegate.wallet.wallet_id)))
        await host.start_enclave()
        await is_over(host, delegate)
        await user.reopen()
        listed = await user.door.call(d.ListDelegations(delegate.wallet.wallet_id), d.Delegations)
        (found,) = listed.delegations
        assert found.revoked_by == who
        assert found.revoked_at is not None

    run(scenario)


@pytest.mark.parametrize("who", BY)
def test_the_developer_is_told_once(who):
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        await BY[who](user, delegate)
        if who != "delegate":
            await BY[who](user, delegate)
        (event,) = events(host, REVOKED)
        data = data_of(event)
        assert event.endpoint == ENDPOINT
        assert (data["walletId"], data["chain"]) == (delegate.wallet.wallet_id, "SVM")
        assert (data["shareSetId"], data["revokedBy"]) == (delegate.wallet.share_set_id, who)
        assert data["userId"] == user.user_id

    run(scenario)


def test_the_delegates_counter_share_is_destroyed_and_a_tombstone_stays():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        name = f"environments/sandbox/wallets/{delegate.wallet.wallet_id}/{delegate.wallet.share_set_id}"
        before = host.storage.records[name]
        await by_user(user, delegate)
        assert len(host.storage.records[name][1]) < len(before[1])
        vault = host.enclave.environments.in_service("sandbox")._rooms.vault
        opened = await vault.open(delegate.wallet.wallet_id, delegate.wallet.share_set_id)
        assert opened.retired

    run(scenario)


def test_less_than_a_quorum_revokes_nothing():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        other = await User.log_in(host)
        request = d.RevokeDelegationAsAdministrator(delegate.wallet.wallet_id, delegate.wallet.share_set_id)
        approvals = administrators(request, "ada", asker=other.user_id)
        evidence = other.authorize(request, by=None, approvals=approvals)
        await refuses("approval_required", other.door.call(request, authorization=evidence))
        await refuses("not_owner", other.door.call(revocation(delegate)))
        await delegate.sign()

    run(scenario)


def test_what_was_never_delegated_cannot_be_revoked():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        unknown = d.RevokeDelegation(delegate.wallet.wallet_id, "2b1f8c3e-7c7e-4d2a-9d5b-3b6a1f0c9e11")
        await refuses("delegation_unknown", user.door.call(unknown))

    run(scenario)


def test_administrators_who_disable_delegated_access_stop_every_delegate_and_may_start_them_again():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        spy = watch(host)
        await configure(user, settings(enabled=False), version=1)
        await refuses("delegation_disabled", delegate.sign())
        await refuses("delegation_disabled", delegate.door.call(m.GetWallet(delegate.wallet.wallet_id)))
        await refuses("delegation_disabled", delegate.log_in())
        assert not spy.opened
        await configure(user, settings(), version=2)
        await delegate.log_in()
        await delegate.sign()

    run(scenario)


def test_a_user_revokes_where_delegated_access_is_disabled():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        await configure(user, settings(enabled=False), version=1)
        await by_user(user, delegate)
        await configure(user, settings(), version=2)
        await is_over(host, delegate)
        assert len(events(host, REVOKED)) == 1

    run(scenario)


# --- order ------------------------------------------------------------------------------------------------------------------


def test_a_commit_that_comes_again_after_the_revocation_brings_nothing_back():
    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        request = approval.commit_request()
        await approval.commit(request)
        delegate = approval.delegate()
        await delegate.log_in()
        await by_user(user, delegate)
        await refuses("delegation_refused", user.door.call(request))
        await host.start_enclave()
        await user.reopen()
        await refuses("delegation_refused", user.door.call(request))
        assert len(events(host, CREATED)) == 1
        await is_over(host, delegate)

    run(scenario)


def test_a_delegation_can_be_revoked_before_it_is_committed():
    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        await user.door.call(d.RevokeDelegation(wallet_id, approval.terms.share_set_id), Done)
        await refuses("delegation_refused", user.door.call(approval.commit_request()))
        assert not events(host, CREATED)
        assert not events(host, REVOKED)  # of what nobody was told of

    run(scenario)


def test_what_an_enclave_before_commits_late_does_not_outlive_the_revocation():
    """The host holds the commit's write up, has the user served by another enclave, and then lets it go."""

    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        share_set_id = approval.terms.share_set_id
        held = Held(
            host.storage,
            "put",
            lambda key, *_, **__: key.endswith(f"/{share_set_id}") and "delegations" in key,
        )
        committing = asyncio.create_task(user.door.call(approval.commit_request()))
        await held.reached.wait()
        before = host.enclave
        hanging, host.storage.put = host.storage.put, held._real
        await host.start_enclave()
        await user.reopen()
        await user.door.call(d.RevokeDelegation(wallet_id, share_set_id), Done)
        host.storage.put = hanging
        held.let_go()
        await refuses("delegation_refused", committing)
        assert before is not host.enclave
        assert not events(host, CREATED)

    run(scenario)


def test_what_is_under_way_when_it_is_revoked_gets_no_answer():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        held = Held(host.storage, "put", lambda key, *_, **__: "delegation-signatures" in key)
        signing = asyncio.create_task(delegate.sign())
        await held.reached.wait()
        await by_user(user, delegate)
        held.let_go()
        await refuses("session_unknown", signing)
        await is_over(host, delegate)

    run(scenario)


def test_what_was_decided_but_not_begun_when_it_is_revoked_is_not_done():
    """The host keeps the log's confirmation back until the user has revoked in this very enclave."""

    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        spy = watch(host)
        held = Held(host.storage, "append_log")
        signing = asyncio.create_task(delegate.sign())
        await held.reached.wait()
        host.enclave.environments.in_service("sandbox")._rooms.gate._delegates.shut_out(
            Delegated(delegate.wallet.wallet_id, delegate.wallet.share_set_id)
        )
        held.let_go()
        await refuses("delegation_refused", signing)
        assert not spy.released

    run(scenario)


def test_another_enclave_over_the_same_storage_refuses_at_once_too():
    """It goes by the record of up to ten seconds ago; but the share is gone."""

    async def scenario():
        one = await started()
        user, delegate = await delegated(one)
        other = await started(Host(storage=one.storage, kms=one.kms))
        elsewhere = replace(delegate, host=other)
        await elsewhere.log_in()
        await elsewhere.sign()
        await by_user(user, delegate)
        await refuses("delegation_refused", elsewhere.sign())
        await refuses("delegation_refused", elsewhere.log_in())

    run(scenario)


# --- storage that does not play along --------------------------------------------------------------------------------------


class Fails:
    """The storage refuses one write to a delegation or a share set, before or after it took effect."""

    def __init__(self, host: Host, write: int, moment: str) -> None:
        self._left = write
        self.failed = False
        setattr(host.storage, f"{moment}_put", self._count)

    def _count(self, key: str) -> None:
        if not key.startswith(("environments/sandbox/delegations/", "environments/sandbox/wallets/")):
            return
        self._left -= 1
        if self._left == -1:
            self.failed = True
            raise CosignerError("storage_unavailable", "The disk is on fire.", culprit=Culprit.STORAGE)


def heal(host: Host) -> None:
    host.storage.before_put = host.storage.after_put = lambda key: None


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [0, 1])
@pytest.mark.parametrize("who", ["user", "administrator"])
def test_a_revocation_that_is_cut_short_is_completed_by_asking_again(who, write, moment):
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        fails = Fails(host, write, moment)
        await refuses("storage_unavailable", BY[who](user, delegate))
        assert fails.failed
        heal(host)
        await is_over(host, delegate)  # whatever is stored, this enclave knows
        await host.start_enclave()
        await user.reopen()
        await BY[who](user, delegate)
        await is_over(host, delegate)
        assert len(events(host, REVOKED)) == 1
        vault = host.enclave.environments.in_service("sandbox")._rooms.vault
        assert (await vault.open(delegate.wallet.wallet_id, delegate.wallet.share_set_id)).retired

    run(scenario)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [0, 1, 2])
def test_a_commit_that_is_cut_short_has_happened_or_has_not_and_is_completed_by_asking_again(write, moment):
    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        request = approval.commit_request()
        fails = Fails(host, write, moment)
        await refuses("storage_unavailable", user.door.call(request))
        assert fails.failed
        heal(host)
        await host.start_enclave()
        await user.reopen()
        listed = (await user.door.call(d.ListDelegations(wallet_id), d.Delegations)).delegations
        counts = (write, moment) in {(1, "after"), (2, "before"), (2, "after")}
        assert bool(listed) == bool(events(host, CREATED)) == counts
        await approval.commit(request)
        delegate = approval.delegate()
        await delegate.log_in()
        await delegate.sign()
        assert len(events(host, CREATED)) == 1
        assert user.wallets[wallet_id].epoch == 2
        _, asked = user.sign_request(wallet_id, payment(delegate.wallet))
        old = msgspec.structs.replace(asked, epoch=1)
        await refuses("epoch_superseded", user.door.call(old))

    run(scenario)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [0, 1, 2, 3])
def test_a_finish_that_is_cut_short_leaves_a_wallet_that_signs_and_nothing_delegated(write, moment):
    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        fails = Fails(host, write, moment)
        await refuses("storage_unavailable", approval.finish())
        assert fails.failed
        heal(host)
        await host.start_enclave()
        await user.reopen()
        assert not (await user.door.call(d.ListDelegations(wallet_id), d.Delegations)).delegations
        await user.door.call(AbortReshare(wallet_id, 2), m.WalletReply)
        delegate = await Approval.of(user, wallet_id).run()
        await delegate.log_in()
        await delegate.sign()
        assert len(events(host, CREATED)) == 1

    run(scenario)


def test_a_delegation_that_counts_does_not_need_the_users_half_of_the_ceremony():
    """The enclave died between the two; the user then gives up the new shares of their own. Both sets are of the key, each by itself."""

    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        Fails(host, 2, "before")
        await refuses("storage_unavailable", user.door.call(approval.commit_request()))
        heal(host)
        await user.door.call(AbortReshare(wallet_id, 2), m.WalletReply)
        delegate = approval.delegate()
        await delegate.log_in()
        await delegate.sign()
        await user.sign(wallet_id, payment(delegate.wallet))
        await by_user(user, delegate)
        await is_over(host, delegate)

    run(scenario)
