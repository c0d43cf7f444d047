"""The one connection to the enclave: requests go out, answers come back in any order (``docs/spec/wire.md``).

The enclave's bytes are not trusted here. A frame that is too large or malformed, an answer to nothing, or an answer of the wrong kind
breaks the link with a stable error; whoever waits is told, and the supervisor opens another.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import msgspec

from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.messages import (
    Attested,
    Done,
    Fault,
    LinkReplyFrame,
    LinkRequest,
    LinkRequestFrame,
    RecordReply,
    SessionOpened,
    StatusReply,
)

from .errors import HostError
from .metrics import Metrics

R = TypeVar("R", Attested, SessionOpened, RecordReply, Done, StatusReply)

_IDS: Final = 1 << 32
_READ_BUFFER: Final = 256 << 10
_MAX_UNSENT: Final = 16 << 20  # bytes that the enclave has not taken from the socket


class EnclaveError(CosignerError):
    """An error that the enclave itself answered; the link is in order."""


class Link:
    """An open link. Made by :meth:`connect`; one event loop only.

    :ivar lost: resolves with the reason, once, when the link is no more.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        capacity: int,
        metrics: Metrics,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.lost: Final[asyncio.Future[HostError]] = loop.create_future()
        self._loop = loop
        self._reader = reader
        self._writer = writer
        self._capacity = capacity
        self._metrics = metrics
        self._waiting: dict[int, asyncio.Future[msgspec.Struct]] = {}
        self._abandoned: set[int] = set()  # asked, no longer waited for: a late answer is no offence
        self._unsent: list[bytes] = []
        self._next_id = 0
        self._reading = loop.create_task(self._read_replies())

    @classmethod
    async def connect(cls, address: Address, *, capacity: int, metrics: Metrics) -> Link:
        """Open a link.

        :param capacity: requests under way at once; more are refused with ``host_busy``.
        :raises OSError: the enclave does not listen.
        """
        reader, writer = await address.dial(limit=_READ_BUFFER)
        metrics.link_opened.inc()
        return cls(reader, writer, capacity=capacity, metrics=metrics)

    async def ask(
        self,
        body: LinkRequest,
        kind: type[R],
        *,
        timeout: float,  # noqa: ASYNC109  (one timer, no task)
        reserved: bool = False,
    ) -> R:
        """Send a request and wait for its answer.

        :param kind: the type that a good answer has.
        :param timeout: seconds.
        :param reserved: a request of the host's own, which finds room when clients have used it all.
        :raises EnclaveError: the enclave refused; its own code.
        :raises HostError: ``link_lost``, ``link_reply_malformed``, ``enclave_timeout`` or ``host_busy``.
        """
        if self.lost.done():
            raise _again(self.lost.result())
        if not reserved:
            self._check_room()
        number = self._take_id()
        future: asyncio.Future[msgspec.Struct] = self._loop.create_future()
        self._waiting[number] = future
        self._send(frames.pack(cbor.encode(LinkRequestFrame(id=number, body=body))))
        self._metrics.link_in_flight.set(len(self._waiting))
        timer = self._loop.call_later(timeout, self._expire, number)
        try:
            reply = await future
        finally:
            timer.cancel()
            if self._waiting.pop(number, None) is not None:  # cancelled: nobody waits any more
                self._abandoned.add(number)
            self._metrics.link_in_flight.set(len(self._waiting))
        if isinstance(reply, kind):
            return reply
        if isinstance(reply, Fault):
            raise EnclaveError(reply.code, reply.message, culprit=reply.culprit, reaction=reply.reaction)
        error = _malformed(f"it answered {type(body).__name__} with {type(reply).__name__}")
        self._break(error)
        raise error

    async def close(self) -> None:
        """Close the link; whoever waits gets ``link_lost``. May be called again."""
        self._break(_lost("The host closed it."))
        await asyncio.wait([self._reading])

    def _check_room(self) -> None:
        busy = len(self._waiting) + len(self._abandoned) >= self._capacity
        if busy or self._writer.transport.get_write_buffer_size() > _MAX_UNSENT:
            raise HostError(
                "host_busy",
                "The enclave has as many requests under way as the host allows; try again shortly.",
                culprit=Culprit.HOST,
                reaction=Reaction.RETRY,
            )

    def _take_id(self) -> int:
        number = self._next_id
        while number in self._waiting or number in self._abandoned:
            number = (number + 1) % _IDS
        self._next_id = (number + 1) % _IDS
        return number

    def _send(self, frame: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)  # requests of one turn of the loop leave in one write
        self._unsent.append(frame)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not self.lost.done():
            self._writer.write(b"".join(unsent))

    def _expire(self, number: int) -> None:
        future = self._waiting.pop(number, None)
        if future is None or future.done():
            return
        self._abandoned.add(number)
        future.set_exception(
            HostError(
                "enclave_timeout",
                "The enclave did not answer in time; whether it carried the request out is unknown.",
                culprit=Culprit.ENCLAVE,
                reaction=Reaction.RETRY,
            )
        )
        if 2 * len(self._abandoned) > self._capacity:
            self._break(_lost("The enclave left too many requests unanswered."))

    async def _read_replies(self) -> None:
        try:
            while (raw := await frames.read(self._reader, culprit=Culprit.ENCLAVE)) is not None:
                frame = cbor.decode(raw, LinkReplyFrame, culprit=Culprit.ENCLAVE)
                if frame.id in self._abandoned:
                    self._abandoned.discard(frame.id)
                    continue
                future = self._waiting.pop(frame.id, None)
                if future is None:
                    self._break(_malformed("it answers a request that is not under way"))
                    return
                if not future.done():
                    future.set_result(frame.body)
            self._break(_lost("The enclave closed it."))
        except ProtocolError as error:
            if error.code == "frame_truncated":
                self._break(_lost("The enclave closed it inside a frame."))
            else:
                self._break(_malformed(f"{error.code}: {error.message}"))
        except OSError as error:
            self._break(_lost(f"{error.strerror or type(error).__name__}."))
        finally:
            self._break(_lost("The link's reader stopped."))

    def _break(self, error: HostError) -> None:
        if self.lost.done():
            return
        self.lost.set_result(error)
        self._metrics.link_broken.labels(error.code).inc()
        self._writer.transport.abort()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(_again(error))
        self._metrics.link_in_flight.set(0)
        if asyncio.current_task() is not self._reading:
            self._reading.cancel()


def _lost(detail: str) -> HostError:
    return HostError(
        "link_lost",
        f"The connection to the enclave was lost. {detail}",
        culprit=Culprit.ENCLAVE,
        reaction=Reaction.RETRY,
    )


def _malformed(detail: str) -> HostError:
    return HostError(
        "link_reply_malformed",
        f"The enclave's answer was not well-formed, and the connection was given up: {detail}.",
        culprit=Culprit.ENCLAVE,
        reaction=Reaction.RETRY,
    )


def _again(error: HostError) -> HostError:
    """The same error as a fresh exception: one instance must not be raised in several places."""
    return HostError(error.code, error.message, culprit=error.culprit, reaction=error.reaction)
