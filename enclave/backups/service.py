"""The requests about backups, and what depends on whether there is one."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from enclave.accounts.user import UNLOCKED, refusal
from enclave.records import RecordConflictError, nothing_more
from enclave.storage import StorageConflictError
from protocol.binding import backup_context
from protocol.envelope.backups import EMPTY as EMPTY_SLOT
from protocol.envelope.backups import slot_key
from protocol.lifecycle import BackupKey

from . import book as rules
from . import keys
from .book import EMPTY, BackupBook, StoredBackup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enclave.actors import Actor
    from enclave.authn.clock import Clock
    from enclave.manifest import Environment
    from enclave.records import Records, Versioned
    from enclave.storage import Storage
    from enclave.vault import OpenedWallet
    from protocol.lifecycle import BeginBackup, ConfirmBackup, OpenBackup, RemoveBackup
    from threshold import SealingKey

KIND: Final = "backups"
_ATTEMPTS: Final = 4
_REMEMBERED: Final = 100_000


class Backups:
    """The backups of one environment's wallets.

    :param storage: the host's; slots for ciphertexts are opened in it.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        records: Records,
        storage: Storage,
        sealing_key: SealingKey,
        clock: Clock,
    ) -> None:
        self._environment = environment.id
        self._required = environment.lifecycle.backup == "required"
        self._records = records
        self._storage = storage
        self._sealing_key = sealing_key
        self._clock = clock
        self._warm: OrderedDict[str, None] = OrderedDict()

    # --- the requests ------------------------------------------------------------------------------------------------------

    async def begin(self, actor: Actor, opened: OpenedWallet, request: BeginBackup) -> BackupKey:
        """A key for a new backup, which counts once it is proved.

        :raises CosignerError: ``party_refused``, ``epoch_stale``, ``epoch_superseded``, ``passcode_wrong`` (set-up and proof come together
            or not at all), ``too_many_backups``, and those of records and storage.
        """
        opened.require_party(request.party, request.epoch)
        if (request.passcode is None) != (request.passcode_proof is None):
            raise rules.passcode_wrong()
        proof = request.passcode_proof
        backup = StoredBackup(
            backup_id=str(uuid.uuid4()),
            user_id=actor.user_id,
            share_set_id=opened.wallet.share_set_id,
            epoch=request.epoch,
            confirmation=opened.facts_of(request.epoch).confirmation,
            party=request.party,
            passcode=request.passcode,
            verifier=None if proof is None else rules.verifier_of(proof),
            created_at=self._clock.now_ms(),
            proved_at=None,
            locations=(),
            lockout=UNLOCKED,
        )
        await self._change(request.wallet_id, lambda book: rules.add(book, backup, opened))
        reply = self._key(request.wallet_id, backup)
        await self._open_slot(reply.locator)
        return reply

    async def confirm(self, actor: Actor, opened: OpenedWallet, request: ConfirmBackup) -> None:
        """A backup was read back: the share that came out of it proves itself.

        :raises CosignerError: ``backup_unknown``, also if it is of shares that were aborted; ``epoch_stale``, ``epoch_superseded``: it is of
            another epoch than those that count or wait; and those of records.
        :raises ThresholdError: ``invalid_proof``.
        """
        book = await self.of(request.wallet_id)
        backup = rules.find(book, request.backup_id, actor.user_id)
        if not rules.is_of(backup, opened.facts_of(backup.epoch)):
            raise rules.unknown()
        context = backup_context(
            environment=self._environment,
            wallet_id=request.wallet_id,
            backup_id=backup.backup_id,
            epoch=backup.epoch,
            party=backup.party,
        )
        opened.verify_proofs(backup.epoch, context, [(backup.party, request.proof)])
        locations, now_ms = tuple(request.locations), self._clock.now_ms()
        await self._change(
            request.wallet_id,
            lambda book: rules.prove(
                book, request.backup_id, actor.user_id, locations=locations, now_ms=now_ms
            ),
        )

    async def open(self, actor: Actor, request: OpenBackup) -> BackupKey:
        """The key of a backup again. A passcode is counted, durably, before it is looked at.

        :raises CosignerError: ``backup_unknown``, ``passcode_wrong``, ``factor_locked``, and those of records.
        """
        wallet_id, proof = request.wallet_id, request.passcode_proof
        backup = rules.find(await self.of(wallet_id), request.backup_id, actor.user_id)
        if (backup.verifier is None) != (proof is None):
            raise rules.passcode_wrong()
        if proof is not None:
            await self._spend_attempt(wallet_id, backup, proof)
        return self._key(wallet_id, backup)

    async def remove(
        self,
        actor: Actor,
        request: RemoveBackup,
        require: Callable[[], Awaitable[object]] = nothing_more,
    ) -> None:
        """:func:`.book.remove`.

        :param require: raises if whoever asks may do it no longer; asked right before the write.
        :raises CosignerError: ``backup_unknown``, and those of records.
        """
        await self._change(
            request.wallet_id, lambda book: rules.remove(book, request.backup_id, actor.user_id), require
        )

    # --- what depends on it ------------------------------------------------------------------------------------------------

    async def of(self, wallet_id: str) -> BackupBook:
        """A wallet's backups."""
        found = await self._read(wallet_id)
        return EMPTY if found is None else found.value

    async def forget(self, wallet_id: str) -> None:
        """The wallet is retired: no key of its backups is given out again."""
        await self._change(wallet_id, lambda book: book if book == EMPTY else EMPTY)

    async def require_backup(self, actor: Actor, opened: OpenedWallet, epoch: int | None = None) -> None:
        """Where the environment wants one: that a backup of the client's share is proved.

        :param epoch: of the share; the wallet's, if not given.
        :raises CosignerError: ``backup_required``.
        """
        if not self._required:
            return
        facts = opened.current if epoch is None else opened.facts_of(epoch)
        if not rules.backed_up(await self.of(opened.wallet.wallet_id), actor.user_id, facts):
            raise refusal(
                "backup_required",
                f"This environment wants a backup of your share of epoch {facts.wallet.epoch} first; make one and confirm it.",
            )

    async def _spend_attempt(self, wallet_id: str, backup: StoredBackup, proof: bytes) -> None:
        name, now_ms = (backup.backup_id, backup.user_id), self._clock.now_ms()
        cold = backup.backup_id not in self._warm
        await self._change(wallet_id, lambda book: rules.count_attempt(book, *name, now_ms=now_ms, cold=cold))
        await self._change(wallet_id, lambda book: rules.use_passcode(book, *name, proof))
        self._warm[backup.backup_id] = None
        self._warm.move_to_end(backup.backup_id)
        if len(self._warm) > _REMEMBERED:
            self._warm.popitem(last=False)

    async def _change(
        self,
        wallet_id: str,
        transition: Callable[[BackupBook], BackupBook],
        require: Callable[[], Awaitable[object]] = nothing_more,
    ) -> BackupBook:
        """Read, change, and durably write; what the transition leaves as it was is not written."""
        async with self._records.lock(KIND, wallet_id):
            for attempt in range(_ATTEMPTS):
                found = await self._read(wallet_id)
                before, revision = (EMPTY, 0) if found is None else (found.value, found.revision)
                changed = transition(before)
                if changed == before:
                    return before
                await require()
                try:
                    await self._records.write(KIND, wallet_id, changed, expected=revision)
                except RecordConflictError:
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    return changed
        raise AssertionError

    async def _read(self, wallet_id: str) -> Versioned[BackupBook] | None:
        return await self._records.read(KIND, wallet_id, BackupBook)

    def _key(self, wallet_id: str, backup: StoredBackup) -> BackupKey:
        return BackupKey(
            backup_id=backup.backup_id,
            key=keys.key_of(self._sealing_key, self._environment, wallet_id, backup),
            locator=keys.locator_of(self._sealing_key, self._environment, wallet_id, backup),
        )

    async def _open_slot(self, locator: str) -> None:
        """Let the host take a ciphertext from whoever names the locator. The host learns its hash, not the locator."""
        try:
            await self._storage.put(slot_key(self._environment, locator), EMPTY_SLOT, expected=0, epoch=1)
        except StorageConflictError:
            return  # it is open: an answer of storage was lost before
