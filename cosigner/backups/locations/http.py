"""HTTP for locations: bounded in size and time, over TLS, without redirects, proxies, cookies, or a word about tokens.

The transport of httpx is used without its client: the client logs the whole URL of every request, and CloudKit takes tokens in the URL.
"""

from __future__ import annotations

import asyncio
import functools
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from protocol.envelope.errors import Culprit
from protocol.envelope.nesting import is_deep

from .interface import MAX_BACKUP, LocationError, refused, too_large, unavailable

_T = TypeVar("_T")

OCTETS: Final = "application/octet-stream"
JSON: Final = "application/json"
MAX_JSON: Final = 1 << 20  # bytes of an answer that is not a backup
_MAX_BRACKETS: Final = 1 << 12
_TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0)
_EXCHANGE_SECONDS: Final = 60.0  # for one request and its whole answer, however slowly it drips
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_ATTEMPTS: Final = 5
_BACKOFF: Final = 0.5  # seconds, doubling
_MAX_PAUSE: Final = 30.0  # seconds

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    @property
    def retry_after(self) -> float:
        """Seconds that the peer wants us to wait (RFC 9110 §10.2.3, as a number); 0 where it does not say."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0  # noqa: PLR2004


class Http:
    """Requests to one peer.

    :param place: what the peer is called in messages; nothing secret.
    :param tls: another context than httpx's own, which knows the authorities that every other request here is checked against.
    :param sleep: waits between attempts.
    """

    def __init__(
        self, place: str, *, tls: ssl.SSLContext | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.place = place
        self._tls = tls
        self._sleep = sleep

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = MAX_JSON,
    ) -> Answer:
        """Send one request and read its whole answer, whatever its status, except a redirect.

        :param query: values are encoded; nothing of them appears in an error.
        :raises LocationError: ``location_unavailable``, ``location_refused``.
        """
        target = url if not query else f"{url}?{urlencode(query, quote_via=quote, safe='')}"
        outcome: Answer | LocationError
        try:
            async with asyncio.timeout(_EXCHANGE_SECONDS):
                outcome = await self._send(method, target, headers or {}, content, limit)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            outcome = unavailable(self.place, f"no answer ({type(error).__name__})")
        if isinstance(outcome, LocationError):
            raise outcome  # outside of the handler: the exception in it holds the request, with its tokens
        return outcome

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, limit: int
    ) -> Answer | LocationError:
        request = httpx.Request(
            method,
            url,
            headers={"accept-encoding": "identity", "user-agent": "cosigner", **headers},
            content=content,
            extensions={"timeout": _TIMEOUT.as_dict()},
        )
        async with httpx.AsyncHTTPTransport(verify=self._tls or _usual_tls(), trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                if 300 <= response.status_code < 400:  # noqa: PLR2004
                    return refused(f"{self.place} answers with a redirect, which is not followed.")
                if response.headers.get("content-encoding", "identity") != "identity":
                    return refused(f"{self.place} answers in an encoding that was not asked for.")
                received = bytearray()
                async for chunk in response.aiter_raw():
                    received += chunk
                    if len(received) > limit:
                        return self._oversized(response.status_code, limit)
                return Answer(response.status_code, response.headers, bytes(received))
            finally:
                await response.aclose()

    def _oversized(self, status: int, limit: int) -> LocationError:
        if limit == MAX_BACKUP and status == httpx.codes.OK:
            return too_large(Culprit.STORAGE)
        return refused(f"{self.place} answers with more than any valid answer has.")

    async def retrying(
        self, attempt: Callable[[], Awaitable[Answer]], again: Callable[[Answer], bool]
    ) -> Answer:
        """The first answer that need not be asked for again: exponential back-off with jitter, as both clouds ask for.

        :param attempt: one request; ``location_unavailable`` counts as an answer to ask for again.
        :raises LocationError: ``location_unavailable`` after the last attempt, and whatever else ``attempt`` raises.
        """
        for number in range(1, _ATTEMPTS + 1):
            wanted = 0.0
            try:
                answer = await attempt()
            except LocationError as error:
                if error.code != "location_unavailable" or number == _ATTEMPTS:
                    raise
            else:
                if not again(answer):
                    return answer
                wanted = answer.retry_after
                if number == _ATTEMPTS or wanted > _MAX_PAUSE:
                    break
            pause = _BACKOFF * 2 ** (number - 1) * (1 + random.random())  # noqa: S311  (jitter, no secret)
            await self._sleep(min(_MAX_PAUSE, max(pause, wanted)))
        raise unavailable(self.place, f"it answers HTTP {answer.status} every time")

    def json(self, answer: Answer, kind: type[_T]) -> _T:
        """The JSON of an answer. Members that ``kind`` does not name are left out: these interfaces grow.

        :raises LocationError: ``location_refused``.
        """
        if answer.media_type != JSON:
            raise refused(f"{self.place} answers with another content type than {JSON}.")
        try:
            if is_deep(answer.body, _MAX_BRACKETS):
                msg = "nested too deeply"
                raise msgspec.DecodeError(msg)
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise refused(f"{self.place} answers with JSON of another form than its protocol's.") from None

    def backup(self, answer: Answer) -> bytes:
        """The blob that is an answer's body.

        :raises LocationError: ``location_refused``.
        """
        if answer.media_type != OCTETS:
            raise refused(f"{self.place} answers with another content type than {OCTETS}.")
        if not answer.body:
            raise refused(f"{self.place} answers with an empty backup.")
        return answer.body


@functools.cache
def _usual_tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def is_busy(answer: Answer) -> bool:
    """Whether a peer asks to come back later: 429, or a failure of its own."""
    return (
        answer.status == httpx.codes.TOO_MANY_REQUESTS or answer.status >= httpx.codes.INTERNAL_SERVER_ERROR
    )


def check_base(url: str) -> str:
    """A URL to which requests may go, without the slash at its end: https, or this machine.

    :raises LocationError: ``location_refused``.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    secure = parsed.scheme == "https" or (parsed.scheme == "http" and is_loopback(parsed.host))
    if not (secure and parsed.host) or parsed.userinfo or parsed.query or parsed.fragment:
        raise refused(
            "A location's URL begins with https:// (http:// to this machine alone) and has neither a user, nor a query, nor a fragment.",
            culprit=Culprit.CLIENT,
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is of this machine."""
    return host in _LOOPBACK
