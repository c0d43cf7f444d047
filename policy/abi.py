"""Types of the Solidity contract ABI, as they are written in signatures, and the functions that rules name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from .errors import PolicyError
from .keccak import keccak256

MAX_TYPE_DEPTH: Final = 6
MAX_PARAMETERS: Final = 64
MAX_HEAD_WORDS: Final = 1024  # of one parameter list, fixed arrays written out
MAX_SIGNATURE: Final = 1024

_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_ATOM: Final = re.compile(r"(?:(uint|int)([1-9][0-9]{0,2})|(bytes)([1-9][0-9]?)|(address|bool|bytes|string))")
_SUFFIX: Final = re.compile(r"\[([1-9][0-9]{0,3})?\]")

_ABI_ENTRY_FIELDS: Final = frozenset(
    {
        "type",
        "name",
        "inputs",
        "outputs",
        "stateMutability",
        "constant",
        "payable",
        "anonymous",
        "gas",
        "signature",
    }
)
_ABI_ENTRY_TYPES: Final = frozenset({"function", "constructor", "event", "error", "fallback", "receive"})
_ABI_INPUT_FIELDS: Final = frozenset({"type", "name", "internalType", "components", "indexed"})


@dataclass(frozen=True, slots=True)
class AbiType:
    """A type.

    :ivar kind: ``uint``, ``int``, ``fixed_bytes`` (of ``size`` bits or bytes), ``address``, ``bool``, ``bytes``, ``string``,
        ``array`` (of ``size`` elements, or -1 for any number), ``tuple``.
    :ivar text: as it stands in a signature.
    :ivar members: of a tuple; the element of an array.
    :ivar dynamic: whether the head holds an offset.
    :ivar words: 32-byte words of the head.
    """

    kind: str
    text: str
    size: int = 0
    members: tuple[AbiType, ...] = ()
    dynamic: bool = False
    words: int = 1


@dataclass(frozen=True, slots=True)
class Function:
    """A function: its canonical signature, such as ``transfer(address,uint256)``, and the selector that follows from it."""

    signature: str
    inputs: tuple[AbiType, ...]
    selector: bytes

    @property
    def name(self) -> str:
        return self.signature[: self.signature.index("(")]


def function(signature: str, field: str = "functionName") -> Function:
    """Read a full signature in its canonical form: no spaces, no parameter names, ``uint256`` rather than ``uint``.

    :raises PolicyError: ``policy_value``.
    """
    name, bracket, rest = signature.partition("(")
    if len(signature) > MAX_SIGNATURE or not _NAME.fullmatch(name) or not bracket:
        raise PolicyError("policy_value", f"{signature[:80]!r} is no function signature.", field)
    reader = _Reader(rest, field)
    inputs = reader.parameters(1)
    reader.end()
    _bounded(inputs, field)
    return Function(signature, inputs, keccak256(signature.encode())[:4])


def parse_type(text: str, field: str = "type") -> AbiType:
    """Read one type in its canonical form.

    :raises PolicyError: ``policy_value``.
    """
    if len(text) > MAX_SIGNATURE:
        raise PolicyError("policy_value", "The type is too long.", field)
    reader = _Reader(text, field)
    found = reader.type(1)
    reader.end()
    _bounded((found,), field)
    return found


def function_of_abi(entries: Sequence[object], name: str, field: str) -> Function:
    """The one function of a JSON ABI with this name, or with this full signature.

    :raises PolicyError: ``policy_value``, ``policy_unknown_field``; ``policy_conflict``: none, or several of that name.
    """
    found = []
    for i, entry in enumerate(entries):
        signature = _signature(entry, f"{field}[{i}]")
        if signature is not None and name in {signature, signature[: signature.index("(")]}:
            found.append(signature)
    if not found:
        raise PolicyError("policy_conflict", f"The ABI has no function {name}.", field)
    if len(set(found)) > 1:
        raise PolicyError(
            "policy_conflict",
            f"The ABI has several functions {name}; write one out: {min(found)}.",
            field,
        )
    return function(found[0], field)


def head_words(types: Sequence[AbiType]) -> int:
    """32-byte words of the head of a parameter list."""
    return sum(entry.words for entry in types)


def _signature(entry: Any, field: str) -> str | None:  # noqa: ANN401  (JSON)
    """The signature of a function's entry; ``None`` for events, errors and the like."""
    if not isinstance(entry, dict) or entry.get("type", "function") not in _ABI_ENTRY_TYPES:
        raise PolicyError("policy_value", "An entry of a contract ABI is expected.", field)
    for key in entry:
        if key not in _ABI_ENTRY_FIELDS:
            raise PolicyError("policy_unknown_field", "An ABI entry has no such field.", f"{field}.{key}")
    if entry.get("type", "function") != "function":
        return None
    name, inputs = entry.get("name"), entry.get("inputs", [])
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(inputs, list):
        raise PolicyError("policy_value", "A function has a name and a list of inputs.", field)
    return f"{name}({_written(inputs, f'{field}.inputs', 1)})"


