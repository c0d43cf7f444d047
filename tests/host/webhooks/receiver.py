"""A developer's endpoint: HTTPS under an authority of its own, real sockets, and every way to misbehave."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.https import HttpsHandler, HttpsServer, HttpsService
from simulator.pki import TlsAuthority


@dataclass(frozen=True)
class Taken:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def accept(_: Taken) -> int:
    return 200


class Hang:
    """An answer that does not come."""


Answer = Callable[[Taken], "int | bytes | Hang"]


@dataclass
class _Book:
    taken: list[Taken] = field(default_factory=list)
    answer: Answer = accept
    released: threading.Event = field(default_factory=threading.Event)


class _Server(HttpsServer):
    book: _Book


class _Handler(HttpsHandler):
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        taken = Taken(
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
            time.monotonic(),
            self.client_address[1],
        )
        self.server.book.taken.append(taken)
        answer = self.server.book.answer(taken)
        if isinstance(answer, Hang):
            self.server.book.released.wait(60)
            self.close_connection = True
        elif isinstance(answer, bytes):
            self.close_connection = True
            self.wfile.write(answer)
        else:
            self.send_response(answer)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Not on the tests' standard error."""


class Receiver(HttpsService):
    """Takes webhooks until it is stopped.

    :ivar taken: what came, in order. :ivar answer: may be replaced at any time.
    """

    def __init__(self, *, names: tuple[str, ...] = ("localhost", "127.0.0.1"), port: int = 0) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="receiver-")
        self.book = _Book()
        super().__init__("receiver", ("127.0.0.1", port), TlsAuthority.open(Path(self.folder.name)), names)
        self.ca_file = f"{self.folder.name}/ca.pem"
        Path(self.ca_file).write_bytes(self.ca_pem)

    def _listen(self, address: tuple[str, int], tls: ssl.SSLContext) -> HttpsServer:
        server = _Server(address, tls, _Handler)
        server.book = self.book
        return server

    @property
    def taken(self) -> list[Taken]:
        return self.book.taken

    def answer(self, answer: Answer) -> None:
        self.book.answer = answer

    def named(self, name: str) -> list[Taken]:
        return [taken for taken in list(self.book.taken) if taken.json["eventName"] == name]

    def stop(self) -> None:
        self.book.released.set()
        super().stop()

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.folder.cleanup()
