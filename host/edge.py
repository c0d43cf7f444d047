"""What holds for every request: its id, its end, its count, its log line, and the fate of a body that nobody read."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol.envelope.errors import CosignerError, Culprit, Reaction

from .admission import Admission
from .errors import HostError
from .log import Log
from .metrics import Metrics
from .problems import problem_response

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_DRAIN_BYTES: Final = 1 << 20
_DRAIN_SECONDS: Final = 1.0
_CLIENT_GONE: Final = 499  # in metrics and log only: there is nobody to answer
_ALWAYS_ADMITTED: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Edge:
    """The outermost ASGI application.

    :param route_of: the template of the route that an endpoint serves, for log and metrics.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        route_of: Callable[[Any], str],
        admission: Admission,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._route_of = route_of
        self._admission = admission
        self._log = log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        exchange = _Exchange(scope, receive, send)
        self._metrics.requests_in_flight.inc()
        try:
            await self._run(scope, exchange)
        finally:
            seconds = time.perf_counter() - started
            route = self._route_of(scope.get("endpoint"))
            self._metrics.requests_in_flight.dec()
            self._metrics.request(route, exchange.status, seconds)
            self._log.event(
                "request",
                method=scope["method"] if route != "unknown" else "",
                route=route,
                status=exchange.status,
                code=scope["state"].get("code", ""),
                milliseconds=round(seconds * 1000, 3),
                request_id=exchange.request_id,
            )

    async def _run(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            if scope["path"] not in _ALWAYS_ADMITTED:
                self._admission.admit(scope["client"][0] if scope["client"] else "")
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = _CLIENT_GONE
        except CosignerError as error:
            await self._fail(scope, exchange, error)
        except Exception as error:  # noqa: BLE001  (the edge: nothing of an unexpected error goes out but its code)
            self._log.failure("request_failed", error, request_id=exchange.request_id)
            await self._fail(
                scope,
                exchange,
                HostError(
                    "internal_error",
                    "The host failed in a way it did not foresee; its log names this request's id.",
                    culprit=Culprit.HOST,
                    reaction=Reaction.RETRY,
                ),
            )

    async def _fail(self, scope: Scope, exchange: _Exchange, error: CosignerError) -> None:
        if exchange.status:
            raise RuntimeError("an answer failed after it had begun")
        scope["state"]["code"] = error.code
        await problem_response(error, exchange.request_id)(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer.

    When the answer is complete before the request is, the connection is closed after it; so that the client gets to read the answer, a
    bounded rest of the request is read and thrown away first (closing with unread bytes would reset the connection).
    """

    __slots__ = ("_receive", "_send", "_unread", "request_id", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._unread = False
        self.status = 0
        given = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                self._unread = True
        self.request_id: str = given.decode() if _REQUEST_ID.match(given) else os.urandom(8).hex()
        scope["state"]["request_id"] = self.request_id

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"] = list(message.get("headers", ()))
            headers.append((b"x-request-id", self.request_id.encode()))
            headers.append((b"cache-control", b"no-store"))
            headers.append((b"x-content-type-options", b"nosniff"))
            if self._unread:
                headers.append((b"connection", b"close"))
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        left = _DRAIN_BYTES
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return
