"""``docs/spec/threshold.md`` §1 to §3 in plain Python: two groups, the hashes, key generation as an onlooker sees it.

Written from the document, slow, not constant time, for the tests alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

Point = tuple[int, int]


class Group(Protocol):
    """A group of prime order, points in affine coordinates; ``None`` is the identity of secp256k1."""

    tag: int
    order: int
    generator: Point
    point_length: int
    proof_length: int

    def add(self, a: Point | None, b: Point | None) -> Point | None: ...
    def encode(self, point: Point | None) -> bytes: ...
    def decode(self, data: bytes) -> Point: ...
    def scalar(self, data: bytes) -> int: ...
    def scalar_bytes(self, value: int) -> bytes: ...
    def hdkg(self, data: bytes) -> int: ...


def multiply(group: Group, k: int, point: Point | None) -> Point | None:
    result: Point | None = None
    for bit in f"{k % group.order:b}":
        result = group.add(result, result)
        if bit == "1":
            result = group.add(result, point)
    return result


def total(group: Group, points: Sequence[Point | None]) -> Point | None:
    result: Point | None = None
    for point in points:
        result = group.add(result, point)
    return result


class Ed25519:
    """RFC 8032 §5.1; the scalar hash of FROST(Ed25519, SHA-512)."""

    tag = 1
    point_length = 32
    proof_length = 64
    order = 2**252 + 27742317777372353535851937790883648493
    _p: Final = 2**255 - 19
    _d: Final = -121665 * pow(121666, -1, 2**255 - 19) % (2**255 - 19)

    def __init__(self) -> None:
        self.generator = self.decode(b"\x58" + b"\x66" * 31)

    def add(self, a: Point | None, b: Point | None) -> Point | None:
        if a is None or b is None:
            return a or b
        (x1, y1), (x2, y2) = a, b
        product = self._d * x1 * x2 * y1 * y2 % self._p
        return (
            (x1 * y2 + x2 * y1) * pow(1 + product, -1, self._p) % self._p,
            (y1 * y2 + x1 * x2) * pow(1 - product, -1, self._p) % self._p,
        )

    def encode(self, point: Point | None) -> bytes:
        x, y = point or (0, 1)
        return (y | (x & 1) << 255).to_bytes(32, "little")

    def decode(self, data: bytes) -> Point:
        value = int.from_bytes(data, "little")
        y, odd = value % 2**255, value >> 255
        square = (y * y - 1) * pow(self._d * y * y + 1, -1, self._p) % self._p
        x = pow(square, (self._p + 3) // 8, self._p)
        if x * x % self._p != square:
            x = x * pow(2, (self._p - 1) // 4, self._p) % self._p
        assert x * x % self._p == square
        return (self._p - x if x & 1 != odd else x, y)

    def scalar(self, data: bytes) -> int:
        return int.from_bytes(data, "little")

    def scalar_bytes(self, value: int) -> bytes:
        return value.to_bytes(32, "little")

    def hdkg(self, data: bytes) -> int:
        digest = hashlib.sha512(b"FROST-ED25519-SHA512-v1dkg" + data).digest()
        return int.from_bytes(digest, "little") % self.order


class Secp256k1:
    """SEC 2; the scalar hash is RFC 9380's ``hash_to_field`` with SHA-256."""

    point_length = 33
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    generator = (
        0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
        0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
    )
    _p: Final = 2**256 - 2**32 - 977

    def __init__(self, tag: int, proof_length: int, context: bytes) -> None:
        self.tag = tag
        self.proof_length = proof_length
        self._context = context

    def add(self, a: Point | None, b: Point | None) -> Point | None:
        if a is None or b is None:
            return a or b
        (x1, y1), (x2, y2) = a, b
        if x1 == x2:
            if (y1 + y2) % self._p == 0:
                return None
            slope = 3 * x1 * x1 * pow(2 * y1, -1, self._p)
        else:
            slope = (y2 - y1) * pow(x2 - x1, -1, self._p)
        x = (slope * slope - x1 - x2) % self._p
        return x, (slope * (x1 - x) - y1) % self._p

    def encode(self, point: Point | None) -> bytes:
        assert point is not None
        return bytes([2 + (point[1] & 1)]) + point[0].to_bytes(32, "big")

    def decode(self, data: bytes) -> Point:
        x = int.from_bytes(data[1:], "big")
        square = (x**3 + 7) % self._p
        y = pow(square, (self._p + 1) // 4, self._p)
        assert y * y % self._p == square
        return x, self._p - y if y & 1 != data[0] & 1 else y

    def scalar(self, data: bytes) -> int:
        return int.from_bytes(data, "big")

    def scalar_bytes(self, value: int) -> bytes:
        return value.to_bytes(32, "big")

    def hdkg(self, data: bytes) -> int:
        """RFC 9380 §5.3.1 ``expand_message_xmd`` to 48 bytes, modulo the order."""
        dst = self._context + b"dkg"
        suffix = dst + bytes([len(dst)])
        first = hashlib.sha256(bytes(64) + data + (48).to_bytes(2, "big") + b"\0" + suffix).digest()
        one = hashlib.sha256(first + b"\1" + suffix).digest()
        two = hashlib.sha256(bytes(a ^ b for a, b in zip(first, one, strict=True)) + b"\2" + suffix).digest()
        return int.from_bytes((one + two)[:48], "big") % self.order


GROUPS: Final[dict[str, Group]] = {
    "frost-ed25519": Ed25519(),
    "frost-secp256k1-tr": Secp256k1(2, 64, b"FROST-secp256k1-SHA256-TR-v1"),
    "ecdsa-secp256k1": Secp256k1(3, 65, b"FROST-secp256k1-SHA256-v1"),
}


def tagged(tag: str, *parts: bytes) -> bytes:
    name = f"cosigner/dkg/v1/{tag}".encode()
    return hashlib.sha256(bytes([len(name)]) + name + b"".join(parts)).digest()


@dataclass(frozen=True)
class Result:
    """What key generation gives; ``adjust`` makes a signing share of a sum of sub-shares."""

    public: bytes
    verifying: dict[int, bytes]
    chain_code: bytes
    confirmations: dict[int, bytes]
    sign: int
    tweak: int


def onlooker(
    suite: str, t: int, context: bytes, messages1: dict[int, bytes], messages2: dict[int, dict[int, bytes]]
) -> Result:
    """Follow a run of n participants from all its messages, checking everything that can be checked.

    ``messages2[i][j]`` is message 2 from i to j.
    """
    group = GROUPS[suite]
    n = len(messages1)
    shape = bytes([group.tag]) + t.to_bytes(2, "big") + n.to_bytes(2, "big")
    ctx = tagged("context", shape, context)
    commitments: dict[int, list[Point]] = {}
    for i, message in messages1.items():
        assert message[:9] == b"\1\1" + shape[:1] + i.to_bytes(2, "big") + shape[1:]
        assert message[9:41] == ctx
        end = 41 + t * group.point_length
        points = [message[at : at + group.point_length] for at in range(41, end, group.point_length)]
        commitments[i] = [group.decode(point) for point in points]
        proof = message[end : end + group.proof_length]
        r = proof[:-32] if len(proof[:-32]) == group.point_length else b"\2" + proof[:-32]
        c = group.hdkg(group.scalar_bytes(i) + points[0] + r)
        left = multiply(group, group.scalar(proof[-32:]), group.generator)
        assert left == group.add(group.decode(r), multiply(group, c, commitments[i][0]))
        assert len(message) == end + group.proof_length + 32
    round1 = tagged("round1", shape, context, *(messages1[i] for i in range(1, n + 1)))
    parts: dict[int, bytes] = {}
    for i, outgoing in messages2.items():
        for j, message in outgoing.items():
            expected = b"\1\2" + shape[:1] + i.to_bytes(2, "big") + j.to_bytes(2, "big") + round1
            assert message[:39] == expected
            share = group.scalar(message[39:71])
            assert multiply(group, share, group.generator) == evaluate(group, commitments[i], j)
            parts[i] = message[71:]
        assert messages1[i][-32:] == tagged("chain-code-commitment", ctx, i.to_bytes(2, "big"), parts[i])
    summed = [total(group, [commitments[i][k] for i in commitments]) for k in range(t)]
    public = summed[0]
    verifying = {j: evaluate(group, summed, j) for j in messages1}
    sign, tweak = 1, 0
    if suite == "frost-secp256k1-tr":
        encoded = group.encode(public)
        prefix = hashlib.sha256(b"TapTweak").digest()
        tweak = int.from_bytes(hashlib.sha256(prefix * 2 + encoded[1:]).digest(), "big") % group.order
        sign = 1 if encoded[0] == 2 else -1
        added = multiply(group, tweak, group.generator)
        public = group.add(multiply(group, sign, public), added)
        verifying = {j: group.add(multiply(group, sign, point), added) for j, point in verifying.items()}
    revealed = [parts[i] for i in range(1, n + 1)]
    chain_code = tagged("chain-code", ctx, *revealed)
    encoded_shares = {j: group.encode(verifying[j]) for j in range(1, n + 1)}
    transcript = tagged(
        "transcript", shape, round1, *revealed, group.encode(public), *encoded_shares.values(), chain_code
    )
    confirmations = {i: tagged("confirmation", transcript, i.to_bytes(2, "big")) for i in messages1}
    return Result(group.encode(public), encoded_shares, chain_code, confirmations, sign, tweak)


def evaluate(group: Group, commitments: Sequence[Point | None], j: int) -> Point | None:
    return total(group, [multiply(group, j**k, point) for k, point in enumerate(commitments)])


def open_record(record: bytes, sealing_key: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Key, nonce, header and ciphertext of a sealed record (``docs/spec/seal.md`` §1)."""
    pseudorandom = hmac.digest(record[8:40], sealing_key, "sha256")
    return (
        hmac.digest(pseudorandom, b"cosigner/seal/v1\x01", "sha256"),
        record[40:52],
        record[:52],
        record[52:],
    )
