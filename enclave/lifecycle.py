"""The requests about a wallet's whole life, one line each: new shares, import, export, backups, its end (``docs/spec/lifecycle.md``)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from protocol import lifecycle as life

from . import exports, imports, reshares

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from protocol.messages import Reply, WalletReply

    from .accounts.ownership import Wallets
    from .actors import Actor
    from .authorization.granted import Granted
    from .backups import Backups
    from .counters import Counters
    from .delegation.ending import Ending
    from .sessions import Session
    from .statuses import Statuses
    from .vault import Vault

LifecycleRequest = (
    life.ListWallets
    | life.ImportWallet
    | life.ExportShare
    | life.DeleteWallet
    | life.BeginReshare
    | life.FinishReshare
    | life.CommitReshare
    | life.AbortReshare
    | life.BeginBackup
    | life.ConfirmBackup
    | life.OpenBackup
    | life.RemoveBackup
)


class Lifecycle:
    """Serves them for one environment. The gate has judged, and has looked at whose the wallet is.

    :param require_standing: raises if what vouched for a request does so no longer.
    """

    def __init__(
        self,
        environment: str,
        *,
        vault: Vault,
        wallets: Wallets,
        backups: Backups,
        statuses: Statuses,
        ending: Ending,
        require_standing: Callable[[Granted], Awaitable[object]],
        counters: Counters,
    ) -> None:
        self._environment = environment
        self._vault = vault
        self._wallets = wallets
        self._backups = backups
        self._statuses = statuses
        self._ending = ending
        self._require_standing = require_standing
        self._counters = counters

    async def answer(self, session: Session, granted: Granted, request: LifecycleRequest) -> Reply:
        """Carry one out.

        :raises Exception: whatever kept it from being carried out.
        """
        actor = granted.need_actor()
        match request:
            case life.ListWallets():
                return await self._statuses.listing(actor)
            case life.ImportWallet():
                return await self._import(session, granted, request)
            case life.ExportShare():
                exported = await exports.export_share(granted.need_permit(), granted.need_opened(), request)
                self._counters["exports"] += 1
                return exported
            case life.DeleteWallet():
                return await self._delete(granted)
            case life.BeginReshare():
                return await reshares.begin_reshare(
                    granted.need_permit(), actor, session, granted.need_opened(), request
                )
            case life.FinishReshare():
                return await reshares.finish_reshare(
                    session, self._vault, actor, granted.need_opened(), request, now_ms=granted.now
                )
            case life.CommitReshare():
                return await self._commit(granted, request)
            case life.AbortReshare():
                return await self._abort(granted, request)
            case _:
                return await self._backup(granted, request)

    async def claim(self, granted: Granted, wallet_id: str, owner: Actor) -> None:
        """A new wallet becomes a user's, before its share is stored.

        :raises CosignerError: ``wallet_exists``, ``too_many_wallets``, those of records, and of what no longer vouches.
        """
        is_kept = partial(self._statuses.is_kept, owner.user_id, now_ms=granted.now)
        await self._wallets.claim(owner, wallet_id, now_ms=granted.now, is_kept=is_kept)
        await self._require_standing(granted)  # claiming took writes; now comes the share

    async def _import(self, session: Session, granted: Granted, request: life.ImportWallet) -> WalletReply:
        """As in key generation, the wallet becomes the user's before its share can be loaded."""
        actor = granted.need_actor()
        share, wallet, confirmation = await imports.receive(session, request)
        await self.claim(granted, wallet.wallet_id, actor)
        opened = await self._vault.create(
            granted.need_permit(),
            share,
            wallet,
            creator=actor.user_id,
            confirmation=confirmation,
            made_at=granted.now,
            imported=True,
            legacy_wallet_id=request.legacy_wallet_id,
        )
        self._counters["wallets_imported"] += 1
        return await self._statuses.reply(actor, opened)

    async def _commit(self, granted: Granted, request: life.CommitReshare) -> WalletReply:
        """What was committed before is answered alike."""
        actor, opened = granted.need_actor(), granted.need_opened()
        if reshares.verify_commit(self._environment, opened, request):
            await self._backups.require_backup(actor, opened, request.epoch)
            await self._require_standing(granted)  # the host may have held that up
            opened = await self._vault.commit(granted.need_permit(), opened)
            self._counters["reshares"] += 1
        return await self._statuses.reply(actor, opened)

    async def _abort(self, granted: Granted, request: life.AbortReshare) -> WalletReply:
        opened = granted.need_opened()
        reshares.require_abortable(opened, request.epoch)
        opened = await self._vault.abort(granted.need_permit(), opened, now_ms=granted.now)
        return await self._statuses.reply(granted.need_actor(), opened)

    async def _delete(self, granted: Granted) -> WalletReply:
        """The delegates first, then the shares: what is left half done by a crash is done when it is asked for again."""
        opened = granted.need_opened()
        live = not opened.retired
        permit = granted.need_permit()
        await self._ending.end_all(permit, opened.wallet.wallet_id, "user", granted.receipt)
        await self._require_standing(granted)  # that took writes, and there is no way back from what follows
        opened = await self._vault.retire(permit, opened, now_ms=granted.now)
        await self._backups.forget(opened.wallet.wallet_id)
        self._counters["wallets_retired"] += live
        return await self._statuses.reply(granted.need_actor(), opened)

    async def _backup(
        self,
        granted: Granted,
        request: life.BeginBackup | life.ConfirmBackup | life.OpenBackup | life.RemoveBackup,
    ) -> Reply:
        actor, opened = granted.need_actor(), granted.need_opened()
        match request:
            case life.BeginBackup():
                key = await self._backups.begin(actor, opened, request)
                await self._require_standing(granted)  # keys leave only while who asked may have them
                return key
            case life.OpenBackup():
                key = await self._backups.open(actor, request)
                await self._require_standing(granted)
                self._counters["backups_opened"] += 1
                return key
            case life.ConfirmBackup():
                await self._backups.confirm(actor, opened, request)
                self._counters["backups_proved"] += 1
            case life.RemoveBackup():
                await self._backups.remove(actor, request, partial(self._require_standing, granted))
        return await self._statuses.reply(actor, opened)
