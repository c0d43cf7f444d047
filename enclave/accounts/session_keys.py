"""A user's session keys: registered under a login, good for a while, renewed in chains, revoked for good."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.accounts import MAX_SESSION_KEYS

from .user import MAX_REVOKED, RegisteredKey, UserRecord, refusal

if TYPE_CHECKING:
    from collections.abc import Collection


def register(
    record: UserRecord,
    session_key: bytes,
    *,
    login: str,
    lifetime_ms: int,
    longest_ms: int,
    now_ms: int,
    previous: bytes | None = None,
) -> UserRecord:
    """Add a session key whose possession was proven, under a login that was verified just now.

    A renewal (``previous``) replaces a key that is still good. When there are too many keys the one that expires first makes room: who
    can log in must not be kept out by keys.

    :param lifetime_ms: as wished for.
    :param longest_ms: as the environment allows.
    :param previous: the key that this one renews; its signature was verified.
    :raises CosignerError: ``session_key_rejected`` (known already, or revoked once; or ``previous`` is not known),
        ``session_key_expired`` (``previous`` is).
    """
    known = any(key.session_key == session_key for key in record.session_keys)
    if known or fingerprint(session_key) in record.revoked:
        raise refusal("session_key_rejected", "This session key was registered before; make a new one.")
    renewed = 0
    if previous is not None:
        renewed = find(record, previous, longest_ms=longest_ms, now_ms=now_ms).renewed + 1
        record = drop(record, [previous])
    kept = sorted(
        (key for key in record.session_keys if key.expires_at > now_ms), key=lambda key: key.expires_at
    )
    displaced = kept[: max(0, len(kept) + 1 - MAX_SESSION_KEYS)]
    entry = RegisteredKey(
        session_key=session_key,
        login=login,
        created_at=now_ms,
        expires_at=now_ms + min(lifetime_ms, longest_ms),
        renewed=renewed,
    )
    record = drop(record, [key.session_key for key in displaced])
    left = tuple(key for key in record.session_keys if key.expires_at > now_ms)
    return replace(record, session_keys=(*left, entry))


def find(record: UserRecord, session_key: bytes, *, longest_ms: int, now_ms: int) -> RegisteredKey:
    """A session key that is good now.

    :param longest_ms: as the environment allows now, whatever it did when the key was registered.
    :raises CosignerError: ``session_key_rejected`` (not this user's, or revoked), ``session_key_expired``.
    """
    for key in record.session_keys:
        if key.session_key == session_key:
            if expiry(key, longest_ms=longest_ms) <= now_ms:
                raise refusal("session_key_expired", "The session key has expired; log in again.")
            return key
    raise refusal("session_key_rejected", "The session key is not known, or was revoked; log in again.")


def expiry(key: RegisteredKey, *, longest_ms: int) -> int:
    """When a key ends, milliseconds since 1970."""
    return min(key.expires_at, key.created_at + longest_ms)


def revoke(record: UserRecord, session_keys: Collection[bytes], *, current: bytes, now_ms: int) -> UserRecord:
    """Revoke these session keys, or, if none is named, all but the current one; then JWTs issued so far are refused, too.

    :raises CosignerError: ``session_key_rejected``: one of them is not this user's; nothing was revoked.
    """
    own = {key.session_key for key in record.session_keys}
    if not session_keys:
        return drop(replace(record, tokens_not_before=now_ms), own - {current})
    if not own.issuperset(session_keys):
        raise refusal(
            "session_key_rejected", "One of these session keys is not known, or was revoked already."
        )
    return drop(record, session_keys)


def drop(record: UserRecord, session_keys: Collection[bytes]) -> UserRecord:
    """Take keys out, and remember that they were there."""
    gone = [key.session_key for key in record.session_keys if key.session_key in session_keys]
    if not gone:
        return record
    return replace(
        record,
        session_keys=tuple(key for key in record.session_keys if key.session_key not in gone),
        revoked=(*record.revoked, *map(fingerprint, gone))[-MAX_REVOKED:],
    )


def lost(before: UserRecord, after: UserRecord) -> frozenset[bytes]:
    """The session keys that were good before a change and are not any more: their sessions must end."""
    return frozenset(key.session_key for key in before.session_keys) - {
        key.session_key for key in after.session_keys
    }


def fingerprint(session_key: bytes) -> bytes:
    """How a revoked key is remembered, 32 bytes."""
    return hashlib.sha256(session_key).digest()
