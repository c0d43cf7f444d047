"""Second factors: TOTP, recovery codes in its place, and the lock that follows wrong ones.

An attempt is counted in the stored record *before* the code is looked at. A crash, or a host that loses the write, then leaves the
count too high and never too low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from enclave.authn import codes, totp

from .user import (
    RECOVERY_CODES,
    UNLOCKED,
    Evidence,
    Lockout,
    PendingTotp,
    Totp,
    UserRecord,
    refusal,
    require_strength,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TOTP_PENDING_MS: Final = 600_000
CONFIRMATIONS: Final = 5  # codes that are looked at of a secret that is not in force yet
FREE_ATTEMPTS: Final = 5  # codes until the lock
FREE_ATTEMPTS_COLD: Final = (
    2  # as long as this life of the enclave has not seen a right one: see count_attempt
)
FIRST_LOCK_MS: Final = 15 * 60_000
LONGEST_LOCK_MS: Final = 7 * 86_400_000


def begin_totp(
    record: UserRecord, secret: bytes, evidence: Evidence, *, session: bytes, now_ms: int
) -> UserRecord:
    """Keep a new secret until it is confirmed; what is in force stays until then.

    :param session: transcript of the session that is shown the secret.
    :raises CosignerError: ``factor_required``: also if there is TOTP already and none of its codes was given.
    """
    _require_second(record, evidence)
    return replace(
        record,
        pending_totp=PendingTotp(
            secret=secret, expires_at=now_ms + TOTP_PENDING_MS, attempts=0, session=session
        ),
    )


def count_confirmation(record: UserRecord, *, session: bytes, now_ms: int) -> UserRecord:
    """Count a code before :func:`confirm_totp` compares it. Codes of other sessions are neither counted nor compared.

    :raises CosignerError: ``factor_required`` (nothing to confirm in this session, or too many wrong codes: begin again).
    """
    pending = _pending(record, session, now_ms)
    if pending.attempts >= CONFIRMATIONS:
        raise refusal("factor_required", "Too many wrong codes were tried; begin again.")
    return replace(record, pending_totp=replace(pending, attempts=pending.attempts + 1))


def confirm_totp(
    record: UserRecord, code: str, new_codes: Sequence[bytes], *, session: bytes, now_ms: int
) -> UserRecord:
    """Put a secret in force that the user's device has, by a code of it; recovery codes come with it. What was in force is gone.

    Asks for no other evidence: :func:`begin_totp` did, a few minutes ago, and showed the secret in this session only.

    :param new_codes: hashes of the recovery codes.
    :raises CosignerError: ``factor_required`` (nothing to confirm in this session), ``evidence_invalid``.
    """
    pending = _pending(record, session, now_ms)
    step = totp.verify(pending.secret, code, at_ms=now_ms, last_step=-1)
    return replace(
        record,
        totp=Totp(secret=pending.secret, last_step=step),
        pending_totp=None,
        recovery_codes=_ten(new_codes),
        lockout=UNLOCKED,
    )


def _pending(record: UserRecord, session: bytes, now_ms: int) -> PendingTotp:
    pending = record.pending_totp
    if pending is None or pending.expires_at <= now_ms or pending.session != session:
        raise refusal("factor_required", "This session has no TOTP secret to confirm; begin again.")
    return pending


def remove_totp(record: UserRecord, evidence: Evidence) -> UserRecord:
    """Take TOTP and the recovery codes away.

    :raises CosignerError: ``factor_required``: also without a code of what is taken away.
    """
    _require_second(record, evidence)
    return replace(record, totp=None, pending_totp=None, recovery_codes=(), lockout=UNLOCKED)


def replace_recovery_codes(record: UserRecord, new_codes: Sequence[bytes], evidence: Evidence) -> UserRecord:
    """New recovery codes; the old ones are void.

    :raises CosignerError: ``factor_required``: also if there is no TOTP that they could stand in for.
    """
    _require_second(record, evidence)
    if record.totp is None:
        raise refusal("factor_required", "Recovery codes stand in for TOTP, and there is none.")
    return replace(record, recovery_codes=_ten(new_codes))


def count_attempt(record: UserRecord, *, now_ms: int, cold: bool) -> UserRecord:
    """Count an attempt. To be stored, and acknowledged by the host, before the code is looked at.

    :param cold: no right code of this user was seen since the enclave started. A host can restart the enclave over an older record, and
        so take back what was counted; it then gets fewer attempts for each restart than an honest user has.
    :raises CosignerError: ``factor_locked``; ``factor_required`` (the user has no second factor).
    """
    if record.totp is None:
        raise refusal("factor_required", "The user has no second factor.")
    return replace(record, lockout=next_attempt(record.lockout, "codes", now_ms=now_ms, cold=cold))


def next_attempt(lockout: Lockout, what: str, *, now_ms: int, cold: bool) -> Lockout:
    """Count an attempt at something that can be guessed.

    :param what: is guessed, in the plural.
    :param cold: as for :func:`count_attempt`.
    :raises CosignerError: ``factor_locked``.
    """
    if now_ms < lockout.until:
        seconds = -(-(lockout.until - now_ms) // 1000)
        raise refusal(
            "factor_locked", f"Too many wrong {what}; {what} are accepted again in {seconds} seconds."
        )
    attempts = lockout.attempts + 1
    if attempts < (FREE_ATTEMPTS_COLD if cold else FREE_ATTEMPTS):
        return replace(lockout, attempts=attempts)
    lasts = min(FIRST_LOCK_MS << min(lockout.locks, 32), LONGEST_LOCK_MS)
    return Lockout(attempts=0, locks=lockout.locks + 1, until=now_ms + lasts)


def use_totp(record: UserRecord, code: str, *, now_ms: int) -> UserRecord:
    """Use a code that was counted; it and those before it are void from now on.

    :raises CosignerError: ``evidence_invalid``, ``factor_required``.
    """
    if record.totp is None:
        raise refusal("factor_required", "The user has no second factor.")
    step = totp.verify(record.totp.secret, code, at_ms=now_ms, last_step=record.totp.last_step)
    return replace(record, totp=replace(record.totp, last_step=step), lockout=UNLOCKED)


def use_recovery_code(record: UserRecord, code: str) -> UserRecord:
    """Use one of the recovery codes that was counted; it is gone.

    :raises CosignerError: ``evidence_invalid``.
    """
    place = codes.find(code, record.recovery_codes)
    left = record.recovery_codes[:place] + record.recovery_codes[place + 1 :]
    return replace(record, recovery_codes=left, lockout=UNLOCKED)


def _require_second(record: UserRecord, evidence: Evidence) -> None:
    """Who changes second factors shows the present one, too: else whoever took a passkey takes the other factor along."""
    require_strength(record, evidence)
    if record.totp is not None and not evidence.second_factor:
        raise refusal(
            "factor_required", "This needs a code of the second factor that is in force.", needs=["totp"]
        )


def _ten(hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(hashes) != RECOVERY_CODES:
        msg = f"{RECOVERY_CODES} recovery codes are made at a time"
        raise ValueError(msg)
    return tuple(hashes)
