"""The body of a request."""

from __future__ import annotations

import json
from typing import Final

from protocol.envelope.nesting import is_deep
from simulator.kms.errors import ApiError

_MAX_BRACKETS: Final = 4096


def json_object(body: bytes) -> dict[str, object]:
    """A JSON object. Raises ApiError."""
    if is_deep(body, _MAX_BRACKETS):
        raise ApiError("SerializationException", "the body is nested too deeply")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", "the body is not JSON") from error
    if not isinstance(value, dict):
        raise ApiError("SerializationException", "the body is not a JSON object")
    return value
