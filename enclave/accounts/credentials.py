"""A user's passkeys and raw keys. Once there is an active one there always is, until a recovery replaces them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from enclave.authn import codes
from protocol.accounts import MAX_CREDENTIALS
from protocol.envelope import cbor

from .session_keys import drop
from .user import (
    Credential,
    Evidence,
    HashedCode,
    UserRecord,
    key_login_id,
    refusal,
    require_strength,
)

if TYPE_CHECKING:
    from enclave.authn.credentials import NewCredential

DEVICE_CODE_MS: Final = 600_000
MAX_CREDENTIAL_BYTES: Final = 28 << 10  # all of one user's, encoded, so that a record never outgrows storage


def of_registration(new: NewCredential, *, name: str, now_ms: int) -> Credential:
    """A verified registration as a credential, active from the start."""
    return Credential(
        credential_id=new.credential_id,
        type=new.type,
        name=name,
        algorithm=new.algorithm,
        public_key=new.public_key,
        sign_count=new.sign_count,
        active=True,
        created_at=now_ms,
        discoverable=new.discoverable,
        backup_eligible=new.backup_eligible,
        backed_up=new.backed_up,
        attestation_format=new.attestation_format,
        aaguid=new.aaguid,
    )


def add(record: UserRecord, credential: Credential, evidence: Evidence, *, link: bytes) -> UserRecord:
    """Add a credential. A device code vouches for it as an active credential does.

    :param link: 32 fresh random bytes: where the user's lineage begins, if this is the first.
    :raises CosignerError: ``factor_required``, ``credential_exists``, ``credential_limit``, ``credential_refused`` (service accounts
        have raw keys only).
    """
    if not evidence.device_code:
        require_strength(record, evidence)
    require_possible(record, credential)
    known = record.credentials
    if any(other.credential_id == credential.credential_id for other in known):
        raise refusal("credential_exists", "This credential is registered already.")
    size = len(cbor.encode((*known, credential)))
    if len(known) >= MAX_CREDENTIALS or size > MAX_CREDENTIAL_BYTES:
        raise refusal(
            "credential_limit",
            f"There is no room for another credential (at most {MAX_CREDENTIALS}); remove one first.",
        )
    return replace(record, credentials=(*known, credential), lineage=record.lineage or (link,))


def require_possible(record: UserRecord, credential: Credential) -> None:
    """Refuse a passkey for a service account.

    :raises CosignerError: ``credential_refused``.
    """
    if record.kind == "service" and credential.type != "key":
        raise refusal("credential_refused", "A service account has raw keys, not passkeys.")


def find(record: UserRecord, credential_id: bytes) -> Credential:
    """One of the user's credentials.

    :raises CosignerError: ``credential_unknown``.
    """
    for credential in record.credentials:
        if credential.credential_id == credential_id:
            return credential
    raise refusal("credential_unknown", "The user has no such credential.")


def find_active(record: UserRecord, credential_id: bytes) -> Credential:
    """One that may vouch for actions.

    :raises CosignerError: ``credential_unknown``, ``credential_inactive``.
    """
    credential = find(record, credential_id)
    if not credential.active:
        raise refusal("credential_inactive", "This credential is deactivated.")
    return credential


def used(record: UserRecord, credential_id: bytes, sign_count: int) -> UserRecord:
    """Keep the counter of an assertion that verified (WebAuthn level 3, §7.2, step 22): it must have grown, unless there is none.

    :raises CosignerError: ``evidence_invalid`` (another assertion of the same authenticator came first: a copy, or a race),
        ``credential_unknown``, ``credential_inactive``.
    """
    credential = find_active(record, credential_id)
    if (sign_count or credential.sign_count) and sign_count <= credential.sign_count:
        raise refusal(
            "evidence_invalid", "The authenticator's counter did not grow; it may have been copied."
        )
    return _with(record, replace(credential, sign_count=sign_count))


def change(
    record: UserRecord, credential_id: bytes, *, name: str | None, active: bool | None, evidence: Evidence
) -> UserRecord:
    """Rename, activate or deactivate. What a deactivated key logged in ends.

    :raises CosignerError: ``factor_required``, ``credential_unknown``, ``last_credential``.
    """
    require_strength(record, evidence)
    credential = find(record, credential_id)
    if active is False:
        _require_another(record, credential)
        record = drop(record, _logged_in_by(record, credential_id))
    changed = replace(
        credential,
        name=credential.name if name is None else name,
        active=credential.active if active is None else active,
    )
    return _with(record, changed)


def remove(record: UserRecord, credential_id: bytes, evidence: Evidence) -> UserRecord:
    """Forget a credential. What it logged in ends.

    :raises CosignerError: ``factor_required``, ``credential_unknown``, ``last_credential``.
    """
    require_strength(record, evidence)
    credential = find(record, credential_id)
    _require_another(record, credential)
    record = drop(record, _logged_in_by(record, credential_id))
    return replace(record, credentials=tuple(c for c in record.credentials if c is not credential))


def make_device_code(record: UserRecord, code_hash: bytes, evidence: Evidence, *, now_ms: int) -> UserRecord:
    """Keep the hash of a new device code; an older one is void.

    :raises CosignerError: ``factor_required``.
    """
    require_strength(record, evidence)
    return replace(record, device_code=HashedCode(hash=code_hash, expires_at=now_ms + DEVICE_CODE_MS))


def take_device_code(record: UserRecord, code: str, *, now_ms: int) -> UserRecord:
    """Use the device code up.

    :raises CosignerError: ``device_code_invalid``: wrong, expired, or used.
    """
    kept = record.device_code
    if kept is None or kept.expires_at <= now_ms or not codes.matches(code, kept.hash):
        raise refusal("device_code_invalid", "The code is wrong, has expired, or was used; make a new one.")
    return replace(record, device_code=None)


def _require_another(record: UserRecord, credential: Credential) -> None:
    if record.active_credentials == (credential,):
        raise refusal("last_credential", "The last active credential stays; add another one first.")


def _logged_in_by(record: UserRecord, credential_id: bytes) -> list[bytes]:
    login = key_login_id(credential_id)
    return [key.session_key for key in record.session_keys if key.login == login]


def _with(record: UserRecord, changed: Credential) -> UserRecord:
    return replace(
        record,
        credentials=tuple(
            changed if c.credential_id == changed.credential_id else c for c in record.credentials
        ),
    )
