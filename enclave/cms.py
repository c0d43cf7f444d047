"""Open the envelope in which KMS returns a key: `CiphertextForRecipient`, a CMS EnvelopedData (RFC 5652 §6).

KMS writes BER, not DER: outer layers of indefinite length, and the content either as chunks (a constructed octet
string) or in one piece (primitive). This parser accepts exactly that shape, each container definite or indefinite,
and nothing else: one recipient, named by subject key identifier = SHA-256 of its DER public key; RSAES-OAEP with
SHA-256 and MGF1 with SHA-256; AES-256-CBC with PKCS#7 padding. The depth is fixed by the shape, and sizes are
bounded, because all of this runs before anything is authenticated.

An envelope carries no authentication at all: whoever knows the public key can make one. What it was worth is
decided by the caller (TLS to KMS, the KeyId, the encryption context, and the sealed records that the key opens).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MAX_ENVELOPE: Final = 6144  # KMS: CiphertextForRecipient has 1 to 6144 bytes
MAX_CHUNKS: Final = 64
_BLOCK: Final = 16
_AES_KEY: Final = 32

# Tags (X.690 §8.1.2), all in the one-byte form.
_INTEGER: Final = 0x02
_OCTET_STRING: Final = 0x04
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_CONTEXT_0_PRIMITIVE: Final = 0x80
_CONTEXT_0_CONSTRUCTED: Final = 0xA0
_END_OF_CONTENTS: Final = b"\x00\x00"
_CONSTRUCTED: Final = 0x20
_INDEFINITE: Final = 0x80  # as a length; below it, a length is itself (X.690 §8.1.3)
_MAX_LENGTH_BYTES: Final = 2  # enough for 6144

# Contents of OBJECT IDENTIFIERs.
_ENVELOPED_DATA: Final = bytes.fromhex("2a864886f70d010703")  # 1.2.840.113549.1.7.3
_DATA: Final = bytes.fromhex("2a864886f70d010701")  # 1.2.840.113549.1.7.1
_AES_256_CBC: Final = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42

# id-RSAES-OAEP with SHA-256 and MGF1 with SHA-256, without a label (RFC 4055 §4.1). The parameters of SHA-256 itself
# are NULL, as KMS and Bouncy Castle write them, or absent, as OpenSSL does; both must be accepted (RFC 4055 §2.1).
_OAEP_SHA_256: Final = frozenset(
    bytes.fromhex("06092a864886f70d010107" + parameters)
    for parameters in (
        "302f a00f 300d0609608648016503040201 0500 a11c301a06092a864886f70d010108 300d0609608648016503040201 0500",
        "302b a00d 300b0609608648016503040201 a11a301806092a864886f70d010108 300b0609608648016503040201",
    )
)


class EnvelopeError(Exception):
    """The envelope is not one that KMS made for this key.

    `code`: `envelope_malformed`, `envelope_algorithm` (another algorithm or parameter), `envelope_recipient`
    (addressed to another key), or `envelope_decryption`. Everything that goes wrong once a private key is involved is
    the last one, without further detail, so that nobody learns about paddings by asking.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def decrypt(envelope: bytes, recipient_key: rsa.RSAPrivateKey) -> bytes:
    """Open `envelope` (at most 6144 bytes of BER) with the key that the attestation document named.

    Returns the content (at least one byte). Raises EnvelopeError.
    """
    if not 0 < len(envelope) <= MAX_ENVELOPE:
        raise EnvelopeError("envelope_malformed", f"{len(envelope)} bytes; allowed are 1 to {MAX_ENVELOPE}")
    parts = _parse(envelope)
    if not hmac.compare_digest(parts.recipient, _subject_key_identifier(recipient_key)):
        raise EnvelopeError("envelope_recipient", "addressed to another key")
    if len(parts.encrypted_key) != (recipient_key.key_size + 7) // 8:
        raise EnvelopeError("envelope_malformed", "the encrypted key is not as long as the modulus")
    content_key, unwrapped = _unwrap(parts.encrypted_key, recipient_key)
    content = _decrypt_content(content_key, parts.iv, parts.ciphertext)
    if not unwrapped or not content:
        raise EnvelopeError("envelope_decryption", "it does not open with this key")
    return content


@dataclass(frozen=True, slots=True)
class _Parts:
    recipient: bytes  # 32 bytes
    encrypted_key: bytes
    iv: bytes  # 16 bytes
    ciphertext: bytes  # a positive number of 16-byte blocks


def _parse(envelope: bytes) -> _Parts:
    outer = _Reader(envelope)
    content_info = outer.enter(_SEQUENCE)
    outer.finish()
    content_info.expect(_OID, _ENVELOPED_DATA, "the content type")
    explicit = content_info.enter(_CONTEXT_0_CONSTRUCTED)
    content_info.finish()
    enveloped_data = explicit.enter(_SEQUENCE)
    explicit.finish()
    enveloped_data.expect(_INTEGER, b"\x02", "the version")
    recipient_infos = enveloped_data.enter(_SET)
    encrypted_content_info = enveloped_data.enter(_SEQUENCE)
    enveloped_data.finish()  # no originator info before, no unprotected attributes after

    recipient_info = recipient_infos.enter(_SEQUENCE)
    recipient_infos.finish()  # exactly one recipient
    recipient_info.expect(_INTEGER, b"\x02", "the recipient's version")
    recipient = recipient_info.primitive(_CONTEXT_0_PRIMITIVE)
    recipient_info.expect_one_of(_SEQUENCE, _OAEP_SHA_256, "the key encryption algorithm")
    encrypted_key = recipient_info.primitive(_OCTET_STRING)
    recipient_info.finish()

    encrypted_content_info.expect(_OID, _DATA, "the type of the content")
    algorithm = encrypted_content_info.enter(_SEQUENCE)
    algorithm.expect(_OID, _AES_256_CBC, "the content encryption algorithm")
    iv = algorithm.primitive(_OCTET_STRING)
    algorithm.finish()
    ciphertext = _encrypted_content(encrypted_content_info)
    encrypted_content_info.finish()

    if len(recipient) != hashlib.sha256().digest_size or len(iv) != _BLOCK:
        raise EnvelopeError("envelope_malformed", "the recipient or the IV has a wrong length")
    if not ciphertext or len(ciphertext) % _BLOCK:
        raise EnvelopeError("envelope_malformed", "the content is not a positive number of blocks")
    return _Parts(recipient, encrypted_key, iv, ciphertext)


