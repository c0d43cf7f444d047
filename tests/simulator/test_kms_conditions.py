"""Conditions of key policies: each case follows from a sentence of AWS's documentation, named beside it.

Names: «operators» is IAM User Guide «IAM JSON policy elements: Condition operators», «multiple» is «Conditions with
multiple context keys or values», «sets» is «Set operators for multivalued context keys», «kms» is KMS Developer Guide
«AWS KMS condition keys» and «Condition keys for Nitro Enclaves».
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.kms.conditions import ConditionError, parse_conditions
from simulator.kms.policy import ACCOUNT, Request, Verdict, parse_policy

IMAGE = "kms:RecipientAttestation:ImageSha384"
PCR8 = "kms:RecipientAttestation:PCR8"
CONTEXT_KEYS = "kms:EncryptionContextKeys"
ARN_KEY = "aws:PrincipalArn"
A, B, C = "a" * 96, "b" * 96, "c" * 96
USER = f"arn:aws:iam::{ACCOUNT}:user/alice"


def holds(condition: Any, **found: Any) -> bool:
    """`found`: `image`, `pcr8`, `names` (of the encryption context), `caller`, and the encryption context's `department`."""
    places = {
        "image": IMAGE,
        "pcr8": PCR8,
        "names": CONTEXT_KEYS,
        "caller": ARN_KEY,
        "department": "kms:EncryptionContext:Department",
    }
    context = {
        places[name].lower(): value if isinstance(value, tuple) else (value,) for name, value in found.items()
    }
    return all(test(context) for test in parse_conditions(condition))


