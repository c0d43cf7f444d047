"""Where a stream socket is: ``vsock:CID:PORT``, ``unix:/PATH`` or ``tcp:HOST:PORT``."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

VMADDR_CID_ANY: Final = 0xFFFFFFFF
_MAX_TCP_PORT: Final = 65535


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= most


@dataclass(frozen=True, slots=True)
class Address:
    """A stream endpoint. ``host`` is the CID (as text), the path, or the TCP host."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address.

        :raises ValueError: the text has none of the three forms.
        """
        scheme, _, rest = text.partition(":")
        if scheme == "unix" and rest.startswith("/") and "\0" not in rest:
            return cls("unix", rest, 0)
        host, _, port = rest.rpartition(":")
        if scheme == "tcp" and host and _is_number(port, _MAX_TCP_PORT):
            return cls(scheme, host, int(port))
        if scheme == "vsock" and _is_number(host, VMADDR_CID_ANY) and _is_number(port, VMADDR_CID_ANY):
            return cls(scheme, host, int(port))
        msg = f"{text!r} is not vsock:CID:PORT, unix:/PATH or tcp:HOST:PORT"
        raise ValueError(msg)

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.scheme == "unix" else f"{self.scheme}:{self.host}:{self.port}"

    def dial_blocking(self, timeout: float) -> socket.socket:
        """Connect a blocking socket with a time-out in seconds.

        :raises OSError: nobody listens there.
        """
        sock = self._socket()
        try:
            sock.settimeout(timeout)
            sock.connect(self._sockaddr())
        except BaseException:
            sock.close()
            raise
        return sock

    async def dial(self, *, limit: int = 1 << 16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect.

        :raises OSError: nobody listens there.
        """
        if self.scheme == "unix":
            return await asyncio.open_unix_connection(self.host, limit=limit)
        if self.scheme == "tcp":
            reader, writer = await asyncio.open_connection(self.host, self.port, limit=limit)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return reader, writer
        sock = self._socket()
        sock.settimeout(0)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._sockaddr())
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock, limit=limit)

    async def listen(self, connected: Connected) -> asyncio.Server:
        """Listen; a stale unix socket file is replaced, and is readable by its owner only."""
        if self.scheme == "tcp":
            return await asyncio.start_server(connected, self.host, self.port)
        sock = self._socket()
        try:
            if self.scheme == "unix":
                path = Path(self.host)
                if path.is_socket():  # anything else of that name stays, and binding fails  # noqa: ASYNC240  (once, at start-up)
                    path.unlink()  # noqa: ASYNC240
                previous = os.umask(0o177)
                try:
                    sock.bind(self.host)
                finally:
                    os.umask(previous)
            else:
                sock.bind(self._sockaddr())
            sock.settimeout(0)
            return await asyncio.start_server(connected, sock=sock)
        except BaseException:
            sock.close()
            raise

    def _socket(self) -> socket.socket:
        family = {"unix": socket.AF_UNIX, "tcp": socket.AF_INET}.get(self.scheme)
        return socket.socket(socket.AF_VSOCK if family is None else family, socket.SOCK_STREAM)

    def _sockaddr(self) -> str | tuple[str, int] | tuple[int, int]:
        if self.scheme == "unix":
            return self.host
        return (int(self.host), self.port) if self.scheme == "vsock" else (self.host, self.port)
