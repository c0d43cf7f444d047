"""The envelope in which a developer gets a delegated share and a wallet's API key (``docs/spec/webhooks.md`` §4).

RSA-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017 §7.1) wraps a fresh AES-256 key; AES-256-GCM (SP 800-38D) encrypts the content. The
form is Dynamic's ``HYBRID-RSA-AES-256``, which its SDKs open: an IV of 16 bytes, no associated data, base64url without padding. What
the content belongs to therefore stands inside the content, and whoever opens it compares.

The envelope says nothing about who made it. Anybody can encrypt to a public key; the sender is proven by the webhook's signature and by
what is inside.
"""

from __future__ import annotations

import hashlib
import os
from typing import Annotated, Final, Literal, NoReturn

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from msgspec import Meta

from . import base64url
from .envelope.errors import Culprit, ProtocolError

ALGORITHM: Final = "HYBRID-RSA-AES-256"
MIN_KEY_BITS: Final = 2048
MAX_KEY_BITS: Final = 4096
MAX_CONTENT: Final = 16 << 10  # bytes; with the envelope of an API key it fits into the data of one event
MAX_PEM: Final = 8 << 10
_EXPONENT: Final = 65537
_KEY: Final = 32
_IV: Final = 16
_IVS: Final = (12, _IV)
_TAG: Final = 16
_OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)

