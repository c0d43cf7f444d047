"""One-time codes as people see them: 80 bits in Crockford's base 32, four groups of four, ``XXXX-XXXX-XXXX-XXXX``."""

from __future__ import annotations

import re
from typing import Final

CODE_BYTES: Final = 10
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SYMBOLS: Final = 16
_GROUP: Final = 4
_BITS: Final = 5
_MISREAD: Final = str.maketrans("OIL", "011")
_SEPARATORS: Final = re.compile(r"[\s-]")


def encode(raw: bytes) -> str:
    """The code for 10 bytes."""
    if len(raw) != CODE_BYTES:
        msg = f"a code has {CODE_BYTES} bytes"
        raise ValueError(msg)
    number = int.from_bytes(raw, "big")
    symbols = [_ALPHABET[number >> shift & 31] for shift in range((_SYMBOLS - 1) * _BITS, -1, -_BITS)]
    return "-".join("".join(symbols[start : start + _GROUP]) for start in range(0, _SYMBOLS, _GROUP))


def decode(text: str) -> bytes:
    """The 10 bytes of a code, as a person may have typed it: lower case, other spacing, O for 0, I and L for 1.

    :raises ValueError: not a code.
    """
    # Characters outside ASCII may become ASCII ones in upper case.
    symbols = _SEPARATORS.sub("", text).upper().translate(_MISREAD) if text.isascii() else ""
    if len(symbols) != _SYMBOLS or any(symbol not in _ALPHABET for symbol in symbols):
        msg = f"a code has {_SYMBOLS} letters and digits, without U"
        raise ValueError(msg)
    number = 0
    for symbol in symbols:
        number = number << _BITS | _ALPHABET.index(symbol)
    return number.to_bytes(CODE_BYTES, "big")


def normalize(text: str) -> str:
    """A code in the one form that messages have.

    :raises ValueError: not a code.
    """
    return encode(decode(text))
