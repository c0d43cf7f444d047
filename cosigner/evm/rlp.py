"""RLP encoding (Yellow Paper, appendix B)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

Item: TypeAlias = bytes | int | Sequence["Item"]

_LONGEST_SHORT: Final = 55
_BYTES: Final = 0x80
_LIST: Final = 0xC0


def encode(item: Item) -> bytes:
    """Encode bytes, a number (big-endian without leading zeros) or a list of these."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < _BYTES:
            return item
        return _length(len(item), _BYTES) + item
    return encode_list([encode(element) for element in item])


def encode_list(encoded: Sequence[bytes]) -> bytes:
    """A list of elements that are encoded already."""
    body = b"".join(encoded)
    return _length(len(body), _LIST) + body


def _length(length: int, offset: int) -> bytes:
    if length <= _LONGEST_SHORT:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + _LONGEST_SHORT + len(size)]) + size
