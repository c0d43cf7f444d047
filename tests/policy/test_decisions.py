"""The table of decisions: what is allowed, what is denied, and by which condition. Every name is a sentence."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import (
    Action,
    BitcoinTransaction,
    Charge,
    Deny,
    EvmMessage,
    EvmTypedData,
    RawDigest,
    SolanaText,
    SolanaTransaction,
    Usage,
    parse,
    policy_bytes,
    rendering,
)
from policy.conditions import hours
from policy.phrases import policy_in_words
from policy.rules import Hours, Rule
from policy.usage import Key
from tests.policy.builders import (
    ALICE,
    BOB,
    ETHER,
    MALLORY,
    NOON,
    ROUTER,
    USDC,
    calldata,
    decide,
    document,
    outcome,
    parsed,
    rule,
    token,
    transaction,
)

MAX = 2**256 - 1
TRANSFER = "transfer(address,uint256)"
APPROVE = "approve(address,uint256)"
SWAP = "swap(address,(address,uint256)[],uint256)"


def limit(asset="ETH", **members):
    return {"asset": asset} | members


def both(**members):
    """Limits for USDC and for what a fee costs."""
    return [limit("USDC", **members), limit("ETH", maxPerCall="1")]


SWAPPED = (ALICE, [(ALICE, 1), (BOB, 2)], 7)
ABI = [
    {"type": "event", "name": "Swap", "inputs": []},
    {
        "type": "function",
        "name": "swap",
        "stateMutability": "payable",
        "inputs": [
            {"name": "to", "type": "address"},
            {"name": "steps", "type": "tuple[]", "components": [{"type": "address"}, {"type": "uint256"}]},
            {"name": "least", "type": "uint256"},
        ],
        "outputs": [],
    },
]


def swapped(arguments):
    return calldata(SWAP, *arguments)


def call_swap(**members):
    return transaction(**{"to": ROUTER, "data": swapped(SWAPPED)} | members)


def swap_rule(index, operator, value, *, path=None, name="rule", kind="allow"):
    constraint = {"index": index, "operator": operator, "value": value} | ({"path": path} if path else {})
    return rule(name, kind, addresses=[ROUTER], functionName=SWAP, argumentConstraints=[constraint])


PERMIT = EvmTypedData("Permit", "USD Coin", "2", 1, USDC)
ALLOW_ALL = rule("all")

TABLE = {
    # --- default deny -----------------------------------------------------------------------------------------------
    "a layer without rules denies": ([], transaction(), "no_rule_allows"),
    "a layer with deny rules only denies": (
        [rule(kind="deny", addresses=[MALLORY])], transaction(ALICE), "no_rule_allows",
    ),
    "a rule without conditions allows a payment": ([ALLOW_ALL], transaction(ALICE, ETHER), "allow"),
    "a rule of another chain does not": (
        [rule(chain="SVM")], transaction(), "no_rule_allows other_chain",
    ),
    "a rule for another operation does not": (
        [rule(operations=["export"])], transaction(), "no_rule_allows other_operation",
    ),
    "deny beats allow": (
        [ALLOW_ALL, rule("stop", "deny")], transaction(), "denied_by_rule",
    ),
    # --- chains -----------------------------------------------------------------------------------------------------
    "a listed chain id": ([rule(chainIds=[1, 8453])], transaction(chain_id=8453), "allow"),
    "a chain id that is not listed": (
        [rule(chainIds=[1])], transaction(chain_id=8453), "no_rule_allows chain_id_not_listed",
    ),
    "a denied chain id": (
        [ALLOW_ALL, rule("stop", "deny", chainIds=[8453])], transaction(chain_id=8453), "denied_by_rule",
    ),
    "another chain id than the denied one": (
        [ALLOW_ALL, rule("stop", "deny", chainIds=[8453])], transaction(), "allow",
    ),
    # --- addresses --------------------------------------------------------------------------------------------------
    "a listed receiver": ([rule(addresses=[ALICE, BOB])], transaction(BOB, ETHER), "allow"),
    "a receiver that is not listed": (
        [rule(addresses=[ALICE])], transaction(MALLORY, ETHER), "no_rule_allows address_not_listed",
    ),
    "a token for a listed receiver, by a contract that is not listed": (
        [rule(addresses=[ALICE])], token(TRANSFER, ALICE, 5), "no_rule_allows contract_not_listed",
    ),
    "a token for a listed receiver, by a listed contract": (
        [rule(addresses=[ALICE, USDC])], token(TRANSFER, ALICE, 5), "allow",
    ),
    "a token for somebody else, by a listed contract": (
        [rule(addresses=[USDC])], token(TRANSFER, MALLORY, 5), "no_rule_allows address_not_listed",
    ),
    "contracts name what is called, addresses who receives": (
        [rule(addresses=[ALICE], contracts=[USDC])], token(TRANSFER, ALICE, 5), "allow",
    ),
    "a contract that may be called receives no payment without a call": (
        [rule(addresses=[ALICE], contracts=[ROUTER])], transaction(ROUTER, 5),
        "no_rule_allows address_not_listed",
    ),
    "a rule of contracts alone allows calls": (
        [rule(contracts=[USDC])], token(TRANSFER, MALLORY, 5), "allow",
    ),
    "a rule of contracts alone allows no payment": (
        [rule(contracts=[USDC])], transaction(MALLORY, 5), "no_rule_allows address_not_listed",
    ),
    "the token of a limit need not be listed": (
        [rule(chainIds=[1], addresses=[ALICE], valueLimits=both(maxPerCall="1"))],
        token(TRANSFER, ALICE, 5), "allow",
    ),
    "another token must be": (
        [rule(chainIds=[1], addresses=[ALICE], valueLimits=both(maxPerCall="1"))],
        token(TRANSFER, ALICE, 5, to=ROUTER), "no_rule_allows contract_not_listed",
    ),
    "the spender of an approval must be listed": (
        [rule(addresses=[ALICE, USDC])], token(APPROVE, MALLORY, 5), "no_rule_allows address_not_listed",
    ),
    "the receiver of transferFrom must be listed": (
        [rule(addresses=[ALICE, USDC])], token("transferFrom(address,address,uint256)", ALICE, MALLORY, 5),
        "no_rule_allows address_not_listed",
    ),
    "a denied receiver": (
        [ALLOW_ALL, rule("stop", "deny", addresses=[MALLORY])], transaction(MALLORY),
        "denied_by_rule address_denied",
    ),
    "a denied receiver of tokens": (
        [ALLOW_ALL, rule("stop", "deny", addresses=[MALLORY])], token(TRANSFER, MALLORY, 5),
        "denied_by_rule address_denied",
    ),
    "a denied owner of tokens": (
        [ALLOW_ALL, rule("stop", "deny", addresses=[MALLORY])],
        token("transferFrom(address,address,uint256)", MALLORY, ALICE, 5), "denied_by_rule address_denied",
    ),
    "a receiver that is not the denied one": (
        [ALLOW_ALL, rule("stop", "deny", addresses=[MALLORY])], token(TRANSFER, ALICE, 5), "allow",
    ),
    "a denied address may be in calldata that is not understood": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", addresses=[MALLORY])],
        transaction(ROUTER, data=b"\x01\x02\x03\x04" + bytes(32)), "denied_by_rule address_unknown",
    ),
    "a deny rule that is not cautious lets that pass": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", addresses=[MALLORY], cautious=False)],
        transaction(ROUTER, data=b"\x01\x02\x03\x04" + bytes(32)), "allow",
    ),
    "but not if the address stands there": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", addresses=[MALLORY], cautious=False)],
        transaction(ROUTER, data=b"\x01\x02\x03\x04\x05" + bytes.fromhex(MALLORY[2:])),
        "denied_by_rule address_denied",
    ),
    "a denied contract": (
        [ALLOW_ALL, rule("stop", "deny", contracts=[USDC])], token(TRANSFER, ALICE, 5),
        "denied_by_rule contract_denied",
    ),
    "a deny rule with addresses and contracts needs both": (
        [ALLOW_ALL, rule("stop", "deny", addresses=[MALLORY], contracts=[USDC])],
        token(TRANSFER, MALLORY, 5, to=ROUTER), "allow",
    ),
    # --- calls ------------------------------------------------------------------------------------------------------
    "an unknown call is blind": (
        [ALLOW_ALL], transaction(ROUTER, data=b"abcd"), "no_rule_allows blind_not_allowed",
    ),
    "an unknown call of a named contract": (
        [rule(addresses=[ROUTER])], transaction(ROUTER, data=b"abcd"), "allow",
    ),
    "an unknown call that the rule allows blind": (
        [rule(blind=["evm.call"])], transaction(ROUTER, data=b"abcd"), "allow",
    ),
    "a token call with bytes behind it is an unknown call": (
        [ALLOW_ALL], transaction(USDC, data=calldata(TRANSFER, ALICE, 5) + b"\0"),
        "no_rule_allows blind_not_allowed",
    ),
    "a token call to an address of more than 160 bits is an unknown call": (
        [ALLOW_ALL], transaction(USDC, data=calldata(TRANSFER, ALICE, 5)[:4] + b"\1" + calldata(TRANSFER, ALICE, 5)[5:]),
        "no_rule_allows blind_not_allowed",
    ),
    "a named function": (
        [rule(addresses=[ROUTER], functionName=SWAP)], call_swap(), "allow",
    ),
    "a named function of another contract": (
        [rule(addresses=[ROUTER], functionName=SWAP)], call_swap(to=USDC), "no_rule_allows contract_not_listed",
    ),
    "another function of a named contract": (
        [rule(addresses=[ROUTER], functionName="swap(uint256)")], call_swap(), "no_rule_allows other_function",
    ),
    "a named function is not a payment": (
        [rule(addresses=[ROUTER], functionName=SWAP)], transaction(ROUTER, 5), "no_rule_allows not_a_call",
    ),
    "arguments that have another encoding": (
        [rule(addresses=[ROUTER], functionName=SWAP)], transaction(ROUTER, data=swapped(SWAPPED) + bytes(32)),
        "no_rule_allows calldata_unclear",
    ),
    "a denied function": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", functionName=SWAP)], call_swap(),
        "denied_by_rule function_denied",
    ),
    "a denied function in another encoding": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", functionName=SWAP)],
        transaction(ROUTER, data=swapped(SWAPPED) + bytes(32)), "denied_by_rule calldata_unclear",
    ),
    "another function than the denied one": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", functionName="swap(uint256)")], call_swap(), "allow",
    ),
    "the function of an ABI": (
        [rule(addresses=[ROUTER], functionName="swap", contractAbi=ABI)], call_swap(), "allow",
    ),
    "an argument that is equal": ([swap_rule(0, "equal", ALICE)], call_swap(), "allow"),
    "an argument that is not": (
        [swap_rule(0, "equal", BOB)], call_swap(), "no_rule_allows argument_not_allowed",
    ),
    "an argument in a list": ([swap_rule(0, "in", [BOB, ALICE])], call_swap(), "allow"),
    "an argument in a list of what must not be": (
        [swap_rule(0, "notIn", [BOB, ALICE])], call_swap(), "no_rule_allows argument_not_allowed",
    ),
    "an argument that is less": ([swap_rule(2, "less", "8")], call_swap(), "allow"),
    "an argument that is not less": (
        [swap_rule(2, "less", "7")], call_swap(), "no_rule_allows argument_not_allowed",
    ),
    "an argument at its bound": ([swap_rule(2, "lessEqual", 7)], call_swap(), "allow"),
    "all elements of an array keep a constraint": (
        [swap_rule(1, "greaterEqual", "0x1", path=[1])], call_swap(), "allow",
    ),
    "one element of an array breaks it": (
        [swap_rule(1, "greater", 1, path=[1])], call_swap(), "no_rule_allows argument_not_allowed",
    ),
    "one element of an array is enough for a deny rule": (
        [rule(contracts=[ROUTER]), swap_rule(1, "equal", BOB, path=[0], name="stop", kind="deny")], call_swap(),
        "denied_by_rule function_denied",
    ),
    "no element of an array is not": (
        [rule(contracts=[ROUTER]), swap_rule(1, "equal", MALLORY, path=[0], name="stop", kind="deny")], call_swap(),
        "allow",
    ),
    # --- limits -----------------------------------------------------------------------------------------------------
    "as much as the limit of one call": (
        [rule(valueLimit=limit(maxPerCall="1"))], transaction(ALICE, ETHER), "allow",
    ),
    "one wei more": (
        [rule(valueLimit=limit(maxPerCall="1"))], transaction(ALICE, ETHER + 1),
        "no_rule_allows per_call_limit_exceeded",
    ),
    "the fee counts": (
        [rule(valueLimit=limit(maxPerCall="1"))], transaction(ALICE, ETHER, max_fee=1),
        "no_rule_allows per_call_limit_exceeded",
    ),
    "a fee that no limit is for": (
        [rule(chainIds=[1], valueLimit=limit("USDC", maxPerCall="5"))], token(TRANSFER, ALICE, 5, max_fee=1),
        "no_rule_allows asset_not_limited",
    ),
    "more than the total": (
        [rule(valueLimit=limit(totalLimit="1"))], transaction(ALICE, ETHER + 1),
        "no_rule_allows total_limit_exceeded",
    ),
    "a token that no limit is for": (
        [rule(valueLimit=limit(maxPerCall="1"))], token(TRANSFER, ALICE, 5), "no_rule_allows asset_not_limited",
    ),
    "the coins of two chains are one asset": (
        [rule(valueLimit=limit(maxPerCall="1"))], transaction(ALICE, ETHER, chain_id=8453), "allow",
    ),
    "a token of another chain is another token": (
        [rule(chainIds=[1, 8453], valueLimits=both(maxPerCall="5"))], token(TRANSFER, ALICE, 5, chain_id=8453),
        "no_rule_allows asset_not_limited",
    ),
    "as many tokens as the limit": (
        [rule(chainIds=[1], valueLimits=both(maxPerCall="5"))], token(TRANSFER, ALICE, 5_000_000, max_fee=9), "allow",
    ),
    "more tokens": (
        [rule(chainIds=[1], valueLimits=both(maxPerCall="5"))], token(TRANSFER, ALICE, 5_000_001),
        "no_rule_allows per_call_limit_exceeded",
    ),
    "a token by its address, in base units": (
        [rule(chainIds=[1], valueLimit=limit(USDC, maxPerCall="5"))], token(TRANSFER, ALICE, 6),
        "no_rule_allows per_call_limit_exceeded",
    ),
    "an approval counts": (
        [rule(chainIds=[1], valueLimits=both(maxPerCall="5"))], token(APPROVE, ALICE, 5_000_001),
        "no_rule_allows per_call_limit_exceeded",
    ),
    "tokens that somebody approved count": (
        [rule(chainIds=[1], valueLimits=both(maxPerCall="5"))],
        token("transferFrom(address,address,uint256)", BOB, ALICE, 5_000_001), "no_rule_allows per_call_limit_exceeded",
    ),
    "a larger allowance counts": (
        [rule(chainIds=[1], valueLimits=both(maxPerCall="5"))],
        token("increaseAllowance(address,uint256)", ALICE, 5_000_001), "no_rule_allows per_call_limit_exceeded",
    ),
    "an allowance of zero moves nothing": (
        [rule(chainIds=[1], valueLimits=both(maxPerCall="0"))], token(APPROVE, ALICE, 0), "allow",
    ),
    "limits do not let a named contract move what they do not see": (
        [rule(addresses=[ROUTER], valueLimit=limit(maxPerCall="1"))], call_swap(), "no_rule_allows blind_not_allowed",
    ),
    "a blind call that a rule with limits lists": (
        [rule(blind=["evm.call"], valueLimit=limit(maxPerCall="1"))], call_swap(value=ETHER), "allow",
    ),
    "a blind call above the limit": (
        [rule(blind=["evm.call"], valueLimit=limit(maxPerCall="1"))], call_swap(value=ETHER + 1),
        "no_rule_allows per_call_limit_exceeded",
    ),
    "a named function under a limit": (
        [rule(addresses=[ROUTER], functionName=SWAP, valueLimit=limit(maxPerCall="1"))], call_swap(value=ETHER), "allow",
    ),
    "a named function above it": (
        [rule(addresses=[ROUTER], functionName=SWAP, valueLimit=limit(maxPerCall="1"))], call_swap(value=ETHER + 1),
        "no_rule_allows per_call_limit_exceeded",
    ),
    "a deny rule denies what exceeds its limit": (
        [ALLOW_ALL, rule("stop", "deny", valueLimit=limit(maxPerCall="1"))], transaction(ALICE, ETHER + 1),
        "denied_by_rule per_call_limit_exceeded",
    ),
    "a deny rule does not deny what keeps it": (
        [ALLOW_ALL, rule("stop", "deny", valueLimit=limit(maxPerCall="1"))], transaction(ALICE, ETHER), "allow",
    ),
    "a deny rule with a token's limit denies what it cannot see": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", chainIds=[1], valueLimit=limit("USDC", maxPerCall="1"))],
        call_swap(), "denied_by_rule amount_unknown",
    ),
    "the coin of a chain is always seen": (
        [rule(contracts=[ROUTER]), rule("stop", "deny", valueLimit=limit(maxPerCall="1"))], call_swap(), "allow",
    ),
    # --- blind ------------------------------------------------------------------------------------------------------
    "an approval without limit": (
        [ALLOW_ALL], token(APPROVE, ALICE, MAX), "no_rule_allows blind_not_allowed",
    ),
    "an approval without limit as uint96 tokens read it": (
        [ALLOW_ALL], token(APPROVE, ALICE, 2**96 - 1), "no_rule_allows blind_not_allowed",
    ),
    "a large approval": ([ALLOW_ALL], token(APPROVE, ALICE, 2**96 - 2), "allow"),
    "an approval without limit of a named function is still one": (
        [rule(addresses=[USDC], functionName=APPROVE)], token(APPROVE, ALICE, MAX), "no_rule_allows blind_not_allowed",
    ),
    "an approval without limit that the rule allows": (
        [rule(blind=["evm.unlimited_approval"])], token(APPROVE, ALICE, MAX), "allow",
    ),
    "an approval for all of a collection": (
        [ALLOW_ALL], token("setApprovalForAll(address,bool)", ALICE, True), "no_rule_allows blind_not_allowed",
    ),
    "the end of an approval for all": (
        [ALLOW_ALL], token("setApprovalForAll(address,bool)", ALICE, False), "allow",
    ),
    "a contract creation": (
        [ALLOW_ALL], transaction(None, data=b"code"), "no_rule_allows blind_not_allowed",
    ),
    "a contract creation that the rule allows": (
        [rule(blind=["evm.contract_creation"])], transaction(None, data=b"code"), "allow",
    ),
    "a contract creation pays no listed address": (
        [rule(addresses=[ALICE], blind=["evm.contract_creation"])], transaction(None, data=b"code"),
        "no_rule_allows address_unknown",
    ),
    "an authorization to run code": (
        [ALLOW_ALL], transaction(authorizations=(ROUTER,)), "no_rule_allows blind_not_allowed",
    ),
    "an authorization that the rule allows": (
        [rule(blind=["evm.authorization"])], transaction(authorizations=(ROUTER,)), "allow",
    ),
    "an authorization of code that is not listed": (
        [rule(addresses=[ALICE], blind=["evm.authorization"])], transaction(authorizations=(ROUTER,)),
        "no_rule_allows contract_not_listed",
    ),
    "an authorization under a limit": (
        [rule(valueLimit=limit(maxPerCall="1"))], transaction(authorizations=(ROUTER,)),
        "no_rule_allows blind_not_allowed",
    ),
    "a deny rule may name what is blind": (
        [rule(blind=["evm.contract_creation"]), rule("stop", "deny", blind=["evm.contract_creation"])],
        transaction(None, data=b"code"), "denied_by_rule blind_denied",
    ),
    "a deny rule about something else that is blind": (
        [rule(blind=["evm.contract_creation"]), rule("stop", "deny", blind=["evm.authorization"])],
        transaction(None, data=b"code"), "allow",
    ),
    # --- other payloads ---------------------------------------------------------------------------------------------
    "a message is no transaction": ([ALLOW_ALL], EvmMessage(), "no_rule_allows other_payload"),
    "a message that the rule allows": ([rule(payloads=["message"])], EvmMessage(), "allow"),
    "a rule about messages allows no transaction": (
        [rule(payloads=["message"])], transaction(), "no_rule_allows other_payload",
    ),
    "a message is good on every chain": (
        [rule(chainIds=[1], payloads=["message"])], EvmMessage(), "no_rule_allows chain_id_unknown",
    ),
    "a denied chain may be a message's": (
        [rule(payloads=["message"]), rule("stop", "deny", chainIds=[5])], EvmMessage(), "denied_by_rule chain_id_unknown",
    ),
    "a message for a validator is another payload": (
        [rule(payloads=["message"])], EvmMessage(validator=ROUTER), "no_rule_allows other_payload",
    ),
    "a message for a listed validator": (
        [rule(payloads=["validatorMessage"], addresses=[ROUTER])], EvmMessage(validator=ROUTER), "allow",
    ),
    "a message for another validator": (
        [rule(payloads=["validatorMessage"], addresses=[ROUTER])], EvmMessage(validator=USDC),
        "no_rule_allows contract_not_listed",
    ),
    "a raw digest": ([ALLOW_ALL], RawDigest("EVM"), "no_rule_allows other_payload"),
    "a raw digest that the rule allows": ([rule(payloads=["rawDigest"])], RawDigest("EVM"), "allow"),
    "a raw digest may be anything that is denied": (
        [rule(payloads=["rawDigest"]), rule("stop", "deny", functionName=APPROVE)], RawDigest("EVM"),
        "denied_by_rule not_a_call",
    ),
    "typed data is no transaction": ([ALLOW_ALL], PERMIT, "no_rule_allows other_payload"),
    "typed data by type": ([rule(typedData=[{"primaryType": "Permit"}])], PERMIT, "allow"),
    "typed data by type and domain": (
        [rule(chainIds=[1], typedData=[{"primaryType": "Permit", "name": "USD Coin", "version": "2",
                                        "chainId": 1, "verifyingContract": USDC}])], PERMIT, "allow",
    ),
    "typed data for a listed contract": (
        [rule(typedData=[{"primaryType": "Permit"}], addresses=[USDC])], PERMIT, "allow",
    ),
    "typed data for a contract that is not listed": (
        [rule(typedData=[{"primaryType": "Permit"}], addresses=[ROUTER])], PERMIT, "no_rule_allows contract_not_listed",
    ),
    "typed data for no contract": (
        [rule(typedData=[{"primaryType": "Order"}], addresses=[ROUTER])], EvmTypedData("Order"),
        "no_rule_allows address_unknown",
    ),
    "typed data for a denied contract": (
        [rule(payloads=["typedData"]), rule("stop", "deny", addresses=[USDC], cautious=False)], PERMIT,
        "denied_by_rule address_denied",
    ),
    "typed data of another type": (
        [rule(typedData=[{"primaryType": "Order"}])], PERMIT, "no_rule_allows typed_data_not_listed",
    ),
    "typed data of another contract": (
        [rule(typedData=[{"primaryType": "Permit", "verifyingContract": ROUTER}])], PERMIT,
        "no_rule_allows typed_data_not_listed",
    ),
    "typed data whose domain leaves open what the rule asks": (
        [rule(typedData=[{"primaryType": "Permit", "chainId": 1}])], EvmTypedData("Permit"),
        "no_rule_allows typed_data_not_listed",
    ),
    "typed data of a denied contract, which the domain leaves open": (
        [rule(payloads=["typedData"]), rule("stop", "deny", typedData=[{"primaryType": "Permit", "chainId": 1}])],
        EvmTypedData("Permit"), "denied_by_rule typed_data_not_listed",
    ),
    "a denied type": (
        [rule(payloads=["typedData"]), rule("stop", "deny", typedData=[{"primaryType": "Permit"}])], PERMIT,
        "denied_by_rule typed_data_denied",
    ),
    "a deny rule of typed data lets transactions pass": (
        [ALLOW_ALL, rule("stop", "deny", typedData=[{"primaryType": "Permit"}])], transaction(), "allow",
    ),
    # --- time -------------------------------------------------------------------------------------------------------
    "before the rule is valid": (
        [rule(notBefore="2026-11-25T12:00:01Z")], transaction(), "no_rule_allows rule_not_yet_valid",
    ),
    "from the second on at which it is": ([rule(notBefore="2026-11-25T12:00:00Z")], transaction(), "allow"),
    "at its end": (
        [rule(notAfter="2026-11-25T12:00:00Z")], transaction(), "no_rule_allows rule_expired",
    ),
    "a second before": ([rule(notAfter="2026-11-25T12:00:01Z")], transaction(), "allow"),
    "an expired deny rule": (
        [ALLOW_ALL, rule("stop", "deny", notAfter="2026-01-01T00:00:00Z")], transaction(), "allow",
    ),
    "within the hours": (
        [rule(hours=[{"days": ["wed"], "from": "12:00", "until": "12:01"}])], transaction(), "allow",
    ),
    "at the end of the hours": (
        [rule(hours=[{"from": "09:00", "until": "12:00"}])], transaction(), "no_rule_allows outside_hours",
    ),
    "on another day": (
        [rule(hours=[{"days": ["tue", "thu"], "from": "00:00", "until": "24:00"}])], transaction(),
        "no_rule_allows outside_hours",
    ),
    "a deny rule outside its hours": (
        [ALLOW_ALL, rule("stop", "deny", hours=[{"from": "00:00", "until": "06:00"}])], transaction(), "allow",
    ),
    "a deny rule within its hours": (
        [ALLOW_ALL, rule("stop", "deny", hours=[{"from": "06:00", "until": "24:00"}])], transaction(), "denied_by_rule",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_decision(name):
    rules, summary, expected = TABLE[name]
    assert outcome(decide(document(*rules), summary)) == expected


# --- layers ----------------------------------------------------------------------------------------------------------


def test_every_layer_must_pass():
    layers = {name: [ALLOW_ALL] for name in ("account", "wallet", "signer")}
    assert outcome(decide(document(ALLOW_ALL, **layers), transaction())) == "allow"
    for name in layers:
        decision = decide(document(ALLOW_ALL, **layers | {name: []}), transaction())
        assert isinstance(decision, Deny)
        assert decision.layer.layer == name
    assert outcome(decide(document(**layers), transaction())) == "no_rule_allows"


def test_an_absent_layer_denies_unless_the_environment_makes_it_optional():
    tree = document(ALLOW_ALL)
    tree["environment"]["optionalLayers"] = ["account", "signer"]
    decision = decide(tree, transaction())
    assert outcome(decision) == "layer_absent"
    assert decision.layer.layer == "wallet"
    assert outcome(decide(document(ALLOW_ALL), transaction())) == "allow"


def test_a_deny_rule_of_any_layer_denies():
    for name in ("account", "wallet", "signer"):
        layers = {name: [ALLOW_ALL, rule("stop", "deny", addresses=[MALLORY])]}
        assert (
            outcome(decide(document(ALLOW_ALL, **layers), transaction(MALLORY)))
            == "denied_by_rule address_denied"
        )


def test_one_rule_must_allow_the_whole_payload():
    """Two rules that each allow a half do not allow the whole."""
    halves = [
        rule("coin", valueLimit=limit(maxPerCall="1")),
        rule("token", chainIds=[1], valueLimit=limit("USDC", maxPerCall="5")),
    ]
    assert (
        outcome(decide(document(*halves), token(TRANSFER, ALICE, 5, value=5)))
        == "no_rule_allows asset_not_limited"
    )


# --- operations, factors and approvals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restriction", "action", "blocked"),
    [
        ("blockExport", {"operation": "export"}, True),
        ("blockExport", {"operation": "revoke"}, False),
        ("blockRevocation", {"operation": "revoke"}, True),
        ("blockClientSigning", {"operation": "sign", "signer": "user"}, True),
        ("blockClientSigning", {"operation": "sign", "signer": "delegate"}, False),
    ],
)
def test_operation_restrictions_hold_in_every_rule_and_layer(restriction, action, blocked):
    everything = [ALLOW_ALL, rule("operations", operations=["export", "revoke"])]
    for kind in ("allow", "deny"):
        members = {"addresses": [MALLORY]} if action["operation"] == "sign" else {}
        restricting = rule("restricting", kind, notAfter="2030-01-01T00:00:00Z", operations=["create"])
        restricting["operationRestrictions"] = {restriction: True}
        assert not members or restricting
        for layers in (
            (everything + [restricting], {}),
            (everything, {"wallet": [*everything, restricting]}),
        ):
            summary = transaction() if action["operation"] == "sign" else None
            decision = decide(document(*layers[0], **layers[1]), summary, **action)
            assert outcome(decision) == ("operation_blocked operation_blocked" if blocked else "allow")


def test_a_restriction_that_is_false_restricts_nothing():
    tree = document(rule(operations=["export"], operationRestrictions={"blockExport": False}))
    assert outcome(decide(tree, None, operation="export")) == "allow"


def test_a_rule_of_restrictions_alone_neither_allows_nor_denies():
    """Otherwise it would allow, or deny, every signature besides."""
    for kind in ("allow", "deny"):
        restricting = rule("no export", kind, operationRestrictions={"blockExport": True})
        assert outcome(decide(document(restricting), transaction())).startswith("no_rule_allows")
        everything = [ALLOW_ALL, rule("export", operations=["export"]), restricting]
        assert outcome(decide(document(*everything), transaction())) == "allow"
        assert outcome(decide(document(*everything), None, operation="export")).startswith(
            "operation_blocked"
        )
        explicit = restricting | {"operations": ["sign"]}
        assert isinstance(decide(document(ALLOW_ALL, explicit), transaction()), Deny) == (kind == "deny")
        for entry in (restricting, explicit):
            rules = parsed(document(entry))
            assert parse(policy_bytes(rules)) == rules


def test_restrictions_that_are_false_are_none():
    rules = parsed(document(rule(operationRestrictions={"blockExport": False})))
    assert outcome(decide(rules, transaction())) == "allow"
    assert parse(policy_bytes(rules)) == rules


def test_other_operations_need_a_rule_that_names_them():
    assert outcome(decide(document(ALLOW_ALL), None, operation="policy")) == "no_rule_allows other_operation"
    assert outcome(decide(document(rule(operations=["policy", "sign"])), None, operation="policy")) == "allow"


def test_signing_needs_a_summary_of_the_wallets_chain():
    assert outcome(decide(document(ALLOW_ALL), None)) == "summary_missing"
    assert outcome(decide(document(rule(chain="SVM")), transaction(), chain="SVM")) == "wrong_chain"


REQUIRING = rule(
    requires={"factors": ["passkey", "totp"], "approvals": {"count": 2, "of": ["alice", "bob", "carol"]}}
)


def test_missing_factors_and_approvals_are_named():
    decision = decide(
        document(REQUIRING), transaction(), factors=frozenset({"totp"}), approvals=frozenset({"bob", "eve"})
    )
    assert outcome(decision) == "factor_required factor_required"
    assert decision.missing_factors == ("passkey",)
    (missing,) = decision.missing_approvals
    assert (missing.count, missing.of) == (1, ("alice", "carol"))


def test_factors_and_approvals_that_are_there_allow():
    given = {"factors": frozenset({"totp", "passkey"}), "approvals": frozenset({"bob", "carol"})}
    assert outcome(decide(document(REQUIRING), transaction(), **given)) == "allow"
    without = given | {"approvals": frozenset({"bob"})}
    assert (
        outcome(decide(document(REQUIRING), transaction(), **without))
        == "approval_required approval_required"
    )


def test_nobody_is_asked_for_an_approval_that_would_be_in_vain():
    decision = decide(document(REQUIRING, wallet=[]), transaction())
    assert outcome(decision) == "no_rule_allows"
    assert decision.missing_factors == decision.missing_approvals == ()


def test_requirements_of_several_layers_are_named_together():
    wallet = [rule(requires={"approvals": {"count": 1, "of": ["dave"]}})]
    decision = decide(document(REQUIRING, wallet=wallet), transaction())
    assert [(entry.count, entry.of) for entry in decision.missing_approvals] == [
        (2, ("alice", "bob", "carol")),
        (1, ("dave",)),
    ]


def test_the_denial_names_rule_field_limit_and_what_was_asked():
    decision = decide(
        document(rule("small", ruleId="r1", valueLimit=limit(maxPerCall="1"))), transaction(ALICE, 3 * ETHER)
    )
    assert decision.rule.rule.key == "r1"
    assert decision.finding.field == "valueLimit.maxPerCall"
    assert decision.finding.limit.max_per_call == ETHER
    assert decision.finding.asked == (3 * ETHER, 0)


def test_the_field_is_the_one_that_the_rule_has():
    for members, field in (({"addresses": [BOB]}, "addresses"), ({"contracts": [USDC]}, "contracts")):
        assert decide(document(rule(**members)), transaction(ALICE)).finding.field == field


def test_an_empty_policy_object_denies():
    """No file can say this; a caller that composes layers could."""
    from policy import Policy

    assert outcome(decide(Policy(()), transaction())) == "layer_absent"


def test_usage_counts_only_the_rule_and_layer_that_allowed():
    tree = document(
        rule("a", valueLimit=limit(totalLimit="3", window="1h")),
        wallet=[rule("a", valueLimit=limit(totalLimit="1"))],
    )
    first = decide(tree, transaction(ALICE, ETHER))
    assert [(charge.key.layer, charge.key.window, charge.amount) for charge in first.charges] == [
        ("environment", 3600, ETHER),
        ("wallet", 0, ETHER),
    ]
    usage = Usage().charge(first.charges, NOON)
    assert outcome(decide(tree, transaction(ALICE, 1), usage)) == "no_rule_allows total_limit_exceeded"
    environment_only = usage.of_layer("environment")
    assert outcome(decide(tree, transaction(ALICE, ETHER), environment_only)) == "allow"


RATE = {"count": 2, "window": "1h"}
SOLANA = "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi"
EVERY_KIND = [
    transaction(ALICE, ETHER), EvmMessage(), EvmTypedData("Order"), RawDigest("EVM"), token(TRANSFER, ALICE, 5),
    SolanaText(), SolanaTransaction(SOLANA, SOLANA, 1, ()), BitcoinTransaction("mainnet", 5, ()),
]  # fmt: skip


@pytest.mark.parametrize("summary", EVERY_KIND, ids=lambda summary: type(summary).__name__)
def test_every_payload_counts_one_whatever_it_is(summary):
    kinds = ["transaction", "message", "typedData", "rawDigest"]
    rules = parsed(document({"name": "a", "ruleType": "allow", "payloads": kinds, "rateLimit": RATE}))
    chain = "SVM" if isinstance(summary, SolanaText | SolanaTransaction) else "EVM"
    chain = "BTC" if isinstance(summary, BitcoinTransaction) else chain
    usage = Usage()
    for _ in range(2):
        decision = decide(rules, summary, usage, chain=chain)
        (charge,) = decision.charges
        assert (charge.key, charge.amount) == (("environment", "a", "#signed", 3600), 1)
        usage = usage.charge(decision.charges, NOON)
    denied = decide(rules, summary, usage, chain=chain)
    assert outcome(denied) == "no_rule_allows rate_limit_exceeded"
    assert rendering.limit_text(denied.rule.rule, denied.finding) == "2 times in 1 h"
    assert rendering.asked_text(denied.finding) == "once more, with 2 used"
    assert outcome(decide(rules, summary, usage, chain=chain, at=NOON + 3600 + 225)) == "allow"


def test_a_rate_counts_what_its_rule_allowed_and_nothing_else():
    rules = parsed(
        document(
            rule("payments", addresses=[ALICE], rateLimit=RATE),
            rule("careful", addresses=[BOB], rateLimit=RATE, requires={"factors": ["totp"]}),
            rule("logins", payloads=["message"]),
        )
    )
    assert decide(rules, EvmMessage()).charges == ()
    assert [charge.key.rule for charge in decide(rules, transaction(ALICE)).charges] == ["payments"]
    full = Usage().charge([Charge(Key("environment", "payments", "#signed", 3600), 2)], NOON)
    assert outcome(decide(rules, EvmMessage(), full)) == "allow"
    assert outcome(decide(rules, transaction(ALICE), full)) == "no_rule_allows rate_limit_exceeded"
    assert outcome(decide(rules, transaction(BOB), full)) == "factor_required factor_required"
    factors = frozenset({"totp"})
    assert [charge.key.rule for charge in decide(rules, transaction(BOB), full, factors=factors).charges] == [
        "careful"
    ]


def test_rate_and_total_of_one_rule_both_bind():
    tree = document(rule("a", valueLimit=limit(totalLimit="3", window="1h"), rateLimit=RATE))
    first = decide(tree, transaction(ALICE, ETHER))
    assert {(charge.key.asset, charge.amount) for charge in first.charges} == {("ETH", ETHER), ("#signed", 1)}
    usage = Usage().charge(first.charges, NOON)
    assert (
        outcome(decide(tree, transaction(ALICE, 3 * ETHER), usage)) == "no_rule_allows total_limit_exceeded"
    )
    usage = usage.charge(decide(tree, transaction(ALICE), usage).charges, NOON)
    assert outcome(decide(tree, transaction(ALICE, 1), usage)) == "no_rule_allows rate_limit_exceeded"


def test_a_rate_is_said_in_words():
    entries = [
        rule("a", rateLimit={"count": 1, "window": "60s"}),
        rule("b", rateLimit={"count": 10, "window": "24h"}),
    ]
    lines = [line.strip() for line in policy_in_words(parsed(document(*entries)))]
    assert "at most once in 1 min" in lines
    assert "at most 10 times in 24 h" in lines


def test_a_deny_rule_counts_what_passes_under_it():
    rules = parsed(
        document(ALLOW_ALL, rule("stop", "deny", addresses=[ALICE], valueLimit=limit(totalLimit="1")))
    )
    first = decide(rules, transaction(ALICE, ETHER))
    usage = Usage().charge(first.charges, NOON)
    assert outcome(decide(rules, transaction(ALICE, 1), usage)) == "denied_by_rule total_limit_exceeded"
    assert outcome(decide(rules, transaction(BOB, ETHER), usage)) == "allow"
    assert decide(rules, transaction(BOB, ETHER), usage).charges == ()


@pytest.mark.parametrize(
    "members",
    [{"to": ALICE.upper()}, {"to": ALICE.replace("a", "A", 1)}, {"to": ALICE[2:]}, {"authorizations": ("x",)}, {"value": -1},
     {"max_fee": -1}],
)  # fmt: skip
def test_a_summary_that_no_rule_would_recognize_is_not_made(members):
    with pytest.raises(ValueError, match=r"lower case|negative"):
        transaction(**members)
    with pytest.raises(ValueError, match="lower case"):
        EvmMessage(validator=ALICE.upper())
    with pytest.raises(ValueError, match="lower case"):
        EvmTypedData("Permit", verifying_contract=ALICE.upper())


@pytest.mark.parametrize(
    "members",
    [
        {"operation": "sing"},
        {"at": -1},
        {"at": 253402300800},
        {"signer": "eve"},
        {"factors": frozenset({"sms"})},
    ],
)
def test_an_action_of_unknown_words_is_not_made(members):
    with pytest.raises(ValueError, match="no such"):
        Action(**{"operation": "sign", "at": 0, "chain": "EVM"} | members)


def test_decisions_without_layers_can_be_shown():
    decision = decide(document(ALLOW_ALL), None)
    assert rendering.lines(decision)[0].startswith("DENY  There is nothing to decide on")
    assert rendering.tree(decision)["layer"] is None


@given(st.integers(0, 2 * NOON), st.integers(0, 6), st.integers(0, 1438), st.integers(1, 1440))
def test_hours_are_those_of_the_calendar(at, day, start, until):
    start, until = min(start, until - 1), max(start + 1, until)
    moment = datetime.fromtimestamp(at, UTC)
    expected = moment.weekday() == day and start <= moment.hour * 60 + moment.minute < until
    entry = Hours(frozenset({day}), start, until)
    assert (hours(Rule("r", "r", None, allow=True, hours=(entry,)), at) is None) == expected


def test_a_path_leads_through_tuples_in_tuples():
    signature = "f((uint8,(bool,address)[])[2])"
    data = calldata(signature, [(1, [(True, ALICE)]), (2, [(True, BOB), (False, ALICE)])])
    for path, operator, value, expected in (
        ([1, 1], "in", [ALICE, BOB], "allow"),
        ([1, 1], "equal", ALICE, "no_rule_allows argument_not_allowed"),
        ([1, 0], "equal", True, "no_rule_allows argument_not_allowed"),
        ([0], "less", 3, "allow"),
        ([0], "greater", 1, "no_rule_allows argument_not_allowed"),
    ):
        constraint = {"index": 0, "path": path, "operator": operator, "value": value}
        tree = document(rule(addresses=[ROUTER], functionName=signature, argumentConstraints=[constraint]))
        assert outcome(decide(tree, transaction(ROUTER, data=data))) == expected
