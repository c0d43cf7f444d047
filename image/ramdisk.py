"""Ramdisks: a tree of files as a cpio archive in the `newc` form (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

The bytes depend on paths, kinds, contents and the executable bit alone. Entries stand in the order of their path
bytes, inode numbers count up from 1, times, owners and device numbers are zero. Permissions are two: 0755 for
directories and executable files, 0644 for other files; what a checkout's umask made of them does not count.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from .errors import ImageError

MAX_CONTENT: Final = 0xFFFFFFFF  # eight hexadecimal digits
_ALIGNMENT: Final = 512  # the kernel needs 4; cpio programs fill their last block
_TRAILER: Final = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Directory:
    """An empty directory; what it holds stands under paths of its own."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Symlink:
    """:ivar target: as written in the link; nothing is followed or checked."""

    target: str


@dataclass(frozen=True, slots=True)
class CharacterDevice:
    """A device node, mode 0600."""

    major: int
    minor: int


Node: TypeAlias = Directory | File | Symlink | CharacterDevice
Tree: TypeAlias = Mapping[str, Node]
"""Paths without a leading slash, such as ``usr/bin/python3``, to what is there."""


def pack(tree: Tree) -> bytes:
    """The archive of a tree; directories on the way that the tree does not name are added.

    :raises ImageError: a path is not plain, or lies below something that is no directory; a file of 4 GiB or more.
    """
    complete = _with_parents(tree)
    names = sorted(complete, key=_encoded)
    archive = bytearray()
    for inode, name in enumerate(names, start=1):
        mode, content, device = _describe(name, complete[name])
        archive += _record(_encoded(name), inode, mode, content, device)
    archive += _record(_TRAILER.encode(), 0, 0, b"", (0, 0))
    return bytes(archive) + bytes(-len(archive) % _ALIGNMENT)


def _with_parents(tree: Tree) -> dict[str, Node]:
    complete: dict[str, Node] = dict(tree)
    for path in tree:
        if (
            not path
            or path == _TRAILER
            or "\0" in path
            or any(part in ("", ".", "..") for part in path.split("/"))
        ):
            raise ImageError(f"{path!r} is not a plain relative path")
        for parent in _parents(path):
            if not isinstance(complete.setdefault(parent, Directory()), Directory):
                raise ImageError(f"{path!r} lies below {parent!r}, which is no directory")
    return complete


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _describe(name: str, node: Node) -> tuple[int, bytes, tuple[int, int]]:
    match node:
        case Directory():
            return stat.S_IFDIR | 0o755, b"", (0, 0)
        case File(content=content, executable=executable):
            if len(content) > MAX_CONTENT:
                raise ImageError(f"{name!r} is too large for this archive form")
            return stat.S_IFREG | (0o755 if executable else 0o644), content, (0, 0)
        case Symlink(target=target):
            return stat.S_IFLNK | 0o777, _encoded(target), (0, 0)
        case CharacterDevice(major=major, minor=minor):
            return stat.S_IFCHR | 0o600, b"", (major, minor)


def _record(name: bytes, inode: int, mode: int, content: bytes, device: tuple[int, int]) -> bytes:
    """Magic and 13 numbers of eight hexadecimal digits: ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor,
    rdevminor, namesize, check; then name and content, each padded to four bytes.
    """
    numbers = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def _encoded(name: str) -> bytes:
    """The bytes of a name: whatever they were, not necessarily UTF-8."""
    return name.encode("utf-8", "surrogateescape")
