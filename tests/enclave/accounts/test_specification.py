"""``docs/spec/accounts.md``: its tables name what the code stores, and its formulas, carried out here by other means, give the same bytes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from enclave.accounts import recovery
from enclave.accounts.directory import LoginIndex
from enclave.accounts.ownership import WalletRecord
from enclave.accounts.user import Credential, PendingRecovery, RegisteredKey, UserRecord
from enclave.authn import codes
from enclave.records import RecordContext, StoredRecord
from protocol import crockford
from protocol.accounts import NewKey, RecoverySubject
from tests.enclave.accounts.hostile import DATA_KEY, ENVIRONMENT, KEY_ARN, HostileStorage, records
from tests.enclave.accounts.users import USER_ID, credential, key, register, user

ROOT = Path(__file__).parents[3]
SPEC = (ROOT / "docs/spec/accounts.md").read_text()
TABLES = {
    "`sealed`": StoredRecord,
    "`key` | text: KEY": RecordContext,
    "`totp` | null, or map": UserRecord,
    "`user_id` | the user, or null": LoginIndex,
    "`renewed`": RegisteredKey,
    "`aaguid`": Credential,
    "`digest`, `session`": PendingRecovery,
    "`custody`": WalletRecord,
}


def canonical(value) -> bytes:
    return cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize(("row", "structure"), TABLES.items(), ids=lambda one: getattr(one, "__name__", None))
def test_the_table_of_a_structure_names_its_fields(row, structure):
    (table,) = [block for block in SPEC.split("\n\n") if f"| {row}" in block and block.startswith("| key")]
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(named) == sorted(field.name for field in msgspec.structs.fields(structure))


def test_a_stored_record_opens_as_the_specification_says():
    """HKDF and AES-GCM of another library, and the associated data put together by hand."""
    storage, record = HostileStorage(), register(user(credential(1)), 1)
    asyncio.run(records(storage).write("users", USER_ID, record, expected=0))
    ((name, (epoch, value)),) = storage.records.items()
    assert (name, epoch) == (f"environments/{ENVIRONMENT}/users/{USER_ID}", 1)
    stored = cbor2.loads(value)
    context = canonical(
        {
            "key": USER_ID,
            "kind": "users",
            "key_arn": KEY_ARN,
            "version": 1,
            "revision": stored["revision"],
            "environment": ENVIRONMENT,
        }
    )
    header, sealed = stored["sealed"][:52], stored["sealed"][52:]
    assert header[:8] == bytes.fromhex("434f425954455301")
    derived = HKDF(hashes.SHA256(), 32, header[8:40], b"cosigner/seal/v1").derive(DATA_KEY)
    opened = cbor2.loads(AESGCM(derived).decrypt(header[40:52], sealed, header + context))
    assert canonical(opened) == canonical(msgspec.to_builtins(record, builtin_types=(bytes,)))
    assert opened["session_keys"][0]["session_key"] == key(1)


def test_what_a_recovery_key_signs_is_what_the_specification_says():
    new = NewKey(algorithm="ed25519", public_key=bytes(44), proof=bytes(64))
    subject = {
        "name": "n",
        "session": bytes(32),
        "user_id": USER_ID,
        "version": 1,
        "challenge": bytes(32),
        "credential": {
            "kind": "new_key",
            "algorithm": "ed25519",
            "public_key": bytes(44),
            "proof": bytes(64),
        },
        "environment": "sandbox",
        "session_key": key(1),
    }
    expected = hashlib.sha256(b"cosigner/recovery/v1" + canonical(subject)).digest()
    assert recovery.digest_of(RecoverySubject(**{**subject, "credential": new})) == expected


def test_a_code_is_kept_as_the_specification_says():
    text, kept = codes.make()
    assert (
        kept[16:]
        == hashlib.sha256(b"cosigner/one-time-code/v1" + kept[:16] + crockford.decode(text)).digest()
    )


def test_every_test_that_the_specification_names_is_there():
    (table,) = [block for block in SPEC.split("\n\n") if "| rolled back |" in block]
    named = set(re.findall(r"`(test_\w+)`", table))
    source = (Path(__file__).parent / "test_rollback.py").read_text()
    there = set(re.findall(r"def (test_\w+)", source))
    assert named == there - {"test_within_one_life_no_older_state_of_a_user_is_believed"}


def test_the_keys_of_a_record_stand_in_their_encoded_order():
    for row, structure in TABLES.items():
        (table,) = [b for b in SPEC.split("\n\n") if f"| {row}" in b and b.startswith("| key")]
        lengths = [
            len(name)
            for line in table.splitlines()[2:]
            for name in re.findall(r"`(\w+)`", line.split("|")[1])
        ]
        assert lengths == sorted(lengths), structure.__name__
