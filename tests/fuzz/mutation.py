"""Altering inputs: the same operations for both drivers, which differ only in who draws the numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import cbor2

INTERESTING: Final = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\x00" * 4, b"\xff" * 4, b"\x00" * 8, b"\xff" * 8, b"\x1b" + b"\xff" * 8,
    b"\x9f", b"\xbf", b"\x5f", b"\x7f\xff", b"\xf6", b"\xf7", b"\xf9\x3c\x00", b"\xc0", b"\xc2", b"\xd8\x23", b"\xa1",
    b"\x81", b"\x30\x80", b"\x00\x00", b"\n", b"/", b"..", b"-1", b"null", b"[", b"{",
)  # fmt: skip


def flip(data: bytes, at: int, value: int, _: bytes) -> bytes:
    at %= len(data) or 1
    return data[:at] + bytes([byte ^ 1 << value % 8 for byte in data[at : at + 1]]) + data[at + 1 :]


def put(data: bytes, at: int, value: int, _: bytes) -> bytes:
    at %= len(data) or 1
    return data[:at] + bytes([value % 256]) + data[at + 1 :]


def cut(data: bytes, at: int, _: int, __: bytes) -> bytes:
    return data[: at % (len(data) + 1)]


def drop(data: bytes, at: int, value: int, _: bytes) -> bytes:
    at %= len(data) + 1
    return data[:at] + data[at + 1 + value % 16 :]


def repeat(data: bytes, at: int, value: int, _: bytes) -> bytes:
    at %= len(data) + 1
    return data[:at] + data[at : at + 1 + value % 32] * 2 + data[at + 1 + value % 32 :]


def insert(data: bytes, at: int, value: int, _: bytes) -> bytes:
    at %= len(data) + 1
    return data[:at] + INTERESTING[value % len(INTERESTING)] + data[at:]


def overwrite(data: bytes, at: int, value: int, _: bytes) -> bytes:
    at %= len(data) + 1
    piece = INTERESTING[value % len(INTERESTING)]
    return data[:at] + piece + data[at + len(piece) :]


def splice(data: bytes, at: int, value: int, other: bytes) -> bytes:
    """The beginning of one input and the end of another."""
    return data[: at % (len(data) + 1)] + other[value % (len(other) + 1) :]


def append(data: bytes, _: int, value: int, other: bytes) -> bytes:
    return data + other[: value % (len(other) + 1)]


LEAVES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 23, 24, 255, 1 << 32, (1 << 64) - 1, -(1 << 64), 1.5, b"", b"\x00", bytes(32), bytes(1216),
    bytes(70_000), "", "a", "\x00", "\n", "../..", "x" * 2000, [], [None], [[]] * 300, {}, {"kind": "fault"}, {1: 2},
    cbor2.undefined, cbor2.CBORTag(0, "2031-05-06"), cbor2.CBORTag(2, b"\x01"), cbor2.CBORTag(55799, 1),
)  # fmt: skip


def leaf(data: bytes, at: int, value: int, _: bytes) -> bytes:
    """Where the input is CBOR: another value in one place, well-formed and in its shortest form."""
    try:
        tree = cbor2.loads(data)
        return cbor2.dumps(_replaced(tree, at, LEAVES[value % len(LEAVES)]), canonical=True)
    except Exception:
        return data


def _replaced(tree: Any, at: int, value: Any) -> Any:
    """Choose a way down by the digits of ``at``; stop at a leaf, or early."""
    if not isinstance(tree, dict | list) or not tree or at % 8 == 7:
        return value
    at //= 8
    names = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    chosen = names[at % len(names)]
    inner = _replaced(tree[chosen], at // len(names), value)
    if isinstance(tree, dict):
        return tree | {chosen: inner}
    return [*tree[:chosen], inner, *tree[chosen + 1 :]]


_MOST: Final = 2 << 20
OPERATIONS: Final = (flip, put, cut, drop, repeat, insert, overwrite, splice, append, leaf, leaf)
Step = tuple[int, int, int]
"""Which operation, where, and its value; any non-negative integers."""


def mutate(seed: bytes, steps: Sequence[Step], other: bytes) -> bytes:
    """Apply ``steps`` one after another; the result has at most 2 MiB."""
    data = seed
    for operation, at, value in steps:
        data = OPERATIONS[operation % len(OPERATIONS)](data, at, value, other)[
            : len(seed) + len(other) + 4096
        ]
    return data


def random_steps(source: random.Random) -> list[Step]:
    """One to six steps, mostly few."""
    count = 1 + min(source.getrandbits(3), source.getrandbits(3), 5)
    return [(source.getrandbits(8), source.getrandbits(20), source.getrandbits(16)) for _ in range(count)]
