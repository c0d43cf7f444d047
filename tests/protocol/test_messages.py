"""Every message: one encoding, no other fields, no missing ones, and every bound exact."""

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from enclave.keys import WrappedKey
from enclave.manifest import Manifest
from enclave.vault import StoredShare
from protocol import messages as inner
from protocol import receipts
from protocol.binding import AttestedKeys
from protocol.channel import ClientHello, EnclaveHello
from protocol.envelope import cbor
from protocol.envelope import messages as outer
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.limits import (
    MAX_EVENT_DATA,
    MAX_HELLO,
    MAX_LIST,
    MAX_MANIFEST,
    MAX_RECORD,
    MAX_STORED_VALUE,
)
from tests.protocol.deterministic import encode
from tests.protocol.samples import (
    CHAIN_HEAD,
    ENVELOPES,
    FAULT,
    OUTBOX_EVENT,
    PAYLOADS,
    PLAIN,
    SAMPLES,
    SIGNED_ENTRY,
    WALLET,
    WALLET_ID,
    enveloped,
)

IN_THE_LOG = {  # tests/protocol/test_receipts.py
    receipts.Opening,
    receipts.Decision,
    receipts.Outcome,
    receipts.PasskeyEvidence,
    receipts.KeyEvidence,
    receipts.UncheckedEvidence,
    receipts.TokenEvidence,
    receipts.CodeEvidence,
    receipts.PasskeyAssertion,
    receipts.KeySignature,
}
EVERYTHING = [*enveloped(), *PLAIN]
NULLABLE = {  # by the kind of the map that has the field
    ("evm_message", "validator"),
    ("login", "previous"),
    ("login", "previous_proof"),
    ("credential_change", "name"),
    ("credential_change", "active"),
    ("recovery_key_set", "public_key"),
    ("recover", "gate"),
    ("account", "recovery_not_before"),
    ("account", "locked_until"),
    (None, "first"),
    (None, "second"),
    (None, "relying_party"),
    (None, "gate"),
    ("backup_begin", "passcode"),
    ("backup_begin", "passcode_proof"),
    ("backup_open", "passcode_proof"),
    (None, "passcode"),
    ("service", "passcode"),  # of a backup file, whose header has a kind of its own
    (None, "proved_at"),
    (None, "refresh_due"),
    (None, "pending"),
    (None, "active"),
    (None, "tombstone"),
    (None, "retired_at"),
    (None, "revoked_at"),
}
OPTIONAL = {  # left out where there is nothing to say
    "ecdsa_setup",
    "ecdsa_answer",
    "auth",
    "authorization",
    "idempotency_key",
    "receipt",
    "event",
    "needs",
    "party",
}
FREE = {"summary", "counters", "step_up"}  # maps whose keys are not fixed


def name_of(value: Any) -> str:
    for field in ("body", "request", "reply"):
        if hasattr(value, field):
            return f"{type(value).__name__}-{type(getattr(value, field)).__name__}"
    return type(value).__name__


def decode(raw: bytes, kind: Any) -> Any:
    return cbor.decode(raw, kind, culprit=Culprit.HOST)


