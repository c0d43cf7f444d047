"""The HTTP routes for clients. Bodies are opaque: a client hello or a record goes to the enclave as it came."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from protocol.envelope.backups import is_environment, is_locator
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import MAX_HELLO, MAX_NONCE, MAX_RECORD, MIN_NONCE, SESSION_ID_LENGTH
from protocol.envelope.messages import (
    Attest,
    Attested,
    Done,
    LinkRequest,
    OpenSession,
    Record,
    RecordReply,
    SessionOpened,
    StatusReply,
)

from . import openapi
from .admission import Admission
from .backups import MAX_BACKUP, Backups
from .edge import Edge
from .errors import HostError
from .log import Log
from .metrics import Metrics
from .problems import client_error, problem_response
from .readiness import Readiness

R = TypeVar("R", Attested, SessionOpened, RecordReply, Done, StatusReply)

OCTETS: Final = "application/octet-stream"
_HEX_SESSION: Final = re.compile(rf"[0-9a-f]{{{2 * SESSION_ID_LENGTH}}}\Z")
_HEX_NONCE: Final = re.compile(rf"(?:[0-9a-fA-F]{{2}}){{{MIN_NONCE},{MAX_NONCE}}}\Z")
_MAX_DIGITS: Final = 19  # of a content length that the HTTP parser accepts
_CODE_OF_STATUS: Final = {404: "route_unknown", 405: "method_not_allowed"}


class Enclave(Protocol):
    """What the routes need of the supervisor."""

    @property
    def readiness(self) -> Readiness: ...

    async def ask(self, body: LinkRequest, kind: type[R]) -> R: ...


class _Attestation(msgspec.Struct, frozen=True, rename="camel"):
    document: bytes  # base64 in JSON
    channel_key: bytes


class Api:
    """The routes.

    :param body_seconds: within which a request's body must have arrived.
    """

    def __init__(
        self,
        enclave: Enclave,
        *,
        backups: Backups,
        admission: Admission,
        body_seconds: float,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._enclave = enclave
        self._backups = backups
        self._admission = admission
        self._body_seconds = body_seconds
        self._log = log
        self._metrics = metrics
        self._description = msgspec.json.encode(openapi.build())

    def application(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/attestation", self.attestation, methods=["GET"]),
            Route("/v1/sessions", self.open_session, methods=["POST"]),
            Route("/v1/sessions/{session_id}/records", self.record, methods=["POST"]),
            Route("/v1/backups/{locator}", self.backup, methods=["GET", "PUT", "DELETE"]),
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={CosignerError: _answer_error, HTTPException: _answer_http_error},
        )
        app.router.redirect_slashes = False
        templates: dict[Callable[..., Any], str] = {route.endpoint: route.path for route in routes}
        return Edge(
            app,
            route_of=lambda endpoint: templates.get(endpoint, "unknown"),
            admission=self._admission,
            log=self._log,
            metrics=self._metrics,
        )

    async def attestation(self, request: Request) -> Response:
        """``GET /attestation?nonce=HEX``: the enclave's attestation document over the nonce, and its channel key."""
        nonces = request.query_params.getlist("nonce")
        if len(nonces) != 1 or not _HEX_NONCE.match(nonces[0]):
            raise client_error(
                "nonce_malformed",
                f"Give ?nonce= once, with {MIN_NONCE} to {MAX_NONCE} fresh random bytes in hexadecimal.",
            )
        attested = await self._enclave.ask(Attest(bytes.fromhex(nonces[0])), Attested)
        return _json(_Attestation(attested.document, attested.channel_key))

    async def open_session(self, request: Request) -> Response:
        """``POST /v1/sessions``: client hello in, enclave hello and ``x-session-id`` out."""
        with self._admission.body() as room:
            hello = await self._read_body(request, MAX_HELLO, room.take)
            opened = await self._enclave.ask(OpenSession(hello), SessionOpened)
        return Response(opened.hello, media_type=OCTETS, headers={"x-session-id": opened.session_id.hex()})

    async def record(self, request: Request) -> Response:
        """``POST /v1/sessions/{session_id}/records``: one sealed record in, one out."""
        session_id = request.path_params["session_id"]
        if not _HEX_SESSION.match(session_id):
            raise client_error(
                "session_id_malformed",
                f"A session id has {2 * SESSION_ID_LENGTH} lower-case hexadecimal digits, as x-session-id gave it.",
            )
        with self._admission.body() as room:
            record = await self._read_body(request, MAX_RECORD, room.take)
            reply = await self._enclave.ask(Record(bytes.fromhex(session_id), record), RecordReply)
        return Response(reply.record, media_type=OCTETS)

    async def backup(self, request: Request) -> Response:
        """``GET|PUT|DELETE /v1/backups/{locator}?environment=NAME``: ciphertext in a slot that the enclave has opened."""
        locator = request.path_params["locator"]
        environments = request.query_params.getlist("environment")
        if not is_locator(locator):
            raise client_error("locator_malformed", "A locator has 64 lower-case hexadecimal digits.")
        if len(environments) != 1 or not is_environment(environments[0]):
            raise client_error(
                "environment_malformed", "Give ?environment= once, with an environment's name."
            )
        if request.method == "PUT":
            with self._admission.body() as room:
                backup = await self._read_body(request, MAX_BACKUP, room.take)
                await self._backups.keep(environments[0], locator, backup)
            return Response(status_code=204)
        if request.method == "DELETE":
            await self._backups.empty(environments[0], locator)
            return Response(status_code=204)
        return Response(await self._backups.fetch(environments[0], locator), media_type=OCTETS)

    async def healthz(self, _: Request) -> Response:
        """``GET /healthz``: this process runs."""
        return _json({"status": "up"})

    async def readyz(self, request: Request) -> Response:
        """``GET /readyz``: 200 when the enclave is ready, else 503. Codes only: faults of KMS name accounts and roles in their words."""
        readiness = self._enclave.readiness
        fault = readiness.fault
        detail = {
            "ready": readiness.ready,
            "state": readiness.state.value,
            "phase": readiness.phase,
            "reason": readiness.reason,
            "fault": None
            if fault is None
            else {
                "code": fault.code,
                "culprit": fault.culprit.value,
                "reaction": fault.reaction.value,
            },
            "restarts": readiness.restarts,
            "since": round(readiness.since, 3),
        }
        if readiness.ready:
            return _json(detail)
        message = f"The host is {readiness.state.value.replace('_', ' ')}."
        if fault is not None:
            message += f" Last fault: {fault.code}; the host's log has the details."
        error = HostError("enclave_not_ready", message, culprit=Culprit.HOST, reaction=Reaction.RETRY)
        request.state.code = error.code
        return problem_response(error, request.state.request_id, extra=detail)

    async def metrics(self, _: Request) -> Response:
        """``GET /metrics``: Prometheus's text format."""
        return Response(self._metrics.exposition(), headers={"content-type": self._metrics.content_type})

    async def openapi(self, _: Request) -> Response:
        """``GET /openapi.json``: this API, described."""
        return Response(self._description, media_type="application/json")

    async def _read_body(self, request: Request, limit: int, take: Callable[[int], None]) -> bytes:
        """Read a body of 1 to ``limit`` bytes; stops as soon as there are more.

        :raises HostError: ``content_type_unsupported``, ``body_too_large``, ``body_timeout``, ``body_empty``, ``host_busy``.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != OCTETS:
            raise client_error("content_type_unsupported", f"Send the body as {OCTETS}.")
        announced = request.headers.get(
            "content-length", "0"
        )  # digits: the HTTP parser refuses anything else
        if len(announced) > _MAX_DIGITS or int(announced) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                more = True
                while more:
                    message = await request.receive()
                    if message["type"] != "http.request":
                        raise ClientDisconnect
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    if len(body) + len(chunk) > limit:
                        raise _too_large(limit)
                    take(len(chunk))
                    body += chunk
        except TimeoutError:
            raise HostError(
                "body_timeout",
                f"The body did not arrive within {self._body_seconds:g} s.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.RETRY,
            ) from None
        if not body:
            raise client_error("body_empty", "This request needs a body.")
        return bytes(body)


def _too_large(limit: int) -> HostError:
    return client_error("body_too_large", f"The body may have at most {limit} bytes.")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _answer_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, CosignerError):
        raise error
    request.state.code = error.code
    return problem_response(error, request.state.request_id)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODE_OF_STATUS.get(error.status_code, "request_malformed")
    request.state.code = code
    response = problem_response(
        client_error(code, f"{error.detail}. See /openapi.json."), request.state.request_id
    )
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response
