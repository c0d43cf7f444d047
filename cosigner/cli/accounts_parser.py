"""Arguments of the commands about users: login, sessions, credentials, second factors, recovery, approvals, policy layers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from policy.rules import LAYERS

from .. import mock_issuer  # noqa: TID252
from ..approvals import DEFAULT_LIFETIME  # noqa: TID252
from . import credentials, rules, sessions
from .delegations_parser import add_approvals
from .inputs import derivation_path

Parser = TypeVar("Parser", bound=argparse.ArgumentParser)
Parents = Sequence[argparse.ArgumentParser]
Subparsers = Any  # argparse names the class of what add_subparsers returns with a leading underscore

_CHAINS: Final = ("bitcoin", "ethereum", "solana")


def authorizing(make: Callable[..., Parser]) -> Parser:
    """What every command takes that acts as a user."""
    parser = make(add_help=False)
    group = parser.add_argument_group("who acts, and what vouches for it")
    group.add_argument("--user", metavar="ID", help="which user of this device (default: who logged in last)")
    group.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="a registered key, PEM: signs when the enclave asks for a credential",
    )
    group.add_argument(
        "--key-passphrase-file",
        type=Path,
        metavar="FILE",
        help="its passphrase (default: ask on the terminal)",
    )
    group.add_argument(
        "--code-file",
        type=Path,
        metavar="FILE",
        help="holds a TOTP or recovery code, for when the enclave asks for one; - is standard input (default: ask on the terminal)",
    )
    group.add_argument(
        "--approval",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="somebody's approval, from `cosigner approve`; may be repeated",
    )
    return parser


def add_accounts(subparsers: Subparsers, parents: Parents) -> None:
    """Add the commands about users."""
    _add_sessions(subparsers, parents)
    _add_credentials(subparsers, parents)
    _add_totp(subparsers, parents)
    _add_recovery(subparsers, parents)
    _add_approve(subparsers, parents)


def add_hand_over(wallets: Subparsers, parents: Parents) -> None:
    """Add ``cosigner wallet hand-over``."""
    hand_over = wallets.add_parser(
        "hand-over",
        parents=parents,
        help="make a custodial wallet its end user's, for good",
        description="Hand a wallet of a service account over to its end user. From then on that user alone can use it. There is no way back.",
    )
    hand_over.add_argument("wallet", metavar="ID", help="the wallet's id")
    hand_over.add_argument("--to", required=True, metavar="USER", help="the end user's id")
    hand_over.add_argument("--yes", action="store_true", help="yes, for good")
    hand_over.set_defaults(run=credentials.wallet_hand_over)


def add_layers(policies: Subparsers, parents: Parents) -> None:
    """Add ``cosigner policy get`` and ``set``."""
    get = policies.add_parser(
        "get",
        parents=parents,
        help="show a layer that is in force in the enclave",
        description="Show a layer of the policy that is in force in the enclave, in words.",
    )
    get.add_argument("--canonical", action="store_true", help="print the canonical form instead")
    get.set_defaults(run=rules.policy_get)
    replace = policies.add_parser(
        "set",
        parents=parents,
        help="replace a layer in the enclave",
        description="Replace a layer of the policy. The environment's is replaced with its administrators' approvals (--approval).",
    )
    content = replace.add_mutually_exclusive_group(required=True)
    content.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="the layer, or a policy that has it; - is standard input",
    )
    content.add_argument("--remove", action="store_true", help="take the layer away")
    replace.set_defaults(run=rules.policy_set)
    for command in (get, replace):
        _layer(command)


def _layer(command: argparse.ArgumentParser) -> None:
    command.add_argument("--layer", required=True, choices=LAYERS, help="which layer")
    command.add_argument(
        "--subject",
        default="",
        metavar="ID",
        help="the user's id (account), the wallet's id (wallet) or WALLET:USER (signer)",
    )


def _add_sessions(subparsers: Subparsers, parents: Parents) -> None:
    login = subparsers.add_parser(
        "login",
        parents=parents,
        help="log in: register a session key of this device under a JWT",
        description="Make a session key on this device and register it with the enclave under a JWT of an issuer that the environment "
        "trusts. Against the mock stack the token comes from its issuer by itself.",
    )
    login.add_argument(
        "--token",
        type=Path,
        metavar="FILE",
        help="file that holds the JWT; - is standard input (default: ask)",
    )
    login.add_argument(
        "--as",
        dest="as_user",
        default=mock_issuer.DEFAULT_SUBJECT,
        metavar="NAME",
        help="mock stack only: whom the token is for (default: %(default)s)",
    )
    login.set_defaults(run=sessions.login)
    logout = subparsers.add_parser(
        "logout",
        parents=parents,
        help="revoke this device's session key",
        description="Revoke this device's session key with the enclave, and remove it from this device. Shares stay.",
    )
    logout.set_defaults(run=sessions.logout)
    whoami = subparsers.add_parser(
        "whoami",
        parents=parents,
        help="show the account as the enclave has it",
        description="Show what the enclave keeps of this user: logins, credentials, second factors, what is under way.",
    )
    whoami.set_defaults(run=sessions.whoami)
    session = subparsers.add_parser(
        "session", help="list and revoke session keys, those of other devices too"
    )
    commands = session.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = commands.add_parser(
        "list",
        parents=parents,
        help="list the user's session keys",
        description="List the user's session keys.",
    )
    listing.set_defaults(run=sessions.session_list)
    revoke = commands.add_parser(
        "revoke",
        parents=parents,
        help="end sessions at once",
        description="Revoke session keys: sessions opened with them end at once. Without KEY all but this device's are revoked, and tokens "
        "issued so far log nobody in any more.",
    )
    revoke.add_argument(
        "session_key",
        nargs="*",
        metavar="KEY",
        help="hexadecimal, or the beginning of it (`cosigner session list`)",
    )
    revoke.set_defaults(run=sessions.session_revoke)


def _add_credentials(subparsers: Subparsers, parents: Parents) -> None:
    credential = subparsers.add_parser("credential", help="passkeys and keys that vouch for actions")
    commands = credential.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = commands.add_parser(
        "list", parents=parents, help="list them", description="List the user's passkeys and keys."
    )
    listing.set_defaults(run=credentials.credential_list)
    add = commands.add_parser(
        "add",
        parents=parents,
        help="register a key",
        description="Register a key. The first needs the login alone; further ones a registered key (--key), or a device code that was made "
        "where one is at hand. Passkeys are registered by applications, through the SDK.",
    )
    add.add_argument("--name", required=True, help="what you call it")
    _registering(add)
    add.add_argument(
        "--device-code", action="store_true", help="with a one-time code from another device; asks for it"
    )
    add.add_argument(
        "--device-code-file",
        type=Path,
        metavar="FILE",
        help="file that holds the device code; - is standard input",
    )
    add.set_defaults(run=credentials.credential_add)
    texts = {
        "rename": ("give one another name", credentials.credential_rename),
        "activate": ("let one vouch again", credentials.credential_activate),
        "deactivate": ("let one vouch no more; the last one stays", credentials.credential_deactivate),
        "remove": ("remove one for good; the last one stays", credentials.credential_remove),
    }
    for name, (text, run) in texts.items():
        command = commands.add_parser(
            name, parents=parents, help=text, description=f"{text[0].upper()}{text[1:]}."
        )
        command.add_argument(
            "credential", metavar="CREDENTIAL", help="its name, or its id or the beginning of that"
        )
        if name == "rename":
            command.add_argument("--name", required=True, help="the new name")
        command.set_defaults(run=run)
    code = commands.add_parser(
        "code",
        parents=parents,
        help="make a one-time code for registering a credential on another device",
        description="Make a one-time code with which another device of this user, logged in, registers one credential within ten minutes.",
    )
    code.set_defaults(run=credentials.credential_code)


def _registering(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--new-key", type=Path, metavar="FILE", help="make an Ed25519 key, and write it to FILE"
    )
    which.add_argument(
        "--register", type=Path, metavar="FILE", help="an existing key: Ed25519, P-256 or RSA, PEM (PKCS #8)"
    )
    command.add_argument(
        "--new-key-passphrase-file",
        type=Path,
        metavar="FILE",
        help="passphrase of the key's file (default: ask on the terminal)",
    )


def _add_totp(subparsers: Subparsers, parents: Parents) -> None:
    totp = subparsers.add_parser("totp", help="codes from an authenticator app as a second factor")
    commands = totp.add_subparsers(title="commands", required=True, metavar="COMMAND")
    enable = commands.add_parser(
        "enable",
        parents=parents,
        help="put TOTP in force",
        description="Make a TOTP secret, show it for the authenticator app, and put it in force once the app's code is given. Prints "
        "recovery codes.",
    )
    enable.add_argument(
        "--confirm-file",
        type=Path,
        metavar="FILE",
        help="holds the app's code by the time it is asked for; - is standard input (default: ask on the terminal)",
    )
    enable.set_defaults(run=credentials.totp_enable)
    disable = commands.add_parser(
        "disable", parents=parents, help="turn TOTP off", description="Turn TOTP off."
    )
    disable.set_defaults(run=credentials.totp_disable)
    codes = commands.add_parser(
        "codes",
        parents=parents,
        help="make new recovery codes",
        description="Make new recovery codes, each good once in place of a TOTP code. The earlier ones are void.",
    )
    codes.set_defaults(run=credentials.totp_codes)


def _add_recovery(subparsers: Subparsers, parents: Parents) -> None:
    recovery = subparsers.add_parser("recovery", help="a key kept offline, for when every credential is lost")
    commands = recovery.add_subparsers(title="commands", required=True, metavar="COMMAND")
    key = commands.add_parser(
        "key",
        parents=parents,
        help="make a recovery key",
        description="Make a recovery key, write it to a file to be kept offline, and register its public half.",
    )
    target = key.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="FILE", help="where to write the key")
    target.add_argument("--remove", action="store_true", help="take the registered one away instead")
    key.set_defaults(run=credentials.recovery_key)
    start = commands.add_parser(
        "start",
        parents=parents,
        help="recover: replace everything by one new key",
        description="Replace all credentials, session keys and second factors of a user (--user) by one new key, and log this device in. "
        "Needs no login. Where the environment has a time lock, this starts it.",
    )
    start.add_argument("--recovery-key", type=Path, required=True, metavar="FILE", help="the recovery key")
    start.add_argument("--name", default="recovered", help="what you call the new key (default: %(default)s)")
    _registering(start)
    start.set_defaults(run=credentials.recovery_start)
    finish = commands.add_parser(
        "finish",
        parents=parents,
        help="complete a recovery after its time lock",
        description="Complete the recovery of a user (--user) that this device began, once its time lock is over.",
    )
    finish.set_defaults(run=credentials.recovery_finish)
    cancel = commands.add_parser(
        "cancel",
        parents=parents,
        help="stop a recovery that is not yours",
        description="Stop a recovery that waits for its time lock. Needs one of the user's credentials.",
    )
    cancel.set_defaults(run=credentials.recovery_cancel)
    for command in (key, start):
        command.add_argument(
            "--recovery-passphrase-file",
            type=Path,
            metavar="FILE",
            help="passphrase of the recovery key's file (default: ask on the terminal)",
        )


def _add_approve(subparsers: Subparsers, parents: Parents) -> None:
    approve = subparsers.add_parser("approve", help="approve what somebody else is going to ask for")
    commands = approve.add_subparsers(title="commands", required=True, metavar="COMMAND")
    signing = commands.add_parser(
        "signing",
        parents=parents,
        help="approve that a payload is signed",
        description="Approve, once, that a wallet signs exactly this payload. The approval is signed by a key (--key).",
    )
    signing.add_argument("file", type=Path, metavar="FILE", help="what is to be signed; - is standard input")
    signing.add_argument("--wallet", required=True, metavar="ID", help="the wallet that is to sign")
    signing.add_argument("--chain", required=True, choices=_CHAINS, help="the wallet's chain")
    signing.add_argument(
        "--kind", default="tx", choices=("tx", "message", "typed-data"), help="what FILE is, for Ethereum"
    )
    signing.add_argument(
        "--path",
        type=derivation_path,
        default=(),
        metavar="PATH",
        help="path below the wallet's key, such as 0/5",
    )
    signing.set_defaults(run=rules.approve_signing)
    layer = commands.add_parser(
        "policy",
        parents=parents,
        help="approve that a layer is replaced",
        description="Approve, once, that a layer of the policy is replaced by this one.",
    )
    layer.add_argument("file", type=Path, metavar="FILE", help="the new layer, or a policy that has it")
    _layer(layer)
    layer.add_argument(
        "--replaces",
        required=True,
        metavar="HASH",
        help="hash of the layer that is replaced (`cosigner policy get`); 64 zeros if there is none",
    )
    layer.set_defaults(run=rules.approve_policy)
    for command in (signing, layer, *add_approvals(commands, parents)):
        command.add_argument(
            "--administrator",
            metavar="NAME",
            help="approve as this administrator of the environment; needs no login",
        )
        command.add_argument(
            "--out", type=Path, required=True, metavar="FILE", help="where to write the approval"
        )
        command.add_argument(
            "--lifetime",
            type=float,
            default=DEFAULT_LIFETIME,
            metavar="SECONDS",
            help="how long it is good (default: a day; at most a week)",
        )
