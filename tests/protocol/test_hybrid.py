"""The envelope for developers, against an opener that shares no code with it, and against what an attacker changes."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import hybrid
from protocol.envelope.errors import ProtocolError

RSA_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


@functools.cache
def key_pair(bits: int = 2048) -> tuple[rsa.RSAPrivateKey, hybrid.DecryptionKey, hybrid.EncryptionKey]:
    private = rsa.generate_private_key(65537, bits)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    opener = hybrid.DecryptionKey.from_pem(pem)
    return private, opener, opener.public("key-1")


def unpadded(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "==")


def sealed(
    content: bytes, *, iv: bytes = bytes(16), key: bytes = bytes(32), **changes: Any
) -> dict[str, str]:
    """An envelope made without the product's code."""
    private, _, _ = key_pair()
    both = AESGCM(key.ljust(32, b"\x00")).encrypt(iv, content, None)
    wrapped = private.public_key().encrypt(key, RSA_OAEP)
    parts = {"iv": iv, "ct": both[:-16], "tag": both[-16:], "ek": wrapped}
    encoded = {name: base64.urlsafe_b64encode(raw).rstrip(b"=").decode() for name, raw in parts.items()}
    return {"alg": "HYBRID-RSA-AES-256", **encoded, **changes}


def refused(call: Any, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        call()
    assert caught.value.code == code


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=600))
def test_another_implementation_opens_what_is_encrypted_here(content: bytes) -> None:
    private, opener, recipient = key_pair()
    envelope = recipient.encrypt(content)
    iv = unpadded(envelope.iv)
    assert (envelope.alg, envelope.kid, len(iv)) == ("HYBRID-RSA-AES-256", "key-1", 16)
    key = private.decrypt(unpadded(envelope.ek), RSA_OAEP)
    assert len(key) == 32
    assert AESGCM(key).decrypt(iv, unpadded(envelope.ct) + unpadded(envelope.tag), None) == content
    again = hybrid.parse(json.loads(json.dumps(envelope.fields())))
    assert again == envelope
    assert opener.decrypt(again) == content


@pytest.mark.parametrize("length", [12, 16])
@pytest.mark.parametrize("alg", ["HYBRID-RSA-AES-256", "RSA-OAEP-256"])
def test_both_names_and_both_lengths_of_iv_are_opened(length: int, alg: str) -> None:
    _, opener, _ = key_pair()
    value = sealed(b"content", iv=bytes(range(length)), alg=alg)
    assert opener.decrypt(hybrid.parse(value)) == b"content"
    assert opener.decrypt(hybrid.parse({**value, "kid": "k", "zip": "none", "x": 1})) == b"content"


@pytest.mark.parametrize("length", [8, 11, 13, 15])
def test_other_lengths_of_iv_are_refused(length: int) -> None:
    _, opener, _ = key_pair()
    refused(lambda: opener.decrypt(hybrid.parse(sealed(b"c", iv=bytes(length)))), "envelope_malformed")


@pytest.mark.parametrize(
    "alg",
    [
        "",
        "RSA-OAEP",
        "RSA1_5",
        "hybrid-rsa-aes-256",
        "HYBRID-RSA-AES-128",
        "none",
        None,
        1,
        ["HYBRID-RSA-AES-256"],
    ],
)
def test_other_algorithms_are_refused(alg: Any) -> None:
    refused(lambda: hybrid.parse(sealed(b"c", alg=alg)), "envelope_malformed")


def test_every_bit_counts() -> None:
    _, opener, recipient = key_pair()
    envelope = recipient.encrypt(b"a delegated share")
    for field in ("iv", "ct", "tag", "ek"):
        raw = bytearray(unpadded(getattr(envelope, field)))
        for index in range(len(raw)):
            raw[index] ^= 1 << index % 8
            text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
            changed = msgspec.structs.replace(envelope, **{field: text})
            refused(lambda changed=changed: opener.decrypt(changed), "envelope_rejected")
            raw[index] ^= 1 << index % 8


def test_parts_of_two_envelopes_do_not_mix() -> None:
    _, opener, recipient = key_pair()
    first, second = recipient.encrypt(b"first"), recipient.encrypt(b"other")
    for field in ("iv", "ct", "tag", "ek"):
        mixed = msgspec.structs.replace(first, **{field: getattr(second, field)})
        refused(lambda mixed=mixed: opener.decrypt(mixed), "envelope_rejected")


def test_a_key_of_another_receiver_opens_nothing() -> None:
    _, _, recipient = key_pair()
    stranger = hybrid.DecryptionKey.generate(2048)
    refused(lambda: stranger.decrypt(recipient.encrypt(b"c")), "envelope_rejected")


