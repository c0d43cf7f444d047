"""Bounds of the messages about users and of the evidence for actions, exact on both sides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol import accounts as a
from protocol import actions
from protocol import lifecycle as life
from protocol import messages as m
from protocol.actions import Action, Approval
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.intents import action_of, approval_of, body_of, intent_of, subject_of
from tests.protocol.samples import (
    ASSERTION,
    AUTHORIZATION,
    CREDENTIAL,
    SAMPLES,
    SESSION_AUTH,
    USER_ID,
    WALLET_ID,
)

NEW_PASSKEY = SAMPLES[a.AddCredential].credential
NEW_KEY = SAMPLES[a.NewServiceAccount].credential
KEY_INFO = SAMPLES[a.SessionKeys].keys[0]
LOGIN_INFO = SAMPLES[a.Account].logins[0]
APPROVAL = AUTHORIZATION.approvals[0]
KEY_SIGNATURE = APPROVAL.evidence
ACTION = action_of(
    SAMPLES[m.Sign],
    environment="sandbox",
    session=bytes(32),
    user_id=USER_ID,
    nonce=bytes(16),
    expires_at=1,
)
BY_TYPE = SAMPLES | {
    type(value): value
    for value in (
        NEW_PASSKEY,
        NEW_KEY,
        KEY_INFO,
        LOGIN_INFO,
        APPROVAL,
        KEY_SIGNATURE,
        ASSERTION,
        AUTHORIZATION,
        CREDENTIAL,
        SESSION_AUTH,
        ACTION,
    )
}
MAX_MS = 1 << 53

BYTES = [
    (a.SessionAuth, "session_key", 33, 33),
    (a.SessionAuth, "signature", 64, 64),
    (a.Login, "session_key", 33, 33),
    (a.Login, "proof", 64, 64),
    (a.Login, "previous", 33, 33),
    (a.Login, "previous_proof", 64, 64),
    (a.KeyLogin, "credential_id", 16, 1023),
    (a.KeyLogin, "signature", 64, 512),
    (a.KeyLogin, "session_key", 33, 33),
    (a.KeyLogin, "proof", 64, 64),
    (a.AddCredential, "challenge", 32, 32),
    (a.NewPasskey, "client_data_json", 1, 4096),
    (a.NewPasskey, "attestation_object", 1, 16384),
    (a.NewKey, "public_key", 32, 1024),
    (a.NewKey, "proof", 64, 512),
    (a.ChangeCredential, "credential_id", 16, 1023),
    (a.RemoveCredential, "credential_id", 16, 1023),
    (a.SetRecoveryKey, "public_key", 32, 1024),
    (a.Recover, "challenge", 32, 32),
    (a.Recover, "session_key", 33, 33),
    (a.Recover, "proof", 64, 64),
    (a.Recover, "signature", 64, 512),
    (a.Recover, "gate", 64, 512),
    (a.NewServiceAccount, "challenge", 32, 32),
    (a.SetPolicy, "expected", 32, 32),
    (a.SetPolicy, "content", 0, 48 << 10),
    (a.CredentialChallenge, "challenge", 32, 32),
    (a.CredentialChallenge, "user_handle", 16, 64),
    (a.TotpSecret, "secret", 20, 20),
    (a.PolicyLayer, "hash", 32, 32),
    (actions.PasskeyAssertion, "credential_id", 16, 1023),
    (actions.PasskeyAssertion, "client_data_json", 1, 4096),
    (actions.PasskeyAssertion, "authenticator_data", 37, 4096),
    (actions.PasskeyAssertion, "signature", 1, 1024),
    (actions.KeySignature, "credential_id", 16, 1023),
    (actions.KeySignature, "signature", 64, 512),
    (actions.SignedApproval, "nonce", 16, 16),
    (actions.Authorization, "nonce", 16, 16),
    (Action, "session", 32, 32),
    (Action, "body", 32, 32),
    (Action, "nonce", 16, 16),
]
NUMBERS = [
    (a.SessionAuth, "issued_at", 0, MAX_MS),
    (a.Login, "lifetime", 60, 90 * 86400),
    (a.KeyLogin, "lifetime", 60, 90 * 86400),
    (a.LoggedIn, "session_key_expires_at", 0, MAX_MS),
    (a.SessionKeyInfo, "expires_at", 0, MAX_MS),
    (a.DeviceCodeMade, "expires_at", 0, MAX_MS),
    (a.RecoveryPending, "not_before", 0, MAX_MS),
    (a.Account, "recovery_codes_left", 0, 10),
    (a.Account, "locked_until", 0, MAX_MS),
    (a.PolicyLayer, "version", 0, (1 << 32) - 1),
    (actions.SignedApproval, "expires_at", 0, MAX_MS),
    (actions.Authorization, "expires_at", 0, MAX_MS),
    (Action, "version", 1, 1),
    (Action, "expires_at", 0, MAX_MS),
]
COUNTS = [
    (a.SessionKeys, "keys", KEY_INFO, 0, 32),
    (a.RevokeSessionKeys, "session_keys", bytes(33), 0, 32),
    (a.CredentialChallenge, "exclude", bytes(16), 0, 32),
    (a.RecoveryCodes, "codes", "x", 0, 10),
    (a.Account, "logins", LOGIN_INFO, 0, 8),
    (a.Account, "credentials", CREDENTIAL, 0, 32),
    (actions.Authorization, "approvals", APPROVAL, 0, 16),
]
UUIDS = ([USER_ID], ["", USER_ID.upper(), USER_ID + "\n", USER_ID[:-1], "x" * 36])
LABELS = (["a", "ä" * 64], ["", "x" * 65])
SUBJECTS = (["", "user:a_b.c-D", "x" * 128], ["x" * 129, "a b", "a/b", "a\n", "ä"])
ALGORITHMS = (["ed25519", "p256", "rsa"], ["", "RSA", "secp256k1"])
JWTS = (["a.b.c", "A-_9.x." + "y" * 8000], ["", "a.b", "a.b.c.d", "a.b.c\n", "a.b.", "a.b.c=", "x" * 8193])
TEXTS: list[tuple[Any, str, tuple[list[str], list[str]]]] = [
    (a.SessionAuth, "user_id", UUIDS),
    (a.KeyLogin, "user_id", UUIDS),
    (a.Recover, "user_id", UUIDS),
    (a.HandOver, "user_id", UUIDS),
    (a.HandOver, "wallet_id", UUIDS),
    (a.LoggedIn, "user_id", UUIDS),
    (a.Login, "jwt", JWTS),
    (a.LinkLogin, "jwt", JWTS),
    (a.UnlinkLogin, "login", SUBJECTS),
    (a.SessionKeyInfo, "login", SUBJECTS),
    (a.SetPolicy, "subject", SUBJECTS),
    (a.GetPolicy, "subject", SUBJECTS),
    (actions.SignedApproval, "approver", SUBJECTS),
    (Action, "subject", SUBJECTS),
    (Action, "operation", (["sign", "a" * 64], ["", "Sign", "1a", "a-b", "a" * 65, "a\n"])),
    (Action, "environment", (["a", "a" * 63], ["", "A", "a_b", "a" * 64, "a\n"])),
    (a.AddCredential, "name", LABELS),
    (a.ChangeCredential, "name", LABELS),
    (a.Recover, "name", LABELS),
    (a.NewServiceAccount, "name", LABELS),
    (a.NewKey, "algorithm", ALGORITHMS),
    (a.SetRecoveryKey, "algorithm", ALGORITHMS),
    (a.SetPolicy, "layer", (["environment", "account", "wallet", "signer"], ["", "Wallet", "chain"])),
    (a.ConfirmTotp, "code", (["000000"], ["", "00000", "0000000", "00000a", "٠٠٠٠٠٠", "000000\n"])),
]


def bound(kind: Any, field: str, inside: list[Any], outside: list[Any]) -> None:
    tree = dict(msgspec.to_builtins(BY_TYPE[kind], builtin_types=(bytes,)))
    for value in inside:
        raw = cbor.encode(tree | {field: value})
        assert getattr(cbor.decode(raw, kind, culprit=Culprit.CLIENT), field) == value
    for value in outside:
        with pytest.raises(ProtocolError):
            cbor.decode(cbor.encode(tree | {field: value}), kind, culprit=Culprit.CLIENT)


def name_of(value: Any) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("kind", "field", "least", "most"), BYTES, ids=name_of)
def test_byte_strings(kind, field, least, most):
    bound(kind, field, [bytes(least), bytes(most)], [bytes(most + 1), *([bytes(least - 1)] if least else [])])


@pytest.mark.parametrize(("kind", "field", "least", "most"), NUMBERS, ids=name_of)
def test_numbers(kind, field, least, most):
    bound(kind, field, [least, most], [least - 1, most + 1])


@pytest.mark.parametrize(("kind", "field", "entry", "least", "most"), COUNTS, ids=name_of)
def test_lists(kind, field, entry, least, most):
    bound(kind, field, [[entry] * least, [entry] * most], [[entry] * (most + 1)])


@pytest.mark.parametrize(("kind", "field", "values"), TEXTS, ids=name_of)
def test_texts(kind, field, values):
    bound(kind, field, *values)


@pytest.mark.parametrize("code", ["0000-0000-0000-0000", "ZZZZ-9999-VTSR-QPNM"])
@pytest.mark.parametrize("kind", [actions.DeviceCode, actions.RecoveryCode])
def test_one_time_codes_have_one_form(kind, code):
    assert cbor.decode(cbor.encode(kind(code=code)), kind, culprit=Culprit.CLIENT).code == code
    for wrong in (
        code.lower().replace("0", "o"),
        code[:-1],
        code + "0",
        code.replace("-", ""),
        "IIII" + code[4:],
    ):
        with pytest.raises(ProtocolError):
            cbor.decode(cbor.encode(kind(code=wrong)), kind, culprit=Culprit.CLIENT)


@pytest.mark.parametrize("length", [15, 33])
def test_idempotency_keys_are_16_to_32_bytes(length):
    for good in (16, 32):
        call = m.Call(m.Close(), None, bytes(good))
        assert cbor.decode(cbor.encode(call), m.Call, culprit=Culprit.CLIENT) == call
    with pytest.raises(ProtocolError):
        cbor.decode(cbor.encode(m.Call(m.Close(), None, bytes(length))), m.Call, culprit=Culprit.CLIENT)


# --- what is authorized and approved -----------------------------------------------------------------------------------------


def test_every_field_of_an_action_changes_its_hash():
    others = {
        "environment": "live",
        "session": bytes(31) + b"\x01",
        "operation": "sign_ecdsa",
        "subject": USER_ID,
        "body": bytes(31) + b"\x01",
        "nonce": bytes(15) + b"\x01",
        "expires_at": 2,
    }
    assert set(others) | {"version"} == set(Action.__struct_fields__)
    hashes = {ACTION.hash} | {
        msgspec.structs.replace(ACTION, **{name: value}).hash for name, value in others.items()
    }
    assert len(hashes) == len(others) + 1


def test_an_action_and_an_approval_of_the_same_fields_have_different_hashes():
    approval = Approval(
        version=1,
        environment="sandbox",
        operation="sign",
        subject=WALLET_ID,
        intent=bytes(32),
        nonce=bytes(16),
        expires_at=1,
    )
    assert len({approval.hash, ACTION.hash}) == 2


def test_the_hash_of_an_action_is_what_the_specification_says():
    import hashlib

    from tests.protocol.deterministic import encode

    tree = {
        "version": 1,
        "environment": "sandbox",
        "session": bytes(32),
        "operation": "sign",
        "subject": WALLET_ID,
        "body": hashlib.sha256(cbor.encode(SAMPLES[m.Sign])).digest(),
        "nonce": bytes(16),
        "expires_at": 1,
    }
    assert ACTION.hash == hashlib.sha256(b"cosigner/action/v1" + encode(tree)).digest()


ATTEMPTS: list[tuple[Any, dict[str, Any]]] = [
    (SAMPLES[m.Sign], {"epoch": 2, "commitments": [bytes(66)], "party": 3}),
    (SAMPLES[m.SignEcdsa], {"epoch": 2, "message1": b"another", "party": 3}),
    (SAMPLES[life.BeginReshare], {"epoch": 2, "message1": b"another"}),
    (
        SAMPLES[life.ImportWallet],
        {
            "wallet_id": USER_ID,
            "message1": b"another",
            "message2": b"another",
            "confirmations": [bytes(32)] * 2,
        },
    ),
    (SAMPLES[life.ExportShare], {"epoch": 2, "wrapping_key": bytes(32)}),
    (SAMPLES[life.BeginBackup], {"epoch": 2, "passcode": None, "passcode_proof": None}),
    (SAMPLES[life.OpenBackup], {"passcode_proof": None}),
    (SAMPLES[life.DeleteWallet], {}),
    (SAMPLES[m.BeginDkg], {"wallet_id": USER_ID, "message1": b"another"}),
    (SAMPLES[a.AddCredential], {"challenge": bytes(31) + b"\x01"}),
    (SAMPLES[a.NewServiceAccount], {"challenge": bytes(31) + b"\x01"}),
]


@pytest.mark.parametrize(("request_", "attempt"), ATTEMPTS, ids=lambda value: type(value).__name__)
def test_an_intent_is_the_same_for_every_attempt_and_for_nothing_else(request_, attempt):
    intent = intent_of(request_)
    for name, value in attempt.items():
        again = msgspec.structs.replace(request_, **{name: value})
        assert intent_of(again) == intent
        assert body_of(again) != body_of(request_)
    for name in set(request_.__struct_fields__) - set(attempt) - {"credential"}:
        other = msgspec.structs.replace(request_, **{name: _another(getattr(request_, name))})
        assert intent_of(other) != intent, name


def test_a_service_account_is_approved_by_its_key_and_not_by_one_proof():
    request = SAMPLES[a.NewServiceAccount]
    key = request.credential
    proof = msgspec.structs.replace(
        request, credential=msgspec.structs.replace(key, proof=bytes(63) + b"\x01")
    )
    other = msgspec.structs.replace(
        request, credential=msgspec.structs.replace(key, public_key=bytes(43) + b"\x01")
    )
    assert intent_of(proof) == intent_of(request) != intent_of(other)


def test_what_is_approved_elsewhere_is_approved_of_this_request():
    for request in (SAMPLES[m.Sign], SAMPLES[a.SetPolicy], SAMPLES[a.HandOver]):
        one = approval_of(
            request,
            environment="sandbox",
            subject=subject_of(request, USER_ID),
            nonce=bytes(16),
            expires_at=1,
        )
        assert (one.operation, one.intent) == (request.kind, intent_of(request))


@pytest.mark.parametrize(
    ("request_", "subject"),
    [
        (SAMPLES[m.Sign], WALLET_ID),
        (SAMPLES[m.SignEcdsa], WALLET_ID),
        (SAMPLES[a.HandOver], WALLET_ID),
        (SAMPLES[m.BeginDkg], ""),
        (SAMPLES[life.ImportWallet], ""),
        (SAMPLES[life.BeginReshare], WALLET_ID),
        (SAMPLES[life.CommitReshare], WALLET_ID),
        (SAMPLES[life.ExportShare], WALLET_ID),
        (SAMPLES[life.DeleteWallet], WALLET_ID),
        (SAMPLES[life.OpenBackup], WALLET_ID),
        (SAMPLES[a.NewServiceAccount], ""),
        (SAMPLES[a.SetPolicy], f"wallet:{WALLET_ID}"),
        (msgspec.structs.replace(SAMPLES[a.SetPolicy], layer="environment", subject=""), "environment"),
        (SAMPLES[a.MakeDeviceCode], USER_ID),
        (SAMPLES[a.RevokeSessionKeys], USER_ID),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subjects(request_, subject):
    assert subject_of(request_, USER_ID) == subject


def _another(value: Any) -> Any:
    """Another value of the same type. What it means does not matter here."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "x"
        case list():
            return [*value, *value, 1]
        case _:
            return msgspec.structs.replace(value, **{value.__struct_fields__[0]: b"another"})
