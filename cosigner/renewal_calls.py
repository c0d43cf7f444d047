"""New shares, and recovery: the calls of :class:`cosigner.client.AsyncClient` after which older shares are worthless."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit
from protocol.wallets import CLIENT_PARTY, ENCLAVE_PARTY, THRESHOLD

from . import reshare, settling
from .backups import files, making
from .backups.errors import BackupError
from .backups.locations import LocationError
from .backups.making import NO_BACKUP, BackupPlan
from .errors import EnclaveRefused
from .wallets import Wallet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from protocol.lifecycle import Purpose
    from protocol.messages import WalletReply
    from protocol.wallets import BackupInfo, WalletInfo
    from threshold import KeyShare

    from .actions import Actions
    from .backups.locations import BackupLocation
    from .backups.making import Apart, MadeBackup
    from .evidence import Given
    from .store import ShareStore


class RenewalCalls:
    """The calls of :class:`cosigner.client.AsyncClient` that make new shares.

    Those that make new shares take the same keywords. ``backup``: where a new backup of this device's share goes, since the old one is
    worthless afterwards; ``None``: as before, which does where the old one lies at the service and has no passcode, or where there is
    none; :data:`NO_BACKUP`: the wallet shall have none. ``apart``: for each party from 3 on, where its new share goes.

    They raise :class:`EnclaveRefused` (``factor_required``, ``policy_denied``, …), :class:`LocationError`, :class:`BackupError`; whatever
    they raise, the wallet signs as before, or ``renewal_pending`` says that it is being settled.
    """

    _actions: Actions

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

        The old backup is deleted where it was looked for, as far as that is possible.

        :param plan: where to look, and the passcode if the backup has one.
        :param backup: where the new backup goes, and its passcode; by default as the old one.
        :raises BackupError: ``backup_unknown``: there is no backup of the wallet's newest shares at these locations.
        :raises EnclaveRefused: ``passcode_wrong``, ``factor_locked``.
        """
        reply = await self._settle(wallet_id)
        share = await self._open_any(reply, plan, given)
        return await self._renew(
            share,
            reply,
            purpose="recover",
            backup=plan if backup is None else backup,
            apart=apart,
            given=given,
            old=plan.locations,
        )

    async def _open_any(self, reply: WalletReply, plan: BackupPlan, given: Given) -> KeyShare:
        """The share in one of the backups; where the newest is not to be had any more, an older one of the same epoch does as well.

        :raises CosignerError: what kept the newest from being read; of what the enclave refuses nothing else is tried.
        """
        failures: list[CosignerError] = []
        for info in _readable(reply, plan.locations):
            try:
                share, locator = await making.open_again(self._actions, reply.wallet, info, plan, given=given)
            except (BackupError, LocationError) as error:
                failures.append(error)
                continue
            await self._keep_locator(reply.wallet.wallet_id, info.backup_id, locator)
            return share
        raise failures[0]

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
        try:
            return await self._renew(share, reply, purpose="recover", backup=backup, apart=apart, given=given)
        except EnclaveRefused as error:
            if error.code != "wrong_context":  # the ceremony binds the public shares of the epoch
                raise
            raise BackupError(
                "backup_outdated",
                f"The share in this file was made for epoch {header.epoch} and given up; others took its place. Look for a later file.",
            ) from error

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
        old: Sequence[BackupLocation] = (),
    ) -> Wallet:
        """Renew the shares of the wallet that the enclave described; by default for the same parties.

        :param old: where backups of the old shares lie, besides the locations of the new one.
        """
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
        await self._clear_away(reply, [*plan.locations, *(one for one in old if one not in plan.locations)])
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


def _readable(reply: WalletReply, locations: Sequence[BackupLocation]) -> list[BackupInfo]:
    """Those that may be read at these locations, newest first; at least one.

    :raises BackupError: ``backup_unknown``.
    """
    kinds = {location.kind for location in locations}
    proved = _proved(reply)
    found = [info for info in proved if kinds & set(info.locations)]
    if found:
        return found
    known = sorted({kind for info in proved for kind in info.locations})
    raise BackupError(
        "backup_unknown",
        f"There is no backup of this wallet's newest shares at {', '.join(sorted(kinds)) or 'no location'}; "
        + (f"the enclave knows of some at: {', '.join(known)}." if known else "the enclave knows of none."),
    )
