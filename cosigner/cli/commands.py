"""The commands: read inputs, call the SDK, describe the result."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit

from .. import audit  # noqa: TID252
from .. import demo as demonstration  # noqa: TID252
from ..client import AsyncClient, Wallet  # noqa: TID252
from ..config import ClientConfig  # noqa: TID252
from ..store import ShareStore, StoredWallet  # noqa: TID252
from . import describe, opening
from .inputs import (
    evm_transaction_from,
    psbt_from,
    read_file,
    solana_message_from,
)
from .offline import offline_wallet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..offline import OfflineWallet  # noqa: TID252
    from ..signed import EthereumSignature  # noqa: TID252
    from .output import Output


async def attest(options: argparse.Namespace, output: Output) -> None:
    """``cosigner attest``."""
    async with AsyncClient(ClientConfig.load(options.config)) as client:
        with output.step("Asking the enclave for its attestation"):
            verified = await client.attest()
    data, lines = describe.attestation(verified)
    output.result(data, lines)


async def audit_rebuild(options: argparse.Namespace, output: Output) -> int:
    """``cosigner audit rebuild``; 1 if a PCR differs."""
    rebuilt = audit.load_rebuild(options.measurements)
    async with AsyncClient(ClientConfig.load(options.config)) as client:
        with output.step("Asking the enclave for its attestation"):
            verified = await client.attest()
    compared = audit.compare(verified, rebuilt)
    data, lines = describe.rebuild_audit(verified, compared)
    output.result(data, lines)
    return 0 if all(pcr.matches for pcr in compared) else 1


async def wallet_create(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet create``."""
    async with opening.client(options, output, create=True) as client:
        with output.step("Generating the key with the enclave"):
            wallet = await client.create_wallet(options.chain, options.network, **opening.given(options))
    data, lines = describe.wallet(wallet)
    output.result(data, ["Created.", *lines])


