"""Raw keys: of service accounts, administrators, recovery, and of users who prefer them to passkeys.

A key is DER SubjectPublicKeyInfo (RFC 5280 §4.1, RFC 3279 §2.3, RFC 5480, RFC 8410) in the one encoding that it has. What is signed is
always a 32-byte hash, and it is the *message* of the scheme: P-256 and RSA hash it once more. So stock tools and WebCrypto can sign it.

=========  =========================================  ==================================================
algorithm  public key                                 signature
=========  =========================================  ==================================================
ed25519    a point of large order                     64 bytes (RFC 8032)
p256       uncompressed point                         64 bytes, r and s big-endian; ECDSA with SHA-256
rsa        2048 to 4096 bits, exponent >= 65537       as long as the modulus; PKCS#1 v1.5 with SHA-256
=========  =========================================  ==================================================

``s`` of P-256 may be above half of the order, as WebCrypto and hardware make it: whoever flips it has a second signature of the same
message, and actions are protected by their nonce.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from . import ed25519
from .credentials import NewCredential
from .refusals import evidence_invalid

if TYPE_CHECKING:
    from protocol.accounts import KeyAlgorithm, NewKey

PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

RSA_BITS: Final = range(2048, 4097)
_MIN_EXPONENT: Final = 65537  # FIPS 186-5, §5.1
_MAX_EXPONENT: Final = 1 << 32  # what others than attackers use is 65537; a long one costs a long time
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()
_SCALAR: Final = 32


def verify_new_key(new: NewKey, *, challenge: bytes) -> NewCredential:
    """A key that whoever registers it can use.

    :param challenge: the registration challenge, 32 bytes, which :attr:`NewKey.proof` signs.
    :raises CosignerError: ``evidence_invalid``.
    """
    verify(new.algorithm, new.public_key, challenge, new.proof)
    return NewCredential(
        type="key",
        credential_id=credential_id(new.public_key),
        algorithm=new.algorithm,
        public_key=new.public_key,
        sign_count=0,
        discoverable=False,
        backup_eligible=False,
        backed_up=False,
        attestation_format="",
        aaguid=bytes(16),
    )


def credential_id(public_key: bytes) -> bytes:
    """How a raw key is called: SHA-256 of its SubjectPublicKeyInfo, 32 bytes."""
    return hashlib.sha256(public_key).digest()


def verify(algorithm: KeyAlgorithm, public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature by a raw key.

    :param public_key: DER SubjectPublicKeyInfo.
    :raises CosignerError: ``evidence_invalid``: the key is not acceptable, or the signature does not hold.
    """
    verify_with(load(algorithm, public_key), message, signature)


@lru_cache(maxsize=1024)  # parsing costs more than verifying
def load(algorithm: KeyAlgorithm, public_key: bytes) -> PublicKey:
    """The key, if it is one of this algorithm that we accept.

    :raises CosignerError: ``evidence_invalid``.
    """
    try:
        key = serialization.load_der_public_key(public_key)
        canonical = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if canonical != public_key:
            msg = "not in its one encoding"
            raise ValueError(msg)
        return _of(algorithm, key)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise evidence_invalid(f"The public key is not acceptable for {algorithm}: {error}.") from None


def _of(algorithm: KeyAlgorithm, key: object) -> PublicKey:
    match algorithm, key:
        case "ed25519", Ed25519PublicKey():
            ed25519.check(key.public_bytes_raw())
            return key
        case "p256", ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return key  # OpenSSL checked that it is on the curve
        case "rsa", rsa.RSAPublicKey():
            numbers = key.public_numbers()
            check_rsa_numbers(numbers.n, numbers.e)
            return key
    msg = "another kind of key"
    raise ValueError(msg)


def check_rsa_numbers(modulus: int, exponent: int) -> None:
    """Refuse weak RSA keys, and such as cost too much.

    :raises ValueError: too short, too long, or a strange exponent.
    """
    if modulus.bit_length() not in RSA_BITS or not modulus % 2:
        msg = f"an RSA key of {modulus.bit_length()} bits" if modulus % 2 else "an even RSA modulus"
        raise ValueError(msg)
    if not (_MIN_EXPONENT <= exponent < _MAX_EXPONENT and exponent % 2):
        msg = "an RSA key with an exponent that is not used"
        raise ValueError(msg)


def verify_with(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Check a signature by a key that :func:`load` gave.

    :raises CosignerError: ``evidence_invalid``.
    """
    try:
        match key:
            case Ed25519PublicKey():
                key.verify(signature, message)
            case ec.EllipticCurvePublicKey():
                key.verify(_der(signature), message, _ECDSA)
            case rsa.RSAPublicKey():
                key.verify(signature, message, _PKCS1, _SHA256)
    except InvalidSignature:
        raise evidence_invalid("The signature does not hold.") from None


def _der(signature: bytes) -> bytes:
    if len(signature) != 2 * _SCALAR:
        raise InvalidSignature
    r, s = (int.from_bytes(half, "big") for half in (signature[:_SCALAR], signature[_SCALAR:]))
    return encode_dss_signature(r, s)
