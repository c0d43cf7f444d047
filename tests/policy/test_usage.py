"""Usage: its one form, its bounds, and clocks that jump."""

from __future__ import annotations

import json

import pytest

from policy import Charge, PolicyError, Usage
from policy.rules import SIGNED
from policy.usage import MAX_COUNTERS, MAX_SLOTS, MAX_USAGE, Key
from tests.policy.builders import NOON, USDC_ASSET, document, parsed, rule

DAY = Key("environment", "r", "ETH", 86400)
FOREVER = Key("wallet", "r", "ETH", 0)


def used(*charges: tuple[int, int], key: Key = DAY) -> Usage:
    usage = Usage()
    for at, amount in charges:
        usage = usage.charge([Charge(key, amount)], at)
    return usage


def test_a_charge_counts_for_a_window_and_at_most_a_sixteenth_longer():
    usage = used((NOON, 5))
    assert usage.used(DAY, NOON) == 5
    assert usage.used(DAY, NOON + 86399) == 5
    assert usage.used(DAY, NOON + 86400 + 86400 // 16) == 0


def test_a_lifetime_total_never_expires():
    usage = used((0, 5), (NOON, 6), key=FOREVER)
    assert usage.used(FOREVER, NOON * 10) == 11
    assert usage.expire(NOON * 10).used(FOREVER, NOON * 10) == 11


def test_a_clock_that_went_back_frees_nothing():
    usage = used((NOON, 5))
    assert usage.used(DAY, NOON - 10**6) == 5
    assert usage.charge([Charge(DAY, 1)], NOON - 10**6).used(DAY, NOON - 10**6) == 6


def test_charging_changes_no_other_value_and_another_counter():
    before = used((NOON, 5))
    after = before.charge([Charge(FOREVER, 7), Charge(DAY, 1)], NOON)
    assert before.used(DAY, NOON) == 5
    assert (after.used(DAY, NOON), after.used(FOREVER, NOON)) == (6, 7)


def test_nothing_is_charged_for_nothing():
    assert used((NOON, 0), (NOON, -5)) == Usage()


def test_slots_are_bounded_whatever_the_clock_does():
    """Backwards, every charge is in the future of the one before, and none expires; no amount is lost."""
    usage = Usage()
    for i in range(500):
        usage = usage.charge([Charge(DAY, 1)], NOON * 2 - i * 86400)
    assert len(usage.counters[DAY]) <= MAX_SLOTS
    assert usage.used(DAY, NOON) == 500
    assert len(usage.encode()) < MAX_USAGE


def test_counters_are_bounded():
    charges = [Charge(Key("environment", f"r{i}", "ETH", 0), 1) for i in range(MAX_COUNTERS)]
    full = Usage().charge(charges, NOON)
    with pytest.raises(PolicyError) as caught:
        full.charge([Charge(DAY, 1)], NOON)
    assert caught.value.code == "usage_full"
    assert full.charge([charges[0]], NOON).used(charges[0].key, NOON) == 2


def test_the_largest_state_can_be_read_again():
    name, amount = "\u6f22" * 128, 2**256 - 1
    usage = Usage()
    for i in range(MAX_COUNTERS):
        key = Key("environment", f"{name[:-3]}{i:03d}", "0x" + "a" * 40, 86400)
        for step in range(17):
            usage = usage.charge([Charge(key, amount)], NOON + step * 5400)
    assert len(usage.encode()) <= MAX_USAGE
    of_one_layer = Usage({key: usage.counters[key] for key in list(usage.counters)[:24]})
    assert len(of_one_layer.encode()) <= 60 << 10, "it must fit a stored record"
    assert Usage.decode(usage.encode()) == usage


def test_counters_of_old_rules_are_dropped_by_name_asset_and_window():
    rules = parsed(document(rule("r", valueLimit={"asset": "ETH", "totalLimit": "1", "window": "1d"})))
    usage = used((NOON, 5)).charge(
        [Charge(DAY._replace(window=3600), 1), Charge(DAY._replace(rule="x"), 1)], NOON
    )
    assert set(usage.retain(rules).counters) == {DAY}


def test_a_rate_is_counted_apart_from_assets_and_dropped_by_its_window():
    signed = DAY._replace(asset=SIGNED)
    rules = parsed(document(rule("r", rateLimit={"count": 9, "window": "1d"})))
    usage = used((NOON, 5)).charge([Charge(signed, 1), Charge(signed._replace(window=3600), 1)], NOON)
    assert (usage.used(signed, NOON), usage.used(DAY, NOON)) == (1, 5)
    assert Usage.decode(usage.encode()) == usage
    assert set(usage.retain(rules).counters) == {signed}


def test_no_asset_has_the_name_under_which_payloads_are_counted():
    tree = document(rule())
    tree["environment"]["assets"] = {SIGNED: USDC_ASSET["USDC"]}
    for entry in (tree, document(rule(valueLimit={"asset": SIGNED, "totalLimit": "1"}))):
        with pytest.raises(PolicyError) as caught:
            parsed(entry)
        assert caught.value.code == "policy_value"


RAW = used((NOON, 5)).encode()
TREE = json.loads(RAW)
COUNTER = TREE["counters"][0]


def written(**members) -> bytes:
    tree = TREE | {"counters": [COUNTER | members]}
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{}", b"[]", RAW + b" ", RAW.replace(b":", b": "), RAW.replace(b'"version":1', b'"version":2'),
        RAW.replace(b'"version":1', b'"version":1,"x":1'), written(layer="floor"), written(window=-1), written(rule=5),
        written(slots=[]), written(slots=[[5]]), written(slots=[[5, 5]]), written(slots=[[5, "05"]]),
        written(slots=[[5, "0"]]), written(slots=[[5, "-1"]]), written(slots=[[-5, "1"]]), written(slots=[["5", "1"]]),
        written(slots=[[6, "1"], [5, "1"]]), written(slots=[[5, "1"], [5, "1"]]), written(slots=[[5, "1" * 91]]),
        written(slots=[[i, "1"] for i in range(1, MAX_SLOTS + 2)]), written(slots=[[True, "1"]]), written(extra=1),
        json.dumps(TREE | {"counters": [COUNTER, COUNTER]}, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps(TREE | {"counters": COUNTER}, sort_keys=True, separators=(",", ":")).encode(),
    ],
)  # fmt: skip
def test_any_other_form_is_refused(raw):
    with pytest.raises(PolicyError) as caught:
        Usage.decode(raw)
    assert caught.value.code == "usage_malformed"


def test_too_much_is_not_parsed():
    with pytest.raises(PolicyError) as caught:
        Usage.decode(b" " * (MAX_USAGE + 1))
    assert caught.value.code == "usage_too_large"
