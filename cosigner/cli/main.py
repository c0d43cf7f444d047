"""Arguments, exit codes, and nothing else: 0 done, 1 refused (with a stable code) or an audit that found a difference, 2 wrong usage, 130
interrupted. Of ``policy check``: 0 allowed, 1 denied, 2 not decided.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy import PolicyError
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from threshold import PayloadError, ThresholdError

from .. import config  # noqa: TID252
from . import commands, sessions
from .accounts_parser import add_accounts, authorizing
from .audit_logs_parser import add_audit_log
from .delegations_parser import add_delegate
from .inputs import derivation_path
from .output import Output
from .policies_parser import add_policy
from .wallets_parser import add_recover_offline, add_share_files, add_wallet

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    output = Output(as_json=options.json)
    try:
        code: int | None = asyncio.run(options.run(options, output))
    except CosignerError as error:
        output.error(error)
        return 1
    except PayloadError as error:
        output.error(CosignerError(error.code, str(error), culprit=Culprit.CLIENT))
        return 1
    except PolicyError as error:
        where = f"{error.field}: " if error.field else ""
        output.error(CosignerError(error.code, where + error.message, culprit=Culprit.CLIENT))
        return 1
    except ThresholdError as error:
        # An identifier names the party whose bytes were refused; anything else happened on this side.
        culprit = Culprit.ENCLAVE if isinstance(error.culprit, int) else Culprit.CLIENT
        output.error(
            CosignerError(error.code, str(error), culprit=culprit, reaction=Reaction(error.reaction))
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code or 0


class _Parser(argparse.ArgumentParser):
    """Options are written in full: an abbreviation of --passphrase-file must not take a passphrase. Subcommands inherit this."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  (passed on)
        super().__init__(allow_abbrev=False, **kwargs)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cosigner",
        description="Wallets whose key is shared between this device and an attested AWS Nitro enclave.",
        epilog="Start a mock stack with `make stack`; then `cosigner attest`, `cosigner login` and `cosigner wallet create --chain solana`.",
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    everywhere = _common()
    acting = [everywhere, _unlocking(), authorizing(_Parser)]

    attest = subparsers.add_parser(
        "attest",
        parents=[everywhere],
        help="verify the enclave",
        description="Fetch the enclave's attestation document, verify it under the trust policy, and show it.",
    )
    attest.set_defaults(run=commands.attest)

    add_accounts(subparsers, acting)
    add_wallet(subparsers, acting)
    add_recover_offline(subparsers, [everywhere, _unlocking()])
    add_delegate(subparsers, acting)
    _add_sign(subparsers, acting)

    audit = subparsers.add_parser("audit", help="check what runs against what it should be")
    audits = audit.add_subparsers(title="commands", required=True, metavar="COMMAND")
    rebuild = audits.add_parser(
        "rebuild",
        parents=[everywhere],
        help="compare the running enclave with a rebuild of its image",
        description="Compare the PCRs in the enclave's attestation document, verified under the trust policy, with those of an image "
        "that was built here from source. Exit code 0 if all are the same, 1 if not.",
    )
    rebuild.add_argument(
        "--measurements",
        type=Path,
        default=Path("build/eif/measurements.json"),
        metavar="FILE",
        help="what `make eif` wrote beside the image (default: build/eif/measurements.json)",
    )
    rebuild.set_defaults(run=commands.audit_rebuild)
    add_audit_log(audits, _Parser(add_help=False))
    receipts = audits.add_parser(
        "receipts",
        parents=[everywhere],
        help="list the receipts that this device keeps",
        description="List the files of the enclave's signed receipts for this device's actions, allowed and denied, oldest first. "
        "`cosigner audit log verify --receipt FILE` looks for them in a log.",
    )
    receipts.add_argument("--about", metavar="ID", help="only those about this wallet or user")
    receipts.set_defaults(run=sessions.receipts)
    add_policy(subparsers, _Parser(add_help=False), acting)

    demo = subparsers.add_parser(
        "demo",
        help="run the whole way once against a mock stack of its own",
        description="Start a mock stack in a temporary directory, verify its attestation, log in, register a (virtual) passkey, create a "
        "wallet for every suite, sign a real transaction with each under the environment's policy, show a refusal and a step-up, have "
        "independent libraries check the signatures, verify the receipts and the log offline, and stop the stack.",
    )
    demo.add_argument("--json", action="store_true", help="print one JSON object")
    demo.set_defaults(run=commands.demo)
    return parser


def _add_sign(subparsers: argparse._SubParsersAction[_Parser], acting: list[_Parser]) -> None:
    sign = subparsers.add_parser("sign", help="sign a transaction together with the enclave")
    signs = sign.add_subparsers(title="commands", required=True, metavar="COMMAND")
    solana = signs.add_parser(
        "solana",
        parents=acting,
        help="sign a Solana message",
        description="Sign a serialized Solana message (legacy or version 0), given as base64, hexadecimal or binary; or with --text "
        "a text as it is, as a wallet adapter's signMessage does.",
    )
    solana.add_argument("--text", action="store_true", help="FILE is a text, not a transaction")
    solana.set_defaults(run=commands.sign_solana)
    bitcoin = signs.add_parser(
        "bitcoin",
        parents=acting,
        help="sign a PSBT",
        description="Sign every Taproot key-path input of a PSBT (version 0, binary or base64) that belongs to the wallet.",
    )
    bitcoin.add_argument("--out", type=Path, metavar="FILE", help="write the signed PSBT (binary) to FILE")
    bitcoin.set_defaults(run=commands.sign_bitcoin)
    evm = signs.add_parser("evm", help="sign for Ethereum and other EVM chains")
    evms = evm.add_subparsers(title="commands", required=True, metavar="COMMAND")
    transaction = evms.add_parser(
        "tx",
        parents=acting,
        help="sign a transaction",
        description="Sign a transaction of types 0 to 4: a JSON object as eth_account and web3.py take it (without "
        "`from`), or the unsigned transaction as hexadecimal text.",
    )
    transaction.set_defaults(run=commands.sign_evm_transaction)
    message = evms.add_parser(
        "message",
        parents=acting,
        help="sign a message (personal_sign)",
        description="Sign the bytes of FILE as a message (EIP-191, version E).",
    )
    message.set_defaults(run=commands.sign_evm_message)
    typed_data = evms.add_parser(
        "typed-data",
        parents=acting,
        help="sign typed data (EIP-712)",
        description="Sign typed data: a JSON object as eth_signTypedData_v4 takes it.",
    )
    typed_data.set_defaults(run=commands.sign_evm_typed_data)
    for command in (bitcoin, transaction, message, typed_data):
        command.add_argument(
            "--path",
            type=derivation_path,
            default=(),
            metavar="PATH",
            help="unhardened path below the wallet's key, such as 0/5 (default: the wallet's own key)",
        )
    for command in (solana, bitcoin, transaction, message, typed_data):
        command.add_argument("--wallet", required=True, metavar="ID", help="the wallet's id")
        add_share_files(
            command,
            "--offline",
            "sign without the service: with this device's share, and with the one in FILE",
        )
        command.add_argument("file", type=Path, metavar="FILE", help="what to sign; - is standard input")


def _common() -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"client configuration (default: ${config.PATH_VARIABLE}, else {config.DEFAULT_PATH})",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="where the shares are (default: `shares` beside the configuration)",
    )
    return parser


def _unlocking() -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="file that holds the passphrase of the share store (default: ask on the terminal)",
    )
    return parser
