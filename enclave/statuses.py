"""What there is to know of wallets beside their shares: whose they are, how old their shares, how well they are backed up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from protocol.envelope.errors import CosignerError
from protocol.lifecycle import WalletList
from protocol.messages import WalletReply
from protocol.wallets import MAX_BACKUPS, WalletEntry, WalletStatus

from .backups import book as backup_rules

if TYPE_CHECKING:
    from .accounts.ownership import WalletRecord, Wallets
    from .actors import Actor
    from .backups import Backups
    from .manifest import LifecycleRules
    from .vault import OpenedWallet, Vault

LISTED_BACKUPS: Final = 4  # of each wallet in a listing, the newest: a listing of many must fit a record
_AT_ONCE: Final = 16  # wallets that are looked up at the same time
_NOT_YET_MS: Final = 3_600_000  # how long a wallet may be owned before it has a share: key generation
_NO_CONFIRMATION: Final = bytes(32)


class Statuses:
    """Tells users of their wallets in one environment."""

    def __init__(self, rules: LifecycleRules, *, vault: Vault, wallets: Wallets, backups: Backups) -> None:
        self._rules = rules
        self._vault = vault
        self._wallets = wallets
        self._backups = backups

    async def reply(self, actor: Actor, opened: OpenedWallet) -> WalletReply:
        """All of one wallet.

        :raises CosignerError: ``not_owner``, and those of records.
        """
        record = await self._wallets.require_owner(actor, opened.wallet.wallet_id)
        status = await self._status(record, opened, MAX_BACKUPS)
        return WalletReply(opened.wallet, _confirmation(opened), status)

    async def show(self, actor: Actor, opened: OpenedWallet) -> WalletReply:
        """:meth:`reply`; a wallet from before listings were kept is in them from now on.

        :raises CosignerError: as :meth:`reply`.
        """
        if not opened.retired:
            await self._wallets.holdings.add(actor.user_id, opened.wallet.wallet_id)
        return await self.reply(actor, opened)

    async def listing(self, actor: Actor) -> WalletList:
        """The user's wallets, oldest first.

        :raises CosignerError: those of records and vault.
        """
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def entry(wallet_id: str) -> WalletEntry | None:
            async with at_once:
                return await self._entry(actor, wallet_id)

        wallet_ids = await self._wallets.holdings.of(actor.user_id)
        entries = await asyncio.gather(*(entry(wallet_id) for wallet_id in wallet_ids))
        return WalletList([entry for entry in entries if entry is not None])

    async def is_kept(self, user_id: str, wallet_id: str, *, now_ms: int) -> bool:
        """Whether a wallet must stay in its user's list when there is no room for another."""
        record = await self._wallets.find(wallet_id)
        if record is None or record.owner != user_id:
            return False
        opened = await self._find(wallet_id)
        return now_ms - record.created_at < _NOT_YET_MS if opened is None else not opened.retired

    async def _entry(self, actor: Actor, wallet_id: str) -> WalletEntry | None:
        """``None``: the wallet is not this user's, or never came to be."""
        record, opened = await self._wallets.find(wallet_id), await self._find(wallet_id)
        if (
            record is None
            or opened is None
            or (record.owner, record.creator) != (actor.user_id, opened.creator)
        ):
            return None
        status = await self._status(record, opened, LISTED_BACKUPS)
        return WalletEntry(opened.wallet, status, _confirmation(opened))

    async def _find(self, wallet_id: str) -> OpenedWallet | None:
        try:
            return await self._vault.open(wallet_id)
        except CosignerError as error:
            if error.code != "wallet_unknown":
                raise
            return None

    async def _status(self, record: WalletRecord, opened: OpenedWallet, most: int) -> WalletStatus:
        book = await self._backups.of(opened.wallet.wallet_id)
        backed_up = backup_rules.backed_up(book, record.owner, opened.current)
        unbacked = self._rules.backup == "required" and not backed_up
        since = opened.current.made_at or record.created_at
        return WalletStatus(
            state="retired" if opened.retired else "unbacked" if unbacked else "active",
            custody=record.custody,
            epoch_since=since,
            refresh_due=None if opened.retired else self._refresh_due(opened, since),
            pending=None if opened.pending is None else opened.pending.wallet.epoch,
            backed_up=backed_up,
            backups=backup_rules.listed(book, record.owner, opened)[-most:],
            imported=opened.header.imported,
            legacy_wallet_id=opened.header.legacy_wallet_id,
        )

    def _refresh_due(self, opened: OpenedWallet, since: int) -> int | None:
        """At once after an import: the device that dealt the enclave's share has seen it."""
        if opened.header.imported and opened.wallet.epoch == 1:
            return since
        age = self._rules.max_epoch_age_s
        return since + age * 1000 if age else None


def _confirmation(opened: OpenedWallet) -> bytes:
    return _NO_CONFIRMATION if opened.retired else opened.confirmation
