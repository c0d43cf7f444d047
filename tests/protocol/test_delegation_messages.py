"""Bounds of the messages about delegated access, exact on both sides; and the context of a delegate's proof (``docs/spec/delegation.md``)."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import msgspec
import pytest

from protocol import delegation as d
from protocol.binding import delegate_context
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.messages import Message
from protocol.wallets import WalletInfo
from tests.protocol.samples import SAMPLES, WALLET_ID
from tests.support.requests import ENVELOPE, SETTINGS, TERMS

INFO = SAMPLES[d.Delegations].delegations[0]
KEY = SETTINGS.keys[0]
BY_TYPE = SAMPLES | {type(value): value for value in (INFO, KEY, SETTINGS, TERMS)}
EPOCHS = (1, (1 << 32) - 1)
VERSIONS = (0, (1 << 32) - 1)
MAX_MS = 1 << 53

BYTES = [
    (d.DeveloperKey, "public_key", 256, 1024),
    (d.DelegationTerms, "rules", 2, 16384),
    (d.DelegationTerms, "key_hash", 32, 32),
    (d.DelegationInfo, "tightened", 0, 16384),
    (d.BeginDelegation, "message1", 1, 16384),
    (d.BeginDelegation, "delegate_message1", 1, 16384),
    (d.DelegationBegun, "message1", 1, 16384),
    (d.DelegationBegun, "delegate_message1", 1, 16384),
    (d.DelegationBegun, "delegate_message2", 1, 16384),
    (d.FinishDelegation, "message2", 1, 16384),
    (d.FinishDelegation, "delegate_message2", 1, 16384),
    (d.FinishDelegation, "delegate_confirmation", 32, 32),
    (d.DelegationStored, "confirmation", 32, 32),
    (d.DelegationStored, "delegate_confirmation", 32, 32),
    (d.CommitDelegation, "delegate_proof", 64, 80),
    (d.TightenDelegation, "rules", 2, 16384),
    (d.DelegateLogin, "proof", 64, 80),
]
NUMBERS = [
    (d.DelegationTerms, "expires_at", 0, MAX_MS),
    (d.DelegationInfo, "expires_at", 0, MAX_MS),
    (d.DelegationInfo, "created_at", 0, MAX_MS),
    (d.DelegationInfo, "revoked_at", 0, MAX_MS),
    (d.DelegationSettingsReply, "version", *VERSIONS),
    (d.SetDelegationSettings, "version", *VERSIONS),
    (d.DelegationConfigured, "version", *VERSIONS),
    (d.BeginDelegation, "epoch", *EPOCHS),
    (d.BeginDelegation, "dealer", 1, 255),
    (d.BeginDelegation, "threshold", 1, 255),
    (d.BeginDelegation, "parties", 1, 255),
    (d.CommitDelegation, "epoch", *EPOCHS),
    (d.TightenDelegation, "expires_at", 0, MAX_MS),
    (d.DelegateLoggedIn, "expires_at", 0, MAX_MS),
]
APPROVAL = SAMPLES[d.DelegationSettingsReply].approvals[0]
COUNTS = [
    (d.DelegationSettings, "keys", KEY, 0, 16),
    (d.DelegationSettingsReply, "approvals", APPROVAL, 0, 16),
    (d.DelegationBegun, "messages2", b"m", 1, 5),
    (d.FinishDelegation, "confirmations", bytes(32), 1, 5),
    (d.CommitDelegation, "proofs", bytes(64), 1, 5),
    (d.Delegations, "delegations", INFO, 0, 64),
]
UUIDS = ([WALLET_ID], ["", WALLET_ID.upper(), WALLET_ID + "\n", WALLET_ID[:-1], "x" * 36])
LABELS = (["a", "x" * 64, "Ä"], ["", "x" * 65])
KIDS = (["a", "x" * 64, "a.b_c-D"], ["", "x" * 65, "a b", "ä", "a\n"])
KINDS = {
    kind
    for _, kind in inspect.getmembers(d, inspect.isclass)
    if issubclass(kind, Message) and kind is not Message
}
TEXTS: list[tuple[Any, str, tuple[list[str], list[str]]]] = [
    *(
        (kind, "wallet_id", UUIDS)
        for kind in (*KINDS, d.DelegationInfo)
        if "wallet_id" in kind.__struct_fields__
    ),
    *(
        (kind, "share_set_id", UUIDS)
        for kind in (*KINDS, d.DelegationTerms)
        if "share_set_id" in kind.__struct_fields__
    ),
    (d.DelegateLoggedIn, "user_id", UUIDS),
    (d.DelegationConfigured, "webhook_id", UUIDS),
    (
        d.DelegationConfigured,
        "webhook_secret",
        (["", "whsec_" + "a" * 16], ["whsec_", "secret", "whsec_" + "a" * 129]),
    ),
    (d.DelegationSettings, "app", LABELS),
    (d.DelegationTerms, "app", LABELS),
    (
        d.DelegationSettings,
        "endpoint",
        (
            ["", "https://a", "http://a"],
            ["ftp://a", "https://", "https://a b", "https://a\n", "https://" + "a" * 505],
        ),
    ),
    (d.DeveloperKey, "kid", KIDS),
    (d.DelegationTerms, "kid", KIDS),
    (d.DeveloperKey, "state", (["pending", "active", "revoked"], ["", "Active", "expired"])),
    (d.DelegationInfo, "revoked_by", (["", "user", "delegate", "administrator"], ["host", "User"])),
    (
        d.DelegateLogin,
        "api_key",
        (
            ["dyn_" + "A" * 43, "dyn_" + "-_" * 21 + "0"],
            ["", "A" * 47, "dyn_" + "A" * 42, "dyn_" + "A" * 44, "dyn_" + "=" * 43],
        ),
    ),
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
    shorter = [bytes(least - 1)] if least else []
    bound(kind, field, [bytes(least), bytes(most)], [bytes(most + 1), *shorter])


@pytest.mark.parametrize(("kind", "field", "least", "most"), NUMBERS, ids=name_of)
def test_numbers(kind, field, least, most):
    bound(kind, field, [least, most], [least - 1, most + 1])


@pytest.mark.parametrize(("kind", "field", "entry", "least", "most"), COUNTS, ids=name_of)
def test_lists(kind, field, entry, least, most):
    fewer = [[entry] * (least - 1)] if least else []
    bound(kind, field, [[entry] * least, [entry] * most], [[entry] * (most + 1), *fewer])


@pytest.mark.parametrize(("kind", "field", "values"), TEXTS, ids=name_of)
def test_texts(kind, field, values):
    bound(kind, field, *values)


def test_every_bounded_field_is_in_a_table():
    """A new message or field must bring its bounds along."""
    tables = {(kind, field) for kind, field, *_ in [*BYTES, *NUMBERS, *COUNTS, *TEXTS]}
    structures = (WalletInfo, d.DelegationSettings, d.DelegationTerms, type(ENVELOPE), bool)
    fields = {
        (kind, field)
        for kind in KINDS | {d.DelegationInfo, d.DeveloperKey, d.DelegationSettings, d.DelegationTerms}
        for field in kind.__struct_fields__
        if not isinstance(getattr(BY_TYPE[kind], field), structures)
    }
    assert fields == tables


def test_at_most_one_key_is_the_active_one():
    other = msgspec.structs.replace(KEY, kid="other", state="pending")
    assert msgspec.structs.replace(SETTINGS, keys=[other, KEY]).active_key() == KEY
    assert msgspec.structs.replace(SETTINGS, keys=[other]).active_key() is None
    assert msgspec.structs.replace(SETTINGS, keys=[]).active_key() is None


def test_the_context_of_a_delegates_proof_is_what_the_specification_says():
    """``docs/spec/delegation.md`` §6."""
    parts = (bytes(range(32)), "sandbox", WALLET_ID, TERMS.share_set_id)
    digest = hashlib.sha256(b"cosigner/delegate-context/v1")
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(4, "big") + raw)
    names = ("transcript", "environment", "wallet_id", "share_set_id")
    assert delegate_context(**dict(zip(names, parts, strict=True))) == digest.digest()
