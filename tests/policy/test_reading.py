"""Policy files: what is read, and everything that is refused, with its code and its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import policy
from policy import PolicyError, text
from policy.assets import BUILT_IN
from policy.reading import MAX_POLICY, MAX_RULES, MAX_TOTALS
from tests.policy.builders import ALICE, BOB, USDC, document, parsed, rule

SIGNATURE = "f(address,uint8,bytes4,bool,string,(int8,bytes)[])"
CHECKSUMMED = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def refused(tree: Any) -> tuple[str, str]:
    with pytest.raises(PolicyError) as caught:
        policy.parse(tree if isinstance(tree, bytes) else json.dumps(tree).encode())
    assert caught.value.message
    assert str(caught.value)
    return caught.value.code, caught.value.field


def canonical(tree: dict[str, Any]) -> dict[str, Any]:
    return json.loads(policy.policy_bytes(parsed(tree)))


def constraint(index: Any, operator: Any, value: Any, **members: Any) -> dict[str, Any]:
    constraints = [{"index": index, "operator": operator, "value": value} | members]
    return rule(functionName=SIGNATURE, argumentConstraints=constraints)


# --- the product's shape ----------------------------------------------------------------------------------------------------


def test_the_products_rule_is_read():
    """Every field that Dynamic's API has, with values as its reference shows them."""
    entry = {
        "ruleId": "95b11417-f18f-457f-8804-68e361f9164f",
        "name": "everything",
        "ruleType": "allow",
        "chain": "EVM",
        "addresses": [CHECKSUMMED],
        "chainIds": [1],
        "contractAbi": [
            {
                "type": "function",
                "name": "pay",
                "inputs": [{"name": "amount", "type": "uint256"}],
                "outputs": [],
            }
        ],
        "functionName": "pay",
        "argumentConstraints": [{"index": 0, "operator": "lessEqual", "value": "1000"}],
        "valueLimit": {"asset": CHECKSUMMED, "maxPerCall": "1000", "totalLimit": "5000"},
        "operationRestrictions": {"blockExport": True, "blockRevocation": True, "blockClientSigning": True},
        "modifiableBySigner": False,
    }
    (read,) = parsed(document(entry)).layers[0].rules
    assert (read.key, read.addresses, read.function.signature) == (
        entry["ruleId"],
        {CHECKSUMMED.lower()},
        "pay(uint256)",
    )
    assert (read.limits[0].max_per_call, read.limits[0].total, read.limits[0].window) == (1000, 5000, 0)
    assert read.block_export
    assert read.block_revocation
    assert read.block_client_signing


def test_the_older_names_of_single_values_are_read():
    assert canonical(document(rule(address=ALICE, chainId=5))) == canonical(
        document(rule(addresses=[ALICE], chainIds=[5]))
    )


def test_the_canonical_form_spells_everything_one_way():
    tree = document(
        rule("z", addresses=[CHECKSUMMED, ALICE], chainId=5),
        rule(
            "a",
            chain="SOL",
            valueLimit={"asset": "SOL", "maxPerCall": "1.50", "totalLimit": "2.0", "window": "48h"},
        ),
        rule(
            "m",
            operations=["sign"],
            cautious=None,
            blind=["evm.call", "evm.authorization"],
            modifiableBySigner=False,
        ),
        rule(
            "f",
            functionName="f(uint8)",
            argumentConstraints=[{"index": 0, "operator": "equal", "value": "0xff"}],
        ),
    )
    rules = canonical(tree)["environment"]["rules"]
    assert [entry["name"] for entry in rules] == ["a", "f", "m", "z"]
    assert rules[0]["chain"] == "SVM"
    assert rules[0]["valueLimits"] == [
        {"asset": "SOL", "maxPerCall": "1.5", "totalLimit": "2", "window": "172800s"}
    ]
    assert rules[1]["argumentConstraints"][0]["value"] == "255"
    assert rules[2] == {
        "name": "m",
        "ruleType": "allow",
        "chain": "EVM",
        "blind": ["evm.authorization", "evm.call"],
    }
    assert rules[3]["addresses"] == [CHECKSUMMED.lower(), ALICE]
    assert "assets" not in canonical(tree)["environment"]


