"""Arguments of ``cosigner audit log``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeVar

from .. import config  # noqa: TID252
from . import audit_logs
from .policies import moment

Parser = TypeVar("Parser", bound=argparse.ArgumentParser)


def add_audit_log(subparsers: argparse._SubParsersAction[Parser], common: Parser) -> None:
    """Add the command. Subcommands are of the class of ``common``, a parser without arguments."""
    common.add_argument("--json", action="store_true", help="print one JSON object")
    common.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILES",
        help="segments of the log, or folders with segments below",
    )
    log = subparsers.add_parser("log", help="verify and read the logs of decisions")
    commands = log.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_verify(commands, common)
    _add_show(commands, common)


def _add_verify(commands: argparse._SubParsersAction[Parser], common: Parser) -> None:
    verify = commands.add_parser(
        "verify",
        parents=[common],
        help="check that nothing in a log was altered, dropped or forked",
        description="Check signatures, numbers, links, times, evidence, and that every chain was signed by a key of an enclave that the trust "
        "policy accepts, judged at the time of its own document. Works offline, unless --live is given. Entries cut off the end of a "
        "chain are noticed only if a later chain, a receipt or the live enclave refers to them. Exit code 0: nothing was found, "
        "1: something was.",
    )
    verify.set_defaults(run=audit_logs.verify)
    trust = verify.add_mutually_exclusive_group()
    trust.add_argument(
        "--policy", type=Path, metavar="FILE", help="trust policy: the `trust` part of a client configuration"
    )
    trust.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"client configuration, for its trust policy (default: ${config.PATH_VARIABLE}, else {config.DEFAULT_PATH})",
    )
    verify.add_argument(
        "--receipt",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a receipt that must be in the log; may be repeated",
    )
    verify.add_argument(
        "--document",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="an archived attestation document: say so if its enclave has no chain in the log; may be repeated",
    )
    verify.add_argument(
        "--live",
        action="store_true",
        help="ask the running enclave for its newest entry, which must be in the log (needs a client configuration)",
    )


def _add_show(commands: argparse._SubParsersAction[Parser], common: Parser) -> None:
    show = commands.add_parser(
        "show",
        parents=[common],
        help="read a log",
        description="Show the entries of a log in the order of their times. Each entry's own signature is checked, and nothing else: "
        "see `cosigner audit log verify`.",
    )
    show.set_defaults(run=audit_logs.show)
    show.add_argument("--wallet", metavar="ID", help="only what is about this wallet")
    show.add_argument("--user", metavar="ID", help="only what this user asked for")
    show.add_argument("--denied", action="store_true", help="only what was denied")
    show.add_argument(
        "--since", type=moment, metavar="TIME", help="only from then on: UTC, 2026-01-31T12:00:00Z"
    )
