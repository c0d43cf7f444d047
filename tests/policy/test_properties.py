"""What holds for every policy, payload and usage."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import policy
from policy import Allow, EvmMessage, Usage, rendering
from policy.phrases import policy_in_words
from policy.usage import Charge, Key
from tests.policy.builders import ALICE, NOON, decide, document, parsed, rule, transaction
from tests.policy.strategies import ACTIONS, LIMITS, documents, rules, summaries, usages

CASES = settings(max_examples=60, deadline=None)
LAYER = st.sampled_from(["environment", "account", "wallet", "signer"])


def allows(tree: dict[str, Any], summary: Any, usage: Usage, action: dict[str, Any]) -> bool:
    return isinstance(decide(tree, summary, usage, **action), Allow)


def with_rules(tree: dict[str, Any], layer: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return tree | {layer: tree[layer] | {"rules": entries}}


@CASES
@given(documents(), summaries(), usages(), ACTIONS, rules("deny"), LAYER)
def test_another_deny_rule_never_allows(tree, summary, usage, action, extra, layer):  # noqa: PLR0917  (all are drawn)
    layer = layer if layer in tree else "environment"
    more = with_rules(tree, layer, [*tree[layer]["rules"], extra | {"name": "extra"}])
    if allows(more, summary, usage, action):
        assert allows(tree, summary, usage, action)


@CASES
@given(documents(), summaries(), usages(), ACTIONS, LAYER, st.integers(0, 9))
def test_an_allow_rule_less_never_allows(tree, summary, usage, action, layer, which):  # noqa: PLR0917  (all are drawn)
    layer = layer if layer in tree else "environment"
    entries = tree[layer]["rules"]
    allowing = [entry for entry in entries if entry["ruleType"] == "allow"]
    if not allowing:
        return
    less = [entry for entry in entries if entry is not allowing[which % len(allowing)]]
    if allows(with_rules(tree, layer, less), summary, usage, action):
        assert allows(tree, summary, usage, action)


@CASES
@given(documents(), summaries(), usages(), ACTIONS, LIMITS, st.integers(1, 5))
def test_a_tighter_limit_never_allows(tree, summary, usage, action, bound, often):  # noqa: PLR0917  (all are drawn)
    """Of allow rules and of deny rules."""

    def tightened(limit: dict[str, str]) -> dict[str, str]:
        return limit | {
            name: min(limit[name], bound, key=float) for name in ("maxPerCall", "totalLimit") if name in limit
        }

    tighter = json.loads(json.dumps(tree))
    for layer in ("environment", "account", "wallet", "signer"):
        for entry in tighter.get(layer, {}).get("rules", []):
            if "valueLimits" in entry:
                entry["valueLimits"] = [tightened(limit) for limit in entry["valueLimits"]]
            if "rateLimit" in entry:
                entry["rateLimit"]["count"] = min(entry["rateLimit"]["count"], often)
    if allows(tighter, summary, usage, action):
        assert allows(tree, summary, usage, action)


@CASES
@given(documents(), summaries(), usages(), ACTIONS)
def test_another_layer_never_allows(tree, summary, usage, action):
    less = {name: value for name, value in tree.items() if name != "wallet"}
    less["environment"] = tree["environment"] | {"optionalLayers": ["account", "signer", "wallet"]}
    if allows(tree, summary, usage, action):
        assert allows(less, summary, usage, action)


@CASES
@given(documents(), summaries(), usages(), ACTIONS)
def test_less_evidence_and_more_usage_never_allow(tree, summary, usage, action):
    bare = action | {"factors": frozenset(), "approvals": frozenset()}
    if allows(tree, summary, usage, bare):
        assert allows(tree, summary, usage, action)
    if allows(tree, summary, usage, action):
        assert allows(tree, summary, Usage(), action)


@CASES
@given(documents(), summaries(), usages(), ACTIONS, st.randoms(use_true_random=False))
def test_order_means_nothing(tree, summary, usage, action, source):
    """Of rules, of lists in rules, of keys in the file: the same policy, hash, decision and reasons."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            copy = [shuffled(element) for element in value]
            source.shuffle(copy)
            return copy
        if isinstance(value, dict):
            names = list(value)
            source.shuffle(names)
            return {name: value[name] if name == "path" else shuffled(value[name]) for name in names}
        return value

    one, other = parsed(tree), parsed(shuffled(tree))
    assert one == other
    assert policy.policy_bytes(one) == policy.policy_bytes(other)
    assert decide(one, summary, usage, **action) == decide(other, summary, usage, **action)


@CASES
@given(documents(), summaries(), usages(), ACTIONS)
def test_the_canonical_form_is_read_as_the_same_policy(tree, summary, usage, action):
    rules_ = parsed(tree)
    canonical = policy.policy_bytes(rules_)
    again = policy.parse(canonical)
    assert again == rules_
    assert policy.policy_bytes(again) == canonical
    assert decide(again, summary, usage, **action) == decide(rules_, summary, usage, **action)
    for layer in rules_.layers:
        assert policy.parse_layer(policy.layer_bytes(layer)) == layer


