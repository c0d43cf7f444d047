"""EVM transactions against `eth_account`: digests, fields, signed bytes; and everything that is refused."""

from __future__ import annotations

import pytest
import rlp
from eth_account import Account
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.threshold.evm import ACCOUNT, KEY, PUBLIC_KEY, Signed, authorization, sign, transactions
from threshold import PayloadError
from threshold.payload import (
    evm_address,
    evm_checksum_address,
    evm_signature_assemble,
    evm_transaction_assemble,
    evm_transaction_inspect,
)
from threshold.tasks import evm_transaction_task

TO = bytes(range(20))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TRANSFER = {
    "type": 2,
    "chainId": 1,
    "nonce": 7,
    "maxFeePerGas": 30_000_000_000,
    "maxPriorityFeePerGas": 1_000_000_000,
    "gas": 21_000,
    "to": TO,
    "value": 10**18,
}


def refused(unsigned: bytes) -> tuple[str, str | None]:
    with pytest.raises(PayloadError) as caught:
        evm_transaction_inspect(unsigned)
    assert caught.value.message
    return caught.value.code, caught.value.field


def typed(kind: int, fields: list) -> bytes:
    return bytes([kind]) + rlp.encode(fields)


def fields_of(kind: int) -> list:
    common = [1, 2, 3, 4, 5, TO, 6, b"data", [[TO, [bytes(32)]]]]
    match kind:
        case 0:
            return [2, 3, 4, TO, 5, b"data", 1, b"", b""]
        case 1:
            return [1, 2, 3, 4, TO, 5, b"data", [[TO, [bytes(32)]]]]
        case 3:
            return [*common, 7, [b"\x01" * 32]]
        case 4:
            return [*common, [[1, TO, 2, 1, 3, 4]]]
    return common


def encode(kind: int, fields: list) -> bytes:
    return typed(kind, fields) if kind else rlp.encode(fields)


def check(transaction: dict, signed: Signed) -> None:
    details = evm_transaction_inspect(signed.unsigned)
    assert details["digest"] == keccak(signed.unsigned)
    signature = KEY.sign_msg_hash(details["digest"])
    assert signature.to_bytes()[:64] == signed.signature
    assert (
        Account._recover_hash(
            details["digest"], signature=signed.signature + bytes([27 + signed.recovery_id])
        )
        == ACCOUNT.address
    )
    assembled = evm_transaction_assemble(signed.unsigned, signed.signature, signed.recovery_id, PUBLIC_KEY)
    assert assembled == {"raw": signed.raw, "hash": signed.hash}
    expected = {
        "type": "type",
        "chain_id": "chainId",
        "nonce": "nonce",
        "value": "value",
        "gas_limit": "gas",
        "gas_price": "gasPrice",
        "max_fee_per_gas": "maxFeePerGas",
        "max_priority_fee_per_gas": "maxPriorityFeePerGas",
        "max_fee_per_blob_gas": "maxFeePerBlobGas",
    }
    for ours, theirs in expected.items():
        assert details[ours] == transaction.get(theirs, 0 if ours in {"type", "value"} else None), ours
    data = transaction.get("data", b"")
    assert details["data"] == data
    assert details["to"] == (to_checksum_address(transaction["to"]) if transaction.get("to") else None)
    assert details["selector"] == (data[:4] if details["to"] and len(data) >= 4 else None)
    assert details["blob_versioned_hashes"] == transaction.get("blobVersionedHashes", [])
    assert details["access_list"] == [
        {
            "address": to_checksum_address(entry["address"]),
            "storage_keys": [bytes.fromhex(key[2:]) for key in entry["storageKeys"]],
        }
        for entry in transaction.get("accessList", [])
    ]
    assert len(details["authorizations"]) == len(transaction.get("authorizationList", []))
    price = transaction.get("gasPrice", transaction.get("maxFeePerGas"))
    blobs = len(details["blob_versioned_hashes"]) * 2**17 * transaction.get("maxFeePerBlobGas", 0)
    assert details["max_fee"] == transaction["gas"] * price + blobs


@given(transactions)
@settings(max_examples=150)
def test_transactions_of_all_types_are_read_as_eth_account_writes_them(transaction):
    check(transaction, sign(transaction))


