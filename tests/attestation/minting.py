"""Mint attestation documents, good and bad, under a test root: every part can be changed on its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.policy import TrustPolicy
from simulator.nsm import encode_payload, sign_document
from simulator.pki import Issued, ca_extensions, issue, leaf_extensions

NOW = datetime(2031, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
PCR0, PCR1, PCR2, PCR16 = (
    hashlib.sha384(name).digest() for name in (b"image", b"kernel", b"app", b"manifest")
)
NONCE, USER_DATA, PUBLIC_KEY = b"nonce of the asker", b"what the enclave says", b"\x04" + b"key" * 20
POSITIONS = ("root", "regional", "zonal", "instance", "leaf")


@cache
def key(name: str, curve: str = "P-384") -> ec.EllipticCurvePrivateKey:
    """A key for each name and curve, made once for the whole run."""
    curves = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
    return ec.generate_private_key(curves[curve]())


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True)
class Certificate:
    """How one certificate of the chain is made. `issuer_name` and `signer` default to the one before it."""

    common_name: str
    not_before: datetime
    not_after: datetime
    extensions: Sequence[tuple[x509.ExtensionType, bool]]
    key: Any = None
    issuer_name: str | None = None
    signer: Any = None
    algorithm: Any = field(default_factory=hashes.SHA384)


def normal_certificates() -> dict[str, Certificate]:
    day, hour = timedelta(days=1), timedelta(hours=1)
    start = NOW.replace(microsecond=0)
    return {
        "root": Certificate(
            "test.nitro", start - 365 * day, start + 9999 * day, ca_extensions(path_length=None)
        ),
        "regional": Certificate("regional.test", start - day, start + 19 * day, ca_extensions(path_length=2)),
        "zonal": Certificate("zonal.test", start - 8 * hour, start + 5 * day, ca_extensions(path_length=1)),
        "instance": Certificate(
            "instance.test", start - 4 * hour, start + 20 * hour, ca_extensions(path_length=0)
        ),
        "leaf": Certificate(
            "enclave.test", start - timedelta(seconds=3), start + 3 * hour, leaf_extensions()
        ),
    }


def mint_chain(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Issued]:
    """The five certificates, each with its changes; later ones hang from earlier ones as changed."""
    chain: dict[str, Issued] = {}
    parent: Issued | None = None
    for position, normal in normal_certificates().items():
        if position == "root" and not changes.get("root"):
            parent = chain["root"] = normal_root()
            continue
        made = Certificate(**{**vars(normal), **changes.get(position, {})})
        issuer = parent
        if parent is not None and (made.issuer_name or made.signer):
            stand_in = name(made.issuer_name) if made.issuer_name else parent.certificate.subject
            issuer = self_signed(stand_in, made.signer or parent.key)
        parent = chain[position] = issue(
            issuer,
            subject=name(made.common_name),
            key=made.key or key(position),
            not_before=made.not_before,
            not_after=made.not_after,
            extensions=made.extensions,
            algorithm=made.algorithm,
        )
    return chain


@cache
def normal_root() -> Issued:
    """One root for the whole run: its fingerprint is what the test policy pins."""
    return mint_chain({"root": {"common_name": "test.nitro"}})["root"]


def self_signed(subject: x509.Name, signer: ec.EllipticCurvePrivateKey) -> Issued:
    return issue(
        None,
        subject=subject,
        key=signer,
        not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=1),
        extensions=ca_extensions(path_length=None),
        algorithm=hashes.SHA384(),
    )


@cache
def normal_chain() -> Mapping[str, Issued]:
    return mint_chain({})


def root_sha256() -> str:
    return hashlib.sha256(normal_root().der).hexdigest()


def policy(**changes: Any) -> TrustPolicy:
    """Trusts the test root and pins PCR0, 1, 2 and 16."""
    pcrs = {0: PCR0, 1: PCR1, 2: PCR2, 16: PCR16}
    normal = {
        "roots": frozenset({root_sha256()}),
        "pcrs": {index: frozenset({value}) for index, value in pcrs.items()},
    }
    return TrustPolicy(**{**normal, **changes})


REMOVED = object()


def fields(chain: Mapping[str, Issued] | None = None, **changes: Any) -> dict[str, Any]:
    """The payload's fields with changes; `REMOVED` takes one out."""
    chain = chain or normal_chain()
    normal: dict[str, Any] = {
        "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
        "digest": "SHA384",
        "timestamp": round(NOW.timestamp() * 1000),
        "pcrs": {0: PCR0, 1: PCR1, 2: PCR2, **{index: bytes(48) for index in range(3, 16)}, 16: PCR16},
        "certificate": chain["leaf"].der,
        "cabundle": [chain[position].der for position in POSITIONS[:-1]],
        "public_key": PUBLIC_KEY,
        "user_data": USER_DATA,
        "nonce": NONCE,
    }
    return {key_: value for key_, value in {**normal, **changes}.items() if value is not REMOVED}


def document(
    *,
    chain: Mapping[str, Mapping[str, Any]] | None = None,
    indefinite: bool = True,
    signer: ec.EllipticCurvePrivateKey | None = None,
    payload: Callable[[bytes], bytes] = lambda encoded: encoded,
    outer: Callable[[list[Any]], Any] = lambda parts: parts,
    **changes: Any,
) -> bytes:
    """One signed document. `payload` alters the encoded payload before it is signed, `outer` the COSE array after."""
    certificates = mint_chain(chain) if chain else normal_chain()
    encoded = payload(encode_payload(fields(certificates, **changes), indefinite=indefinite))
    parts = cbor2.loads(sign_document(encoded, signer or certificates["leaf"].key))
    altered = outer(parts)
    return altered if isinstance(altered, bytes) else cbor2.dumps(altered)