def _written(inputs: list[Any], field: str, depth: int) -> str:
    """The types of JSON parameters as a signature has them; a tuple's are in ``components``."""
    if depth > MAX_TYPE_DEPTH or len(inputs) > MAX_PARAMETERS:
        raise PolicyError("policy_value", "The types are nested too deeply, or there are too many.", field)
    texts = []
    for i, entry in enumerate(inputs):
        where = f"{field}[{i}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise PolicyError("policy_value", "A parameter with a type is expected.", where)
        for key in entry:
            if key not in _ABI_INPUT_FIELDS:
                raise PolicyError(
                    "policy_unknown_field", "An ABI parameter has no such field.", f"{where}.{key}"
                )
        kind, components = entry["type"], entry.get("components")
        if kind.startswith("tuple"):
            if not isinstance(components, list):
                raise PolicyError("policy_value", "A tuple has components.", where)
            kind = f"({_written(components, where, depth + 1)}){kind[5:]}"
        texts.append(kind)
    return ",".join(texts)


class _Reader:
    """Reads types from left to right."""

    def __init__(self, text: str, field: str) -> None:
        self._text = text
        self._at = 0
        self._field = field

    def type(self, depth: int) -> AbiType:
        if depth > MAX_TYPE_DEPTH:
            self._refuse("types are nested too deeply")
        start = self._at
        if self._text.startswith("(", self._at):
            self._at += 1
            members = self.parameters(depth + 1)
            if not members:
                self._refuse("a tuple has at least one member")
            found = AbiType(
                "tuple",
                self._text[start : self._at],
                members=members,
                dynamic=any(member.dynamic for member in members),
                words=1 if any(member.dynamic for member in members) else head_words(members),
            )
        else:
            found = self._atom()
        while (suffix := _SUFFIX.match(self._text, self._at)) is not None:
            depth += 1
            if depth > MAX_TYPE_DEPTH:
                self._refuse("types are nested too deeply")
            self._at = suffix.end()
            size = int(suffix[1]) if suffix[1] else -1
            dynamic = size < 0 or found.dynamic
            words = 1 if dynamic else size * found.words
            if words > MAX_HEAD_WORDS or size > MAX_HEAD_WORDS:
                self._refuse("a fixed array is too long")
            found = AbiType("array", self._text[start : self._at], size, (found,), dynamic, words)
        return found

    def parameters(self, depth: int) -> tuple[AbiType, ...]:
        """Types between commas, and the closing bracket."""
        if self._text.startswith(")", self._at):
            self._at += 1
            return ()
        found = []
        while True:
            found.append(self.type(depth))
            if len(found) > MAX_PARAMETERS:
                self._refuse("there are too many parameters")
            following = self._text[self._at : self._at + 1]
            self._at += 1
            if following == ")":
                return tuple(found)
            if following != ",":
                self._refuse("a comma or a closing bracket is expected")

    def end(self) -> None:
        if self._at != len(self._text):
            self._refuse("something follows")

    def _atom(self) -> AbiType:
        match = _ATOM.match(self._text, self._at)
        if match is None:
            self._refuse("a canonical type is expected (uint256, not uint)")
        self._at = match.end()
        number, bits, _, length, plain = match.groups()
        if number:
            if int(bits) > 256 or int(bits) % 8:  # noqa: PLR2004
                self._refuse("numbers have 8 to 256 bits, in steps of 8")
            return AbiType(number, match[0], int(bits))
        if length:
            if int(length) > 32:  # noqa: PLR2004
                self._refuse("fixed bytes have 1 to 32 bytes")
            return AbiType("fixed_bytes", match[0], int(length))
        return AbiType(plain, plain, dynamic=plain in {"bytes", "string"})

    def _refuse(self, why: str) -> NoReturn:
        raise PolicyError("policy_value", f"{self._text[:80]!r}, at {self._at}: {why}.", self._field)


def _bounded(types: tuple[AbiType, ...], field: str) -> None:
    if head_words(types) > MAX_HEAD_WORDS:
        raise PolicyError("policy_value", "The parameters take too many words.", field)
