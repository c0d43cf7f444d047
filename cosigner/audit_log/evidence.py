"""Check again what an enclave says that it checked: the assertions and signatures in an entry, under the keys beside them.

Whether a key was the user's is the enclave's word. That its holder authorized this very action is not: anybody can compute it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from attestation import strict_cbor
from protocol.envelope.nesting import is_deep
from protocol.receipts import KeyEvidence, PasskeyEvidence

if TYPE_CHECKING:
    from protocol.receipts import Decision

_SIGNATURE64: Final = 64
_MAX_BRACKETS: Final = 64  # in client data; browsers make one or two


class EvidenceError(ValueError):
    """An assertion, a signature or an approval that does not hold."""


def check_evidence(decision: Decision) -> None:
    """Check every assertion and signature of an entry.

    :raises EvidenceError: one does not hold.
    """
    action = decision.action
    for item in decision.evidence:
        _check(item, action.hash)
    for given in decision.approvals:
        approval = given.approval
        about = (approval.environment, approval.operation, approval.subject)
        if about != (action.environment, action.operation, action.subject):
            raise EvidenceError("an approval is about something else")
        _check(given.evidence, approval.hash)


def check_signature(algorithm: str, public_key: bytes, digest: bytes, signature: bytes) -> None:
    """Check one signature by a key.

    :param public_key: DER SubjectPublicKeyInfo.
    :raises EvidenceError: it does not hold, or the key is none that is registered.
    """
    try:
        _check_key(algorithm, public_key, digest, signature)
    except InvalidSignature:
        raise EvidenceError("a signature does not hold") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise EvidenceError("a key cannot be read") from None


def _check(evidence: object, digest: bytes) -> None:
    try:
        match evidence:
            case PasskeyEvidence():
                _check_passkey(evidence, digest)
            case KeyEvidence(algorithm=algorithm, public_key=public_key, signature=signed):
                _check_key(algorithm, public_key, digest, signed.signature)
            case _:  # hashes and codes say nothing that could be checked
                return
    except InvalidSignature:
        raise EvidenceError("a signature does not hold") from None
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise EvidenceError(f"evidence cannot be read ({type(error).__name__})") from None


def _check_passkey(evidence: PasskeyEvidence, challenge: bytes) -> None:
    """WebAuthn level 3, §7.2, as far as it is about the key and the challenge (steps 10 to 12, 20 and 21)."""
    assertion = evidence.assertion
    if is_deep(assertion.client_data_json, _MAX_BRACKETS):
        raise InvalidSignature
    client_data = json.loads(assertion.client_data_json)
    wanted = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
    if client_data["type"] != "webauthn.get" or client_data["challenge"] != wanted:
        raise InvalidSignature
    signed = assertion.authenticator_data + hashlib.sha256(assertion.client_data_json).digest()
    public_key, _ = strict_cbor.decode(evidence.public_key)
    if not isinstance(public_key, dict):
        raise InvalidSignature
    _check_cose(public_key, signed, assertion.signature)


def _check_cose(key: dict[int, Any], signed: bytes, signature: bytes) -> None:
    """RFC 9052, §7: member 3 is the algorithm, -1 to -3 are the parameters. RFC 9053, §2.1 and §2.2: -7 is ES256, -8 EdDSA; RFC 8812, §2:
    -257 is RS256.
    """
    match key[3]:
        case -7:
            point = b"\x04" + key[-2] + key[-3]
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            public.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        case -8:
            ed25519.Ed25519PublicKey.from_public_bytes(key[-2]).verify(signature, signed)
        case -257:
            numbers = rsa.RSAPublicNumbers(int.from_bytes(key[-2], "big"), int.from_bytes(key[-1], "big"))
            numbers.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        case _:
            raise UnsupportedAlgorithm("not one of those that are registered")


def _check_key(algorithm: str, public_key: bytes, message: bytes, signature: bytes) -> None:
    match algorithm, load_der_public_key(public_key):
        case "ed25519", ed25519.Ed25519PublicKey() as edwards:
            edwards.verify(signature, message)
        case "p256", ec.EllipticCurvePublicKey(curve=ec.SECP256R1()) as point:
            if len(signature) != _SIGNATURE64:
                raise InvalidSignature
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            point.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        case "rsa", rsa.RSAPublicKey() as modulus:
            modulus.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        case _:
            raise UnsupportedAlgorithm("not one of those that are registered")
