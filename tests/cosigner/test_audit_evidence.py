"""What an entry says that a user signed can be checked again: by us, and by libraries that had no part in making it."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from fido2.cose import CoseKey
from fido2.webauthn import AuthenticatorData, CollectedClientData
from webauthn import verify_authentication_response
from webauthn.helpers import bytes_to_base64url

from cosigner.audit_log.evidence import EvidenceError, check_evidence
from protocol.actions import Approval, KeySignature
from protocol.receipts import (
    CodeEvidence,
    Decision,
    KeyEvidence,
    LoggedApproval,
    PasskeyEvidence,
    TokenEvidence,
    UncheckedEvidence,
)
from simulator.authenticator import Authenticator, cose_key
from tests.support import logs
from tests.support.logs import MemoryLog, audit, codes

ORIGIN, RP_ID = "https://wallet.example", "wallet.example"
ALGORITHMS = pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])


class Device:
    """An authenticator with one credential."""

    def __init__(self, algorithm: Any = "ES256") -> None:
        self.authenticator = Authenticator(ORIGIN, algorithms=(algorithm,))
        self.authenticator.create(bytes(32), rp_id=RP_ID, user_handle=bytes(16))
        (credential,) = self.authenticator.credentials.values()
        self.public_key = cose_key(credential.algorithm, credential.key)

    def sign(self, digest: bytes) -> PasskeyEvidence:
        return PasskeyEvidence(self.public_key, self.authenticator.get(digest, rp_id=RP_ID))


def by_passkey(algorithm: str = "ES256") -> Decision:
    action = logs.action()
    return logs.decision(action=action, evidence=[Device(algorithm).sign(action.hash)])


def logged(decision: Decision) -> tuple[MemoryLog, Decision]:
    """A log with one decision, and the decision as it is read from there."""
    storage = MemoryLog()
    asyncio.run(logs.enclave(storage).append(decision))
    body = logs.opened(storage.records()[1]).body
    assert isinstance(body, Decision)
    return storage, body


@ALGORITHMS
def test_py_webauthn_verifies_an_assertion_from_the_log(algorithm: str) -> None:
    _, found = logged(by_passkey(algorithm))
    (evidence,) = found.evidence
    assert isinstance(evidence, PasskeyEvidence)
    assertion = evidence.assertion
    verified = verify_authentication_response(
        credential={
            "id": bytes_to_base64url(assertion.credential_id),
            "rawId": bytes_to_base64url(assertion.credential_id),
            "type": "public-key",
            "response": {
                "clientDataJSON": bytes_to_base64url(assertion.client_data_json),
                "authenticatorData": bytes_to_base64url(assertion.authenticator_data),
                "signature": bytes_to_base64url(assertion.signature),
            },
        },
        expected_challenge=found.action.hash,
        expected_rp_id=RP_ID,
        expected_origin=ORIGIN,
        credential_public_key=evidence.public_key,
        credential_current_sign_count=0,
        require_user_verification=True,
    )
    assert verified.new_sign_count == 1


@ALGORITHMS
def test_fido2_verifies_an_assertion_from_the_log(algorithm: str) -> None:
    import cbor2

    _, found = logged(by_passkey(algorithm))
    (evidence,) = found.evidence
    assert isinstance(evidence, PasskeyEvidence)
    client_data = CollectedClientData(evidence.assertion.client_data_json)
    data = AuthenticatorData(evidence.assertion.authenticator_data)
    assert client_data.challenge == found.action.hash
    assert data.rp_id_hash == hashlib.sha256(RP_ID.encode()).digest()
    key = CoseKey.parse(cbor2.loads(evidence.public_key))
    key.verify(bytes(data) + client_data.hash, evidence.assertion.signature)


@ALGORITHMS
def test_the_audit_checks_assertions_again(algorithm: str) -> None:
    storage, _ = logged(by_passkey(algorithm))
    assert audit(storage.records()).good


def test_an_assertion_over_another_action_is_noticed() -> None:
    decision = msgspec.structs.replace(by_passkey(), action=logs.action(1))
    storage, _ = logged(decision)
    report = audit(storage.records())
    assert codes(report) == {"evidence_invalid"}
    assert report.problems[0].sequence == 1


def test_an_assertion_under_another_key_is_noticed() -> None:
    decision = by_passkey()
    (evidence,) = decision.evidence
    swapped = msgspec.structs.replace(evidence, public_key=Device().public_key)
    with pytest.raises(EvidenceError):
        check_evidence(msgspec.structs.replace(decision, evidence=[swapped]))


@pytest.mark.parametrize(
    "change",
    [
        {"signature": b"\x30\x00"},
        {"client_data_json": b"{}"},
        {"client_data_json": b"[]"},
        {"client_data_json": b"\xff"},
        {"client_data_json": b"[" * 4096},
        {"authenticator_data": bytes(37)},
    ],
)
def test_an_assertion_that_was_altered_is_noticed(change: dict[str, bytes]) -> None:
    decision = by_passkey()
    (evidence,) = decision.evidence
    assert isinstance(evidence, PasskeyEvidence)
    bad = PasskeyEvidence(evidence.public_key, msgspec.structs.replace(evidence.assertion, **change))
    with pytest.raises(EvidenceError):
        check_evidence(msgspec.structs.replace(decision, evidence=[bad]))


@pytest.mark.parametrize(
    "cose",
    [
        b"\xa0" * 32,
        b"\xff" * 32,
        b"\x81" * 1024,
        b"\x42\x01\x02" + bytes(30),
        b"\x58\x1e" + bytes(30),
        b"\xd8\x23\x63(a*" + bytes(30),
        b"\xa1\x03\x38\x7a" + bytes(30),
        bytes(40),
    ],
)
def test_a_passkey_of_no_known_kind_is_noticed(cose: bytes) -> None:
    decision = by_passkey()
    (evidence,) = decision.evidence
    with pytest.raises(EvidenceError):
        check_evidence(
            msgspec.structs.replace(decision, evidence=[msgspec.structs.replace(evidence, public_key=cose)])
        )


def test_a_registration_in_place_of_an_assertion_is_noticed() -> None:
    action = logs.action()
    device = Device()
    from simulator.authenticator import Deviation

    assertion = device.authenticator.get(
        action.hash, rp_id=RP_ID, but=Deviation(members={"type": "webauthn.create"})
    )
    decision = logs.decision(action=action, evidence=[PasskeyEvidence(device.public_key, assertion)])
    with pytest.raises(EvidenceError):
        check_evidence(decision)


def by_key(algorithm: Any, digest: bytes) -> KeyEvidence:
    match algorithm:
        case "ed25519":
            edwards = Ed25519PrivateKey.generate()
            public: Any = edwards.public_key()
            signature = edwards.sign(digest)
        case "p256":
            point = ec.generate_private_key(ec.SECP256R1())
            public = point.public_key()
            r, s = decode_dss_signature(point.sign(digest, ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case _:
            modulus = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            public = modulus.public_key()
            signature = modulus.sign(digest, padding.PKCS1v15(), hashes.SHA256())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyEvidence(algorithm, der, KeySignature(bytes(16), signature))


KEYS = pytest.mark.parametrize("algorithm", ["ed25519", "p256", "rsa"])


@KEYS
def test_signatures_of_raw_keys_are_checked_again(algorithm: str) -> None:
    action = logs.action()
    good = logs.decision(action=action, evidence=[by_key(algorithm, action.hash)])
    assert audit(logged(good)[0].records()).good
    bad = logs.decision(action=action, evidence=[by_key(algorithm, logs.action(1).hash)])
    assert codes(audit(logged(bad)[0].records())) == {"evidence_invalid"}


@pytest.mark.parametrize(("said", "is_"), [("ed25519", "p256"), ("p256", "rsa"), ("rsa", "ed25519")])
def test_a_key_of_another_kind_than_it_says_is_noticed(said: Any, is_: str) -> None:
    action = logs.action()
    evidence = msgspec.structs.replace(by_key(is_, action.hash), algorithm=said)
    with pytest.raises(EvidenceError):
        check_evidence(logs.decision(action=action, evidence=[evidence]))


def test_a_signature_of_another_length_is_noticed() -> None:
    action = logs.action()
    evidence = by_key("p256", action.hash)
    r, s = evidence.signature.signature[:32], evidence.signature.signature[32:]
    long = KeySignature(bytes(16), r + b"\0" + s)  # the same two numbers
    with pytest.raises(EvidenceError):
        check_evidence(
            logs.decision(action=action, evidence=[msgspec.structs.replace(evidence, signature=long)])
        )


def approved(**changes: Any) -> Decision:
    action = logs.action()
    about = {
        "version": 1,
        "environment": action.environment,
        "operation": action.operation,
        "subject": action.subject,
        "intent": bytes(32),
        "nonce": bytes(16),
        "expires_at": 1,
        **changes,
    }
    approval = Approval(**about)
    given = LoggedApproval("administrator:ada", approval, by_key("ed25519", approval.hash))
    return logs.decision(action=action, approvals=[given])


def test_approvals_are_checked_again() -> None:
    assert audit(logged(approved())[0].records()).good
    (given,) = approved().approvals
    other = msgspec.structs.replace(given, approval=msgspec.structs.replace(given.approval, expires_at=2))
    with pytest.raises(EvidenceError):
        check_evidence(logs.decision(approvals=[other]))


@pytest.mark.parametrize(
    "change", [{"environment": "live"}, {"operation": "sign_ecdsa"}, {"subject": "another"}]
)
def test_an_approval_of_something_else_is_noticed(change: dict[str, str]) -> None:
    with pytest.raises(EvidenceError, match="something else"):
        check_evidence(approved(**change))


def test_what_is_kept_as_a_hash_or_a_name_needs_no_check() -> None:
    evidence = [
        UncheckedEvidence(bytes(32)),
        TokenEvidence("jwt", bytes(32)),
        CodeEvidence("totp", accepted=False),
    ]
    storage, found = logged(logs.denial(evidence=evidence))
    assert found.evidence == evidence
    assert audit(storage.records()).good