@pytest.mark.parametrize(
    ("condition", "found", "expected"),
    [
        # operators: StringEquals is «exact matching, case sensitive»
        ({"StringEquals": {IMAGE: A}}, {"image": A}, True),
        ({"StringEquals": {IMAGE: A}}, {"image": A.upper()}, False),
        ({"StringEquals": {IMAGE: "a*"}}, {"image": A}, False),
        # operators: StringEqualsIgnoreCase is «exact matching, ignoring case»
        ({"StringEqualsIgnoreCase": {IMAGE: A.upper()}}, {"image": A}, True),
        ({"StringEqualsIgnoreCase": {IMAGE: A}}, {"image": B}, False),
        # operators: StringNotEquals and StringNotEqualsIgnoreCase are «negated matching»
        ({"StringNotEquals": {IMAGE: A}}, {"image": B}, True),
        ({"StringNotEquals": {IMAGE: A}}, {"image": A}, False),
        ({"StringNotEqualsIgnoreCase": {IMAGE: A.upper()}}, {"image": A}, False),
        # operators: StringLike is «case-sensitive matching» with `*` and `?` «anywhere in the string»
        ({"StringLike": {IMAGE: "a*a"}}, {"image": A}, True),
        ({"StringLike": {IMAGE: "A*"}}, {"image": A}, False),
        ({"StringLike": {IMAGE: "?" * 95}}, {"image": A}, False),
        ({"StringNotLike": {IMAGE: "a*"}}, {"image": A}, False),
        # operators: ArnEquals and ArnLike behave identically; each of the six parts is checked separately
        ({"ArnLike": {ARN_KEY: f"arn:aws:iam::{ACCOUNT}:user/*"}}, {"caller": USER}, True),
        ({"ArnEquals": {ARN_KEY: f"arn:aws:iam::{ACCOUNT}:user/*"}}, {"caller": USER}, True),
        ({"ArnLike": {ARN_KEY: "arn:*:user/alice"}}, {"caller": USER}, False),
        ({"ArnNotLike": {ARN_KEY: f"arn:aws:iam::{ACCOUNT}:role/*"}}, {"caller": USER}, True),
        # operators: Bool compares with «true» or «false»
        ({"Bool": {"kms:MultiRegion": "true"}}, {}, False),
        # operators: «if the key … is not present in the request context, the values do not match and the condition is
        # false»
        ({"StringEquals": {IMAGE: A}}, {}, False),
        ({"StringEqualsIgnoreCase": {IMAGE: A}}, {}, False),
        ({"StringLike": {IMAGE: "*"}}, {}, False),
        ({"ArnLike": {ARN_KEY: "arn:*:*:*:*:*"}}, {}, False),
        # operators: «requires that the key is not matched … and the right key is not present, the condition is true»
        ({"StringNotEquals": {IMAGE: A}}, {}, True),
        ({"StringNotLike": {IMAGE: "*"}}, {}, True),
        ({"ArnNotEquals": {ARN_KEY: USER}}, {}, True),
        # operators, IfExists: «if the key is not present, evaluate the condition element as true»
        ({"StringEqualsIfExists": {IMAGE: A}}, {}, True),
        ({"StringEqualsIfExists": {IMAGE: A}}, {"image": A}, True),
        ({"StringEqualsIfExists": {IMAGE: A}}, {"image": B}, False),
        ({"StringEqualsIgnoreCaseIfExists": {IMAGE: A}}, {}, True),
        ({"StringNotEqualsIfExists": {IMAGE: A}}, {}, True),
        ({"StringNotEqualsIfExists": {IMAGE: A}}, {"image": A}, False),
        # operators, Null: true «the key doesn't exist», false «the key exists and its value is not null»
        ({"Null": {IMAGE: "true"}}, {}, True),
        ({"Null": {IMAGE: "true"}}, {"image": A}, False),
        ({"Null": {IMAGE: "false"}}, {"image": A}, True),
        ({"Null": {IMAGE: False}}, {}, False),
        # multiple: several values of one key are «evaluated using a logical OR»
        ({"StringEquals": {IMAGE: [A, B]}}, {"image": B}, True),
        ({"StringEquals": {IMAGE: [A, B]}}, {"image": C}, False),
        # multiple: of a negated operator, «using a logical NOR»
        ({"StringNotEquals": {IMAGE: [A, B]}}, {"image": C}, True),
        ({"StringNotEquals": {IMAGE: [A, B]}}, {"image": B}, False),
        # multiple: several context keys of one operator are «evaluated using a logical AND»
        ({"StringEquals": {IMAGE: A, PCR8: B}}, {"image": A, "pcr8": B}, True),
        ({"StringEquals": {IMAGE: A, PCR8: B}}, {"image": A, "pcr8": C}, False),
        ({"StringEquals": {IMAGE: A, PCR8: B}}, {"image": A}, False),
        # multiple: several operators are «evaluated using a logical AND»
        ({"StringEquals": {IMAGE: A}, "Null": {PCR8: "false"}}, {"image": A, "pcr8": B}, True),
        ({"StringEquals": {IMAGE: A}, "Null": {PCR8: "false"}}, {"image": A}, False),
        # sets, ForAnyValue: one of the values in the request has to match one in the policy; an absent key gives false
        ({"ForAnyValue:StringEquals": {CONTEXT_KEYS: ["a", "x"]}}, {"names": ("a", "b")}, True),
        ({"ForAnyValue:StringEquals": {CONTEXT_KEYS: "x"}}, {"names": ("a", "b")}, False),
        ({"ForAnyValue:StringEquals": {CONTEXT_KEYS: "a"}}, {}, False),
        # sets, ForAllValues: each value in the request has to match one in the policy; an absent key gives true
        ({"ForAllValues:StringEquals": {CONTEXT_KEYS: ["a", "b", "c"]}}, {"names": ("a", "b")}, True),
        ({"ForAllValues:StringEquals": {CONTEXT_KEYS: "a"}}, {"names": ("a", "b")}, False),
        ({"ForAllValues:StringEquals": {CONTEXT_KEYS: "a"}}, {}, True),
        # and so a set operator over the measurement lets everybody in who attests nothing
        ({"ForAllValues:StringEquals": {IMAGE: A}}, {}, True),
        ({"ForAllValues:StringEquals": {IMAGE: A}}, {"image": B}, False),
        # names of condition keys have no case (IAM User Guide, «Condition»)
        ({"StringEquals": {IMAGE.upper(): A}}, {"image": A}, True),
        # kms: an encryption context's name is not case sensitive in a condition key, its value is
        ({"StringEquals": {"kms:EncryptionContext:department": "it"}}, {"department": "it"}, True),
        ({"StringEquals": {"kms:EncryptionContext:Department": "it"}}, {"department": "IT"}, False),
        # kms: with kms:EncryptionContextKeys the name's case counts
        ({"ForAnyValue:StringEquals": {CONTEXT_KEYS: "a"}}, {"names": ("A",)}, False),
        # kms: PCRs are lower-case hex, which StringEquals compares exactly
        ({"StringEquals": {PCR8: B.upper()}}, {"pcr8": B}, False),
    ],
)
def test_as_documented(condition: Any, found: dict[str, Any], expected: bool) -> None:
    assert holds(condition, **found) is expected