KeyId = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """An encrypted text, in the form that travels in JSON. Members that are not known are ignored.

    :ivar alg: how it is encrypted; the second name is what others call the same.
    :ivar iv: 12 or 16 bytes. :ivar ct: ciphertext. :ivar tag: 16 bytes. :ivar ek: the wrapped key, as long as the RSA modulus.
        All in base64url without padding.
    :ivar kid: which of the receiver's keys opens it.
    """

    alg: Literal["HYBRID-RSA-AES-256", "RSA-OAEP-256"]
    iv: Annotated[str, Meta(max_length=22)]
    ct: Annotated[str, Meta(max_length=-(-MAX_CONTENT * 4 // 3))]
    tag: Annotated[str, Meta(max_length=22)]
    ek: Annotated[str, Meta(max_length=683)]
    kid: KeyId | None = None

    def fields(self) -> dict[str, str]:
        """The members, for JSON."""
        return dict(msgspec.to_builtins(self))


def parse(value: object) -> Envelope:
    """An envelope from parsed JSON.

    :raises ProtocolError: ``envelope_malformed``.
    """
    try:
        return msgspec.convert(value, Envelope, strict=True)
    except msgspec.ValidationError as error:
        _malformed(" ".join(str(error).split())[:200])


class EncryptionKey:
    """A receiver's public key: RSA of 2,048 to 4,096 bits with the exponent 65537.

    :ivar kid: its name. :ivar der: its one encoding (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7). :ivar pem: the same in PEM.
    """

    def __init__(self, key: rsa.RSAPublicKey, kid: str) -> None:
        _check_public(key)
        self._key = key
        self.kid: Final = kid
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.der: Final = key.public_bytes(serialization.Encoding.DER, form)
        self.pem: Final = key.public_bytes(serialization.Encoding.PEM, form)

    @classmethod
    def from_pem(cls, pem: bytes, kid: str) -> EncryptionKey:
        """Read a public key (``BEGIN PUBLIC KEY``).

        :raises ProtocolError: ``encryption_key_unfit``.
        """
        try:
            key = serialization.load_pem_public_key(pem) if len(pem) <= MAX_PEM else None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, rsa.RSAPublicKey):
            _unfit("it is no RSA public key in PEM")
        return cls(key, kid)

    @classmethod
    def from_der(cls, der: bytes, kid: str) -> EncryptionKey:
        """Read a public key that is in its one encoding.

        :raises ProtocolError: ``encryption_key_unfit``.
        """
        try:
            key = serialization.load_der_public_key(der) if len(der) <= MAX_PEM else None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, rsa.RSAPublicKey):
            _unfit("it is no RSA public key in DER")
        found = cls(key, kid)
        if found.der != der:
            _unfit("it is not in its one encoding")
        return found

    @property
    def hash(self) -> bytes:
        """SHA-256 of :ivar der:, for comparing."""
        return hashlib.sha256(self.der).digest()

    def encrypt(self, content: bytes) -> Envelope:
        """Encrypt 0 to 16,384 bytes under a fresh key and IV.

        :raises ValueError: the content is longer, which is a bug of the caller.
        """
        if len(content) > MAX_CONTENT:
            msg = f"an envelope holds at most {MAX_CONTENT} bytes, not {len(content)}"
            raise ValueError(msg)
        key, iv = os.urandom(_KEY), os.urandom(_IV)
        cipher = Cipher(AES(key), GCM(iv)).encryptor()
        ciphertext = cipher.update(content) + cipher.finalize()
        return Envelope(
            alg=ALGORITHM,
            iv=base64url.encode(iv),
            ct=base64url.encode(ciphertext),
            tag=base64url.encode(cipher.tag),
            ek=base64url.encode(self._key.encrypt(key, _OAEP)),
            kid=self.kid,
        )


class DecryptionKey:
    """The private half, at the developer's."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        _check_public(key.public_key())
        self._key = key

    def __repr__(self) -> str:
        return f"<DecryptionKey of {self._key.key_size} bits>"

    @classmethod
    def generate(cls, bits: int = 3072) -> DecryptionKey:
        """A new key pair."""
        return cls(rsa.generate_private_key(_EXPONENT, bits))

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None) -> DecryptionKey:
        """Read a private key (PKCS #8 or PKCS #1).

        :raises ProtocolError: ``encryption_key_unfit``; the message says nothing of the key.
        """
        try:
            key = serialization.load_pem_private_key(pem, password) if len(pem) <= MAX_PEM else None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            _unfit("it is no RSA private key in PEM, or another password opens it")
        return cls(key)

    def pem(self) -> bytes:
        """The private key as PKCS #8 in PEM, unencrypted: for the one who is to hold it."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def public(self, kid: str) -> EncryptionKey:
        """The public half under a name."""
        return EncryptionKey(self._key.public_key(), kid)

    def decrypt(self, envelope: Envelope) -> bytes:
        """The content.

        :raises ProtocolError: ``envelope_malformed`` for lengths; ``envelope_rejected`` for everything that depends on the key, without a
            word on which step failed (Manger's attack on OAEP needs to be told).
        """
        iv, tag = _decoded(envelope.iv, "iv", *_IVS), _decoded(envelope.tag, "tag", _TAG)
        wrapped = _decoded(envelope.ek, "ek", (self._key.key_size + 7) // 8)
        ciphertext = _decoded(envelope.ct, "ct")
        substitute = os.urandom(_KEY)
        try:
            key = self._key.decrypt(wrapped, _OAEP)
        except ValueError:
            key = substitute
        if len(key) != _KEY:
            key = substitute
        cipher = Cipher(AES(key), GCM(iv, tag)).decryptor()
        try:
            return cipher.update(ciphertext) + cipher.finalize()
        except InvalidTag:
            raise ProtocolError(
                "envelope_rejected",
                "The envelope does not open with this key: it is meant for another key, or was changed on its way.",
                culprit=Culprit.NETWORK,
            ) from None


def _decoded(text: str, name: str, *lengths: int) -> bytes:
    try:
        raw = base64url.decode(text)
    except ValueError:
        _malformed(f"{name} is not base64url without padding")
    if lengths and len(raw) not in lengths:
        _malformed(f"{name} has {len(raw)} bytes instead of {' or '.join(map(str, lengths))}")
    return raw


def _check_public(key: rsa.RSAPublicKey) -> None:
    if not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        _unfit(f"it has {key.key_size} bits; {MIN_KEY_BITS} to {MAX_KEY_BITS} are accepted")
    if key.public_numbers().e != _EXPONENT:
        _unfit(f"its exponent is not {_EXPONENT}")


def _malformed(reason: str) -> NoReturn:
    raise ProtocolError(
        "envelope_malformed", f"This is not an encrypted envelope: {reason}.", culprit=Culprit.NETWORK
    )


def _unfit(reason: str) -> NoReturn:
    raise ProtocolError(
        "encryption_key_unfit", f"The key cannot be encrypted to: {reason}.", culprit=Culprit.CLIENT
    )
