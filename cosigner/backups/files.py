"""Backup files, version 1: one share, sealed (``docs/spec/backups.md`` §5).

A file of kind ``service`` opens with a key that the enclave gives to its user, and with the user's passcode where one was set: neither the
file, nor the storage it lies in, nor the enclave alone gives the share. A file of kind ``offline`` opens with a passphrase and nothing else;
it is for the share that lies apart, and for what is done without the service.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.binding import backup_context
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.messages import Epoch
from protocol.names import EnvironmentId
from protocol.wallets import (
    BackupId,
    ChainName,
    NetworkName,
    PartyId,
    PasscodeSetup,
    SuiteName,
    WalletId,
    WalletInfo,
)
from threshold import KeyShare, SealingKey, ThresholdError

from .errors import BackupError

if TYPE_CHECKING:
    from threshold.device import Passcode

MAX_FILE: Final = 64 << 10
MAX_PASSPHRASE: Final = 1024  # bytes; what the native core accepts
_SALT: Final = 16


class BackupHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seal of a backup is bound to. No public key: whoever keeps the file learns no address from it.

    :ivar party: whose share it is.
    :ivar kind: ``service``: the enclave's key opens it; ``offline``: a passphrase alone.
    :ivar passcode: Argon2id parameters, of the passcode or passphrase; ``None``: kind ``service`` without a passcode.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    kind: Literal["service", "offline"]
    environment: EnvironmentId
    wallet_id: WalletId
    share_set_id: WalletId
    suite: SuiteName
    chain: ChainName
    network: NetworkName
    epoch: Epoch
    threshold: PartyId
    parties: PartyId
    party: PartyId
    backup_id: BackupId
    passcode: PasscodeSetup | None

    def __post_init__(self) -> None:
        if self.kind == "offline" and self.passcode is None:
            msg = "an offline backup has a passphrase"
            raise ValueError(msg)

    @property
    def context(self) -> bytes:
        """What its passcode, and the proof that it is readable, are bound to; 32 bytes."""
        return backup_context(
            environment=self.environment,
            wallet_id=self.wallet_id,
            backup_id=self.backup_id,
            epoch=self.epoch,
            party=self.party,
        )

    def describes(self, wallet: WalletInfo) -> bool:
        """Whether it is of this wallet, at this epoch."""
        ours = (
            self.wallet_id,
            self.share_set_id,
            self.suite,
            self.chain,
            self.network,
            self.epoch,
            self.threshold,
            self.parties,
        )
        return ours == (
            wallet.wallet_id,
            wallet.share_set_id,
            wallet.suite,
            wallet.chain,
            wallet.network,
            wallet.epoch,
            wallet.threshold,
            wallet.parties,
        )

    def wallet(self, public_key: bytes) -> WalletInfo:
        """The wallet, whose public key the share knows."""
        return WalletInfo(
            wallet_id=self.wallet_id,
            share_set_id=self.share_set_id,
            suite=self.suite,
            chain=self.chain,
            network=self.network,
            epoch=self.epoch,
            threshold=self.threshold,
            parties=self.parties,
            public_key=public_key,
        )


class BackupFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:ivar sealed: the share (``docs/spec/seal.md``); associated data: canonical CBOR of the header."""

    header: BackupHeader
    sealed: Annotated[bytes, Meta(min_length=1, max_length=16384)]

    @classmethod
    def decode(cls, blob: bytes) -> BackupFile:
        """Parse a backup file; its seal is not opened.

        :raises BackupError: ``backup_malformed``.
        """
        try:
            return cbor.decode(blob, cls, limit=MAX_FILE, culprit=Culprit.STORAGE)
        except ProtocolError:
            raise BackupError(
                "backup_malformed", "This is no backup, or it was damaged, or written by another version."
            ) from None

    def open_with(self, key: SealingKey) -> KeyShare:
        """The share, checked against the header.

        :raises BackupError: ``backup_not_opened``.
        """
        header = self.header
        try:
            share = key.open_share(self.sealed, cbor.encode(header))
        except ThresholdError:
            raise _not_opened() from None
        facts = (share.suite, share.identifier, share.epoch, share.min_signers, share.max_signers)
        if facts != (header.suite, header.party, header.epoch, header.threshold, header.parties):
            raise _not_opened()
        return share


