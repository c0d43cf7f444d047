"""Conditions on the arguments of a call, checked against the function's types when the rule is read."""

from __future__ import annotations

import re
from typing import Any, Final

from . import fields
from .abi import AbiType, Function
from .addresses import EVM, normal
from .errors import PolicyError
from .fields import Members
from .rules import OPERATORS, Constraint, Scalar

MAX_VALUES: Final = 256
MAX_TEXT: Final = 4096
_SEVERAL: Final = ("in", "notIn")
_ORDERED: Final = ("greater", "less", "greaterEqual", "lessEqual")
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,77})|0x(?:0|[1-9a-f][0-9a-f]{0,63})")


def read_constraints(entries: list[Any], function: Function, field: str) -> tuple[Constraint, ...]:
    """Read ``argumentConstraints``; sorted, since their order means nothing.

    :raises PolicyError: see the specification, "Codes".
    """
    found = [_constraint(Members(entry, f"{field}[{i}]"), function) for i, entry in enumerate(entries)]
    fields.distinct(found, field)
    return tuple(sorted(found, key=lambda entry: (entry.path, entry.operator, repr(entry.values))))


def _constraint(members: Members, function: Function) -> Constraint:
    index = members.take("index", int)
    if not 0 <= index < len(function.inputs):
        raise PolicyError(
            "policy_value", f"{function.signature} has no argument {index}.", members.path("index")
        )
    path = (index, *(members.list("path", 8) or []))
    leaf = _leaf(function.inputs[index], path[1:], members.path("path"))
    operator = fields.choice(members.take("operator", str), OPERATORS, members.path("operator"))
    if operator in _ORDERED and leaf.kind not in {"uint", "int"}:
        raise PolicyError("policy_conflict", f"{leaf.text} has no order.", members.path("operator"))
    where = members.path("value")
    if operator in _SEVERAL:
        entries = members.list("value", MAX_VALUES)
        if entries is None:
            raise PolicyError("policy_missing_field", "The field is missing.", where)
        values = fields.distinct([_scalar(entry, leaf, where) for entry in entries], where)
        members.end()
        return Constraint(path, leaf, operator, tuple(sorted(values, key=repr)))
    if "value" not in members:
        raise PolicyError("policy_missing_field", "The field is missing.", where)
    value = _scalar(members.any("value"), leaf, where)
    members.end()
    return Constraint(path, leaf, operator, (value,))


def _leaf(kind: AbiType, path: tuple[object, ...], field: str) -> AbiType:
    """The type that a path leads to. Arrays are passed through: what is said of one holds of all its elements."""
    while kind.kind == "array":
        (kind,) = kind.members
    if kind.kind != "tuple":
        if path:
            raise PolicyError("policy_value", f"{kind.text} has no members.", field)
        return kind
    if not path:
        raise PolicyError("policy_missing_field", "An argument that is a tuple needs a path into it.", field)
    first = path[0]
    if type(first) is not int or not 0 <= first < len(kind.members):
        raise PolicyError("policy_value", f"{kind.text} has no such member.", field)
    return _leaf(kind.members[first], path[1:], field)


def _scalar(value: Any, kind: AbiType, field: str) -> Scalar:  # noqa: ANN401  (JSON)
    """A value of an elementary type as rules write it."""
    match kind.kind:
        case "address":
            return normal(value, EVM, field)
        case "bool":
            if type(value) is bool:
                return value
        case "string":
            if isinstance(value, str) and len(value) <= MAX_TEXT:
                return value
        case "uint" | "int":
            return _number(value, kind, field)
        case _:
            octets = _octets(value)
            if octets is not None and kind.size in {0, len(octets)}:
                return octets
    raise PolicyError("policy_value", f"A value of type {kind.text} is expected.", field)


def _number(value: Any, kind: AbiType, field: str) -> int:  # noqa: ANN401  (JSON)
    """A whole number, a decimal string, or hexadecimal after ``0x``; in the type's range."""
    if isinstance(value, str) and _INTEGER.fullmatch(value) and value != "-0":
        value = int(value, 0)
    if type(value) is int:
        signed = kind.kind == "int"
        least = -(1 << kind.size - 1) if signed else 0
        if least <= value < (1 << kind.size - (1 if signed else 0)):
            return value
    raise PolicyError("policy_value", f"A number of type {kind.text} is expected.", field)


def _octets(value: Any) -> bytes | None:  # noqa: ANN401  (JSON)
    if not isinstance(value, str) or not value.startswith("0x") or len(value) > MAX_TEXT:
        return None
    try:
        octets = bytes.fromhex(value[2:])
    except ValueError:
        return None
    return octets if value[2:].lower() == octets.hex() else None
