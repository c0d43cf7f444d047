"""Raw keys of a user or a service account: they sign the 32-byte hashes that the enclave asks for (``docs/spec/authorization.md`` §4).

A key lies in a PEM file of PKCS #8 (RFC 5958), encrypted under a passphrase or not, as ``openssl genpkey`` makes them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Never, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from protocol.accounts import NewKey
from protocol.actions import KeySignature
from protocol.envelope.errors import CosignerError, Culprit

if TYPE_CHECKING:
    from protocol.accounts import KeyAlgorithm

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_RSA_BITS: Final = range(2048, 4097)
_SCALAR: Final = 32


class SigningKey:
    """A key pair of an algorithm that the enclave accepts. ``repr`` shows the public half only.

    :ivar public_key: DER SubjectPublicKeyInfo.
    """

    def __init__(self, private: PrivateKey) -> None:
        self._private = private
        self.algorithm: Final[KeyAlgorithm] = _algorithm(private)
        self.public_key: Final = private.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    @classmethod
    def generate(cls, algorithm: KeyAlgorithm = "ed25519") -> Self:
        """A fresh one."""
        match algorithm:
            case "ed25519":
                return cls(Ed25519PrivateKey.generate())
            case "p256":
                return cls(ec.generate_private_key(ec.SECP256R1()))
            case _:
                return cls(rsa.generate_private_key(public_exponent=65537, key_size=3072))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None) -> Self:
        """Read a private key.

        :param passphrase: of an encrypted file.
        :raises CosignerError: ``key_file_invalid``, ``key_passphrase_missing``, ``key_passphrase_wrong``.
        """
        try:
            private = serialization.load_pem_private_key(pem, passphrase)
        except TypeError:
            if passphrase is None:
                raise _invalid(
                    "key_passphrase_missing", "The key file is encrypted; its passphrase is needed."
                ) from None
            private = serialization.load_pem_private_key(pem, None)  # it is not encrypted
        except (ValueError, UnsupportedAlgorithm):
            if passphrase is not None and b"ENCRYPTED" in pem:
                raise _invalid(
                    "key_passphrase_wrong", "The passphrase does not open the key file, or it is damaged."
                ) from None
            raise _invalid("key_file_invalid", "This is not a private key in PEM (PKCS #8).") from None
        if not isinstance(private, PrivateKey):
            raise _invalid("key_file_invalid", "The key is neither Ed25519 nor P-256 nor RSA.")
        return cls(private)

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """The private key as PEM (PKCS #8): for writing to a file of the user's."""
        encryption = (
            serialization.NoEncryption()
            if passphrase is None
            else serialization.BestAvailableEncryption(passphrase)
        )
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    @property
    def credential_id(self) -> bytes:
        """How the enclave calls a raw key: SHA-256 of the public key, 32 bytes."""
        return hashlib.sha256(self.public_key).digest()

    def sign(self, message: bytes) -> bytes:
        """Ed25519; ECDSA with SHA-256, raw r and s; RSA PKCS #1 v1.5 with SHA-256."""
        match self._private:
            case Ed25519PrivateKey() as edwards:
                return edwards.sign(message)
            case ec.EllipticCurvePrivateKey() as curve:
                r, s = decode_dss_signature(curve.sign(message, ec.ECDSA(hashes.SHA256())))
                return r.to_bytes(_SCALAR, "big") + s.to_bytes(_SCALAR, "big")
            case rsa.RSAPrivateKey() as modulus:
                return modulus.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def evidence(self, digest: bytes) -> KeySignature:
        """The signature as evidence for an action or an approval."""
        return KeySignature(credential_id=self.credential_id, signature=self.sign(digest))

    def registration(self, challenge: bytes) -> NewKey:
        """What registers the key: its public half, and a signature over the challenge."""
        return NewKey(algorithm=self.algorithm, public_key=self.public_key, proof=self.sign(challenge))

    def __repr__(self) -> str:
        return f"<SigningKey {self.algorithm} {self.credential_id.hex()}>"

    def __reduce__(self) -> Never:
        msg = "a signing key is not copied or pickled"
        raise TypeError(msg)


def _algorithm(private: PrivateKey) -> KeyAlgorithm:
    match private:
        case Ed25519PrivateKey():
            return "ed25519"
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            return "p256"
        case rsa.RSAPrivateKey() if private.key_size in _RSA_BITS:
            return "rsa"
    raise _invalid("key_file_invalid", "The key is neither Ed25519 nor P-256 nor RSA of 2048 to 4096 bits.")


def _invalid(code: str, message: str) -> CosignerError:
    return CosignerError(code, message, culprit=Culprit.CLIENT)