def test_a_rate_has_one_spelling_and_is_left_out_where_there_is_none():
    tree = document(
        rule("a", payloads=["message"], rateLimit={"count": 1_000_000, "window": "60m"}), rule("b")
    )
    first, second = canonical(tree)["environment"]["rules"]
    assert first["rateLimit"] == {"count": 1_000_000, "window": "3600s"}
    assert "rateLimit" not in second
    assert policy.policy_hash(parsed(tree)) == policy.policy_hash(
        policy.parse(policy.policy_bytes(parsed(tree)))
    )


def test_the_canonical_form_is_that_of_rfc_8785():
    """Sorted keys, no spaces, UTF-8 as it is, and no other escapes than needed."""
    raw = policy.policy_bytes(parsed(document(rule('ein "Name" mit ä, 漢 und \\'))))
    assert (
        raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    assert 'ein \\"Name\\" mit ä, 漢 und \\\\'.encode() in raw


# --- JSON -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"[]", b"{", b'{"version":1', b'{"version":1,"version":1}', b"\xff{}", b'\xef\xbb\xbf{"version":1}',
        b'{"version":1.0}', b'{"version":1e0}', b'{"version":NaN}', b'{"version":-0}', b'{"version":9007199254740992}',
        b'{"version":1} x', b"{'version':1}", b'{"version":1,}', b"[" * 17 + b"]" * 17, b"[" * 100_000, b'{"a":' * 5_000,
        b"1" * 5_000,
    ],
)  # fmt: skip
def test_text_that_is_not_strict_json_is_refused(raw):
    assert refused(raw)[0] in {"policy_malformed", "policy_value", "policy_missing_field"}


def test_depth_counts_brackets_outside_of_strings():
    deep = b'"' + b"[" * 100 + b'\\"' + b"{" * 100 + b'"'
    assert text.read(deep, 1000, "policy") == "[" * 100 + '"' + "{" * 100
    assert text.read(b"[" * 16 + b"]" * 16, 1000, "policy")


def test_sizes_are_checked_before_anything_is_parsed():
    assert refused(b" " * (MAX_POLICY + 1)) == ("policy_too_large", "")
    assert refused(document(*(rule(str(i)) for i in range(MAX_RULES + 1))))[0] == "policy_too_large"
    wide = [rule(str(i), addresses=[f"0x{i:04x}{k:036x}" for k in range(256)]) for i in range(6)]
    assert refused(document(*wide)) == ("policy_too_large", "environment")
    assert parsed(document(*wide[:5]))
    totals = [rule(str(i), valueLimit={"asset": "ETH", "totalLimit": "1"}) for i in range(MAX_TOTALS + 1)]
    assert refused(document(*totals)) == ("policy_too_large", "environment.rules")
    assert parsed(document(*totals[:-1]))
    rates = [rule(str(i), rateLimit={"count": 1, "window": "1h"}) for i in range(MAX_TOTALS + 1)]
    assert refused(document(*rates)) == ("policy_too_large", "environment.rules")
    assert refused(document(*totals[:13], *rates[13:], totals[-1] | {"name": "x"})) == (
        "policy_too_large",
        "environment.rules",
    )
    assert parsed(document(*totals[:12], *rates[12:-1]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_other_json_is_refused_by_a_policy_error(tree):
    assert refused(json.dumps(tree).encode())[0].startswith("policy_")


# --- the file -----------------------------------------------------------------------------------------------------------------


def changed(**members: Any) -> dict[str, Any]:
    return document(rule()) | members


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (changed(version=2), ("policy_value", "version")),
        (changed(version=True), ("policy_value", "version")),
        (changed(surprise=1), ("policy_unknown_field", "surprise")),
        ({"version": 1}, ("policy_missing_field", "environment")),
        ({"version": 1, "wallet": {"rules": []}}, ("policy_missing_field", "environment")),
        (changed(wallet={}), ("policy_missing_field", "wallet.rules")),
        (
            changed(wallet={"rules": [], "optionalLayers": ["signer"]}),
            ("policy_unknown_field", "wallet.optionalLayers"),
        ),
        (changed(wallet=[]), ("policy_value", "wallet")),
        (
            changed(environment={"rules": [], "optionalLayers": []}),
            ("policy_value", "environment.optionalLayers"),
        ),
        (
            changed(environment={"rules": [], "optionalLayers": ["environment"]}),
            ("policy_value", "environment.optionalLayers[0]"),
        ),
        (document(rule("a"), rule("a")), ("policy_conflict", "environment.rules")),
        (document(rule("a"), rule("b", ruleId="a")), ("policy_conflict", "environment.rules")),
        (document("rule"), ("policy_value", "environment.rules[0]")),
    ],
)
def test_files_of_another_shape_are_refused(tree, expected):
    assert refused(tree) == expected


