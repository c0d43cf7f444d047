"""``cosigner wallet refresh``, ``reshare``, ``backup``, ``backups``, ``recover``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.wallets import THRESHOLD

from ..backups.locations import BackupLocation, Service, open_location  # noqa: TID252
from ..backups.making import NO_BACKUP, Apart, BackupPlan  # noqa: TID252
from ..config import ClientConfig  # noqa: TID252
from . import describe, opening
from .inputs import read_file
from .secrets import secret

if TYPE_CHECKING:
    from ..client import AsyncClient, Wallet  # noqa: TID252
    from ..evidence import Given  # noqa: TID252
    from .output import Output


async def wallet_refresh(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet refresh``."""
    async with opening.client(options, output) as client:
        parties = await _parties(client, options, output)
        plan, apart = plan_from(options), apart_from(options, parties)
        with output.step("Making new shares with the enclave"):
            wallet = await client.refresh_wallet(
                options.wallet, backup=plan, apart=apart, **opening.given(options)
            )
    _show(output, wallet, "Refreshed: same key and address, new shares; older ones are worthless.", apart)


async def wallet_reshare(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet reshare``."""
    async with opening.client(options, output) as client:
        plan, apart = plan_from(options), apart_from(options, options.parties)
        with output.step("Making new shares with the enclave"):
            wallet = await client.reshare_wallet(
                options.wallet, parties=options.parties, backup=plan, apart=apart, **opening.given(options)
            )
    _show(output, wallet, f"Reshared: any two of {options.parties} shares sign.", apart)


async def wallet_backup(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet backup``."""
    passcode = None
    if not options.no_passcode:
        passcode = secret(options.passcode_file, "new passcode of the backup", "--passcode-file", new=True)
    plan = BackupPlan(_locations(options, ["service"]), passcode)
    async with opening.client(options, output) as client:
        with output.step("Making a backup, and reading it back"):
            made = await client.backup_wallet(options.wallet, plan, **opening.given(options))
    output.result(
        {"wallet_id": options.wallet, "backup_id": made.backup_id, "locations": list(made.names)},
        [
            "Backed up: it was fetched back, opened, and proved to the enclave.",
            f"backup            {made.backup_id}",
            f"at                {', '.join(made.names)}",
            f"passcode          {'none: whoever can act as you opens it' if passcode is None else 'yes: without it nobody opens the backup'}",
        ],
    )


async def wallet_backups(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet backups``."""
    async with opening.client(options, output) as client:
        if options.remove is not None:
            with output.step("Removing the backup"):
                await client.remove_backup(
                    options.wallet, options.remove, _locations(options, ["service"]), **opening.given(options)
                )
        with output.step("Asking the enclave"):
            wallet, status = await client.wallet_status(options.wallet)
    data, lines = describe.backups(wallet, status)
    output.result(data, lines)


async def wallet_recover(options: argparse.Namespace, output: Output) -> None:
    """``cosigner wallet recover``."""
    async with opening.client(options, output, create=True) as client:
        if options.share_file is not None:
            recover = _with_share
        elif options.wallet is not None:
            recover = _with_backup
        else:
            raise CosignerError(
                "usage",
                "Which wallet? Name its id, which `cosigner wallet list --all` shows; or name the file of a share that lay apart: --share-file.",
                culprit=Culprit.CLIENT,
            )
        wallet = await recover(client, options, output)
    _show(
        output,
        wallet,
        "Recovered on this device. All shares are new: those of the lost device are worthless.",
        {3: None} if options.apart else {},
    )


async def _with_backup(client: AsyncClient, options: argparse.Namespace, output: Output) -> Wallet:
    wallet, status = await client.wallet_status(options.wallet)
    locations = _locations(options, ["service"])
    kinds = {location.kind for location in locations}
    protected = any(
        info.passcode is not None for info in status.backups if kinds & set(info.locations)
    )  # which one is opened is the client's choice; a passcode that is not needed does no harm
    passcode = (
        secret(options.passcode_file, "passcode of the backup", "--passcode-file")
        if protected or options.passcode_file
        else None
    )
    apart = apart_from(options, wallet.parties)
    given: Given = opening.given(options)
    with output.step("Opening the backup, and making new shares with the enclave"):
        return await client.recover_wallet(
            options.wallet,
            BackupPlan(locations, passcode),
            backup=NO_BACKUP if options.no_backup else None,
            apart=apart,
            **given,
        )


async def _with_share(client: AsyncClient, options: argparse.Namespace, output: Output) -> Wallet:
    blob = read_file(options.share_file)
    passphrase = secret(
        options.share_passphrase_file, "passphrase of the share's file", "--share-passphrase-file"
    )
    apart = apart_from(options, None)
    with output.step("Opening the share, and making new shares with the enclave"):
        return await client.recover_with_share(
            blob, passphrase, backup=plan_from(options), apart=apart, **opening.given(options)
        )


async def _parties(client: AsyncClient, options: argparse.Namespace, output: Output) -> int:
    with output.step("Asking the enclave for the wallet"):
        wallet, _ = await client.wallet_status(options.wallet)
    return wallet.parties


def locations_of(options: argparse.Namespace) -> list[BackupLocation]:
    """The locations that were named."""
    return _locations(options, [])


def _locations(options: argparse.Namespace, otherwise: list[str]) -> list[BackupLocation]:
    settings = ClientConfig.load(options.config)
    service = Service(settings.api_url, settings.environment)
    return [open_location(spec, service=service) for spec in options.location or otherwise]


def plan_from(options: argparse.Namespace) -> BackupPlan | None:
    """Where the new backup goes; ``None``: as before."""
    if options.no_backup:
        return NO_BACKUP
    if not options.location and options.passcode_file is None and not options.passcode:
        return None
    passcode = None
    if options.passcode_file is not None or options.passcode:
        passcode = secret(options.passcode_file, "passcode of the new backup", "--passcode-file", new=True)
    return BackupPlan(_locations(options, ["service"]), passcode)


def apart_from(options: argparse.Namespace, parties: int | None) -> dict[int, Apart]:
    """Where the shares of parties 3 and up go, in the order in which locations were named.

    :param parties: ``None``: as many as there are locations.
    """
    specs = options.apart
    if not specs:
        return {}
    passphrase = secret(
        options.apart_passphrase_file,
        "new passphrase of the share that lies apart",
        "--apart-passphrase-file",
        new=True,
    )
    settings = ClientConfig.load(options.config)
    service = Service(settings.api_url, settings.environment)
    further = range(THRESHOLD + 1, (parties or THRESHOLD + len(specs)) + 1)
    if len(specs) != len(further):
        raise CosignerError(
            "usage",
            f"{len(further)} shares lie apart, and {len(specs)} places for them were named with --apart.",
            culprit=Culprit.CLIENT,
        )
    return {
        party: Apart(open_location(spec, service=service), passphrase)
        for party, spec in zip(further, specs, strict=True)
    }


def _show(output: Output, wallet: Wallet, headline: str, apart: dict[int, Apart] | dict[int, None]) -> None:
    data, lines = describe.wallet(wallet)
    more = [
        "The shares of the further parties were put where you said, and read back. Those of before are worthless: throw them away."
    ]
    output.result(data, [headline, *lines, *(more if apart else [])])