async def wallet_list(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet list``."""
    directory = opening.store_directory(options)
    refusals: list[CosignerError] = []
    if options.resume and any(entry.pending or entry.renewing for entry in ShareStore.wallets(directory)):
        refusals = await _resume(options, output, directory)
    known = None
    if options.all:
        async with opening.client(options, output, create=True) as client:
            with output.step("Asking the enclave for your wallets"):
                known = await client.enclave_wallets()
    data, lines = describe.wallet_table(ShareStore.wallets(directory), known)
    output.result(data, lines)
    if refusals:
        raise refusals[0]


async def _resume(options: argparse.Namespace, output: Output, directory: Path) -> list[CosignerError]:
    """Settle every wallet that waits; one that cannot be settled does not stand in the way of the others."""
    refusals = []
    async with opening.client(options, output) as client:
        for entry in ShareStore.wallets(directory):
            if entry.pending or entry.renewing:
                with output.step(f"Settling {entry.info.wallet_id}"):
                    try:
                        await client.resume_wallet(entry.info.wallet_id)
                    except CosignerError as error:
                        refusals.append(error)
    return refusals


async def wallet_show(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet show``."""
    wallet_id = stored_wallet(options).info.wallet_id
    async with opening.client(options, output) as client:
        with output.step("Asking the enclave for the wallet"):
            remote, status = await client.wallet_status(wallet_id)
    here = Wallet.of(stored_wallet(options).info)  # settling may have made a newer share the active one
    if remote.epoch == here.epoch and remote != here:
        raise CosignerError(
            "wallet_mismatch", "The enclave describes another wallet under this id.", culprit=Culprit.STORAGE
        )
    data, lines = describe.wallet(here)
    status_data, status_lines = describe.wallet_status(status)
    agrees = "agrees" if remote.epoch == here.epoch else "NEWER: this device's share signs nothing; recover"
    output.result(
        data | {"enclave_epoch": remote.epoch} | status_data,
        [*lines, f"in the enclave    epoch {remote.epoch}, {agrees}", *status_lines],
    )


async def wallet_address(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet address``."""
    async with opening.client(options, output) as client:
        address = await client.derived_address(options.wallet, options.path)
    path = "/".join(str(element) for element in options.path)
    output.result({"wallet_id": options.wallet, "path": path, "address": address}, [address])


async def sign_solana(options: argparse.Namespace, output: Output) -> None:
    """``cosigner sign solana``."""
    content = read_file(options.file)
    message = content if options.text else solana_message_from(content)
    if options.share_file:
        offline = _offline(options, output)
        signed = await (offline.sign_solana_text if options.text else offline.sign_solana)(message)
    else:
        async with opening.client(options, output) as client:
            sign = client.sign_solana_text if options.text else client.sign_solana
            with output.step("Signing with the enclave"):
                signed = await sign(options.wallet, message, **opening.given(options))
    data, lines = describe.solana_signature(signed)
    output.result(data, lines)


async def sign_bitcoin(options: argparse.Namespace, output: Output) -> None:
    """``cosigner sign bitcoin``."""
    psbt = psbt_from(read_file(options.file))
    if options.share_file:
        signed = await _offline(options, output).sign_bitcoin(psbt, path=options.path)
    else:
        async with opening.client(options, output) as client:
            with output.step("Signing with the enclave"):
                signed = await client.sign_bitcoin(
                    options.wallet, psbt, path=options.path, **opening.given(options)
                )
    if options.out is not None:
        try:
            options.out.write_bytes(signed.psbt)
        except OSError as error:
            raise CosignerError(
                "output_unwritable", f"Cannot write {options.out}: {error.strerror}.", culprit=Culprit.CLIENT
            ) from None
    data, lines = describe.bitcoin_signature(signed)
    output.result(data, lines)


async def sign_evm_transaction(options: argparse.Namespace, output: Output) -> None:
    """``cosigner sign evm tx``."""
    unsigned = evm_transaction_from(read_file(options.file))
    await _sign_evm(
        options,
        output,
        lambda client: client.sign_evm_transaction(
            options.wallet, unsigned, path=options.path, **opening.given(options)
        ),
        lambda offline: offline.sign_evm_transaction(unsigned, path=options.path),
    )


async def sign_evm_message(options: argparse.Namespace, output: Output) -> None:
    """``cosigner sign evm message``."""
    message = read_file(options.file)
    await _sign_evm(
        options,
        output,
        lambda client: client.sign_evm_message(
            options.wallet, message, path=options.path, **opening.given(options)
        ),
        lambda offline: offline.sign_evm_message(message, path=options.path),
    )


async def sign_evm_typed_data(options: argparse.Namespace, output: Output) -> None:
    """``cosigner sign evm typed-data``."""
    typed_data = read_file(options.file)
    await _sign_evm(
        options,
        output,
        lambda client: client.sign_evm_typed_data(
            options.wallet, typed_data, path=options.path, **opening.given(options)
        ),
        lambda offline: offline.sign_evm_typed_data(typed_data, path=options.path),
    )


async def _sign_evm(
    options: argparse.Namespace,
    output: Output,
    sign: Callable[[AsyncClient], Awaitable[EthereumSignature]],
    sign_offline: Callable[[OfflineWallet], Awaitable[EthereumSignature]],
) -> None:
    if options.share_file:
        signed = await sign_offline(_offline(options, output))
    else:
        async with opening.client(options, output) as client:
            with output.step("Signing with the enclave"):
                signed = await sign(client)
    data, lines = describe.evm_signature(signed)
    output.result(data, lines)


def _offline(options: argparse.Namespace, output: Output) -> OfflineWallet:
    found = offline_wallet(options, output)
    output.note("Signing without the enclave: no policy judges this, and there is no receipt.")
    return found


async def demo(_: argparse.Namespace, output: Output) -> None:
    """``cosigner demo``."""
    report = await demonstration.run(output.step)
    output.result(report, demonstration.describe(report))


def stored_wallet(options: argparse.Namespace) -> StoredWallet:
    """A wallet of this device by its id.

    :raises CosignerError: ``wallet_missing``.
    """
    for entry in ShareStore.wallets(opening.store_directory(options)):
        if entry.info.wallet_id == options.wallet and not entry.pending:
            return entry
    raise CosignerError(
        "wallet_missing",
        f"This device holds no share of wallet {options.wallet}. `cosigner wallet list` shows those it holds.",
        culprit=Culprit.CLIENT,
    )
