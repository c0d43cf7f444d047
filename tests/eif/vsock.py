"""The host's end of an enclave's vsock, where vhost-device-vsock stands for the hypervisor (its README, «Using the Unix socket backend»).

Towards the enclave: connect to the unix socket V, say ``CONNECT port``, read ``OK number``. From the enclave: whoever listens on the
unix socket ``V_port`` gets what is dialled at CID 2, port ``port``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

_CHUNK: Final = 64 << 10
_POLL: Final = 0.2  # seconds
HEARTBEAT: Final = b"\xb7"


def dial(vsock: Path, port: int, *, timeout: float) -> socket.socket:
    """A connection to the enclave's port.

    :raises OSError: nobody listens there, or there is no enclave.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(str(vsock))
        sock.sendall(f"CONNECT {port}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            byte = sock.recv(1)  # not one byte of what the enclave says first may be lost
            if not byte:
                raise ConnectionRefusedError(f"no enclave listens at vsock port {port}")
            answer += byte
        if not answer.startswith(b"OK "):
            raise ConnectionError(f"vhost-device-vsock answered {answer!r}")
    except BaseException:
        sock.close()
        raise
    return sock


def port_socket(vsock: Path, port: int) -> Path:
    """Where to listen for what the enclave dials at its parent's ``port``."""
    return vsock.with_name(f"{vsock.name}_{port}")


class Listener:
    """Serves a unix socket with a thread for each connection, until closed."""

    def __init__(self, path: Path, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._path = path
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(128)
        self._socket.settimeout(_POLL)
        self._threads = [threading.Thread(target=self._accept, name=f"listener {path.name}")]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            connection.settimeout(None)
            with self._lock:
                self._open.add(connection)
            thread = threading.Thread(target=self._run, args=(connection,), name=f"served {self._path.name}")
            self._threads.append(thread)
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                self._serve(connection)
        finally:
            with self._lock:
                self._open.discard(connection)


class Bridge(Listener):
    """A unix socket that leads to a port of the enclave: what the host process is configured with where Nitro has ``vsock:CID:PORT``.

    :param up: whether the enclave's kernel runs; before that, vhost-device-vsock would leave whoever connects waiting.
    """

    def __init__(self, path: Path, vsock: Path, port: int, up: Callable[[], bool]) -> None:
        self._vsock = vsock
        self._port = port
        self._up = up
        super().__init__(path, self._forward)

    def _forward(self, near: socket.socket) -> None:
        if not self._up():
            return
        with dial(self._vsock, self._port, timeout=30) as far:
            far.settimeout(None)
            back = threading.Thread(target=_pump, args=(far, near))
            back.start()
            _pump(near, far)
            with contextlib.suppress(OSError):
                far.shutdown(socket.SHUT_RDWR)  # vhost-device-vsock knows no half-closed connections
            back.join()


class Heartbeat(Listener):
    """Answers the heartbeat of PID 1, as nitro-cli does on a real parent.

    :ivar beats: what each enclave that booted sent.
    """

    def __init__(self, path: Path) -> None:
        self.beats: list[bytes] = []
        self.booted = threading.Event()
        super().__init__(path, self._answer)

    def _answer(self, connection: socket.socket) -> None:
        beat = connection.recv(1)
        self.beats.append(beat)
        connection.sendall(beat)
        self.booted.set()


class Silence(Listener):
    """Takes connections and hangs up without a word."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, lambda connection: connection.close())


class Reasons(Listener):
    """Collects the lines in which PID 1 says why an enclave ends."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self.arrived = threading.Event()
        super().__init__(path, self._read)

    def _read(self, connection: socket.socket) -> None:
        line = b""
        while chunk := connection.recv(_CHUNK):
            line += chunk
            if line.endswith(b"\n"):
                break
        self.lines.append(line.decode("utf-8", "replace").strip())
        self.arrived.set()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until either end is gone; then end the other, too."""
    try:
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
