"""Raw keys: what is accepted as one, and what as a signature."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from enclave.authn import ed25519, keys
from protocol.accounts import NewKey
from protocol.envelope.errors import CosignerError
from tests.threshold.ceremonies import vectors

MESSAGE = bytes(range(32))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, SEC 2 §2.4.2
PRIVATE = {
    "ed25519": Ed25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
ALGORITHMS = list(PRIVATE)


def spki(key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def sign(algorithm, key=None, message=MESSAGE) -> bytes:
    key = key or PRIVATE[algorithm]
    match algorithm:
        case "ed25519":
            return key.sign(message)
        case "p256":
            r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case _:
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def refused(algorithm, public_key, signature=bytes(64), message=MESSAGE):
    with pytest.raises(CosignerError) as caught:
        keys.verify(algorithm, public_key, message, signature)
    assert caught.value.code == "evidence_invalid"
    return caught.value.message


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_holds_and_a_changed_one_does_not(algorithm):
    public, signature = spki(PRIVATE[algorithm]), sign(algorithm)
    keys.verify(algorithm, public, MESSAGE, signature)
    refused(algorithm, public, signature, b"another message")
    for position in range(0, len(signature), 7):
        changed = bytearray(signature)
        changed[position] ^= 0x10
        refused(algorithm, public, bytes(changed))
    for other in (b"", signature[:-1], signature + b"\0", b"\0" + signature, bytes(len(signature))):
        refused(algorithm, public, other)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("claimed", ALGORITHMS)
def test_a_key_of_another_algorithm_than_claimed_is_refused(algorithm, claimed):
    if algorithm != claimed:
        assert "another kind" in refused(claimed, spki(PRIVATE[algorithm]), sign(algorithm))


def test_s_above_half_of_the_order_is_accepted_and_r_or_s_out_of_range_are_not():
    public, signature = spki(PRIVATE["p256"]), sign("p256")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    keys.verify("p256", public, MESSAGE, signature[:32] + (ORDER - s).to_bytes(32, "big"))
    for bad_r, bad_s in ((0, s), (r, 0), (0, 0), (ORDER, s), (r, ORDER), (2**256 - 1, 2**256 - 1)):
        refused("p256", public, bad_r.to_bytes(32, "big") + bad_s.to_bytes(32, "big"))


def test_a_der_signature_is_not_a_raw_one():
    refused("p256", spki(PRIVATE["p256"]), PRIVATE["p256"].sign(MESSAGE, ec.ECDSA(hashes.SHA256())))


def test_pss_and_other_hashes_are_refused():
    key = PRIVATE["rsa"]
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    refused("rsa", spki(key), key.sign(MESSAGE, pss, hashes.SHA256()))
    refused("rsa", spki(key), key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA512()))
    refused("rsa", spki(key), key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA1()))  # noqa: S303  (the point)


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_weak_rsa_key_is_refused(bits):
    weak = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    assert f"{bits} bits" in refused("rsa", spki(weak), sign("rsa", weak))


def test_an_rsa_exponent_of_3_is_refused():
    key = rsa.generate_private_key(public_exponent=3, key_size=2048)  # noqa: S505  (the point)
    assert "exponent" in refused("rsa", spki(key), sign("rsa", key))


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()])
def test_another_curve_is_refused(curve):
    key = ec.generate_private_key(curve)
    refused("p256", spki(key), key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))[:64])


def test_a_point_off_the_curve_is_refused():
    public = bytearray(spki(PRIVATE["p256"]))
    public[-1] ^= 1
    refused("p256", bytes(public))
    public[-64:] = bytes(64)
    refused("p256", bytes(public))


def test_another_encoding_of_a_key_is_refused():
    for algorithm in ALGORITHMS:
        public = spki(PRIVATE[algorithm])
        signature = sign(algorithm)
        pem = (
            PRIVATE[algorithm]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        for other in (
            public + b"\0",
            b"\0" + public,
            public[:-1],
            pem,
            b"",
            b"\x30\x80" + public[2:] + b"\0\0",
        ):
            refused(algorithm, other, signature)
    compressed = ec.EllipticCurvePublicKey.from_encoded_point(
        ec.SECP256R1(),
        PRIVATE["p256"]
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint),
    )
    point = compressed.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    header = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    assert "one encoding" in refused("p256", header + point, sign("p256"))


# --- registration ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_is_registered_under_the_hash_of_its_encoding(algorithm):
    public = spki(PRIVATE[algorithm])
    new = NewKey(algorithm=algorithm, public_key=public, proof=sign(algorithm))
    credential = keys.verify_new_key(new, challenge=MESSAGE)
    assert credential.credential_id == hashlib.sha256(public).digest() == keys.credential_id(public)
    assert (credential.type, credential.algorithm, credential.public_key) == ("key", algorithm, public)
    assert (credential.sign_count, credential.attestation_format, credential.aaguid) == (0, "", bytes(16))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_without_proof_over_this_challenge_is_refused(algorithm):
    new = NewKey(algorithm=algorithm, public_key=spki(PRIVATE[algorithm]), proof=sign(algorithm))
    with pytest.raises(CosignerError):
        keys.verify_new_key(new, challenge=bytes(32))


# --- Ed25519's points ------------------------------------------------------------------------------------------------------

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def _double(point):
    """RFC 8032 §5.1.4, in affine coordinates."""
    x, y = point
    product = D * x * x * y * y % P
    return (
        2 * x * y * pow(1 + product, -1, P) % P,
        (y * y + x * x) * pow(1 - product, -1, P) % P,
    )


def _x_of(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return x if x * x % P == square else None


def test_exactly_the_points_whose_eightfold_is_the_identity_are_of_small_order():
    for y in ed25519._SMALL_ORDER:
        x = _x_of(y)
        assert x is not None
        point = (x, y)
        for _ in range(3):
            point = _double(point)
        assert point == (0, 1)
    assert len(ed25519._SMALL_ORDER) == 5  # eight points, three pairs of which differ in the sign of x


def test_points_of_small_order_would_let_forgeries_through():
    """Why they are refused: the identity as a key verifies one signature for any message."""
    identity = (1).to_bytes(32, "little")
    header = bytes.fromhex("302a300506032b6570032100")
    forgery = identity + bytes(32)
    serialization.load_der_public_key(header + identity).verify(forgery, b"anything")
    for y in ed25519._SMALL_ORDER:
        for sign_bit in (0, 1 << 255):
            refused("ed25519", header + (y | sign_bit).to_bytes(32, "little"), forgery)


def test_coordinates_that_are_not_reduced_are_refused():
    """The 19 second encodings of small y, with either sign (RFC 8032 §5.1.3, step 1)."""
    for y in range(P, 2**255):
        for sign_bit in (0, 1 << 255):
            with pytest.raises(ValueError, match="not reduced"):
                ed25519.check((y | sign_bit).to_bytes(32, "little"))


@given(st.binary(min_size=32, max_size=32))
def test_what_is_checked_is_a_point_by_the_formulas(raw):
    number = int.from_bytes(raw, "little") & (2**255 - 1)
    expected = number < P and _x_of(number) is not None and number not in ed25519._SMALL_ORDER
    try:
        ed25519.check(raw)
    except ValueError:
        assert not expected
    else:
        assert expected


@given(st.binary(min_size=32, max_size=32))
def test_every_generated_key_is_accepted(seed):
    ed25519.check(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def test_wycheproof_ed25519():
    groups = json.loads(vectors("wycheproof-ed25519_test.json"))["testGroups"]
    cases = 0
    for group in groups:
        public = bytes.fromhex(group["publicKeyDer"])
        for case in group["tests"]:
            cases += 1
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            if case["result"] == "valid":
                keys.verify("ed25519", public, message, signature)
            else:
                refused("ed25519", public, signature, message)
    assert cases == 151


# --- anything --------------------------------------------------------------------------------------------------------------


@given(st.sampled_from(ALGORITHMS), st.binary(max_size=600), st.binary(max_size=600))
def test_any_bytes_end_in_our_own_refusal(algorithm, public_key, signature):
    refused(algorithm, public_key, signature)
    refused(algorithm, spki(PRIVATE[algorithm]), signature)
