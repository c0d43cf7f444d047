"""Read members of a JSON request with the types that the KMS API gives them. All raise ApiError."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from simulator.kms.errors import ApiError

Body = Mapping[str, object]


def text(body: Body, name: str) -> str:
    """A required string."""
    value = optional_text(body, name)
    if value is None:
        raise ApiError("ValidationException", f"Value null at '{name}' failed: Member must not be null")
    return value


def optional_text(body: Body, name: str) -> str | None:
    """A string, or None when absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong_type(name)
    return value


def optional_number(body: Body, name: str, *, least: int, most: int) -> int | None:
    """An integer within bounds, or None when absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise _wrong_type(name)
    if not least <= value <= most:
        raise ApiError("ValidationException", f"Value at '{name}' must be between {least} and {most}")
    return value


def flag(body: Body, name: str) -> bool:
    """A boolean; false when absent."""
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise _wrong_type(name)
    return value


def blob(body: Body, name: str, *, least: int, most: int) -> bytes:
    """Required bytes in base64, their length within bounds."""
    try:
        value = base64.b64decode(text(body, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong_type(name) from error
    if not least <= len(value) <= most:
        raise ApiError("ValidationException", f"Value at '{name}' must have length {least} to {most}")
    return value


def member(body: Body, name: str) -> Body | None:
    """A JSON object, or None when absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise _wrong_type(name)
    return value


def string_map(body: Body, name: str) -> dict[str, str]:
    """An object of strings; empty when absent or null."""
    strings: dict[str, str] = {}
    for key, value in (member(body, name) or {}).items():
        if not isinstance(value, str):
            raise _wrong_type(name)
        strings[key] = value
    return strings


def strings(body: Body, name: str) -> list[str]:
    """A list of strings; empty when absent or null."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong_type(name)
    return value


def _wrong_type(name: str) -> ApiError:
    return ApiError("SerializationException", f"{name} has the wrong type")
