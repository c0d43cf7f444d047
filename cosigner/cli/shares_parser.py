"""Arguments that say where backups and further shares of a wallet go."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backups.locations import SYNTAX  # noqa: TID252


def add_new_shares(command: argparse.ArgumentParser) -> None:
    """What every command takes that replaces a wallet's shares: where the new backup and further shares go."""
    add_new_backup(command)
    command.add_argument(
        "--apart",
        action="append",
        default=[],
        metavar="LOCATION",
        help="where the share of party 3 goes, and of 4 and 5 if it is repeated",
    )
    command.add_argument(
        "--apart-passphrase-file",
        type=Path,
        metavar="FILE",
        help="holds the passphrase for them (default: ask on the terminal)",
    )


def add_new_backup(command: argparse.ArgumentParser) -> None:
    """Where a new backup of this device's share goes."""
    add_locations(command, "where the new backup goes")
    add_passcode(command)
    command.add_argument(
        "--passcode",
        action="store_true",
        help="the new backup has a passcode: ask for it on the terminal",
    )
    command.add_argument(
        "--no-backup", action="store_true", help="make no new backup; what there was is worthless then"
    )


def add_locations(command: argparse.ArgumentParser, meaning: str) -> None:
    """Add ``--location``."""
    command.add_argument(
        "--location",
        action="append",
        default=[],
        metavar="LOCATION",
        help=f"{meaning}; may be repeated. One of: {SYNTAX}",
    )


def add_passcode(command: argparse.ArgumentParser) -> None:
    """Add ``--passcode-file``."""
    command.add_argument(
        "--passcode-file",
        type=Path,
        metavar="FILE",
        help="holds the passcode of the backup (default: ask on the terminal where there is one)",
    )
