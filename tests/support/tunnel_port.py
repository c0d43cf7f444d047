"""A host's tunnel port in threads, for tests in which asyncio should have nothing left open."""

from __future__ import annotations

import contextlib
import socket
import threading

from protocol.envelope import cbor, frames
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import Done, TunnelOpen


class TunnelPort:
    """Leads every tunnel to ``port`` on loopback, whatever destination it names. Use it as a context manager."""

    def __init__(self, path: str, port: int) -> None:
        self._path, self._port = path, port
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.destinations: list[tuple[str, int]] = []

    def __enter__(self) -> TunnelPort:
        self._listener.bind(self._path)
        self._listener.listen()
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, function, *args) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                raw = frames.read_blocking(sock, culprit=Culprit.ENCLAVE)
                wanted = cbor.decode(raw, TunnelOpen, culprit=Culprit.ENCLAVE)
                self.destinations.append((wanted.host, wanted.port))
                there = socket.create_connection(("127.0.0.1", self._port))
                self._open.append(there)
                sock.sendall(frames.pack(cbor.encode(Done())))
                self._start(self._pump, sock, there)
                self._start(self._pump, there, sock)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
