"""A folder: one file for each backup, readable by its owner only, written whole or not at all.

The folder is opened once for each operation and everything happens relative to it; no symbolic link is followed, the folder's own name
included.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from protocol.envelope.errors import Culprit

from .interface import (
    MAX_BACKUP,
    MAX_NAMES,
    check_blob,
    check_name,
    is_name,
    missing,
    refused,
    too_large,
    unavailable,
)
from .regular import read_regular, sync_folder

_T = TypeVar("_T")

SUFFIX: Final = ".backup"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOR_GOOD: Final = frozenset(
    {errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileLocation:
    """The folder at ``directory``; the first backup makes it, its parent must be there."""

    kind: ClassVar[str] = "file"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, name: str, blob: bytes) -> None:
        file = check_name(name) + SUFFIX
        await self._run(lambda: self._put(file, check_blob(blob)))

    async def get(self, name: str) -> bytes:
        file = check_name(name) + SUFFIX
        return await self._run(lambda: self._get(file))

    async def delete(self, name: str) -> None:
        file = check_name(name) + SUFFIX
        await self._run(lambda: self._delete(file))

    async def names(self) -> list[str]:
        return await self._run(self._names)

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if error.errno in _FOR_GOOD:
                raise refused(
                    f"The folder {self._directory} cannot be used: {reason}.", culprit=Culprit.CLIENT
                ) from None
            raise unavailable(f"The folder {self._directory}", reason) from None

    # --- in a thread ---

    def _put(self, file: str, blob: bytes) -> None:
        with contextlib.suppress(FileExistsError):
            self._directory.mkdir(mode=0o700)
            sync_folder(self._directory.parent)
        with self._open() as folder:
            temporary = f".{file}.{secrets.token_hex(8)}"
            descriptor = os.open(temporary, _WRITE, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(blob)
                    out.flush()
                    os.fsync(descriptor)
                os.rename(temporary, file, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def _get(self, file: str) -> bytes:
        try:
            with self._open() as folder:
                blob, _ = read_regular(file, MAX_BACKUP, flags=os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            raise missing(f"The folder {self._directory}") from None
        if not blob:
            raise refused(f"{file} in {self._directory} is empty, or no file.")
        if len(blob) > MAX_BACKUP:
            raise too_large(Culprit.STORAGE)
        return blob

    def _delete(self, file: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._open() as folder:
            os.unlink(file, dir_fd=folder)
            os.fsync(folder)

    def _names(self) -> list[str]:
        try:
            with self._open() as folder, os.scandir(folder) as entries:
                found = [
                    name
                    for entry in entries
                    if entry.name.endswith(SUFFIX)
                    and is_name(name := entry.name.removesuffix(SUFFIX))
                    and entry.is_file(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []
        if len(found) > MAX_NAMES:
            raise refused(f"{self._directory} holds more than {MAX_NAMES} backups.")
        return sorted(found)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self._directory, _FOLDER)
        try:
            status = os.fstat(descriptor)
            if status.st_mode & 0o022 or status.st_uid not in {0, os.geteuid()}:
                raise refused(
                    f"Others than this user can write in {self._directory}.", culprit=Culprit.CLIENT
                )
            yield descriptor
        finally:
            os.close(descriptor)
