"""Logging through an allow-list: an event has a fixed name, and only the fields named here leave the enclave."""

from __future__ import annotations

import json
import sys
import time
from typing import Final

_FIELDS: Final = frozenset(
    {"code", "culprit", "phase", "reaction", "environment", "count", "kind", "seconds"}
)


def event(name: str, **fields: str | float) -> None:
    """Write one line of JSON to standard error.

    :raises ValueError: a field that is not on the allow-list; that is a bug of the caller.
    """
    if not fields.keys() <= _FIELDS:
        msg = f"log fields not allowed: {sorted(fields.keys() - _FIELDS)}"
        raise ValueError(msg)
    line = json.dumps({"time": round(time.time(), 3), "event": name, **fields})
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
