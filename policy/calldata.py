"""Arguments of a contract call, decoded in their one encoding (Solidity contract ABI, "Formal specification of the encoding").

What compilers and libraries write is the only encoding that is read: padding is zero, offsets lead to the next byte that nothing
else uses, and nothing follows. A contract may read other encodings too; here they decode to nothing, and nothing is never allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .abi import AbiType, Function, head_words

AbiValue: TypeAlias = "bool | int | str | bytes | list[AbiValue]"
"""``address`` is lower-case text; arrays and tuples are lists."""


class CalldataError(ValueError):
    """These bytes are not the canonical encoding of such arguments."""


def decode_call(function: Function, data: bytes) -> list[AbiValue]:
    """The arguments of a call of ``function``.

    :raises CalldataError: another selector, or not the canonical encoding.
    """
    if data[:4] != function.selector:
        msg = "another function is called"
        raise CalldataError(msg)
    return decode(function.inputs, data[4:])


def decode(types: Sequence[AbiType], data: bytes) -> list[AbiValue]:
    """The values that ``data`` encodes.

    :raises CalldataError: not the canonical encoding.
    """
    values, end = _sequence(types, data, 0)
    if end != len(data):
        msg = "bytes follow the arguments"
        raise CalldataError(msg)
    return values


def _sequence(types: Sequence[AbiType], data: bytes, base: int) -> tuple[list[AbiValue], int]:
    """Values whose heads begin at ``base``, and where what they use ends."""
    at, tail = base, base + 32 * head_words(types)
    values: list[AbiValue] = []
    for kind in types:
        if kind.dynamic:
            if _number(data, at) != tail - base:
                msg = "an offset does not lead to the next unused byte"
                raise CalldataError(msg)
            value, tail = _dynamic(kind, data, tail)
        else:
            value = _static(kind, data, at)
        values.append(value)
        at += 32 * kind.words
    return values, tail


def _dynamic(kind: AbiType, data: bytes, at: int) -> tuple[AbiValue, int]:
    match kind.kind:
        case "tuple":
            return _sequence(kind.members, data, at)
        case "array":
            (element,) = kind.members
            count = kind.size
            if count < 0:
                count = _number(data, at)
                at += 32
            if count * 32 * element.words > len(data) - at:
                msg = "an array is longer than the bytes"
                raise CalldataError(msg)
            return _sequence((element,) * count, data, at)
        case _:
            return _octets(kind, data, at)


def _octets(kind: AbiType, data: bytes, at: int) -> tuple[AbiValue, int]:
    length = _number(data, at)
    start = at + 32
    if length > len(data) - start:
        msg = "a byte string is longer than the bytes"
        raise CalldataError(msg)
    end = start + (length + 31) // 32 * 32
    if end > len(data) or any(data[start + length : end]):
        msg = "padding is missing or not zero"
        raise CalldataError(msg)
    octets = data[start : start + length]
    if kind.kind == "bytes":
        return octets, end
    try:
        return octets.decode("utf-8"), end
    except UnicodeDecodeError:
        msg = "a string is not UTF-8"
        raise CalldataError(msg) from None


def _static(kind: AbiType, data: bytes, at: int) -> AbiValue:
    match kind.kind:
        case "tuple":
            return _sequence(kind.members, data, at)[0]
        case "array":
            return _sequence(kind.members * kind.size, data, at)[0]
        case "fixed_bytes":
            word = data[at : at + 32]
            if len(word) != 32 or any(word[kind.size :]):  # noqa: PLR2004
                msg = "padding is missing or not zero"
                raise CalldataError(msg)
            return word[: kind.size]
        case _:
            return _from_number(kind, _number(data, at))


def _from_number(kind: AbiType, number: int) -> AbiValue:
    match kind.kind:
        case "int":
            signed = number - (1 << 256) if number >> 255 else number
            if not -(1 << kind.size - 1) <= signed < 1 << kind.size - 1:
                msg = f"a number has more than {kind.size} bits"
                raise CalldataError(msg)
            return signed
        case "uint":
            bits = kind.size
        case "address":
            bits = 160
        case _:
            bits = 1
    if number >> bits:
        msg = f"a number has more than {bits} bits"
        raise CalldataError(msg)
    if kind.kind == "address":
        return f"0x{number:040x}"
    return number if kind.kind == "uint" else number == 1


def _number(data: bytes, at: int) -> int:
    word = data[at : at + 32]
    if len(word) != 32:  # noqa: PLR2004
        msg = "the bytes end within the arguments"
        raise CalldataError(msg)
    return int.from_bytes(word, "big")
