"""What operators and developers keep in files: the settings as JSON, and the developer's encryption key."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from msgspec import Meta

from protocol.delegation import DelegationSettings, DeveloperKey
from protocol.envelope.errors import CosignerError, Culprit
from protocol.hybrid import EncryptionKey

if TYPE_CHECKING:
    from typing import Literal

KEY_BITS: Final = 3072
_KID_LENGTH: Final = 16


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    kid: str
    public_key: str
    state: str


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    enabled: bool
    app: str
    endpoint: str
    keys: Annotated[list[_Key], Meta(max_length=16)]
    prompt_users_on_sign_in: bool = False
    requires_delegation: bool = False


def settings_from(raw: bytes) -> DelegationSettings:
    """Read settings: JSON whose keys are PEM texts.

    :raises CosignerError: ``settings_malformed``; ``encryption_key_unfit``.
    """
    try:
        found = msgspec.json.decode(raw, type=_Settings)
        return msgspec.convert(
            {
                "enabled": found.enabled,
                "prompt_users_on_sign_in": found.prompt_users_on_sign_in,
                "requires_delegation": found.requires_delegation,
                "app": found.app,
                "endpoint": found.endpoint,
                "keys": [
                    {"kid": key.kid, "public_key": _der(key.public_key, key.kid), "state": key.state}
                    for key in found.keys
                ],
            },
            DelegationSettings,
        )
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CosignerError(
            "settings_malformed",
            f"These are not settings of delegated access: {error}",
            culprit=Culprit.CLIENT,
        ) from None


def settings_json(settings: DelegationSettings) -> dict[str, object]:
    """The same as members of a JSON object."""
    return {
        "enabled": settings.enabled,
        "promptUsersOnSignIn": settings.prompt_users_on_sign_in,
        "requiresDelegation": settings.requires_delegation,
        "app": settings.app,
        "endpoint": settings.endpoint,
        "keys": [
            {
                "kid": key.kid,
                "publicKey": EncryptionKey.from_der(key.public_key, key.kid).pem.decode(),
                "state": key.state,
            }
            for key in settings.keys
        ],
    }


def new_encryption_key(state: Literal["pending", "active"] = "active") -> tuple[bytes, DeveloperKey]:
    """A developer's key pair, made here and handed over once.

    :returns: the private key (PKCS#8, PEM), and what the settings say of it; its id is the beginning of the public key's SHA-256.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    kid = hashlib.sha256(der).hexdigest()[:_KID_LENGTH]
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, DeveloperKey(kid=kid, public_key=der, state=state)


def _der(pem: str, kid: str) -> bytes:
    EncryptionKey.from_pem(pem.encode(), kid)
    return load_pem_public_key(pem.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