@given(transactions, st.data())
@settings(max_examples=150)
def test_a_changed_transaction_is_refused_or_is_another_one(transaction, data):
    original = sign(transaction).unsigned
    changed = bytearray(original)
    at = data.draw(st.integers(0, len(original) - 1))
    match data.draw(st.sampled_from(["change", "insert", "delete", "cut"])):
        case "change":
            changed[at] ^= data.draw(st.integers(1, 255))
        case "insert":
            changed.insert(at, data.draw(st.integers(0, 255)))
        case "delete":
            del changed[at]
        case "cut":
            del changed[at:]
    try:
        details = evm_transaction_inspect(bytes(changed))
    except PayloadError as error:
        assert error.code.startswith("evm_")  # noqa: PT017
        return
    # Whatever is read, the signature covers these very bytes.
    assert details["digest"] == keccak(bytes(changed))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_a_code(raw):
    with pytest.raises(PayloadError):
        evm_transaction_inspect(raw)


def test_a_contract_creation_has_no_receiver_and_no_selector():
    code = bytes.fromhex("6080604052") + bytes(100)
    details = evm_transaction_inspect(sign({**TRANSFER, "to": b"", "data": code}).unsigned)
    assert (details["to"], details["selector"], details["call"], details["data"]) == (None, None, None, code)


@pytest.mark.parametrize(
    ("data", "call"),
    [
        (
            "a9059cbb" + "00" * 12 + TO.hex() + f"{2**256 - 1:064x}",
            {"kind": "erc20.transfer", "to": to_checksum_address(TO), "amount": 2**256 - 1},
        ),
        (
            "095ea7b3" + "00" * 12 + TO.hex() + f"{5:064x}",
            {"kind": "erc20.approve", "spender": to_checksum_address(TO), "amount": 5},
        ),
        (
            "23b872dd" + "00" * 12 + TO.hex() + "00" * 12 + "ff" * 20 + f"{5:064x}",
            {
                "kind": "erc20.transferFrom",
                "from": to_checksum_address(TO),
                "to": to_checksum_address(b"\xff" * 20),
                "amount": 5,
            },
        ),
        ("a9059cbb" + "00" * 11 + "01" + TO.hex() + f"{5:064x}", None),
        ("a9059cbb" + "00" * 12 + TO.hex() + f"{5:064x}" + "00", None),
        ("a9059cbb" + "00" * 12 + TO.hex(), None),
        ("a9059cbb", None),
        ("a9059c", None),
        ("", None),
    ],
)
def test_token_calls_are_decoded_only_where_they_match_exactly(data, call):
    raw = bytes.fromhex(data)
    details = evm_transaction_inspect(sign({**TRANSFER, "data": raw}).unsigned)
    assert details["call"] == call
    assert details["selector"] == (raw[:4] if len(raw) >= 4 else None)


def test_who_authorized_a_delegation_is_recovered():
    key = bytes(31) + b"\x05"
    good = authorization((1, TO, 9, key))
    every_chain = authorization((0, TO, 2**64 - 1, key))
    transaction = {**TRANSFER, "type": 4, "authorizationList": [good, every_chain]}
    authorities = evm_transaction_inspect(sign(transaction).unsigned)["authorizations"]
    signer = Account.from_key(key).address
    assert authorities == [
        {"chain_id": 1, "address": to_checksum_address(TO), "nonce": 9, "authority": signer},
        {"chain_id": 0, "address": to_checksum_address(TO), "nonce": 2**64 - 1, "authority": signer},
    ]


@pytest.mark.parametrize(
    "forged", [{"yParity": 2}, {"yParity": 255}, {"r": 0}, {"s": 0}, {"r": 2**256 - 1}, {"high_s": True}]
)
def test_an_invalid_authorization_has_no_authority(forged):
    entry = authorization((1, TO, 9, bytes(31) + b"\x05"))
    if forged.pop("high_s", False):
        forged = {"s": ORDER - entry["s"], "yParity": 1 - entry["yParity"]}
    entry = {**entry, **forged}
    tail = [[entry["chainId"], TO, entry["nonce"], entry["yParity"], entry["r"], entry["s"]]]
    fields = [*fields_of(4)[:-1], tail]
    (authority,) = evm_transaction_inspect(typed(4, fields))["authorizations"]
    assert authority["authority"] is None


@pytest.mark.parametrize("kind", range(5))
def test_a_field_too_few_or_too_many_is_refused(kind):
    fields = fields_of(kind)
    evm_transaction_inspect(encode(kind, fields))
    for length in range(len(fields)):
        assert refused(encode(kind, fields[:length]))[0] in {"evm_malformed", "evm_no_replay_protection"}
    assert refused(encode(kind, [*fields, b""])) == ("evm_malformed", "transaction")
    assert refused(encode(kind, fields) + b"\0") == ("evm_malformed", "transaction")


