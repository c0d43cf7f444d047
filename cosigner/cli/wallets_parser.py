"""Arguments of ``cosigner wallet`` and ``cosigner recover-offline``."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from protocol.chains import CHAINS
from threshold.device import EXPORT_FORMATS

from . import commands, renewals, whole_keys
from .accounts_parser import add_hand_over
from .inputs import derivation_path
from .shares_parser import add_locations, add_new_backup, add_new_shares, add_passcode

Parents = Sequence[argparse.ArgumentParser]
Subparsers = Any  # argparse names the class of what add_subparsers returns with a leading underscore
Run = Callable[..., Awaitable[int | None]]

_FORMATS: Final = sorted({form for forms in EXPORT_FORMATS.values() for form in forms})


def add_wallet(subparsers: Subparsers, parents: Parents) -> None:
    """Add ``cosigner wallet``."""
    wallet = subparsers.add_parser(
        "wallet", help="create, show, renew, back up, recover, import, export, delete"
    )
    wallets = wallet.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_making(wallets, parents)
    _add_showing(wallets, parents)
    _add_renewing(wallets, parents)
    _add_backups(wallets, parents)
    _add_whole_keys(wallets, parents)
    add_hand_over(wallets, parents)


def add_recover_offline(subparsers: Subparsers, parents: Parents) -> None:
    """Add ``cosigner recover-offline``."""
    recover = _command(
        subparsers,
        "recover-offline",
        whole_keys.recover_offline,
        parents,
        summary="put a key together from two shares, without the service",
        description="Put a wallet's private key together from two of its shares, on this device, with no service and no connection: this device's own "
        "share (--wallet) and one from a file (--share-file), or two from files. Both must be of the same epoch.",
    )
    recover.add_argument(
        "--wallet", metavar="ID", help="a wallet of this device, whose share is one of the two"
    )
    add_share_files(
        recover,
        "--share-file",
        "a share that lay apart, or that `wallet export --share` wrote; may be repeated",
    )
    _add_key_output(recover)


def add_share_files(parser: argparse.ArgumentParser, name: str, meaning: str) -> None:
    """Options for files with a share under a passphrase."""
    parser.add_argument(
        name, dest="share_file", type=Path, action="append", default=[], metavar="FILE", help=meaning
    )
    parser.add_argument(
        f"{name}-passphrase-file" if name != "--share-file" else "--share-passphrase-file",
        dest="share_passphrase_file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="holds its passphrase; once for all of them, or once for each (default: ask on the terminal)",
    )


def _add_making(wallets: Subparsers, parents: Parents) -> None:
    create = _command(
        wallets,
        "create",
        commands.wallet_create,
        parents,
        summary="create a wallet",
        description="Create a 2-of-2 wallet by distributed key generation with the enclave.",
    )
    _add_chain(create)
    imported = _command(
        wallets,
        "import",
        whole_keys.wallet_import,
        parents,
        summary="split a key that exists already",
        description="Split a private key between this device and the enclave; the address stays. The key is read from a file or the terminal, never from "
        "an argument. Both shares are renewed right afterwards, because this device knew the enclave's.",
    )
    _add_chain(imported)
    imported.add_argument(
        "--from",
        dest="source",
        choices=whole_keys.SOURCES,
        default="hex",
        help="what is read: a private key in hexadecimal (for Solana its seed), a BIP-39 phrase, a Solana key pair file, or WIF "
        "(default: hex)",
    )
    imported.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="holds it; - is standard input (default: ask on the terminal)",
    )
    imported.add_argument(
        "--path",
        metavar="PATH",
        help="of a phrase: the derivation path (default: the first address of most wallets)",
    )
    imported.add_argument(
        "--phrase-passphrase-file",
        type=Path,
        metavar="FILE",
        help="holds the phrase's BIP-39 passphrase, if it has one",
    )
    imported.add_argument(
        "--legacy-id", default="", metavar="ID", help="what the wallet was called where it lived whole"
    )
    add_new_backup(imported)
    imported.add_argument(
        "--wipe", action="store_true", help="overwrite and remove FILE afterwards, as far as that reaches"
    )


def _add_showing(wallets: Subparsers, parents: Parents) -> None:
    listing = _command(
        wallets,
        "list",
        commands.wallet_list,
        parents,
        summary="list the wallets of this device",
        description="List the wallets whose shares this device holds. Needs no passphrase unless --resume or --all is given.",
    )
    listing.add_argument(
        "--resume",
        action="store_true",
        help="settle wallets whose creation, recovery or renewal was interrupted, with the enclave",
    )
    listing.add_argument(
        "--all",
        action="store_true",
        help="ask the enclave, too: backups, when a refresh is due, and wallets that this device has no share of",
    )
    show = _command(
        wallets,
        "show",
        commands.wallet_show,
        parents,
        summary="show a wallet, here and in the enclave",
        description="Show a wallet as this device and the enclave have it, and whether the two agree.",
    )
    address = _command(
        wallets,
        "address",
        commands.wallet_address,
        parents,
        summary="show an address below a wallet's key",
        description="Show the address at an unhardened BIP-32 path below a Bitcoin or Ethereum wallet's key. Needs no enclave.",
    )
    for command in (show, address):
        _add_id(command)
    address.add_argument(
        "--path", type=derivation_path, required=True, metavar="PATH", help="the path, such as 0/5"
    )


def _add_renewing(wallets: Subparsers, parents: Parents) -> None:
    refresh = _command(
        wallets,
        "refresh",
        renewals.wallet_refresh,
        parents,
        summary="replace all shares, for the same parties",
        description="Replace all shares of a wallet by new ones; key and address stay. Whoever had stolen one of the older shares has nothing then.",
    )
    reshare = _command(
        wallets,
        "reshare",
        renewals.wallet_reshare,
        parents,
        summary="change how many shares there are",
        description="Replace all shares of a wallet by new ones for other parties; key and address stay. Any two shares sign: 1 is this device's, 2 the "
        "enclave's, 3 and up lie apart, each in a file under a passphrase.",
    )
    reshare.add_argument(
        "--parties", type=int, required=True, choices=range(2, 6), metavar="N", help="how many shares: 2 to 5"
    )
    recover = _command(
        wallets,
        "recover",
        renewals.wallet_recover,
        parents,
        summary="get a wallet back on this device",
        description="Get a wallet whose device was lost back on this device, from a backup (ID) or from a share that lay apart (--share-file). All shares "
        "are renewed, so that those of the lost device are worthless; the new share is backed up where the old one was.",
    )
    recover.add_argument(
        "wallet", nargs="?", metavar="ID", help="the wallet's id; `wallet list --all` shows it"
    )
    recover.add_argument("--share-file", type=Path, metavar="FILE", help="the file of a share that lay apart")
    recover.add_argument(
        "--share-passphrase-file",
        type=Path,
        metavar="FILE",
        help="holds its passphrase (default: ask on the terminal)",
    )
    for command in (refresh, reshare):
        _add_id(command)
    for command in (refresh, reshare, recover):
        add_new_shares(command)


def _add_backups(wallets: Subparsers, parents: Parents) -> None:
    backup = _command(
        wallets,
        "backup",
        renewals.wallet_backup,
        parents,
        summary="back up this device's share",
        description="Encrypt this device's share with a key of the enclave's and a passcode of yours, put it where you say, fetch it back, and prove to the "
        "enclave that it opens. It takes both to open it; wrong passcodes are counted by the enclave.",
    )
    _add_id(backup)
    add_locations(backup, "where it goes (default: service)")
    add_passcode(backup)
    backup.add_argument(
        "--no-passcode",
        action="store_true",
        help="no passcode: whoever can act as you in the service opens it",
    )
    backups = _command(
        wallets,
        "backups",
        renewals.wallet_backups,
        parents,
        summary="list a wallet's backups, or remove one",
        description="List the backups that the enclave knows of. --remove has it forget the key of one, so that it never opens again.",
    )
    _add_id(backups)
    backups.add_argument("--remove", metavar="BACKUP", help="the id of the one to remove")
    add_locations(backups, "where it lies, to delete it there, too (default: service)")


def _add_whole_keys(wallets: Subparsers, parents: Parents) -> None:
    export = _command(
        wallets,
        "export",
        whole_keys.wallet_export,
        parents,
        summary="take the whole private key out",
        description="Ask the enclave for its share, which takes a fresh signature by one of your credentials and rules that allow it, and put the private "
        "key together on this device. The wallet stays as it is.",
    )
    _add_id(export)
    export.add_argument(
        "--share",
        action="store_true",
        help="do not put the key together: write the enclave's share, under a passphrase, for `recover-offline`",
    )
    export.add_argument(
        "--share-passphrase-file",
        type=Path,
        metavar="FILE",
        help="holds that passphrase (default: ask on the terminal)",
    )
    _add_key_output(export)
    delete = _command(
        wallets,
        "delete",
        whole_keys.wallet_delete,
        parents,
        summary="destroy a wallet, for good",
        description="Destroy the enclave's shares and backup keys of a wallet, and this device's share. There is no way back.",
    )
    _add_id(delete)
    add_locations(delete, "where backups lie besides the service, to delete them there")
    _add_understanding(delete)


def _command(
    subparsers: Subparsers, name: str, run: Run, parents: Parents, *, summary: str, description: str
) -> Any:  # noqa: ANN401  (the parser class of the caller)
    command = subparsers.add_parser(name, parents=parents, help=summary, description=description)
    command.set_defaults(run=run)
    return command


def _add_id(command: argparse.ArgumentParser) -> None:
    command.add_argument("wallet", metavar="ID", help="the wallet's id")


def _add_chain(command: argparse.ArgumentParser) -> None:
    command.add_argument("--chain", required=True, choices=sorted(CHAINS), help="the chain of the wallet")
    command.add_argument("--network", help="Bitcoin only: mainnet (default), testnet, signet or regtest")


def _add_key_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="a new file for it; - is standard output"
    )
    command.add_argument(
        "--format", choices=_FORMATS, help="of the key (default: the one that most wallets of its chain read)"
    )
    _add_understanding(command)


def _add_understanding(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--yes-i-understand", action="store_true", help="go on without the typed confirmation"
    )
