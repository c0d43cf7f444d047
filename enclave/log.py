"""Logging through an allow-list: an event has a fixed name, and only the fields named here leave the enclave."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from typing import Any, Final

_FIELDS: Final = frozenset(
    {"code", "culprit", "phase", "reaction", "environment", "count", "kind", "seconds"}
)


def silence_libraries() -> None:
    """Let no library write to standard error by itself: its words could hold anything. To be called inside the event loop."""
    logging.lastResort = None
    asyncio.get_running_loop().set_exception_handler(_unhandled)


def _unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    event("unhandled", kind=type(context.get("exception")).__name__)


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
