"""The table of what requests need covers every request there is, and says nothing that the specification does not."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import msgspec
import pytest

from enclave.authorization.requirements import (
    ACTIONS,
    ENVIRONMENT_POLICY,
    REFRESH,
    REQUIREMENTS,
    requirement_of,
)
from policy.rules import OPERATIONS
from protocol import accounts, delegation, lifecycle, messages
from protocol.envelope.messages import Status
from protocol.receipts import GetLogHead
from tests.support.requests import DELEGATION, LIFECYCLE

REQUESTS = set(typing.get_args(messages.Request))
BEFORE_LOGIN = {
    messages.Close,
    accounts.Login,
    accounts.KeyLogin,
    accounts.BeginCredential,
    accounts.Recover,
    delegation.DelegateLogin,
    GetLogHead,
}
READ = {
    messages.GetWallet,
    messages.FinishDkg,
    accounts.GetAccount,
    accounts.GetPolicy,
    accounts.ListSessionKeys,
    lifecycle.ListWallets,
    lifecycle.FinishReshare,
    delegation.GetDelegationSettings,
    delegation.ListDelegations,
    delegation.FinishDelegation,
}


def test_every_request_of_the_union_is_in_the_table_and_nothing_else():
    assert set(REQUIREMENTS) == REQUESTS


def test_before_a_login_these_requests_are_legal_and_no_others():
    assert {kind for kind, needed in REQUIREMENTS.items() if needed.who == "anybody"} == BEFORE_LOGIN


def test_everything_that_changes_state_is_an_action():
    assert {kind for kind, needed in REQUIREMENTS.items() if not needed.action} == BEFORE_LOGIN | READ


def test_rules_are_asked_under_names_that_the_policy_knows():
    assert {needed.rules for needed in REQUIREMENTS.values()} - {None} <= set(OPERATIONS)


@pytest.mark.parametrize(
    "kind",
    [
        messages.Sign,
        messages.SignEcdsa,
        messages.BeginDkg,
        lifecycle.ImportWallet,
        lifecycle.BeginReshare,
        lifecycle.ExportShare,
        delegation.BeginDelegation,
    ],
)
def test_nothing_reaches_a_share_without_rules(kind):
    assert REQUIREMENTS[kind].rules in {"sign", "create", "reshare", "export", "delegate"}


def test_a_refresh_has_rules_of_its_own_and_nothing_else_is_taken_for_one():
    begin = next(request for request in LIFECYCLE if isinstance(request, lifecycle.BeginReshare))
    begin = msgspec.structs.replace(begin, parties=2)
    assert requirement_of(msgspec.structs.replace(begin, purpose="refresh")) is REFRESH
    assert (REFRESH.rules, REFRESH.credential, REFRESH.action) == ("refresh", True, True)
    for purpose in ("reshare", "recover"):
        needed = requirement_of(msgspec.structs.replace(begin, purpose=purpose))
        assert (needed.rules, needed.credential) == ("reshare", True)


@pytest.mark.parametrize("kind", [lifecycle.BeginReshare, delegation.BeginDelegation])
def test_two_shares_for_one_device_are_an_export(kind):
    begin = next(request for request in (*LIFECYCLE, *DELEGATION) if isinstance(request, kind))
    for parties in (3, 4, 5, 255):
        needed = requirement_of(msgspec.structs.replace(begin, parties=parties))
        assert (needed.export, needed.credential, needed.strong) == (True, True, True)
    assert not requirement_of(msgspec.structs.replace(begin, parties=2)).export
    if kind is lifecycle.BeginReshare:
        refresh = requirement_of(msgspec.structs.replace(begin, parties=3, purpose="refresh"))
        assert (refresh.rules, refresh.export, refresh.strong) == ("refresh", True, True)


def test_a_user_without_any_credential_exports_nothing():
    assert [kind for kind, needed in REQUIREMENTS.items() if needed.strong] == [lifecycle.ExportShare]


def test_what_a_thief_of_a_session_would_want_needs_a_credential():
    wanted = {
        accounts.LinkLogin,
        accounts.UnlinkLogin,
        accounts.AddCredential,
        accounts.ChangeCredential,
        accounts.RemoveCredential,
        accounts.MakeDeviceCode,
        accounts.BeginTotp,
        accounts.NewRecoveryCodes,
        accounts.RemoveTotp,
        accounts.SetRecoveryKey,
        accounts.CancelRecovery,
        accounts.HandOver,
        accounts.SetPolicy,
        lifecycle.ImportWallet,
        lifecycle.BeginReshare,
        lifecycle.ExportShare,
        lifecycle.DeleteWallet,
        lifecycle.OpenBackup,
        lifecycle.RemoveBackup,
        delegation.BeginDelegation,
        delegation.TightenDelegation,
    }
    assert {kind for kind, needed in REQUIREMENTS.items() if needed.credential} == wanted


def test_a_device_code_is_good_for_adding_a_credential_and_nothing_else():
    assert [kind for kind, needed in REQUIREMENTS.items() if needed.device_code] == [accounts.AddCredential]


def test_the_environments_policy_is_for_administrators():
    request = accounts.SetPolicy(layer="environment", subject="", expected=bytes(32), content=b"")
    assert requirement_of(request) is ENVIRONMENT_POLICY
    assert ENVIRONMENT_POLICY.administrators
    assert REQUIREMENTS[accounts.NewServiceAccount].administrators


def test_what_concerns_all_of_an_environments_delegates_is_for_administrators():
    for kind in (
        delegation.SetDelegationSettings,
        delegation.PingWebhook,
        delegation.RevokeDelegationAsAdministrator,
    ):
        assert REQUIREMENTS[kind].administrators
        assert REQUIREMENTS[kind].action


def test_no_rule_keeps_a_user_from_shutting_an_app_out():
    needed = REQUIREMENTS[delegation.RevokeDelegation]
    assert (needed.rules, needed.credential, needed.administrators) == (None, False, False)


def specified() -> dict[str, list[str]]:
    """The table of the specification, by kind of request."""
    text = (Path(__file__).parents[3] / "docs/spec/authorization.md").read_text()
    section = text[text.index("## 2. ") : text.index("## 3. ")]
    found = {}
    for line in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE):
        names, *cells = (cell.strip() for cell in line.split("|"))
        for kind in re.findall(r"`(\w+)`", names):
            special = next((f"/{word}" for word in ("environment", "refresh") if word in names), "")
            found[kind + special] = cells
    return found


def test_the_specification_has_the_same_table():
    rows = specified()
    table = {str(kind.__struct_config__.tag): needed for kind, needed in REQUIREMENTS.items()}
    table["policy_set/environment"] = ENVIRONMENT_POLICY
    table["reshare_begin/refresh"] = REFRESH
    assert rows.keys() == table.keys()
    for kind, needed in table.items():
        before, action, rules, credential, besides = rows[kind]
        assert (before == "yes") == (needed.who == "anybody"), kind
        assert (action == "yes") == needed.action, kind
        assert rules.strip("`") == (needed.rules or ""), kind
        assert credential.startswith("yes") == needed.credential, kind
        assert ("always" in credential) == needed.strong, kind
        assert ("device code" in credential) == needed.device_code, kind
        assert ("quorum" in besides) == needed.administrators, kind
        assert ("delegates, too" in besides) == needed.delegate, kind


def test_a_request_that_is_not_in_the_table_is_refused():
    with pytest.raises(KeyError):
        requirement_of(Status())


def test_step_up_can_name_actions_only():
    assert "sign" in ACTIONS
    assert "wallet_get" not in ACTIONS
    assert "login" not in ACTIONS