@pytest.mark.parametrize(
    "condition",
    [
        {"NumericEquals": {IMAGE: "1"}},
        {"DateLessThan": {"aws:CurrentTime": "2026-01-01"}},
        {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        {"BinaryEquals": {IMAGE: "AAAA"}},
        {"stringequals": {IMAGE: A}},
        {"NullIfExists": {IMAGE: "true"}},
        {"ForAnyValue:Null": {IMAGE: "true"}},
        {"ForEachValue:StringEquals": {IMAGE: A}},
        {"IfExists": {IMAGE: A}},
        {"": {IMAGE: A}},
        {"StringEquals": {"aws:SourceVpc": "vpc-1"}},  # a key that is never filled in
        {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}},  # and would always be true here
        {"StringEquals": {"kms:RecipientAttestation:PCR32": A}},
        {"StringEquals": {"kms:RecipientAttestation:PCR01": A}},
        {"StringEquals": {"kms:RecipientAttestation:NitroTPMPCR4": A}},
        {"StringEquals": {CONTEXT_KEYS: "a"}},  # several values, and no set operator
        {"StringEquals": {IMAGE: A, IMAGE.upper(): B}},
        {"StringEquals": {ARN_KEY: "${aws:username}"}},
        {"StringEquals": {IMAGE: []}},
        {"StringEquals": {IMAGE: [A, 5]}},
        {"StringEquals": {IMAGE: {"is": A}}},
        {"StringEquals": {}},
        {"StringEquals": A},
        [],
        "all",
    ],
)
def test_what_is_not_evaluated_is_refused(condition: Any) -> None:
    with pytest.raises(ConditionError):
        parse_conditions(condition)


ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/enclave"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/enclave/i-1"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234"
FOREIGN = "arn:aws:iam::999999999999:user/alice"


def judge(statement: dict[str, Any], caller: str, *, action: str = "kms:Decrypt") -> Verdict:
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    statements = [{"Action": "kms:*", "Resource": "*", **statement}]
    if statement["Effect"] == "Deny":
        statements.append(everybody)
    policy = parse_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    return policy.judge(
        Request(action=action, principal=caller, account=caller.split(":")[4], resource=KEY, context={})
    )


@pytest.mark.parametrize(
    ("named", "caller", "allowed"),
    [
        # IAM User Guide, «AWS JSON policy elements: Principal»
        (ROOT, USER, True),  # «does not limit permissions to only the root user»
        (ROOT, SESSION, True),
        (ACCOUNT, USER, True),  # «the account ARN and the shortened account ID behave the same way»
        (USER, USER, True),
        (USER, FOREIGN, False),
        (f"arn:aws:iam::{ACCOUNT}:user/Alice", USER, False),  # «the user name part … is case sensitive»
        (ROLE, SESSION, True),
        (f"arn:aws:iam::{ACCOUNT}:role/other", SESSION, False),
        ("arn:aws:iam::999999999999:role/enclave", SESSION, False),
        (SESSION, SESSION, True),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/enclave/i-2", SESSION, False),
        ("*", FOREIGN, True),
        ([FOREIGN, USER], USER, True),  # «a logical OR»
    ],
)
def test_principals_as_documented(named: Any, caller: str, allowed: bool) -> None:
    verdict = judge({"Effect": "Allow", "Principal": {"AWS": named}}, caller)
    assert (verdict is Verdict.ALLOW) == allowed


@pytest.mark.parametrize(
    ("exempt", "caller", "denied"),
    [
        # IAM User Guide, «NotPrincipal»: name the account as well, and for a session the role
        ([USER, ROOT], USER, False),
        ([USER, ACCOUNT], USER, False),
        ([USER], USER, True),
        ([ROOT], USER, True),
        ([SESSION, ROLE, ROOT], SESSION, False),
        ([ROLE, ROOT], SESSION, True),
        ([SESSION, ROOT], SESSION, True),
        ([USER, ROOT], FOREIGN, True),
        (["*"], FOREIGN, False),
    ],
)
def test_not_principal_exempts_those_who_are_named_in_full(exempt: Any, caller: str, denied: bool) -> None:
    verdict = judge({"Effect": "Deny", "NotPrincipal": {"AWS": exempt}}, caller)
    assert (verdict is Verdict.EXPLICIT_DENY) == denied


def test_not_action_and_not_resource_mean_everything_else() -> None:
    deny = {"Effect": "Deny", "Principal": "*"}
    some = {**deny, "NotAction": ["kms:Decrypt", "kms:Generate*"]}
    statements = [some, {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]
    text = json.dumps({"Statement": [{"Resource": "*", **statements[0]}, statements[1]]})
    for action, verdict in (
        ("kms:Decrypt", Verdict.ALLOW),
        ("kms:GenerateDataKey", Verdict.ALLOW),
        ("kms:Encrypt", Verdict.EXPLICIT_DENY),
    ):
        request = Request(action=action, principal=USER, account=ACCOUNT, resource=KEY, context={})
        assert parse_policy(text).judge(request) is verdict
    for not_resource, verdict in (
        (KEY, Verdict.ALLOW),
        (KEY + "5", Verdict.EXPLICIT_DENY),
        ("*", Verdict.ALLOW),
    ):
        other = {**deny, "Action": "*", "NotResource": not_resource}
        text = json.dumps({"Statement": [other, statements[1]]})
        request = Request(action="kms:Decrypt", principal=USER, account=ACCOUNT, resource=KEY, context={})
        assert parse_policy(text).judge(request) is verdict
