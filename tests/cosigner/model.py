"""A small model of the enclave's side of a wallet's life, over the real native core: it fails, forgets and is rolled back as a test says.

It has no channel, no accounts and no policy; what those do is tested with the enclave itself. What it has is what the client's crash safety
rests on: one record for a wallet, written whole, with an active and a pending share.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from cosigner.errors import EnclaveRefused, HostError
from cosigner.store import ShareStore
from protocol.binding import backup_context, commit_context, reshare_context
from protocol.envelope.errors import Culprit, Reaction
from protocol.lifecycle import (
    AbortReshare,
    BackupKey,
    BeginBackup,
    BeginReshare,
    CommitReshare,
    ConfirmBackup,
    FinishReshare,
    OpenBackup,
    RemoveBackup,
    ReshareBegun,
    ReshareStored,
)
from protocol.messages import GetWallet, WalletReply
from protocol.wallets import ENCLAVE_PARTY, BackupInfo, WalletInfo, WalletStatus
from tests.cosigner.ceremonies import ceremony
from threshold import KeyShare, ReshareRound2, ThresholdError, frost_begin, frost_respond, reshare_start

ENVIRONMENT = "sandbox"
When = Literal["before", "after"]


@dataclass(frozen=True)
class Set:
    """One epoch's share of the enclave."""

    wallet: WalletInfo
    share: KeyShare
    confirmation: bytes


@dataclass(frozen=True)
class Kept:
    """A backup, as the enclave keeps it."""

    info: BackupInfo
    key: bytes
    locator: str
    proof: bytes | None


@dataclass(frozen=True)
class Record:
    """What lies in storage."""

    active: Set
    pending: Set | None = None
    backups: dict[str, Kept] = field(default_factory=dict)


