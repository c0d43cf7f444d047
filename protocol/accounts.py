"""Requests about users: logins, session keys, credentials, second factors, recovery, ownership, policy (``docs/spec/authorization.md``)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from .actions import CredentialId, Hash, Milliseconds, RawSignature, Subject
from .envelope.messages import Message

SESSION_KEY_LABEL: Final = b"cosigner/session-key/v1"
SESSION_AUTH_LABEL: Final = b"cosigner/session-auth/v1"
RECOVERY_LABEL: Final = b"cosigner/recovery/v1"
MAX_CREDENTIALS: Final = 32
MAX_SESSION_KEYS: Final = 32
MAX_LOGINS: Final = 8

UserId = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
]
SessionKey = Annotated[bytes, Meta(min_length=33, max_length=33)]  # P-256, compressed (SEC 1, §2.3.3)
Signature64 = Annotated[bytes, Meta(min_length=64, max_length=64)]  # raw r and s
Jwt = Annotated[
    str, Meta(min_length=1, max_length=8192, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
KeyAlgorithm = Literal["ed25519", "p256", "rsa"]
KeyBytes = Annotated[bytes, Meta(min_length=32, max_length=1024)]  # DER SubjectPublicKeyInfo
LayerName = Literal["environment", "account", "wallet", "signer"]


class SessionAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Inside a client hello: this session is of this user, by a session key that the enclave knows.

    :ivar signature: over SHA-256(:data:`SESSION_AUTH_LABEL` || canonical CBOR of [user_id, session_key, issued_at, SHA-256(channel key),
        environment, client_key, client_random]); see :func:`protocol.channel.session_auth_digest`.
    """

    user_id: UserId
    session_key: SessionKey
    issued_at: Milliseconds
    signature: Signature64


# --- logins and session keys -----------------------------------------------------------------------------------------------


class Login(Message, frozen=True, tag="login"):
    """Register a session key under a valid JWT; from the reply on this session is the user's.

    :ivar proof: by the session key, over SHA-256(:data:`SESSION_KEY_LABEL` || transcript || session key).
    :ivar previous: when a session key is renewed: the old key, and its signature over the same digest.
    """

    jwt: Jwt
    session_key: SessionKey
    proof: Signature64
    previous: SessionKey | None
    previous_proof: Signature64 | None
    lifetime: Annotated[int, Meta(ge=60, le=90 * 86400)]  # seconds wished for; policy shortens it


class KeyLogin(Message, frozen=True, tag="key_login"):
    """The same for a service account: its own key vouches instead of a JWT, over the same digest."""

    user_id: UserId
    credential_id: CredentialId
    signature: RawSignature
    session_key: SessionKey
    proof: Signature64
    lifetime: Annotated[int, Meta(ge=60, le=90 * 86400)]


class LoggedIn(Message, frozen=True, tag="logged_in"):
    user_id: UserId
    created: bool  # this login made the user
    session_key_expires_at: Milliseconds


class ListSessionKeys(Message, frozen=True, tag="session_keys_list"):
    pass


class SessionKeyInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session_key: SessionKey
    created_at: Milliseconds
    expires_at: Milliseconds
    login: Subject  # which login registered it
    current: bool


class SessionKeys(Message, frozen=True, tag="session_keys"):
    keys: Annotated[list[SessionKeyInfo], Meta(max_length=MAX_SESSION_KEYS)]


class RevokeSessionKeys(Message, frozen=True, tag="session_keys_revoke"):
    """Revoke these, or with an empty list all but the one in use. Sessions opened with them end at once."""

    session_keys: Annotated[list[SessionKey], Meta(max_length=MAX_SESSION_KEYS)]


class LinkLogin(Message, frozen=True, tag="login_link"):
    """Another verified login becomes one of this user's. It must not belong to another user."""

    jwt: Jwt


class UnlinkLogin(Message, frozen=True, tag="login_unlink"):
    login: Subject


class LoginInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    login: Subject  # SHA-256 of issuer and subject, hex
    issuer: Annotated[str, Meta(max_length=256)]
    linked_at: Milliseconds


class GetAccount(Message, frozen=True, tag="account_get"):
    pass


# --- credentials -----------------------------------------------------------------------------------------------------------


class BeginCredential(Message, frozen=True, tag="credential_begin"):
    """Ask for a registration challenge; good once, in this session, for five minutes."""


class CredentialChallenge(Message, frozen=True, tag="credential_challenge"):
    """What a browser needs for ``navigator.credentials.create`` beside its own preferences."""

    challenge: Hash
    rp_id: Annotated[str, Meta(max_length=253)]
    user_handle: Annotated[bytes, Meta(min_length=16, max_length=64)]
    exclude: Annotated[list[CredentialId], Meta(max_length=MAX_CREDENTIALS)]
    user_verification: Literal["required", "preferred"]


class NewPasskey(Message, frozen=True, tag="new_passkey"):
    """A WebAuthn registration (level 3, §7.1).

    :ivar discoverable: what the client's extension ``credProps`` said (§10.1.3): the authenticator can find the credential by itself.
        No authenticator signs it; it is kept to be shown.
    """

    client_data_json: Annotated[bytes, Meta(min_length=1, max_length=4096)]
    attestation_object: Annotated[bytes, Meta(min_length=1, max_length=16384)]
    discoverable: bool


class NewKey(Message, frozen=True, tag="new_key"):
    """A raw key; ``proof`` is its signature over the challenge."""

    algorithm: KeyAlgorithm
    public_key: KeyBytes
    proof: RawSignature


