"""Parts of rules in their one spelling, by which lists of them are sorted: their canonical text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from . import text
from .rules import Constraint, Hours, Scalar, TypedDataPattern

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def constraint_members(constraint: Constraint) -> dict[str, object]:
    """A constraint as JSON values."""
    values = [written_value(value) for value in constraint.values]
    index, *path = constraint.path
    return {
        "index": index,
        "operator": constraint.operator,
        "value": values if constraint.operator in {"in", "notIn"} else values[0],
        **({"path": path} if path else {}),
    }


def written_value(value: Scalar) -> bool | str:
    """An argument's value as rules write it: numbers in decimal, bytes in hexadecimal."""
    match value:
        case bool() | str():
            return value
        case bytes():
            return "0x" + value.hex()
        case _:
            return str(value)


def pattern_members(pattern: TypedDataPattern) -> dict[str, object]:
    """A pattern as JSON values."""
    members: dict[str, object] = {
        "primaryType": pattern.primary_type,
        "name": pattern.name,
        "version": pattern.version,
        "chainId": pattern.chain_id,
        "verifyingContract": pattern.verifying_contract,
    }
    return {name: value for name, value in members.items() if value is not None}


def hours_members(hours: Hours) -> dict[str, object]:
    """Hours as JSON values."""
    members: dict[str, object] = {"from": _clock(hours.start), "until": _clock(hours.until)}
    if len(hours.days) < len(DAYS):
        members["days"] = [DAYS[day] for day in sorted(hours.days)]
    return members


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def sorted_values(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """Values of ``in`` and ``notIn``."""
    return tuple(sorted(values, key=lambda value: text.write(written_value(value))))


def sorted_constraints(constraints: Iterable[Constraint]) -> tuple[Constraint, ...]:
    """Constraints of a rule."""
    return tuple(sorted(constraints, key=lambda entry: text.write(constraint_members(entry))))


def sorted_patterns(patterns: Iterable[TypedDataPattern]) -> tuple[TypedDataPattern, ...]:
    """Patterns of a rule."""
    return tuple(sorted(patterns, key=lambda entry: text.write(pattern_members(entry))))


def sorted_hours(hours: Iterable[Hours]) -> tuple[Hours, ...]:
    """Hours of a rule."""
    return tuple(sorted(hours, key=lambda entry: text.write(hours_members(entry))))