@pytest.mark.parametrize("kind", range(5))
def test_a_number_of_every_field_must_be_canonical_and_in_range(kind):
    names = {
        0: "nonce gas_price gas_limit - value - chain_id",
        1: "chain_id nonce gas_price gas_limit - value",
    }.get(kind, "chain_id nonce max_priority_fee_per_gas max_fee_per_gas gas_limit - value")
    for index, name in enumerate(names.split()):
        if name == "-":
            continue
        for wrong in (b"\0", b"\0\1", b"\xff" * 33, [], [b"\1"]):
            fields = fields_of(kind)
            fields[index] = wrong
            assert refused(encode(kind, fields)) == ("evm_malformed", name)
        if name != "value":
            fields[index] = 2 ** (128 if "fee" in name or "price" in name else 64)
            assert refused(encode(kind, fields)) == ("evm_malformed", name)


@pytest.mark.parametrize(
    ("unsigned", "code", "field"),
    [
        (b"", "evm_malformed", None),
        (b"\x80", "evm_malformed", "transaction"),
        (b"\xb8", "evm_malformed", "transaction"),
        (b"\x00" + rlp.encode(fields_of(0)), "evm_type_unsupported", "type"),
        (b"\x05" + rlp.encode(fields_of(2)), "evm_type_unsupported", "type"),
        (b"\x7f", "evm_type_unsupported", "type"),
        (b"\x02", "evm_malformed", "transaction"),
        (b"\x02\x80", "evm_malformed", "transaction"),
        (b"\x02\xc0", "evm_malformed", "chain_id"),
        (b"\xc0", "evm_malformed", "nonce"),
        (b"\xff" + b"\xff" * 8, "evm_malformed", "transaction"),
        (b"\x02" + b"\0" * 2**17, "evm_too_large", None),
        (rlp.encode(fields_of(0)[:6]), "evm_no_replay_protection", "chain_id"),
        (rlp.encode([*fields_of(0)[:6], 37, 5, 6]), "evm_already_signed", "r"),
        (rlp.encode([*fields_of(0)[:7], b"\0", b"\0"]), "evm_malformed", "r"),
        (typed(2, [*fields_of(2), 1, 5, 6]), "evm_already_signed", None),
        (typed(2, [*fields_of(2)[:5], TO[1:], *fields_of(2)[6:]]), "evm_malformed", "to"),
        (typed(2, [*fields_of(2)[:5], [], *fields_of(2)[6:]]), "evm_malformed", "to"),
        (typed(2, [*fields_of(2)[:7], [], fields_of(2)[8]]), "evm_malformed", "data"),
        (typed(2, [*fields_of(2)[:8], b""]), "evm_malformed", "access_list"),
        (typed(2, [*fields_of(2)[:8], [b""]]), "evm_malformed", "access_list[0]"),
        (typed(2, [*fields_of(2)[:8], [[]]]), "evm_malformed", "access_list[0].address"),
        (typed(2, [*fields_of(2)[:8], [[TO]]]), "evm_malformed", "access_list[0].storage_keys"),
        (typed(2, [*fields_of(2)[:8], [[TO, [], []]]]), "evm_malformed", "access_list[0]"),
        (
            typed(2, [*fields_of(2)[:8], [[TO, []], [TO, [bytes(32), bytes(31)]]]]),
            "evm_malformed",
            "access_list[1].storage_keys[1]",
        ),
        (typed(3, [*fields_of(3)[:5], b"", *fields_of(3)[6:]]), "evm_invalid", "to"),
        (typed(3, [*fields_of(3)[:10], []]), "evm_invalid", "blob_versioned_hashes"),
        (typed(3, [*fields_of(3)[:10], [b"\1" * 32, b"\2" * 32]]), "evm_invalid", "blob_versioned_hashes[1]"),
        (typed(3, [*fields_of(3)[:10], [b"\1" * 31]]), "evm_malformed", "blob_versioned_hashes[0]"),
        (typed(3, [fields_of(3), [], [], []]), "evm_malformed", "chain_id"),
        (typed(4, [*fields_of(4)[:5], b"", *fields_of(4)[6:]]), "evm_invalid", "to"),
        (typed(4, [*fields_of(4)[:9], []]), "evm_invalid", "authorization_list"),
        (typed(4, [*fields_of(4)[:9], [[1, TO, 2, 1, 3]]]), "evm_malformed", "authorization_list[0].s"),
        (
            typed(4, [*fields_of(4)[:9], [[1, TO, 2, 256, 3, 4]]]),
            "evm_malformed",
            "authorization_list[0].y_parity",
        ),
        (
            typed(4, [*fields_of(4)[:9], [[1, b"", 2, 1, 3, 4]]]),
            "evm_malformed",
            "authorization_list[0].address",
        ),
    ],
)
def test_malformed_transactions_say_what_is_wrong_and_where(unsigned, code, field):
    assert refused(unsigned) == (code, field)


