"""A wallet's whole life: the calls of :class:`cosigner.client.AsyncClient` about new shares, backups, recovery, and the end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import DeleteWallet, ListWallets, RemoveBackup, WalletList
from protocol.messages import WalletReply
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, THRESHOLD

from . import exporting, importing, reshare, settling
from .backups import files, making
from .backups.errors import BackupError
from .backups.making import NO_BACKUP, BackupPlan
from .wallets import Wallet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from protocol.lifecycle import Purpose
    from protocol.wallets import BackupInfo, WalletEntry, WalletInfo, WalletStatus
    from threshold import KeyShare
    from threshold.device import SecretKey

    from .actions import Actions
    from .backups.locations import BackupLocation
    from .backups.making import Apart, MadeBackup
    from .evidence import Given
    from .session import Session, SessionKeeper
    from .store import ShareStore


class LifecycleCalls:
    """The calls of :class:`cosigner.client.AsyncClient` that change who holds shares of a wallet, and where they lie.

    Those that make new shares take the same keywords. ``backup``: where a new backup of this device's share goes, since the old one is
    worthless afterwards; ``None``: as before, which does where the old one lies at the service and has no passcode, or where there is
    none; :data:`NO_BACKUP`: the wallet shall have none. ``apart``: for each party from 3 on, where its new share goes.

    They raise :class:`EnclaveRefused` (``factor_required``, ``policy_denied``, …), :class:`LocationError`, :class:`BackupError`; whatever
    they raise, the wallet signs as before, or ``renewal_pending`` says that it is being settled.
    """

    _keeper: SessionKeeper
    _actions: Actions

    # --- what there is -------------------------------------------------------------------------------------------------------

    async def enclave_wallets(self) -> list[WalletEntry]:
        """The user's wallets as the enclave has them, deleted ones included."""

        async def ask(session: Session) -> WalletList:
            return await session.call(ListWallets(), WalletList)

        return (await self._keeper.run(ask)).wallets

    async def wallet_status(self, wallet_id: str) -> tuple[Wallet, WalletStatus]:
        """A wallet as the enclave has it, at its newest epoch, after what was left open is settled.

        :raises EnclaveRefused: ``wallet_unknown``, ``wallet_retired``.
        :raises CosignerError: ``epoch_stale``: this device has seen a newer epoch.
        """
        reply = await self._settle(wallet_id)
        return Wallet.of(reply.wallet), reply.status

    # --- new shares ----------------------------------------------------------------------------------------------------------

    async def refresh_wallet(
        self,
        wallet_id: str,
        *,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        """Replace all shares of a wallet by new ones of the same key, for the same parties. Stolen older shares are worthless then."""
        reply = await self._settle(wallet_id)
        share, _ = await self._load(wallet_id)
        return await self._renew(share, reply, purpose="refresh", backup=backup, apart=apart, given=given)

    async def reshare_wallet(
        self,
        wallet_id: str,
        *,
        parties: int,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        """As :meth:`refresh_wallet`, for other parties.

        :param parties: 2 to 5, any two of which sign: 1 is this device, 2 the enclave, the others lie ``apart``.
        """
        reply = await self._settle(wallet_id)
        share, _ = await self._load(wallet_id)
        return await self._renew(
            share, reply, purpose="reshare", parties=parties, backup=backup, apart=apart, given=given
        )

    # --- recovery ------------------------------------------------------------------------------------------------------------

    async def recover_wallet(
        self,
        wallet_id: str,
        plan: BackupPlan,
        *,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        """Get a wallet back on this device from a backup, and renew all shares, so that those of the lost device are worthless.

        :param plan: where to look, and the passcode if the backup has one.
        :param backup: where the new backup goes, and its passcode; by default as the old one.
        :raises BackupError: ``backup_unknown``: there is no backup of the wallet's newest shares at these locations.
        :raises EnclaveRefused: ``passcode_wrong``, ``factor_locked``.
        """
        reply = await self._settle(wallet_id)
        info = _readable(reply, plan.locations)
        share, locator = await making.open_again(self._actions, reply.wallet, info, plan, given=given)
        await self._keep_locator(wallet_id, info.backup_id, locator)
        return await self._renew(
            share,
            reply,
            purpose="recover",
            backup=plan if backup is None else backup,
            apart=apart,
            given=given,
        )

    async def recover_with_share(
        self,
        blob: bytes,
        passphrase: bytes,
        *,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        """Get a wallet back on this device with a share that lay apart, and renew all shares.

        :param blob: the backup file that holds it.
        :raises BackupError: ``backup_outdated``, ``backup_not_opened``.
        """
        header, share = await asyncio.to_thread(files.open_offline, blob, passphrase)
        if header.party == ENCLAVE_PARTY:
            raise BackupError(
                "backup_kind",
                "This file holds the enclave's share, which the enclave has itself.",
                culprit=Culprit.CLIENT,
            )
        reply = await self._settle(header.wallet_id)
        wallet = reply.wallet
        if header.environment != self._actions.environment or not header.describes(wallet):
            raise BackupError(
                "backup_outdated",
                f"This file is of epoch {header.epoch}, but the wallet is at epoch {wallet.epoch}: the share in it signs nothing any more."
                if header.epoch != wallet.epoch
                else "This file is of another wallet or environment.",
            )
        return await self._renew(share, reply, purpose="recover", backup=backup, apart=apart, given=given)

    # --- backups -------------------------------------------------------------------------------------------------------------

    async def backup_wallet(self, wallet_id: str, plan: BackupPlan, **given: Unpack[Given]) -> MadeBackup:
        """Back up this device's share: sealed here, put at every location, fetched back, opened, and proved to the enclave.

        :raises EnclaveRefused: ``too_many_backups``.
        :raises BackupError: ``backup_location_missing``, ``backup_unreadable``.
        """
        if not plan.locations:
            raise BackupError("backup_location_missing", "Say where it shall lie.", culprit=Culprit.CLIENT)
        await self._settle(wallet_id)
        share, wallet = await self._load(wallet_id)
        return await self._back_up(share, wallet, plan, given)

    async def remove_backup(
        self,
        wallet_id: str,
        backup_id: str,
        locations: Sequence[BackupLocation] = (),
        **given: Unpack[Given],
    ) -> None:
        """The enclave never gives out the key of this backup again; what lies at ``locations`` is deleted, too.

        At the service's storage only the device that made it, or opened it last, can delete it; without its key it opens for nobody.

        :raises EnclaveRefused: ``backup_unknown``.
        """
        await self._actions.act(RemoveBackup(wallet_id, backup_id), WalletReply, given=given)
        await self._delete_at([backup_id], wallet_id, locations)

    # --- into and out of the service -----------------------------------------------------------------------------------------

    async def import_wallet(
        self,
        key: SecretKey,
        chain: str,
        network: str | None = None,
        *,
        legacy_wallet_id: str = "",
        **given: Unpack[Given],
    ) -> Wallet:
        """Split a key that existed before between this device and the enclave; the address stays.

        This device knew the whole key, and dealt the enclave's share. So all shares are renewed at once: what this device knew is no
        share of the wallet afterwards. Destroy every other copy of the key: whoever has one signs without the enclave.

        :param legacy_wallet_id: what the wallet was called where it lived before.
        :raises CosignerError: ``suite_mismatch``; ``wallet_pending``; ``renewal_pending``.
        """
        info = await importing.deal(
            self._actions,
            self._unlocked(),
            key,
            chain=chain,
            network=network,
            legacy_wallet_id=legacy_wallet_id,
            given=given,
        )
        return await self.refresh_wallet(info.wallet_id)

    async def export_key(self, wallet_id: str, **given: Unpack[Given]) -> SecretKey:
        """The whole private key, put together on this device: from then on the wallet is as safe as this device is.

        :raises EnclaveRefused: ``factor_required``: a fresh strong factor must vouch; ``policy_denied``.
        """
        await self._settle(wallet_id)
        share, wallet = await self._load(wallet_id)
        theirs = await exporting.enclave_share(self._actions, wallet, given=given)
        return exporting.combine(share, theirs, wallet)

    async def export_share(self, wallet_id: str, passphrase: bytes, **given: Unpack[Given]) -> bytes:
        """The enclave's share as a backup file under a passphrase. With this device's share, or one that lies apart, it is the key.

        :raises EnclaveRefused: as :meth:`export_key`.
        """
        await self._settle(wallet_id)
        _, wallet = await self._load(wallet_id)
        theirs = await exporting.enclave_share(self._actions, wallet, given=given)
        return await asyncio.to_thread(
            files.seal_offline,
            theirs,
            wallet,
            environment=self._actions.environment,
            passphrase=passphrase,
        )

    async def delete_wallet(
        self, wallet_id: str, locations: Sequence[BackupLocation] = (), **given: Unpack[Given]
    ) -> None:
        """Destroy a wallet: the enclave's shares and backup keys, this device's share, and backups at ``locations``. No way back.

        :raises EnclaveRefused: ``not_owner``, ``wallet_unknown``.
        """
        backups: list[BackupInfo] = []
        with contextlib.suppress(CosignerError):
            backups = (await settling.ask(self._actions, wallet_id)).status.backups
        await self._actions.act(DeleteWallet(wallet_id), WalletReply, given=given)
        try:
            await self._delete_at([info.backup_id for info in backups], wallet_id, locations)
        finally:
            await asyncio.to_thread(self._unlocked().forget, wallet_id)

    # --- common --------------------------------------------------------------------------------------------------------------

    def service_storage(self) -> BackupLocation:
        """The service's own storage, as a location of backups."""
        raise NotImplementedError

    async def _load(self, wallet_id: str) -> tuple[KeyShare, WalletInfo]:
        raise NotImplementedError

    def _unlocked(self) -> ShareStore:
        raise NotImplementedError

    async def _settle(self, wallet_id: str) -> WalletReply:
        return await settling.settle(self._actions, self._unlocked(), wallet_id)

    async def _renew(
        self,
        share: KeyShare,
        reply: WalletReply,
        *,
        purpose: Purpose,
        parties: int | None = None,
        backup: BackupPlan | None,
        apart: Mapping[int, Apart] | None,
        given: Given,
    ) -> Wallet:
        """Renew the shares of the wallet that the enclave described; by default for the same parties."""
        parties = parties or reply.wallet.parties
        plan = self._backup_as_before(reply) if backup is None else backup
        info = await reshare.renew(
            self._actions,
            self._unlocked(),
            share,
            reply,
            purpose=purpose,
            parties=parties,
            prepare=self._preparing(parties, plan, apart),
            given=given,
        )
        await self._clear_away(reply, plan.locations)
        return Wallet.of(info)

    def _preparing(
        self, parties: int, plan: BackupPlan, apart: Mapping[int, Apart] | None
    ) -> reshare.Prepare:
        """What must be done with new shares before they may count.

        :raises BackupError: ``apart_missing``.
        """
        apart = apart or {}
        further = set(range(THRESHOLD + 1, parties + 1))
        if set(apart) != further:
            raise BackupError(
                "apart_missing",
                f"Say where the new shares of parties {sorted(further)} shall lie, and of no others: they never stay on this device."
                if further
                else "This wallet has no shares that lie apart.",
                culprit=Culprit.CLIENT,
            )

        async def prepare(new: reshare.NewShares) -> None:
            for party in sorted(further):
                await making.put_apart(
                    new.shares[party], new.wallet, apart[party], environment=self._actions.environment
                )
            if plan.locations:
                await self._back_up(new.shares[CLIENT_PARTY], new.wallet, plan, {})

        return prepare

    async def _clear_away(self, before: WalletReply, locations: Sequence[BackupLocation]) -> None:
        """Delete backups of shares that are worthless now; what is left is sealed, and no danger."""
        with contextlib.suppress(CosignerError):
            old = [one.backup_id for one in before.status.backups if one.epoch == before.wallet.epoch]
            await self._delete_at(old, before.wallet.wallet_id, [*locations, self.service_storage()])

    async def _back_up(
        self, share: KeyShare, wallet: WalletInfo, plan: BackupPlan, given: Given
    ) -> MadeBackup:
        made = await making.make(self._actions, share, wallet, plan, given=given)
        if "service" in made.names:
            await self._keep_locator(wallet.wallet_id, made.backup_id, made.names["service"])
        return made

    async def _keep_locator(self, wallet_id: str, backup_id: str, locator: str) -> None:
        await asyncio.to_thread(
            self._unlocked().keep_locator, self._actions.environment, wallet_id, backup_id, locator
        )

    async def _delete_at(
        self, backup_ids: Sequence[str], wallet_id: str, locations: Sequence[BackupLocation]
    ) -> None:
        """Delete what can be deleted; what failed first is raised in the end."""
        environment, store = self._actions.environment, self._unlocked()
        known = await asyncio.to_thread(store.locators, environment, wallet_id)
        gone: set[str] = set()
        failure: CosignerError | None = None
        for location in locations:
            at_service = location.kind == "service"
            for backup_id in backup_ids:
                if at_service and (backup_id not in known or backup_id in gone):
                    continue
                name = making.name_at(location, wallet_id, backup_id, known.get(backup_id))
                try:
                    await location.delete(name)
                except CosignerError as error:
                    failure = failure or error
                else:
                    gone |= {backup_id} if at_service else set()
        if gone:
            await asyncio.to_thread(store.drop_locators, environment, wallet_id, gone)
        if failure is not None:
            raise failure

    def _backup_as_before(self, reply: WalletReply) -> BackupPlan:
        """A plan that needs nothing of the user.

        :raises BackupError: ``backup_plan_missing``: it takes a passcode, or another location than the service.
        """
        current = _proved(reply)
        if not current:
            return NO_BACKUP
        if any(info.passcode is None and info.locations == ["service"] for info in current):
            return BackupPlan([self.service_storage()])
        raise BackupError(
            "backup_plan_missing",
            "This wallet has a backup, which new shares make worthless. Name the locations of the new one, and its passcode; or say that "
            "there shall be none.",
            culprit=Culprit.CLIENT,
        )


def _proved(reply: WalletReply) -> list[BackupInfo]:
    """Backups of the user's share that count, newest first."""
    found = [
        info
        for info in reply.status.backups
        if info.proved_at is not None and info.epoch == reply.wallet.epoch and info.party != ENCLAVE_PARTY
    ]
    return sorted(found, key=lambda info: info.created_at, reverse=True)


def _readable(reply: WalletReply, locations: Sequence[BackupLocation]) -> BackupInfo:
    kinds = {location.kind for location in locations}
    for info in _proved(reply):
        if kinds & set(info.locations):
            return info
    known = sorted({kind for info in _proved(reply) for kind in info.locations})
    raise BackupError(
        "backup_unknown",
        f"There is no backup of this wallet's newest shares at {', '.join(sorted(kinds)) or 'no location'}; "
        + (f"the enclave knows of some at: {', '.join(known)}." if known else "the enclave knows of none."),
    )
