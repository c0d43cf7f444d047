"""The issuer over HTTPS, with a certificate of the simulator's TLS authority."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

from simulator.issuer.keys import KeyRing, WrappingKms
from simulator.issuer.tokens import TokenError, TokenMaker
from simulator.pki import TlsAuthority

HOST: Final = "issuer.cosigner.test"  # RFC 6761 §6.2: nobody's name
ISSUER: Final = f"https://{HOST}"
JWKS_PATH: Final = "/.well-known/jwks.json"
AUDIENCE: Final = "cosigner"
_MAX_BODY: Final = 64 * 1024
_IDLE_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.05  # how long `stop` may have to wait


class IssuerSimulator:
    """A JWT issuer: `start`, use `port`, `ca_pem`, `tokens`, `keys`; `stop`. Or use it as a context manager.

    `state` keeps TLS authority and wrapped keys. `kms` and `key_arn`: who wraps them. `names`: further host names for the certificate.
    """

    def __init__(
        self,
        state: Path,
        kms: WrappingKms,
        key_arn: str,
        *,
        issuer: str = ISSUER,
        audiences: Sequence[str] = (AUDIENCE,),
        environment: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        names: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = KeyRing(state, kms, key_arn)
        self.tokens = TokenMaker(self.keys, issuer, audiences, environment, clock)
        self._address = (host, port)
        self._authority = TlsAuthority.open(state)
        self._names = (HOST, "localhost", "127.0.0.1", "::1", *names)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def ca_pem(self) -> bytes:
        """The TLS authority's certificate, for clients."""
        return self._authority.pem

    @property
    def port(self) -> int:
        """The port that is listened on; RuntimeError before `start`."""
        if self._server is None:
            raise RuntimeError("the issuer is not running")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """A URL whose name the server's certificate carries."""
        return f"https://localhost:{self.port}"

    def start(self) -> Self:
        """Listen, and serve on threads of its own."""
        if self._server is not None:
            raise RuntimeError("the issuer is already running")
        self._server = _Server(self._address, self._tls(), self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="issuer", daemon=True
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

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if (method, path) == ("GET", JWKS_PATH):
            return 200, self.keys.public_set
        if method != "POST" or path not in ("/token", "/rotate"):
            return 404, {"error": "not_found"}
        try:
            request = json.loads(body or b"{}")
            if not isinstance(request, dict):
                raise TokenError("a request is a JSON object")
            if path == "/token":
                return 200, self.tokens.answer(request)
            keep = request.get("keep", True)
            if not isinstance(keep, bool) or not request.keys() <= {"keep"}:
                raise TokenError("keep says whether the set still has the old keys")
            return 200, {"kid": self.keys.rotate(keep=keep).kid}
        except (ValueError, RecursionError) as error:  # RFC 6749 §5.2 has this form for refusals
            return 400, {"error": "invalid_request", "error_description": str(error)}


_Answer = Callable[[str, str, bytes], tuple[int, dict[str, Any]]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, answer: _Answer) -> None:
        self.tls = tls
        self.answer = answer
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        # The handshake happens on the connection's own thread: a silent client must not block the others.
        connection, address = super().get_request()
        connection.settimeout(_IDLE_SECONDS)
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "issuer-simulator"
    sys_version = ""
    wbufsize = -1  # one write for head and body
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # TLS failures and resets are OSErrors, too
            super().handle()

    def do_GET(self) -> None:
        self.close_connection = True  # a body, which means nothing here, is left unread
        self._send(*self.server.answer("GET", self.path, b""))

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isascii() or not length.isdigit() or int(length) > _MAX_BODY:
            self.close_connection = True
            self._send(413, {"error": "invalid_request"})
            return
        self._send(*self.server.answer("POST", self.path, self.rfile.read(int(length))))

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are not logged: tokens would stand in the log."""
