"""The `Recipient` parameter: which enclave is asking, and for which public key (KMS API Reference, RecipientInfo)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from attestation.errors import AttestationError
from attestation.policy import TrustPolicy
from attestation.verify import verify
from simulator.kms.errors import ApiError
from simulator.kms.fields import blob, member, text

MAX_AGE: Final = timedelta(minutes=5)
_KEY_SIZES: Final = (2048, 3072, 4096)
_PREFIX: Final = "kms:recipientattestation:"
# KMS Developer Guide, «Monitoring requests for Nitro enclaves»: PCR0 and these.
_LOGGED_PCRS: Final = (1, 2, 3, 4, 8)


class Attested(Protocol):
    """What a verified document says (`attestation.VerifiedAttestation` does)."""

    @property
    def module_id(self) -> str: ...

    @property
    def pcrs(self) -> Mapping[int, bytes]: ...

    @property
    def public_key(self) -> bytes | None: ...


Verifier = Callable[[bytes, datetime], Attested]
"""Verify a document at a time (aware). Raises AttestationError."""


def strict_verifier(trust: TrustPolicy) -> Verifier:
    """The whole check list of `attestation`; documents older than five minutes are refused whatever `trust` says."""

    def check(document: bytes, now: datetime) -> Attested:
        attestation = verify(document, policy=trust, at=now)
        if now - attestation.issued_at > MAX_AGE:
            raise AttestationError("too_old", f"older than {MAX_AGE.total_seconds():g} s")
        return attestation

    return check


@dataclass(frozen=True, slots=True)
class Recipient:
    """A verified enclave and its RSA key."""

    attestation: Attested
    public_key: rsa.RSAPublicKey

    @property
    def condition_keys(self) -> dict[str, tuple[str, ...]]:
        """`kms:RecipientAttestation:ImageSha384` and `:PCR<n>`, lower-case names, lower-case hex values."""
        pcrs = self.attestation.pcrs
        keys = {f"{_PREFIX}pcr{index}": (value.hex(),) for index, value in pcrs.items()}
        return {f"{_PREFIX}imagesha384": (pcrs[0].hex(),), **keys}

    @property
    def trail(self) -> dict[str, str]:
        """What CloudTrail keeps of it."""
        pcrs = self.attestation.pcrs
        return {
            "attestationDocumentModuleId": self.attestation.module_id,
            "attestationDocumentEnclaveImageDigest": pcrs[0].hex(),
            **{
                f"attestationDocumentEnclavePCR{index}": pcrs[index].hex()
                for index in _LOGGED_PCRS
                if index in pcrs
            },
        }


def read_recipient(body: Mapping[str, object], check: Verifier, now: datetime) -> Recipient | None:
    """The request's recipient, verified at `now`; None when there is none. Raises ApiError."""
    info = member(body, "Recipient")
    if info is None:
        return None
    if text(info, "KeyEncryptionAlgorithm") != "RSAES_OAEP_SHA_256":
        raise ApiError("ValidationException", "KeyEncryptionAlgorithm must be RSAES_OAEP_SHA_256.")
    document = blob(info, "AttestationDocument", least=1, most=262144)
    try:
        attestation = check(document, now)
    except AttestationError as error:
        raise ApiError("ValidationException", f"The attestation document is not valid: {error}") from error
    if 0 not in attestation.pcrs:
        raise ApiError("ValidationException", "The attestation document has no PCR0.")
    if attestation.public_key is None:
        raise ApiError("ValidationException", "The attestation document has no public key.")
    try:
        key = load_der_public_key(attestation.public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ApiError("ValidationException", "The attested public key cannot be read.") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in _KEY_SIZES:
        raise ApiError(
            "ValidationException", "The attested public key is not RSA of 2048, 3072 or 4096 bits."
        )
    return Recipient(attestation, key)
