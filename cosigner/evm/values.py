"""Values as `eth_account` takes them in transactions: numbers as ``int`` or hexadecimal, bytes as bytes or hexadecimal."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from threshold import PayloadError
from threshold.payload import evm_checksum_address

_HEX_NUMBER: Final = re.compile("0x[0-9a-fA-F]{1,64}")
_WORD: Final = 32
_ADDRESS: Final = 20


def refuse(message: str, field: str) -> NoReturn:
    """Raise the error of every field that is not what it should be.

    :raises PayloadError: ``evm_transaction_field``.
    """
    raise PayloadError("evm_transaction_field", message, field)


def integer(value: object, field: str) -> int:
    """A number of 0 or more; ``int``, or a string of hexadecimal digits after ``0x``."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and _HEX_NUMBER.fullmatch(value):
        number = int(value, 16)
    else:
        refuse("an int or a hexadecimal string after 0x is expected", field)
    if number < 0 or number.bit_length() > 8 * _WORD:
        refuse("a number of 0 or more, of at most 256 bits, is expected", field)
    return number


def binary(value: object, field: str) -> bytes:
    """Bytes, or a string of hexadecimal digits after ``0x``."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return binascii.unhexlify(value[2:])
        except ValueError:
            refuse("this is not hexadecimal: pairs of digits after 0x", field)
    refuse("bytes or a hexadecimal string after 0x are expected", field)


def word(value: object, field: str) -> bytes:
    """32 bytes; a number is padded."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        return raw if len(raw) == _WORD else refuse("32 bytes are expected", field)
    return integer(value, field).to_bytes(_WORD, "big")


def address(value: object, field: str) -> bytes:
    """An address of 20 bytes, or as a string, whose checksum (EIP-55) is right if it has letters of both cases."""
    raw = binary(value, field)
    if len(raw) != _ADDRESS:
        refuse("an address has 20 bytes", field)
    if isinstance(value, str):
        digits = value[2:]
        if digits not in {digits.lower(), digits.upper()} and value != evm_checksum_address(raw):
            refuse("the checksum (EIP-55) of the address is wrong", field)
    return raw


def sequence(value: object, field: str) -> Sequence[object]:
    """A list or tuple."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return value
    refuse("a list is expected", field)


def members(value: object, names: frozenset[str], field: str) -> Mapping[str, object]:
    """A mapping with exactly these keys."""
    if not isinstance(value, Mapping):
        refuse("a mapping is expected", field)
    for name in value:
        if name not in names:
            refuse("there is no such field", f"{field}.{name}")
    for name in names:
        if name not in value:
            refuse("the field is missing", f"{field}.{name}")
    return value
