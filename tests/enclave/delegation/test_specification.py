"""What ``docs/spec/delegation.md`` says of requests, codes, keys and records is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from enclave.authorization.requirements import REQUIREMENTS
from enclave.delegation import book, developer_keys, events
from enclave.delegation.record import Delegation
from enclave.delegation.settings import StoredSettings
from protocol.delegation import MAX_DELEGATIONS, DelegationSettings, DelegationTerms, DeveloperKey

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/spec/delegation.md").read_text()
CODE = "\n".join(
    path.read_text()
    for folder in ("enclave/delegation", "enclave/authorization")
    for path in sorted((ROOT / folder).glob("*.py"))
)
CODE_HERE = "\n".join(path.read_text() for path in sorted((ROOT / "enclave/delegation").glob("*.py")))
OTHERS = {  # which other documents list
    "chain_unsupported",
    "party_refused",
    "party_set_unsupported",
    "policy_invalid",
    "reshare_unknown",
    "session_taken",
    "user_conflict",
}
RECORDS = {
    "delegation-settings": StoredSettings,
    "delegations": book.Listed,
    "delegations/": Delegation,
    "delegation-denials": book.Denial,
    "delegation-signatures": book.Signatures,
}


def section(number: int) -> str:
    start = TEXT.index(f"\n## {number}. ")
    end = TEXT.find("\n## ", start + 1)
    return TEXT[start : end if end > 0 else len(TEXT)]


def test_what_a_delegate_may_ask_is_what_the_table_says():
    first = section(7).split("A request of any other kind")[0]
    listed = set(re.findall(r"`(\w+)`", first.split("\n\n")[1]))
    assert listed == {
        str(kind.__struct_config__.tag) for kind, needed in REQUIREMENTS.items() if needed.delegate
    }


def test_every_code_is_listed_and_raised():
    listed = set(re.findall(r"^\| `(\w+)` \|", section(11), re.MULTILINE))
    assert len(listed) == 10
    for code in listed:
        assert f'"{code}"' in CODE, code
    raised = set(re.findall(r'CosignerError\(\s*"(\w+)"', CODE_HERE))
    assert raised - listed == OTHERS


@pytest.mark.parametrize("name", RECORDS)
def test_the_members_of_records_are_listed(name):
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.*) \|$", section(12), re.MULTILINE)
    kind, nested = name.rstrip("/"), name.endswith("/")
    (told,) = [
        value
        for found, key, value in rows
        if found == kind and ("SHARE_SET" in key) == (nested or kind == book.SIGNATURES)
    ]
    for field in msgspec.structs.fields(RECORDS[name]):
        assert f"`{field.encode_name}`" in told, field.encode_name


@pytest.mark.parametrize("kind", [DelegationSettings, DeveloperKey])
def test_the_members_of_settings_are_named(kind):
    for field in msgspec.structs.fields(kind):
        assert f"`{field.name}`" in section(2), field.name


def test_the_members_of_terms_are_named():
    for field in msgspec.structs.fields(DelegationTerms):
        assert f"`{field.name}`" in section(3), field.name


def test_numbers_are_the_codes():
    assert f"at most {MAX_DELEGATIONS} delegations" in TEXT
    assert f"and lists {book.MAX_LISTED}" in TEXT
    assert f"remembers {developer_keys.MAX_SPENT}" in TEXT


def test_the_ids_of_events_are_made_as_it_says():
    import hashlib
    import types
    import uuid

    one = types.SimpleNamespace(wallet_id="w", share_set_id="s")
    digest = hashlib.sha256(b"cosigner/event/v1 wallet.delegation.created sandbox w s").digest()
    found = uuid.UUID(events._once("sandbox", events.CREATED, one))
    assert found.version == 8
    assert found.variant == uuid.RFC_4122
    same = [one == other for one, other in zip(found.bytes, digest, strict=False)]
    assert same.count(False) <= 2  # the octets with version and variant
