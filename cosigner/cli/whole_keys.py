"""``cosigner wallet import``, ``export`` and ``delete``, ``cosigner recover-offline``: where a whole key is in one place, or ends."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from protocol.chains import chain_for, default_network
from protocol.envelope.errors import CosignerError, Culprit
from threshold.device import EXPORT_FORMATS, SecretKey
from threshold.suites import Suite

from . import describe, opening
from .offline import offline_wallet
from .renewals import locations_of, plan_from
from .secrets import WIPED, confirm, require_new, secret, wipe, write_secret

if TYPE_CHECKING:
    from ..wallets import Wallet  # noqa: TID252
    from .output import Output

SOURCES: Final = ("hex", "phrase", "solana-keypair", "wif")
_PATHS: Final = {"solana": "m/44'/501'/0'/0'", "bitcoin": "m/86'/0'/0'/0/0", "ethereum": "m/44'/60'/0'/0/0"}
_EXPORT_WARNINGS: Final = [
    (
        "This puts the whole private key into one place. Whoever reads it can move everything, at once, without the enclave, its policy or a "
        "second factor, and nobody can undo that."
    ),
    "The file is not encrypted. Do this on a device that you trust, and move the funds to a new wallet when you are done.",
]
_DELETE_WARNINGS: Final = [
    (
        "This destroys the enclave's share and its backup keys, and this device's share. Nobody can sign with this wallet any more, and there is "
        "no way back: funds on it are lost, unless you exported the key."
    ),
]


async def wallet_import(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet import``."""
    network = default_network(options.chain) if options.network is None else options.network
    suite = chain_for(options.chain, network).suite
    if options.wipe and options.file is None:
        raise _usage("There is no file to wipe: name it with --file.")
    key, plan = _read_key(options, suite, network), plan_from(options)
    async with opening.client(options, output, create=True) as client:
        with output.step("Splitting the key with the enclave, and renewing both shares"):
            wallet = await client.import_wallet(
                key,
                options.chain,
                network,
                legacy_wallet_id=options.legacy_id,
                backup=plan,
                **opening.given(options),
            )
    data, lines = describe.wallet(wallet)
    if options.wipe:
        wipe(options.file)
    notes = [WIPED] if options.wipe else []
    notes.append(
        "Every other copy of the key still signs without the enclave: destroy them, or move the funds to a wallet whose key never existed."
    )
    output.result(
        data | {"wiped": bool(options.wipe)},
        ["Imported; both shares were renewed since.", *lines, *notes],
    )


async def wallet_export(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet export``."""
    if options.share or str(options.out) != "-":
        require_new(options.out)
    if options.share:
        await _export_share(options, output)
        return
    confirm(options, "export the key", _EXPORT_WARNINGS)
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave for its share"):
            key = await client.export_key(options.wallet, **opening.given(options))
            wallet = await client.enclave_wallet(options.wallet)
    _write_key(options, output, key, wallet)


async def _export_share(options: argparse.Namespace, output: Output) -> None:
    passphrase = secret(
        options.share_passphrase_file, "new passphrase of the file", "--share-passphrase-file", new=True
    )
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave for its share"):
            blob = await client.export_share(options.wallet, passphrase, **opening.given(options))
    write_secret(options.out, blob)
    output.result(
        {"wallet_id": options.wallet, "file": str(options.out), "party": 2},
        [
            f"The enclave's share is in {options.out}, under your passphrase.",
            "With this device's share it is the whole key: cosigner recover-offline. Keep the two apart. A refresh makes it worthless.",
        ],
    )


async def wallet_delete(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet delete``."""
    confirm(options, "delete the wallet", _DELETE_WARNINGS)
    async with opening.client(options, output) as client:
        with output.step("Destroying the shares"):
            await client.delete_wallet(
                options.wallet,
                [client.service_storage(), *locations_of(options)],
                **opening.given(options),
            )
    output.result(
        {"wallet_id": options.wallet, "state": "retired"},
        [f"Wallet {options.wallet} is deleted. Its receipts stay on this device."],
    )


async def recover_offline(options: argparse.Namespace, output: Output) -> None:
    """``cosigner recover-offline``."""
    if str(options.out) != "-":
        require_new(options.out)
    offline = offline_wallet(options, output)
    confirm(options, "export the key", _EXPORT_WARNINGS)
    with output.step("Putting the key together"):
        key = await offline.key()
    _write_key(options, output, key, offline.wallet)


def _write_key(options: argparse.Namespace, output: Output, key: SecretKey, wallet: Wallet) -> None:
    form = options.format or _default_format(wallet)
    if form not in EXPORT_FORMATS[Suite(wallet.suite)]:
        raise _usage(
            f"A {wallet.chain} key is written as one of: {', '.join(EXPORT_FORMATS[Suite(wallet.suite)])}."
        )
    text = key.export(form)
    data: dict[str, object] = {"wallet_id": wallet.wallet_id, "address": wallet.address, "format": form}
    if str(options.out) == "-":
        output.result(data | {"key": text.decode()}, [text.decode()])
        return
    write_secret(options.out, text)
    output.result(
        data | {"file": str(options.out)},
        [
            f"The private key of {wallet.address} is in {options.out}, in the form {form}, not encrypted.",
            *_FORM_NOTES.get(form, []),
        ],
    )


_FORM_NOTES: Final = {
    "solana-expanded": [
        (
            "A key that was made of shares has no seed, so no Solana key pair file can be made of it: this is its scalar and the prefix for nonces "
            "(RFC 8032, 5.1.5), which few wallets read. `cosigner sign solana --offline` signs without it."
        )
    ]
}


def _default_format(wallet: Wallet) -> str:
    if wallet.chain == "solana":
        return "solana-expanded"
    if wallet.chain == "bitcoin":
        return "wif:mainnet" if wallet.network == "mainnet" else "wif:testnet"
    return "hex"


def _read_key(options: argparse.Namespace, suite: str, network: str) -> SecretKey:
    """The key to import, from a file or the terminal."""
    text = bytearray(secret(options.file, _ASKED[options.source], "--file"))
    try:
        match options.source:
            case "phrase":
                passphrase = b""
                if options.phrase_passphrase_file is not None:
                    passphrase = secret(
                        options.phrase_passphrase_file, "passphrase of the phrase", "--phrase-passphrase-file"
                    )
                return SecretKey.from_mnemonic(suite, text, passphrase, options.path or _PATHS[options.chain])
            case "solana-keypair":
                return SecretKey.from_solana_keypair(text)
            case "wif":
                key, kind = SecretKey.from_wif(text)
                if (kind == "mainnet") != (network == "mainnet"):
                    raise _usage(f"This key is for {kind}; the wallet is for {network or options.chain}.")
                return key
            case _:
                return _from_hex(suite, text)
    finally:
        text[:] = bytes(len(text))


def _from_hex(suite: str, text: bytearray) -> SecretKey:
    try:
        raw = bytearray.fromhex(text.decode("ascii").strip().removeprefix("0x"))
    except ValueError:
        raise _usage("A private key in hexadecimal has 64 digits, with or without 0x.") from None
    try:
        return (
            SecretKey.from_ed25519_seed(raw)
            if suite == Suite.FROST_ED25519
            else SecretKey.from_bytes(suite, raw)
        )
    finally:
        raw[:] = bytes(len(raw))


_ASKED: Final = {
    "hex": "private key in hexadecimal",
    "phrase": "BIP-39 phrase",
    "solana-keypair": "Solana key pair",
    "wif": "private key in Wallet Import Format",
}


def _usage(message: str) -> CosignerError:
    return CosignerError("usage", message, culprit=Culprit.CLIENT)
