"""Certificate chain of a document: steps 4 and 5 of the check list (RFC 5280 §6.1, for one straight path).

The path is given, root first, so nothing is built and nothing is searched. The root is pinned by its
fingerprint, which makes its self-signature meaningless; it is not checked. Revocation is not checked
either, as AWS advises: the leaf lives three hours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from attestation.errors import AttestationError

_KNOWN_CRITICAL: Final = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})
_PARSE_ERRORS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # what will be an error one day; an error already under `python -W error`
)


@dataclass(frozen=True, slots=True)
class TrustedLeaf:
    """The end of a chain that holds: the leaf's P-384 key, and the SHA-256 (hex) of the root that it hangs
    from.
    """

    public_key: ec.EllipticCurvePublicKey
    root_sha256: str


def verify_chain(
    cabundle: Sequence[bytes], leaf: bytes, *, roots: frozenset[str], at: datetime
) -> TrustedLeaf:
    """Check that `leaf` hangs from one of `roots` through `cabundle` (DER, root first) at the time `at`.

    Raises AttestationError with a code of steps 4 and 5.
    """
    root_sha256 = hashlib.sha256(cabundle[0]).hexdigest()
    if root_sha256 not in roots:
        raise AttestationError("root_not_trusted", f"the root's SHA-256 is {root_sha256}")
    names = [
        *(f"certificate {number} of cabundle" for number in range(len(cabundle))),
        "the leaf certificate",
    ]
    chain = [_Certificate(name, der) for name, der in zip(names, [*cabundle, leaf], strict=True)]
    # From the root downwards: nothing that a certificate says counts before its issuer vouched for it.
    for position, certificate in enumerate(chain):
        if position > 0:
            certificate.check_issued_by(chain[position - 1])
        certificate.check_validity(at)
        if certificate is not chain[-1]:
            certificate.check_issuer(followers=len(chain) - 2 - position)
    chain[-1].check_leaf()
    return TrustedLeaf(chain[-1].public_key, root_sha256)


class _Certificate:
    """One certificate, parsed once; its checks raise AttestationError."""

    def __init__(self, name: str, der: bytes) -> None:
        self.name = name
        try:
            self.x509 = x509.load_der_x509_certificate(der)
            extensions = {extension.oid: extension for extension in self.x509.extensions}
            self.subject, self.issuer = self.x509.subject, self.x509.issuer
            public_key = self.x509.public_key()
        except _PARSE_ERRORS as error:
            raise AttestationError("certificate_malformed", f"{name} cannot be parsed") from error
        if self.x509.serial_number <= 0:  # RFC 5280 §4.1.2.2
            raise AttestationError("certificate_malformed", f"{name} has no positive serial number")
        if self.x509.version is not x509.Version.v3:
            raise AttestationError("certificate_malformed", f"{name} is not of version 3")
        # The signature ends the certificate, in a bit string without unused bits; the parser lets others pass,
        # which would give one certificate several encodings.
        if not der.endswith(b"\0" + self.x509.signature):
            raise AttestationError("certificate_malformed", f"{name} has unused bits in its signature")
        if any(extension.critical and oid not in _KNOWN_CRITICAL for oid, extension in extensions.items()):
            raise AttestationError("certificate_extension", f"{name} has an unknown critical extension")
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp384r1":
            raise AttestationError("certificate_algorithm", f"the key of {name} is not P-384")
        self.public_key = public_key
        constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
        usage = extensions.get(ExtensionOID.KEY_USAGE)
        self.constraints = constraints.value if constraints else None
        self.usage = usage.value if usage else None

    def check_validity(self, at: datetime) -> None:
        if at < self.x509.not_valid_before_utc:
            raise AttestationError(
                "certificate_not_yet_valid", f"{self.name} is valid from {self.x509.not_valid_before_utc}"
            )
        if at > self.x509.not_valid_after_utc:
            raise AttestationError(
                "certificate_expired", f"{self.name} was valid until {self.x509.not_valid_after_utc}"
            )

    def check_issuer(self, *, followers: int) -> None:
        """RFC 5280 §6.1.4 (k) to (n). `followers`: further issuers between this one and the leaf."""
        if not isinstance(self.constraints, x509.BasicConstraints) or not self.constraints.ca:
            raise AttestationError("certificate_authority", f"{self.name} is not a CA certificate")
        if self.constraints.path_length is not None and followers > self.constraints.path_length:
            raise AttestationError(
                "certificate_path_length",
                f"{self.name} allows {self.constraints.path_length} further issuers, not {followers}",
            )
        if not isinstance(self.usage, x509.KeyUsage) or not self.usage.key_cert_sign:
            raise AttestationError("certificate_key_usage", f"{self.name} may not sign certificates")

    def check_leaf(self) -> None:
        """The end of the path signs data, and must not be able to sign further certificates."""
        if isinstance(self.constraints, x509.BasicConstraints) and self.constraints.ca:
            raise AttestationError("certificate_authority", f"{self.name} is a CA certificate")
        usage = self.usage
        if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature or usage.key_cert_sign:
            raise AttestationError("certificate_key_usage", f"{self.name} may not sign data, or certificates")

    def check_issued_by(self, parent: _Certificate) -> None:
        if self.x509.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
            raise AttestationError(
                "certificate_algorithm", f"{self.name} is not signed by ECDSA with SHA-384"
            )
        if self.issuer != parent.subject:
            raise AttestationError(
                "certificate_order", f"{self.name} names another issuer than {parent.name}"
            )
        try:
            self.x509.verify_directly_issued_by(parent.x509)
        except (InvalidSignature, *_PARSE_ERRORS) as error:
            message = f"{self.name} is not signed by {parent.name}"
            raise AttestationError("certificate_signature", message) from error
