"""What a delegate can do beyond what the user approved: nothing, whatever it asks for and whoever helps it."""

from __future__ import annotations

import os
import typing

import msgspec
import pytest

from enclave.authorization.requirements import REQUIREMENTS
from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope.messages import Done
from tests.support.delegating import (
    Approval,
    Delegate,
    configure,
    delegated,
    payment,
    settings,
    started,
)
from tests.support.door import Door, SessionKey, User, administrators, login_request, service_account
from tests.support.manifests import layer, token
from tests.support.refusals import refuses
from tests.support.requests import REQUESTS
from tests.support.spies import watch
from tests.support.world import OTHER_ENVIRONMENT, run

MAY = {
    m.GetWallet,
    m.Sign,
    m.SignEcdsa,
    m.Close,
    d.RevokeDelegation,
    d.TightenDelegation,
    d.ListDelegations,
}
FORBIDDEN = [request for request in REQUESTS if type(request) not in MAY]


def about(request: typing.Any, delegate: Delegate) -> typing.Any:
    """The same request about the delegate's own wallet."""
    known = {field.name for field in msgspec.structs.fields(request)}
    changes = {"wallet_id": delegate.wallet.wallet_id, "share_set_id": delegate.wallet.share_set_id}
    return msgspec.structs.replace(
        request, **{name: value for name, value in changes.items() if name in known}
    )


# --- operations -------------------------------------------------------------------------------------------------------------


def test_the_table_lets_delegates_ask_for_what_stands_here_and_nothing_else():
    assert {kind for kind, needed in REQUIREMENTS.items() if needed.delegate} == MAY
    assert {type(request) for request in FORBIDDEN} == set(REQUIREMENTS) - MAY


@pytest.mark.parametrize("request_", FORBIDDEN, ids=lambda request: type(request).__name__)
def test_every_other_operation_is_forbidden_and_touches_nothing(request_):
    async def scenario():
        host = await started()
        _, delegate = await delegated(host)
        spy, records = watch(host), dict(host.storage.records)
        for request in (request_, about(request_, delegate)):
            refused = await refuses("delegate_forbidden", delegate.door.call(request))
            assert (refused.receipt is not None) == REQUIREMENTS[type(request)].action
        assert spy.untouched
        assert host.storage.records == records
        await delegate.sign()

    run(scenario)


@pytest.mark.parametrize(
    "kind",
    [
        life.ExportShare,
        life.BeginReshare,
        life.CommitReshare,
        a.SetPolicy,
        d.BeginDelegation,
        life.DeleteWallet,
        a.HandOver,
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_users_own_passkey_and_administrators_do_not_help_a_delegate(kind):
    """Evidence that the user gave for this very action of the delegate's session: the delegate has talked them into it."""

    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        request = about(next(one for one in REQUESTS if type(one) is kind), delegate)
        evidence = user.authorize(
            request, door=delegate.door, approvals=administrators(request, asker=user.user_id)
        )
        await refuses("delegate_forbidden", delegate.door.call(request, authorization=evidence))

    run(scenario)


def test_a_delegate_never_signs_as_the_user():
    async def scenario():
        host = await started(step_up={"sign": ["passkey"]})
        user, delegate = await delegated(host)
        _, request = delegate.sign_request()
        evidence = user.authorize(request, door=delegate.door)
        await refuses("evidence_invalid", delegate.door.call(request, authorization=evidence))

    run(scenario)


def test_rules_that_ask_for_a_factor_are_not_for_delegates():
    async def scenario():
        rule = {
            "name": "with a passkey",
            "ruleType": "allow",
            "payloads": ["transaction"],
            "requires": {"factors": ["session_key"]},
        }
        host = await started(
            policy=layer(
                rule,
                {"name": "rest", "ruleType": "allow", "operations": ["create", "delegate", "credential"]},
            )
        )
        _, delegate = await delegated(host)
        await refuses("factor_required", delegate.sign())

    run(scenario)


# --- sessions ---------------------------------------------------------------------------------------------------------------


def test_key_a_on_wallet_b():
    async def scenario():
        host = await started()
        user, one = await delegated(host)
        other = await Approval.of(user, (await user.create()).wallet_id).run()
        door = await Door.open(host)
        await refuses("delegation_refused", door.call(other.login(door, api_key=one.api_key)))
        mixed = other.login(door, share_set_id=one.wallet.share_set_id, api_key=one.api_key)
        await refuses("delegation_refused", door.call(mixed))
        wallet_id, epoch = other.wallet.wallet_id, other.wallet.epoch
        _, request = one.sign_request(payment(other.wallet), wallet_id=wallet_id, epoch=epoch)
        await refuses("not_owner", one.door.call(request))
        await refuses("wallet_unknown", one.door.call(m.GetWallet(wallet_id)))
        await refuses("wallet_unknown", one.door.call(d.ListDelegations(wallet_id)))
        foreign = d.RevokeDelegation(wallet_id, other.wallet.share_set_id)
        await refuses("delegation_unknown", one.door.call(foreign))
        await refuses("not_owner", one.door.call(d.RevokeDelegation(wallet_id, one.wallet.share_set_id)))
        await other.log_in()
        await other.sign()

    run(scenario)


def test_a_key_of_one_environment_in_another():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host)
        door = await Door.open(host, environment=OTHER_ENVIRONMENT)
        for environment in ("sandbox", OTHER_ENVIRONMENT):
            login = delegate.login(door, environment=environment)
            await refuses("delegation_disabled", door.call(login))
        admin = await User.log_in(host, environment=OTHER_ENVIRONMENT)
        request = d.SetDelegationSettings(settings(), 0, new_secret=False)
        approvals = administrators(request, asker=admin.user_id, environment=OTHER_ENVIRONMENT)
        evidence = admin.authorize(request, by=None, approvals=approvals, environment=OTHER_ENVIRONMENT)
        await admin.door.call(request, authorization=evidence)
        await refuses("delegation_refused", door.call(delegate.login(door, environment=OTHER_ENVIRONMENT)))

    run(scenario)


def test_the_right_key_with_another_share_and_the_right_share_with_another_key():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        user_share, door = user.shares[delegate.wallet.wallet_id], await Door.open(host)
        stolen_key = Delegate(host, delegate.wallet, user_share, delegate.api_key, user.user_id)
        await refuses("delegation_refused", door.call(stolen_key.login(door)))
        await refuses("delegation_refused", door.call(delegate.login(door, api_key="dyn_" + "A" * 43)))
        old_proof = delegate.login(await Door.open(host)).proof
        await refuses("delegation_refused", door.call(delegate.login(door, proof=old_proof)))
        await refuses("login_required", door.call(m.GetWallet(delegate.wallet.wallet_id)))
        await door.call(delegate.login(door), d.DelegateLoggedIn)

    run(scenario)


def test_who_does_not_know_the_key_learns_nothing_of_what_there_is():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host)
        door, told = await Door.open(host), set()
        for changes in (
            {"api_key": "dyn_" + "A" * 43},
            {"share_set_id": "2b1f8c3e-7c7e-4d2a-9d5b-3b6a1f0c9e11"},
            {"wallet_id": "2b1f8c3e-7c7e-4d2a-9d5b-3b6a1f0c9e11"},
        ):
            refused = await refuses("delegation_refused", door.call(delegate.login(door, **changes)))
            told.add(str(refused))
        assert len(told) == 1

    run(scenario)


