"""The time of webhooks: milliseconds since 1970, as people and other hosts count them."""

from __future__ import annotations

import time


def milliseconds() -> int:
    """Now."""
    return time.time_ns() // 1_000_000
