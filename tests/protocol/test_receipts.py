"""Entries of the log: one encoding, exact bounds, and rules that a type alone does not say. Recorded bytes pin the format."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import receipts as r
from protocol.actions import Action, Approval, KeySignature, PasskeyAssertion
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.limits import MAX_LOG_ENTRY
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import (
    HEADER,
    LogRecord,
    SegmentError,
    entry_hash,
    last_record,
    read_segment,
)
from tests.protocol.deterministic import encode

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHAIN = KEY.public_key().public_bytes_raw()
ACTION = Action(1, "sandbox", bytes(32), "sign", "wallet", bytes([1]) * 32, bytes(16), 1_900_000_000_000)
APPROVAL = Approval(1, "sandbox", "sign", "wallet", bytes([2]) * 32, bytes(16), 1_900_000_000_000)
USER = "5a0c1e2f-0000-4000-8000-000000000001"
PASSKEY = r.PasskeyEvidence(bytes(77), PasskeyAssertion(bytes(16), b"{}", bytes(37), b"signature"))
RAW_KEY = r.KeyEvidence("ed25519", bytes(44), KeySignature(bytes(16), bytes(64)))
DECISION = r.Decision(
    action=ACTION,
    actor=r.LoggedActor(USER, "user", bytes(32), "login"),
    evidence=[
        PASSKEY,
        RAW_KEY,
        r.UncheckedEvidence(bytes(32)),
        r.TokenEvidence("jwt", bytes(32)),
        r.CodeEvidence("totp", accepted=True),
    ],
    approvals=[r.LoggedApproval("administrator:ada", APPROVAL, RAW_KEY)],
    summary='{"to":"somebody"}',
    policies=[r.PolicyVersion("environment", "", 3, bytes([3]) * 32)],
    allowed=True,
    code="",
    reasons="",
    epoch=1,
    result=None,
)
OPENING = r.Opening(b"document", [r.Link(bytes([1]) * 32, 7, bytes([2]) * 32)])
ENTRIES = {
    "opening": r.Entry(1, CHAIN, 0, bytes(32), 1_900_000_000_000, OPENING),
    "decision": r.Entry(1, CHAIN, 1, bytes([9]) * 32, 1_900_000_000_001, DECISION),
    "outcome": r.Entry(
        1, CHAIN, 2, bytes([9]) * 32, 1_900_000_000_002, r.Outcome(1, "receipt_failed", bytes(32))
    ),
}
ALL = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
RECORDED = {
    "opening": "52df97c37bdd205690fc292b1f2ca98369510a5e6cc81c6e77fb26537cda98ff",
    "decision": "0f32a1baab9fd1815aa96c3aab0b36a53c7d423db3c634f9092752779012726a",
    "outcome": "53e2ab418465ba596cf25fd23e42593c667c70eafa276d6e3665d8adbe44f3ee",
}
"""SHA-256 of the encodings: a change of the format is a new version."""


def decode(raw: bytes) -> r.Entry:
    return cbor.decode(raw, r.Entry, limit=MAX_LOG_ENTRY, culprit=Culprit.ENCLAVE)


def signed(entry: r.Entry) -> SignedEntry:
    raw = entry.encode()
    message = r.entry_message(chain=CHAIN, sequence=entry.sequence, digest=entry_hash(raw))
    return SignedEntry(raw, KEY.sign(message))


def tree_of(entry: r.Entry) -> Any:
    return msgspec.to_builtins(entry, builtin_types=(bytes,))


def test_encodings_are_as_recorded() -> None:
    assert {name: hashlib.sha256(entry.encode()).hexdigest() for name, entry in ENTRIES.items()} == RECORDED


@ALL
def test_an_entry_has_one_encoding(entry: r.Entry) -> None:
    raw = entry.encode()
    assert decode(raw) == entry
    assert raw == encode(tree_of(entry))  # by an encoder that had no part in it
    assert r.open_entry(signed(entry)) == entry


@ALL
def test_other_members_and_missing_ones_are_refused(entry: r.Entry) -> None:
    def maps(tree: Any) -> Any:
        if isinstance(tree, dict):
            yield tree
            for value in tree.values():
                yield from maps(value)
        elif isinstance(tree, list):
            for value in tree:
                yield from maps(value)

    for index, _ in enumerate(maps(tree_of(entry))):
        more = tree_of(entry)
        list(maps(more))[index]["other"] = 1
        with pytest.raises(ProtocolError, match="message_malformed"):
            decode(encode(more))
        for name in list(maps(tree_of(entry)))[index]:
            less = tree_of(entry)
            del list(maps(less))[index][name]
            with pytest.raises(ProtocolError, match="message_malformed"):
                decode(encode(less))


def altered(entry: r.Entry, **changes: Any) -> bytes:
    tree = tree_of(entry)
    for name, value in changes.items():
        (tree if name in tree else tree["body"])[name] = value
    return encode(tree)


@pytest.mark.parametrize(
    ("which", "changes"),
    [
        ("opening", {"sequence": 1}),
        ("opening", {"previous": bytes([1]) * 32}),
        ("opening", {"document": b""}),
        ("opening", {"document": bytes(16385)}),
        ("decision", {"sequence": 0}),
        ("decision", {"previous": bytes(32)}),
        ("decision", {"version": 2}),
        ("decision", {"chain": bytes(31)}),
        ("decision", {"time": -1}),
        ("decision", {"sequence": 1 << 53}),
        ("decision", {"allowed": True, "code": "denied"}),
        ("decision", {"allowed": False, "code": ""}),
        ("decision", {"code": "No"}),
        ("decision", {"summary": "x" * 4097}),
        ("decision", {"reasons": "x" * 8193}),
        ("decision", {"epoch": 0}),
        ("decision", {"evidence": [tree_of(ENTRIES["decision"])["body"]["evidence"][2]] * 9}),
        ("outcome", {"of": 2}),
        ("outcome", {"of": 3}),
        ("outcome", {"code": "x" * 65}),
    ],
)
def test_what_no_entry_says_is_refused(which: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="message_malformed"):
        decode(altered(ENTRIES[which], **changes))


def test_links_have_one_order() -> None:
    one, two = (r.Link(bytes([number]) * 32, 0, bytes(32)) for number in (1, 2))
    r.Opening(b"document", [one, two])
    for links in ([two, one], [one, one]):
        with pytest.raises(ValueError, match="ascending"):
            r.Opening(b"document", links)


def test_the_largest_entry_fits() -> None:
    passkey = r.PasskeyEvidence(
        bytes(1024), PasskeyAssertion(bytes(1023), bytes(4096), bytes(4096), bytes(1024))
    )
    approval = msgspec.structs.replace(APPROVAL, environment="e" * 63, operation="o" * 64, subject="s" * 128)
    action = msgspec.structs.replace(ACTION, environment="e" * 63, operation="o" * 64, subject="s" * 128)
    largest = msgspec.structs.replace(
        DECISION,
        action=action,
        evidence=[passkey, *[r.TokenEvidence("release_gate", bytes(32))] * 7],
        approvals=[r.LoggedApproval("s" * 128, approval, passkey)] * 16,
        summary="\u20ac" * 4096,
        reasons="\u20ac" * 8192,
        policies=[r.PolicyVersion("environment", "s" * 128, (1 << 32) - 1, bytes(32))] * 8,
        allowed=False,
        code="c" * 64,
        result=bytes(32),
    )
    entry = msgspec.structs.replace(ENTRIES["decision"], sequence=(1 << 53) - 1, body=largest)
    assert len(entry.encode()) <= MAX_LOG_ENTRY
    assert decode(entry.encode()) == entry


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_of_a_signed_entry_is_refused(data: st.DataObject) -> None:
    receipt = signed(data.draw(st.sampled_from(list(ENTRIES.values()))))
    raw = bytearray(receipt.signature + receipt.entry)
    position = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[position // 8] ^= 1 << position % 8
    with pytest.raises(ProtocolError):
        r.open_entry(SignedEntry(bytes(raw[64:]), bytes(raw[:64])))


def test_signatures_of_one_purpose_are_good_for_no_other() -> None:
    digest = entry_hash(b"entry")
    messages = {
        r.entry_message(chain=CHAIN, sequence=0, digest=digest),
        r.head_message(nonce=bytes(32), chain=CHAIN, sequence=0, digest=digest),
        r.opening_nonce(CHAIN, []),
        ACTION.hash,
    }
    assert len(messages) == 4
    labels = [r.SIGNATURE_LABEL, r.HEAD_LABEL, r.OPENING_LABEL]
    assert not any(one != other and one.startswith(other) for one in labels for other in labels)


def test_an_opening_is_bound_to_what_it_follows() -> None:
    link = r.Link(bytes(32), 0, bytes(32))
    assert (
        len({r.opening_nonce(CHAIN, []), r.opening_nonce(CHAIN, [link]), r.opening_nonce(bytes(32), [])}) == 3
    )


def test_long_json_is_replaced_by_its_hash() -> None:
    assert r.bounded_json({"b": 1, "a": "\u20ac"}, 64) == '{"a":"\\u20ac","b":1}'
    long = {"a": "x" * 5000}
    text = r.bounded_json(long, 4096)
    whole = json.dumps(long, separators=(",", ":")).encode()
    assert json.loads(text) == {"omitted": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}


def test_no_code_of_a_user_can_be_in_an_entry() -> None:
    """Codes are named, never kept, not even hashed: six digits are found by trying."""
    assert set(r.CodeEvidence.__struct_fields__) == {"what", "accepted"}


# --- segments --------------------------------------------------------------------------------------------------------------


RECORDS = [LogRecord(CHAIN, number, signed(entry)) for number, entry in enumerate(ENTRIES.values())]
SEGMENT = HEADER + b"".join(record.encode() for record in RECORDS)


def test_a_segment_is_what_the_specification_says() -> None:
    import zlib

    body = CHAIN + bytes(8) + RECORDS[0].signed.signature + RECORDS[0].signed.entry
    prefix = len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big")
    assert SEGMENT.startswith(b"COSIGNER LOG v1\n" + prefix + body)
    assert list(read_segment(SEGMENT)) == RECORDS
    assert last_record(SEGMENT) == (RECORDS[-1], None)


@pytest.mark.parametrize("length", [0, 104, 104 + MAX_LOG_ENTRY + 1, (1 << 32) - 1])
def test_a_record_of_an_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(SegmentError, match="impossible") as caught:
        list(read_segment(HEADER + length.to_bytes(4, "big") + bytes(1000)))
    assert (caught.value.offset, caught.value.torn) == (16, False)


@pytest.mark.parametrize(
    ("raw", "torn"), [(b"", True), (HEADER[:9], True), (b"COSIGNER LOG v2\n", False), (b"x", False)]
)
def test_what_has_no_header_is_no_segment(raw: bytes, torn: bool) -> None:
    with pytest.raises(SegmentError) as caught:
        list(read_segment(raw))
    assert caught.value.torn == torn


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(SEGMENT) * 8 - 1))
def test_a_checksum_finds_a_bit_that_changed(position: int) -> None:
    raw = bytearray(SEGMENT)
    raw[position // 8] ^= 1 << position % 8
    last, error = last_record(bytes(raw))
    assert error is not None
    assert last is None or last in RECORDS[:-1]


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=600))
def test_any_bytes_read_or_are_refused(raw: bytes) -> None:
    for text in (raw, HEADER + raw):
        last, error = last_record(text)
        assert error is not None or last is None
