"""What the host may know of how much is done: numbers, and nothing about whom."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "records",
    "refused",
    "sessions_opened",
    "wallets_created",
    "wallets_imported",
    "wallets_retired",
    "reshares",  # committed: refreshes, reshares, recoveries
    "exports",
    "backups_proved",
    "backups_opened",
    "signed",
    "logins",
    "recoveries_asked",  # also those that a time lock still holds up: what operators tell users of
    "recoveries",
    "delegations",
    "delegations_revoked",
    "delegate_logins",
    "denied",
    "denied_unlogged",
)
Counters = dict[str, int]


def new_counters() -> Counters:
    """All of them at zero."""
    return dict.fromkeys(NAMES, 0)
