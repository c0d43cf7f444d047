"""Keccak-256 as Ethereum uses it: function selectors and address checksums. Only public names go in; ``hashlib`` has SHA-3 only."""

from __future__ import annotations

from typing import Final

_RATE: Final = 136  # bytes: 1600 bits less twice 256
_WORD: Final = (1 << 64) - 1


def _round_constants() -> list[int]:
    """FIPS 202, §3.2.5: bits of a linear feedback shift register."""
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


def _offsets() -> list[int]:
    """FIPS 202, §3.2.2: rotation of lane (x, y), at index x + 5 y."""
    offsets = [0] * 25
    x, y = 1, 0
    for t in range(24):
        offsets[x + 5 * y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return offsets


_CONSTANTS: Final = _round_constants()
_OFFSETS: Final = _offsets()


def keccak256(data: bytes) -> bytes:
    """32 bytes. The padding is Keccak's own, ``0x01 … 0x80``, not that of SHA-3."""
    padded = bytearray(data)
    padded += bytes(_RATE - len(data) % _RATE)
    padded[len(data)] ^= 0x01
    padded[-1] ^= 0x80
    state = [0] * 25
    for start in range(0, len(padded), _RATE):
        for lane in range(_RATE // 8):
            at = start + 8 * lane
            state[lane] ^= int.from_bytes(padded[at : at + 8], "little")
        state = _permute(state)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


def _permute(state: list[int]) -> list[int]:
    for constant in _CONSTANTS:
        columns = [state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20] for x in range(5)]
        mix = [columns[x - 1] ^ _rotate(columns[(x + 1) % 5], 1) for x in range(5)]
        moved = [0] * 25
        for x in range(5):
            for y in range(5):
                at = x + 5 * y
                moved[y + 5 * ((2 * x + 3 * y) % 5)] = _rotate(state[at] ^ mix[x], _OFFSETS[at])
        state = [
            moved[at] ^ (~moved[at - at % 5 + (at + 1) % 5] & moved[at - at % 5 + (at + 2) % 5])
            for at in range(25)
        ]
        state[0] ^= constant
    return state


def _rotate(lane: int, by: int) -> int:
    return (lane << by | lane >> 64 - by) & _WORD
