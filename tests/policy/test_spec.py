"""The examples of ``docs/spec/policy.md``, and its tables of codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import policy
from policy import Allow, EvmMessage, EvmTransaction, Usage
from policy.facts import BLIND, PAYLOADS
from policy.judgements import ALLOWS, BLOCKS, DENIES, DOES_NOT_APPLY, NEEDS
from policy.phrases import _CONDITIONS
from policy.rendering import _DECISIONS
from policy.rules import FACTORS, OPERATIONS, OPERATORS, SIGNERS
from tests.policy.builders import ETHER, NOON, calldata, decide, outcome

SPEC = (Path(__file__).parents[2] / "docs" / "spec" / "policy.md").read_text()
BLOCKS_OF_CODE = dict(re.findall(r"^```(?:json|hex) (\S+)\n(.*?)^```", SPEC, re.MULTILINE | re.DOTALL))
RULES = policy.parse(BLOCKS_OF_CODE["policy"].encode())
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
CASES = re.findall(r"^\| ((?:payment|usdc|message|export)[^|]*) \| ([^|]+) \|$", SPEC, re.MULTILINE)


def summary_of(words: list[str]):
    match words:
        case ["payment", to, ether, fee]:
            return EvmTransaction(1, to, wei(ether), wei(fee), b"")
        case ["usdc", to, amount, fee]:
            return EvmTransaction(
                1, USDC, 0, wei(fee), calldata("transfer(address,uint256)", to, wei(amount) // 10**12)
            )
        case ["message"]:
            return EvmMessage()
    return None


def wei(ether: str) -> int:
    whole, _, fraction = ether.partition(".")
    return int(whole + fraction.ljust(18, "0"))


def test_the_table_is_found():
    assert len(CASES) == 9


@pytest.mark.parametrize(("payload", "expected"), CASES)
def test_the_example_decides_as_the_table_says(payload, expected):
    words = payload.split()
    operation = "export" if words == ["export"] else "sign"
    found = outcome(decide(RULES, summary_of(words), operation=operation))
    assert found.startswith(expected)


def test_the_example_has_the_hash_that_is_printed():
    assert policy.policy_hash(RULES).hex() == BLOCKS_OF_CODE["policy-hash"].replace("\n", "")
    assert policy.parse(policy.policy_bytes(RULES)) == RULES


def test_the_usage_that_is_printed_is_that_of_the_first_payment():
    decision = decide(RULES, summary_of(CASES[0][0].split()))
    assert isinstance(decision, Allow)
    usage = Usage().charge(decision.charges, NOON)
    assert usage.encode() == BLOCKS_OF_CODE["usage"].strip().encode()
    assert list(usage.counters.values()) == [{1795613400: 15 * ETHER // 10}]


def test_every_word_of_the_code_is_in_the_specification():
    words = [
        *_CONDITIONS, *_DECISIONS, *BLIND, *PAYLOADS, *OPERATIONS, *FACTORS, *SIGNERS, *OPERATORS,
        ALLOWS, NEEDS, DENIES, BLOCKS, DOES_NOT_APPLY,
    ]  # fmt: skip
    assert [word for word in words if f"`{word}`" not in SPEC] == []


def test_every_code_of_a_refusal_is_in_the_specification():
    sources = "".join(path.read_text() for path in Path(policy.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'Error\(\s*f?"([a-z_{}]+)"', sources))
    codes = {code.replace("{what}", what) for code in codes for what in ("policy", "usage")}
    assert len(codes) >= 9
    assert [code for code in codes if f"`{code}`" not in SPEC] == []
