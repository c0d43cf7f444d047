"""Refusals name what is missing, for programs: factors and approvers, and nothing where nothing would help."""

from __future__ import annotations

import typing

import pytest

from protocol import accounts as a
from protocol.actions import TotpCode
from tests.attacks.test_authorization import payment, refuses, started, totp, with_wallet
from tests.attacks.test_rules import OPERATIONS, SIGN, replace
from tests.support.door import User, administrators
from tests.support.manifests import layer
from tests.support.world import run


@pytest.mark.parametrize(
    ("step_up", "needs"),
    [
        (["passkey"], ("passkey",)),
        (["signing_key"], ("signing_key",)),
        (["passkey", "signing_key", "totp"], ("passkey", "signing_key")),
        (["totp"], ("totp",)),
    ],
)
def test_a_request_that_needs_more_says_which_factors(step_up, needs):
    async def scenario():
        host = await started(step_up={"sign": step_up})
        user, wallet = await with_wallet(host)
        refused = await refuses("factor_required", user.sign(wallet, payment(user, wallet)))
        assert refused.needs == needs

    run(scenario)


def test_rules_say_which_factors_and_whose_approvals_they_need():
    async def scenario():
        host = await started()
        boss, aide = (await with_wallet(host))[0], (await with_wallet(host))[0]
        user, wallet = await with_wallet(host)
        names = [f"user:{boss.user_id}", f"user:{aide.user_id}"]
        needy = SIGN | {"requires": {"factors": ["passkey", "totp"]}}
        await replace(user, "wallet", wallet, layer(needy, OPERATIONS, name="wallet"))
        refused = await refuses("factor_required", user.sign(wallet, payment(user, wallet)))
        assert set(refused.needs) == {"passkey", "totp"}
        needy = SIGN | {"requires": {"approvals": {"count": 2, "of": names}}}
        await replace(user, "wallet", wallet, layer(needy, OPERATIONS, name="wallet"))
        _, request = user.sign_request(wallet, payment(user, wallet))
        refused = await refuses("approval_required", user.door.call(request))
        assert sorted(refused.needs) == sorted(names)
        one = user.authorize(request, by=None, approvals=[boss.approve(request, asker=user.user_id)])
        refused = await refuses("approval_required", user.door.call(request, authorization=one))
        assert refused.needs == (f"user:{aide.user_id}",)

    run(scenario)


def test_what_administrators_must_approve_names_those_who_have_not():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        before = await user.door.call(a.GetPolicy(layer="environment", subject=""), a.PolicyLayer)
        request = a.SetPolicy(layer="environment", subject="", expected=before.hash, content=before.content)
        refused = await refuses("approval_required", user.door.call(request))
        everybody = set(refused.needs)
        assert {"administrator:ada", "administrator:bea"} <= everybody
        one = user.authorize(request, by=None, approvals=administrators(request, "ada", asker=user.user_id))
        refused = await refuses("approval_required", user.door.call(request, authorization=one))
        assert set(refused.needs) == everybody - {"administrator:ada"}

    run(scenario)


def test_the_strongest_that_a_user_has_is_named_and_what_nothing_would_help_names_nothing():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        nothing = await refuses("factor_required", user.door.call(a.NewRecoveryCodes()))
        assert nothing.needs == ()
        secret = (await user.door.call(a.BeginTotp(), a.TotpSecret)).secret
        await user.door.call(a.ConfirmTotp(code=totp(secret)), a.RecoveryCodes)
        request: typing.Any = a.MakeDeviceCode()
        assert (await refuses("factor_required", user.door.call(request))).needs == ("totp",)
        code = TotpCode(code=totp(secret, 1))
        await user.door.call(request, authorization=user.authorize(request, by=None, second=code))
        other = await User.log_in(host)
        await other.add_passkey()
        assert set((await refuses("factor_required", other.door.call(request))).needs) == {
            "passkey",
            "signing_key",
        }

    run(scenario)
