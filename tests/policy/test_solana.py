"""Solana messages made by ``solders``, read by the payload parser, decided on: what each instruction does, and the fee."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import (
    request_heap_frame,
    set_compute_unit_limit,
    set_compute_unit_price,
    set_loaded_accounts_data_size_limit,
)
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import (
    AdvanceNonceAccountParams,
    CreateAccountParams,
    TransferParams,
    advance_nonce_account,
    create_account,
    transfer,
)
from solders.token.associated import get_associated_token_address

import policy
from policy.assets import Coin
from policy.associated import associated_account
from policy.effects import facts_of
from policy.effects_solana import LAMPORTS_PER_SIGNATURE, SOL, TOKEN_ACCOUNT_RENT
from tests.policy.builders import decide, document, outcome, rule
from threshold.payload import solana_inspect

WALLET, ALICE, BOB, MALLORY, MINT, PROGRAM, SPONSOR = (Pubkey(bytes([seed]) * 32) for seed in range(1, 8))
SYSTEM = Pubkey(bytes(32))
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
BLOCKHASH = Hash(bytes(range(32)))
FEE = LAMPORTS_PER_SIGNATURE
USDC = {"usdc": {"chain": "SVM", "token": str(MINT), "decimals": 6}}


def summary(*instructions, payer=WALLET):
    message = bytes(Message.new_with_blockhash(instructions, payer, BLOCKHASH))
    return policy.summary_of("solana_message", solana_inspect(message), wallet=str(WALLET))


def pay(to, lamports=1_000, source=WALLET):
    return transfer(TransferParams(from_pubkey=source, to_pubkey=to, lamports=lamports))


def instruction(program, data, *accounts, signers=()):
    return Instruction(
        program, data, [AccountMeta(account, account in (WALLET, *signers), True) for account in accounts]
    )


def token_account(owner, program=TOKEN):
    return get_associated_token_address(owner, MINT, program)


def pay_tokens(destination, amount=5_000_000, program=TOKEN, owner=WALLET):
    data = b"\x0c" + amount.to_bytes(8, "little") + b"\x06"
    return instruction(
        program, data, token_account(WALLET, program), MINT, destination, owner, signers=[owner]
    )


def create_token_account(owner, data=b"\x01", payer=WALLET, account=None, program=TOKEN):
    account = account or token_account(owner, program)
    return instruction(ASSOCIATED, data, payer, account, owner, MINT, SYSTEM, program, signers=[payer])


def decided(rules, *instructions, payer=WALLET):
    tree = document(*rules)
    tree["environment"]["assets"] = USDC
    return outcome(decide(tree, summary(*instructions, payer=payer), chain="SVM"))


def solana(name="rule", kind="allow", **members):
    return rule(name, kind, chain="SVM", **members)


ALL = solana("all")
LIMITED = solana(valueLimits=[{"asset": "usdc", "maxPerCall": "5"}, {"asset": "SOL", "maxPerCall": "0.01"}])
TO_ALICE = solana(addresses=[str(ALICE)])

TABLE = {
    "a payment": ([ALL], [pay(ALICE)], "allow"),
    "a payment to a listed address": ([TO_ALICE], [pay(ALICE)], "allow"),
    "a payment to another address": ([TO_ALICE], [pay(MALLORY)], "no_rule_allows address_not_listed"),
    "every receiver must be listed": (
        [TO_ALICE], [pay(ALICE), pay(ALICE), pay(MALLORY)], "no_rule_allows address_not_listed",
    ),
    "limits apply to sums": (
        [solana(valueLimit={"asset": "SOL", "maxPerCall": "0.000012"})], [pay(ALICE, 4_000), pay(BOB, 4_001)],
        "no_rule_allows per_call_limit_exceeded",
    ),
    "a sum at its limit, fee included": (
        [solana(valueLimit={"asset": "SOL", "maxPerCall": "0.000013"})], [pay(ALICE, 4_000), pay(BOB, 4_000)], "allow",
    ),
    "tokens to the token account of a listed owner": ([TO_ALICE], [pay_tokens(token_account(ALICE))], "allow"),
    "tokens of Token-2022 to the token account of a listed owner": (
        [TO_ALICE], [pay_tokens(token_account(ALICE, TOKEN_2022), program=TOKEN_2022)], "allow",
    ),
    "the token account of another program is another account": (
        [TO_ALICE], [pay_tokens(token_account(ALICE, TOKEN), program=TOKEN_2022)], "no_rule_allows address_not_listed",
    ),
    "tokens to a listed token account": ([solana(addresses=[str(BOB)])], [pay_tokens(BOB)], "allow"),
    "tokens to the token account of somebody else": (
        [TO_ALICE], [pay_tokens(token_account(MALLORY))], "no_rule_allows address_not_listed",
    ),
    "tokens to a token account of no known owner": (
        [TO_ALICE], [pay_tokens(BOB)], "no_rule_allows address_not_listed",
    ),
    "tokens within the limit": ([LIMITED], [pay_tokens(token_account(ALICE))], "allow"),
    "tokens above the limit": (
        [LIMITED], [pay_tokens(token_account(ALICE), 3_000_000), pay_tokens(token_account(BOB), 2_000_001)],
        "no_rule_allows per_call_limit_exceeded",
    ),
    "a token account is made for a listed owner": (
        [TO_ALICE], [create_token_account(ALICE), pay_tokens(token_account(ALICE))], "allow",
    ),
    "a token account is made for somebody else": (
        [TO_ALICE], [create_token_account(MALLORY), pay_tokens(token_account(ALICE))],
        "no_rule_allows address_not_listed",
    ),
    "a token account that is not the owner's": (
        [ALL], [create_token_account(ALICE, account=BOB)], "no_rule_allows blind_not_allowed",
    ),
    "a token account of Token-2022 has no known rent": (
        [ALL], [create_token_account(ALICE, program=TOKEN_2022)], "no_rule_allows blind_not_allowed",
    ),
    "the rent of a token account counts": (
        [solana(valueLimit={"asset": "SOL", "maxPerCall": "0.002"})], [create_token_account(ALICE)],
        "no_rule_allows per_call_limit_exceeded",
    ),
    "a transfer that does not name its mint": (
        [ALL], [instruction(TOKEN, b"\x03" + bytes(8), token_account(WALLET), BOB, WALLET)],
        "no_rule_allows blind_not_allowed",
    ),
    "a transfer that does not name its mint, under a limit": (
        [LIMITED | {"blind": ["solana.instruction"]}],
        [instruction(TOKEN, b"\x03" + bytes(8), token_account(WALLET), BOB, WALLET)],
        "no_rule_allows blind_not_allowed",
    ),
    "a transfer that does not name its mint, allowed": (
        [solana(addresses=[str(BOB)], blind=["solana.unnamed_mint"])],
        [instruction(TOKEN, b"\x03" + bytes(8), token_account(WALLET), BOB, WALLET)], "allow",
    ),
    "another instruction of the token program": (
        [ALL], [instruction(TOKEN, b"\x06\x02\x01" + bytes(32), token_account(WALLET), WALLET)],
        "no_rule_allows blind_not_allowed",
    ),
    "an unknown program": ([ALL], [instruction(PROGRAM, b"", WALLET)], "no_rule_allows blind_not_allowed"),
    "an unknown program that the rule allows blind": (
        [solana(blind=["solana.instruction"])], [instruction(PROGRAM, b"", WALLET)], "allow",
    ),
    "a named program": ([solana(contracts=[str(PROGRAM)])], [instruction(PROGRAM, b"", WALLET)], "allow"),
    "a named program, and a payment beside it": (
        [solana(contracts=[str(PROGRAM)])], [instruction(PROGRAM, b"", WALLET), pay(MALLORY)],
        "no_rule_allows address_not_listed",
    ),
    "a named program under a limit": (
        [solana(contracts=[str(PROGRAM)], valueLimit={"asset": "SOL", "maxPerCall": "1"})],
        [instruction(PROGRAM, b"", WALLET)], "no_rule_allows blind_not_allowed",
    ),
    "another program beside the named one": (
        [solana(contracts=[str(PROGRAM)])], [instruction(PROGRAM, b"", WALLET), instruction(BOB, b"", WALLET)],
        "no_rule_allows contract_not_listed",
    ),
    "an instruction without the wallet can do nothing with its signature": (
        [TO_ALICE], [pay(ALICE), instruction(PROGRAM, b"x", BOB)], "allow",
    ),
    "a memo that the wallet signs": ([TO_ALICE], [pay(ALICE), instruction(MEMO, b"rent", WALLET)], "allow"),
    "a durable nonce": (
        [TO_ALICE], [advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=BOB, authorized_pubkey=WALLET)), pay(ALICE)], "allow",
    ),
    "a new account": (
        [ALL], [create_account(CreateAccountParams(from_pubkey=WALLET, to_pubkey=BOB, lamports=5, space=0, owner=PROGRAM))], "no_rule_allows blind_not_allowed",
    ),
    "a payment to the wallet": ([TO_ALICE], [pay(WALLET, source=BOB)], "allow"),
    "a denied receiver": (
        [ALL, solana("stop", "deny", addresses=[str(MALLORY)])], [pay(ALICE), pay(MALLORY)],
        "denied_by_rule address_denied",
    ),
    "a denied owner of a token account": (
        [ALL, solana("stop", "deny", addresses=[str(MALLORY)])], [pay_tokens(token_account(MALLORY))],
        "denied_by_rule address_denied",
    ),
    "the owner of a token account may be the denied one": (
        [ALL, solana("stop", "deny", addresses=[str(MALLORY)])], [pay_tokens(BOB)], "denied_by_rule address_unknown",
    ),
    "unless the message proves who it is": (
        [ALL, solana("stop", "deny", addresses=[str(MALLORY)])],
        [create_token_account(ALICE), pay_tokens(token_account(ALICE))], "allow",
    ),
    "a denied program": (
        [ALL, solana("stop", "deny", contracts=[str(SYSTEM)])], [pay(ALICE)], "denied_by_rule contract_denied",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_decision(name):
    rules, instructions, expected = TABLE[name]
    assert decided(rules, *instructions) == expected


def test_an_account_from_a_lookup_table_is_not_named():
    table = AddressLookupTableAccount(BOB, [ALICE])
    message = MessageV0.try_compile(WALLET, [pay(ALICE)], [table], BLOCKHASH)
    found = policy.summary_of(
        "solana_message", solana_inspect(bytes(to_bytes_versioned(message))), wallet=str(WALLET)
    )
    assert outcome(decide(document(TO_ALICE), found, chain="SVM")) == "no_rule_allows contract_not_listed"


# --- amounts ------------------------------------------------------------------------------------------------------------


def sol(*instructions, payer=WALLET):
    return facts_of(summary(*instructions, payer=payer)).amounts.get(SOL, 0)


def test_the_fee_is_signatures_and_the_price_of_compute_units():
    assert sol(pay(ALICE, 7)) == FEE + 7
    assert sol(set_compute_unit_limit(200_000), set_compute_unit_price(1_000), pay(ALICE, 7)) == FEE + 200 + 7
    assert sol(set_compute_unit_limit(1), set_compute_unit_price(1), pay(ALICE, 7)) == FEE + 1 + 7
    assert sol(set_compute_unit_price(1_000_000), pay(ALICE, 7)) == FEE + 1_400_000 + 7
    assert (
        sol(set_compute_unit_limit(2**32 - 1), set_compute_unit_price(1_000_000), pay(ALICE, 7))
        == FEE + 1_400_007
    )
    assert (
        sol(request_heap_frame(65536), set_loaded_accounts_data_size_limit(65536), pay(ALICE, 7)) == FEE + 7
    )
    ed25519 = Pubkey.from_string("Ed25519SigVerify111111111111111111111111111")
    assert sol(instruction(ed25519, b"\x03\0"), instruction(ed25519, b""), pay(ALICE, 7)) == 4 * FEE + 7


def test_a_fee_that_somebody_else_pays_does_not_count():
    assert sol(pay(ALICE, 7), payer=SPONSOR) == 7
    assert sol(set_compute_unit_price(10**9), pay(ALICE, 7), payer=SPONSOR) == 7


def test_a_compute_budget_that_is_not_understood_is_blind():
    budget = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
    for data in (b"", b"\x00" + bytes(8), b"\x03" + bytes(7), b"\x02" + bytes(8), b"\x05" + bytes(4)):
        assert decided([ALL], instruction(budget, data), pay(ALICE)) == "no_rule_allows blind_not_allowed"


def test_tokens_and_rent_are_counted():
    assert TOKEN_ACCOUNT_RENT == (165 + 128) * 3_480 * 2
    facts = facts_of(summary(create_token_account(ALICE), pay_tokens(token_account(ALICE), 9)))
    assert facts.amounts == {SOL: FEE + TOKEN_ACCOUNT_RENT, Coin("SVM", None, str(MINT)): 9}
    sponsored = facts_of(
        summary(create_token_account(ALICE, payer=SPONSOR), pay_tokens(token_account(ALICE), 9))
    )
    assert sponsored.amounts[SOL] == 2 * FEE


def test_tokens_of_a_multisig_that_the_wallet_signs_for_count():
    data = b"\x0c" + (9).to_bytes(8, "little") + b"\x06"
    found = facts_of(summary(instruction(TOKEN, data, token_account(BOB), MINT, ALICE, BOB, WALLET)))
    assert found.amounts[Coin("SVM", None, str(MINT))] == 9


@settings(max_examples=60, deadline=None)
@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([TOKEN, TOKEN_2022]),
)
def test_token_accounts_are_those_of_solders(owner, mint, program):
    expected = get_associated_token_address(Pubkey(owner), Pubkey(mint), program)
    assert associated_account(str(Pubkey(owner)), str(Pubkey(mint)), str(program)) == str(expected)


def test_no_token_account_of_what_is_no_address():
    assert associated_account("0OIl", str(MINT), str(TOKEN)) == ""


def test_a_message_that_the_wallet_does_not_sign_has_no_summary():
    message = bytes(Message.new_with_blockhash([pay(ALICE)], WALLET, BLOCKHASH))
    with pytest.raises(policy.PolicyError) as caught:
        policy.summary_of("solana_message", solana_inspect(message), wallet=str(BOB))
    assert caught.value.code == "summary_invalid"
