"""Certificate chain of a document: steps 4 and 5 of the check list (RFC 5280 §6.1, for one straight path).

The path is given, root first, so nothing is built and nothing is searched. The root is pinned by its
fingerprint, which makes its self-signature meaningless; it is not checked. Revocation is not checked
either, as AWS advises: the leaf lives three hours.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
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
PARSE_ERRORS: Final = (
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


class CertificateCache:
    """Certificates that have been verified before, so that the same chain costs no second look at its signatures.

    It remembers one thing: that a certificate of exactly these bytes carries a valid signature by the key in an issuer
    of exactly these bytes, and the certificate as parsed. Both follow from those bytes alone, now and for ever; that
    is why they may be remembered. Everything that depends on more is judged anew at each verification and never
    stored: whether the root is trusted, validity at the time of judgement, CA flags, path lengths, key usages, names
    and order. (Revocation would be another such thing; nobody checks it here, see above.)

    Keys are whole certificates, not digests or serial numbers or names, so nothing can stand in for another. Entries
    are made only from chains that passed every check up to a trusted root, so strangers cannot fill it; and at most
    `capacity` are kept, the least recently used going first. Whatever happens to the cache, the result of a
    verification is the one without it. May be shared between threads.
    """

    def __init__(self, capacity: int = 256) -> None:
        """`capacity`: in certificates of at most 1 KiB. A chain has five; those of one instance share four."""
        if capacity < 1:
            raise ValueError("a cache has room for at least one certificate")
        self._capacity = capacity
        self._entries: OrderedDict[tuple[bytes, bytes], _Certificate] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def _find(self, issuer: bytes, der: bytes) -> _Certificate | None:
        with self._lock:
            found = self._entries.get((issuer, der))
            if found is not None:
                self._entries.move_to_end((issuer, der))
            return found

    def _keep(self, issuer: bytes, der: bytes, certificate: _Certificate) -> None:
        with self._lock:
            self._entries[(issuer, der)] = certificate
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)


def verify_chain(
    cabundle: Sequence[bytes],
    leaf: bytes,
    *,
    roots: frozenset[str],
    at: datetime,
    cache: CertificateCache | None = None,
) -> TrustedLeaf:
    """Check that `leaf` hangs from one of `roots` through `cabundle` (DER, root first) at the time `at`.

    Raises AttestationError with a code of steps 4 and 5, the same with a cache as without.
    """
    root_sha256 = hashlib.sha256(cabundle[0]).hexdigest()
    if root_sha256 not in roots:
        raise AttestationError("root_not_trusted", f"the root's SHA-256 is {root_sha256}")
    ders = [*cabundle, leaf]
    links = list(zip([b"", *cabundle], ders, strict=True))  # each certificate behind its issuer
    known = [None if cache is None else cache._find(*link) for link in links]  # noqa: SLF001 - the cache is part of this module
    chain = [
        certificate or _Certificate(_name(position, len(ders)), der)
        for position, (certificate, der) in enumerate(zip(known, ders, strict=True))
    ]
    # From the root downwards: nothing that a certificate says counts before its issuer vouched for it.
    for position, certificate in enumerate(chain):
        name = _name(position, len(chain))
        if position > 0:
            certificate.check_names_issuer(name, chain[position - 1], _name(position - 1, len(chain)))
            if known[position] is None:
                certificate.check_signature(name, chain[position - 1])
        certificate.check_validity(name, at)
        if position < len(chain) - 1:
            certificate.check_issuer(name, followers=len(chain) - 2 - position)
    chain[-1].check_leaf("the leaf certificate")
    if cache is not None:
        for link, certificate in zip(links, chain, strict=True):
            cache._keep(*link, certificate)  # noqa: SLF001
    return TrustedLeaf(chain[-1].public_key, root_sha256)


def _name(position: int, length: int) -> str:
    return "the leaf certificate" if position == length - 1 else f"certificate {position} of cabundle"


class _Certificate:
    """One certificate, parsed once, never changed; its checks raise AttestationError. `name`: where it stands."""

    def __init__(self, name: str, der: bytes) -> None:
        try:
            self.x509 = x509.load_der_x509_certificate(der)
            extensions = {extension.oid: extension for extension in self.x509.extensions}
            self.subject, self.issuer = self.x509.subject, self.x509.issuer
            public_key = self.x509.public_key()
        except PARSE_ERRORS as error:
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

    def check_validity(self, name: str, at: datetime) -> None:
        if at < self.x509.not_valid_before_utc:
            raise AttestationError(
                "certificate_not_yet_valid", f"{name} is valid from {self.x509.not_valid_before_utc}"
            )
        if at > self.x509.not_valid_after_utc:
            raise AttestationError(
                "certificate_expired", f"{name} was valid until {self.x509.not_valid_after_utc}"
            )

    def check_issuer(self, name: str, *, followers: int) -> None:
        """RFC 5280 §6.1.4 (k) to (n). `followers`: further issuers between this one and the leaf."""
        if not isinstance(self.constraints, x509.BasicConstraints) or not self.constraints.ca:
            raise AttestationError("certificate_authority", f"{name} is not a CA certificate")
        if self.constraints.path_length is not None and followers > self.constraints.path_length:
            raise AttestationError(
                "certificate_path_length",
                f"{name} allows {self.constraints.path_length} further issuers, not {followers}",
            )
        if not isinstance(self.usage, x509.KeyUsage) or not self.usage.key_cert_sign:
            raise AttestationError("certificate_key_usage", f"{name} may not sign certificates")

    def check_leaf(self, name: str) -> None:
        """The end of the path signs data, and must not be able to sign further certificates."""
        if isinstance(self.constraints, x509.BasicConstraints) and self.constraints.ca:
            raise AttestationError("certificate_authority", f"{name} is a CA certificate")
        usage = self.usage
        if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature or usage.key_cert_sign:
            raise AttestationError("certificate_key_usage", f"{name} may not sign data, or certificates")

    def check_names_issuer(self, name: str, issuer: _Certificate, issuer_name: str) -> None:
        if self.x509.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
            raise AttestationError("certificate_algorithm", f"{name} is not signed by ECDSA with SHA-384")
        if self.issuer != issuer.subject:
            raise AttestationError("certificate_order", f"{name} names another issuer than {issuer_name}")

    def check_signature(self, name: str, issuer: _Certificate) -> None:
        try:
            self.x509.verify_directly_issued_by(issuer.x509)
        except (InvalidSignature, *PARSE_ERRORS) as error:
            raise AttestationError(
                "certificate_signature", f"{name} is not signed by the one before it"
            ) from error
