"""Bounds of the messages about a wallet's whole life, exact on both sides; and the contexts that bind ceremonies."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import msgspec
import pytest

from protocol import lifecycle as life
from protocol import wallets as w
from protocol.binding import backup_context, commit_context, import_context, reshare_context
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.messages import Message
from tests.protocol.samples import PASSCODE, SAMPLES, STATUS, WALLET, WALLET_ID

INFO = STATUS.backups[0]
ENTRY = SAMPLES[life.WalletList].wallets[0]
BY_TYPE = SAMPLES | {type(value): value for value in (PASSCODE, STATUS, INFO, ENTRY)}
EPOCHS = (1, (1 << 32) - 1)
MAX_MS = 1 << 53

BYTES = [
    (life.BeginReshare, "message1", 1, 16384),
    (life.ReshareBegun, "message1", 1, 16384),
    (life.FinishReshare, "message2", 1, 16384),
    (life.ReshareStored, "confirmation", 32, 32),
    (life.ImportWallet, "message1", 1, 16384),
    (life.ImportWallet, "message2", 1, 16384),
    (life.ExportShare, "wrapping_key", 32, 32),
    (life.ExportedShare, "sealed", 1, 16384),
    (life.BeginBackup, "passcode_proof", 32, 32),
    (life.BackupKey, "key", 32, 32),
    (life.ConfirmBackup, "proof", 64, 80),
    (life.OpenBackup, "passcode_proof", 32, 32),
    (w.PasscodeSetup, "salt", 16, 16),
    (w.WalletEntry, "confirmation", 32, 32),
]
NUMBERS = [
    (life.BeginReshare, "epoch", *EPOCHS),
    (life.BeginReshare, "dealer", 1, 255),
    (life.BeginReshare, "threshold", 1, 255),
    (life.BeginReshare, "parties", 1, 255),
    (life.CommitReshare, "epoch", *EPOCHS),
    (life.AbortReshare, "epoch", *EPOCHS),
    (life.ImportWallet, "threshold", 1, 255),
    (life.ImportWallet, "parties", 1, 255),
    (life.ExportShare, "epoch", *EPOCHS),
    (life.BeginBackup, "epoch", *EPOCHS),
    (life.BeginBackup, "party", 1, 255),
    (w.PasscodeSetup, "memory_kib", 19456, 1 << 20),
    (w.PasscodeSetup, "iterations", 1, 16),
    (w.PasscodeSetup, "parallelism", 1, 16),
    (w.BackupInfo, "epoch", *EPOCHS),
    (w.BackupInfo, "party", 1, 255),
    (w.BackupInfo, "created_at", 0, MAX_MS),
    (w.BackupInfo, "proved_at", 0, MAX_MS),
    (w.WalletStatus, "epoch_since", 0, MAX_MS),
    (w.WalletStatus, "refresh_due", 0, MAX_MS),
    (w.WalletStatus, "pending", *EPOCHS),
]
COUNTS = [
    (life.ReshareBegun, "messages2", b"m", 1, 5),
    (life.FinishReshare, "confirmations", bytes(32), 1, 5),
    (life.CommitReshare, "proofs", bytes(64), 1, 5),
    (life.ImportWallet, "confirmations", bytes(32), 1, 5),
    (life.WalletList, "wallets", ENTRY, 0, 256),
    (life.ConfirmBackup, "locations", "file", 1, 8),
    (w.BackupInfo, "locations", "file", 0, 8),
    (w.WalletStatus, "backups", INFO, 0, 16),
]
UUIDS = ([WALLET_ID], ["", WALLET_ID.upper(), WALLET_ID + "\n", WALLET_ID[:-1], "x" * 36])
NAMES = (["a", "x" * 32, "a-1"], ["", "x" * 33, "A", "a_b", "a\n"])
TEXTS: list[tuple[Any, str, tuple[list[str], list[str]]]] = [
    *(
        (kind, "wallet_id", UUIDS)
        for kind in (
            life.BeginReshare,
            life.FinishReshare,
            life.CommitReshare,
            life.AbortReshare,
            life.ImportWallet,
            life.ExportShare,
            life.DeleteWallet,
            life.BeginBackup,
            life.ConfirmBackup,
            life.OpenBackup,
            life.RemoveBackup,
        )
    ),
    *(
        (kind, "backup_id", UUIDS)
        for kind in (life.BackupKey, life.ConfirmBackup, life.OpenBackup, life.RemoveBackup, w.BackupInfo)
    ),
    (life.BeginReshare, "purpose", (["refresh", "reshare", "recover"], ["", "Refresh", "delegate"])),
    (life.ImportWallet, "suite", NAMES),
    (life.ImportWallet, "chain", NAMES),
    (life.ImportWallet, "network", (["", "x" * 32], ["x" * 33, "A", "a\n"])),
    (life.ImportWallet, "legacy_wallet_id", (["", "!", "~" * 128], ["~" * 129, "a b", "a\n", "ä", "\x7f"])),
    (
        life.BackupKey,
        "locator",
        (["0" * 64, "ab" * 32], ["", "0" * 63, "0" * 65, "AB" * 32, "0" * 63 + "\n"]),
    ),
    (w.WalletStatus, "state", (["active", "unbacked", "retired"], ["", "pending", "Active"])),
    (w.WalletStatus, "custody", (["custodial", "delegated"], ["", "own"])),
    (w.WalletStatus, "legacy_wallet_id", (["", "x" * 128], ["x" * 129])),
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
    bound(kind, field, [bytes(least), bytes(most)], [bytes(most + 1), bytes(least - 1)])


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


def test_entries_of_lists_are_bounded_too():
    bound(life.ReshareBegun, "messages2", [[bytes(16384)]], [[b""], [bytes(16385)]])
    bound(life.FinishReshare, "confirmations", [[bytes(32)]], [[bytes(31)], [bytes(33)]])
    bound(life.CommitReshare, "proofs", [[bytes(64), bytes(80)]], [[bytes(63)], [bytes(81)]])
    places = ["a", "a_1", "a" * 32]
    bound(
        life.ConfirmBackup,
        "locations",
        [places],
        [[place] for place in ("", "A", "1a", "a-b", "a" * 33, "a\n")],
    )


def test_every_bounded_field_is_in_a_table():
    """A new message or field must bring its bounds along."""
    tables = {(kind, field) for kind, field, *_ in [*BYTES, *NUMBERS, *COUNTS, *TEXTS]}
    kinds = {
        kind
        for _, kind in inspect.getmembers(life, inspect.isclass)
        if issubclass(kind, Message) and kind is not Message
    } | {w.PasscodeSetup, w.BackupInfo, w.WalletStatus, w.WalletEntry}
    structures = (w.WalletInfo, w.WalletStatus, w.PasscodeSetup)
    fields = {
        (kind, field)
        for kind in kinds
        for field in kind.__struct_fields__
        if type(getattr(BY_TYPE[kind], field)) is not bool
        and not isinstance(getattr(BY_TYPE[kind], field), structures)
    }
    assert fields == tables


# --- contexts --------------------------------------------------------------------------------------------------------------

RESHARE = {
    "transcript": bytes(32),
    "environment": "sandbox",
    "wallet_id": WALLET_ID,
    "share_set_id": WALLET_ID,
    "purpose": "refresh",
    "epoch": 2,
}
IMPORT = {
    "transcript": bytes(32),
    "environment": "sandbox",
    "wallet_id": WALLET_ID,
    "suite": WALLET.suite,
    "chain": "solana",
    "network": "",
}
COMMIT = {
    "environment": "sandbox",
    "wallet_id": WALLET_ID,
    "share_set_id": WALLET_ID,
    "epoch": 2,
    "confirmation": bytes(32),
}
BACKUP = {
    "environment": "sandbox",
    "wallet_id": WALLET_ID,
    "backup_id": WALLET_ID,
    "epoch": 2,
    "party": 1,
}
CONTEXTS = [
    (reshare_context, "reshare", RESHARE),
    (import_context, "import", IMPORT),
    (commit_context, "commit", COMMIT),
    (backup_context, "backup", BACKUP),
]


@pytest.mark.parametrize(("context", "label", "parts"), CONTEXTS, ids=lambda value: name_of(value) or "")
def test_a_context_is_what_the_specification_says(context, label, parts):
    """``docs/spec/lifecycle.md`` §2.1, §2.3, §4.1, §5."""
    digest = hashlib.sha256(f"cosigner/{label}-context/v1".encode())
    for part in parts.values():
        raw = (
            part.to_bytes(4, "big")
            if isinstance(part, int)
            else part.encode()
            if isinstance(part, str)
            else part
        )
        digest.update(len(raw).to_bytes(4, "big") + raw)
    assert context(**parts) == digest.digest()


@pytest.mark.parametrize(("context", "label", "parts"), CONTEXTS, ids=lambda value: name_of(value) or "")
def test_every_part_of_a_context_counts(context, label, parts):
    other = {
        name: bytes([1]) * 32
        if isinstance(part, bytes)
        else part + 1
        if isinstance(part, int)
        else part + "x"
        for name, part in parts.items()
    }
    made = {context(**(parts | {name: value})) for name, value in other.items()} | {context(**parts)}
    assert len(made) == len(parts) + 1
