"""The `Condition` element of a policy (IAM User Guide, «Condition operators» and «Conditions with multiple context keys
or values»).

A condition that cannot be evaluated here is refused when the policy is set. That holds for operators and for condition
keys alike: a key that is never filled in would make every negated operator true, and nobody would notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.kms.wildcards import is_like, is_like_arn

Context = Mapping[str, tuple[str, ...]]
"""A request's condition keys, in lower case, each with its values. A key that the request lacks is not in it."""

Condition = Callable[[Context], bool]


class ConditionError(Exception):
    """Not valid, or not evaluated here."""


# KMS Developer Guide, «AWS KMS condition keys» and «Condition keys for Nitro Enclaves»; IAM User Guide, «AWS global
# condition context keys». Values are strings; True marks keys that may have several.
_KEYS: Final[dict[str, bool]] = {
    "aws:principalaccount": False,
    "aws:principalarn": False,
    "aws:securetransport": False,
    "kms:bypasspolicylockoutsafetycheck": False,
    "kms:calleraccount": False,
    "kms:encryptionalgorithm": False,
    "kms:encryptioncontextkeys": True,
    "kms:granteeprincipal": False,
    "kms:grantconstrainttype": True,
    "kms:grantisforawsresource": False,
    "kms:grantoperations": True,
    "kms:keyorigin": False,
    "kms:keyspec": False,
    "kms:keyusage": False,
    "kms:multiregion": False,
    "kms:retiringprincipal": False,
    "kms:viaservice": False,  # never present: nobody calls through another service here
    "kms:recipientattestation:imagesha384": False,
}
_KEY_PATTERNS: Final = (
    re.compile(r"kms:encryptioncontext:.+"),
    re.compile(r"kms:recipientattestation:pcr([0-9]|[12][0-9]|3[01])"),
)

_TESTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "StringEquals": lambda found, expected: found == expected,
    "StringEqualsIgnoreCase": lambda found, expected: found.lower() == expected.lower(),
    "StringLike": is_like,
    "ArnEquals": is_like_arn,
    "ArnLike": is_like_arn,
    "Bool": lambda found, expected: found.lower() == expected.lower(),
}
_NEGATIONS: Final = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def parse_conditions(value: Any) -> tuple[Condition, ...]:  # noqa: ANN401 - it comes out of JSON
    """All of a statement's conditions; every one of them must hold. Raises ConditionError."""
    if not isinstance(value, dict):
        raise ConditionError("Condition is an object")
    conditions: list[Condition] = []
    for operator, tests in value.items():
        if not isinstance(tests, dict) or not tests:
            raise ConditionError(f"{operator} has no condition keys")
        folded = [key.lower() for key in tests]
        if len(set(folded)) != len(folded):
            raise ConditionError(f"{operator} names a condition key twice")
        conditions.extend(
            _condition(operator, key, _expected(expected))
            for key, expected in zip(folded, tests.values(), strict=True)
        )
    return tuple(conditions)


def _expected(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - it comes out of JSON
    values = value if isinstance(value, list) else [value]
    # JSON booleans are accepted where AWS accepts them, as the strings "true" and "false".
    texts = [{True: "true", False: "false"}[item] if isinstance(item, bool) else item for item in values]
    if not texts or not all(isinstance(item, str) for item in texts):
        raise ConditionError("expected a string or a list of strings")
    if any("${" in item for item in texts):
        raise ConditionError("policy variables are not evaluated")
    return tuple(texts)


def _condition(operator: str, key: str, expected: tuple[str, ...]) -> Condition:
    if key not in _KEYS and not any(pattern.fullmatch(key) for pattern in _KEY_PATTERNS):
        raise ConditionError(f"condition key {key} is not simulated")
    if operator == "Null":
        return _null(key, expected)
    quantifier, _, name = operator.rpartition(":")
    name, if_exists = name.removesuffix("IfExists"), name.endswith("IfExists")
    test = _TESTS.get(_NEGATIONS.get(name, name))
    if test is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise ConditionError(f"condition operator {operator} is not supported")
    if _KEYS.get(key, False) and not quantifier:
        raise ConditionError(f"{key} has several values: say ForAllValues or ForAnyValue")
    negated = name in _NEGATIONS

    def holds(found: str) -> bool:
        # Several expected values are alternatives; for a negated operator none of them may match.
        return any(test(found, value) for value in expected) != negated

    def condition(context: Context) -> bool:
        found = context.get(key)
        if found is None:
            # Nothing to compare: a negated operator is content, and so is ForAllValues.
            if quantifier == "ForAnyValue":
                return if_exists
            return if_exists or negated or quantifier == "ForAllValues"
        if quantifier == "ForAnyValue":
            return any(holds(value) for value in found)
        return all(holds(value) for value in found)

    return condition


def _null(key: str, expected: tuple[str, ...]) -> Condition:
    """True: the key must be absent; false: it must be there."""
    if any(value.lower() not in ("true", "false") for value in expected):
        raise ConditionError("Null takes true or false")
    wants_absent = {value.lower() == "true" for value in expected}
    return lambda context: (key not in context) in wants_absent