def _encrypted_content(info: _Reader) -> bytes:
    """[0] IMPLICIT OCTET STRING: in one piece, or constructed from primitive octet strings (X.690 §8.7.3)."""
    if info.next_is(_CONTEXT_0_PRIMITIVE):
        return info.primitive(_CONTEXT_0_PRIMITIVE)
    pieces = info.enter(_CONTEXT_0_CONSTRUCTED)
    chunks: list[bytes] = []
    while not pieces.at_end():
        if len(chunks) == MAX_CHUNKS:
            raise EnvelopeError("envelope_malformed", f"the content has more than {MAX_CHUNKS} chunks")
        chunks.append(pieces.primitive(_OCTET_STRING))
    return b"".join(chunks)


class _Reader:
    """Reads the elements inside one container, in order. Lengths are minimal (X.690 §10.1), whether KMS must or not:
    BER would allow others, and no encoder in use writes them.

    An indefinite container does not say where it ends, so its contents are found by walking over its elements once;
    `depth` bounds that walk.
    """

    _MAX_DEPTH: Final = 8

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def enter(self, tag: int) -> _Reader:
        """The inside of the next element, a container with this tag."""
        return _Reader(self._element(tag))

    def primitive(self, tag: int) -> bytes:
        """The contents of the next element, primitive and with this tag."""
        return self._element(tag)

    def expect(self, tag: int, content: bytes, what: str) -> None:
        """The next element has this tag and exactly these contents."""
        self.expect_one_of(tag, frozenset({content}), what)

    def expect_one_of(self, tag: int, contents: frozenset[bytes], what: str) -> None:
        """The next element has this tag, and contents among these."""
        if self._element(tag) not in contents:
            raise EnvelopeError("envelope_algorithm", f"{what} is not the one that KMS uses")

    def next_is(self, tag: int) -> bool:
        return self._data[self._position : self._position + 1] == bytes([tag])

    def at_end(self) -> bool:
        return self._position == len(self._data)

    def finish(self) -> None:
        """Nothing may follow."""
        if not self.at_end():
            raise EnvelopeError("envelope_malformed", "unexpected bytes after an element")

    def _element(self, tag: int) -> bytes:
        if not self.next_is(tag):
            raise EnvelopeError("envelope_malformed", f"no element with tag {tag:#04x} where one must be")
        start, end, self._position = _extent(self._data, self._position, self._MAX_DEPTH)
        return self._data[start:end]


def _extent(data: bytes, position: int, depth: int) -> tuple[int, int, int]:
    """Where the element at `position` has its contents and its end: (first, past the contents, past the element)."""
    if depth == 0:
        raise EnvelopeError("envelope_malformed", "elements are nested too deeply")
    if position + 2 > len(data):
        raise EnvelopeError("envelope_malformed", "cut short")
    tag, first = data[position], data[position + 1]
    position += 2
    if first < _INDEFINITE:
        length = first
    elif first == _INDEFINITE:
        if not tag & _CONSTRUCTED:
            raise EnvelopeError("envelope_malformed", "a primitive element of indefinite length")
        end = position
        while data[end : end + 2] != _END_OF_CONTENTS:
            _, _, end = _extent(data, end, depth - 1)
        return position, end, end + 2
    else:
        size = first - _INDEFINITE
        length = int.from_bytes(data[position : position + size], "big")
        least = _INDEFINITE if size == 1 else 0x100
        if size > _MAX_LENGTH_BYTES or position + size > len(data) or length < least:
            raise EnvelopeError("envelope_malformed", "a length that is too long or not minimal")
        position += size
    if position + length > len(data):
        raise EnvelopeError("envelope_malformed", "cut short")
    return position, position + length, position + length


def _subject_key_identifier(key: rsa.RSAPrivateKey) -> bytes:
    """KMS names the recipient by SHA-256 of its DER SubjectPublicKeyInfo, 32 bytes."""
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


def _unwrap(encrypted_key: bytes, recipient_key: rsa.RSAPrivateKey) -> tuple[bytes, bool]:
    """The content key, or a random one and False when there is none inside: the work goes on with either, so that
    this failure shows where every other shows, at the end (as in RFC 5246 §7.4.7.1).
    """
    fallback = secrets.token_bytes(_AES_KEY)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    try:
        content_key = recipient_key.decrypt(encrypted_key, oaep)
    except ValueError:
        return fallback, False
    return (content_key, True) if len(content_key) == _AES_KEY else (fallback, False)


def _decrypt_content(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """The content; empty when the PKCS#7 padding is wrong (RFC 5652 §6.3). KMS sends no empty content."""
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    count = padded[-1]
    if not 1 <= count <= _BLOCK or padded[-count:] != bytes([count]) * count:
        return b""
    return padded[:-count]
