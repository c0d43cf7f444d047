"""Arguments of ``cosigner delegate``, and of the approvals that its administrators give."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from policy.reading_limits import MAX_COUNT

from . import delegations
from .shares_parser import add_new_shares

Parents = Sequence[argparse.ArgumentParser]
Subparsers = Any  # argparse names the class of what add_subparsers returns with a leading underscore


def add_delegate(subparsers: Subparsers, parents: Parents) -> None:
    """Add the command."""
    delegate = subparsers.add_parser("delegate", help="let an app sign for you, within limits, until revoked")
    commands = delegate.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_users(commands, parents)
    _add_operators(commands, parents)


def add_approvals(commands: Subparsers, parents: Parents) -> list[argparse.ArgumentParser]:
    """Add what administrators approve of delegated access to ``cosigner approve``."""
    settings = _command(
        commands,
        parents,
        "delegation-settings",
        delegations.approve_settings,
        "approve settings of delegated access",
    )
    settings.add_argument("file", type=Path, metavar="FILE", help="the settings, JSON; - is standard input")
    revocation = _command(
        commands,
        parents,
        "delegation-revocation",
        delegations.approve_revocation,
        "approve that a delegation ends",
    )
    _which(revocation)
    ping = _command(
        commands, parents, "delegation-ping", delegations.approve_ping, "approve that the webhook is pinged"
    )
    return [settings, revocation, ping]


def _add_users(commands: Subparsers, parents: Parents) -> None:
    approve = _command(
        commands,
        parents,
        "approve",
        delegations.delegate_approve,
        "give the environment's app a share of its own",
        "Let the environment's app sign for a wallet, within limits, until it expires or is revoked. The app gets a share of its own, "
        "encrypted to its developer; this device gets a new one. The address stays.",
    )
    approve.add_argument("wallet", metavar="WALLET", help="the wallet's id")
    approve.add_argument(
        "--days", type=_days, default=30, metavar="N", help="for how long (default: %(default)s)"
    )
    approve.add_argument("--max-per-call", metavar="AMOUNT", help="per transaction, in ETH, SOL or BTC")
    approve.add_argument("--total", metavar="AMOUNT", help="within --window")
    approve.add_argument("--window", default="24h", metavar="TIME", help="of --total (default: %(default)s)")
    approve.add_argument(
        "--max-signatures", type=_signatures, metavar="N", help="sign so often within --signatures-window"
    )
    approve.add_argument(
        "--signatures-window",
        default="24h",
        metavar="TIME",
        help="of --max-signatures (default: %(default)s)",
    )
    approve.add_argument(
        "--address", action="append", default=[], metavar="ADDRESS", help="only to this one; may be repeated"
    )
    approve.add_argument(
        "--chain-id",
        type=int,
        action="append",
        default=[],
        metavar="ID",
        help="only there (EVM); may be repeated",
    )
    approve.add_argument(
        "--rules", type=Path, metavar="FILE", help="in place of these: a policy's layer `signer`, JSON"
    )
    add_new_shares(approve)
    listing = _command(commands, parents, "list", delegations.delegate_list, "list a wallet's delegations")
    listing.add_argument("wallet", metavar="WALLET", help="the wallet's id")
    revoke = _command(
        commands,
        parents,
        "revoke",
        delegations.delegate_revoke,
        "end a delegation, at once",
        "End a delegation. The enclave destroys the share that the app signs with, and the app is told.",
    )
    _which(revoke)
    revoke.add_argument(
        "--administrator",
        action="store_true",
        help="of any user's wallet, with the administrators' approvals (--approval)",
    )
    tighten = _command(
        commands,
        parents,
        "tighten",
        delegations.delegate_tighten,
        "set further limits",
        "Set limits that hold beside those that were approved. They never allow more.",
    )
    _which(tighten)
    tighten.add_argument("rules", type=Path, metavar="FILE", help="a policy's layer `signer`, JSON")
    tighten.add_argument("--days", type=_days, metavar="N", help="end it so many days after it was approved")
    deny = _command(commands, parents, "deny", delegations.delegate_deny, "tell apps not to ask you")
    deny.add_argument("--undo", action="store_true", help="they may ask again")


def _add_operators(commands: Subparsers, parents: Parents) -> None:
    _command(commands, parents, "settings", delegations.delegate_settings, "show the environment's settings")
    configure = _command(
        commands,
        parents,
        "configure",
        delegations.delegate_configure,
        "replace the environment's settings",
        "Replace the settings, with the administrators' approvals (`cosigner approve delegation-settings`, --approval).",
    )
    configure.add_argument("file", type=Path, metavar="FILE", help="the settings, JSON; - is standard input")
    configure.add_argument("--new-secret", action="store_true", help="make another webhook secret")
    configure.add_argument(
        "--secret-out",
        type=Path,
        default=Path("webhook-secret.txt"),
        metavar="FILE",
        help="where a new webhook secret is written (default: %(default)s)",
    )
    _command(commands, parents, "ping", delegations.delegate_ping, "have `ping` sent to the app's endpoint")
    keygen = _command(
        commands,
        parents,
        "keygen",
        delegations.delegate_keygen,
        "make a developer's encryption key",
        "Make the key pair that shares are encrypted to. Nothing is sent anywhere; the private key stays in the file.",
    )
    keygen.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where the private key goes, PEM"
    )


def _command(
    commands: Subparsers,
    parents: Parents,
    name: str,
    run: Callable[..., object],
    *text: str,
) -> argparse.ArgumentParser:
    """:param text: what it does, in few words, and then in more."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, parents=parents, help=text[0], description=text[-1][0].upper() + text[-1][1:].rstrip(".") + "."
    )
    command.set_defaults(run=run)
    return command


def _which(command: argparse.ArgumentParser) -> None:
    command.add_argument("wallet", metavar="WALLET", help="the wallet's id")
    command.add_argument("delegation", metavar="ID", help="the delegation's id, of `cosigner delegate list`")


def _signatures(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"1 to {MAX_COUNT} signatures")
    return count


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 3660:  # noqa: PLR2004  (ten years)
        raise argparse.ArgumentTypeError("1 to 3660 days")
    return days
