"""Deciding under a policy of a hundred rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import policy
from policy import Action, EvmTransaction, Summary, Usage

from .measure import Figure, cpu_ms

_RECEIVER = "0x" + "a1" * 20
_TOKEN = "0x" + "dc" * 20
_TRANSFER = (
    bytes.fromhex("a9059cbb") + bytes.fromhex(_RECEIVER[2:]).rjust(32, b"\0") + (5).to_bytes(32, "big")
)
_ACTION = Action("sign", 1_795_608_000, "EVM", factors=frozenset({"session_key"}))


def rules(count: int) -> policy.Policy:
    """Rules of every kind; only the last allows what is decided on."""
    entries: list[dict[str, Any]] = []
    for i in range(count - 1):
        others = [f"0x{i:04x}{k:036x}" for k in range(10)]
        match i % 4:
            case 0:
                entry: dict[str, Any] = {
                    "addresses": others,
                    "valueLimit": _limit("1", "5" if i < 80 else None),
                }
            case 1:
                entry = {"ruleType": "deny", "addresses": others}
            case 2:
                entry = {"chainIds": [1, 10], "contracts": others, "functionName": f"f{i}(address,uint256)"}
            case _:
                entry = {
                    "chainIds": [i + 2],
                    "hours": [{"from": "08:00", "until": "18:00"}],
                    "valueLimit": _limit("1"),
                }
        entries.append({"name": f"rule {i}", "ruleType": "allow", "chain": "EVM"} | entry)
    last = {"addresses": [_RECEIVER, _TOKEN], "requires": {"factors": ["session_key"]}}
    entries.append({"name": "the one", "ruleType": "allow", "chain": "EVM"} | last)
    tree = {
        "version": 1,
        "environment": {"rules": entries, "optionalLayers": ["account", "wallet", "signer"]},
    }
    return policy.parse(json.dumps(tree).encode())


def _limit(per_call: str, total: str | None = None) -> dict[str, str]:
    return {"asset": "ETH", "maxPerCall": per_call} | ({} if total is None else {"totalLimit": total})


def figures() -> Iterator[Figure]:
    hundred = rules(100)
    payment = EvmTransaction(1, _RECEIVER, 10**17, 10**15, b"")
    tokens = EvmTransaction(1, _TOKEN, 0, 10**15, _TRANSFER)
    usage = Usage()

    def decide(summary: Summary) -> float:
        return cpu_ms(lambda: policy.decide(_ACTION, summary, hundred, usage), repeat=200)

    yield Figure("policy", "decision CPU, 100 rules, a payment", decide(payment), "ms", 0.2)
    yield Figure("policy", "decision CPU, 100 rules, a token transfer", decide(tokens), "ms", 0.2)
    canonical = policy.policy_bytes(hundred)
    yield Figure("policy", "reading CPU, 100 rules", cpu_ms(lambda: policy.parse(canonical), repeat=2), "ms")
    yield Figure("policy", "100 rules, canonical", len(canonical), "B")
