"""Seal a plaintext for an enclave as KMS does: `CiphertextForRecipient` (RFC 5652 EnvelopedData, in BER).

KMS has been seen to write the content in two ways under otherwise equal indefinite outer layers: as a constructed
octet string of chunks, and as one primitive octet string. A client that read only one of them worked against
every emulator and failed on the first real enclave; so this writes both.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

_CHUNK: Final = 1000
_INDEFINITE: Final = 0x80
_ENVELOPED_DATA: Final = bytes.fromhex("06092a864886f70d010703")
_DATA: Final = bytes.fromhex("06092a864886f70d010701")
_OAEP: Final = bytes.fromhex("06092a864886f70d010107")
_MGF1: Final = bytes.fromhex("06092a864886f70d010108")
_SHA_256: Final = bytes.fromhex("0609608648016503040201")
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")
_NULL: Final = b"\x05\x00"
_VERSION_2: Final = b"\x02\x01\x02"


class Encoding(enum.Enum):
    """How the encrypted content is written."""

    CHUNKED = "chunked"  # outer layers indefinite, content constructed and indefinite
    PRIMITIVE = "primitive"  # outer layers indefinite, content primitive
    DEFINITE = "definite"  # everything definite, as DER has it; not seen from KMS


def seal_for_recipient(plaintext: bytes, public_key: rsa.RSAPublicKey, encoding: Encoding) -> bytes:
    """Encrypt `plaintext` (1 to 4096 bytes) under a fresh AES-256-CBC key, and that key under `public_key`."""
    key, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return encode(
        recipient=key_identifier(public_key),
        encrypted_key=public_key.encrypt(key, oaep),
        iv=iv,
        ciphertext=ciphertext,
        encoding=encoding,
    )


def key_identifier(public_key: rsa.RSAPublicKey) -> bytes:
    """SHA-256 of the DER SubjectPublicKeyInfo: how KMS names a recipient (32 bytes)."""
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


def encode(
    *, recipient: bytes, encrypted_key: bytes, iv: bytes, ciphertext: bytes, encoding: Encoding
) -> bytes:
    """The whole ContentInfo around already encrypted parts."""
    sha_256 = _definite(0x30, _SHA_256 + _NULL)
    oaep_parameters = _definite(
        0x30,
        _definite(0xA0, sha_256) + _definite(0xA1, _definite(0x30, _MGF1 + sha_256)),
    )
    recipient_info = _definite(
        0x30,
        _VERSION_2
        + _definite(0x80, recipient)
        + _definite(0x30, _OAEP + oaep_parameters)
        + _definite(0x04, encrypted_key),
    )
    if encoding is Encoding.CHUNKED:
        chunks = [ciphertext[start : start + _CHUNK] for start in range(0, len(ciphertext), _CHUNK)]
        content = _indefinite(0xA0, b"".join(_definite(0x04, chunk) for chunk in chunks))
    else:
        content = _definite(0x80, ciphertext)
    wrap = _definite if encoding is Encoding.DEFINITE else _indefinite
    content_info = wrap(0x30, _DATA + _definite(0x30, _AES_256_CBC + _definite(0x04, iv)) + content)
    enveloped_data = wrap(0x30, _VERSION_2 + _definite(0x31, recipient_info) + content_info)
    return wrap(0x30, _ENVELOPED_DATA + wrap(0xA0, enveloped_data))


def _definite(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _INDEFINITE:
        length = bytes([size])
    else:
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes([_INDEFINITE | len(digits)]) + digits
    return bytes([tag]) + length + content


def _indefinite(tag: int, content: bytes) -> bytes:
    return bytes([tag, _INDEFINITE]) + content + b"\x00\x00"
