"""What a signer may change of the rules that bind it."""

from __future__ import annotations

import pytest

from policy import ChangeRefusedError, check_change_by_signer
from tests.policy.builders import ALICE, BOB, document, parsed, rule

MINE = rule("mine", modifiableBySigner=True, addresses=[ALICE])
FIXED = rule("fixed", "deny", addresses=[BOB])


def signer_layer(*rules):
    return parsed(document(rule("e"), signer=list(rules))).layer("signer")


def refused(*after, code="rule_not_modifiable"):
    with pytest.raises(ChangeRefusedError) as caught:
        check_change_by_signer(signer_layer(MINE, FIXED), signer_layer(*after))
    assert caught.value.code == code


def test_a_modifiable_rule_may_change():
    check_change_by_signer(signer_layer(MINE, FIXED), signer_layer(MINE | {"addresses": [BOB]}, FIXED))
    check_change_by_signer(signer_layer(MINE, FIXED), signer_layer(FIXED, MINE))


def test_nothing_else_may():
    refused(MINE, FIXED | {"addresses": [ALICE]})
    refused(MINE)
    refused(FIXED)
    refused(MINE, FIXED, rule("new", modifiableBySigner=True))
    refused(MINE | {"name": "renamed"}, FIXED)
    refused(MINE | {"modifiableBySigner": False}, FIXED)
    refused(MINE, FIXED | {"modifiableBySigner": True})
    refused(MINE | {"ruleType": "deny"}, FIXED)


def test_a_layer_is_not_replaced_by_another():
    environment = parsed(document(rule("e"))).layer("environment")
    with pytest.raises(ChangeRefusedError) as caught:
        check_change_by_signer(signer_layer(MINE), environment)
    assert caught.value.code == "layer_not_modifiable"
    required = parsed(document(rule("e"), wallet=[], account=[], signer=[])).layer("environment")
    with pytest.raises(ChangeRefusedError) as caught:
        check_change_by_signer(environment, required)
    assert caught.value.code == "layer_not_modifiable"
