"""What the ports for the enclave have in common: bounded connections, the right peer, and an end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from typing import Final

from protocol.envelope.address import Address

from .errors import HostError
from .log import Log
from .whereabouts import Locate


class Listener(ABC):
    """A port that serves connections of the enclave.

    :param name: for log lines.
    :param connections: at most this many at once; more are closed at once.
    :param enclave_only: close connections of others than the enclave at once; a port that does not has to ask :meth:`is_enclave`.
    """

    def __init__(self, name: str, *, log: Log, connections: int, enclave_only: bool = True) -> None:
        self.log: Final = log
        self._name = name
        self._connections = connections
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._enclave_only = enclave_only
        self._locate: Locate | None = None

    async def start(self, address: Address, *, enclave: Locate) -> None:
        """Listen.

        :param enclave: where the enclave is; over vsock, peers of another CID are refused: every enclave of an instance can reach
            every port of its parent.
        :raises OSError: the address is in use, or its folder does not exist.
        """
        self._locate = enclave
        self._server = await address.listen(self._connected)

    async def stop(self) -> None:
        """Stop listening and close every connection. May be called again."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its end; the caller closes it."""

    def is_enclave(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the other end is the enclave, as far as its address says: over vsock, whether the CID is the enclave's."""
        sock: socket.socket = writer.get_extra_info("socket")
        if sock.family != getattr(socket, "AF_VSOCK", None):
            return True
        cid, _ = writer.get_extra_info("peername")
        try:
            enclave = None if self._locate is None else self._locate()
        except HostError:  # nobody knows where it is
            return False
        return enclave is not None and enclave.scheme == "vsock" and int(enclave.host) == cid

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None or not self._may_connect(writer):
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            await self.serve(reader, writer)
            writer.close()
        except OSError as error:
            self.log.event(f"{self._name}_connection_lost", reason=error.strerror or type(error).__name__)
        except asyncio.CancelledError:
            pass  # only stop() cancels, and it waits for this task's end
        except Exception as error:  # noqa: BLE001  (one connection's failure must not reach the others)
            self.log.failure(f"{self._name}_failed", error)
        finally:
            self._open.discard(task)
            if not writer.is_closing():
                writer.transport.abort()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def _may_connect(self, writer: asyncio.StreamWriter) -> bool:
        refused = ""
        if self._enclave_only and not self.is_enclave(writer):
            refused = "it is not the enclave"
        if not refused and len(self._open) >= self._connections:
            refused = "too many connections"
        if refused:
            self.log.event(f"{self._name}_refused", "warning", reason=refused)
        return not refused
