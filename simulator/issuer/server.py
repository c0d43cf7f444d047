"""The issuer over HTTPS, with a certificate of the simulator's TLS authority."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from simulator.https import HttpsHandler, HttpsServer, HttpsService
from simulator.issuer.keys import KeyRing, WrappingKms
from simulator.issuer.tokens import TokenError, TokenMaker
from simulator.pki import TlsAuthority

HOST: Final = "issuer.cosigner.test"  # RFC 6761 §6.2: nobody's name
ISSUER: Final = f"https://{HOST}"
JWKS_PATH: Final = "/.well-known/jwks.json"
AUDIENCE: Final = "cosigner"
_MAX_BODY: Final = 64 * 1024


class IssuerSimulator(HttpsService):
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
        own = (HOST, "localhost", "127.0.0.1", "::1")
        super().__init__("issuer", (host, port), TlsAuthority.open(state), (*own, *names))

    def _listen(self, address: tuple[str, int], tls: ssl.SSLContext) -> HttpsServer:
        return _Server(address, tls, self._answer)

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


class _Server(HttpsServer):
    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, answer: _Answer) -> None:
        self.answer = answer
        super().__init__(address, tls, _Handler)


class _Handler(HttpsHandler):
    server_version = "issuer-simulator"
    server: _Server

    def do_GET(self) -> None:  # noqa: N802 - named by http.server
        self.close_connection = True  # a body, which means nothing here, is left unread
        self._send(*self.server.answer("GET", self.path, b""))

    def do_POST(self) -> None:  # noqa: N802 - named by http.server
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
