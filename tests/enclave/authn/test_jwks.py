"""JWK sets: which keys are believed to verify what."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from enclave.authn.jwks import IssuerKeys, parse_set
from protocol.envelope.errors import CosignerError
from tests.enclave.authn.tokens import Signer, b64, key_set, signer, trusted

EVERY = ["RS256", "ES256", "EdDSA"]
RSA, EC, OKP = signer("RS256", "one").jwk, signer("ES256", "two").jwk, signer("EdDSA", "three").jwk


def parse(*keys, algorithms=EVERY, every=True):
    return parse_set(key_set(*keys).encode(), algorithms, every=every)


def refused(*keys, reason, every=(True, False)):
    """Not acceptable, pinned or fetched."""
    for one in every:
        with pytest.raises(ValueError, match=reason):
            parse(*keys, signer("RS256", "good"), every=one)


def test_keys_of_every_kind_are_read():
    found = parse(RSA, EC, OKP)
    assert {kid: key.algorithm for kid, key in found.items()} == {
        "one": "RS256",
        "two": "ES256",
        "three": "EdDSA",
    }
    assert found["two"].key.public_numbers() == signer("ES256", "two").key.public_key().public_numbers()
    assert found["three"].key == signer("EdDSA", "three").key.public_key()


def test_alg_and_use_may_be_absent_and_unknown_members_are_ignored():
    bare = {name: value for name, value in RSA.items() if name not in ("alg", "use")}
    assert parse({**bare, "x5t": "abc", "custom": [1], "key_ops": ["verify"]}).keys() == {"one"}
    assert parse({**OKP, "alg": "Ed25519"})["three"].algorithm == "EdDSA"  # RFC 9864


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_weak_rsa_key_is_refused(bits):
    weak = Signer("weak", "RS256", rsa.generate_private_key(public_exponent=65537, key_size=bits))
    refused(weak, reason=f"RSA key of {bits} bits")


def test_a_huge_rsa_key_and_strange_exponents_are_refused():
    refused({**RSA, "n": b64(b"\xff" * 1025)}, reason="8200 bits")
    for exponent in (1, 3, 65536, (1 << 32) + 1):
        raw = exponent.to_bytes((exponent.bit_length() + 7) // 8, "big")
        refused({**RSA, "e": b64(raw)}, reason="exponent")
    refused({**RSA, "n": b64(b"\xff" * 255 + b"\xfe")}, reason="even")


def test_a_number_in_another_than_its_one_encoding_is_refused():
    n = RSA["n"]
    refused({**RSA, "n": n + "="}, reason="base64url")
    refused({**RSA, "n": "AA" + n}, reason="wrong length|canonical|bits")
    refused({**RSA, "e": "AAEAAQ"}, reason="wrong length")  # a leading zero
    refused({**RSA, "e": ""}, reason="wrong length")
    refused({**RSA, "e": 65537}, reason="without e")


def test_a_point_off_its_curve_is_refused():
    x = int.from_bytes(_raw(EC["x"]), "big")
    refused({**EC, "x": b64((x ^ 1).to_bytes(32, "big"))}, reason="not on its curve")
    refused({**EC, "x": b64(bytes(32)), "y": b64(bytes(32))}, reason="not on its curve")
    refused({**EC, "x": b64(b"\xff" * 32)}, reason="not on its curve")
    refused({**EC, "x": b64(b"\0" + _raw(EC["x"]))}, reason="wrong length")


def test_an_ed25519_key_that_is_no_point_or_of_small_order_is_refused():
    refused({**OKP, "x": b64((2).to_bytes(32, "little"))}, reason="not on the curve")
    refused({**OKP, "x": b64((1).to_bytes(32, "little"))}, reason="small order")
    refused({**OKP, "x": b64(b"\xff" * 32)}, reason="not reduced")
    refused({**OKP, "x": b64(bytes(31))}, reason="wrong length")


def test_two_keys_of_one_name_are_refused():
    refused(RSA, {**EC, "kid": "one"}, reason="two keys of one name")
    refused(RSA, RSA, reason="two keys of one name")


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_private_or_secret_key_is_refused(member):
    refused({**RSA, member: "AQ"}, reason="not a public key")
    refused({**EC, "kid": "e", member: "AQ"}, reason="not a public key")


UNUSABLE = [
    {**RSA, "use": "enc"},
    {**RSA, "alg": "RS512"},
    {**RSA, "alg": "PS256"},
    {**RSA, "key_ops": ["encrypt"]},
    {**RSA, "kid": ""},
    {**RSA, "kid": "k" * 257},
    {**RSA, "kid": 1},
    {name: value for name, value in RSA.items() if name != "kid"},
    {**EC, "crv": "P-384"},
    {**EC, "crv": "secp256k1", "alg": "ES256K"},
    {**OKP, "crv": "Ed448"},
    {**OKP, "crv": "X25519"},
    {"kty": "oct", "kid": "h"},
    {"kty": ["RSA"], "kid": "l"},
    {"kid": "no kind"},
]


@pytest.mark.parametrize("key", UNUSABLE)
def test_a_key_for_something_else_is_passed_over_if_fetched_and_refused_if_pinned(key):
    assert parse(key, signer("RS256", "good"), every=False).keys() == {"good"}
    refused(key, reason="no allowed algorithm", every=[True])


def test_a_key_of_an_algorithm_that_is_not_allowed_is_passed_over_or_refused():
    assert parse(RSA, EC, algorithms=["ES256"], every=False).keys() == {"two"}
    with pytest.raises(ValueError, match="no allowed algorithm"):
        parse(RSA, EC, algorithms=["ES256"])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[1]}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b"\xff",
        b" " * (65 << 10),
    ],
)
def test_what_is_no_set_is_refused(raw):
    with pytest.raises(ValueError):
        parse_set(raw, EVERY, every=False)


def test_too_many_keys_are_refused():
    many = [{**OKP, "kid": str(number)} for number in range(33)]
    assert len(parse(*many[:32])) == 32
    with pytest.raises(ValueError, match="1 to 32"):
        parse(*many)


def test_a_set_without_usable_keys_is_refused():
    with pytest.raises(ValueError, match="no key"):
        parse({"kty": "oct", "kid": "h"}, every=False)


def test_pinned_keys_that_are_not_acceptable_refuse_the_manifest():
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  (the point)
    weak = Signer("weak", "RS256", short)
    with pytest.raises(CosignerError) as caught:
        IssuerKeys(trusted(jwks=key_set(weak)))
    assert caught.value.code == "manifest_invalid"
    assert "1024 bits" in caught.value.message


def _raw(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
