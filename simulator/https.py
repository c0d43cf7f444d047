"""HTTPS on threads, for the simulators that others talk to: a server under the simulator's TLS authority, and its life."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from simulator.pki import TlsAuthority

_IDLE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05  # how long `stop` may have to wait


class HttpsServer(ThreadingHTTPServer):
    """Listens at `address`; `handler` answers."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], tls: ssl.SSLContext, handler: type[BaseHTTPRequestHandler]
    ) -> None:
        self.tls = tls
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        # The handshake happens on the connection's own thread: a silent client must not block the others.
        connection, address = super().get_request()
        try:
            connection.getpeername()  # a client that is gone already: wrap_socket would fail half-way and leak the socket
        except OSError:
            connection.close()
            raise
        connection.settimeout(_IDLE_SECONDS)
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nothing to report."""


class HttpsHandler(BaseHTTPRequestHandler):
    """What all handlers have in common."""

    protocol_version = "HTTP/1.1"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # one write for head and body

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # TLS failures and resets are OSErrors, too
            super().handle()


class HttpsService(ABC):
    """A simulator that is served: `start`, use `port`, `url`, `ca_pem`; `stop`. Or use it as a context manager.

    `what`: its name in errors. `names`: host names and addresses for the certificate; one of them is localhost.
    """

    def __init__(
        self, what: str, address: tuple[str, int], authority: TlsAuthority, names: Sequence[str]
    ) -> None:
        self._what = what
        self._address = address
        self._authority = authority
        self._names = tuple(names)
        self._server: HttpsServer | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _listen(self, address: tuple[str, int], tls: ssl.SSLContext) -> HttpsServer:
        """Make the server."""

    @property
    def ca_pem(self) -> bytes:
        """The TLS authority's certificate, for clients."""
        return self._authority.pem

    @property
    def port(self) -> int:
        """The port that is listened on; RuntimeError before `start`."""
        if self._server is None:
            raise RuntimeError(f"the {self._what} is not running")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """A URL whose name the server's certificate carries."""
        return f"https://localhost:{self.port}"

    def start(self) -> Self:
        """Listen, and serve on threads of its own."""
        if self._server is not None:
            raise RuntimeError(f"the {self._what} is already running")
        self._server = self._listen(self._address, self._tls())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name=self._what, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening; answers under way are given up."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tls(self) -> ssl.SSLContext:
        issued = self._authority.server(self._names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # The ssl module reads keys from files only; this one lives for a moment, mode 0600.
        with tempfile.NamedTemporaryFile() as file:
            file.write(issued.key_pem + issued.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context
