"""A KMS stand-in with Nitro attestation: `python -m simulator.kms`, or `KmsSimulator` in tests. See README.md."""

from simulator.kms.envelope import Encoding
from simulator.kms.faults import Fault, Faults, Injection
from simulator.kms.policy import key_policy
from simulator.kms.recipient import Attested, Verifier
from simulator.kms.server import KmsSimulator
from simulator.kms.sigv4 import Credential

__all__ = [
    "Attested",
    "Credential",
    "Encoding",
    "Fault",
    "Faults",
    "Injection",
    "KmsSimulator",
    "Verifier",
    "key_policy",
]
