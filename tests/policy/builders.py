"""Short ways to say what is decided on."""

from __future__ import annotations

import json
from typing import Any

from eth_abi import encode
from eth_abi.grammar import parse as parse_type
from eth_utils import function_signature_to_4byte_selector

import policy
from policy import Action, Allow, Decision, Deny, EvmTransaction, Summary, Usage

ALICE = "0x" + "a1" * 20
BOB = "0x" + "b0" * 20
MALLORY = "0x" + "66" * 20
USDC = "0x" + "dc" * 20
ROUTER = "0x" + "70" * 20
NOON = 1_795_608_000  # a Wednesday: 2026-11-25T12:00:00Z
ETHER = 10**18
USDC_ASSET = {"USDC": {"chain": "EVM", "chainId": 1, "token": USDC, "decimals": 6}}


def rule(name: str = "rule", kind: str = "allow", **members: Any) -> dict[str, Any]:
    """A rule for Ethereum mainnet, unless it says otherwise."""
    defaults: dict[str, Any] = {"name": name, "ruleType": kind}
    if "chain" not in members and "chainIds" not in members:
        defaults["chain"] = "EVM"
    return defaults | {key: value for key, value in members.items() if value is not None}


def document(*rules: dict[str, Any], **layers: list[dict[str, Any]]) -> dict[str, Any]:
    """A policy file: these rules as the environment's, further layers by name; layers that are not given may be absent."""
    absent = [name for name in ("account", "wallet", "signer") if name not in layers]
    environment: dict[str, Any] = {"rules": list(rules), "assets": USDC_ASSET}
    if absent:
        environment["optionalLayers"] = absent
    return {
        "version": 1,
        "environment": environment,
        **{name: {"rules": entries, "assets": USDC_ASSET} for name, entries in layers.items()},
    }


def parsed(tree: dict[str, Any]) -> policy.Policy:
    return policy.parse(json.dumps(tree).encode())


def transaction(to: str | None = ALICE, value: int = 0, data: bytes = b"", **members: Any) -> EvmTransaction:
    return EvmTransaction(**{"chain_id": 1, "to": to, "value": value, "max_fee": 0, "data": data} | members)


def calldata(signature: str, *arguments: Any) -> bytes:
    """A call, encoded by a library that had no part in the decoder."""
    types = parse_type(signature[signature.index("(") :]).components
    return function_signature_to_4byte_selector(signature) + encode(
        [kind.to_type_str() for kind in types], arguments
    )


def token(signature: str, *arguments: Any, to: str = USDC, **members: Any) -> EvmTransaction:
    return transaction(to, data=calldata(signature, *arguments), **members)


def decide(
    rules: policy.Policy | dict[str, Any], summary: Summary | None, usage: Usage | None = None, **action: Any
) -> Decision:
    rules = rules if isinstance(rules, policy.Policy) else parsed(rules)
    defaults = {"operation": "sign", "at": NOON, "chain": "EVM"}
    return policy.decide(Action(**defaults | action), summary, rules, usage or Usage())


def outcome(decision: Decision) -> str:
    """``allow``, or the codes of the denial and of the condition that decided."""
    if isinstance(decision, Allow):
        return "allow"
    assert isinstance(decision, Deny)
    return decision.code + ("" if decision.finding is None else f" {decision.finding.code}")
