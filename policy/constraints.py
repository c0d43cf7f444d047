"""Whether the arguments of a call keep a constraint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .abi import AbiType, Function
from .calldata import AbiValue
from .rules import Constraint


def broken(
    constraint: Constraint, function: Function, arguments: Sequence[AbiValue], *, every: bool
) -> tuple[AbiValue] | None:
    """A value for which the constraint does not hold, or ``None`` if it is kept.

    :param every: an array keeps it in every element (allow rules), or in one at least (deny rules).
    """
    index, *path = constraint.path
    found = list(_leaves(function.inputs[index], arguments[index], path))
    failing = [value for value in found if not _compare(constraint, value)]
    if every:
        return (failing[0],) if failing else None
    if len(failing) < len(found):
        return None
    return (failing[0] if failing else [],)


def _leaves(kind: AbiType, value: AbiValue, path: Sequence[int]) -> Iterator[AbiValue]:
    """The values that a path leads to: tuples consume one step of it, arrays are passed through."""
    if not isinstance(value, list):
        yield value
    elif kind.kind == "array":
        for element in value:
            yield from _leaves(kind.members[0], element, path)
    else:
        yield from _leaves(kind.members[path[0]], value[path[0]], path[1:])


def _compare(constraint: Constraint, value: AbiValue) -> bool:
    wanted = constraint.values
    match constraint.operator:
        case "equal" | "in":
            return value in wanted
        case "notEqual" | "notIn":
            return value not in wanted
    bound = wanted[0]
    if not isinstance(value, int) or not isinstance(bound, int):
        return False  # reading refuses such a constraint
    match constraint.operator:
        case "greater":
            return value > bound
        case "less":
            return value < bound
        case "greaterEqual":
            return value >= bound
        case _:
            return value <= bound
