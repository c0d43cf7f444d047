"""The `Recipient` parameter: which enclave is asking, and for which public key (KMS API Reference, RecipientInfo)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from attestation.errors import AttestationError
from attestation.policy import TrustPolicy
from attestation.verify import VerifiedAttestation, verify
from simulator.kms.errors import ApiError
from simulator.kms.fields import blob, member, text

_KEY_SIZES: Final = (2048, 3072, 4096)
_PREFIX: Final = "kms:recipientattestation:"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A verified enclave and its RSA key."""

    attestation: VerifiedAttestation
    public_key: rsa.RSAPublicKey

    @property
    def condition_keys(self) -> dict[str, tuple[str, ...]]:
        """`kms:RecipientAttestation:ImageSha384` and `:PCR<n>`, lower-case names, lower-case hex values."""
        pcrs = self.attestation.pcrs
        keys = {f"{_PREFIX}pcr{index}": (value.hex(),) for index, value in pcrs.items()}
        return {f"{_PREFIX}imagesha384": (pcrs[0].hex(),), **keys}


def read_recipient(body: Mapping[str, object], policy: TrustPolicy, now: datetime) -> Recipient | None:
    """The request's recipient, verified at `now`; None when there is none. Raises ApiError."""
    info = member(body, "Recipient")
    if info is None:
        return None
    if text(info, "KeyEncryptionAlgorithm") != "RSAES_OAEP_SHA_256":
        raise ApiError("ValidationException", "KeyEncryptionAlgorithm must be RSAES_OAEP_SHA_256.")
    document = blob(info, "AttestationDocument", least=1, most=262144)
    try:
        attestation = verify(document, policy=policy, at=now)
    except AttestationError as error:
        raise ApiError("ValidationException", f"The attestation document is not valid: {error}") from error
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
