"""JSON without surprises: one value per text (RFC 8259), bounded in size and depth, no key twice.

Two readers of one policy file must never see two policies. What Python's reader lets pass beyond the standard
(NaN, Infinity, repeated keys, a byte order mark) is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 32
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


class JsonError(ValueError):
    """The text is not one strict JSON object."""


def parse_object(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Parse `raw` (UTF-8), whose outermost value must be an object.

    Raises JsonError.
    """
    if len(raw) > max_bytes:
        raise JsonError(f"longer than {max_bytes} bytes")
    # Before anything recursive reads it: the interpreter's own limit can be raised by anybody.
    _check_depth(raw)
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError("not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise JsonError(f"not JSON: {error}") from error
    if type(value) is not dict:
        raise JsonError("not an object")
    return value


def _check_depth(raw: bytes) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(raw):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonError(f"nested more than {MAX_DEPTH} deep")
        elif token in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("an object has a key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not JSON")
