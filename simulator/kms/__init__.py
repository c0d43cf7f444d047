"""A KMS stand-in with Nitro attestation: `python -m simulator.kms`, or `KmsSimulator` in tests. See README.md."""

from simulator.kms.envelope import Encoding
from simulator.kms.faults import Fault, Faults
from simulator.kms.policy import key_policy
from simulator.kms.server import KmsSimulator
from simulator.kms.sigv4 import Credential

__all__ = ["Credential", "Encoding", "Fault", "Faults", "KmsSimulator", "key_policy"]
