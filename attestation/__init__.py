"""Verify attestation documents of AWS Nitro Enclaves. A leaf package: it needs `cbor2` and `cryptography`
only.

    from attestation import TrustPolicy
    from attestation.verify import verify

    verified = verify(raw, policy=TrustPolicy(pcrs={0: frozenset({pcr0})}), at=now, nonce=nonce)

See README.md for the check list and the error codes.
"""

from attestation.chain import CertificateCache
from attestation.document import AttestationDocument
from attestation.errors import AttestationError
from attestation.policy import AWS_NITRO_ROOT_G1, Release, TrustPolicy
from attestation.verify import ISSUED, VerifiedAttestation

__all__ = [
    "AWS_NITRO_ROOT_G1",
    "ISSUED",
    "AttestationDocument",
    "AttestationError",
    "CertificateCache",
    "Release",
    "TrustPolicy",
    "VerifiedAttestation",
]
