"""JSON without surprises: one value per text (RFC 8259), bounded in size and depth, no key twice, no unknown field.

Two readers of one policy file must never see two policies. What Python's reader lets pass beyond the standard (NaN,
Infinity, repeated keys, a byte order mark) is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 32
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)

CODES: Final[dict[str, str]] = {
    "file_too_large": "the file is longer than its kind may be",
    "json_malformed": "not one JSON object in UTF-8, nested too deeply, or with a key twice",
    "version_unknown": "the file's version is not one that this program knows",
    "field_missing": "a required field is absent",
    "field_unknown": "a field that this kind of file does not have",
    "field_invalid": "a field's value is not of the form that the field has",
}


class FileError(ValueError):
    """A file that is not what it should be. `code` is a key of `CODES`, stable; `message` one line for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        if code not in CODES:
            raise KeyError(code)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def parse_object(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Parse `raw`, whose outermost value must be an object.

    Raises FileError.
    """
    if len(raw) > max_bytes:
        raise FileError("file_too_large", f"longer than {max_bytes} bytes")
    # Before anything recursive reads it: the interpreter's own limit can be raised by anybody.
    _check_depth(raw)
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except FileError:
        raise
    except UnicodeDecodeError as error:
        raise FileError("json_malformed", "not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise FileError("json_malformed", f"not JSON ({error})") from error
    if type(value) is not dict:
        raise FileError("json_malformed", "not a JSON object")
    return value


def expect_fields(
    where: str, value: object, *, required: frozenset[str], optional: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """`value`, if it is an object with all of the required fields and no other than these.

    Raises FileError.
    """
    if type(value) is not dict:
        raise FileError("field_invalid", f"{where} is not an object")
    for name in sorted(required - value.keys()):
        raise FileError("field_missing", f"{where} has no field {name}")
    for name in sorted(value.keys() - required - optional):
        raise FileError("field_unknown", f"{where} has a field that it cannot have: {name[:40]!a}")
    return value


def expect_version(value: object, known: int) -> None:
    """Raises FileError unless `value` is the integer `known`."""
    if type(value) is not int or value != known:
        raise FileError("version_unknown", f"version is not {known}")


def _check_depth(raw: bytes) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(raw):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise FileError("json_malformed", f"nested more than {MAX_DEPTH} deep")
        elif token in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FileError("json_malformed", "an object has a key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise FileError("json_malformed", f"{name} is not JSON")