ASSET = {"chain": "EVM", "chainId": 1, "token": USDC, "decimals": 6}


@pytest.mark.parametrize(
    ("name", "asset", "field"),
    [
        ("ETH", ASSET, ""),
        ("", ASSET, ""),
        ("a" * 33, ASSET, ""),
        ("X", ASSET | {"chain": "BTC"}, ".chain"),
        ("X", ASSET | {"chainId": 0}, ".chainId"),
        ("X", {k: v for k, v in ASSET.items() if k != "chainId"}, ".chainId"),
        ("X", ASSET | {"chain": "SVM"}, ".chainId"),
        ("X", ASSET | {"token": USDC[:-1]}, ".token"),
        ("X", ASSET | {"decimals": 78}, ".decimals"),
        ("X", ASSET | {"decimals": -1}, ".decimals"),
        ("X", ASSET | {"decimals": "6"}, ".decimals"),
        ("X", ASSET | {"symbol": "X"}, ".symbol"),
    ],
)
def test_assets_of_another_shape_are_refused(name, asset, field):
    tree = document(rule())
    tree["environment"]["assets"] = {name: asset}
    assert refused(tree)[1] == f"environment.assets.{name}{field}"


# --- rules ----------------------------------------------------------------------------------------------------------------------

LIMIT = {"asset": "ETH", "maxPerCall": "1"}
RATE = {"count": 5, "window": "1h"}
RULES = {
    "no name": ({"ruleType": "allow"}, "policy_missing_field", "name"),
    "an empty name": (rule(""), "policy_value", "name"),
    "a name with a line break": (rule("a\nb"), "policy_value", "name"),
    "a long name": (rule("a" * 129), "policy_value", "name"),
    "no type": ({"name": "a"}, "policy_missing_field", "ruleType"),
    "another type": (rule(kind="maybe"), "policy_value", "ruleType"),
    "an unknown field": (rule(surprise=1), "policy_unknown_field", "surprise"),
    "null": (rule() | {"addresses": None}, "policy_value", "addresses"),
    "an empty list": (rule(addresses=[]), "policy_value", "addresses"),
    "too many addresses": (rule(addresses=[f"0x{i:040x}" for i in range(257)]), "policy_too_large", "addresses"),
    "an address twice": (rule(addresses=[CHECKSUMMED, CHECKSUMMED.lower()]), "policy_conflict", "addresses"),
    "an address with a wrong checksum": (
        rule(addresses=[CHECKSUMMED.replace("C5", "c5")]), "policy_value", "addresses[0]",
    ),
    "addresses of no chain": (
        {"name": "a", "ruleType": "allow", "addresses": [ALICE]}, "policy_conflict", "addresses",
    ),
    "an address of another chain": (rule(chain="SVM", addresses=[ALICE]), "policy_value", "addresses[0]"),
    "two kinds of addresses": (rule(address=ALICE, addresses=[BOB]), "policy_conflict", "address"),
    "two kinds of chain ids": (rule(chainId=1, chainIds=[2]), "policy_conflict", "chainId"),
    "chain ids of Solana": (rule(chain="SVM", chainIds=[1]), "policy_conflict", "chainIds"),
    "a chain id of 0": (rule(chainIds=[0]), "policy_value", "chainIds[0]"),
    "a chain id that is true": (rule(chainIds=[True]), "policy_value", "chainIds[0]"),
    "a chain id as text": (rule(chainIds=["1"]), "policy_value", "chainIds[0]"),
    "another chain": (rule(chain="DOGE"), "policy_value", "chain"),
    "networks of Ethereum": (rule(networks=["mainnet"]), "policy_conflict", "networks"),
    "contracts of Bitcoin": (rule(chain="BTC", contracts=[ALICE]), "policy_conflict", "contracts"),
    "another operation": (rule(operations=["sing"]), "policy_value", "operations[0]"),
    "an operation twice": (rule(operations=["sign", "sign"]), "policy_conflict", "operations"),
    "conditions on payloads for other operations": (
        rule(operations=["export", "sign"], addresses=[ALICE]), "policy_conflict", "addresses",
    ),
    "a function without its types": (rule(functionName="f"), "policy_conflict", "functionName"),
    "a function of Solana": (rule(chain="SVM", functionName="f()"), "policy_conflict", "functionName"),
    "an ABI without a function": (rule(contractAbi=[{}]), "policy_conflict", "contractAbi"),
    "a function that the ABI does not have": (rule(functionName="f", contractAbi=[{"type": "fallback"}]), "policy_conflict", "contractAbi"),
    "constraints without a function": (rule(argumentConstraints=[{}]), "policy_conflict", "argumentConstraints"),
    "an argument that is not there": (constraint(6, "equal", 1), "policy_value", "argumentConstraints[0].index"),
    "a negative argument": (constraint(-1, "equal", 1), "policy_value", "argumentConstraints[0].index"),
    "an unknown operator": (constraint(1, "==", 1), "policy_value", "argumentConstraints[0].operator"),
    "an order of addresses": (constraint(0, "less", ALICE), "policy_conflict", "argumentConstraints[0].operator"),
    "a number beyond its type": (constraint(1, "equal", 256), "policy_value", "argumentConstraints[0].value"),
    "a negative number without sign": (constraint(1, "equal", "-1"), "policy_value", "argumentConstraints[0].value"),
    "a number with a leading zero": (constraint(1, "equal", "01"), "policy_value", "argumentConstraints[0].value"),
    "a truth value for a number": (constraint(1, "equal", True), "policy_value", "argumentConstraints[0].value"),
    "bytes of another length": (constraint(2, "equal", "0x010203"), "policy_value", "argumentConstraints[0].value"),
    "bytes with spaces": (constraint(2, "equal", "0x01 020304"), "policy_value", "argumentConstraints[0].value"),
    "a number for a truth value": (constraint(3, "equal", 1), "policy_value", "argumentConstraints[0].value"),
    "a tuple without a path": (constraint(5, "equal", 1), "policy_missing_field", "argumentConstraints[0].path"),
    "a path that leads nowhere": (constraint(5, "equal", 1, path=[2]), "policy_value", "argumentConstraints[0].path"),
    "a path into a number": (constraint(1, "equal", 1, path=[0]), "policy_value", "argumentConstraints[0].path"),
    "a path of text": (constraint(5, "equal", 1, path=["0"]), "policy_value", "argumentConstraints[0].path"),
    "a value for a list": (constraint(1, "in", 1), "policy_value", "argumentConstraints[0].value"),
    "no value": (rule(functionName="f(bool)", argumentConstraints=[{"index": 0, "operator": "equal"}]),
                 "policy_missing_field", "argumentConstraints[0].value"),
    "a limit without amounts": (rule(valueLimit={"asset": "ETH"}), "policy_missing_field", "valueLimit.maxPerCall"),
    "an amount as a number": (rule(valueLimit=LIMIT | {"maxPerCall": 1}), "policy_value", "valueLimit.maxPerCall"),
    "an amount with too many decimals": (
        rule(valueLimit=LIMIT | {"maxPerCall": "0." + "0" * 18 + "1"}), "policy_value", "valueLimit.maxPerCall",
    ),
    "a negative amount": (rule(valueLimit=LIMIT | {"maxPerCall": "-1"}), "policy_value", "valueLimit.maxPerCall"),
    "an amount with an exponent": (rule(valueLimit=LIMIT | {"maxPerCall": "1e3"}), "policy_value", "valueLimit.maxPerCall"),
    "an amount with other digits": (rule(valueLimit=LIMIT | {"maxPerCall": "\u0661"}), "policy_value", "valueLimit.maxPerCall"),
    "an amount of more than 256 bits": (
        rule(valueLimit=LIMIT | {"maxPerCall": "9" * 61}), "policy_value", "valueLimit.maxPerCall",
    ),
    "a window of nothing": (rule(valueLimit=LIMIT | {"window": "24h"}), "policy_conflict", "valueLimit.window"),
    "a window of a second": (
        rule(valueLimit={"asset": "ETH", "totalLimit": "1", "window": "1s"}), "policy_value", "valueLimit.window",
    ),
    "a window of years": (
        rule(valueLimit={"asset": "ETH", "totalLimit": "1", "window": "9999d"}), "policy_value", "valueLimit.window",
    ),
    "a rate without a count": (rule(rateLimit={"window": "1h"}), "policy_missing_field", "rateLimit.count"),
    "a rate without a window": (rule(rateLimit={"count": 5}), "policy_missing_field", "rateLimit.window"),
    "a rate of none": (rule(rateLimit={"count": 0, "window": "1h"}), "policy_value", "rateLimit.count"),
    "a rate of too many": (rule(rateLimit={"count": 1_000_001, "window": "1h"}), "policy_value", "rateLimit.count"),
    "a rate of less than none": (rule(rateLimit={"count": -1, "window": "1h"}), "policy_value", "rateLimit.count"),
    "a rate as text": (rule(rateLimit={"count": "5", "window": "1h"}), "policy_value", "rateLimit.count"),
    "a rate that is true": (rule(rateLimit={"count": True, "window": "1h"}), "policy_value", "rateLimit.count"),
    "a rate of a second": (rule(rateLimit={"count": 5, "window": "1s"}), "policy_value", "rateLimit.window"),
    "a rate of years": (rule(rateLimit={"count": 5, "window": "9999d"}), "policy_value", "rateLimit.window"),
    "a rate of something": (rule(rateLimit=RATE | {"asset": "ETH"}), "policy_unknown_field", "rateLimit.asset"),
    "a rate that is a number": (rule(rateLimit=5), "policy_value", "rateLimit"),
    "a deny rule with a rate": (rule(kind="deny", rateLimit=RATE), "policy_conflict", "rateLimit"),
    "a rate of other operations": (
        rule(operations=["sign", "export"], rateLimit=RATE), "policy_conflict", "rateLimit",
    ),
    "an unknown asset": (rule(valueLimit=LIMIT | {"asset": "GOLD"}), "policy_value", "valueLimit.asset"),
    "the zero address as an asset": (rule(valueLimit=LIMIT | {"asset": "0x" + "0" * 40}), "policy_value", "valueLimit.asset"),
    "an asset of another chain": (rule(valueLimit=LIMIT | {"asset": "SOL"}), "policy_conflict", "valueLimit"),
    "an asset of another chain id": (rule(chainIds=[5], valueLimit=LIMIT | {"asset": "USDC"}), "policy_conflict", "valueLimit"),
    "two kinds of limits": (rule(valueLimit=LIMIT, valueLimits=[LIMIT]), "policy_conflict", "valueLimit"),
    "a limit twice": (rule(valueLimits=[LIMIT, LIMIT]), "policy_conflict", "valueLimits"),
    "limits of messages": (rule(payloads=["message"], valueLimit=LIMIT), "policy_conflict", "valueLimit"),
    "blind messages": (rule(payloads=["message"], blind=["evm.call"]), "policy_conflict", "blind"),
    "something unknown that is blind": (rule(blind=["everything"]), "policy_value", "blind[0]"),
    "typed data that is a call": (rule(typedData=[{"primaryType": "P"}], functionName="f()"), "policy_conflict", "functionName"),
    "typed data that is a transaction": (
        rule(typedData=[{"primaryType": "P"}], payloads=["transaction"]), "policy_conflict", "payloads",
    ),
    "typed data of Solana": (rule(chain="SVM", typedData=[{"primaryType": "P"}]), "policy_conflict", "typedData"),
    "typed data without a type": (rule(typedData=[{"name": "x"}]), "policy_missing_field", "typedData[0].primaryType"),
    "a time without a zone": (rule(notAfter="2026-01-01T00:00:00"), "policy_value", "notAfter"),
    "a time that does not exist": (rule(notAfter="2026-02-30T00:00:00Z"), "policy_value", "notAfter"),
    "an end before the beginning": (
        rule(notBefore="2026-01-02T00:00:00Z", notAfter="2026-01-01T00:00:00Z"), "policy_conflict", "notAfter",
    ),
    "hours over midnight": (rule(hours=[{"from": "22:00", "until": "06:00"}]), "policy_conflict", "hours[0].until"),
    "an hour that does not exist": (rule(hours=[{"from": "09:00", "until": "24:01"}]), "policy_value", "hours[0].until"),
    "a day that does not exist": (rule(hours=[{"days": ["noday"], "from": "09:00", "until": "10:00"}]), "policy_value", "hours[0].days[0]"),
    "an unknown factor": (rule(requires={"factors": ["sms"]}), "policy_value", "requires.factors[0]"),
    "requirements of nothing": (rule(requires={}), "policy_value", "requires"),
    "more approvals than approvers": (
        rule(requires={"approvals": {"count": 2, "of": ["a"]}}), "policy_value", "requires.approvals.count",
    ),
    "approvals by nobody": (rule(requires={"approvals": {"count": 1}}), "policy_missing_field", "requires.approvals.of"),
    "an approver twice": (rule(requires={"approvals": {"count": 1, "of": ["a", "a"]}}), "policy_conflict", "requires.approvals.of"),
    "a deny rule that requires": (rule(kind="deny", requires={"factors": ["totp"]}), "policy_conflict", "requires"),
    "an allow rule that is not cautious": (rule(cautious=False), "policy_conflict", "cautious"),
    "an unknown restriction": (rule(operationRestrictions={"blockAll": True}), "policy_unknown_field", "operationRestrictions.blockAll"),
    "a restriction as text": (rule(operationRestrictions={"blockExport": "yes"}), "policy_value", "operationRestrictions.blockExport"),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_refused(name):
    entry, code, field = RULES[name]
    assert refused(document(entry)) == (code, f"environment.rules[0].{field}")


def test_every_value_of_an_argument_can_be_written():
    entries = [
        {"index": 0, "operator": "in", "value": [ALICE, BOB]},
        {"index": 1, "operator": "greater", "value": 5},
        {"index": 2, "operator": "notEqual", "value": "0xDEADBEEF"},
        {"index": 3, "operator": "equal", "value": True},
        {"index": 4, "operator": "equal", "value": "text"},
        {"index": 5, "path": [0], "operator": "less", "value": "-5"},
        {"index": 5, "path": [1], "operator": "equal", "value": "0x"},
    ]
    (read,) = parsed(document(rule(functionName=SIGNATURE, argumentConstraints=entries))).layers[0].rules
    assert [entry.values for entry in read.constraints] == [
        (ALICE, BOB), (5,), (b"\xde\xad\xbe\xef",), (True,), ("text",), (b"",), (-5,),
    ]  # fmt: skip


# --- amounts ----------------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**256 - 1), st.sampled_from(sorted(BUILT_IN)))
def test_amounts_are_read_exactly(amount, name):
    asset = BUILT_IN[name]
    assert asset.read(asset.written(amount), "") == amount


def test_amounts_are_written_without_superfluous_zeros():
    ether = BUILT_IN["ETH"]
    assert [ether.written(amount) for amount in (0, 1, 10**18, 15 * 10**17)] == [
        "0",
        "0.000000000000000001",
        "1",
        "1.5",
    ]
    assert ether.shown(15 * 10**17) == "1.5 ETH"


def test_a_layer_is_read_and_written_alone():
    layer = parsed(document(rule(), wallet=[rule("w", contracts=[ALICE])])).layer("wallet")
    raw = policy.layer_bytes(layer)
    assert policy.parse_layer(raw) == layer
    assert len(policy.layer_hash(layer)) == 32
    for other in (
        raw + b" ",
        raw.replace(b":", b": "),
        raw.replace(ALICE.encode(), ALICE.upper().replace("X", "x").encode()),
    ):
        with pytest.raises(PolicyError) as caught:
            policy.parse_layer(other)
        assert caught.value.code == "policy_not_canonical"
    with pytest.raises(PolicyError) as caught:
        policy.parse_layer(raw.replace(b'"wallet"', b'"purse"'))
    assert caught.value.code == "policy_value"


def test_layers_that_are_kept_apart_make_a_policy():
    rules = parsed(document(rule(), wallet=[rule("w")], signer=[rule("s")]))
    assert policy.Policy.of(reversed(rules.layers)) == rules
    with pytest.raises(ValueError, match="each layer once"):
        policy.Policy.of([rules.layers[0], rules.layers[0]])


def test_lists_without_an_order_are_sorted_as_another_implementation_can():
    """By number, code point or canonical text (specification, §7); never by what a language prints."""
    entry = rule(
        chainIds=[10, 9],
        functionName="f(uint256,bytes)",
        argumentConstraints=[
            {"index": 1, "operator": "in", "value": ["0x41", "0x01", "0x"]},
            {"index": 0, "operator": "in", "value": [10, 9, 100]},
        ],
        hours=[
            {"from": "10:00", "until": "11:00"},
            {"days": ["tue", "mon"], "from": "09:00", "until": "10:00"},
        ],
        requires={"factors": ["totp", "session_key"]},
    )
    patterns = [{"primaryType": "B"}, {"primaryType": "A", "name": "ü"}, {"primaryType": "A", "chainId": 5}]
    first, second = canonical(document(entry | {"name": "a"}, rule("b", typedData=patterns)))["environment"][
        "rules"
    ]
    assert first["chainIds"] == [9, 10]
    assert [constraint["value"] for constraint in first["argumentConstraints"]] == [
        ["10", "100", "9"],
        ["0x", "0x01", "0x41"],
    ]
    assert first["hours"] == [
        {"days": ["mon", "tue"], "from": "09:00", "until": "10:00"}, {"from": "10:00", "until": "11:00"},
    ]  # fmt: skip
    assert first["requires"]["factors"] == ["session_key", "totp"]
    for name, key in (("argumentConstraints", first), ("hours", first), ("typedData", second)):
        texts = [
            json.dumps(element, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            for element in key[name]
        ]
        assert texts == sorted(texts)
