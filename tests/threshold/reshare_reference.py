"""Resharing and import of ``docs/spec/threshold.md`` §7 and §8 in plain Python, as an onlooker sees them.

Written from the document, slow, not constant time, for the tests alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from tests.threshold.reference import GROUPS, Group, Point, evaluate, multiply, total


def tagged(tag: str, *parts: bytes) -> bytes:
    name = f"cosigner/{tag}".encode()
    return hashlib.sha256(bytes([len(name)]) + name + b"".join(parts)).digest()


def u16(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


@dataclass(frozen=True)
class PublicGroup:
    """§3.1, taken apart."""

    suite: str
    t: int
    n: int
    epoch: int
    chain_code: bytes
    public: bytes
    verifying: dict[int, bytes]

    @classmethod
    def parse(cls, data: bytes) -> PublicGroup:
        (suite,) = (name for name, group in GROUPS.items() if group.tag == data[1])
        length = GROUPS[suite].point_length
        t, n = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
        points = [data[at : at + length] for at in range(42, len(data), length)]
        assert data[0] == 1
        assert len(data) == 42 + (1 + n) * length
        return cls(
            suite,
            t,
            n,
            int.from_bytes(data[6:10], "big"),
            data[10:42],
            points[0],
            dict(enumerate(points[1:], 1)),
        )

    def encode(self) -> bytes:
        head = bytes([1, GROUPS[self.suite].tag]) + u16(self.t, self.n) + self.epoch.to_bytes(4, "big")
        return head + self.chain_code + self.public + b"".join(self.verifying.values())


def lagrange(group: Group, quorum: list[int], i: int, x: int = 0) -> int:
    """The coefficient of participant ``i`` when ``quorum`` interpolates at ``x``."""
    result = 1
    for j in quorum:
        if j != i:
            result = result * (x - j) * pow(i - j, -1, group.order) % group.order
    return result


def interpolate(group: Group, points: dict[int, bytes], quorum: list[int], x: int = 0) -> bytes:
    """What the verifying shares of ``quorum`` give at ``x``, encoded."""
    parts = [multiply(group, lagrange(group, quorum, i, x), group.decode(points[i])) for i in quorum]
    return group.encode(total(group, parts))


@dataclass(frozen=True)
class Result:
    """The new group, and each receiver's confirmation."""

    group: PublicGroup
    confirmations: dict[int, bytes]


def reshare_onlooker(
    old: PublicGroup,
    dealers: list[int],
    size: tuple[int, int],
    context: bytes,
    *,
    messages1: dict[int, bytes],
    messages2: dict[tuple[int, int], bytes],
) -> Result:
    """Follow a resharing from its messages, checking everything that can be checked."""
    group, (t, n) = GROUPS[old.suite], size
    shape = bytes([group.tag]) + u16(old.t, old.n, t, n)
    fingerprint = tagged("share/v1/group", old.encode())
    ctx = tagged("reshare/v1/context", shape, fingerprint, context, u16(*dealers))
    commitments = {}
    for i in dealers:
        head = bytes([1, 3, group.tag]) + u16(i, t, n) + ctx
        commitments[i] = _commitments(group, messages1[i], head, t)
        part = multiply(group, lagrange(group, dealers, i), group.decode(old.verifying[i]))
        assert commitments[i][0] == part
    round1 = tagged("reshare/v1/round1", ctx, *(messages1[i] for i in dealers))
    for (i, j), message in messages2.items():
        _check_second(group, message, bytes([1, 4, group.tag]) + u16(i, j) + round1, commitments[i], j)
    sums = [total(group, [commitments[i][k] for i in dealers]) for k in range(t)]
    assert group.encode(sums[0]) == old.public
    return _result(
        PublicGroup(old.suite, t, n, old.epoch + 1, old.chain_code, old.public, {}), sums, ctx + round1
    )


def import_onlooker(
    suite: str, size: tuple[int, int], context: bytes, message1: bytes, messages2: dict[int, bytes]
) -> Result:
    """Follow an import from its messages."""
    group, (t, n) = GROUPS[suite], size
    ctx = tagged("reshare/v1/import-context", bytes([group.tag]) + u16(t, n), context)
    chain_code = message1[41:73]
    head = bytes([1, 5, group.tag]) + u16(0, t, n) + ctx + chain_code
    commitments = _commitments(group, message1, head, t)
    round1 = tagged("reshare/v1/round1", ctx, message1)
    for j, message in messages2.items():
        _check_second(group, message, bytes([1, 6, group.tag]) + u16(0, j) + round1, commitments, j)
    public = group.encode(commitments[0])
    return _result(PublicGroup(suite, t, n, 1, chain_code, public, {}), list(commitments), ctx + round1)


def _commitments(group: Group, message: bytes, head: bytes, t: int) -> list[Point]:
    assert message[: len(head)] == head
    length = group.point_length
    points = [message[at : at + length] for at in range(len(head), len(message), length)]
    assert [len(point) for point in points] == [length] * t
    return [group.decode(point) for point in points]


def _check_second(group: Group, message: bytes, head: bytes, commitments: list[Point], j: int) -> None:
    assert message[:39] == head
    assert len(message) == 71
    share = group.scalar(message[39:])
    assert multiply(group, share, group.generator) == evaluate(group, commitments, j)


def _result(empty: PublicGroup, sums: list[Point | None], transcript: bytes) -> Result:
    """The group with its verifying shares, from the sums of all dealers' commitments."""
    group = GROUPS[empty.suite]
    verifying = {j: group.encode(evaluate(group, sums, j)) for j in range(1, empty.n + 1)}
    new = replace(empty, verifying=verifying)
    hashed = tagged("reshare/v1/transcript", transcript, new.encode())
    confirmations = {j: tagged("reshare/v1/confirmation", hashed, u16(j)) for j in verifying}
    return Result(new, confirmations)
