"""The channel written a second time, from the specification (``docs/spec/channel.md``) and the RFCs it names, with nothing of ``protocol``.

HPKE (RFC 9180 §5, base mode) over the KEM MLKEM768-X25519 (draft-ietf-hpke-pq, the same as X-Wing: draft-connolly-cfrg-xwing-kem), HKDF
(RFC 5869) by ``hmac``. ML-KEM, X25519 and AES-GCM come from ``cryptography``. It knows the private keys, so it only receives.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM_ID, KDF_ID, AEAD_ID = 0x647A, 0x0001, 0x0002  # MLKEM768-X25519, HKDF-SHA256, AES-256-GCM
ENCAPSULATED = 1088 + 32
XWING_LABEL = bytes.fromhex("5c2e2f2f5e5c")  # the six characters \.//^\ of X-Wing's logo


def hkdf_extract(salt: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), material, "sha256")


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    blocks, block = b"", b""
    for counter in range(1, length // 32 + 2):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        blocks += block
    return blocks[:length]


@dataclass(frozen=True)
class PrivateKey:
    """Both halves of an HPKE key, from their seeds (64 and 32 bytes)."""

    mlkem_seed: bytes
    x25519_seed: bytes

    @property
    def mlkem(self) -> MLKEM768PrivateKey:
        return MLKEM768PrivateKey.from_seed_bytes(self.mlkem_seed)

    @property
    def x25519(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.x25519_seed)

    @property
    def public_bytes(self) -> bytes:
        return self.mlkem.public_key().public_bytes_raw() + self.x25519.public_key().public_bytes_raw()

    def decapsulate(self, encapsulated: bytes) -> bytes:
        ours = self.x25519.public_key().public_bytes_raw()
        theirs = encapsulated[1088:]
        lattice = self.mlkem.decapsulate(encapsulated[:1088])
        curve = self.x25519.exchange(X25519PublicKey.from_public_bytes(theirs))
        return hashlib.sha3_256(lattice + curve + theirs + ours + XWING_LABEL).digest()


def hpke_open(ciphertext: bytes, key: PrivateKey, info: bytes) -> bytes:
    """RFC 9180 §5.1 and §6.1, base mode, first message, no additional data."""
    suite = b"HPKE" + KEM_ID.to_bytes(2, "big") + KDF_ID.to_bytes(2, "big") + AEAD_ID.to_bytes(2, "big")

    def extract(salt: bytes, label: bytes, material: bytes) -> bytes:
        return hkdf_extract(salt, b"HPKE-v1" + suite + label + material)

    def expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        return hkdf_expand(secret, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context, length)

    shared = key.decapsulate(ciphertext[:ENCAPSULATED])
    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    aead_key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return AESGCM(aead_key).decrypt(nonce, ciphertext[ENCAPSULATED:], None)


@dataclass(frozen=True)
class Keys:
    """What both sides derive."""

    transcript: bytes
    to_enclave: tuple[bytes, bytes]
    to_client: tuple[bytes, bytes]
    confirmation: bytes

    def seal(self, plaintext: bytes, *, session_id: bytes, client: bool, counter: int) -> bytes:
        """The record that the client (or the enclave) sends as number ``counter``."""
        key, base = self.to_enclave if client else self.to_client
        header = counter.to_bytes(8, "big")
        nonce = bytes(a ^ b for a, b in zip(base, bytes(4) + header, strict=True))
        associated = b"cosigner/channel/v1/record" + session_id + (b"\x01" if client else b"\x02") + header
        return header + AESGCM(key).encrypt(nonce, plaintext, associated)


def hash_of_key(channel_key: bytes) -> bytes:
    return hashlib.sha256(channel_key).digest()


def derive(
    *, channel_key: bytes, hello: bytes, answer: bytes, client_random: bytes, enclave_random: bytes
) -> Keys:
    """The key schedule, from what went over the wire and the two secrets inside it."""
    sealed_answer = answer[:-32]
    transcript = hashlib.sha256(
        b"cosigner/channel/v1/transcript"
        + hash_of_key(channel_key)
        + hashlib.sha256(hello).digest()
        + hashlib.sha256(sealed_answer).digest()
    ).digest()
    secret = hkdf_extract(transcript, client_random + enclave_random)
    material = hkdf_expand(secret, b"cosigner/channel/v1/secrets", 120)
    return Keys(
        transcript=transcript,
        to_enclave=(material[:32], material[32:44]),
        to_client=(material[44:76], material[76:88]),
        confirmation=hmac.digest(material[88:], b"cosigner/channel/v1/confirm" + transcript, "sha256"),
    )


def hello_info(channel_key: bytes) -> bytes:
    return b"cosigner/channel/v1/client hello" + hash_of_key(channel_key)


def answer_info(hello: bytes) -> bytes:
    return b"cosigner/channel/v1/enclave hello" + hashlib.sha256(hello).digest()
