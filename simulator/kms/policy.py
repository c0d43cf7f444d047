"""Key policies: parsing, and evaluation with default deny.

An exact subset of AWS's policy language: what is supported behaves as documented by AWS (IAM User Guide, «Policy
evaluation logic» and «Condition operators»; KMS Developer Guide, «Condition keys»), and what is not supported is
refused when the policy is set, never ignored. Every principal of the account is taken to have `kms:*` in IAM,
so that a statement for the account's root lets each of them in.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocol.envelope.nesting import is_deep

MAX_POLICY: Final = 32 * 1024
_MAX_BRACKETS: Final = 4096
ACCOUNT: Final = "111122223333"

_VERSIONS: Final = frozenset({"2012-10-17", "2008-10-17"})
_STATEMENT_KEYS: Final = frozenset(
    {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "Condition"}
)


class MalformedPolicyError(Exception):
    """The policy is not valid, or uses something that this simulator does not evaluate."""


class Verdict(enum.Enum):
    """What a policy says to a request. Only ALLOW lets it through."""

    ALLOW = "allow"
    NO_STATEMENT = "no statement"
    EXPLICIT_DENY = "explicit deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a policy decides upon. `context`: condition keys in lower case, each with its values (absent: no key)."""

    action: str
    principal: str
    account: str
    resource: str
    context: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """A parsed policy; `text` is what GetKeyPolicy returns."""

    text: str
    statements: tuple[_Statement, ...]

    def judge(self, request: Request) -> Verdict:
        """A matching Deny wins, then a matching Allow; without either the answer is no."""
        matching = [statement for statement in self.statements if statement.matches(request)]
        if any(not statement.allows for statement in matching):
            return Verdict.EXPLICIT_DENY
        return Verdict.ALLOW if matching else Verdict.NO_STATEMENT


def key_policy(pcrs: Mapping[int, bytes], *, account: str = ACCOUNT) -> str:
    """A policy that releases data keys only to enclaves with these PCRs (48 bytes each), as JSON.

    Decrypt and GenerateDataKey are conditioned alike, because a host that could generate a key outside an enclave
    could plant one that it knows. Nobody may encrypt, re-encrypt, grant, or change the policy; the account may look at
    the key and schedule its deletion. Setting it needs BypassPolicyLockoutSafetyCheck.
    """
    if not pcrs:
        raise ValueError("a policy without measurements would release keys to any enclave")
    root = {"AWS": f"arn:aws:iam::{account}:root"}
    conditions = {
        f"kms:RecipientAttestation:{'ImageSha384' if index == 0 else f'PCR{index}'}": value.hex()
        for index, value in sorted(pcrs.items())
    }
    statements = [
        {
            "Sid": "DataKeysForMeasuredEnclaves",
            "Effect": "Allow",
            "Principal": root,
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
            "Condition": {"StringEqualsIgnoreCase": conditions},
        },
        {
            "Sid": "LookAndDelete",
            "Effect": "Allow",
            "Principal": root,
            "Action": [
                "kms:DescribeKey",
                "kms:GetKeyPolicy",
                "kms:ListGrants",
                "kms:ScheduleKeyDeletion",
                "kms:CancelKeyDeletion",
            ],
            "Resource": "*",
        },
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def parse_policy(text: str) -> KeyPolicy:
    """Parse a key policy. Raises MalformedPolicyError."""
    if len(text.encode()) > MAX_POLICY:
        raise MalformedPolicyError("longer than 32 KiB")
    try:
        if is_deep(text.encode(), _MAX_BRACKETS):
            raise ValueError("nested too deeply")
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyError("not JSON") from error
    if not isinstance(document, dict) or not document.keys() <= {"Version", "Id", "Statement"}:
        raise MalformedPolicyError("not an object with Version, Id and Statement")
    if document.get("Version", "2008-10-17") not in _VERSIONS:
        raise MalformedPolicyError("unknown Version")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicyError("no Statement")
    return KeyPolicy(text, tuple(_statement(item) for item in statements))


Condition = Callable[[Mapping[str, tuple[str, ...]]], bool]


@dataclass(frozen=True, slots=True)
class _Statement:
    allows: bool
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]

    def matches(self, request: Request) -> bool:
        action = request.action.lower()
        if self.actions and not any(_like(pattern.lower(), action) for pattern in self.actions):
            return False
        if self.not_actions and any(_like(pattern.lower(), action) for pattern in self.not_actions):
            return False
        return (
            any(_is_principal(principal, request) for principal in self.principals)
            and any(_like(pattern, request.resource) for pattern in self.resources)
            and all(condition(request.context) for condition in self.conditions)
        )


