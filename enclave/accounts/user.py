"""What the enclave remembers of a user: one sealed record each, changed as a whole by pure transitions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.accounts import (
    MAX_CREDENTIALS,
    MAX_LOGINS,
    MAX_SESSION_KEYS,
    KeyAlgorithm,
    KeyBytes,
    Label,
    SessionKey,
    UserId,
)
from protocol.actions import CredentialId, Hash, Milliseconds, Subject
from protocol.envelope.errors import CosignerError, Culprit

if TYPE_CHECKING:
    from collections.abc import Sequence

_FACTORS: Final = {"passkey": "passkey", "key": "signing_key"}  # what a credential counts as
MAX_REVOKED: Final = 64  # revoked session keys that are remembered
RECOVERY_CODES: Final = 10
MAX_LINEAGE: Final = 64

UserKind = Literal["user", "service"]
LoginId = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]  # SHA-256(issuer || 0 || subject)
Counter = Annotated[int, Meta(ge=0, lt=1 << 32)]
CodeHash = Annotated[bytes, Meta(min_length=48, max_length=48)]  # salt and hash: enclave.authn.codes


class LinkedLogin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A verified login that is this user's."""

    login_id: LoginId
    issuer: Annotated[str, Meta(max_length=256)]
    linked_at: Milliseconds


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A passkey or a raw key.

    :ivar public_key: of a passkey: COSE_Key (RFC 9052, §7); of a raw key: DER SubjectPublicKeyInfo.
    :ivar sign_count: the newest that an assertion showed (WebAuthn level 3, §6.1.1); 0 for authenticators without a counter, and raw keys.
    """

    credential_id: CredentialId
    type: Literal["passkey", "key"]
    name: Label
    algorithm: KeyAlgorithm
    public_key: Annotated[bytes, Meta(min_length=32, max_length=2048)]
    sign_count: Counter
    active: bool
    created_at: Milliseconds
    discoverable: bool
    backup_eligible: bool
    backed_up: bool
    attestation_format: Annotated[str, Meta(max_length=32)]
    aaguid: Annotated[bytes, Meta(min_length=16, max_length=16)]


class RegisteredKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session key that is good until it expires or is revoked.

    :ivar login: what vouched for it: a linked login's id, or ``key:`` and the SHA-256 of a service account's credential id, hex;
        ``recovery`` for the one that a recovery brought.
    :ivar renewed: how many keys came before it in its chain.
    """

    session_key: SessionKey
    login: Subject
    created_at: Milliseconds
    expires_at: Milliseconds
    renewed: Counter


class HashedCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A one-time code for another device, as kept: its salted hash."""

    hash: CodeHash
    expires_at: Milliseconds


class Totp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A confirmed TOTP secret (RFC 6238).

    :ivar last_step: the newest time step that was used; neither it nor an older one works again.
    """

    secret: Annotated[bytes, Meta(min_length=20, max_length=20)]
    last_step: Annotated[int, Meta(ge=0, lt=1 << 53)]

    def __repr__(self) -> str:
        return f"Totp(secret=<redacted>, last_step={self.last_step})"


class PendingTotp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A TOTP secret that was shown and not confirmed yet.

    :ivar attempts: codes that were tried, counted before they are compared.
    :ivar session: transcript of the session that it was shown to; empty, and so nobody's, in records from before this was kept.
    """

    secret: Annotated[bytes, Meta(min_length=20, max_length=20)]
    expires_at: Milliseconds
    attempts: Annotated[int, Meta(ge=0, le=5)]
    session: Annotated[bytes, Meta(max_length=32)] = b""

    def __repr__(self) -> str:
        return f"PendingTotp(secret=<redacted>, expires_at={self.expires_at})"


class Lockout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Second-factor codes that were tried since the last right one.

    :ivar attempts: since the last lock.
    :ivar locks: how often codes were locked; each lasts twice as long as the one before.
    """

    attempts: Counter
    locks: Counter
    until: Milliseconds


class RecoveryKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public half of a key that the user keeps offline."""

    algorithm: KeyAlgorithm
    public_key: KeyBytes


class PendingRecovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery that waits for its time lock.

    :ivar digest: what the recovery key signed.
    :ivar session: transcript of the session in which it was asked for.
    :ivar credential: verified then; active once the recovery completes.
    :ivar not_after: from then on it is void.
    """

    digest: Hash
    session: Hash
    credential: Credential
    session_key: SessionKey
    not_before: Milliseconds
    not_after: Milliseconds


class UserRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about one user.

    :ivar name: of a service account; empty for users, of whom the enclave knows no name.
    :ivar generation: how many recoveries there were.
    :ivar lineage: random numbers, one drawn with the first credential and one with each recovery, the first 64. A record that was rolled
        back to before one of them never gets it again.
    :ivar tokens_not_before: JWTs issued before are refused: the user has ended all sessions, or recovered, since.
    :ivar revoked: SHA-256 of session keys that were revoked or replaced; they cannot be registered again. The newest ones.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    user_id: UserId
    kind: UserKind
    name: Annotated[str, Meta(max_length=64)]
    created_at: Milliseconds
    generation: Counter
    lineage: Annotated[tuple[Hash, ...], Meta(max_length=MAX_LINEAGE)]
    tokens_not_before: Milliseconds
    logins: Annotated[tuple[LinkedLogin, ...], Meta(max_length=MAX_LOGINS)]
    credentials: Annotated[tuple[Credential, ...], Meta(max_length=MAX_CREDENTIALS)]
    session_keys: Annotated[tuple[RegisteredKey, ...], Meta(max_length=MAX_SESSION_KEYS)]
    revoked: Annotated[tuple[Hash, ...], Meta(max_length=MAX_REVOKED)]
    device_code: HashedCode | None
    totp: Totp | None
    pending_totp: PendingTotp | None
    recovery_codes: Annotated[tuple[CodeHash, ...], Meta(max_length=RECOVERY_CODES)]
    lockout: Lockout
    recovery_key: RecoveryKey | None
    pending_recovery: PendingRecovery | None

    @property
    def active_credentials(self) -> tuple[Credential, ...]:
        """Those that may vouch for actions."""
        return tuple(credential for credential in self.credentials if credential.active)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was verified for one request, beside the session key. Only what has verified may be put here.

    :ivar credential: the active credential that vouched for the action.
    :ivar device_code: a device code was taken (:func:`.credentials.take_device_code`).
    :ivar second_factor: a code was used (:mod:`.factors`).
    """

    credential: bytes | None = None
    device_code: bool = False
    second_factor: bool = False


NO_EVIDENCE: Final = Evidence()
UNLOCKED: Final = Lockout(attempts=0, locks=0, until=0)


def new_user(user_id: str, *, kind: UserKind, name: str, now_ms: int) -> UserRecord:
    """A user without anything."""
    return UserRecord(
        version=1,
        user_id=user_id,
        kind=kind,
        name=name,
        created_at=now_ms,
        generation=0,
        lineage=(),
        tokens_not_before=0,
        logins=(),
        credentials=(),
        session_keys=(),
        revoked=(),
        device_code=None,
        totp=None,
        pending_totp=None,
        recovery_codes=(),
        lockout=UNLOCKED,
        recovery_key=None,
        pending_recovery=None,
    )


def require_strength(record: UserRecord, evidence: Evidence) -> None:
    """Whoever changes what a user is known by must show the strongest that the user has: an active credential; if there is none, the
    second factor; if there is none either, the session key was all there is.

    :raises CosignerError: ``factor_required``.
    """
    active = record.active_credentials
    if active:
        if not any(credential.credential_id == evidence.credential for credential in active):
            raise refusal(
                "factor_required",
                "This needs one of the user's active credentials.",
                needs=sorted({_FACTORS[credential.type] for credential in active}),
            )
    elif record.totp is not None and not evidence.second_factor:
        raise refusal("factor_required", "This needs a second-factor code.", needs=["totp"])


def key_login_id(credential_id: bytes) -> str:
    """How a service account's credential is named as the login of a session key."""
    return f"key:{hashlib.sha256(credential_id).hexdigest()}"


def refusal(code: str, message: str, *, needs: Sequence[str] = ()) -> CosignerError:
    """A client's request that is refused; nothing was changed."""
    return CosignerError(code, message, culprit=Culprit.CLIENT, needs=needs)
