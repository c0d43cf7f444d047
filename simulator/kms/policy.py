"""Key policies: parsing, and evaluation with default deny.

An exact subset of AWS's policy language: what is supported behaves as documented by AWS (IAM User Guide, «Policy
evaluation logic» and «JSON policy elements»; KMS Developer Guide, «Creating a key policy»), and what is not supported
is refused when the policy is set, never ignored. Every principal of the account is taken to have `kms:*` in IAM,
so that a statement for the account's root lets each of them in.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from attestation.key_policy import REQUIRED_PCRS, render
from protocol.envelope.nesting import is_deep
from simulator.kms.conditions import Condition, ConditionError, Context, parse_conditions
from simulator.kms.principals import is_principal, names_whole_chain, stands_for
from simulator.kms.wildcards import is_like, is_like_arn

MAX_POLICY: Final = 32 * 1024
_MAX_BRACKETS: Final = 4096
ACCOUNT: Final = "111122223333"

_VERSIONS: Final = frozenset({"2012-10-17", "2008-10-17"})
_STATEMENT_KEYS: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_CHARACTERS: Final = re.compile(r"[\t\n\r\x20-\x7e\xa1-\xff]*")
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_ARN_COLONS: Final = 5
_SOME_PCR: Final = b"\x01" * 48  # a place for one of the caller's


class MalformedPolicyError(Exception):
    """The policy is not valid, or uses something that this simulator does not evaluate."""


class Verdict(enum.Enum):
    """What a policy says to a request. Only ALLOW lets it through."""

    ALLOW = "allow"
    NO_STATEMENT = "no statement"
    EXPLICIT_DENY = "explicit deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a policy decides upon. `principal`: the caller's ARN; `account`: its account; `resource`: the key's ARN."""

    action: str
    principal: str
    account: str
    resource: str
    context: Context


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


def key_policy(pcrs: Mapping[int, bytes], *, account: str = ACCOUNT, role: str | None = None) -> str:
    """The policy that operators render (`attestation.key_policy`) for one release, as JSON, with looser demands.

    `pcrs`: index to 48 bytes; PCR0 and PCR16 may be missing, and any may be zero, which the operators' renderer refuses.
    `role`: who calls; None for every principal of the account, which may schedule the key's deletion, too.
    """
    if not pcrs:
        raise ValueError("a policy without measurements would release keys to any enclave")
    root = f"arn:aws:iam::{account}:root"
    release = {**dict.fromkeys(REQUIRED_PCRS, _SOME_PCR), **dict.fromkeys(pcrs, _SOME_PCR)}
    everybody = f"arn:aws:iam::{account}:role/everybody"
    policy = json.loads(
        render([release], account=account, role=role or everybody, deleters=() if role else (root,))
    )
    policy["Statement"][0]["Condition"] = {
        operator: {
            name: pcrs[index].hex()
            for index, name in zip(sorted(release), names, strict=True)
            if index in pcrs
        }
        for operator, names in policy["Statement"][0]["Condition"].items()
    }
    if role is None:
        for statement in policy["Statement"]:
            statement["Principal"] = {"AWS": root}
    return json.dumps(policy)


def parse_policy(text: str) -> KeyPolicy:
    """Parse a key policy. Raises MalformedPolicyError."""
    if len(text.encode()) > MAX_POLICY:
        raise MalformedPolicyError("longer than 32 KiB")
    if _CHARACTERS.fullmatch(text) is None:
        raise MalformedPolicyError("characters other than printable Latin-1")
    try:
        if is_deep(text.encode(), _MAX_BRACKETS):
            raise ValueError("nested too deeply")
        document = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyError("not JSON, or a name appears twice in an object") from error
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


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One of the pairs Principal and NotPrincipal, Action and NotAction, Resource and NotResource."""

    values: tuple[str, ...]
    inverted: bool

    def takes_action(self, action: str) -> bool:
        """Actions compare without case."""
        return any(is_like(action.lower(), value.lower()) for value in self.values) != self.inverted

    def takes_resource(self, resource: str) -> bool:
        return any(value == "*" or is_like_arn(resource, value) for value in self.values) != self.inverted

    def takes_principal(self, caller: str, account: str) -> bool:
        if not self.inverted:
            return any(value == "*" or stands_for(value, caller, account) for value in self.values)
        # IAM User Guide, «NotPrincipal»: somebody is exempt only if the account and, for a session, the role are
        # named as well; with less, AWS «might» deny. Here it does.
        return "*" not in self.values and not names_whole_chain(self.values, caller, account)


@dataclass(frozen=True, slots=True)
class _Statement:
    allows: bool
    principals: _Pattern
    actions: _Pattern
    resources: _Pattern
    conditions: tuple[Condition, ...]

    def matches(self, request: Request) -> bool:
        return (
            self.principals.takes_principal(request.principal, request.account)
            and self.actions.takes_action(request.action)
            and self.resources.takes_resource(request.resource)
            and all(condition(request.context) for condition in self.conditions)
        )


def _statement(item: Any) -> _Statement:  # noqa: ANN401 - it comes out of JSON
    if not isinstance(item, dict) or not item.keys() <= _STATEMENT_KEYS:
        raise MalformedPolicyError("a statement has unknown or unsupported elements")
    if item.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyError("Effect is Allow or Deny")
    if not isinstance(item.get("Sid", ""), str):
        raise MalformedPolicyError("Sid is a string")
    allows = item["Effect"] == "Allow"
    if allows and "NotPrincipal" in item:
        raise MalformedPolicyError("NotPrincipal goes with Deny only")
    try:
        conditions = parse_conditions(item.get("Condition", {}))
    except ConditionError as error:
        raise MalformedPolicyError(str(error)) from error
    return _Statement(
        allows=allows,
        principals=_pattern(item, "Principal", _principals),
        actions=_pattern(item, "Action", _actions),
        resources=_pattern(item, "Resource", _resources),
        conditions=conditions,
    )


def _pattern(item: Mapping[str, Any], name: str, parse: Callable[[Any], tuple[str, ...]]) -> _Pattern:
    if (name in item) == (f"Not{name}" in item):
        raise MalformedPolicyError(f"a statement has either {name} or Not{name}")
    inverted = name not in item
    return _Pattern(parse(item[f"Not{name}" if inverted else name]), inverted)


def _principals(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    if value == "*":
        return ("*",)
    if not isinstance(value, dict) or value.keys() != {"AWS"}:
        raise MalformedPolicyError('Principal is "*" or {"AWS": …}')
    principals = _strings(value["AWS"])
    if not all(principal == "*" or is_principal(principal) for principal in principals):
        raise MalformedPolicyError("Policy contains a statement with one or more invalid principals.")
    return principals


def _actions(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    actions = _strings(value)
    if not all(_ACTION.fullmatch(action) for action in actions):
        raise MalformedPolicyError("an action is * or a service's prefix, a colon and a name")
    return actions


def _resources(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    resources = _strings(value)
    for resource in resources:
        complete = resource.startswith("arn:") and resource.count(":") >= _ARN_COLONS
        if "${" in resource or not (resource == "*" or complete):
            raise MalformedPolicyError("a resource is * or a complete ARN without policy variables")
    return resources


def _strings(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(entry, str) for entry in values):
        raise MalformedPolicyError("expected a string or a list of strings")
    return tuple(values)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Json's own way is to keep the last of equal names, which would drop conditions silently."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice")
    return result
