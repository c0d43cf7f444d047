"""Making backups of a share and getting it back: nothing counts that was not fetched back from where it lies, and opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.binding import backup_context
from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import BackupKey, BeginBackup, ConfirmBackup, OpenBackup
from protocol.messages import WalletReply
from threshold.device import Passcode

from . import files
from .errors import BackupError

if TYPE_CHECKING:
    from protocol.wallets import BackupInfo, PasscodeSetup, WalletInfo
    from threshold import KeyShare

    from ..actions import Actions  # noqa: TID252
    from ..evidence import Given  # noqa: TID252
    from .locations import BackupLocation

MIN_PASSCODE: Final = 6  # bytes; guesses go through the enclave, which counts them
_LATER: Final = (
    ""  # the backup's id, in what a passcode's proof is made over: the enclave picks the id after it
)


@dataclass(frozen=True)
class BackupPlan:
    """Where a backup of the user's share lies, and what it needs.

    :ivar passcode: at least 6 bytes; with it, neither the enclave's key nor the passcode alone opens the backup.
    """

    locations: Sequence[BackupLocation]
    passcode: bytes | None = None

    def __post_init__(self) -> None:
        if self.passcode is not None and not MIN_PASSCODE <= len(self.passcode) <= files.MAX_PASSPHRASE:
            raise BackupError(
                "passcode_length",
                f"A passcode has {MIN_PASSCODE} to {files.MAX_PASSPHRASE} bytes.",
                culprit=Culprit.CLIENT,
            )


NO_BACKUP: Final = BackupPlan(())
"""The caller wants none, and knows what that means."""


@dataclass(frozen=True)
class Apart:
    """Where the share of a further party is put: it never stays on this device.

    :ivar passphrase: opens it, and nothing else does.
    """

    location: BackupLocation
    passphrase: bytes


@dataclass(frozen=True)
class MadeBackup:
    """A backup that was read back. :ivar names: by kind of location."""

    backup_id: str
    party: int
    names: dict[str, str]


async def make(
    actions: Actions, share: KeyShare, wallet: WalletInfo, plan: BackupPlan, *, given: Given | None = None
) -> MadeBackup:
    """Back up the user's share, and prove to the enclave that the backup is readable.

    :raises LocationError: a location failed.
    :raises BackupError: ``backup_unreadable``: a location gave something else back.
    :raises EnclaveRefused: ``too_many_backups``, …
    """
    setup, passcode, proof = None, None, None
    if plan.passcode is not None:
        setup = files.new_setup()
        passcode = await stretch(plan.passcode, setup)
        proof = _passcode_proof(passcode, actions.environment, wallet, share.identifier)
    key = await actions.act(
        BeginBackup(
            wallet_id=wallet.wallet_id,
            epoch=wallet.epoch,
            party=share.identifier,
            passcode=setup,
            passcode_proof=proof,
        ),
        BackupKey,
        given=given,
    )
    header = files.header_of(
        share,
        wallet,
        environment=actions.environment,
        kind="service",
        backup_id=key.backup_id,
        passcode=setup,
    )
    sealing_key = files.service_key(header, key.key, passcode)
    blob = files.seal(share, header, sealing_key)
    names = {}
    for location in plan.locations:
        name = names[location.kind] = name_at(location, wallet.wallet_id, key.backup_id, key.locator)
        returned = await _put_and_get(location, name, blob)
    read = files.BackupFile.decode(returned).open_with(sealing_key)
    await actions.act(
        ConfirmBackup(
            wallet_id=wallet.wallet_id,
            backup_id=key.backup_id,
            locations=list(names),
            proof=read.prove(header.context),
        ),
        WalletReply,
    )
    return MadeBackup(key.backup_id, share.identifier, names)


async def put_apart(share: KeyShare, wallet: WalletInfo, apart: Apart, *, environment: str) -> MadeBackup:
    """Put the share of another party where it belongs, sealed under its passphrase; read it back, and open it.

    :raises LocationError: the location failed.
    :raises BackupError: ``backup_unreadable``, ``passphrase_length``.
    """
    blob = await asyncio.to_thread(
        files.seal_offline, share, wallet, environment=environment, passphrase=apart.passphrase
    )
    backup_id = files.BackupFile.decode(blob).header.backup_id
    name = name_at(apart.location, wallet.wallet_id, backup_id, None)
    returned = await _put_and_get(apart.location, name, blob)
    await asyncio.to_thread(files.open_offline, returned, apart.passphrase)
    return MadeBackup(backup_id, share.identifier, {apart.location.kind: name})


async def open_again(
    actions: Actions,
    wallet: WalletInfo,
    info: BackupInfo,
    plan: BackupPlan,
    *,
    given: Given | None = None,
) -> tuple[KeyShare, str]:
    """Get a share back out of its backup; the locations are tried in turn.

    :returns: the share, and the backup's locator at the service.
    :param info: what the enclave says of the backup.
    :raises EnclaveRefused: ``passcode_wrong``, ``factor_locked``, ``backup_unknown``, …
    :raises LocationError: no location has it.
    :raises BackupError: ``passcode_required``, ``backup_foreign``, ``backup_not_opened``, ``backup_outdated``.
    """
    if info.epoch != wallet.epoch:
        raise BackupError(
            "backup_outdated",
            f"This backup is of epoch {info.epoch}, but the wallet is at epoch {wallet.epoch}: the share in it signs nothing any more.",
        )
    passcode, proof = None, None
    if info.passcode is not None:
        if plan.passcode is None:
            raise BackupError("passcode_required", "This backup has a passcode.", culprit=Culprit.CLIENT)
        passcode = await stretch(plan.passcode, info.passcode)
        proof = _passcode_proof(passcode, actions.environment, wallet, info.party)
    key = await actions.act(
        OpenBackup(wallet_id=wallet.wallet_id, backup_id=info.backup_id, passcode_proof=proof),
        BackupKey,
        given=given,
    )
    failure: CosignerError | None = None
    for location in plan.locations:
        name = name_at(location, wallet.wallet_id, info.backup_id, key.locator)
        try:
            parsed = files.BackupFile.decode(await location.get(name))
            _check(parsed.header, actions.environment, wallet, info)
            share = parsed.open_with(files.service_key(parsed.header, key.key, passcode))
            if share.group_public_key != wallet.public_key:
                raise _foreign()
        except CosignerError as error:
            failure = failure or error
            continue
        return share, key.locator
    if failure is None:
        raise BackupError(
            "backup_location_missing", "No location was named to look in.", culprit=Culprit.CLIENT
        )
    raise failure


def name_at(location: BackupLocation, wallet_id: str, backup_id: str, locator: str | None) -> str:
    """What a backup is called at a location: at the service by its locator, elsewhere by wallet and backup."""
    return locator if locator is not None and location.kind == "service" else f"{wallet_id}-{backup_id}"


async def stretch(passcode: bytes, setup: PasscodeSetup) -> Passcode:
    """A passcode after Argon2id, off the event loop."""
    return await asyncio.to_thread(
        Passcode, passcode, setup.salt, setup.memory_kib, setup.iterations, setup.parallelism
    )


async def _put_and_get(location: BackupLocation, name: str, blob: bytes) -> bytes:
    await location.put(name, blob)
    returned = await location.get(name)
    if returned != blob:
        raise BackupError(
            "backup_unreadable",
            f"The location ({location.kind}) gave back something else than was put there.",
        )
    return returned


def _passcode_proof(passcode: Passcode, environment: str, wallet: WalletInfo, party: int) -> bytes:
    context = backup_context(
        environment=environment,
        wallet_id=wallet.wallet_id,
        backup_id=_LATER,
        epoch=wallet.epoch,
        party=party,
    )
    return passcode.proof(context)


def _check(header: files.BackupHeader, environment: str, wallet: WalletInfo, info: BackupInfo) -> None:
    """It is the very backup that the enclave named."""
    theirs = (header.kind, header.environment, header.backup_id, header.party, header.passcode)
    if theirs != ("service", environment, info.backup_id, info.party, info.passcode) or not header.describes(
        wallet
    ):
        raise _foreign()


def _foreign() -> BackupError:
    return BackupError("backup_foreign", "What lies there is another backup than the one asked for.")