def refused(tree: Any, kind: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(encode(tree), kind)
    assert caught.value.code in {"message_malformed", "message_too_large"}


def tree_of(value: Any) -> Any:
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def maps_in(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every map of a tree that has a fixed set of fields, with the way to it."""
    if isinstance(tree, dict):
        if not FREE & set(path):
            yield path, tree
        for name, value in tree.items():
            yield from maps_in(value, (*path, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from maps_in(value, (*path, index))


def changed(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with the value at ``path`` replaced."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def test_there_is_a_sample_of_every_message() -> None:
    defined = {
        kind
        for module in (outer, inner, receipts)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, outer.Message) and kind is not outer.Message and kind not in IN_THE_LOG
    }
    assert defined - SAMPLES.keys() == set(PAYLOADS)
    in_unions = {kind for _, union in ENVELOPES.values() for kind in typing.get_args(union)}
    in_unions |= set(typing.get_args(outer.TunnelReply)) | {outer.TunnelOpen, outer.AwsCredentials}
    assert in_unions == SAMPLES.keys()


@pytest.mark.parametrize("value", EVERYTHING, ids=name_of)
def test_every_message_is_encoded_as_rfc_8949_says_and_comes_back_identical(value: Any) -> None:
    raw = cbor.encode(value)
    assert raw == encode(tree_of(value))
    again = decode(raw, type(value))
    assert again == value
    assert type(again) is type(value)
    assert cbor.encode(again) == raw


@pytest.mark.parametrize("value", EVERYTHING, ids=name_of)
def test_unknown_fields_are_refused_at_every_level(value: Any) -> None:
    tree = tree_of(value)
    for path, fields in maps_in(tree):
        refused(changed(tree, path, {**fields, "extra": None}), type(value))


@pytest.mark.parametrize("value", EVERYTHING, ids=name_of)
def test_missing_fields_are_refused_at_every_level(value: Any) -> None:
    tree = tree_of(value)
    for path, fields in maps_in(tree):
        left_out = OPTIONAL | ({"kid"} if "ek" in fields else set())  # of an envelope to a developer
        for name in fields.keys() - left_out:
            rest = {other: content for other, content in fields.items() if other != name}
            refused(changed(tree, path, rest), type(value))


@pytest.mark.parametrize("value", EVERYTHING, ids=name_of)
def test_fields_of_another_type_are_refused_at_every_level(value: Any) -> None:
    tree = tree_of(value)
    strangers: tuple[Any, ...] = (None, True, 1 << 63, -1, b"\x00", "\x00", [], [None], {"x": None})
    for path, fields in maps_in(tree):
        for name, content in fields.items():
            for stranger in strangers:
                if isinstance(stranger, type(content)) and isinstance(content, dict | bytes | str | list):
                    continue  # of the right type: the bounds are another test
                if type(stranger) is type(content) or (
                    stranger is None and (fields.get("kind"), name) in NULLABLE
                ):
                    continue
                refused(changed(tree, (*path, name), stranger), type(value))


def test_a_message_of_another_union_is_refused_in_every_envelope() -> None:
    for envelope, (field, union) in ENVELOPES.items():
        rest = {"id": 5} if field == "body" else {}
        for kind, sample in SAMPLES.items():
            tree = {field: tree_of(sample), **rest}
            if kind in typing.get_args(union):
                assert decode(encode(tree), envelope)
            else:
                refused(tree, envelope)


def test_payloads_are_told_apart_by_their_kind() -> None:
    sign = tree_of(SAMPLES[inner.Sign])
    sign["payload"] = {"kind": "psbt", "psbt": b"psbt\xff"}
    assert decode(encode({"request": sign}), inner.Call).request.payload == inner.PsbtPayload(b"psbt\xff")
    for payload in (
        {"kind": "psbt", "message": b"m"},
        {"kind": "solana_message", "psbt": b"m"},
        {"kind": "digest"},
    ):
        sign["payload"] = payload
        refused({"request": sign}, inner.Call)


def test_an_envelope_in_place_of_another_is_refused() -> None:
    for value in EVERYTHING:
        for kind in {type(other) for other in EVERYTHING} - {type(value)}:
            if {type(value), kind} <= ENVELOPES.keys():
                continue  # a frame with a fault or an acknowledgement may stand in several
            refused(tree_of(value), kind)


# --- bounds: (kind, field, what is just inside, what is just outside) ---------------------------------------------------------

SIZES: list[tuple[type, str, int, int]] = [
    (outer.Attest, "nonce", 16, 64),
    (outer.OpenSession, "hello", 1, MAX_HELLO),
    (outer.Record, "session_id", 16, 16),
    (outer.Record, "record", 1, MAX_RECORD),
    (outer.Provision, "manifest", 1, MAX_MANIFEST),
    (outer.Attested, "document", 1, 16384),
    (outer.Attested, "channel_key", 1216, 1216),
    (outer.SessionOpened, "session_id", 16, 16),
    (outer.SessionOpened, "hello", 1, MAX_HELLO),
    (outer.RecordReply, "record", 1, MAX_RECORD),
    (outer.StoragePut, "value", 1, MAX_STORED_VALUE),
    (outer.OutboxEvent, "data", 2, MAX_EVENT_DATA),
    (outer.Found, "value", 1, MAX_STORED_VALUE),
    (outer.LogAppend, "chain", 32, 32),
    (outer.GetChainHeads, "chain", 32, 32),
    (receipts.GetLogHead, "nonce", 32, 32),
    (receipts.LogHead, "chain", 32, 32),
    (receipts.LogHead, "hash", 32, 32),
    (receipts.LogHead, "signature", 64, 64),
    (inner.BeginDkg, "message1", 1, 16384),
    (inner.DkgBegun, "message1", 1, 16384),
    (inner.DkgBegun, "message2", 1, 16384),
    (inner.FinishDkg, "message2", 1, 16384),
    (inner.FinishDkg, "confirmation", 32, 32),
    (inner.WalletReply, "confirmation", 32, 32),
    (inner.SignEcdsa, "message1", 1, 32768),
    (inner.EcdsaSigned, "message2", 1, 131072),
    (inner.EcdsaSigned, "digest", 32, 32),
    (inner.SolanaPayload, "message", 1, 1232),
    (inner.SolanaTextPayload, "text", 1, 65515),
    (inner.PsbtPayload, "psbt", 1, 512 << 10),
    (inner.EvmTransactionPayload, "transaction", 1, 128 << 10),
    (inner.EvmMessagePayload, "message", 0, 128 << 10),
    (inner.EvmMessagePayload, "validator", 20, 20),
    (inner.EvmTypedDataPayload, "typed_data", 1, 128 << 10),
    (inner.WalletInfo, "public_key", 32, 33),
    (AttestedKeys, "channel_key", 32, 32),
    (AttestedKeys, "receipt_key", 32, 32),
    (ClientHello, "client_key", 1216, 1216),
    (ClientHello, "client_random", 32, 32),
    (ClientHello, "ecdsa_setup", 1, 16384),
    (EnclaveHello, "session_id", 16, 16),
    (EnclaveHello, "enclave_random", 32, 32),
    (EnclaveHello, "ecdsa_answer", 1, 16384),
    (StoredShare, "sealed", 1, 16384),
    (WrappedKey, "ciphertext", 1, 6144),
]

RANGES: list[tuple[type, str, int, int]] = [
    (outer.LinkRequestFrame, "id", 0, (1 << 32) - 1),
    (outer.LinkReplyFrame, "id", 0, (1 << 32) - 1),
    (outer.StorageRequestFrame, "id", 0, (1 << 32) - 1),
    (outer.StorageReplyFrame, "id", 0, (1 << 32) - 1),
    (outer.StatusReply, "sessions", 0, (1 << 32) - 1),
    (outer.StoragePut, "expected", 0, (1 << 32) - 1),
    (outer.StoragePut, "epoch", 1, (1 << 32) - 1),
    (outer.StorageDelete, "expected", 1, (1 << 32) - 1),
    (outer.StorageList, "count", 1, MAX_LIST),
    (outer.Found, "epoch", 1, (1 << 32) - 1),
    (outer.Conflict, "current", 0, (1 << 32) - 1),
    (outer.LogAppend, "first", 0, (1 << 53) - 1),
    (outer.LogConflict, "next", 0, (1 << 53) - 1),
    (receipts.LogHead, "sequence", 0, (1 << 53) - 1),
    (outer.TunnelOpen, "port", 1, 65535),
    (inner.BeginDkg, "threshold", 1, 255),
    (inner.BeginDkg, "parties", 1, 255),
    (inner.Sign, "epoch", 1, (1 << 32) - 1),
    (inner.SignEcdsa, "epoch", 1, (1 << 32) - 1),
    (inner.WalletInfo, "epoch", 1, (1 << 32) - 1),
    (inner.WalletInfo, "threshold", 1, 255),
    (inner.WalletInfo, "parties", 1, 255),
    (AttestedKeys, "version", 1, 1),
    (ClientHello, "version", 1, 1),
    (EnclaveHello, "version", 1, 1),
    (EnclaveHello, "lifetime", 1, 86400),
    (Manifest, "version", 1, 1),
    (WrappedKey, "version", 1, 1),
]

COUNTS: list[tuple[type, str, Any, int, int]] = [
    (outer.Keys, "keys", "k", 0, MAX_LIST),
    (outer.LogAppend, "entries", tree_of(SIGNED_ENTRY), 1, 512),
    (outer.ChainHeads, "heads", tree_of(CHAIN_HEAD), 0, 16),
    (inner.Sign, "path", 5, 0, 16),
    (inner.SignEcdsa, "path", 5, 0, 16),
    (inner.Sign, "commitments", b"c", 1, 256),
    (inner.Signed, "commitments", b"c", 1, 256),
    (inner.Signed, "shares", b"s", 1, 256),
    (inner.Signed, "digests", b"d", 1, 256),
]

UUID = WALLET_ID
TEXTS: list[tuple[type, str, list[str], list[str]]] = [
    (
        inner.GetWallet,
        "wallet_id",
        [UUID, "ffffffff-ffff-4fff-bfff-ffffffffffff"],
        [
            "",
            UUID.upper(),
            UUID + "\n",
            UUID[:-1],
            UUID + "0",
            UUID.replace("-", ""),
            "0f8fad5b-d9cb-169f-a165-70867728950e",  # version 1
            "0f8fad5b-d9cb-469f-c165-70867728950e",  # another variant
            "../../../../etc/passwd",
            f"{{{UUID}}}",
            UUID.replace("0", "٠"),
        ],
    ),
    (
        inner.BeginDkg,
        "suite",
        ["a", "x" * 32, "frost-ed25519"],
        ["", "x" * 33, "A", "a_b", "a\n", "ä", "a b"],
    ),
    (inner.BeginDkg, "chain", ["a", "x" * 32], ["", "x" * 33, "Solana", "a/b", "a\n"]),
    (inner.BeginDkg, "network", ["", "x" * 32], ["x" * 33, "Mainnet", "a\n", " "]),
    (inner.WalletInfo, "share_set_id", [UUID], ["", UUID + " ", "x"]),
    (
        ClientHello,
        "environment",
        ["a", "0", "a" * 63, "a-b"],
        ["", "a" * 64, "-a", "A", "a_b", "a/b", "a\n", "a."],
    ),
    (
        outer.StorageGet,
        "key",
        ["a", "0", "a/b", "a" * 256, "a_-/b"],
        [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "A",
            "..",
            "a/../b",
            ".a",
            "_a",
            "-a",
            "a/-b",
            "a\n",
            "a b",
            "a\x00",
            "a" * 257,
            "ä",
        ],
    ),
    (
        outer.StorageList,
        "prefix",
        ["", "a/", "a/b/", "a" * 255 + "/"],
        ["a", "/", "/a/", "a//", "../", "A/", "a/\n", "a" * 256 + "/"],
    ),
    (
        outer.OutboxEvent,
        "event_id",
        [UUID, "0f8fad5b-d9cb-869f-a165-70867728950e"],
        [
            "",
            UUID.upper(),
            UUID + "\n",
            UUID.replace("-", ""),
            "00000000-0000-0000-0000-000000000000",
            "0f8fad5b-d9cb-969f-a165-70867728950e",
        ],
    ),
    (outer.OutboxEvent, "subscription_id", [UUID], ["", UUID + " "]),
    (outer.OutboxEvent, "environment", ["a", "a" * 63, "a-b"], ["", "a" * 64, "-a", "A", "a/b", "a\n"]),
    (
        outer.OutboxEvent,
        "name",
        ["ping", "wallet.delegation.created", "wallet.offlineRecovery.created", "a" * 64],
        ["", "a" * 65, "Ping", ".ping", "ping.", "a..b", "a b", "a\n", "1a"],
    ),
    (
        outer.OutboxEvent,
        "endpoint",
        ["https://a", "https://a.example:8443/b?c=d", "http://a", "https://" + "a" * 504],
        [
            "",
            "https://",
            "https://" + "a" * 505,
            "ftp://a",
            "HTTPS://a",
            "https://a b",
            "https://a\n",
            "https://ä",
        ],
    ),
    (outer.StorageList, "after", ["", "x" * 256], ["x" * 257]),
    (
        outer.TunnelOpen,
        "host",
        ["a", "kms.amazonaws.com", "127.0.0.1", "a" * 253],
        ["", ".a", "a.", "-a", "a-", "A", "a b", "a:1", "a\n", "a" * 254, "[::1]", "ä", "a/b", "a@b"],
    ),
    (outer.Fault, "code", ["a", "a_1", "a" * 64], ["", "A", "1a", "_a", "a-b", "a" * 65, "a\n"]),
    (outer.Fault, "message", ["", "x" * 1024, "ä" * 1024], ["x" * 1025]),
    (outer.Fault, "culprit", [each.value for each in Culprit], ["", "nobody", "Client", "CLIENT"]),
    (outer.Fault, "reaction", [each.value for each in Reaction], ["", "panic", "Retry"]),
    (outer.StatusReply, "phase", ["", "x" * 32], ["x" * 33]),
    (outer.StatusReply, "reason", ["", "x" * 1024], ["x" * 1025]),
    (outer.AwsCredentials, "access_key_id", ["A", "A" * 128], ["", "A" * 129]),
    (outer.AwsCredentials, "secret_access_key", ["s", "s" * 256], ["", "s" * 257]),
    (outer.AwsCredentials, "session_token", ["", "t" * 4096], ["t" * 4097]),
]


def sample_tree(kind: type) -> dict[str, Any]:
    by_type = {type(sample): sample for sample in PLAIN} | SAMPLES | PAYLOADS
    return dict(tree_of(by_type[kind]))


def bound(kind: type, field: str, *, inside: list[Any], outside: list[Any]) -> None:
    tree = sample_tree(kind)
    for value in inside:
        assert tree_of(getattr(decode(encode({**tree, field: value}), kind), field)) == value
    for value in outside:
        refused({**tree, field: value}, kind)


@pytest.mark.parametrize(
    ("kind", "field", "least", "most"), SIZES, ids=lambda value: getattr(value, "__name__", None)
)
def test_lengths_of_byte_strings_are_bounded_exactly(kind: type, field: str, least: int, most: int) -> None:
    bound(
        kind,
        field,
        inside=[bytes(least), bytes(most)],
        outside=[bytes(most + 1), *([bytes(least - 1)] if least else [])],
    )


@pytest.mark.parametrize(
    ("kind", "field", "least", "most"), RANGES, ids=lambda value: getattr(value, "__name__", None)
)
def test_numbers_are_bounded_exactly(kind: type, field: str, least: int, most: int) -> None:
    bound(kind, field, inside=[least, most], outside=[least - 1, most + 1, -1, (1 << 64) - 1, -(1 << 64)])


@pytest.mark.parametrize(
    ("kind", "field", "entry", "least", "most"), COUNTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_lists_are_bounded_exactly(kind: type, field: str, entry: Any, least: int, most: int) -> None:
    outside = [[entry] * (most + 1), *([[entry] * (least - 1)] if least else [])]
    bound(kind, field, inside=[[entry] * least, [entry] * most], outside=outside)


@pytest.mark.parametrize(
    ("kind", "field", "inside", "outside"), TEXTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_texts_have_exactly_their_pattern(
    kind: type, field: str, inside: list[str], outside: list[str]
) -> None:
    bound(kind, field, inside=inside, outside=outside)


@pytest.mark.parametrize("good", [1, 128])
def test_the_entries_of_lists_are_bounded_too(good: int) -> None:
    bound(inner.Sign, "commitments", inside=[[bytes(good)]], outside=[[b""], [bytes(129)], [bytes(64), b""]])
    bound(inner.Signed, "shares", inside=[[bytes(64)]], outside=[[b""], [bytes(65)]])
    for kind in (inner.Sign, inner.SignEcdsa):
        bound(kind, "path", inside=[[0, (1 << 31) - 1]], outside=[[1 << 31], [-1], [0, "0"], [None]])
    bound(outer.Keys, "keys", inside=[["a/b"]], outside=[["a", "../b"], [""]])
    bound(
        outer.StatusReply,
        "counters",
        inside=[{}, {"signed": 1 << 53}],
        outside=[{"signed": -1}, {"signed": (1 << 53) + 1}, {"signed": "1"}],
    )


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=name_of)
def test_payloads_travel_in_their_own_request_only(payload: Any) -> None:
    for kind, union in ((inner.Sign, inner.Payload), (inner.SignEcdsa, inner.EvmPayload)):
        tree = {"request": sample_tree(kind) | {"payload": tree_of(payload)}}
        if isinstance(payload, union):
            assert decode(encode(tree), inner.Call).request.payload == payload
        else:
            refused(tree, inner.Call)


def test_a_message_is_for_a_validator_or_says_that_it_is_not() -> None:
    tree = sample_tree(inner.EvmMessagePayload)
    assert decode(encode({**tree, "validator": None}), inner.EvmMessagePayload).validator is None
    del tree["validator"]
    refused(tree, inner.EvmMessagePayload)


def test_the_payload_alone_says_who_the_validator_is() -> None:
    found = {type(payload): inner.validator_of(payload) for payload in PAYLOADS.values()}
    assert {kind for kind, validator in found.items() if validator is not None} == {inner.EvmMessagePayload}
    assert found[inner.EvmMessagePayload] == PAYLOADS[inner.EvmMessagePayload].validator
    assert inner.validator_of(inner.EvmMessagePayload(b"", None)) is None


HELLOS = [(ClientHello, "ecdsa_setup"), (EnclaveHello, "ecdsa_answer")]


@pytest.mark.parametrize(("kind", "field"), HELLOS)
def test_the_transfers_of_a_hello_are_there_or_left_out(kind: type, field: str) -> None:
    """One encoding only: a field that says nothing is not written."""
    without = next(sample for sample in PLAIN if type(sample) is kind and getattr(sample, field) is None)
    tree = tree_of(without)
    assert field not in tree
    assert getattr(decode(encode(tree), kind), field) is None
    refused({**tree, field: None}, kind)
    for stranger in (b"", "text", 5, [b"x"], True):
        refused({**tree, field: stranger}, kind)


def test_a_write_without_an_event_has_the_bytes_that_it_always_had() -> None:
    """The host and the enclave of an earlier release read and write the same; null is another encoding, and refused."""
    tree = {"kind": "put", "key": "a/b_c-d", "expected": 0, "epoch": 1, "value": b"value"}
    assert cbor.encode(SAMPLES[outer.StoragePut]) == encode(tree)
    refused({**tree, "event": None}, outer.StoragePut)


def test_an_event_shows_nothing_of_its_data() -> None:
    event = msgspec.structs.replace(OUTBOX_EVENT, data=b'{"secret":"whsec_hidden"}')
    assert "hidden" not in repr(event)
    assert "hidden" not in repr(msgspec.structs.replace(SAMPLES[outer.StoragePut], event=event))


def test_every_bounded_field_is_in_a_table() -> None:
    """A new message or field must bring its bounds along."""
    tables = {(kind, field) for kind, field, *_ in [*SIZES, *RANGES, *COUNTS, *TEXTS]}
    same_alias = {  # fields whose annotation is the alias that another row tests
        (outer.StoragePut, "key"),
        (outer.StorageDelete, "key"),
        (inner.BeginDkg, "wallet_id"),
        (inner.FinishDkg, "wallet_id"),
        (inner.Sign, "wallet_id"),
        (inner.SignEcdsa, "wallet_id"),
        (inner.WalletInfo, "wallet_id"),
        (inner.WalletInfo, "suite"),
        (inner.WalletInfo, "chain"),
        (inner.WalletInfo, "network"),
        (outer.StatusReply, "counters"),
    }
    free = {
        (kind, "summary") for kind in (inner.Signed, inner.EcdsaSigned)
    }  # JSON-like, bounded by the record
    everything = {
        kind
        for kind in {*SAMPLES, *PAYLOADS, inner.WalletInfo, outer.OutboxEvent, ClientHello, EnclaveHello}
        if kind.__module__
        not in {
            "protocol.accounts",  # test_account_messages.py
            "protocol.lifecycle",  # test_lifecycle_messages.py
            "protocol.delegation",  # test_delegation_messages.py
        }
    }
    fields = {
        (kind, field)
        for kind in everything
        for field, content in sample_tree(kind).items()
        if field != "kind" and not isinstance(content, dict)
    }
    fields |= {(outer.StatusReply, "counters"), *free}
    fields -= {(ClientHello, "auth")}
    assert fields == {entry for entry in tables | same_alias | free if entry[0] in everything}


# --- secrets and faults --------------------------------------------------------------------------------------------------------


def test_messages_that_hold_secrets_do_not_print_them() -> None:
    credentials = outer.AwsCredentials(
        access_key_id="AKIAX", secret_access_key="secret", session_token="token"
    )
    for value in (credentials, outer.UpdateCredentials(credentials), outer.Provision(b"m", credentials)):
        assert not any(secret in repr(value) for secret in ("AKIAX", "secret", "token"))
    client = ClientHello(version=1, environment="sandbox", client_key=b"K" * 1216, client_random=b"R" * 32)
    enclave = EnclaveHello(version=1, session_id=bytes(16), enclave_random=b"R" * 32, lifetime=1)
    for hello in (client, enclave):
        assert "RRR" not in repr(hello)
        assert "KKK" not in repr(hello)


def test_messages_are_immutable() -> None:
    with pytest.raises(AttributeError):
        FAULT.code = "another"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        WALLET.epoch = 2  # type: ignore[misc]


@pytest.mark.parametrize("culprit", Culprit)
@pytest.mark.parametrize("reaction", Reaction)
def test_an_error_crosses_as_a_fault_and_comes_back(culprit: Culprit, reaction: Reaction) -> None:
    error = CosignerError("wallet_unknown", "No such wallet.", culprit=culprit, reaction=reaction)
    raw = cbor.encode(inner.Answer(outer.Fault.of(error)))
    fault = decode(raw, inner.Answer).reply
    assert isinstance(fault, outer.Fault)
    back = fault.error()
    assert (back.code, back.message, back.culprit, back.reaction) == (
        "wallet_unknown",
        "No such wallet.",
        culprit,
        reaction,
    )


def test_a_fault_says_what_is_needed_and_without_needs_has_the_bytes_that_it_had() -> None:
    plain = {"kind": "fault", "code": "c", "message": "m", "culprit": "client", "reaction": "abort"}
    error = CosignerError("c", "m", culprit=Culprit.CLIENT)
    assert cbor.encode(outer.Fault.of(error)) == cbor.encode(plain)
    needy = CosignerError("c", "m", culprit=Culprit.CLIENT, needs=["passkey", "administrator:ada"])
    raw = cbor.encode(outer.Fault.of(needy))
    assert raw == cbor.encode(plain | {"needs": ["passkey", "administrator:ada"]})
    assert decode(raw, outer.Fault).error().needs == ("passkey", "administrator:ada")
    many = CosignerError("c", "m", culprit=Culprit.CLIENT, needs=[f"user:{n}" for n in range(40)])
    assert len(outer.Fault.of(many).needs) == 32
    refused(plain | {"needs": []}, outer.Fault)  # left out if empty


@pytest.mark.parametrize(
    ("needs", "good"),
    [
        (["totp"], True),
        (["user:a0000000-0000-4000-8000-000000000000"] * 32, True),
        (["administrator:a.b_c@d", "a" * 128], True),
        (["totp"] * 33, False),
        *(([bad], False) for bad in ("", "a b", "a" * 129, "-a", ":a", "a\n", "ä")),
    ],
)
def test_what_a_fault_needs_has_bounds(needs: list[str], *, good: bool) -> None:
    tree = {"kind": "fault", "code": "c", "message": "m", "culprit": "client", "reaction": "abort"}
    if good:
        assert decode(encode(tree | {"needs": needs}), outer.Fault).needs == needs
    else:
        refused(tree | {"needs": needs}, outer.Fault)


def test_a_fault_of_an_error_with_a_long_message_still_fits() -> None:
    error = ProtocolError("message_malformed", "ä" * 5000, culprit=Culprit.HOST)
    fault = outer.Fault.of(error)
    assert decode(cbor.encode(inner.Answer(fault)), inner.Answer).reply == fault
    assert fault.message == "ä" * 1024


def test_errors_say_what_happened_and_their_code() -> None:
    error = CosignerError("wallet_unknown", "No such wallet.", culprit=Culprit.CLIENT)
    assert str(error) == "No such wallet. [wallet_unknown]"
    assert error.reaction is Reaction.ABORT
    assert isinstance(ProtocolError("x", "y", culprit=Culprit.HOST), CosignerError)
