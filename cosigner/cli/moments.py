"""Moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def when(milliseconds: int) -> str:
    """A moment, UTC, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
