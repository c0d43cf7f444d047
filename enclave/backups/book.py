"""What the enclave remembers of a wallet's backups: one sealed record, changed as a whole by pure transitions."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from enclave.accounts.factors import next_attempt
from enclave.accounts.user import UNLOCKED, Lockout, refusal
from protocol.accounts import UserId
from protocol.actions import Hash, Milliseconds
from protocol.envelope.messages import Epoch
from protocol.wallets import (
    CLIENT_PARTY,
    MAX_BACKUPS,
    BackupId,
    BackupInfo,
    LocationName,
    PartyId,
    PasscodeSetup,
    WalletId,
)

if TYPE_CHECKING:
    from enclave.vault import EpochFacts, OpenedWallet
    from protocol.envelope.errors import CosignerError

_VERIFIER_LABEL: Final = b"cosigner/passcode-verifier/v1"


class StoredBackup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One backup.

    :ivar user_id: who made it; nobody else opens it, whoever owns the wallet by then.
    :ivar confirmation: the enclave's, of the ceremony that made the share. An epoch that was aborted and the one that was made in its place
        have the same number, and nothing else in common.
    :ivar verifier: SHA-256 of a label and what the right passcode gives; ``None`` where there is no passcode.
    :ivar lockout: passcodes that were tried. Each backup has its own count: whoever makes one more, with a passcode they know, must not be able
        to wipe the slate of another.
    """

    backup_id: BackupId
    user_id: UserId
    share_set_id: WalletId
    epoch: Epoch
    confirmation: Hash
    party: PartyId
    passcode: PasscodeSetup | None
    verifier: Hash | None
    created_at: Milliseconds
    proved_at: Milliseconds | None
    locations: Annotated[tuple[LocationName, ...], Meta(max_length=8)]
    lockout: Lockout

    def info(self) -> BackupInfo:
        """As its owner sees it."""
        return BackupInfo(
            backup_id=self.backup_id,
            epoch=self.epoch,
            party=self.party,
            passcode=self.passcode,
            created_at=self.created_at,
            proved_at=self.proved_at,
            locations=list(self.locations),
        )


class BackupBook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wallet's backups, oldest first."""

    version: Annotated[int, Meta(ge=1, le=1)]
    backups: Annotated[tuple[StoredBackup, ...], Meta(max_length=MAX_BACKUPS)]


EMPTY: Final = BackupBook(version=1, backups=())


def add(book: BackupBook, backup: StoredBackup, opened: OpenedWallet) -> BackupBook:
    """Keep a new backup. Where there is no room, those of shares that neither count nor wait go, and then the oldest that was never proved.

    :raises CosignerError: ``too_many_backups``.
    """
    kept = book.backups
    if len(kept) >= MAX_BACKUPS:
        kept = tuple(old for old in kept if _live(old, opened))
    if len(kept) >= MAX_BACKUPS:
        unproved = next((old for old in kept if old.proved_at is None), None)
        kept = tuple(old for old in kept if old is not unproved)
    if len(kept) >= MAX_BACKUPS:
        raise refusal(
            "too_many_backups",
            f"A wallet has at most {MAX_BACKUPS} backups; remove one first.",
        )
    return replace(book, backups=(*kept, backup))


def find(book: BackupBook, backup_id: str, user_id: str) -> StoredBackup:
    """A backup that this user made.

    :raises CosignerError: ``backup_unknown``.
    """
    for backup in book.backups:
        if backup.backup_id == backup_id and backup.user_id == user_id:
            return backup
    raise unknown()


def listed(book: BackupBook, user_id: str, opened: OpenedWallet) -> list[BackupInfo]:
    """Those that this user made, but of shares that were aborted."""
    return [
        backup.info()
        for backup in book.backups
        if backup.user_id == user_id and (backup.epoch < opened.wallet.epoch or _live(backup, opened))
    ]


def prove(
    book: BackupBook, backup_id: str, user_id: str, *, locations: tuple[str, ...], now_ms: int
) -> BackupBook:
    """A backup was fetched from where it lies and opened; it counts from now on.

    :raises CosignerError: ``backup_unknown``.
    """
    backup = find(book, backup_id, user_id)
    return _with(book, replace(backup, locations=locations, proved_at=now_ms))


def remove(book: BackupBook, backup_id: str, user_id: str) -> BackupBook:
    """Forget a backup; its key is never given out again.

    :raises CosignerError: ``backup_unknown``.
    """
    backup = find(book, backup_id, user_id)
    return replace(book, backups=tuple(old for old in book.backups if old is not backup))


def count_attempt(book: BackupBook, backup_id: str, user_id: str, *, now_ms: int, cold: bool) -> BackupBook:
    """Count a passcode. To be stored, and acknowledged by the host, before :func:`use_passcode` compares it.

    :param cold: see :func:`enclave.accounts.factors.count_attempt`.
    :raises CosignerError: ``backup_unknown``, ``factor_locked``.
    """
    backup = find(book, backup_id, user_id)
    lockout = next_attempt(backup.lockout, "passcodes", now_ms=now_ms, cold=cold)
    return _with(book, replace(backup, lockout=lockout))


def use_passcode(book: BackupBook, backup_id: str, user_id: str, proof: bytes) -> BackupBook:
    """Compare a passcode that was counted.

    :raises CosignerError: ``backup_unknown``, ``passcode_wrong``.
    """
    backup = find(book, backup_id, user_id)
    if backup.verifier is None or not hmac.compare_digest(backup.verifier, verifier_of(proof)):
        raise passcode_wrong()
    return _with(book, replace(backup, lockout=UNLOCKED))


def backed_up(book: BackupBook, user_id: str, facts: EpochFacts) -> bool:
    """Whether a proved backup by this user of their own share of this epoch exists."""
    return any(
        backup.proved_at is not None
        and (backup.user_id, backup.party) == (user_id, CLIENT_PARTY)
        and is_of(backup, facts)
        for backup in book.backups
    )


def is_of(backup: StoredBackup, facts: EpochFacts) -> bool:
    """Whether the share in it is one of these."""
    return (backup.epoch, backup.confirmation) == (facts.wallet.epoch, facts.confirmation)


def _live(backup: StoredBackup, opened: OpenedWallet) -> bool:
    """Whether its share counts, or may come to."""
    pending = opened.pending
    return is_of(backup, opened.current) or (pending is not None and is_of(backup, pending))


def verifier_of(proof: bytes) -> bytes:
    """What is kept of a passcode's proof."""
    return hashlib.sha256(_VERIFIER_LABEL + proof).digest()


def unknown() -> CosignerError:
    """There is no such backup, or none of these shares."""
    return refusal("backup_unknown", "The wallet has no such backup of this user; list the wallet's backups.")


def passcode_wrong() -> CosignerError:
    """The passcode, or its absence, is not what the backup was made with."""
    return refusal(
        "passcode_wrong", "This is not the passcode of this backup; after some wrong ones you must wait."
    )


def _with(book: BackupBook, changed: StoredBackup) -> BackupBook:
    return replace(
        book,
        backups=tuple(changed if old.backup_id == changed.backup_id else old for old in book.backups),
    )
