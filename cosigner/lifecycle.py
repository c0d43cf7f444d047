"""A wallet's whole life: the calls of :class:`cosigner.client.AsyncClient` about backups, import, export, and the end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.lifecycle import DeleteWallet, ListWallets, RemoveBackup, WalletList
from protocol.messages import WalletReply

from . import exporting, importing, settling
from .backups import files
from .backups.errors import BackupError
from .backups.making import BackupPlan
from .renewal_calls import RenewalCalls
from .wallets import Wallet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from protocol.wallets import BackupInfo, WalletEntry, WalletStatus
    from threshold.device import SecretKey

    from .actions import Actions
    from .backups.locations import BackupLocation
    from .backups.making import MadeBackup
    from .evidence import Given
    from .session import Session, SessionKeeper


class LifecycleCalls(RenewalCalls):
    """The calls of :class:`cosigner.client.AsyncClient` about what there is of a wallet, backups, import, export, and the end."""

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
        backup: BackupPlan | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        """Split a key that existed before between this device and the enclave; the address stays.

        This device knew the whole key, and dealt the enclave's share. So all shares are renewed at once: what this device knew is no
        share of the wallet afterwards. Destroy every other copy of the key: whoever has one signs without the enclave.

        :param legacy_wallet_id: what the wallet was called where it lived before.
        :param backup: where the device's share is backed up. An environment that requires one refuses the renewal without it.
        :raises CosignerError: ``suite_mismatch``; ``wallet_pending``; ``import_not_renewed``: the wallet is there, at its first epoch, with
            the shares that this device dealt: refresh it.
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
        try:
            return await self.refresh_wallet(info.wallet_id, backup=backup)
        except CosignerError as error:
            raise CosignerError(
                "import_not_renewed",
                f"The key is imported as wallet {info.wallet_id}, but its shares were not renewed, and this device has seen both: {error.message} "
                "Do not import it again; refresh the wallet: cosigner wallet refresh.",
                culprit=error.culprit,
                reaction=error.reaction,
                needs=error.needs,
            ) from error

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