def test_the_largest_transaction_is_read():
    header = len(typed(2, fields_of(2)[:7] + [b"x" * 100_000, []])) - 100_000
    fields = [*fields_of(2)[:7], b"x" * (2**17 - header), []]
    assert len(typed(2, fields)) == 2**17
    assert len(evm_transaction_inspect(typed(2, fields))["data"]) == 2**17 - header


def test_only_the_wallets_own_low_s_signature_is_put_on_a_transaction():
    signed = sign(TRANSFER)
    r, s = signed.signature[:32], int.from_bytes(signed.signature[32:], "big")
    high = r + (ORDER - s).to_bytes(32, "big")
    other = Account.from_key(bytes(31) + b"\7")
    stranger = other.sign_transaction(TRANSFER)
    strange = stranger.r.to_bytes(32, "big") + stranger.s.to_bytes(32, "big")
    for signature, recovery_id in [
        (high, 1 - signed.recovery_id),
        (signed.signature, 1 - signed.recovery_id),
        (signed.signature, signed.recovery_id + 2),
        (signed.signature, 27 + signed.recovery_id),
        (signed.signature, -1),
        (signed.signature, 2**70),
        (signed.signature[:-1], signed.recovery_id),
        (signed.signature + b"\0", signed.recovery_id),
        (bytes(64), 0),
        (r + bytes(32), signed.recovery_id),
        (bytes(32) + signed.signature[32:], signed.recovery_id),
        (b"\xff" * 64, 0),
        (strange, stranger.v),
    ]:
        with pytest.raises(PayloadError) as caught:
            evm_transaction_assemble(signed.unsigned, signature, recovery_id, PUBLIC_KEY)
        assert caught.value.code == "evm_signature_invalid"
        with pytest.raises(PayloadError) as caught:
            evm_signature_assemble(keccak(signed.unsigned), signature, recovery_id, PUBLIC_KEY)
        assert caught.value.code == "evm_signature_invalid"
    for key in (PUBLIC_KEY[:-1], b"\x05" + PUBLIC_KEY[1:], KEY.public_key.to_bytes(), b"\x02" + b"\xff" * 32):
        with pytest.raises(PayloadError) as caught:
            evm_transaction_assemble(signed.unsigned, signed.signature, signed.recovery_id, key)
        assert caught.value.code == "invalid_public_key"


@given(st.integers(1, ORDER - 1))
@settings(max_examples=30)
def test_addresses_are_those_of_eth_account(secret):
    from eth_keys import keys

    key = keys.PrivateKey(secret.to_bytes(32, "big")).public_key
    assert evm_address(key.to_compressed_bytes()) == key.to_checksum_address()
    assert evm_checksum_address(key.to_canonical_address()) == key.to_checksum_address()


def test_a_task_asks_for_one_digest_and_has_a_summary_of_plain_values():
    data = bytes.fromhex("a9059cbb" + "00" * 12 + TO.hex() + f"{2**200:064x}")
    signed = sign({**TRANSFER, "data": data, "value": 2**255})
    task = evm_transaction_task(signed.unsigned, PUBLIC_KEY)
    assert (task.digests, task.tweaks, task.inputs) == ([keccak(signed.unsigned)], None, [])
    assert task.summary == {
        "type": 2,
        "chain_id": 1,
        "nonce": 7,
        "from": ACCOUNT.address,
        "to": to_checksum_address(TO),
        "value": str(2**255),
        "gas_limit": 21_000,
        "gas_price": None,
        "max_fee_per_gas": "30000000000",
        "max_priority_fee_per_gas": "1000000000",
        "max_fee_per_blob_gas": None,
        "max_fee": str(21_000 * 30_000_000_000),
        "selector": data[:4],
        "call": {"kind": "erc20.transfer", "to": to_checksum_address(TO), "amount": str(2**200)},
        "data_length": 68,
        "access_list": [],
        "blob_versioned_hashes": [],
        "authorizations": [],
    }
