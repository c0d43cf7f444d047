"""A server on this machine that a test writes: it sees requests whole, says what was wrong with them, and can be made to misbehave."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Received:
    """A request. ``query`` has the decoded pairs in order, ``raw_query`` the text as it came; header names are in lower case."""

    method: str
    path: str
    raw_query: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        pairs = parse_qsl(self.raw_query, keep_blank_values=True, strict_parsing=bool(self.raw_query))
        assert len({name for name, _ in pairs}) == len(pairs), f"a parameter is given twice: {self.raw_query}"
        return dict(pairs)

    def json(self) -> Any:
        assert self.headers.get("content-type") == "application/json"
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer. ``promised`` is another content length than the body's: the connection then ends too early."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> Reply:
        return cls(
            status, json.dumps(value).encode(), {"content-type": "application/json; charset=UTF-8", **headers}
        )


class LocalServer:
    """Base of the servers.

    :ivar requests: all that came, in order.
    :ivar problems: what was wrong with them; the test fails in the end if there is anything.
    :ivar interventions: each answers one request in the server's place, if it returns an answer.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.problems: list[str] = []
        self.interventions: deque[Callable[[Received], Reply | None]] = deque()
        self.url = ""
        self._lock = threading.RLock()

    def handle(self, request: Received) -> Reply:
        """The answer; an ``AssertionError`` is a request of the wrong form."""
        raise NotImplementedError

    def next(self, *replies: Reply) -> None:
        """Give these answers to the next requests, whatever they are."""
        for reply in replies:
            self.interventions.append(lambda _, reply=reply: reply)

    def always(self, reply: Reply) -> None:
        """Give this answer to every request from now on."""
        self.next(*[reply] * 100)

    def answer(self, request: Received) -> Reply:
        with self._lock:
            self.requests.append(request)
            if self.interventions:
                given = self.interventions.popleft()(request)
                if given is not None:
                    return given
            try:
                return self.handle(request)
            except (AssertionError, KeyError, ValueError) as error:
                self.problems.append(f"{request.method} {request.path}: {type(error).__name__}: {error}")
                return Reply(400, b"the request has another form than the protocol's")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        assert not self.problems


class Silent(LocalServer):
    """Nobody should come here."""

    def handle(self, request: Received) -> Reply:
        raise AssertionError("somebody came")


def _handler(server: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            parts = urlsplit(self.path)
            reply = server.answer(
                Received(self.command, parts.path, parts.query, headers, self.rfile.read(length))
            )
            with contextlib.suppress(OSError):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("content-length", str(reply.promised or len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
            self.close_connection = self.close_connection or reply.promised is not None

        def log_message(self, *_: object) -> None:
            return

    for method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._serve)
    return Handler
