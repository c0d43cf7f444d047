"""What the host may know of how much is done: numbers, and nothing about whom."""

from __future__ import annotations

from typing import Literal

Counter = Literal[
    "records",
    "refused",
    "sessions_opened",
    "wallets_created",
    "signed",
    "logins",
    "denied",
    "denied_unlogged",
]
Counters = dict[Counter, int]


def new_counters() -> Counters:
    """All of them at zero."""
    return {
        "records": 0,
        "refused": 0,
        "sessions_opened": 0,
        "wallets_created": 0,
        "signed": 0,
        "logins": 0,
        "denied": 0,
        "denied_unlogged": 0,
    }
