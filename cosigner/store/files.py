"""Files of the share store: read within bounds, written durably and atomically."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError

from ..errors import StoreError  # noqa: TID252

_F = TypeVar("_F")
Version = tuple[int, int, int]  # of a file: inode, size, time of change in nanoseconds

_MAX_FILE: Final = 64 << 10
_MISSING: Final = {
    "store_missing": "There is no share store in {1}. Create a wallet first: cosigner wallet create.",
    "wallet_missing": "There is no share of wallet {0} in {1}; `cosigner wallet list` shows those there are.",
    "session_missing": "There is no session key in {1}. Log in: cosigner login.",
}


def read(path: Path, kind: type[_F], *, missing: str) -> _F:
    """Parse a file.

    :param missing: the code if there is no such file.
    :raises StoreError: ``missing``, ``store_unreadable``, ``store_malformed``.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(missing, _MISSING[missing].format(path.stem, path.parent)) from None
    except OSError as error:
        raise StoreError("store_unreadable", f"Cannot read {path}: {error.strerror}.") from None
    try:
        return cbor.decode(raw, kind, limit=_MAX_FILE, culprit=Culprit.CLIENT)
    except ProtocolError:
        raise StoreError(
            "store_malformed", f"{path} is damaged, or was written by another version."
        ) from None


def write(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Write durably and atomically: a crash leaves the old file or the new one.

    :param exclusive: raise :class:`FileExistsError` rather than replace a file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        sync(path.parent)


def rename(path: Path, target: Path) -> None:
    """Give a file another name of the same directory, durably; what had that name is replaced."""
    path.rename(target)
    sync(path.parent)


def make_directory(directory: Path) -> None:
    """Make a directory and its parents durably, readable by their owner only."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def sync(directory: Path) -> None:
    """What was renamed in a directory stays so, whatever happens."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def version(path: Path) -> Version | None:
    """What changes when a file does; ``None``: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """What the file system refuses becomes a :class:`StoreError`: ``store_unwritable``."""
    try:
        yield
    except OSError as error:
        raise StoreError("store_unwritable", f"Cannot write in {directory}: {error.strerror}.") from None