class ModelSession:
    """A session: calls go to the model, in its network."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.transcript = os.urandom(32)
        self.ceremony: tuple[BeginReshare, ReshareRound2] | None = None

    async def call(self, request: Any, kind: type[Any]) -> Any:
        return await self._model.ask(request, self)


class Model:
    """The enclave, its storage, and the way to it. It stands in for :class:`cosigner.actions.Actions`, too.

    :ivar history: every record that storage ever held.
    :ivar fault: decides about each request: whether it is lost on the way there, on the way back, or neither.
    :ivar hook: runs before each request that arrives.
    """

    environment = ENVIRONMENT

    def __init__(self, chain: str = "solana") -> None:
        made = ceremony(chain)
        self.made = made
        first = Set(made.wallet, made.enclave_share, made.confirmations[ENCLAVE_PARTY])
        self.history = [Record(first)]
        self.fault: Callable[[Any], When | None] = lambda _: None
        self.asked: list[str] = []
        self.backup_required = False
        self.guesses = 0

    @property
    def record(self) -> Record:
        return self.history[-1]

    @property
    def wallet_id(self) -> str:
        return self.made.wallet.wallet_id

    def on_device(self, store: ShareStore) -> ShareStore:
        """The first share, as key generation leaves it."""
        store.save_pending(ENVIRONMENT, self.made.state, self.made.wallet)
        store.activate(self.wallet_id, self.made.confirmations)
        return store

    def roll_back(self, to: int) -> None:
        """The host gives the enclave an older record, and starts it anew so that it does not notice."""
        self.history.append(self.history[to])

    # --- as Actions ----------------------------------------------------------------------------------------------------------

    async def act(self, request: Any, kind: type[Any], *, given: Any = None) -> Any:
        return await self.ask(request, ModelSession(self))

    async def perform(
        self, session: ModelSession, request: Any, kind: type[Any], *, given: Any = None
    ) -> Any:
        return await self.ask(request, session)

    async def run(self, operation: Callable[[Any], Awaitable[Any]]) -> Any:
        return await operation(ModelSession(self))

    # --- the enclave ---------------------------------------------------------------------------------------------------------

    async def ask(self, request: Any, session: ModelSession) -> Any:
        self.asked.append(request.kind)
        fault = self.fault(request)
        if fault == "before":
            raise HostError("host_unreachable", "down")
        try:
            reply = self._answer(request, session)
        except ThresholdError as error:
            raise _refused(error.code) from None
        if fault == "after":
            raise HostError("host_unreachable", "down")
        return reply

    def _answer(self, request: Any, session: ModelSession) -> Any:
        match request:
            case GetWallet():
                return self.reply()
            case BeginReshare():
                return self._begin(request, session)
            case FinishReshare():
                return self._finish(request, session)
            case CommitReshare():
                return self._commit(request)
            case AbortReshare(epoch=epoch):
                if self.record.pending is not None and self.record.pending.wallet.epoch == epoch:
                    self._write(pending=None)
                elif epoch == self.record.active.wallet.epoch:
                    raise _refused("reshare_committed")
                return self.reply()
            case BeginBackup():
                return self._begin_backup(request)
            case ConfirmBackup():
                return self._confirm_backup(request)
            case OpenBackup(backup_id=backup_id, passcode_proof=proof):
                kept = self.record.backups.get(backup_id)
                if kept is None:
                    raise _refused("backup_unknown")
                if kept.proof != proof:
                    self.guesses += 1
                    raise _refused("passcode_wrong")
                return BackupKey(backup_id, kept.key, kept.locator)
            case RemoveBackup(backup_id=backup_id):
                self._write(backups={k: v for k, v in self.record.backups.items() if k != backup_id})
                return self.reply()
        raise AssertionError(request)

    def reply(self) -> WalletReply:
        active, pending = self.record.active, self.record.pending
        infos = [kept.info for kept in self.record.backups.values()]
        status = WalletStatus(
            state="active",
            custody="delegated",
            epoch_since=1,
            refresh_due=None,
            pending=None if pending is None else pending.wallet.epoch,
            backed_up=any(info.proved_at for info in infos),
            backups=infos,
            imported=False,
            legacy_wallet_id="",
        )
        return WalletReply(active.wallet, active.confirmation, status)

    def _write(self, **changes: Any) -> None:
        self.history.append(replace(self.record, **changes))

    def _begin(self, request: BeginReshare, session: ModelSession) -> ReshareBegun:
        active = self.record.active
        if self.record.pending is not None:
            raise _refused("reshare_pending")
        if request.epoch != active.wallet.epoch:
            raise _refused("epoch_superseded")
        receivers = [party for party in range(1, request.parties + 1) if party != ENCLAVE_PARTY]
        context = reshare_context(
            transcript=session.transcript,
            environment=ENVIRONMENT,
            wallet_id=request.wallet_id,
            share_set_id=active.wallet.share_set_id,
            purpose=request.purpose,
            epoch=active.wallet.epoch + 1,
        )
        dealers = sorted([request.dealer, ENCLAVE_PARTY])
        round1, messages1 = reshare_start(
            [active.share], dealers, [ENCLAVE_PARTY], request.threshold, request.parties, context
        )
        round2, messages2 = round1.advance({request.dealer: request.message1})
        session.ceremony = request, round2
        return ReshareBegun(
            messages1[ENCLAVE_PARTY], [messages2[ENCLAVE_PARTY, party] for party in receivers]
        )

    def _finish(self, request: FinishReshare, session: ModelSession) -> ReshareStored:
        assert session.ceremony is not None
        (begun, round2), session.ceremony = session.ceremony, None
        if self.record.pending is not None:
            raise _refused("reshare_pending")
        round3, confirmations = round2.advance({(begun.dealer, ENCLAVE_PARTY): request.message2})
        receivers = [party for party in range(1, begun.parties + 1) if party != ENCLAVE_PARTY]
        shares = round3.confirm(dict(zip(receivers, request.confirmations, strict=True)))
        wallet = msgspec.structs.replace(
            self.record.active.wallet, epoch=begun.epoch + 1, threshold=begun.threshold, parties=begun.parties
        )
        pending = Set(wallet, shares[ENCLAVE_PARTY], confirmations[ENCLAVE_PARTY])
        self._write(pending=pending)
        return ReshareStored(wallet, pending.confirmation)

    def _commit(self, request: CommitReshare) -> WalletReply:
        active, pending = self.record.active, self.record.pending
        target = active if active.wallet.epoch == request.epoch else pending
        if target is None or target.wallet.epoch != request.epoch:
            raise _refused("reshare_unknown")
        context = commit_context(
            environment=ENVIRONMENT,
            wallet_id=request.wallet_id,
            share_set_id=target.wallet.share_set_id,
            epoch=request.epoch,
            confirmation=target.confirmation,
        )
        parties = [party for party in range(1, target.wallet.parties + 1) if party != ENCLAVE_PARTY]
        if len(parties) != len(request.proofs):
            raise _refused("parties_wrong_count")
        for party, proof in zip(parties, request.proofs, strict=True):
            target.share.verify_proof(party, context, proof)
        if target is pending:
            backed_up = any(
                kept.info.proved_at and kept.info.epoch == request.epoch
                for kept in self.record.backups.values()
            )
            if self.backup_required and not backed_up:
                raise _refused("backup_required")
            fresh = {k: v for k, v in self.record.backups.items() if v.info.epoch >= request.epoch}
            self._write(active=target, pending=None, backups=fresh)
        return self.reply()

    def _begin_backup(self, request: BeginBackup) -> BackupKey:
        backup_id = str(uuid.uuid4())
        info = BackupInfo(backup_id, request.epoch, request.party, request.passcode, 1, None, [])
        kept = Kept(info, os.urandom(32), os.urandom(32).hex(), request.passcode_proof)
        self._write(backups={**self.record.backups, backup_id: kept})
        return BackupKey(backup_id, kept.key, kept.locator)

    def _confirm_backup(self, request: ConfirmBackup) -> WalletReply:
        kept = self.record.backups[request.backup_id]
        of = self.record.active if kept.info.epoch == self.record.active.wallet.epoch else self.record.pending
        assert of is not None
        context = backup_context(
            environment=ENVIRONMENT,
            wallet_id=request.wallet_id,
            backup_id=request.backup_id,
            epoch=kept.info.epoch,
            party=kept.info.party,
        )
        of.share.verify_proof(kept.info.party, context, request.proof)
        info = msgspec.structs.replace(kept.info, proved_at=2, locations=request.locations)
        self._write(backups={**self.record.backups, request.backup_id: replace(kept, info=info)})
        return self.reply()

    # --- signing -------------------------------------------------------------------------------------------------------------

    def signs_with(self, share: KeyShare) -> bool:
        """Whether the enclave's active share and this one make a signature; FROST suites only."""
        message = os.urandom(32)
        nonces, commitments = frost_begin(share, 1)
        try:
            answer = frost_respond(self.record.active.share, [message], {share.identifier: commitments})
            nonces.finish(share, [message], {ENCLAVE_PARTY: answer})
        except ThresholdError:
            return False
        return True


def _refused(code: str) -> EnclaveRefused:
    return EnclaveRefused(code, code, culprit=Culprit.CLIENT, reaction=Reaction.ABORT)