def header_of(
    share: KeyShare,
    wallet: WalletInfo,
    *,
    environment: str,
    kind: Literal["service", "offline"],
    backup_id: str,
    passcode: PasscodeSetup | None,
) -> BackupHeader:
    """The header of a backup of ``share``."""
    return BackupHeader(
        version=1,
        kind=kind,
        environment=environment,
        wallet_id=wallet.wallet_id,
        share_set_id=wallet.share_set_id,
        suite=wallet.suite,
        chain=wallet.chain,
        network=wallet.network,
        epoch=wallet.epoch,
        threshold=wallet.threshold,
        parties=wallet.parties,
        party=share.identifier,
        backup_id=backup_id,
        passcode=passcode,
    )


def seal(share: KeyShare, header: BackupHeader, key: SealingKey) -> bytes:
    """A backup file."""
    return cbor.encode(BackupFile(header=header, sealed=key.seal_share(share, cbor.encode(header))))


def service_key(header: BackupHeader, backup_key: bytes, passcode: Passcode | None) -> SealingKey:
    """What opens a backup of kind ``service``: the enclave's key, and the passcode if it has one.

    :raises BackupError: ``passcode_required``: it has one, and none was given.
    """
    if header.passcode is None:
        return SealingKey.from_data_key(backup_key)
    if passcode is None:
        raise BackupError("passcode_required", "This backup has a passcode.", culprit=Culprit.CLIENT)
    return passcode.sealing_key(backup_key, header.context)


def new_setup() -> PasscodeSetup:
    """Argon2id parameters for a new passcode or passphrase: RFC 9106 §4, second recommendation, and a random salt."""
    return PasscodeSetup(salt=os.urandom(_SALT), memory_kib=64 << 10, iterations=3, parallelism=4)


def offline_key(setup: PasscodeSetup, passphrase: bytes) -> SealingKey:
    """What opens a backup of kind ``offline``.

    :raises BackupError: ``passphrase_length``.
    """
    if not 1 <= len(passphrase) <= MAX_PASSPHRASE:
        raise BackupError(
            "passphrase_length", f"A passphrase has 1 to {MAX_PASSPHRASE} bytes.", culprit=Culprit.CLIENT
        )
    return SealingKey.from_passphrase(
        passphrase, setup.salt, setup.memory_kib, setup.iterations, setup.parallelism
    )


def seal_offline(share: KeyShare, wallet: WalletInfo, *, environment: str, passphrase: bytes) -> bytes:
    """A backup that a passphrase alone opens.

    :raises BackupError: ``passphrase_length``.
    """
    setup = new_setup()
    header = header_of(
        share,
        wallet,
        environment=environment,
        kind="offline",
        backup_id=str(uuid.uuid4()),
        passcode=setup,
    )
    return seal(share, header, offline_key(setup, passphrase))


def open_offline(blob: bytes, passphrase: bytes) -> tuple[BackupHeader, KeyShare]:
    """Open a backup with its passphrase.

    :raises BackupError: ``backup_malformed``, ``backup_kind``, ``backup_not_opened``, ``passphrase_length``.
    """
    parsed = BackupFile.decode(blob)
    setup = parsed.header.passcode
    if parsed.header.kind != "offline" or setup is None:
        raise BackupError(
            "backup_kind",
            "This backup opens with the enclave's key only: log in, and use `cosigner wallet recover`.",
            culprit=Culprit.CLIENT,
        )
    return parsed.header, parsed.open_with(offline_key(setup, passphrase))


def _not_opened() -> BackupError:
    return BackupError(
        "backup_not_opened", "The passphrase is not the one of this backup, or the backup was altered."
    )
