"""What the ports for the enclave have in common: bounded connections, the right peer, and an end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from typing import Final

from protocol.envelope.address import Address

from .log import Log


class Listener(ABC):
    """A port that serves connections of the enclave.

    :param name: for log lines.
    :param connections: at most this many at once; more are closed at once.
    """

    def __init__(self, name: str, *, log: Log, connections: int) -> None:
        self.log: Final = log
        self._name = name
        self._connections = connections
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._peer_cid: int | None = None

    async def start(self, address: Address, *, enclave: Address) -> None:
        """Listen.

        :param enclave: where the enclave is; over vsock, peers of another CID are refused: every enclave of an instance can reach
            every port of its parent.
        :raises OSError: the address is in use, or its folder does not exist.
        """
        self._peer_cid = int(enclave.host) if enclave.scheme == "vsock" else None
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
        sock: socket.socket = writer.get_extra_info("socket")
        refused = ""
        if sock.family == getattr(socket, "AF_VSOCK", None):
            cid, _ = writer.get_extra_info("peername")
            refused = "" if cid == self._peer_cid else "it is not the enclave"
        if not refused and len(self._open) >= self._connections:
            refused = "too many connections"
        if refused:
            self.log.event(f"{self._name}_refused", "warning", reason=refused)
        return not refused
