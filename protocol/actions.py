"""What a request does, as a user authorizes it: the canonical action, and the evidence that goes with it (``docs/spec/authorization.md``).

An action names exactly one request of exactly one session. Its hash is the challenge that passkeys sign, and what keys sign.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from .envelope import cbor
from .envelope.messages import Message
from .names import EnvironmentId

ACTION_LABEL: Final = b"cosigner/action/v1"
APPROVAL_LABEL: Final = b"cosigner/approval/v1"
MAX_ACTION_LIFETIME: Final = 300  # seconds from when the enclave sees an action until it expires
MAX_APPROVALS: Final = 16

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
ActionNonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
Milliseconds = Annotated[int, Meta(ge=0, le=1 << 53)]
Operation = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Subject = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_:.-]{0,128}\Z")]  # a wallet, a user, a layer; or empty
CredentialId = Annotated[bytes, Meta(min_length=16, max_length=1023)]  # WebAuthn level 3, §4: at most 1023
RawSignature = Annotated[bytes, Meta(min_length=64, max_length=512)]


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request, as authorized.

    :ivar session: the transcript of the channel that carries the request: nobody can use the authorization in another session.
    :ivar operation: the request's ``kind``.
    :ivar subject: what it is about: a wallet's id, a user's id, a policy layer; empty where there is nothing to name.
    :ivar body: SHA-256 of the request's canonical encoding.
    :ivar nonce: fresh for each action; good once.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    session: Hash
    operation: Operation
    subject: Subject
    body: Hash
    nonce: ActionNonce
    expires_at: Milliseconds

    @property
    def hash(self) -> bytes:
        """SHA-256, 32 bytes: what is signed."""
        return hashlib.sha256(ACTION_LABEL + cbor.encode(self)).digest()


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody else approves beforehand: a payload or a change, whoever will ask for it and in whichever session.

    :ivar intent: SHA-256 of the canonical encoding of what is approved, without what differs from attempt to attempt
        (:func:`enclave.authorization.intent`).
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    operation: Operation
    subject: Subject
    intent: Hash
    nonce: ActionNonce
    expires_at: Milliseconds

    @property
    def hash(self) -> bytes:
        """SHA-256, 32 bytes: what is signed."""
        return hashlib.sha256(APPROVAL_LABEL + cbor.encode(self)).digest()


class PasskeyAssertion(Message, frozen=True, tag="passkey"):
    """A WebAuthn assertion (level 3, §7.2) whose challenge is the action's hash."""

    credential_id: CredentialId
    client_data_json: Annotated[bytes, Meta(min_length=1, max_length=4096)]
    authenticator_data: Annotated[bytes, Meta(min_length=37, max_length=4096)]
    signature: Annotated[bytes, Meta(min_length=1, max_length=1024)]


class KeySignature(Message, frozen=True, tag="key"):
    """A signature over the action's hash by a registered key: Ed25519, P-256 (raw r and s) with SHA-256, or RSA PKCS#1 v1.5 with SHA-256."""

    credential_id: CredentialId
    signature: RawSignature


class DeviceCode(Message, frozen=True, tag="device_code"):
    """A one-time code that the user made on another device; good for registering one credential."""

    code: Annotated[
        str, Meta(pattern=r"^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}\Z")
    ]  # Crockford's base 32, 80 bits


class TotpCode(Message, frozen=True, tag="totp"):
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]


class RecoveryCode(Message, frozen=True, tag="recovery_code"):
    """One of the codes that stand in for TOTP, once each."""

    code: Annotated[str, Meta(pattern=r"^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}\Z")]


class SignedApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approval, and the assertion or signature of whoever gave it over its hash.

    :ivar approver: ``user:ID`` or ``administrator:NAME``.
    """

    approver: Subject
    nonce: ActionNonce
    expires_at: Milliseconds
    evidence: PasskeyAssertion | KeySignature


class Authorization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence for one action, beside that of the session itself. The enclave makes the action from the request and these two numbers."""

    nonce: ActionNonce
    expires_at: Milliseconds
    first: PasskeyAssertion | KeySignature | DeviceCode | None
    second: TotpCode | RecoveryCode | None
    approvals: Annotated[list[SignedApproval], Meta(max_length=MAX_APPROVALS)]
