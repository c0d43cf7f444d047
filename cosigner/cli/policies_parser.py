"""Arguments of ``cosigner policy``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from policy.reading_rules import NETWORKS
from policy.rules import FACTORS, OPERATIONS, SIGNERS

from ..policies import CHAINS  # noqa: TID252
from . import policies
from .accounts_parser import add_layers

Parser = TypeVar("Parser", bound=argparse.ArgumentParser)


def add_policy(
    subparsers: argparse._SubParsersAction[Parser], common: Parser, acting: Sequence[argparse.ArgumentParser]
) -> None:
    """Add the command. Subcommands are of the class of ``common``, a parser without arguments.

    :param acting: what those take that ask the enclave.
    """
    common.add_argument("--json", action="store_true", help="print one JSON object")
    policy = subparsers.add_parser(
        "policy", help="check payloads against a policy offline; show policies, and replace them"
    )
    commands = policy.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_check(commands, common)
    add_layers(commands, acting)
    show = commands.add_parser(
        "show",
        parents=[common],
        help="explain a policy",
        description="Explain a policy in words, and print the hash that names it in receipts.",
    )
    show.add_argument("file", type=Path, metavar="FILE", help="the policy; - is standard input")
    show.add_argument("--canonical", action="store_true", help="print the canonical form instead")
    show.set_defaults(run=policies.policy_show)


def _add_check(commands: argparse._SubParsersAction[Parser], common: Parser) -> None:
    check = commands.add_parser(
        "check",
        parents=[common],
        help="decide whether a policy allows a payload, and say why",
        description="Decide offline, with the code that the enclave decides with, whether a policy allows a payload. "
        "Exit code 0: allowed, 1: denied, 2: there is nothing to decide.",
    )
    check.set_defaults(run=policies.policy_check)
    check.add_argument("file", type=Path, metavar="FILE", help="the policy; - is standard input")
    check.add_argument(
        "--against",
        type=Path,
        metavar="TX",
        help="what is to be signed, in the forms that `cosigner sign` takes; - is standard input",
    )
    check.add_argument("--chain", required=True, choices=sorted(CHAINS), help="the wallet's chain")
    check.add_argument(
        "--kind", default="tx", choices=("tx", "message", "typed-data"), help="what TX is, for Ethereum"
    )
    check.add_argument("--operation", default="sign", choices=OPERATIONS, help="what is done (default: sign)")
    check.add_argument(
        "--at", type=policies.moment, metavar="TIME", help="UTC, 2026-01-31T12:00:00Z (default: now)"
    )
    check.add_argument(
        "--usage", type=Path, metavar="FILE", help="what was used of rolling totals (default: nothing)"
    )
    check.add_argument(
        "--save-usage", type=Path, metavar="FILE", help="if allowed, write what is used afterwards to FILE"
    )
    check.add_argument(
        "--factor", action="append", default=[], choices=FACTORS, help="a verified factor; may be repeated"
    )
    check.add_argument(
        "--approved-by",
        action="append",
        default=[],
        metavar="ID",
        help="a credential that approved; may be repeated",
    )
    check.add_argument("--signer", default="user", choices=SIGNERS, help="whose share signs (default: user)")
    wallet = check.add_mutually_exclusive_group()
    wallet.add_argument("--wallet", metavar="ID", help="a wallet of this device: its key and network")
    wallet.add_argument(
        "--public-key",
        type=policies.public_key,
        metavar="HEX",
        help="the key that signs; Bitcoin needs it, Solana takes the fee payer otherwise",
    )
    check.add_argument("--network", default="mainnet", choices=NETWORKS, help="of Bitcoin (default: mainnet)")
    check.add_argument("--config", type=Path, metavar="FILE", help="client configuration, for --wallet")
    check.add_argument("--store", type=Path, metavar="DIR", help="where the shares are, for --wallet")
