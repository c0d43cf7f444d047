"""The signature section of an image file: who signed it (PCR8), and whether it is this image that was signed.

The section is a CBOR array with one map, `signing_certificate` (PEM) and `signature` (an untagged COSE_Sign1),
both as arrays of integers: that is how AWS's tools serialise bytes, and QEMU reads nothing else. What was signed is
the map `register_index` (0) and `register_value` (PCR0, again an array of integers). Facts:
aws-nitro-enclaves-image-format, `src/defs/mod.rs` and `src/utils/cbor.rs`.

The certificate is measured into PCR8 and otherwise believed in nothing: its issuer is not checked, and its validity
is judged by whoever starts the enclave, at that time.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from attestation.eif_errors import EifError
from attestation.strict_cbor import CborError, decode, encode

_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+?)\r?\n-----END CERTIFICATE-----"
)
_OCTET: Final = range(256)
# RFC 9053 §2.1: curve to the protected header {1: algorithm}, its hash, and the bytes of r and of s.
_ALGORITHMS: Final[dict[str, tuple[bytes, hashes.HashAlgorithm, int]]] = {
    "secp256r1": (bytes.fromhex("a10126"), hashes.SHA256(), 32),
    "secp384r1": (bytes.fromhex("a1013822"), hashes.SHA384(), 48),
    "secp521r1": (bytes.fromhex("a1013823"), hashes.SHA512(), 66),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSigner:
    """Whoever signed an image. `certificate`: DER. `subject`: RFC 4514 text. Validity (UTC) is not judged here."""

    certificate: bytes
    subject: str
    not_before: datetime
    not_after: datetime


def verify_signature(section: bytes, *, pcr0: bytes) -> ImageSigner:
    """Check that the content of a signature section signs `pcr0` (48 bytes), and return the signer.

    Raises EifError.
    """
    fields = _canonical(section)
    if type(fields) is not list or len(fields) != 1 or type(fields[0]) is not dict:
        raise EifError("signature_malformed", "the section is not an array with one map")
    if list(fields[0]) != ["signing_certificate", "signature"]:
        raise EifError("signature_malformed", "the map is not of signing_certificate and signature")
    certificate, der = _certificate(_octets(fields[0]["signing_certificate"]))
    _check_cose(_octets(fields[0]["signature"]), certificate.public_key(), pcr0)
    return ImageSigner(
        certificate=der,
        subject=certificate.subject.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _canonical(data: bytes) -> object:
    """One canonical CBOR item, and nothing behind it."""
    try:
        value, encoded = decode(data)
    except CborError as error:
        raise EifError("signature_malformed", str(error)) from error
    if encoded != data:
        raise EifError("signature_malformed", "not canonical CBOR, or bytes follow it")
    item: object = value
    return item


def _octets(value: object) -> bytes:
    if type(value) is not list or not all(type(item) is int and item in _OCTET for item in value):
        raise EifError("signature_malformed", "not an array of integers from 0 to 255")
    return bytes(value)


def _certificate(pem: bytes) -> tuple[x509.Certificate, bytes]:
    """The one certificate of a PEM text, and its DER exactly as it stands there: that is what is measured."""
    found = _PEM.findall(pem)
    if len(found) != 1 or pem.count(b"-----BEGIN") != 1:
        raise EifError("signature_certificate", "not exactly one PEM certificate")
    try:
        der = base64.b64decode(found[0].replace(b"\r", b"").replace(b"\n", b""), validate=True)
        certificate = x509.load_der_x509_certificate(der)
        certificate.subject.rfc4514_string()
        certificate.public_key()
        exact = certificate.public_bytes(Encoding.DER) == der
    except (
        binascii.Error,
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        CryptographyDeprecationWarning,
    ) as error:
        raise EifError("signature_certificate", "the signing certificate cannot be parsed") from error
    if not exact:
        raise EifError("signature_certificate", "the signing certificate is not in DER")
    return certificate, der


def _check_cose(raw: bytes, key: object, pcr0: bytes) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _ALGORITHMS:
        raise EifError("signature_algorithm", "the certificate's key is not on P-256, P-384 or P-521")
    protected, algorithm, half = _ALGORITHMS[key.curve.name]
    parts = _canonical(raw.removeprefix(b"\xd2"))  # tag 18, which AWS's tools leave out
    if type(parts) is not list or [type(part) for part in parts] != [bytes, dict, bytes, bytes] or parts[1]:
        raise EifError(
            "signature_malformed", "the signature is not a COSE_Sign1 with an empty unprotected header"
        )
    if parts[0] != protected:
        raise EifError("signature_algorithm", "the COSE header names another algorithm than the key's")
    signature = parts[3]
    if len(signature) != 2 * half:
        raise EifError("signature_malformed", f"the signature has {len(signature)} bytes, not {2 * half}")
    if parts[2] != encode({"register_index": 0, "register_value": list(pcr0)}):
        raise EifError("signature_invalid", "the signature is not over this image's PCR0")
    r, s = (int.from_bytes(number, "big") for number in (signature[:half], signature[half:]))
    signed = encode(["Signature1", protected, b"", parts[2]])
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(algorithm))
    except InvalidSignature as error:
        raise EifError(
            "signature_invalid", "the signature over PCR0 is not by the certificate's key"
        ) from error
