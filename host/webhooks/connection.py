"""One HTTPS connection to an endpoint: requests one after the other, bounded in every direction.

Redirects are answers like any other: nothing follows them. An answer's body is read only as far as is needed to use the connection again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Final

import httptools

from .ssrf import Target

_CHUNK: Final = 16 << 10
_MAX_HEAD: Final = 32 << 10
_MAX_BODY: Final = 64 << 10
_DRAIN_SECONDS: Final = 1.0
_FINAL: Final = 200


class AnswerError(Exception):
    """The endpoint did not answer as HTTP says. The text is one of ours.

    :ivar untouched: the connection ended before a byte of the answer came.
    """

    def __init__(self, reason: str, *, untouched: bool = False) -> None:
        super().__init__(reason)
        self.untouched = untouched


class _Answer:
    """A parser, and what it found so far."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0  # of a final answer (RFC 9110 §15): interim ones are passed over
        self.complete = False
        self.keep_alive = False

    def feed(self, chunk: bytes) -> None:
        if self.complete:  # more than was asked for
            self.keep_alive = False
            return
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserError:
            self.keep_alive = False
            if not self.status:
                raise AnswerError("the answer is not HTTP") from None
            self.complete = True  # the status is known; what follows it does not matter

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.status:  # a second answer in the same chunk
            self.keep_alive = False
        elif status >= _FINAL:
            self.status = status

    def on_message_complete(self) -> None:
        if self.status and not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()


class Connection:
    """An open connection to ``address``, which was judged before.

    :ivar opened_at: by the loop's clock.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target, opened_at: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.target: Final = target
        self.opened_at: Final = opened_at
        self.usable = True

    @classmethod
    async def open(cls, address: str, target: Target, tls: ssl.SSLContext) -> Connection:
        """Connect to the address; TLS checks the name.

        :raises OSError: it failed, TLS included.
        """
        reader, writer = await asyncio.open_connection(
            address,
            target.port,
            ssl=tls if target.tls else None,
            server_hostname=target.host if target.tls else None,
            limit=_CHUNK,
        )
        return cls(reader, writer, target, asyncio.get_running_loop().time())

    async def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a request; the answer's status.

        :raises AnswerError: what came is no HTTP answer, or too large.
        :raises OSError: the connection broke.
        """
        lines = [f"POST {self.target.path} HTTP/1.1", f"host: {self.target.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(body)}", "", ""]
        self.usable = False
        self._writer.write("\r\n".join(lines).encode("ascii") + body)
        answer = _Answer()
        received = 0
        while not answer.status:
            received += await self._feed(answer, untouched=not received)
            if received > _MAX_HEAD:
                raise AnswerError("the answer's headers are too large")
        await self._drain(answer)
        self.usable = answer.keep_alive
        return answer.status

    async def _drain(self, answer: _Answer) -> None:
        """Read the rest of an answer whose status is known, if it is short and comes soon."""
        received = 0
        with contextlib.suppress(AnswerError, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not answer.complete and received <= _MAX_BODY:
                    received += await self._feed(answer, untouched=False)

    async def close(self) -> None:
        """Close, without waiting for the other side."""
        self.usable = False
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError, TimeoutError):
            self._writer.transport.abort()

    async def _feed(self, answer: _Answer, *, untouched: bool) -> int:
        try:
            chunk = await self._reader.read(_CHUNK)
        except OSError:
            raise AnswerError("the connection broke", untouched=untouched) from None
        if not chunk:
            raise AnswerError("the connection ended before the answer", untouched=untouched)
        answer.feed(chunk)
        return len(chunk)