def test_a_users_session_never_becomes_a_delegates_nor_the_other_way_round():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        logged = {chain: len(entries) for chain, entries in host.storage.log.items()}
        await refuses("session_taken", user.door.call(delegate.login(user.door)))
        assert {chain: len(entries) for chain, entries in host.storage.log.items()} == logged
        login = login_request(delegate.door, SessionKey(), token(user.subject))
        await refuses("delegate_forbidden", delegate.door.call(login))
        await refuses("delegate_forbidden", delegate.door.call(delegate.login(delegate.door)))

    run(scenario)


def test_two_delegates_of_one_wallet_know_nothing_of_each_other():
    async def scenario():
        host = await started()
        user, one = await delegated(host)
        other = await Approval.of(user, one.wallet.wallet_id).run()
        await other.log_in()
        for delegate in (one, other):
            listed = await delegate.door.call(d.ListDelegations(one.wallet.wallet_id), d.Delegations)
            assert [found.terms.share_set_id for found in listed.delegations] == [
                delegate.wallet.share_set_id
            ]
        await refuses(
            "delegation_unknown",
            one.door.call(d.RevokeDelegation(one.wallet.wallet_id, other.wallet.share_set_id)),
        )
        await one.revoke()
        await other.sign()
        mine = await user.door.call(d.ListDelegations(one.wallet.wallet_id), d.Delegations)
        assert [found.revoked_by for found in mine.delegations] == ["delegate", ""]

    run(scenario)


def test_replies_kept_for_the_user_are_not_the_delegates():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        key = os.urandom(16)
        _, mine = user.sign_request(delegate.wallet.wallet_id, payment(delegate.wallet))
        mine = msgspec.structs.replace(mine, epoch=2)
        _, theirs = delegate.sign_request()
        await user.door.call(mine, m.Signed, key=key)
        first = await delegate.door.call(theirs, m.Signed, key=key)
        assert await delegate.door.call(theirs, m.Signed, key=key) == first
        await refuses("idempotency_conflict", delegate.door.call(mine, key=key))

    run(scenario)


def test_a_delegate_who_opens_sessions_without_end_closes_none_of_the_users(monkeypatch):
    async def scenario():
        monkeypatch.setattr("enclave.sessions.MAX_OF_USER", 3)
        host = await started()
        user, delegate = await delegated(host)
        for _ in range(6):
            await delegate.log_in()
        await user.door.call(a.GetAccount(), a.Account)

    run(scenario)


def test_after_the_wallet_changed_hands_its_delegates_sign_nothing():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        desk = await service_account(user)
        wallet = await desk.create()
        approval = Approval.of(desk, wallet.wallet_id)
        await approval.begin(authorize=lambda request: desk.authorize(request, by="key"))
        await approval.finish()
        await approval.commit()
        delegate = approval.delegate()
        await delegate.log_in()
        await delegate.sign()
        request = a.HandOver(wallet_id=wallet.wallet_id, user_id=user.user_id)
        await desk.door.call(request, Done, authorization=desk.authorize(request, by="key"))
        await refuses("not_owner", delegate.sign())
        door = await Door.open(host)
        await refuses("not_owner", door.call(delegate.login(door)))
        listed = await user.door.call(d.ListDelegations(wallet.wallet_id), d.Delegations)
        assert len(listed.delegations) == 1
        revoke = d.RevokeDelegation(wallet.wallet_id, delegate.wallet.share_set_id)
        await user.door.call(revoke, Done)

    run(scenario)
