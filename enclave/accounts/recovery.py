"""Recovery: a key kept offline puts one new credential and session key in the place of everything else.

Under a time lock the recovery waits in the record, where any active credential can cancel it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from protocol.accounts import RECOVERY_LABEL
from protocol.envelope import cbor

from .credentials import require_possible
from .session_keys import drop, fingerprint
from .user import (
    MAX_LINEAGE,
    UNLOCKED,
    Credential,
    Evidence,
    PendingRecovery,
    RecoveryKey,
    RegisteredKey,
    UserRecord,
    refusal,
    require_strength,
)

if TYPE_CHECKING:
    from protocol.accounts import RecoverySubject

COMPLETE_WITHIN_MS: Final = 7 * 86_400_000  # after the time lock; then the recovery is void
LOGIN: Final = "recovery"  # what vouched for the session key that a recovery brings


def digest_of(subject: RecoverySubject) -> bytes:
    """What the recovery key, and the release gate if there is one, sign: 32 bytes."""
    return hashlib.sha256(RECOVERY_LABEL + cbor.encode(subject)).digest()


def set_key(record: UserRecord, key: RecoveryKey | None, evidence: Evidence) -> UserRecord:
    """Set, replace or take away the recovery key. A recovery under way was the old key's, and is void.

    :raises CosignerError: ``factor_required``; ``recovery_refused`` (service accounts have none).
    """
    require_strength(record, evidence)
    if record.kind == "service":
        raise refusal(
            "recovery_refused", "Service accounts are replaced by their administrators, not recovered."
        )
    return replace(record, recovery_key=key, pending_recovery=None)


def require_key(record: UserRecord | None) -> RecoveryKey:
    """The key that may recover this user. Who asks is not told whether the user exists.

    :raises CosignerError: ``recovery_refused``.
    """
    if record is None or record.recovery_key is None:
        raise refusal("recovery_refused", "This user cannot be recovered by this key.")
    return record.recovery_key


def waiting(record: UserRecord, digest: bytes, *, now_ms: int) -> PendingRecovery | None:
    """The recovery under way, if it is this very one and not void."""
    pending = record.pending_recovery
    if pending is None or pending.digest != digest or pending.not_after <= now_ms:
        return None
    return pending


def begin(
    record: UserRecord,
    *,
    digest: bytes,
    session: bytes,
    credential: Credential,
    session_key: bytes,
    time_lock_ms: int,
    now_ms: int,
) -> UserRecord:
    """Start the time lock, in the place of any recovery under way. Everything about it has verified.

    :raises CosignerError: ``recovery_refused``, ``session_key_rejected``.
    """
    _require_new(record, session_key)
    require_possible(record, credential)
    not_before = now_ms + time_lock_ms
    pending = PendingRecovery(
        digest=digest,
        session=session,
        credential=credential,
        session_key=session_key,
        not_before=not_before,
        not_after=not_before + COMPLETE_WITHIN_MS,
    )
    return replace(record, pending_recovery=pending)


def cancel(record: UserRecord, evidence: Evidence) -> UserRecord:
    """Stop the recovery under way.

    :raises CosignerError: ``factor_required``; ``recovery_refused``: there is none.
    """
    require_strength(record, evidence)
    if record.pending_recovery is None:
        raise refusal("recovery_refused", "No recovery is under way.")
    return replace(record, pending_recovery=None)


def complete(record: UserRecord, *, digest: bytes, link: bytes, lifetime_ms: int, now_ms: int) -> UserRecord:
    """Carry the recovery out: its credential and session key are all that is left beside the logins and the recovery key.

    :param link: 32 fresh random bytes, for the user's lineage.
    :raises CosignerError: ``recovery_refused`` (not this one, or void), ``recovery_pending`` (the time lock lasts).
    """
    pending = waiting(record, digest, now_ms=now_ms)
    if pending is None:
        raise refusal("recovery_refused", "No such recovery is under way.")
    if now_ms < pending.not_before:
        raise refusal("recovery_pending", "The time lock of this recovery has not run out.")
    _require_new(record, pending.session_key)
    key = RegisteredKey(
        session_key=pending.session_key,
        login=LOGIN,
        created_at=now_ms,
        expires_at=now_ms + lifetime_ms,
        renewed=0,
    )
    return replace(
        drop(record, [old.session_key for old in record.session_keys]),
        generation=record.generation + 1,
        lineage=(*record.lineage, link)[:MAX_LINEAGE],
        tokens_not_before=now_ms,
        credentials=(pending.credential,),
        session_keys=(key,),
        device_code=None,
        totp=None,
        pending_totp=None,
        recovery_codes=(),
        lockout=UNLOCKED,
        pending_recovery=None,
    )


def _require_new(record: UserRecord, session_key: bytes) -> None:
    known = any(key.session_key == session_key for key in record.session_keys)
    if known or fingerprint(session_key) in record.revoked:
        raise refusal("session_key_rejected", "This session key was registered before; make a new one.")
