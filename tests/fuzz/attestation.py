"""Fuzz targets of the attestation package: documents, certificates, image files, policy files.

Each of them must end within 50 ms of CPU, whatever it is given; only ``python -m tests.fuzz`` looks at the clock.
"""

from __future__ import annotations

import io
import zlib
from functools import cache

import cbor2

from attestation import AttestationError, CertificateCache, describe, measurements, policy_file
from attestation.document import parse
from attestation.eif import HEADER_BYTES, EifError, measure
from attestation.eif_signature import verify_signature
from attestation.strict_json import FileError
from attestation.verify import verify
from tests.attestation import images
from tests.attestation.corpus import bad, good
from tests.attestation.export import trusted
from tests.attestation.minting import NONCE, NOW, POSITIONS, document, normal_chain
from tests.fuzz.targets import target

CPU_MS = 50.0
_CACHE = CertificateCache()
_POLICY = trusted()


@cache
def _good() -> list[bytes]:
    return [case.make() for case in good() if not case.expected or case.expected.get("nonce") == NONCE]


def _bad() -> list[bytes]:
    return [*(case.make() for case in bad()), _colliding_keys(), *_fillers()]


def _colliding_keys() -> bytes:
    """A document whose payload is a map with keys of one hash: arrays, which Python hashes without a secret."""
    multiplier, other, start = 11400714785074694791, 14029467366897019727, 2870177450012600261
    mask, keys = (1 << 64) - 1, []
    wanted = (
        12345 - (2 ^ (start ^ 3527539))
    ) & mask  # CPython's tuplehash, run backwards for the second item
    unmultiplied = wanted * pow(multiplier, -1, 1 << 64) & mask
    rotated = (unmultiplied >> 31 | unmultiplied << 33) & mask
    for first in range(1, 6000):
        lane = (start + first * other) & mask
        lane = ((lane << 31 | lane >> 33) & mask) * multiplier & mask
        second = (rotated - lane) * pow(other, -1, 1 << 64) & mask
        if second < (1 << 61) - 1 and len(keys) < 1100:
            keys.append((first, second))
    payload = b"\xbf" + b"".join(cbor2.dumps(key) + b"\0" for key in keys) + b"\xff"
    return document(payload=lambda _: payload)


def _fillers() -> list[bytes]:
    """As much of one thing as fits into a document."""
    items = (
        b"\x80",
        b"\xa0",
        b"\x00",
        b"\x40",
        b"\x60",
        b"\xf6",
        b"\x81\x81\x80",
        b"\xfb" + bytes(8),
        b"\xc2\x40",
    )
    arrays = [
        b"\x99" + (15_000 // len(item)).to_bytes(2, "big") + item * (15_000 // len(item)) for item in items
    ]
    return [
        *arrays,
        *(document(payload=lambda _, filler=filler: b"\xbf\x00" + filler + b"\xff") for filler in arrays),
    ]


@target(AttestationError, seeds=_good, hostile=_bad, cpu_ms=CPU_MS)
def attestation_with_cache(data: bytes) -> None:
    """Documents with a warm cache: the outcome is the one without."""
    verify(_good()[0], policy=_POLICY, at=NOW, cache=_CACHE)
    outcomes = []
    for known in (None, _CACHE):
        try:
            outcomes.append(verify(data, policy=_POLICY, at=NOW, cache=known).document)
        except AttestationError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1], "the cache changed an outcome"
    verify(data, policy=_POLICY, at=NOW)


@target(AttestationError, seeds=_good, hostile=_bad, cpu_ms=CPU_MS)
def attestation_inspect(data: bytes) -> None:
    describe.certificates(parse(data))


@target(seeds=lambda: [normal_chain()[position].der for position in POSITIONS], cpu_ms=CPU_MS)
def attestation_certificate(data: bytes) -> None:
    """Any bytes are described."""
    assert describe.certificate(data)["size"] == len(data)


def _images() -> list[bytes]:
    small = [
        (images.KERNEL, b"kernel"),
        (images.CMDLINE, b"quiet"),
        (images.METADATA, b"{}"),
        (images.RAMDISK, b"init"),
    ]
    signature = images.signature_section(images.pcr(b"kernel", b"quiet", b"init"))
    return [images.image(small), images.image([*small, (images.SIGNATURE, signature)])]


@target(EifError, seeds=_images, cpu_ms=CPU_MS)
def eif_measure(data: bytes) -> None:
    """Images; the CRC is made to fit, or nothing would get past it."""
    start = HEADER_BYTES - 4
    if len(data) > HEADER_BYTES:
        crc = zlib.crc32(data[HEADER_BYTES:], zlib.crc32(data[:start]))
        data = data[:start] + crc.to_bytes(4, "big") + data[HEADER_BYTES:]
    found = measure(io.BytesIO(data))
    assert found.size == len(data)
    assert sum(size + 12 for _, size in found.sections) + HEADER_BYTES == len(data)


@target(EifError, seeds=lambda: [images.signature_section(curve=curve) for curve in ("P-256", "P-384", "P-521")], cpu_ms=CPU_MS)  # fmt: skip
def eif_signature(data: bytes) -> None:
    verify_signature(data, pcr0=images.PCR0)


@target(FileError, seeds=lambda: [policy_file.dump(trusted()).encode()], cpu_ms=CPU_MS)
def trust_policy(data: bytes) -> None:
    """What is accepted pins an image, and can be written again."""
    found = policy_file.load(data)
    assert {0, 1, 2} <= found.pinned
    assert policy_file.load(policy_file.dump(found).encode()) == found


@target(FileError, seeds=lambda: [measurements.dump({i: bytes([i + 1]) * 48 for i in (0, 1, 2, 8)}).encode()], cpu_ms=CPU_MS)  # fmt: skip
def measurements_file(data: bytes) -> None:
    found = measurements.load(data)
    assert measurements.load(measurements.dump(found).encode()) == found
