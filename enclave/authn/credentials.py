"""What a verified registration gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from protocol.accounts import KeyAlgorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """A credential as it is to be kept. Whether the id is free is the caller's to see to.

    :ivar credential_id: a passkey's own (1 to 1023 bytes, in practice at least 16), or SHA-256 of a raw key.
    :ivar public_key: a passkey's COSE_Key as the authenticator sent it; a raw key's DER SubjectPublicKeyInfo.
    :ivar sign_count: a passkey's counter; what :func:`.passkeys.verify_assertion` returns takes its place.
    :ivar discoverable: by the client's word (``credProps``).
    :ivar backup_eligible: a passkey that may be synchronized; it cannot change.
    :ivar backed_up: whether it was, at registration.
    :ivar attestation_format: WebAuthn's identifier; empty for raw keys.
    :ivar aaguid: the authenticator's model by its own word, 16 bytes; zeros for raw keys.
    """

    type: Literal["passkey", "key"]
    credential_id: bytes
    algorithm: KeyAlgorithm
    public_key: bytes
    sign_count: int
    discoverable: bool
    backup_eligible: bool
    backed_up: bool
    attestation_format: str
    aaguid: bytes


class StoredPasskey(Protocol):
    """What is known of a passkey when it is used (WebAuthn level 3, §4, «credential record»)."""

    @property
    def credential_id(self) -> bytes: ...
    @property
    def public_key(self) -> bytes: ...
    @property
    def sign_count(self) -> int: ...
    @property
    def backup_eligible(self) -> bool: ...
