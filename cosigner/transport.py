"""HTTP to the host. The host is not trusted: what matters of its answers is sealed, or verified against the attestation."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self, TypeVar

import httpx
import msgspec
from msgspec import Meta

from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.limits import MAX_FRAME
from protocol.envelope.nesting import is_deep

from .errors import HostError

if TYPE_CHECKING:
    from types import TracebackType

_OCTETS: Final = "application/octet-stream"
_TIMEOUT: Final = httpx.Timeout(40.0, connect=5.0)  # longer than the host waits for its enclave


@dataclass
class Traffic:
    """Bytes of HTTP bodies, sent and received."""

    sent: int = 0
    received: int = 0

    def since(self, earlier: Traffic) -> Traffic:
        """What was added after ``earlier``."""
        return Traffic(self.sent - earlier.sent, self.received - earlier.received)

    def copy(self) -> Traffic:
        """A snapshot."""
        return Traffic(self.sent, self.received)


_T = TypeVar("_T")
_MAX_BRACKETS: Final = 1024


class _AttestationBody(msgspec.Struct):
    document: str
    channel_key: Annotated[str, Meta(min_length=1)] = msgspec.field(name="channelKey")


class _Problem(msgspec.Struct):
    code: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
    detail: Annotated[str, Meta(max_length=2048)] = ""
    culprit: str = Culprit.HOST
    reaction: str = Reaction.RETRY


class Transport:
    """The host's HTTP API (``docs/spec/wire.md`` §2)."""

    def __init__(self, api_url: str, *, http: httpx.AsyncClient | None = None) -> None:
        try:
            self._http = http or httpx.AsyncClient(
                base_url=api_url, timeout=_TIMEOUT, trust_env=False, headers={"accept-encoding": "identity"}
            )
        except httpx.InvalidURL as error:
            raise HostError(
                "api_url_invalid",
                f"{api_url!r} is not the URL of a host: {error}.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.ABORT,
            ) from None
        self.traffic = Traffic()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def attestation(self, nonce: bytes) -> tuple[bytes, bytes]:
        """The enclave's attestation document over ``nonce``, and its channel public key. Both unverified.

        :raises HostError: ``host_unreachable``, ``host_answer_malformed``, or the code the host gave.
        """
        body = await self._request("GET", f"/attestation?nonce={nonce.hex()}")
        try:
            parsed = _json(body, _AttestationBody)
            return (
                base64.b64decode(parsed.document, validate=True),
                base64.b64decode(parsed.channel_key, validate=True),
            )
        except (msgspec.MsgspecError, binascii.Error, ValueError):
            raise HostError(
                "host_answer_malformed", "The host's answer is not an attestation document."
            ) from None

    async def open_session(self, hello: bytes) -> bytes:
        """Send a client hello; returns the enclave hello."""
        return await self._request("POST", "/v1/sessions", hello)

    async def record(self, session_id: bytes, record: bytes) -> bytes:
        """Send a sealed record; returns the sealed answer."""
        return await self._request("POST", f"/v1/sessions/{session_id.hex()}/records", record)

    async def ready(self) -> bytes:
        """The host's readiness report (JSON, unverified)."""
        return await self._request("GET", "/readyz")

    async def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self.traffic.sent += len(body or b"")
        headers = {} if body is None else {"content-type": _OCTETS}
        received = bytearray()
        try:
            async with self._http.stream(method, path, content=body, headers=headers) as response:
                async for chunk in response.aiter_raw():
                    received += chunk
                    if len(received) > 2 * MAX_FRAME:
                        raise HostError(
                            "host_answer_too_large", "The host's answer is larger than any valid one."
                        )
        except httpx.HTTPError as error:
            raise HostError(
                "host_unreachable",
                f"No answer from {self._http.base_url}: {str(error) or type(error).__name__}. Is the stack running?",
                culprit=Culprit.NETWORK,
            ) from None
        finally:
            self.traffic.received += len(received)
        if response.status_code != httpx.codes.OK:
            raise _problem(response.status_code, bytes(received))
        return bytes(received)


def _json(body: bytes, kind: type[_T]) -> _T:
    """Decode JSON that is not nested deeply.

    :raises msgspec.MsgspecError: not JSON of that kind.
    """
    if is_deep(body, _MAX_BRACKETS):
        msg = "nested too deeply"
        raise msgspec.DecodeError(msg)
    return msgspec.json.decode(body, type=kind)


def _problem(status: int, body: bytes) -> HostError:
    try:
        problem = _json(body, _Problem)
        culprit, reaction = Culprit(problem.culprit), Reaction(problem.reaction)
    except (msgspec.MsgspecError, ValueError):
        return HostError("host_answer_malformed", f"The host answered HTTP {status} without saying why.")
    return HostError(
        problem.code, _printable(problem.detail) or f"HTTP {status}", culprit=culprit, reaction=reaction
    )


def _printable(text: str) -> str:
    """The host's words without control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
