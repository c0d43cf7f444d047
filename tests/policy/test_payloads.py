"""From real payloads, through the parsers of the native core, to what is decided on."""

from __future__ import annotations

import json

import pytest
from embit import ec, script
from embit.psbt import PSBT
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_utils import to_checksum_address

import policy
from policy import BitcoinTransaction, EvmMessage, EvmTransaction, EvmTypedData
from policy.assets import Coin
from policy.effects import facts_of
from tests.policy.builders import ALICE, ROUTER, USDC, calldata, decide, document, outcome, rule
from threshold.payload import (
    bitcoin_address,
    evm_message_digest,
    evm_transaction_inspect,
    evm_typed_data_inspect,
    psbt_inspect,
)

# --- EVM ----------------------------------------------------------------------------------------------------------------


def unsigned(**fields) -> bytes:
    """An unsigned transaction as ``eth_account`` encodes it."""
    from cosigner.evm import unsigned_transaction

    return unsigned_transaction(fields)


def evm(**fields) -> EvmTransaction:
    found = policy.summary_of("evm_transaction", evm_transaction_inspect(unsigned(**fields)))
    assert isinstance(found, EvmTransaction)
    return found


BASE = {"chainId": 1, "nonce": 0, "gas": 21_000, "to": to_checksum_address(ALICE), "value": 5, "data": b""}
DYNAMIC = BASE | {"type": 2, "maxFeePerGas": 10, "maxPriorityFeePerGas": 1}


def test_a_payment():
    assert evm(**DYNAMIC) == EvmTransaction(1, ALICE, 5, 210_000, b"")
    assert evm(**BASE, gasPrice=7) == EvmTransaction(1, ALICE, 5, 147_000, b"")


def test_blobs_count_in_the_fee():
    blobs = {"type": 3, "maxFeePerBlobGas": 3, "blobVersionedHashes": ["0x01" + "00" * 31] * 2}
    assert evm(**DYNAMIC | blobs).max_fee == 210_000 + 2 * 131_072 * 3


def test_a_contract_creation_and_a_call():
    creation = {name: value for name, value in DYNAMIC.items() if name != "to"} | {"data": b"\xfe" * 9}
    assert evm(**creation).to is None
    data = calldata("transfer(address,uint256)", ALICE, 7)
    call = evm(**DYNAMIC | {"to": to_checksum_address(USDC), "data": data})
    assert call == EvmTransaction(1, USDC, 5, 210_000, data)
    assert facts_of(call).amounts == {Coin("EVM", 1, None): 210_005, Coin("EVM", 1, USDC): 7}


def test_authorizations_are_named():
    authority = Account.from_key(b"\x07" * 32)
    signed = authority.sign_authorization({"chainId": 1, "address": to_checksum_address(ROUTER), "nonce": 0})
    fields = DYNAMIC | {"type": 4, "authorizationList": [signed]}
    TypedTransaction.from_dict(fields)  # another library takes it as well
    assert evm(**fields).authorizations == (ROUTER,)


TYPED_DATA = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Permit": [{"name": "spender", "type": "address"}],
    },
    "primaryType": "Permit",
    "domain": {
        "name": "USD Coin",
        "version": "2",
        "chainId": 1,
        "verifyingContract": to_checksum_address(USDC),
    },
    "message": {"spender": to_checksum_address(ALICE)},
}


def test_typed_data_and_messages():
    details = evm_typed_data_inspect(json.dumps(TYPED_DATA).encode())
    assert policy.summary_of("evm_typed_data", details) == EvmTypedData("Permit", "USD Coin", "2", 1, USDC)
    bare = TYPED_DATA | {"types": {"Permit": TYPED_DATA["types"]["Permit"]}, "domain": {}}
    assert policy.summary_of(
        "evm_typed_data", evm_typed_data_inspect(json.dumps(bare).encode())
    ) == EvmTypedData("Permit")
    assert policy.summary_of("evm_message", evm_message_digest(b"hello")) == EvmMessage()
    with_validator = evm_message_digest(b"hello", bytes.fromhex(ROUTER[2:]))
    assert policy.summary_of("evm_message", with_validator) == EvmMessage(validator=ROUTER)


# --- Bitcoin ------------------------------------------------------------------------------------------------------------

KEY = ec.PrivateKey(bytes([9]) * 32).get_public_key()
STRANGER = ec.PrivateKey(bytes([2]) * 32).get_public_key()
OURS = script.Script(b"\x51\x20" + KEY.taproot_tweak(b"").xonly())
PAID = script.p2wpkh(STRANGER).address()


