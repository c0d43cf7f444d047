"""A CBOR encoder written from RFC 8949 alone, to check the one in use: core deterministic encoding (§4.2.1), and every way to break it."""

from __future__ import annotations

from typing import Final

Tree = int | bytes | str | bool | None | list["Tree"] | dict[str, "Tree"]

_SIMPLE: Final = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}


def head(major: int, argument: int, *, width: int | None = None) -> bytes:
    """The head of a data item (§3); ``width`` forces 1, 2, 4 or 8 bytes of argument, shortest or not."""
    if width is None:
        if argument < 24:
            return bytes([major << 5 | argument])
        width = next(size for size in (1, 2, 4, 8) if argument < 1 << 8 * size)
    return bytes([major << 5 | 23 + width.bit_length()]) + argument.to_bytes(width, "big")


def encode(tree: Tree) -> bytes:
    """Deterministic bytes of a tree of integers, strings, lists and maps with text keys."""
    match tree:
        case bool() | None:
            return _SIMPLE[tree]
        case int():
            return head(0, tree) if tree >= 0 else head(1, -1 - tree)
        case bytes():
            return head(2, len(tree)) + tree
        case str():
            return head(3, len(tree.encode())) + tree.encode()
        case list():
            return head(4, len(tree)) + b"".join(map(encode, tree))
        case dict():
            entries = sorted((encode(name), encode(value)) for name, value in tree.items())
            return head(5, len(entries)) + b"".join(name + value for name, value in entries)


def tag(number: int, content: bytes, *, width: int | None = None) -> bytes:
    """A tagged item (§3.4)."""
    return head(6, number, width=width) + content
