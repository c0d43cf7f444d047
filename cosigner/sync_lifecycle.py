"""The synchronous face of :class:`cosigner.lifecycle.LifecycleCalls`. Every method is the one with the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from protocol.wallets import WalletEntry, WalletStatus
    from threshold.device import SecretKey

    from .backups.locations import BackupLocation
    from .backups.making import Apart, BackupPlan, MadeBackup
    from .client import AsyncClient
    from .evidence import Given
    from .wallets import Wallet


class SyncLifecycleCalls:
    """The calls of :class:`cosigner.sync.Client` about new shares, backups, recovery, and the end."""

    _runner: asyncio.Runner
    _client: AsyncClient

    def enclave_wallets(self) -> list[WalletEntry]:
        return self._runner.run(self._client.enclave_wallets())

    def wallet_status(self, wallet_id: str) -> tuple[Wallet, WalletStatus]:
        return self._runner.run(self._client.wallet_status(wallet_id))

    def refresh_wallet(
        self,
        wallet_id: str,
        *,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        return self._runner.run(self._client.refresh_wallet(wallet_id, backup=backup, apart=apart, **given))

    def reshare_wallet(
        self,
        wallet_id: str,
        *,
        parties: int,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        return self._runner.run(
            self._client.reshare_wallet(wallet_id, parties=parties, backup=backup, apart=apart, **given)
        )

    def recover_wallet(
        self,
        wallet_id: str,
        plan: BackupPlan,
        *,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        return self._runner.run(
            self._client.recover_wallet(wallet_id, plan, backup=backup, apart=apart, **given)
        )

    def recover_with_share(
        self,
        blob: bytes,
        passphrase: bytes,
        *,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        return self._runner.run(
            self._client.recover_with_share(blob, passphrase, backup=backup, apart=apart, **given)
        )

    def backup_wallet(self, wallet_id: str, plan: BackupPlan, **given: Unpack[Given]) -> MadeBackup:
        return self._runner.run(self._client.backup_wallet(wallet_id, plan, **given))

    def remove_backup(
        self,
        wallet_id: str,
        backup_id: str,
        locations: Sequence[BackupLocation] = (),
        **given: Unpack[Given],
    ) -> None:
        self._runner.run(self._client.remove_backup(wallet_id, backup_id, locations, **given))

    def import_wallet(
        self,
        key: SecretKey,
        chain: str,
        network: str | None = None,
        *,
        legacy_wallet_id: str = "",
        backup: BackupPlan | None = None,
        **given: Unpack[Given],
    ) -> Wallet:
        return self._runner.run(
            self._client.import_wallet(
                key, chain, network, legacy_wallet_id=legacy_wallet_id, backup=backup, **given
            )
        )

    def export_key(self, wallet_id: str, **given: Unpack[Given]) -> SecretKey:
        return self._runner.run(self._client.export_key(wallet_id, **given))

    def export_share(self, wallet_id: str, passphrase: bytes, **given: Unpack[Given]) -> bytes:
        return self._runner.run(self._client.export_share(wallet_id, passphrase, **given))

    def delete_wallet(
        self, wallet_id: str, locations: Sequence[BackupLocation] = (), **given: Unpack[Given]
    ) -> None:
        self._runner.run(self._client.delete_wallet(wallet_id, locations, **given))
