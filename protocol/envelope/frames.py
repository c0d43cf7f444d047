"""Length-prefixed frames over a byte stream: a 4-byte big-endian length, then that many bytes."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final

from .errors import Culprit, ProtocolError
from .limits import MAX_FRAME

if TYPE_CHECKING:
    import socket

_HEADER: Final = struct.Struct(">I")


def pack(body: bytes) -> bytes:
    """Prefix ``body`` (1..MAX_FRAME bytes) with its length.

    :raises ValueError: a length out of range, which is a bug of the caller.
    """
    if not 0 < len(body) <= MAX_FRAME:
        msg = f"a frame holds 1 to {MAX_FRAME} bytes, not {len(body)}"
        raise ValueError(msg)
    return _HEADER.pack(len(body)) + body


async def read(reader: asyncio.StreamReader, *, culprit: Culprit, limit: int = MAX_FRAME) -> bytes | None:
    """Read one frame; ``None`` at a clean end of stream.

    :raises ProtocolError: ``frame_too_large``, ``frame_empty`` or ``frame_truncated``; the stream is unusable then.
    """
    try:
        header = await reader.readexactly(_HEADER.size)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise _truncated(culprit) from None
    length = _checked_length(header, culprit, limit)
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise _truncated(culprit) from None


def read_blocking(sock: socket.socket, *, culprit: Culprit, limit: int = MAX_FRAME) -> bytes:
    """Read one frame from a blocking socket.

    :raises ProtocolError: as :func:`read`; a stream that ends is ``frame_truncated``.
    """
    return _exactly(sock, _checked_length(_exactly(sock, _HEADER.size, culprit), culprit, limit), culprit)


def _exactly(sock: socket.socket, count: int, culprit: Culprit) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        chunk = sock.recv(count - len(parts))
        if not chunk:
            raise _truncated(culprit)
        parts += chunk
    return bytes(parts)


def _checked_length(header: bytes, culprit: Culprit, limit: int) -> int:
    (length,) = _HEADER.unpack(header)
    if length == 0:
        raise ProtocolError("frame_empty", "A frame of no bytes is not allowed.", culprit=culprit)
    if length > limit:
        raise ProtocolError(
            "frame_too_large",
            f"A frame announces {length} bytes; at most {limit} are accepted.",
            culprit=culprit,
        )
    return int(length)


def _truncated(culprit: Culprit) -> ProtocolError:
    return ProtocolError("frame_truncated", "The stream ended inside a frame.", culprit=culprit)