def bitcoin(outputs, *, ours=1, strangers=0, amount=100_000) -> BitcoinTransaction:
    scripts = [OURS] * ours + [script.p2tr(STRANGER)] * strangers
    made = PSBT(
        Transaction(
            vin=[TransactionInput(bytes([k + 1]) * 32, k) for k in range(len(scripts))],
            vout=[TransactionOutput(value, where) for value, where in outputs],
        )
    )
    for scope, spent in zip(made.inputs, scripts, strict=True):
        scope.witness_utxo = TransactionOutput(amount, spent)
    details = psbt_inspect(bytes(made.serialize()), KEY.sec(), "mainnet")
    found = policy.summary_of("psbt", details, network="mainnet")
    assert isinstance(found, BitcoinTransaction)
    return found


def btc(name="rule", kind="allow", **members):
    return rule(name, kind, chain="BTC", **members)


def decided(rules, summary):
    return outcome(decide(document(*rules), summary, chain="BTC"))


def lost(summary) -> int:
    return facts_of(summary).amounts.get(Coin("BTC", None, None), 0)


def test_what_a_bitcoin_wallet_loses_is_without_its_change():
    assert lost(bitcoin([(30_000, script.p2wpkh(STRANGER)), (69_500, OURS)])) == 30_500
    assert lost(bitcoin([(99_500, OURS)])) == 500
    assert lost(bitcoin([(30_000, script.p2wpkh(STRANGER)), (168_000, OURS)], ours=2)) == 32_000


def test_inputs_of_others_are_not_lost():
    shared = bitcoin([(150_000, script.p2wpkh(STRANGER)), (49_000, OURS)], strangers=1)
    assert lost(shared) == 51_000
    assert lost(bitcoin([(50_000, script.p2wpkh(STRANGER)), (149_000, OURS)], strangers=1)) == 0


def test_outputs_but_change_must_be_listed():
    change = bitcoin([(30_000, script.p2wpkh(STRANGER)), (69_500, OURS)])
    assert decided([btc(addresses=[PAID])], change) == "allow"
    assert (
        decided([btc(addresses=[bitcoin_address(KEY.sec(), "mainnet")])], change)
        == "no_rule_allows address_not_listed"
    )
    assert decided([btc(), btc("stop", "deny", addresses=[PAID])], change) == "denied_by_rule address_denied"


def test_bitcoin_limits_networks_and_scripts():
    change = bitcoin([(30_000, script.p2wpkh(STRANGER)), (69_500, OURS)])
    assert decided([btc(valueLimit={"asset": "BTC", "maxPerCall": "0.000305"})], change) == "allow"
    below = btc(valueLimit={"asset": "BTC", "maxPerCall": "0.00030499"})
    assert decided([below], change) == "no_rule_allows per_call_limit_exceeded"
    assert decided([btc(networks=["mainnet"])], change) == "allow"
    assert decided([btc(networks=["testnet", "signet"])], change) == "no_rule_allows network_not_listed"
    data = bitcoin([(0, script.Script(b"\x6a\x04data")), (99_500, OURS)])
    assert decided([btc()], data) == "no_rule_allows blind_not_allowed"
    assert decided([btc(blind=["bitcoin.script"])], data) == "allow"
    assert (
        decided([btc(blind=["bitcoin.script"], addresses=[PAID])], data)
        == "no_rule_allows address_not_listed"
    )
    assert decided([btc(addresses=[PAID])], bitcoin([(99_500, OURS)])) == "allow"


# --- what is no summary ---------------------------------------------------------------------------------------------------

EVM_DETAILS = {"chain_id": 1, "to": None, "value": 0, "max_fee": 0, "data": b"", "authorizations": []}


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("unknown", {}),
        ("evm_transaction", {}),
        *(
            ("evm_transaction", {k: v for k, v in EVM_DETAILS.items() if k != name})
            for name in EVM_DETAILS
            if name != "to"
        ),
        ("evm_transaction", EVM_DETAILS | {"chain_id": True}),
        ("evm_transaction", EVM_DETAILS | {"value": -1}),
        ("evm_transaction", EVM_DETAILS | {"value": "5"}),
        ("evm_transaction", EVM_DETAILS | {"to": "alice"}),
        ("evm_transaction", EVM_DETAILS | {"data": "0x"}),
        ("evm_message", {"validator": 5}),
        ("evm_typed_data", {"primary_type": "Permit", "domain": []}),
        ("solana_message", {"required_signers": ["w"], "fee_payer": "w", "instructions": [{}]}),
        ("solana_message", {"required_signers": ["w"], "fee_payer": None, "instructions": []}),
        ("psbt", {"inputs": [], "outputs": [{}]}),
        ("psbt", {"inputs": [{"ours": 1}], "outputs": []}),
    ],
)
def test_details_of_another_shape_are_refused(kind, details):
    with pytest.raises(policy.PolicyError) as caught:
        policy.summary_of(kind, details, wallet="w", network="mainnet")
    assert caught.value.code == "summary_invalid"


def test_a_bitcoin_summary_needs_a_network():
    with pytest.raises(policy.PolicyError) as caught:
        policy.summary_of("psbt", {"inputs": [], "outputs": []})
    assert caught.value.code == "summary_invalid"
