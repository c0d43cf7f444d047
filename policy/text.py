"""JSON, read strictly and written in one form (RFC 8785): no floats, no key twice, bounded size and depth."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from .errors import PolicyError

MAX_DEPTH: Final = 16
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def read(raw: bytes, limit: int, what: str) -> Any:  # noqa: ANN401  (dict, list, str, int, bool or None, all the way down)
    """The value of JSON text of at most ``limit`` bytes.

    :param what: ``policy`` or ``usage``: what the error codes begin with.
    :raises PolicyError: ``policy_too_large``, ``policy_malformed`` and the same of ``usage``.
    """
    if len(raw) > limit:
        raise PolicyError(f"{what}_too_large", f"The text has {len(raw)} bytes; at most {limit} are read.")
    if _depth(raw) > MAX_DEPTH:
        raise PolicyError(f"{what}_malformed", f"The text is nested deeper than {MAX_DEPTH} levels.")
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_refuse_number,
            parse_int=_integer,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise PolicyError(
            f"{what}_malformed", f"The text is not JSON as it is read here: {reason}."
        ) from None


def write(value: object) -> bytes:
    """The one form of ``value`` (RFC 8785). Keys are ASCII and integers below 2^53, so sorting by code point is enough."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _depth(raw: bytes) -> int:
    """How deep brackets are nested outside of strings; checked before anything recursive reads the text."""
    depth = deepest = 0
    for match in _STRUCTURE.finditer(raw):
        first = match.group()[:1]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        msg = "a key stands twice in one object"
        raise ValueError(msg)
    return members


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) <= 16 else 1 << 53  # noqa: PLR2004
    if abs(number) >= 1 << 53 or digits == "-0":
        msg = "a number is 2^53 or more, or a negative zero; write amounts as strings"
        raise ValueError(msg)
    return number


def _refuse_number(text: str) -> NoReturn:
    msg = f"{text[:20]} is no whole number; write amounts as strings"
    raise ValueError(msg)