def _statement(item: Any) -> _Statement:  # noqa: ANN401 - it comes out of JSON
    if not isinstance(item, dict) or not item.keys() <= _STATEMENT_KEYS:
        raise MalformedPolicyError("a statement has unknown or unsupported elements")
    if item.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyError("Effect is Allow or Deny")
    if ("Action" in item) == ("NotAction" in item):
        raise MalformedPolicyError("a statement has either Action or NotAction")
    return _Statement(
        allows=item["Effect"] == "Allow",
        principals=_principals(item.get("Principal")),
        actions=_strings(item["Action"]) if "Action" in item else (),
        not_actions=_strings(item["NotAction"]) if "NotAction" in item else (),
        resources=_strings(item.get("Resource")),
        conditions=_conditions(item.get("Condition", {})),
    )


def _principals(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    if value == "*":
        return ("*",)
    if not isinstance(value, dict) or value.keys() != {"AWS"}:
        raise MalformedPolicyError('Principal is "*" or {"AWS": …}')
    return _strings(value["AWS"])


def _is_principal(pattern: str, request: Request) -> bool:
    # No wildcards inside principals; the account's id and root both stand for everyone in it.
    account = {request.account, f"arn:aws:iam::{request.account}:root"}
    return pattern == "*" or pattern in account or pattern == request.principal


def _strings(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(entry, str) for entry in values):
        raise MalformedPolicyError("expected a string or a list of strings")
    return tuple(values)


def _conditions(value: Any) -> tuple[Condition, ...]:  # noqa: ANN401 - it comes out of JSON
    if not isinstance(value, dict):
        raise MalformedPolicyError("Condition is an object")
    conditions: list[Condition] = []
    for operator, tests in value.items():
        if not isinstance(tests, dict) or not tests:
            raise MalformedPolicyError(f"{operator} has no condition keys")
        for key, expected in tests.items():
            # JSON booleans are accepted where AWS accepts them, as the strings "true" and "false".
            expected_strings = "true" if expected is True else "false" if expected is False else expected
            conditions.append(_condition(operator, key.lower(), _strings(expected_strings)))
    return tuple(conditions)


_TESTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "StringEquals": lambda found, expected: found == expected,
    "StringEqualsIgnoreCase": lambda found, expected: found.lower() == expected.lower(),
    "StringLike": lambda found, expected: _like(expected, found),
    "ArnEquals": lambda found, expected: _like(expected, found),
    "ArnLike": lambda found, expected: _like(expected, found),
    "Bool": lambda found, expected: found.lower() == expected.lower(),
}
_NEGATIONS: Final = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def _condition(operator: str, key: str, expected: tuple[str, ...]) -> Condition:
    if operator == "Null":
        if any(value.lower() not in ("true", "false") for value in expected):
            raise MalformedPolicyError("Null takes true or false")
        wants_absent = {value.lower() == "true" for value in expected}
        return lambda context: (key not in context) in wants_absent

    quantifier, _, name = operator.rpartition(":")
    name, if_exists = name.removesuffix("IfExists"), name.endswith("IfExists")
    test = _TESTS.get(_NEGATIONS.get(name, name))
    if test is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise MalformedPolicyError(f"condition operator {operator} is not supported")
    negated = name in _NEGATIONS

    def holds(found: str) -> bool:
        return any(test(found, value) for value in expected) != negated

    def condition(context: Mapping[str, tuple[str, ...]]) -> bool:
        found = context.get(key)
        if found is None:
            # Nothing to compare: a negated operator is content, and so is ForAllValues.
            if quantifier == "ForAnyValue":
                return if_exists
            return if_exists or negated or quantifier == "ForAllValues"
        if quantifier == "ForAnyValue":
            return any(holds(value) for value in found)
        if quantifier == "" and len(found) != 1:
            return False  # a multivalued key needs a quantifier
        return all(holds(value) for value in found)

    return condition


def _like(pattern: str, text: str) -> bool:
    """`*` stands for any characters, `?` for one."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
