"""What uvicorn's HTTP protocol lacks: bounds on connections, on the time and size of headers, and on answers that nobody reads."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from protocol.envelope.limits import MAX_HTTP_BODY

from .log import Log
from .problems import client_error, problem_response

MAX_HEADERS: Final = 32 << 10  # bytes of request line and headers
_MAX_MESSAGE: Final = 4 * MAX_HTTP_BODY  # bytes of a whole request with the overhead of chunks and trailers
_NO_ID: Final = "none"  # the request had no end, and so no id


@dataclass(frozen=True, slots=True)
class Guard:
    """The bounds. ``header_seconds`` is the time for request line and headers."""

    connections: int
    header_seconds: float
    log: Log


class GuardedProtocol(HttpToolsProtocol):
    """One client connection.

    :param guard: the bounds.
    """

    def __init__(self, *args: Any, guard: Guard, **named: Any) -> None:  # noqa: ANN401  (uvicorn's own arguments)
        super().__init__(*args, **named)
        self._guard = guard
        self._timer: asyncio.TimerHandle | None = None
        self._received = (
            0  # bytes of the request that is arriving, as far as chunks of the stream are its alone
        )
        self._fresh = 0  # bytes of the present chunk, until a request begins or ends in it
        self._in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self._guard.connections:
            self._refuse("too_many_connections")
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received += len(data)
        self._fresh = len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_headers and self._received > MAX_HEADERS:
            self._answer(
                "headers_too_large", f"Request line and headers may have at most {MAX_HEADERS} bytes."
            )
        elif self._received > _MAX_MESSAGE:
            self._refuse("request_endless")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._received, self._fresh = self._fresh, 0
        self._expect_headers()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._received = self._fresh = 0

    def send_400_response(self, msg: str) -> None:
        self._answer("request_malformed", msg)

    def timeout_keep_alive_handler(self) -> None:
        """The idle time is over; an answer that is still unsent by now is for nobody."""
        if self.transport.get_write_buffer_size():
            self._refuse("answer_unread")
        else:
            super().timeout_keep_alive_handler()

    def _expect_headers(self) -> None:
        self._in_headers = True
        self._stop_timer()
        self._timer = self.loop.call_later(self._guard.header_seconds, self._refuse, "headers_timeout")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, code: str) -> None:
        self._guard.log.event("connection_refused", "warning", code=code)
        self.transport.abort()

    def _answer(self, code: str, message: str) -> None:
        """Answer outside of the application, and close."""
        self._stop_timer()
        self._guard.log.event("connection_refused", "warning", code=code)
        response = problem_response(client_error(code, message), _NO_ID)
        lines = [STATUS_LINE[response.status_code]]
        lines += [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
        lines += [
            b"x-request-id: " + _NO_ID.encode() + b"\r\nconnection: close\r\n\r\n",
            bytes(response.body),
        ]
        self.transport.write(b"".join(lines))
        self.transport.close()
