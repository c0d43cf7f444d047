"""Verify an attestation document: the whole check list, in order, stopping at the first failure.

`VerifiedAttestation` exists so that «parsed» and «believed» are different types: only `verify` can make
one, and code that needs a believed document asks for that type. There is no boolean to forget.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from datetime import UTC, datetime
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation.chain import CertificateCache, TrustedLeaf, verify_chain
from attestation.document import PCR_BYTES, SIGNATURE_BYTES, AttestationDocument, parse
from attestation.errors import AttestationError
from attestation.policy import Release, TrustPolicy


class Moment(enum.Enum):
    """A time of judgement that is not a point in time."""

    ISSUED = "issued"


ISSUED: Final = Moment.ISSUED
"""For `at`: judge an archived document at its own timestamp, which says nothing about its age."""

_PROOF: Final = object()
_ZERO_PCR: Final = bytes(PCR_BYTES)


@dataclass(frozen=True, kw_only=True)
class VerifiedAttestation:
    """A document that passed every check of `verify`; nothing else can construct one.

    `root_sha256`: hex fingerprint of the root that the chain ends in. `checked_at`: the time of judgement
    (UTC). `release`: the release of the policy that it matches, None if the policy names none.
    """

    document: AttestationDocument
    root_sha256: str
    checked_at: datetime
    release: Release | None
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        if proof is not _PROOF:
            raise TypeError("a VerifiedAttestation comes from attestation.verify.verify alone")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedAttestation cannot be pickled or copied: verify the document again")

    @property
    def module_id(self) -> str:
        """The enclave's id: instance id, `-enc`, a number that is new at each launch."""
        return self.document.module_id

    @property
    def issued_at(self) -> datetime:
        """The document's timestamp (UTC)."""
        return self.document.issued_at

    @property
    def age_s(self) -> float:
        """Seconds between the timestamp and the time of judgement; 0 for `ISSUED`, negative within the
        skew.
        """
        return (self.checked_at - self.document.issued_at).total_seconds()

    @property
    def pcrs(self) -> Mapping[int, bytes]:
        """Locked PCRs: index to 48 bytes."""
        return self.document.pcrs

    @property
    def public_key(self) -> bytes | None:
        """The enclave's public key, 1 to 1024 bytes, or None."""
        return self.document.public_key

    @property
    def user_data(self) -> bytes | None:
        """What the enclave put there, at most 1024 bytes, or None."""
        return self.document.user_data

    @property
    def nonce(self) -> bytes | None:
        """The asker's nonce, at most 1024 bytes, or None."""
        return self.document.nonce


def verify(
    raw: bytes,
    *,
    policy: TrustPolicy,
    at: datetime | Moment,
    nonce: bytes | None = None,
    user_data: bytes | None = None,
    public_key: bytes | None = None,
    cache: CertificateCache | None = None,
) -> VerifiedAttestation:
    """Check `raw` against `policy` at the time `at`, and against the fields that the caller expects.

    `at`: an aware datetime (a live document: now), or `ISSUED`. `nonce`, `user_data`, `public_key`: when
    given, the document must have exactly these bytes; None leaves the field to the caller. A live exchange
    gives a nonce: without one a document can be replayed until it is `policy.max_age` old. `cache`: of a caller that
    verifies more than one document; it changes the time that this takes, and nothing else.

    Raises AttestationError (code, step, message); ValueError when `at` has no time zone.
    """
    document = parse(raw)  # steps 1 to 3
    moment = document.issued_at if isinstance(at, Moment) else _utc(at)
    # Steps 4 and 5: root by fingerprint, then the chain at the time of judgement.
    leaf = verify_chain(document.cabundle, document.certificate, roots=policy.roots, at=moment, cache=cache)
    _check_signature(document, leaf)  # step 6
    _check_time(document, policy, moment)  # step 7
    _check_debug_mode(document)  # step 8
    release = _check_pcrs(document, policy)  # step 9
    _check_expected("nonce", document.nonce, nonce)  # step 10
    _check_expected("user_data", document.user_data, user_data)  # step 11
    _check_expected("public_key", document.public_key, public_key)  # step 12
    return VerifiedAttestation(
        document=document,
        root_sha256=leaf.root_sha256,
        checked_at=moment,
        release=release,
        proof=_PROOF,
    )


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("the time of judgement needs a time zone")
    return at.astimezone(UTC)


def _check_signature(document: AttestationDocument, leaf: TrustedLeaf) -> None:
    half = SIGNATURE_BYTES // 2
    r, s = (int.from_bytes(part, "big") for part in (document.signature[:half], document.signature[half:]))
    try:
        leaf.public_key.verify(encode_dss_signature(r, s), document.signed_bytes, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as error:
        raise AttestationError("signature_invalid", "the document is not signed by its leaf") from error


def _check_time(document: AttestationDocument, policy: TrustPolicy, moment: datetime) -> None:
    age = moment - document.issued_at
    if -age > policy.max_skew:
        raise AttestationError("from_future", f"its timestamp lies {-age.total_seconds():.3f} s ahead")
    if age > policy.max_age:
        raise AttestationError(
            "too_old", f"{age.total_seconds():.3f} s old; allowed are {policy.max_age.total_seconds():g} s"
        )


def _check_debug_mode(document: AttestationDocument) -> None:
    # An enclave started with a debug console has zeros here (and everything it does can be read from
    # outside).
    for index in (0, 1, 2):
        if document.pcrs.get(index, _ZERO_PCR) == _ZERO_PCR:
            raise AttestationError("debug_mode", f"PCR{index} is all zero or absent")


def _check_pcrs(document: AttestationDocument, policy: TrustPolicy) -> Release | None:
    for index, allowed in policy.pcrs.items():
        value = document.pcrs.get(index)
        if value is None:
            raise AttestationError("pcr_missing", f"PCR{index} is not in the document")
        if value not in allowed:
            raise AttestationError("pcr_mismatch", f"PCR{index} is {value.hex()}")
    return _check_releases(document, policy.releases) if policy.releases else None


def _check_releases(document: AttestationDocument, releases: Sequence[Release]) -> Release:
    """The release all of whose PCRs the document has. If there is none, the nearest one gives the reason."""
    found = document.pcrs
    differences = [
        [index for index, value in release.pcrs.items() if found.get(index) != value] for release in releases
    ]
    nearest = min(differences, key=len)
    release = releases[differences.index(nearest)]
    if not nearest:
        return release
    different = [index for index in nearest if index in found]
    if not different:
        raise AttestationError("pcr_missing", f"PCR{nearest[0]} is not in the document")
    listed = ", ".join(f"PCR{index} is {found[index].hex()}" for index in different)
    near = (
        ""
        if len(nearest) == len(release.pcrs)
        else f", though the rest is of release {release.name or '(unnamed)'}"
    )
    raise AttestationError("pcr_mismatch", f"of no trusted release: {listed}{near}")


def _check_expected(name: str, found: bytes | None, expected: bytes | None) -> None:
    if expected is None:
        return
    if found is None:
        raise AttestationError(f"{name}_missing", f"the document has no {name}")
    if not hmac.compare_digest(found, expected):
        raise AttestationError(f"{name}_mismatch", f"{name} is not the expected one")