@CASES
@given(documents(), summaries(), usages(), ACTIONS)
def test_every_decision_can_be_shown(tree, summary, usage, action):
    rules_ = parsed(tree)
    decision = decide(rules_, summary, usage, **action)
    shown = json.loads(json.dumps(rendering.tree(decision)))
    assert shown["decision"] == ("allow" if isinstance(decision, Allow) else "deny")
    assert all(line.isprintable() for line in rendering.lines(decision))
    assert all(line.isprintable() for line in policy_in_words(rules_))
    if shown["decision"] == "deny" and shown["rule"] is not None:
        failing = next(
            layer for layer in shown["layers"] if not layer["passed"] and layer["code"] == shown["code"]
        )
        assert shown["rule"] in [entry["rule"] for entry in failing["rules"]]


# --- rolling totals ---------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.integers(0, 40_000), st.integers(0, 12)), min_size=1, max_size=40
)  # seconds between calls, wei


@CASES
@given(STEPS, st.sampled_from([60, 3600, 7 * 3600 + 13, 86400]), st.integers(0, 20))
def test_no_splitting_exceeds_the_total_within_any_window(steps, window, total):
    limit = {"asset": "ETH", "totalLimit": f"0.{total:018d}", "window": f"{window}s"}
    rules_ = parsed(document(rule(valueLimit=limit)))
    usage, at, passed = Usage(), NOON, []
    for wait, wei in steps:
        at += wait
        decision = decide(rules_, transaction(ALICE, wei), usage, at=at)
        if isinstance(decision, Allow):
            usage = Usage.decode(usage.charge(decision.charges, at).encode())
            passed.append((at, wei))
    for start, _ in passed:
        assert sum(wei for when, wei in passed if start <= when < start + window) <= total
    for slots in usage.counters.values():
        assert len(slots) <= 18
        assert all(amount > 0 for amount in slots.values())


@CASES
@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), min_size=1, max_size=40),
    st.sampled_from([60, 3600, 7 * 3600 + 13, 86400]),
    st.integers(1, 6),
)
def test_a_rate_is_never_exceeded_and_never_counts_a_slot_longer_than_it_must(steps, window, count):
    """Against a list of moments: whatever is signed, and however it is spread."""
    entry = rule(payloads=["transaction", "message"], rateLimit={"count": count, "window": f"{window}s"})
    rules_ = parsed(document(entry))
    usage, at, passed = Usage(), NOON, []
    for wait, pays in steps:
        at += wait
        decision = decide(rules_, transaction(ALICE, wait) if pays else EvmMessage(), usage, at=at)
        within = sum(at - window < when for when in passed)
        within_a_slot_more = sum(at - window - max(window // 16, 1) < when for when in passed)
        if isinstance(decision, Allow):
            assert within < count
            usage = Usage.decode(usage.charge(decision.charges, at).encode())
            passed.append(at)
        else:
            assert within_a_slot_more >= count
    for start in passed:
        assert sum(start <= when < start + window for when in passed) <= count


@CASES
@given(STEPS, st.sampled_from([60, 3600, 86400]))
def test_what_is_older_than_a_window_and_a_slot_is_free_again(steps, window):
    key = Key("environment", "rule", "ETH", window)
    usage, at = Usage(), NOON
    for wait, wei in steps:
        at += wait
        usage = usage.charge([Charge(key, wei)], at)
    assert usage.used(key, at + window + window // 16 + 1) == 0
    assert usage.expire(at + window + window // 16 + 1) == Usage()


@CASES
@given(usages(), st.integers(0, 10**6))
def test_expiry_changes_no_decision_of_later(usage, later):
    for key in usage.counters:
        assert usage.expire(NOON).used(key, NOON + later) == usage.used(key, NOON + later)


@CASES
@given(usages())
def test_usage_has_one_form(usage):
    assert Usage.decode(usage.encode()) == usage
    parts = [usage.of_layer(name) for name in ("environment", "account", "wallet", "signer")]
    assert Usage.join(parts) == usage


@CASES
@given(documents(), summaries(), usages(), ACTIONS)
def test_charges_are_positive_and_of_known_totals(tree, summary, usage, action):
    rules_ = parsed(tree)
    decision = decide(rules_, summary, usage, **action)
    if not isinstance(decision, Allow):
        return
    assert all(charge.amount > 0 for charge in decision.charges)
    charged = usage.retain(rules_).charge(decision.charges, action["at"])
    assert charged.retain(rules_) == charged
    for charge in decision.charges:
        assert charged.used(charge.key, action["at"]) == usage.used(charge.key, action["at"]) + charge.amount


def test_the_generated_cases_are_of_both_kinds():
    """A strategy whose cases were all denied would prove nothing."""
    found = {True: 0, False: 0}

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(documents(), summaries(), usages(), ACTIONS)
    def count(tree, summary, usage, action):
        found[allows(tree, summary, usage, action)] += 1

    count()
    assert min(found.values()) >= 20
