"""JSON that JavaScript reads and writes back byte for byte: ``JSON.stringify(JSON.parse(text)) === text``.

Receivers in the field hash the body that they parsed and wrote again, instead of the bytes that came. So a body is written exactly as
ECMA-262 §25.5.2 (JSON.stringify, QuoteJSONString) would, and what would not survive the round trip is refused: fractions and exponents
(1.0 comes back as 1), integers beyond 2^53 - 1 (rounded), keys that look like array indices (moved to the front, §10.1.11.1), doubled
keys (the last one wins), lone surrogates (no UTF-8).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

MAX_SAFE_INTEGER: Final = (1 << 53) - 1
MAX_DEPTH: Final = 16
_INDEX: Final = re.compile(r"(0|[1-9][0-9]*)\Z", re.ASCII)


class NotPortableError(ValueError):
    """The JSON would not survive a JavaScript receiver, or is none."""


def parse(text: bytes) -> dict[str, Any]:
    """Read a JSON object that can be written portably.

    :raises NotPortableError: it is not one.
    """
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except NotPortableError:
        raise
    except (ValueError, RecursionError):
        raise NotPortableError("it is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise NotPortableError("it is not an object")
    _check(value, MAX_DEPTH)
    return value


def write(value: dict[str, Any]) -> bytes:
    """Write an object, its members in the order in which they stand. It may be one level deeper than what is read.

    :raises NotPortableError: something in it would not survive.
    """
    _check(value, MAX_DEPTH + 1)
    # Python escapes as QuoteJSONString does: \\b \\t \\n \\f \\r \\" \\\\, other controls \\u00xx in lower case, and nothing else.
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _check(value: object, depth: int) -> None:
    if depth < 0:
        raise NotPortableError(f"it is nested more than {MAX_DEPTH} deep")
    match value:
        case None | bool():
            pass
        case str():
            _check_text(value)
        case int():
            if abs(value) > MAX_SAFE_INTEGER:
                raise NotPortableError("a number lies beyond 2^53 - 1")
        case dict():
            for key, content in value.items():
                _check_key(key)
                _check(content, depth - 1)
        case list():
            for content in value:
                _check(content, depth - 1)
        case _:
            raise NotPortableError("a value is no text, whole number, truth value, null, list or object")


def _check_key(key: object) -> None:
    if not isinstance(key, str) or _INDEX.match(key):
        raise NotPortableError("a key looks like a number")
    _check_text(key)


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise NotPortableError("a text holds half of a surrogate pair")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotPortableError("a key stands twice in one object")
    return found


def _no_fraction(_: str) -> NoReturn:
    raise NotPortableError("a number is not written as a whole number")
