"""Attestation by itself: what one verification costs, with nothing known and with every certificate known."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

from attestation import CertificateCache, Release, TrustPolicy
from attestation.document import parse
from attestation.eif import measure
from attestation.verify import verify
from simulator.measure import measurements
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki

from .measure import Figure, cpu_ms

IMAGE_MB = 80
COLD_MS, WARM_MS = 6.0, 2.0


def figures() -> Iterator[Figure]:
    pki = NitroPki.ephemeral()
    nonce, pcrs = os.urandom(32), measurements()
    document = FakeNsm(pki, measurements=pcrs).attest(b"user data", nonce, None)
    policy = TrustPolicy(
        roots=frozenset({pki.root_sha256}),
        releases=(Release(pcrs={index: pcrs[index] for index in (0, 1, 2)}),),
    )
    known = CertificateCache()

    def judge(cache: CertificateCache | None) -> None:
        verify(document, policy=policy, at=datetime.now(UTC), nonce=nonce, cache=cache)

    stage = "attestation"
    yield Figure(
        stage, "verification CPU, cold", cpu_ms(lambda: judge(CertificateCache()), repeat=20), "ms", COLD_MS
    )
    yield Figure(
        stage, "verification CPU, warm cache", cpu_ms(lambda: judge(known), repeat=50), "ms", WARM_MS
    )
    yield Figure(stage, "parsing CPU alone", cpu_ms(lambda: parse(document), repeat=200), "ms")
    yield Figure(stage, "document", len(document), "B")
    image = _image(IMAGE_MB << 20)
    yield Figure(
        stage,
        f"measuring CPU, image of {IMAGE_MB} MB",
        cpu_ms(lambda: measure(io.BytesIO(image)), repeat=1),
        "ms",
    )


def _image(ramdisk: int) -> bytes:
    """The smallest image with one large ramdisk (nitro-enclaves image format, version 4)."""
    sections = [(1, b"kernel"), (2, b"quiet"), (5, b"{}"), (3, os.urandom(ramdisk))]
    offsets, sizes, body = [0] * 32, [0] * 32, b""
    for number, (kind, content) in enumerate(sections):
        offsets[number], sizes[number] = 548 + len(body), len(content)
        body += struct.pack(">HHQ", kind, 0, len(content)) + content
    header = b".eif" + struct.pack(">HHQQHH32Q32QI", 4, 0, 1 << 30, 2, 0, len(sections), *offsets, *sizes, 0)
    return header + struct.pack(">I", zlib.crc32(body, zlib.crc32(header))) + body