class AddCredential(Message, frozen=True, tag="credential_add"):
    """Register a credential. The first of a user needs the session alone; further ones an active credential or a device code."""

    name: Label
    challenge: Hash
    credential: NewPasskey | NewKey


class CredentialInfo(Message, frozen=True, tag="credential"):
    credential_id: CredentialId
    type: Literal["passkey", "key"]
    name: Label
    active: bool
    created_at: Milliseconds
    discoverable: bool


class ChangeCredential(Message, frozen=True, tag="credential_change"):
    """Rename, activate or deactivate. The last active one cannot be deactivated."""

    credential_id: CredentialId
    name: Label | None
    active: bool | None


class RemoveCredential(Message, frozen=True, tag="credential_remove"):
    credential_id: CredentialId


class MakeDeviceCode(Message, frozen=True, tag="device_code_make"):
    """A one-time code with which another logged-in device of the user registers one credential within ten minutes."""


class DeviceCodeMade(Message, frozen=True, tag="device_code_made"):
    code: str
    expires_at: Milliseconds


# --- second factors --------------------------------------------------------------------------------------------------------


class BeginTotp(Message, frozen=True, tag="totp_begin"):
    pass


class TotpSecret(Message, frozen=True, tag="totp_secret"):
    secret: Annotated[bytes, Meta(min_length=20, max_length=20)]  # HMAC-SHA-1, 6 digits, 30 s (RFC 6238)


class ConfirmTotp(Message, frozen=True, tag="totp_confirm"):
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]


class RecoveryCodes(Message, frozen=True, tag="recovery_codes"):
    """Shown once; the enclave keeps hashes."""

    codes: Annotated[list[str], Meta(max_length=10)]


class NewRecoveryCodes(Message, frozen=True, tag="recovery_codes_new"):
    pass


class RemoveTotp(Message, frozen=True, tag="totp_remove"):
    pass


# --- recovery --------------------------------------------------------------------------------------------------------------


class SetRecoveryKey(Message, frozen=True, tag="recovery_key_set"):
    """The public half of a key that the user keeps offline; ``None`` takes it away."""

    algorithm: KeyAlgorithm
    public_key: KeyBytes | None


class RecoverySubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the recovery key signs: SHA-256(:data:`RECOVERY_LABEL` || canonical CBOR of this).

    :ivar session: transcript of the session in which recovery is asked for.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: str
    user_id: UserId
    session: Hash
    challenge: Hash
    name: Label
    credential: NewPasskey | NewKey
    session_key: SessionKey


class Recover(Message, frozen=True, tag="recover"):
    """Replace all credentials, session keys, second factors and device codes of a user by one new credential and session key.

    Under a time lock the first request starts the lock, is logged, and answers :class:`RecoveryPending`; the same subject's request after the
    lock completes. Any active credential can cancel in between (:class:`CancelRecovery`).

    :ivar signature: by the recovery key.
    :ivar proof: by the new session key, as in :class:`Login`.
    :ivar gate: where the manifest names a release gate: its signature over the same digest.
    """

    user_id: UserId
    challenge: Hash
    name: Label
    credential: NewPasskey | NewKey
    session_key: SessionKey
    proof: Signature64
    signature: RawSignature
    gate: RawSignature | None


class RecoveryPending(Message, frozen=True, tag="recovery_pending"):
    not_before: Milliseconds


class CancelRecovery(Message, frozen=True, tag="recovery_cancel"):
    pass


class Account(Message, frozen=True, tag="account"):
    """What the user may see of their own record."""

    user_id: UserId
    kind_of_user: Literal["user", "service"]
    logins: Annotated[list[LoginInfo], Meta(max_length=MAX_LOGINS)]
    credentials: Annotated[list[CredentialInfo], Meta(max_length=MAX_CREDENTIALS)]
    totp: bool
    recovery_codes_left: Annotated[int, Meta(ge=0, le=10)]
    recovery_key: bool
    recovery_not_before: Milliseconds | None  # a recovery is under way
    locked_until: Milliseconds | None  # too many wrong codes


# --- ownership, service accounts, policy -----------------------------------------------------------------------------------


class HandOver(Message, frozen=True, tag="wallet_hand_over"):
    """A custodial wallet becomes its end user's: from then on only that user can use it. There is no way back."""

    wallet_id: UserId
    user_id: UserId


class NewServiceAccount(Message, frozen=True, tag="service_account_new"):
    """By the environment's administrators. The key's proof is over the registration challenge."""

    name: Label
    challenge: Hash
    credential: NewKey


class ServiceAccount(Message, frozen=True, tag="service_account"):
    user_id: UserId
    credential_id: CredentialId


class SetPolicy(Message, frozen=True, tag="policy_set"):
    """Replace one layer (``docs/spec/policy.md``).

    :ivar subject: the account, wallet or signer; empty for the environment.
    :ivar expected: hash of the layer that is replaced; zeros if there is none.
    :ivar content: the layer as JSON; empty takes the layer away, where that is allowed.
    """

    layer: LayerName
    subject: Subject
    expected: Hash
    content: Annotated[bytes, Meta(max_length=48 << 10)]


class GetPolicy(Message, frozen=True, tag="policy_get"):
    layer: LayerName
    subject: Subject


class PolicyLayer(Message, frozen=True, tag="policy_layer"):
    layer: LayerName
    subject: Subject
    version: Annotated[int, Meta(ge=0, lt=1 << 32)]
    hash: Hash
    content: bytes
