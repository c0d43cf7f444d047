"""Policies, payloads and actions from small pools, so that rules meet payloads."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from policy import EvmMessage, EvmTransaction, EvmTypedData, RawDigest, Usage
from policy.rules import SIGNED
from policy.usage import Charge, Key
from tests.policy.builders import (
    ALICE,
    BOB,
    MALLORY,
    NOON,
    ROUTER,
    USDC,
    calldata,
    document,
    token,
    transaction,
)

ADDRESSES = [ALICE, BOB, MALLORY, ROUTER, USDC]
AMOUNTS = st.sampled_from([0, 1, 4, 5, 6, 2**96, 2**256 - 1])
LIMITS = st.sampled_from(["0", "0.000005", "0.000006", "1"])
TIMES = st.sampled_from([NOON - 86400 * 40, NOON - 3600, NOON, NOON + 60, NOON + 86400 * 3])
FUNCTIONS = ["transfer(address,uint256)", "approve(address,uint256)", "swap(uint256)"]
BLIND = ["evm.call", "evm.contract_creation", "evm.unlimited_approval", "evm.authorization"]
LAYERS = ("account", "wallet", "signer")


def some(elements: list[Any], least: int = 1) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(elements), min_size=least, max_size=3, unique=True)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, str]:
    members = {"asset": draw(st.sampled_from(["ETH", "USDC"]))}
    names = draw(st.sampled_from([("maxPerCall",), ("totalLimit",), ("maxPerCall", "totalLimit")]))
    members |= {name: draw(LIMITS) for name in names}
    if "totalLimit" in names and draw(st.booleans()):
        members["window"] = draw(st.sampled_from(["1h", "24h", "30d"]))
    return members


@st.composite
def rules(draw: st.DrawFn, kind: str | None = None) -> dict[str, Any]:
    """A rule without contradictions; its name is given later."""
    kind = kind or draw(st.sampled_from(["allow", "allow", "deny"]))
    rule: dict[str, Any] = {"ruleType": kind, "chain": "EVM"}
    payload = draw(st.sampled_from(["transaction", "transaction", "transaction", "any", "typed"]))

    def maybe(name: str, strategy: st.SearchStrategy[Any], chance: int = 3) -> None:
        if draw(st.integers(0, chance)) == 0:
            rule[name] = draw(strategy)

    maybe("chainIds", some([1, 10]))
    maybe("addresses", some(ADDRESSES))
    maybe("contracts", some(ADDRESSES))
    maybe("notBefore", st.just("2026-11-25T11:30:00Z"), 8)
    maybe("notAfter", st.just("2026-11-25T12:00:30Z"), 8)
    maybe("hours", st.just([{"days": ["wed"], "from": "08:00", "until": "12:01"}]), 8)
    if payload == "transaction":
        maybe("functionName", st.sampled_from(FUNCTIONS))
        maybe("blind", some(BLIND), 1)
        if "chainIds" not in rule or 1 in rule["chainIds"]:
            maybe(
                "valueLimits",
                st.lists(limits(), min_size=1, max_size=2, unique_by=lambda e: (e["asset"], e.get("window"))),
                1,
            )
    elif payload == "typed":
        rule["typedData"] = [{"primaryType": draw(st.sampled_from(["Permit", "Order"])), "chainId": 1}]
    else:
        rule["payloads"] = draw(some(["transaction", "message", "typedData", "rawDigest"]))
    if kind == "allow":
        maybe(
            "rateLimit", st.sampled_from([{"count": n, "window": w} for n in (1, 5) for w in ("1h", "24h")])
        )
        maybe(
            "requires", st.just({"factors": ["passkey"], "approvals": {"count": 1, "of": ["ann", "ben"]}}), 5
        )
    else:
        maybe("cautious", st.just(False), 2)
        maybe("operationRestrictions", st.just({"blockClientSigning": True}), 12)
    return rule


def named(entries: list[dict[str, Any]], prefix: str = "rule") -> list[dict[str, Any]]:
    return [entry | {"name": f"{prefix} {i}"} for i, entry in enumerate(entries)]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    layers = {
        name: named(draw(st.lists(rules(), max_size=2))) for name in LAYERS if draw(st.integers(0, 5)) == 0
    }
    return document(*named(draw(st.lists(rules(), max_size=5))), **layers)


@st.composite
def summaries(draw: st.DrawFn) -> Any:
    address, amount = draw(st.sampled_from(ADDRESSES)), draw(AMOUNTS)
    chain_id = draw(st.sampled_from([1, 1, 10]))
    members = {"chain_id": chain_id, "max_fee": draw(st.sampled_from([0, 0, 1])) * 10**12}
    match draw(st.integers(0, 9)):
        case 0 | 1 | 2:
            return transaction(address, amount * 10**12 % 2**256, **members)
        case 3 | 4:
            return token("transfer(address,uint256)", address, amount, **members)
        case 5:
            return token("approve(address,uint256)", address, amount, **members)
        case 6:
            data = calldata("swap(uint256)", amount) + draw(
                st.sampled_from([b"", b"", b"\0", bytes.fromhex(MALLORY[2:])])
            )
            return transaction(draw(st.sampled_from([ROUTER, USDC])), data=data, **members)
        case 7:
            return draw(st.sampled_from([EvmMessage(), EvmMessage(ROUTER), RawDigest("EVM")]))
        case 8:
            return draw(
                st.sampled_from(
                    [EvmTypedData("Permit", chain_id=1, verifying_contract=USDC), EvmTypedData("Order")]
                )
            )
        case _:
            creation = EvmTransaction(chain_id, None, 0, 0, b"code")
            return draw(st.sampled_from([creation, transaction(address, authorizations=(ROUTER,))]))


ACTIONS = st.fixed_dictionaries(
    {
        "at": TIMES,
        "factors": st.sampled_from([frozenset(), frozenset({"passkey"})]),
        "approvals": st.sampled_from([frozenset(), frozenset({"ann"})]),
    }
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """What was used before, by rules that the documents above may have."""
    usage = Usage()
    for _ in range(draw(st.integers(0, 3))):
        key = Key(
            draw(st.sampled_from(["environment", "wallet"])),
            f"rule {draw(st.integers(0, 3))}",
            draw(st.sampled_from(["ETH", "USDC", SIGNED])),
            draw(st.sampled_from([0, 3600, 86400])),
        )
        usage = usage.charge([Charge(key, draw(st.sampled_from([1, 5, 5 * 10**12])))], draw(TIMES))
    return usage
