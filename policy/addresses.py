"""Addresses in the one form that rules and payloads are compared in; a mistyped address of a deny rule must not pass for a rule."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from .errors import PolicyError
from .keccak import keccak256

EVM: Final = "EVM"
SVM: Final = "SVM"
BTC: Final = "BTC"
CHAINS: Final = (EVM, SVM, BTC)

_BASE58: Final = {
    letter: value for value, letter in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
_BECH32: Final = {letter: value for value, letter in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_BECH32_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M: Final = 0x2BC830A3
_HUMAN_PARTS: Final = ("bc", "tb", "bcrt")
_VERSIONS: Final = (0x00, 0x05, 0x6F, 0xC4)  # P2PKH and P2SH, mainnet and test networks
_EVM: Final = re.compile("0x[0-9a-fA-F]{40}")


def normal(text: object, chain: str, field: str) -> str:
    """The form of an address that is compared: lower case for EVM and bech32, as it is otherwise.

    :raises PolicyError: ``policy_value``: no address of this chain, or a wrong checksum.
    """
    if not isinstance(text, str) or len(text) > 128:  # noqa: PLR2004  (longer than any address)
        raise PolicyError("policy_value", "An address is expected.", field)
    match chain:
        case "EVM":
            return evm(text, field)
        case "SVM":
            return solana(text, field)
        case _:
            return bitcoin(text, field)


def evm(text: str, field: str) -> str:
    """An address of 20 bytes, hexadecimal after ``0x``; in mixed case its checksum (EIP-55) must be right."""
    if not _EVM.fullmatch(text):
        raise PolicyError("policy_value", f"{text!r} is no EVM address.", field)
    digits = text[2:]
    if digits not in {digits.lower(), digits.upper()} and text != checksummed(text):
        raise PolicyError("policy_value", f"The checksum (EIP-55) of {text} is wrong.", field)
    return text.lower()


def checksummed(text: str) -> str:
    """The EIP-55 form of an EVM address."""
    digits = text[2:].lower()
    nibbles = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if nibble >= "8" else digit for digit, nibble in zip(digits, nibbles, strict=False)
    )


def solana(text: str, field: str) -> str:
    """An address of 32 bytes in base58."""
    if len(base58(text)) != 32:  # noqa: PLR2004  (a public key)
        raise PolicyError("policy_value", f"{text!r} is no Solana address: base58 of 32 bytes.", field)
    return text


def bitcoin(text: str, field: str) -> str:
    """An address in base58 (P2PKH, P2SH) or bech32 (BIP-173, BIP-350); its checksum must be right."""
    if _is_segwit(text):
        return text.lower()
    raw = base58(text)
    if len(raw) == 25 and raw[0] in _VERSIONS:  # noqa: PLR2004  (version, hash, checksum)
        checksum = hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4]
        if checksum == raw[-4:]:
            return text
    raise PolicyError("policy_value", f"{text!r} is no Bitcoin address, or its checksum is wrong.", field)


def base58(text: str) -> bytes:
    """The bytes of base58 text in its only form; empty for anything else."""
    number = 0
    for letter in text[:128]:
        value = _BASE58.get(letter)
        if value is None:
            return b""
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def to_base58(raw: bytes) -> str:
    """Base58 text of bytes."""
    letters = list(_BASE58)
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = letters[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def _is_segwit(text: str) -> bool:
    """BIP-173, "Segwit address format": version, program of 2 to 40 bytes; bech32 for version 0, bech32m above."""
    if text not in {text.lower(), text.upper()} or len(text) > 90:  # noqa: PLR2004
        return False
    human, separator, rest = text.lower().rpartition("1")
    values = [_BECH32.get(letter, -1) for letter in rest]
    if not separator or human not in _HUMAN_PARTS or len(values) < 7 or -1 in values:  # noqa: PLR2004
        return False
    expanded = [ord(letter) >> 5 for letter in human] + [0] + [ord(letter) & 31 for letter in human]
    version, program = values[0], values[1:-6]
    padding = len(program) * 5 % 8
    size = len(program) * 5 // 8
    if version > 16 or padding > 4 or not 2 <= size <= 40 or (version == 0 and size not in {20, 32}):  # noqa: PLR2004
        return False
    if padding and program[-1] & ((1 << padding) - 1):
        return False
    return _polymod(expanded + values) == (1 if version == 0 else _BECH32M)


def _polymod(values: list[int]) -> int:
    """BIP-173, "Checksum"."""
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_BECH32_GENERATORS):
            if top >> i & 1:
                checksum ^= generator
    return checksum
