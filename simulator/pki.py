"""The simulator's certificates: a Nitro-shaped PKI for the fake NSM, and a small TLS authority for the fake KMS.

Roots live in a state directory, so that their fingerprints survive a restart and several processes of one mock
stack agree on them. Everything below a root is minted on demand and kept in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEAR: Final = timedelta(days=365)
_ROOT_FILE: Final = "nitro-root.pem"
_TLS_FILE: Final = "tls-ca.pem"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate together with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS#8, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroChain:
    """What one enclave signs documents with. `cabundle`: root, regional, zonal, instance (DER); `leaf` signs."""

    cabundle: tuple[bytes, ...]
    leaf: Issued

    def covers(self, moment: datetime, *, reserve: timedelta = timedelta(0)) -> bool:
        """Is the leaf valid at `moment`, and for `reserve` longer?"""
        certificate = self.leaf.certificate
        return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc - reserve


class NitroPki:
    """A root like AWS's (P-384, 30 years), and the chains of a Nitro instance under it."""

    def __init__(self, root: Issued) -> None:
        self.root = root
        self.root_sha256: str = hashlib.sha256(root.der).hexdigest()

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """Load the root from `state_dir`, or make it there (mode 0600)."""
        return cls(_load_or_create(state_dir / _ROOT_FILE, cls._new_root))

    @classmethod
    def ephemeral(cls, at: datetime | None = None) -> Self:
        """A root that lives in memory only, valid from a day before `at` (default: now)."""
        return cls(cls._new_root(at))

    @staticmethod
    def _new_root(at: datetime | None = None) -> Issued:
        start = (at or datetime.now(UTC)) - timedelta(days=1)
        return issue(
            None,
            subject=_nitro_name("simulator.nitro-enclaves"),
            key=ec.generate_private_key(ec.SECP384R1()),
            not_before=start,
            not_after=start + 30 * _YEAR,
            extensions=ca_extensions(path_length=None),
        )

    def chain(self, module_id: str, at: datetime) -> NitroChain:
        """Mint regional (20 d), zonal (6 d), instance (24 h) and leaf (3 h and 3 s) certificates around `at`.

        Lifetimes, path lengths and key usages are those of documents seen in the field.
        """
        instance = module_id.split("-enc", maxsplit=1)[0]
        region = "sim-region-1"
        names = (
            f"{secrets.token_hex(8)}.{region}.simulator.nitro-enclaves",
            f"{secrets.token_hex(8)}.zonal.{region}.simulator.nitro-enclaves",
            f"{instance}.{region}.simulator.nitro-enclaves",
        )
        lifetimes = (
            (timedelta(days=1), timedelta(days=20)),
            (timedelta(hours=8), timedelta(days=6)),
            (timedelta(hours=4), timedelta(hours=24)),
        )
        issuers = [self.root]
        for depth, (name, (before, length)) in enumerate(zip(names, lifetimes, strict=True)):
            start = max(at - before, self.root.certificate.not_valid_before_utc)
            issuers.append(
                issue(
                    issuers[-1],
                    subject=_nitro_name(name),
                    key=ec.generate_private_key(ec.SECP384R1()),
                    not_before=start,
                    not_after=start + length,
                    extensions=ca_extensions(path_length=2 - depth),
                )
            )
        leaf = issue(
            issuers[-1],
            subject=_nitro_name(f"{module_id}.{region}"),
            key=ec.generate_private_key(ec.SECP384R1()),
            not_before=at - timedelta(seconds=3),
            not_after=at + timedelta(hours=3),
            extensions=leaf_extensions(),
        )
        return NitroChain(cabundle=tuple(issuer.der for issuer in issuers), leaf=leaf)


class TlsAuthority:
    """A certificate authority for the fake KMS (P-256, ten years), and server certificates under it."""

    def __init__(self, root: Issued) -> None:
        self.root = root

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """Load the authority from `state_dir`, or make it there (mode 0600)."""
        return cls(_load_or_create(state_dir / _TLS_FILE, cls._new_root))

    @staticmethod
    def _new_root() -> Issued:
        start = datetime.now(UTC) - timedelta(days=1)
        return issue(
            None,
            subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cosigner simulator TLS CA")]),
            key=ec.generate_private_key(ec.SECP256R1()),
            not_before=start,
            not_after=start + 10 * _YEAR,
            extensions=ca_extensions(path_length=0),
        )

    @property
    def pem(self) -> bytes:
        """The authority's certificate, for a client's CA bundle."""
        return self.root.pem

    def server(self, names: Sequence[str]) -> Issued:
        """A server certificate for host names and IP addresses, valid for 30 days."""
        start = datetime.now(UTC) - timedelta(hours=1)
        return issue(
            self.root,
            subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]),
            key=ec.generate_private_key(ec.SECP256R1()),
            not_before=start,
            not_after=start + timedelta(days=30),
            extensions=[
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (key_usage(digital_signature=True), True),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
            ],
        )


Extensions = Sequence[tuple[x509.ExtensionType, bool]]
"""Extensions with their critical flags."""


def issue(
    issuer: Issued | None,
    *,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    not_before: datetime,
    not_after: datetime,
    extensions: Extensions,
    algorithm: hashes.SHA256 | hashes.SHA384 | None = None,
) -> Issued:
    """Sign one certificate; without an issuer it signs itself. The hash follows the issuer's curve by default."""
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before.replace(microsecond=0))
        .not_valid_after(not_after.replace(microsecond=0))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    if algorithm is None:
        algorithm = hashes.SHA384() if signer.curve.name == "secp384r1" else hashes.SHA256()
    return Issued(builder.sign(signer, algorithm), key)


def ca_extensions(*, path_length: int | None) -> Extensions:
    """What a certificate that signs certificates carries."""
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True), True),
    ]


def leaf_extensions() -> Extensions:
    """What a certificate that signs attestation documents carries; its key usage is not critical on Nitro either."""
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(digital_signature=True), False),
    ]


def key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    """A KeyUsage extension with the given bits."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = _write_temporary(path, content)
    temporary.replace(path)


def _load_or_create(path: Path, create: Callable[[], Issued]) -> Issued:
    """Two processes may start at once: the first to link its file into place wins, the other uses that one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = create()
        temporary = _write_temporary(path, made.key_pem + made.pem)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink()
    pem = path.read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} does not hold an EC key")
    return Issued(x509.load_pem_x509_certificate(pem), key)


def _write_temporary(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _nitro_name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cosigner simulator"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "not AWS"),
            # X.520 allows 64 characters; the module id alone can be nearly that long.
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
