"""Build enclave image files, good and bad, byte by byte: nothing here comes from the reader under test."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

KERNEL, CMDLINE, RAMDISK, SIGNATURE, METADATA = 1, 2, 3, 4, 5
KERNEL_BYTES = b"\x7fkernel" * 9000
CMDLINE_BYTES = b"reboot=k panic=30 pci=off nomodules console=ttyS0"
BOOT, APP, DATA = b"init" * 5000, b"application" * 3000, b"more" * 7
METADATA_BYTES = json.dumps({"ImageName": "test", "ImageVersion": "1", "BuildMetadata": {}, "DockerInfo": {}, "CustomMetadata": {}}).encode()  # fmt: skip
MEMORY, CPUS = 512 << 20, 2
Section = tuple[int, bytes]


def sections(*, ramdisks: Sequence[bytes] = (BOOT, APP)) -> list[Section]:
    """In the order in which AWS's builder writes them."""
    return [
        (KERNEL, KERNEL_BYTES),
        (CMDLINE, CMDLINE_BYTES),
        (METADATA, METADATA_BYTES),
        *((RAMDISK, content) for content in ramdisks),
    ]


def image(
    content: Sequence[Section] | None = None,
    *,
    flags: int = 0,
    version: int = 4,
    magic: bytes = b".eif",
    reserved: int = 0,
    unused: int = 0,
    count: int | None = None,
    table: Callable[[list[int], list[int]], None] = lambda offsets, sizes: None,
    section_header: Callable[[int, int, int], tuple[int, int, int]] = lambda kind, flags, size: (
        kind,
        flags,
        size,
    ),
    crc: Callable[[int], int] = lambda value: value,
) -> bytes:
    """One image. `table` alters the header's lists in place, `section_header` each (type, flags, size), `crc` the CRC."""
    content = sections() if content is None else content
    offsets, sizes, body = [0] * 32, [0] * 32, b""
    for number, (kind, data) in enumerate(content):
        if number < 32:
            offsets[number], sizes[number] = 548 + len(body), len(data)
        body += struct.pack(">HHQ", *section_header(kind, 0, len(data))) + data
    table(offsets, sizes)
    header = magic + struct.pack(
        ">HHQQHH32Q32QI", version, flags, MEMORY, CPUS, reserved,
        len(content) if count is None else count, *offsets, *sizes, unused,
    )  # fmt: skip
    return header + struct.pack(">I", crc(zlib.crc32(header + body))) + body


def pcr(*contents: bytes) -> bytes:
    """nitro.md's rule: SHA384(48 zeros, SHA384(content))."""
    return hashlib.sha384(bytes(48) + hashlib.sha384(b"".join(contents)).digest()).digest()


PCR0 = pcr(KERNEL_BYTES, CMDLINE_BYTES, BOOT, APP)
PCR1 = pcr(KERNEL_BYTES, CMDLINE_BYTES, BOOT)
PCR2 = pcr(APP)


@cache
def signing_key(curve: str = "P-384") -> Any:
    return ec.generate_private_key(
        {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}[curve]()
    )


def certificate(key: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "image signer")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(datetime(2030, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2032, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )


def head(major: int, number: int) -> bytes:
    """The head of a CBOR item (RFC 8949 §3), by hand."""
    if number < 24:
        return bytes([major << 5 | number])
    for code, width in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << 8 * width:
            return bytes([major << 5 | code]) + number.to_bytes(width, "big")
    raise ValueError(number)


def text(value: str) -> bytes:
    return head(3, len(value)) + value.encode()


def octets(value: bytes) -> bytes:
    """Bytes as serde writes them: an array of integers."""
    return head(4, len(value)) + b"".join(head(0, byte) for byte in value)


def string(value: bytes) -> bytes:
    return head(2, len(value)) + value


def signed_payload(value: bytes, index: int = 0) -> bytes:
    return b"\xa2" + text("register_index") + head(0, index) + text("register_value") + octets(value)


def cose(payload: bytes, key: Any, *, curve: str = "P-384", protected: bytes | None = None) -> bytes:
    usual, algorithm, half = {
        "P-256": (b"\xa1\x01\x26", hashes.SHA256(), 32),
        "P-384": (b"\xa1\x01\x38\x22", hashes.SHA384(), 48),
        "P-521": (b"\xa1\x01\x38\x23", hashes.SHA512(), 66),
    }[curve]
    protected = usual if protected is None else protected
    structure = b"\x84" + text("Signature1") + string(protected) + b"\x40" + string(payload)
    r, s = decode_dss_signature(key.sign(structure, ec.ECDSA(algorithm)))
    signature = r.to_bytes(half, "big") + s.to_bytes(half, "big")
    return b"\x84" + string(protected) + b"\xa0" + string(payload) + string(signature)


def signature_section(
    value: bytes = PCR0, *, curve: str = "P-384", pem: bytes | None = None, signed: bytes | None = None
) -> bytes:
    key = signing_key(curve)
    pem = certificate(key).public_bytes(Encoding.PEM) if pem is None else pem
    signed = cose(signed_payload(value), key, curve=curve) if signed is None else signed
    return b"\x81\xa2" + text("signing_certificate") + octets(pem) + text("signature") + octets(signed)


def signed_image(section: bytes | None = None, **changes: Any) -> bytes:
    section = signature_section() if section is None else section
    return image([*sections(), (SIGNATURE, section)], **changes)
