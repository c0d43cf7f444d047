"""Files: reading one that may be anything (a pipe, a device, a folder, endless), and making names durable."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is not waited for


def read_regular(
    path: Path | str, limit: int, *, flags: int = 0, dir_fd: int | None = None
) -> tuple[bytes | None, os.stat_result]:
    """The first ``limit`` + 1 bytes of a regular file, ``None`` of anything else; and what is known of it.

    :raises OSError: it cannot be opened or read.
    """
    descriptor = os.open(path, _FLAGS | flags, dir_fd=dir_fd)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None, status
        content = b""
        while chunk := os.read(descriptor, limit + 1 - len(content)):
            content += chunk
        return content, status
    finally:
        os.close(descriptor)


def sync_folder(directory: Path) -> None:
    """Make durable which names a folder holds.

    :raises OSError: it cannot be opened or synced.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
