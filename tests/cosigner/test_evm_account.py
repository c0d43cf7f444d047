"""The accounts against `eth_account`'s own: same key on both sides, same bytes expected."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys
from collections import UserDict
from functools import cache

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_intended_validator, encode_typed_data
from eth_account.signers.base import BaseAccount
from eth_account.typed_transactions import TypedTransaction, base
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import AsyncWeb3, Web3
from web3.middleware import SignAndSendRawMiddlewareBuilder
from web3.providers import AsyncBaseProvider, BaseProvider

from cosigner.errors import CosignerError
from cosigner.evm import (
    AsyncCosignerAccount,
    CosignerAccount,
    EvmMessage,
    EvmPayload,
    EvmSignature,
    EvmTransaction,
    EvmTypedData,
    typed_data_json,
    unsigned_transaction,
)
from cosigner.evm.web3 import sign_and_send_raw
from tests.threshold.evm import ACCOUNT, KEY, PUBLIC_KEY, sign, transactions
from tests.threshold.test_evm_typed_data import MAIL
from threshold import PayloadError
from threshold.payload import evm_message_digest, evm_transaction_inspect, evm_typed_data_inspect

TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TRANSACTION = {
    "chainId": 1337,
    "nonce": 34,
    "maxFeePerGas": 2_000_000_000,
    "maxPriorityFeePerGas": 1_000_000_000,
    "gas": 100_000,
    "to": TO,
    "value": "0x5af3107a4000",
    "data": "0x616263646566",
}


def sign_payload(payload: EvmPayload, key=KEY) -> EvmSignature:
    """What the client and the enclave do together: compute the digest from the payload, sign it."""
    match payload:
        case EvmTransaction(unsigned):
            digest = evm_transaction_inspect(unsigned)["digest"]
        case EvmMessage(message, validator):
            digest = evm_message_digest(message, validator)["digest"]
        case EvmTypedData(typed_data):
            digest = evm_typed_data_inspect(typed_data)["digest"]
    signature = key.sign_msg_hash(digest)
    return EvmSignature(signature.r, signature.s, signature.v)


async def sign_payload_async(payload: EvmPayload) -> EvmSignature:
    await asyncio.sleep(0)
    return sign_payload(payload)


OURS = CosignerAccount(sign_payload, PUBLIC_KEY)
OURS_ASYNC = AsyncCosignerAccount(sign_payload_async, PUBLIC_KEY)


def refused(transaction: dict) -> tuple[str, str | None]:
    with pytest.raises(PayloadError) as caught:
        OURS.sign_transaction(transaction)
    return caught.value.code, caught.value.field


@given(transactions)
@settings(max_examples=100)
def test_transactions_are_signed_as_a_local_account_signs_them(transaction):
    theirs = ACCOUNT.sign_transaction(transaction)
    assert unsigned_transaction(transaction) == sign(transaction).unsigned
    assert OURS.sign_transaction(transaction) == theirs
    assert asyncio.run(OURS_ASYNC.sign_transaction(transaction)) == theirs


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"from": ACCOUNT.address},
        {"type": "0x2"},
        {"type": 2, "accessList": []},
        {"to": bytes.fromhex(TO[2:])},
        {"to": None},
        {"to": ""},
        {"to": ..., "data": b"\x60\x80"},
        {"data": ...},
        {"value": ...},
        {"accessList": [{"address": TO, "storageKeys": ["0x1", 2, "0x" + "00" * 31 + "03"]}]},
        {"accessList": ({"address": TO.lower(), "storageKeys": ()},)},
        {"gasPrice": 7, "maxFeePerGas": ..., "maxPriorityFeePerGas": ...},
        {"gasPrice": "0x7", "maxFeePerGas": ..., "maxPriorityFeePerGas": ..., "accessList": []},
    ],
)
def test_the_spellings_that_eth_account_knows_give_the_same_transaction(changes):
    transaction = {k: v for k, v in {**TRANSACTION, **changes}.items() if v is not ...}
    assert OURS.sign_transaction(transaction) == ACCOUNT.sign_transaction(copy.deepcopy(transaction))


def test_a_signed_authorization_of_eth_account_is_taken_as_it_is():
    authorization = ACCOUNT.sign_authorization({"chainId": 1337, "address": TO, "nonce": 35})
    transaction = {**TRANSACTION, "authorizationList": [authorization]}
    assert OURS.sign_transaction(transaction) == ACCOUNT.sign_transaction(transaction)


def test_any_mapping_is_a_transaction():
    assert OURS.sign_transaction(UserDict(TRANSACTION)) == ACCOUNT.sign_transaction(TRANSACTION)


def test_blobs_travel_beside_their_transaction(monkeypatch):
    # eth_account loads the trusted setup, which takes seconds, again for every blob.
    monkeypatch.setattr(base, "load_trusted_setup", cache(base.load_trusted_setup))
    blobs = [bytes(4096 * 32), b"\x01".rjust(32, b"\0") * 4096]
    transaction = {**TRANSACTION, "maxFeePerBlobGas": 5}
    theirs = ACCOUNT.sign_transaction(transaction, blobs=blobs)
    ours = OURS.sign_transaction(transaction, blobs=blobs)
    assert ours.raw_transaction == theirs.raw_transaction
    assert (ours.r, ours.s, ours.v) == (theirs.r, theirs.s, theirs.v)
    # The chain names the transaction by its hash without the blobs; eth_account hashes them too.
    hashes = evm_transaction_inspect(
        unsigned_transaction({**transaction, "blobVersionedHashes": blob_hashes(transaction, blobs)})
    )["blob_versioned_hashes"]
    alone = ACCOUNT.sign_transaction({**transaction, "blobVersionedHashes": hashes})
    assert ours.hash == alone.hash
    with pytest.raises(PayloadError) as caught:
        OURS.sign_transaction({**transaction, "blobVersionedHashes": hashes[::-1]}, blobs=blobs)
    assert caught.value.field == "blobVersionedHashes"
    with pytest.raises(PayloadError) as caught:
        OURS.sign_transaction({**TRANSACTION, "type": 2}, blobs=blobs)
    assert caught.value.field == "type"


def blob_hashes(transaction: dict, blobs: list[bytes]) -> list[bytes]:
    return TypedTransaction.from_dict(transaction, blobs=blobs).as_dict()["blobVersionedHashes"]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"from": TO}, "evm_transaction_field", "from"),
        ({"from": "me"}, "evm_transaction_field", "from"),
        ({"type": 5}, "evm_type_unsupported", "type"),
        ({"type": "2"}, "evm_transaction_field", "type"),
        ({"gasPrice": 5, "type": 2}, "evm_transaction_field", "gasPrice"),
        ({"gasLimit": 5}, "evm_transaction_field", "gasLimit"),
        ({"chainId": ...}, "evm_transaction_field", "chainId"),
        ({"chainId": None}, "evm_transaction_field", "chainId"),
        ({"nonce": ...}, "evm_transaction_field", "nonce"),
        ({"nonce": None}, "evm_transaction_field", "nonce"),
        ({"nonce": -1}, "evm_transaction_field", "nonce"),
        ({"nonce": True}, "evm_transaction_field", "nonce"),
        ({"nonce": 1.0}, "evm_transaction_field", "nonce"),
        ({"nonce": "1"}, "evm_transaction_field", "nonce"),
        ({"nonce": "0x"}, "evm_transaction_field", "nonce"),
        ({"nonce": "0x_1"}, "evm_transaction_field", "nonce"),
        ({"nonce": "0x-1"}, "evm_transaction_field", "nonce"),
        ({"nonce": 2**64}, "evm_malformed", "nonce"),
        ({"value": 2**256}, "evm_transaction_field", "value"),
        ({"data": "abcd"}, "evm_transaction_field", "data"),
        ({"data": "0xabc"}, "evm_transaction_field", "data"),
        ({"data": "0xa b"}, "evm_transaction_field", "data"),
        ({"data": bytes(2**17)}, "evm_too_large", None),
        ({"to": TO[:-2]}, "evm_transaction_field", "to"),
        ({"to": "0x70997970c51812dc3A010C7d01b50e0d17dc79C8"}, "evm_transaction_field", "to"),
        ({"to": "vitalik.eth"}, "evm_transaction_field", "to"),
        ({"accessList": "0x"}, "evm_transaction_field", "accessList"),
        ({"accessList": [5]}, "evm_transaction_field", "accessList[0]"),
        ({"accessList": [{"address": TO}]}, "evm_transaction_field", "accessList[0].storageKeys"),
        (
            {"accessList": [{"address": TO, "storageKeys": [], "x": 1}]},
            "evm_transaction_field",
            "accessList[0].x",
        ),
        (
            {"accessList": [{"address": TO, "storageKeys": [b"\0"]}]},
            "evm_transaction_field",
            "accessList[0].storageKeys[0]",
        ),
        (
            {"accessList": [{"address": "0x", "storageKeys": []}]},
            "evm_transaction_field",
            "accessList[0].address",
        ),
        ({"blobVersionedHashes": []}, "evm_transaction_field", "maxFeePerBlobGas"),
        ({"blobVersionedHashes": [], "maxFeePerBlobGas": 1}, "evm_invalid", "blob_versioned_hashes"),
        ({"authorizationList": []}, "evm_invalid", "authorization_list"),
        ({"authorizationList": [{}]}, "evm_transaction_field", ...),
        (
            {"gasPrice": 7, "maxFeePerGas": ..., "maxPriorityFeePerGas": ..., "chainId": None},
            "evm_no_replay_protection",
            "chainId",
        ),
    ],
)
def test_a_transaction_with_a_wrong_field_is_refused_by_its_name(changes, code, field):
    found = refused({k: v for k, v in {**TRANSACTION, **changes}.items() if v is not ...})
    assert found[0] == code
    if field is not ...:
        assert found[1] == field


@given(st.binary(max_size=100))
@settings(max_examples=30)
def test_messages_are_signed_as_a_local_account_signs_them(message):
    for signable in (encode_defunct(message), encode_intended_validator(TO, message)):
        theirs = ACCOUNT.sign_message(signable)
        assert OURS.sign_message(signable) == theirs
        assert asyncio.run(OURS_ASYNC.sign_message(signable)) == theirs
        assert Account.recover_message(signable, signature=theirs.signature) == OURS.address


def test_typed_data_given_as_hashes_is_refused():
    signable = encode_typed_data(full_message=MAIL)
    with pytest.raises(PayloadError, match="sign_typed_data") as caught:
        OURS.sign_message(signable)
    assert caught.value.code == "evm_message_unsupported"
    for wrong in (signable._replace(version=b"\x02"), encode_defunct(b"12")._replace(body=b"1")):
        with pytest.raises(PayloadError):
            OURS.sign_message(wrong)


PARTS = (
    {"name": "Ether Mail", "chainId": 1, "salt": b"decafbeef"},
    {
        "Thing": [
            {"name": "id", "type": "bytes8"},
            {"name": "data", "type": "bytes"},
            {"name": "notes", "type": "bytes[]"},
            {"name": "owner", "type": "address"},
            {"name": "sizes", "type": "uint256[][2]"},
            {"name": "inner", "type": "Inner"},
            {"name": "none", "type": "Inner"},
        ],
        "Inner": [{"name": "hash", "type": "bytes32"}, {"name": "text", "type": "string"}],
    },
    {
        "id": "0x0102",
        "data": "text",
        "notes": (b"a", "0xff", "b"),
        "owner": bytes(20),
        "sizes": [[2**255, "0x10"], []],
        "inner": {"hash": b"\1", "text": "I♥SF"},
        "none": None,
    },
)


def test_typed_data_is_signed_as_a_local_account_signs_it():
    theirs = ACCOUNT.sign_typed_data(full_message=MAIL)
    assert OURS.sign_typed_data(full_message=MAIL) == theirs
    assert asyncio.run(OURS_ASYNC.sign_typed_data(full_message=MAIL)) == theirs
    without = {name: value for name, value in MAIL.items() if name != "primaryType"}
    assert OURS.sign_typed_data(full_message=without) == theirs
    parts = copy.deepcopy(PARTS)
    parts[2]["notes"] = list(parts[2]["notes"])
    assert OURS.sign_typed_data(*PARTS) == ACCOUNT.sign_typed_data(*parts)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"domain_data": {}}, ValueError),
        ({"domain_data": {}, "full_message": MAIL}, ValueError),
        ({"full_message": {}}, PayloadError),
        ({"full_message": {**MAIL, "types": []}}, PayloadError),
        ({"full_message": {**MAIL, "types": {"Mail": [5]}}}, PayloadError),
        ({"full_message": {**MAIL, "message": {"from": {1}}}}, PayloadError),
        ({"full_message": {**MAIL, "message": {"contents": "\ud800"}}}, PayloadError),
        ({"full_message": {**MAIL, "message": {"contents": float("nan")}}}, PayloadError),
        ({"domain_data": {}, "message_types": {"A": [], "B": []}, "message_data": {}}, PayloadError),
    ],
)
def test_typed_data_that_cannot_be_written_is_refused(arguments, error):
    with pytest.raises(error):
        typed_data_json(**arguments)


def test_a_signature_of_another_key_is_not_returned():
    from eth_keys import keys

    stranger = keys.PrivateKey(bytes(31) + b"\7")
    account = CosignerAccount(lambda payload: sign_payload(payload, stranger), PUBLIC_KEY)
    for call in (
        lambda: account.sign_transaction(TRANSACTION),
        lambda: account.sign_message(encode_defunct(b"x")),
        lambda: account.sign_typed_data(full_message=MAIL),
    ):
        with pytest.raises(PayloadError) as caught:
            call()
        assert caught.value.code == "evm_signature_invalid"


def test_what_needs_the_key_is_refused():
    for call in (
        lambda: OURS.key,
        lambda: bytes(OURS),
        lambda: OURS.encrypt("password"),
        lambda: OURS.unsafe_sign_hash(bytes(32)),
        lambda: OURS.sign_authorization({}),
    ):
        with pytest.raises(CosignerError) as caught:
            call()
        assert caught.value.code == "operation_unsupported"


def test_an_account_is_its_address():
    assert OURS.address == OURS_ASYNC.address == ACCOUNT.address
    assert isinstance(OURS, BaseAccount)
    assert CosignerAccount(sign_payload, PUBLIC_KEY) == OURS
    assert AsyncCosignerAccount(sign_payload_async, PUBLIC_KEY) == OURS_ASYNC
    assert len({OURS, CosignerAccount(sign_payload, PUBLIC_KEY)}) == 1
    assert len({OURS_ASYNC, AsyncCosignerAccount(sign_payload_async, PUBLIC_KEY)}) == 1
    assert OURS != ACCOUNT
    assert OURS_ASYNC != OURS
    assert repr(OURS) == f"<CosignerAccount {ACCOUNT.address}>"
    assert repr(OURS_ASYNC) == f"<AsyncCosignerAccount {ACCOUNT.address}>"


class Node:
    """A node that knows nothing but takes every transaction."""

    ANSWERS = {
        "eth_chainId": "0x539",
        "eth_getTransactionCount": "0x22",
        "eth_estimateGas": "0x186a0",
        "eth_maxPriorityFeePerGas": "0x3b9aca00",
        "eth_getBlockByNumber": {"baseFeePerGas": "0x1dcd6500", "gasLimit": "0x1c9c380", "number": "0x1"},
    }

    def __init__(self) -> None:
        self.sent: list[str] = []

    def answer(self, method, params):
        if method == "eth_sendRawTransaction":
            self.sent.append(params[0])
            result = Web3.keccak(hexstr=params[0]).to_0x_hex()
        else:
            result = self.ANSWERS[method]
        return {"jsonrpc": "2.0", "id": 1, "result": result}


class Provider(BaseProvider):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def make_request(self, method, params):
        return self.node.answer(method, params)


class AsyncProvider(AsyncBaseProvider):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    async def make_request(self, method, params):
        return self.node.answer(method, params)


def test_web3_sends_what_the_account_signs():
    node = Node()
    w3 = Web3(Provider(node))
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(OURS), layer=0)
    sent = w3.eth.send_transaction({"from": OURS.address, "to": TO, "value": 5})
    assert Account.recover_transaction(node.sent[0]) == OURS.address
    assert sent == Web3.keccak(hexstr=node.sent[0])


def test_async_web3_awaits_the_account():
    node = Node()

    async def send():
        w3 = AsyncWeb3(AsyncProvider(node))
        w3.middleware_onion.inject(sign_and_send_raw(OURS_ASYNC), layer=0)
        assert await w3.eth.chain_id == 1337
        return await w3.eth.send_transaction({"from": OURS_ASYNC.address, "to": TO, "value": 5})

    sent = asyncio.run(send())
    assert Account.recover_transaction(node.sent[0]) == OURS_ASYNC.address
    assert sent == Web3.keccak(hexstr=node.sent[0])


def test_the_package_is_imported_without_eth_account():
    code = (
        "import sys; import cosigner.evm as e; e.unsigned_transaction; "
        "assert not [m for m in sys.modules if m.startswith(('eth_', 'web3', 'hexbytes'))]; "
        "import pytest; pytest.raises(AttributeError, lambda: e.nothing); e.CosignerAccount"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
