"""Keys of backups, derived from the environment's data key: nothing is stored that could be stolen or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.envelope import cbor

if TYPE_CHECKING:
    from threshold import SealingKey

    from .book import StoredBackup

_KEY_LABEL: Final = "cosigner/backup-key/v1"
_LOCATOR_LABEL: Final = "cosigner/backup-locator/v1"


def key_of(sealing_key: SealingKey, environment: str, wallet_id: str, backup: StoredBackup) -> bytes:
    """The enclave's half of what opens a backup, 32 bytes."""
    return sealing_key.backup_key(_context(_KEY_LABEL, environment, wallet_id, backup))


def locator_of(sealing_key: SealingKey, environment: str, wallet_id: str, backup: StoredBackup) -> str:
    """Where the service's storage keeps the backup: 64 hexadecimal digits that nobody can guess."""
    return sealing_key.backup_key(_context(_LOCATOR_LABEL, environment, wallet_id, backup)).hex()


def _context(label: str, environment: str, wallet_id: str, backup: StoredBackup) -> bytes:
    return cbor.encode(
        [
            label,
            environment,
            backup.user_id,
            wallet_id,
            backup.share_set_id,
            backup.backup_id,
            backup.party,
        ]
    )
