"""What the log is told of a request: enough for an auditor, nothing secret."""

from __future__ import annotations

import hashlib
import json
import typing

import pytest

from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol.receipts import MAX_SUMMARY, bounded_json
from protocol.summaries import summary_of
from tests.support.requests import LIFECYCLE, REQUESTS

KEY = hashlib.sha256(bytes(33)).hexdigest()
USER = "5a0c1e2f-0000-4000-8000-000000000001"
SAYS_ALL = {
    "account_get",
    "close",
    "credential_begin",
    "device_code_make",
    "dkg_finish",
    "log_head_get",
    "login_link",
    "policy_get",
}
SAYS_ALL |= {
    "recovery_cancel",
    "recovery_codes_new",
    "session_keys_list",
    "sign",
    "sign_ecdsa",
    "totp_begin",
    "totp_confirm",
}
SAYS_ALL |= {"totp_remove", "wallet_get"}
SAYS_ALL |= {"delegation_settings_get", "delegation_ping", "delegation_list"}
SAYS_ALL |= {"reshare_finish", "wallet_export", "wallet_delete", "wallet_list"}


def test_every_request_has_a_summary_or_needs_none() -> None:
    assert {type(request) for request in REQUESTS} == set(typing.get_args(m.Request))
    assert {request.kind for request in REQUESTS if not summary_of(request)} == SAYS_ALL


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_summary_is_short_json(request_: typing.Any) -> None:
    text = bounded_json(summary_of(request_), MAX_SUMMARY)
    assert json.loads(text) == summary_of(request_)


def test_a_handover_says_who_deals_and_who_receives_and_a_backup_nothing_that_opens_it() -> None:
    told = {type(request): summary_of(request) for request in LIFECYCLE}
    assert told[life.BeginReshare] == {
        "purpose": "reshare",
        "epoch": 1,
        "dealer": 1,
        "threshold": 2,
        "parties": 3,
    }
    assert told[life.BeginBackup] == {"epoch": 1, "party": 1, "passcode": True}
    without = life.BeginBackup("w", 1, 1, None, None)
    assert summary_of(without)["passcode"] is False
    assert told[life.OpenBackup].keys() == {"backup_id"}
    assert "message2" not in told[life.ImportWallet]


def test_nothing_that_vouches_or_can_be_guessed_is_in_a_summary() -> None:
    secret = "s3cr3t"
    assert summary_of(a.ConfirmTotp(code="123456")) == {}
    login = a.Login(f"a.{secret}.c", bytes(33), bytes(64), None, None, 60)
    assert summary_of(login) == {"session_key": KEY, "lifetime": 60}
    assert summary_of(a.LinkLogin(f"a.{secret}.c")) == {}


def test_what_a_user_approves_of_a_delegation_and_what_administrators_set_is_named() -> None:
    begin = next(request for request in REQUESTS if isinstance(request, d.BeginDelegation))
    told = summary_of(begin)["terms"]
    assert isinstance(told, dict)
    assert set(told) == {"share_set_id", "app", "rules", "expires_at", "kid", "key_hash"}
    assert told["rules"] == hashlib.sha256(begin.terms.rules).hexdigest()
    settings = next(request for request in REQUESTS if isinstance(request, d.SetDelegationSettings))
    (key,) = summary_of(settings)["settings"]["keys"]  # type: ignore[index]
    assert key["public_key"] == hashlib.sha256(settings.settings.keys[0].public_key).hexdigest()


def test_neither_api_keys_nor_encrypted_shares_are_in_a_summary() -> None:
    kinds = (d.DelegateLogin, d.CommitDelegation, d.FinishDelegation)
    for request in (request for request in REQUESTS if isinstance(request, kinds)):
        assert set(summary_of(request)) <= {"share_set_id", "epoch"}


def test_what_changes_is_named() -> None:
    content = b'{"version":1}'
    assert summary_of(a.SetPolicy("wallet", "w", bytes(32), content)) == {
        "expected": "00" * 32,
        "content": hashlib.sha256(content).hexdigest(),
    }
    assert summary_of(a.HandOver(USER, USER)) == {"user_id": USER}
    assert summary_of(a.ChangeCredential(bytes(16), None, active=False)) == {
        "credential_id": "00" * 16,
        "name": None,
        "active": False,
    }
    assert summary_of(a.RevokeSessionKeys([bytes(33)])) == {"session_keys": [KEY]}
    assert summary_of(a.SetRecoveryKey("ed25519", None)) == {"algorithm": "ed25519", "public_key": None}
