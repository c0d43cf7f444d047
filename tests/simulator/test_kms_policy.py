"""Key policies: what each operator means, and default deny."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.key_policy import render
from simulator.kms.policy import (
    ACCOUNT,
    MalformedPolicyError,
    Request,
    Verdict,
    key_policy,
    parse_policy,
)

ARN = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
USER = f"arn:aws:iam::{ACCOUNT}:user/alice"
PCR0, PCR1 = b"\xab" * 48, b"\xcd" * 48
IMAGE = "kms:RecipientAttestation:ImageSha384"


def request(action: str = "kms:Decrypt", principal: str = USER, **context: Any) -> Request:
    keys = {name.replace("__", ":").lower(): value for name, value in context.items()}
    return Request(
        action=action,
        principal=principal,
        account=principal.split(":")[4],
        resource=ARN,
        context={name: value if isinstance(value, tuple) else (value,) for name, value in keys.items()},
    )


def statement(**changes: Any) -> dict[str, Any]:
    normal = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    return {key: value for key, value in {**normal, **changes}.items() if value is not None}


def judge(*statements: dict[str, Any], of: Request | None = None) -> Verdict:
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return parse_policy(text).judge(of or request())


def attested(pcr0: bytes = PCR0, **more: Any) -> Request:
    return request(kms__RecipientAttestation__ImageSha384=pcr0.hex(), **more)


def test_nothing_is_allowed_unless_a_statement_says_so() -> None:
    assert judge(statement(Action="kms:Encrypt")) is Verdict.NO_STATEMENT
    assert judge(statement(Action="kms:Decrypt")) is Verdict.ALLOW


def test_a_deny_wins_wherever_it_stands() -> None:
    deny = statement(Effect="Deny", Action="kms:Decrypt")
    assert judge(deny, statement()) is Verdict.EXPLICIT_DENY
    assert judge(statement(), deny) is Verdict.EXPLICIT_DENY
    assert judge(deny) is Verdict.EXPLICIT_DENY


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("kms:Decrypt", True),
        ("KMS:decrypt", True),
        ("kms:*", True),
        ("*", True),
        ("kms:D*t", True),
        ("kms:Decryp?", True),
        ("kms:Dec", False),
        ("s3:*", False),
        (["kms:Encrypt", "kms:Decrypt"], True),
    ],
)
def test_actions_have_wildcards(action: Any, allowed: bool) -> None:
    assert (judge(statement(Action=action)) is Verdict.ALLOW) == allowed


def test_not_action_means_everything_else() -> None:
    assert judge(statement(Action=None, NotAction="kms:Encrypt")) is Verdict.ALLOW
    assert judge(statement(Action=None, NotAction=["kms:Decrypt"])) is Verdict.NO_STATEMENT


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ("*", True),
        ({"AWS": "*"}, True),
        ({"AWS": ROOT}, True),
        ({"AWS": ACCOUNT}, True),
        ({"AWS": USER}, True),
        ({"AWS": [USER, "arn:aws:iam::999999999999:root"]}, True),
        ({"AWS": "arn:aws:iam::999999999999:root"}, False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"}, False),
    ],
)
def test_principals(principal: Any, allowed: bool) -> None:
    assert (judge(statement(Principal=principal)) is Verdict.ALLOW) == allowed


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        ("*", True),
        (ARN, True),
        (ARN + "5", False),
        ("arn:aws:kms:*:*:key/*", True),
        ("arn:aws:kms:*:*:*:key/1234", False),  # wildcards stay within their part of an ARN
        (["arn:aws:kms:us-east-1:999999999999:key/1", ARN], True),
    ],
)
def test_resources(resource: str, allowed: bool) -> None:
    assert (judge(statement(Resource=resource)) is Verdict.ALLOW) == allowed


A, B, ABSENT = "a" * 96, "b" * 96, None


@pytest.mark.parametrize(
    ("operator", "expected", "found", "holds"),
    [
        ("StringEquals", A, A, True),
        ("StringEquals", A, A.upper(), False),
        ("StringEquals", A, B, False),
        ("StringEquals", A, ABSENT, False),
        ("StringEquals", [A, B], B, True),
        ("StringEqualsIfExists", A, ABSENT, True),
        ("StringEqualsIfExists", A, B, False),
        ("StringEqualsIgnoreCase", A.upper(), A, True),
        ("StringEqualsIgnoreCase", A, B, False),
        ("StringEqualsIgnoreCase", A, ABSENT, False),
        ("StringNotEquals", A, B, True),
        ("StringNotEquals", A, A, False),
        ("StringNotEquals", [A, B], B, False),
        ("StringNotEquals", A, ABSENT, True),
        ("StringNotEqualsIgnoreCase", A.upper(), A, False),
        ("StringLike", "a*", A, True),
        ("StringLike", "a*", B, False),
        ("StringLike", "?" * 96, B, True),
        ("StringLike", "*", ABSENT, False),
        ("StringNotLike", "a*", B, True),
        ("Null", "true", ABSENT, True),
        ("Null", "true", A, False),
        ("Null", "false", A, True),
        ("Null", False, ABSENT, False),
        ("ForAnyValue:StringEquals", [A, "x"], (A, B), True),
        ("ForAnyValue:StringEquals", "x", (A, B), False),
        ("ForAnyValue:StringEquals", A, ABSENT, False),
        ("ForAllValues:StringEquals", [A, B, "x"], (A, B), True),
        ("ForAllValues:StringEquals", [A], (A, B), False),
        ("ForAllValues:StringEquals", [A], ABSENT, True),
        ("Bool", True, "true", True),
        ("Bool", "false", "true", False),
    ],
)
def test_condition_operators(operator: str, expected: Any, found: Any, holds: bool) -> None:
    conditioned = statement(Condition={operator: {IMAGE: expected}})
    asking = request() if found is None else request(kms__RecipientAttestation__ImageSha384=found)
    assert (judge(conditioned, of=asking) is Verdict.ALLOW) == holds


def test_all_conditions_must_hold() -> None:
    both = {
        "StringEquals": {IMAGE: A, "kms:RecipientAttestation:PCR1": B},
        "Null": {"kms:ViaService": "true"},
    }
    good = request(kms__RecipientAttestation__ImageSha384=A, kms__RecipientAttestation__PCR1=B)
    assert judge(statement(Condition=both), of=good) is Verdict.ALLOW
    half = request(kms__RecipientAttestation__ImageSha384=A)
    assert judge(statement(Condition=both), of=half) is Verdict.NO_STATEMENT


def test_names_of_condition_keys_ignore_case() -> None:
    conditioned = statement(Condition={"StringEquals": {IMAGE.upper(): A}})
    assert judge(conditioned, of=request(kms__RecipientAttestation__ImageSha384=A)) is Verdict.ALLOW


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"Statement": []}',
        '{"Statement": "all"}',
        '{"Version": "2020-01-01", "Statement": [{}]}',
        json.dumps({"Statement": [statement()], "Comment": "?"}),
        json.dumps({"Statement": [statement(Effect="allow")]}),
        json.dumps({"Statement": [statement(Action=None)]}),
        json.dumps({"Statement": [statement(NotAction="kms:Encrypt")]}),
        json.dumps({"Statement": [statement(Principal=None)]}),
        json.dumps({"Statement": [statement(Principal=None, NotPrincipal={"AWS": USER})]}),  # with Allow
        json.dumps({"Statement": [statement(NotPrincipal={"AWS": USER}, Effect="Deny")]}),  # and Principal
        json.dumps({"Statement": [statement(NotResource=ARN)]}),
        json.dumps({"Statement": [statement(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/*"})]}),
        json.dumps({"Statement": [statement(Principal={"AWS": "AIDACKCEVSQ6C2EXAMPLE"})]}),
        json.dumps({"Statement": [statement(Principal={"Federated": "accounts.google.com"})]}),
        json.dumps({"Statement": [statement(Resource="arn:aws:kms:*")]}),
        json.dumps({"Statement": [statement(Resource="${aws:username}")]}),
        json.dumps({"Statement": [statement(Action="Decrypt")]}),
        json.dumps({"Statement": [statement(Action="kms:.*")]}),
        json.dumps({"Statement": [statement(Sid=5)]}),
        json.dumps({"Statement": [statement(Sid="\u20ac")]}, ensure_ascii=False),
        json.dumps({"Statement": [statement()]})[:-2] + ', "Effect": "Deny"}]}',
        json.dumps({"Statement": [statement(Principal={"Service": "ec2.amazonaws.com"})]}),
        json.dumps({"Statement": [statement(Resource=None)]}),
        json.dumps({"Statement": [statement(Resource=[])]}),
        json.dumps({"Statement": [statement(Action=5)]}),
        json.dumps({"Statement": [statement(Condition=[])]}),
        json.dumps({"Statement": [statement(Condition={"StringEquals": {}})]}),
        json.dumps({"Statement": [statement(Condition={"StringEquals": {IMAGE: 5}})]}),
        json.dumps({"Statement": [statement(Condition={"StringMatches": {IMAGE: "x"}})]}),
        json.dumps({"Statement": [statement(Condition={"ForSome:StringEquals": {IMAGE: "x"}})]}),
        json.dumps({"Statement": [statement(Condition={"DateLessThan": {"aws:CurrentTime": "x"}})]}),
        json.dumps({"Statement": [statement(Condition={"Null": {IMAGE: "maybe"}})]}),
        json.dumps({"Statement": [statement(Sid="x" * 33_000)]}),
        "[" * 100_000,
    ],
)
def test_what_is_not_understood_is_refused_when_set(policy: str) -> None:
    with pytest.raises(MalformedPolicyError):
        parse_policy(policy)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_policy_or_malformed(text: str) -> None:
    with pytest.raises(MalformedPolicyError):
        parse_policy(text)


def test_the_rendered_policy_releases_keys_to_the_measured_enclave_alone() -> None:
    policy = parse_policy(key_policy({0: PCR0, 16: PCR1}))
    good = {
        "kms__RecipientAttestation__ImageSha384": PCR0.hex(),
        "kms__RecipientAttestation__PCR16": PCR1.hex(),
    }
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert policy.judge(request(action, **good)) is Verdict.ALLOW
        assert policy.judge(request(action)) is Verdict.NO_STATEMENT
        for name in good:
            assert policy.judge(request(action, **{**good, name: "00" * 48})) is Verdict.NO_STATEMENT
            missing = {key: value for key, value in good.items() if key != name}
            assert policy.judge(request(action, **missing)) is Verdict.NO_STATEMENT
        foreign = request(action, principal="arn:aws:iam::999999999999:user/eve", **good)
        assert policy.judge(foreign) is Verdict.NO_STATEMENT


@pytest.mark.parametrize(
    "action",
    [
        "kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:Sign", "kms:CreateGrant", "kms:PutKeyPolicy",
        "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateDataKeyPair", "kms:ImportKeyMaterial",
        "kms:ReplicateKey", "kms:UpdatePrimaryRegion", "kms:DeriveSharedSecret",
    ],
)  # fmt: skip
def test_the_rendered_policy_lets_nobody_widen_or_go_around_it(action: str) -> None:
    policy = parse_policy(key_policy({0: PCR0}))
    assert policy.judge(attested(action=action)) is Verdict.NO_STATEMENT


def test_it_is_the_policy_that_operators_render() -> None:
    pcrs = {0: PCR0, 1: PCR1, 16: PCR0}
    role = f"arn:aws:iam::{ACCOUNT}:role/enclave"
    assert json.loads(key_policy(pcrs, role=role)) == json.loads(render([pcrs], account=ACCOUNT, role=role))


def test_the_operators_policy_is_understood() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/enclave"
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/enclave/i-1"
    releases = [{0: PCR0, 1: PCR0, 16: PCR0}, {0: PCR1, 1: PCR1, 16: PCR0}]
    policy = parse_policy(render(releases, account=ACCOUNT, role=role, editors=[USER], deleters=[USER]))

    def asked(pcr0: bytes, pcr1: bytes, **more: Any) -> Verdict:
        pcrs = {
            "kms__RecipientAttestation__ImageSha384": pcr0.hex(),
            "kms__RecipientAttestation__PCR1": pcr1.hex(),
            "kms__RecipientAttestation__PCR16": PCR0.hex(),
        }
        return policy.judge(request(**{"principal": session, **pcrs, **more}))

    assert asked(PCR0, PCR0) is asked(PCR1, PCR1) is Verdict.ALLOW
    assert asked(PCR0, PCR1) is asked(PCR1, PCR0) is Verdict.NO_STATEMENT  # releases do not mix
    assert asked(PCR0, PCR0, principal=USER) is Verdict.NO_STATEMENT
    assert policy.judge(request("kms:PutKeyPolicy")) is Verdict.ALLOW
    assert policy.judge(request("kms:PutKeyPolicy", principal=session)) is Verdict.NO_STATEMENT


def test_a_policy_without_measurements_is_not_rendered() -> None:
    with pytest.raises(ValueError, match="without measurements"):
        key_policy({})
