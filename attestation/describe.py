"""Describe what a document says, as plain values. Nothing is verified, and nothing here may be believed."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from attestation.chain import PARSE_ERRORS
from attestation.document import AttestationDocument

_ALGORITHMS: Final = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ecdsa-with-SHA256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ecdsa-with-SHA384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ecdsa-with-SHA512",
}
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def certificates(document: AttestationDocument) -> list[dict[str, Any]]:
    """Every certificate of `document`, root first, leaf last; see `certificate`."""
    return [certificate(der) for der in (*document.cabundle, document.certificate)]


def certificate(der: bytes) -> dict[str, Any]:
    """What one certificate says of itself: `sha256` (hex) and `size` of the DER, and if it can be parsed `subject`,
    `issuer` (RFC 4514), `serial` (hex), `not_before`, `not_after` (UTC), `key`, `signature_algorithm`, `ca`,
    `path_length` (None: no limit), `key_usage` and `critical` (OIDs of other critical extensions). One that cannot be
    parsed has `malformed` True, and only that.
    """
    known: dict[str, Any] = {"sha256": hashlib.sha256(der).hexdigest(), "size": len(der)}
    try:
        return known | {"malformed": False} | _fields(x509.load_der_x509_certificate(der))
    except PARSE_ERRORS:
        return known | {"malformed": True}


def _fields(parsed: x509.Certificate) -> dict[str, Any]:
    extensions = {extension.oid: extension for extension in parsed.extensions}
    constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage = extensions.get(ExtensionOID.KEY_USAGE)
    basic = constraints.value if constraints else None
    return {
        "subject": parsed.subject.rfc4514_string(),
        "issuer": parsed.issuer.rfc4514_string(),
        "serial": f"{parsed.serial_number:x}",
        "not_before": parsed.not_valid_before_utc,
        "not_after": parsed.not_valid_after_utc,
        "key": _key(parsed),
        "signature_algorithm": _ALGORITHMS.get(
            parsed.signature_algorithm_oid, parsed.signature_algorithm_oid.dotted_string
        ),
        "ca": isinstance(basic, x509.BasicConstraints) and basic.ca,
        "path_length": basic.path_length if isinstance(basic, x509.BasicConstraints) else None,
        "key_usage": _usages(usage.value if usage else None),
        "critical": sorted(
            oid.dotted_string
            for oid, extension in extensions.items()
            if extension.critical and oid not in (ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE)
        ),
    }


def _key(parsed: x509.Certificate) -> str:
    key = parsed.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return type(key).__name__


def _usages(usage: x509.ExtensionType | None) -> list[str]:
    if not isinstance(usage, x509.KeyUsage):
        return []
    return [name for name in _USAGES if getattr(usage, name)]