def test_a_wrapped_key_of_another_length_says_no_more_than_a_wrong_one() -> None:
    _, opener, _ = key_pair()
    for length in (0, 16, 24, 31, 33, 64):
        key = bytes(range(length))
        value = sealed(b"c")
        private, _, _ = key_pair()
        wrapped = private.public_key().encrypt(key, RSA_OAEP)
        value["ek"] = base64.urlsafe_b64encode(wrapped).rstrip(b"=").decode()
        refused(lambda value=value: opener.decrypt(hybrid.parse(value)), "envelope_rejected")


@pytest.mark.parametrize("field", ["iv", "ct", "tag", "ek"])
def test_one_encoding_only(field: str) -> None:
    _, opener, recipient = key_pair()
    good = recipient.encrypt(b"content").fields()
    for spoilt in (
        good[field] + "=",
        good[field] + "==",
        good[field][:-1] + "+",
        " " + good[field][1:],
        good[field][:-1],
    ):
        with pytest.raises(ProtocolError) as caught:
            opener.decrypt(hybrid.parse({**good, field: spoilt}))
        assert caught.value.code in {"envelope_malformed", "envelope_rejected"}
    for missing in (None, 5, b"x", [good[field]]):
        refused(lambda missing=missing: hybrid.parse({**good, field: missing}), "envelope_malformed")
    del good[field]
    refused(lambda: hybrid.parse(good), "envelope_malformed")


def test_lengths_are_bounded() -> None:
    _, opener, recipient = key_pair()
    most = bytes(hybrid.MAX_CONTENT)
    assert opener.decrypt(hybrid.parse(recipient.encrypt(most).fields())) == most
    with pytest.raises(ValueError, match="at most"):
        recipient.encrypt(most + b"\x00")
    refused(lambda: hybrid.parse(sealed(most + bytes(3))), "envelope_malformed")
    for value in (None, [], "text", {}, {"alg": "HYBRID-RSA-AES-256"}):
        refused(lambda value=value: hybrid.parse(value), "envelope_malformed")


@pytest.mark.parametrize("bits", [1024, 2040, 4104])
def test_keys_of_other_sizes_are_refused(bits: int) -> None:
    private = rsa.generate_private_key(65537, bits)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    refused(lambda: hybrid.EncryptionKey.from_pem(pem, "k"), "encryption_key_unfit")
    refused(lambda: hybrid.DecryptionKey(private), "encryption_key_unfit")


def test_keys_of_the_largest_size_and_odd_sizes_work() -> None:
    for bits in (3072, 4096):
        opener = hybrid.DecryptionKey.generate(bits)
        again = hybrid.DecryptionKey.from_pem(opener.pem())
        assert again.decrypt(opener.public("k").encrypt(b"c")) == b"c"


def test_other_kinds_of_keys_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    public = curve.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    small = rsa.generate_private_key(3, 2048).public_key()
    exponent = small.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _, opener, recipient = key_pair()
    for pem in (
        public,
        exponent,
        b"",
        b"\x00",
        opener.pem(),
        b"-----BEGIN PUBLIC KEY-----\n",
        recipient.pem * 40,
    ):
        refused(lambda pem=pem: hybrid.EncryptionKey.from_pem(pem, "k"), "encryption_key_unfit")
    for pem in (public, recipient.pem, b"", b"x" * 9000):
        refused(lambda pem=pem: hybrid.DecryptionKey.from_pem(pem), "encryption_key_unfit")


def test_a_public_key_has_one_encoding() -> None:
    private, _, recipient = key_pair()
    assert hybrid.EncryptionKey.from_der(recipient.der, "key-1").pem == recipient.pem
    assert recipient.hash == hashlib.sha256(recipient.der).digest()
    pkcs1 = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    long_length = (
        b"\x30\x83\x00" + recipient.der[2:4] + recipient.der[4:]
    )  # the same, with its length in three bytes
    for der in (pkcs1, long_length, recipient.der + b"\x00", recipient.der[:-1], b"", recipient.pem):
        refused(lambda der=der: hybrid.EncryptionKey.from_der(der, "k"), "encryption_key_unfit")


def test_a_private_key_is_not_shown_and_needs_its_password() -> None:
    private, opener, _ = key_pair()
    assert repr(opener) == "<DecryptionKey of 2048 bits>"
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    assert hybrid.DecryptionKey.from_pem(locked, b"password").pem() == opener.pem()
    for password in (None, b"wrong"):
        refused(
            lambda password=password: hybrid.DecryptionKey.from_pem(locked, password), "encryption_key_unfit"
        )
