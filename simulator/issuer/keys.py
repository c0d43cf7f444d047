"""The issuer's signing keys: RSA, on disk only sealed under a data key that KMS wraps."""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import RSAKey

from simulator.pki import write_private

FILE: Final = "issuer-keys.json"
_CONTEXT: Final = {"purpose": "issuer-signing-keys"}
_RSA_BITS: Final = 2048
_NONCE: Final = 12
_KEPT: Final = 3  # a rotated key's tokens live on; what is older has none left


class WrappingKms(Protocol):
    """What is needed of boto3's KMS client."""

    def generate_data_key(self, **parameters: Any) -> dict[str, Any]: ...  # noqa: ANN401
    def decrypt(self, **parameters: Any) -> dict[str, Any]: ...  # noqa: ANN401


@dataclass(frozen=True)
class SigningKey:
    """:ivar kid: its name in tokens and in the set."""

    kid: str
    private: rsa.RSAPrivateKey

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half (RFC 7517)."""
        public = RSAKey.import_key(self.private.public_key())
        return {**public.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": "RS256"}


class KeyRing:
    """The keys of ``state``, newest last; a first one is made where there is none. Safe to use from several threads.

    :param key_arn: the KMS key that wraps the data key.
    """

    def __init__(self, state: Path, kms: WrappingKms, key_arn: str) -> None:
        self._file = state / FILE
        self._lock = threading.Lock()
        if self._file.exists():
            stored = json.loads(self._file.read_bytes())
            self._wrapped = base64.b64decode(stored["data_key"])
            answer = kms.decrypt(KeyId=key_arn, CiphertextBlob=self._wrapped, EncryptionContext=_CONTEXT)
            self._data_key = AESGCM(answer["Plaintext"])
            self._keys = [self._open(entry) for entry in stored["keys"]]
        else:
            answer = kms.generate_data_key(KeyId=key_arn, KeySpec="AES_256", EncryptionContext=_CONTEXT)
            self._wrapped = answer["CiphertextBlob"]
            self._data_key = AESGCM(answer["Plaintext"])
            self._keys = [_new_key()]
            self._save()

    @property
    def signing(self) -> SigningKey:
        """The key that signs now."""
        with self._lock:
            return self._keys[-1]

    @property
    def public_set(self) -> dict[str, Any]:
        """The JWK set, the signing key first."""
        with self._lock:
            return {"keys": [key.jwk for key in reversed(self._keys)]}

    def rotate(self, *, keep: bool = True) -> SigningKey:
        """Sign with a new key from now on. ``keep``: the set still has the old ones."""
        made = _new_key()
        with self._lock:
            self._keys = [*(self._keys[-(_KEPT - 1) :] if keep else []), made]
            self._save()
        return made

    def _save(self) -> None:
        content = {
            "version": 1,
            "data_key": base64.b64encode(self._wrapped).decode(),
            "keys": [self._seal(key) for key in self._keys],
        }
        write_private(self._file, json.dumps(content, indent=2).encode())

    def _seal(self, key: SigningKey) -> dict[str, str]:
        nonce = os.urandom(_NONCE)
        der = key.private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        sealed = nonce + self._data_key.encrypt(nonce, der, key.kid.encode())
        return {"kid": key.kid, "sealed": base64.b64encode(sealed).decode()}

    def _open(self, entry: dict[str, str]) -> SigningKey:
        sealed = base64.b64decode(entry["sealed"])
        der = self._data_key.decrypt(sealed[:_NONCE], sealed[_NONCE:], entry["kid"].encode())
        private = serialization.load_der_private_key(der, password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError("the issuer's keys are RSA")
        return SigningKey(entry["kid"], private)


def _new_key() -> SigningKey:
    return SigningKey(
        secrets.token_urlsafe(12), rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    )
