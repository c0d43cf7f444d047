"""Proofs by session keys."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from enclave.authn import session_keys
from protocol.envelope.errors import CosignerError

KEY = ec.generate_private_key(ec.SECP256R1())
TRANSCRIPT = bytes(range(32))


def public(key=KEY) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )


def signature(digest: bytes, key=KEY, algorithm=None) -> bytes:
    r, s = decode_dss_signature(key.sign(digest, algorithm or ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


DIGEST = session_keys.proof_digest(TRANSCRIPT, public())


def refused(session_key, digest, signed):
    with pytest.raises(CosignerError) as caught:
        session_keys.verify(session_key, digest, signed)
    assert caught.value.code == "evidence_invalid"


def test_the_digest_is_of_label_transcript_and_key():
    assert hashlib.sha256(b"cosigner/session-key/v1" + TRANSCRIPT + public()).digest() == DIGEST


def test_a_proof_holds_for_its_transcript_and_key_alone():
    other = ec.generate_private_key(ec.SECP256R1())
    session_keys.verify(public(), DIGEST, signature(DIGEST))
    refused(public(), session_keys.proof_digest(bytes(32), public()), signature(DIGEST))
    refused(public(), session_keys.proof_digest(TRANSCRIPT, public(other)), signature(DIGEST))
    refused(public(other), DIGEST, signature(DIGEST))
    refused(public(), DIGEST, signature(DIGEST, other))


def test_the_digest_is_the_message_and_not_the_hash_of_it():
    refused(public(), DIGEST, signature(DIGEST, algorithm=ec.ECDSA(Prehashed(hashes.SHA256()))))


@pytest.mark.parametrize("length", [0, 63, 65, 72])
def test_a_signature_of_another_length_is_refused(length):
    refused(public(), DIGEST, (signature(DIGEST) + bytes(8))[:length])


def test_a_key_in_another_form_is_refused():
    uncompressed = KEY.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    signed = signature(DIGEST)
    hybrid = b"\x06" + uncompressed[1:]
    for key in (uncompressed, hybrid, uncompressed[:33], b"\0", b"", public() + b"\0", public()[:-1]):
        refused(key, DIGEST, signed)


def test_a_key_off_the_curve_is_refused():
    off = next(
        candidate
        for candidate in (b"\x02" + number.to_bytes(32, "big") for number in range(1, 50))
        if not _on_curve(candidate)
    )
    refused(off, DIGEST, signature(DIGEST))
    refused(b"\x02" + b"\xff" * 32, DIGEST, signature(DIGEST))


def _on_curve(candidate) -> bool:
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1  # SEC 2 §2.4.2
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    x = int.from_bytes(candidate[1:], "big")
    return pow((x**3 - 3 * x + b) % p, (p - 1) // 2, p) == 1


@given(st.binary(min_size=33, max_size=33), st.binary(min_size=64, max_size=64))
def test_any_bytes_end_in_our_own_refusal(key, signed):
    refused(key, DIGEST, signed)
    refused(public(), DIGEST, signed)
