"""Where a tree comes from: the tar archive that `docker export` writes, or a directory.

Refused is what an image must not hold (programs that give rights, sockets, pipes, devices) and what would not mean
the same everywhere. Left out is what Docker puts into every container, and whatever is in the directories that PID 1
mounts over. Owners, times, extended attributes and modes beyond «executable» end here.
"""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path
from typing import Final

from .errors import ImageError
from .ramdisk import Directory, File, Node, Symlink

MOUNT_POINTS: Final = ("dev", "proc", "run", "sys", "tmp")
_OF_DOCKER: Final = frozenset({".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"})
_RIGHTS: Final = stat.S_ISUID | stat.S_ISGID


def read(source: Path) -> dict[str, Node]:
    """The tree in a tar archive or a directory.

    :raises ImageError: it holds something that an image may not hold, or is neither of the two.
    """
    try:
        tree = _from_directory(source) if source.is_dir() else _from_tar(source)
    except (OSError, tarfile.TarError) as error:
        raise ImageError(f"cannot read {source}: {error}") from error
    if not tree:
        raise ImageError(f"{source} is empty")
    return tree | {point: Directory() for point in MOUNT_POINTS}


def _left_out(path: str) -> bool:
    return path in _OF_DOCKER or path.partition("/")[0] in MOUNT_POINTS


def _from_tar(source: Path) -> dict[str, Node]:
    tree: dict[str, Node] = {}
    with tarfile.open(source, "r:", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            path = member.name.removeprefix("./").rstrip("/")
            if path in ("", ".") or _left_out(path):
                continue
            if path in tree:
                raise ImageError(f"{path!r} stands twice in {source}")
            tree[path] = _member(archive, member, path, tree)
    return tree


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, tree: dict[str, Node]) -> Node:
    if member.isdir():
        return Directory()
    if member.issym():
        return Symlink(member.linkname)
    if member.islnk():
        first = tree.get(member.linkname.removeprefix("./"))
        if not isinstance(first, File):
            raise ImageError(f"{path!r} is another name of {member.linkname!r}, which is not there")
        return first
    if not member.isreg():
        raise ImageError(f"{path!r} is neither file, directory nor link")
    content = archive.extractfile(member)
    return _file(path, member.mode, b"" if content is None else content.read())


def _from_directory(source: Path) -> dict[str, Node]:
    tree: dict[str, Node] = {}
    for directory, directories, names in os.walk(source, onerror=_raise):
        for name in (*directories, *names):
            full = Path(directory, name)
            path = full.relative_to(source).as_posix()
            if not _left_out(path):
                tree[path] = _found(full, path)
    return tree


def _raise(error: OSError) -> None:
    raise error


def _found(full: Path, path: str) -> Node:
    status = full.lstat()
    if stat.S_ISDIR(status.st_mode):
        return Directory()
    if stat.S_ISLNK(status.st_mode):
        return Symlink(str(full.readlink()))
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path!r} is neither file, directory nor link")
    return _file(path, status.st_mode, full.read_bytes())


def _file(path: str, mode: int, content: bytes) -> File:
    if mode & _RIGHTS:
        raise ImageError(f"{path!r} is setuid or setgid: nothing in an image may give rights")
    return File(content, executable=bool(mode & stat.S_IXUSR))
