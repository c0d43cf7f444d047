"""Byte tunnels: the enclave names a destination, and reaches it if it is on the list. TLS ends in the enclave.

Each tunnel is on its own: a slow destination, name server or reader holds up nobody else. Each direction is read only as fast as the
other end takes it, and ends by itself: one side may finish sending and still receive.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Final

from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import Culprit, ProtocolError, Reaction
from protocol.envelope.messages import Done, Fault, TunnelOpen

from .config import Destination, Timing
from .errors import HostError
from .listener import Listener
from .log import Log
from .metrics import Metrics

_CHUNK: Final = 64 << 10
_MAX_OPEN: Final = 1024  # bytes of the opening frame
_QUEUE: Final = 64  # connections beyond the limit on tunnels, so that they get an answer
_METADATA_SERVICE_V6: Final = ipaddress.ip_address("fd00:ec2::254")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TunnelPort(Listener):
    """Serves the enclave's tunnels.

    :param allow: all the destinations there are.
    :param tunnels: at most this many at once.
    """

    def __init__(
        self, allow: Iterable[Destination], *, timing: Timing, log: Log, metrics: Metrics, tunnels: int
    ) -> None:
        super().__init__("tunnel_port", log=log, connections=tunnels + _QUEUE)
        self._allow = {(entry.host, entry.port): entry for entry in allow}
        self._timing = timing
        self._metrics = metrics
        self._tunnels = tunnels
        self._used = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await self._read_open(reader)
        if asked is None:
            return
        destination = f"{asked.host}:{asked.port}"
        if self._used >= self._tunnels:
            self._refuse(
                writer,
                _fault("tunnel_busy", "All tunnels are in use.", Reaction.RETRY),
                destination=destination,
            )
            return
        self._used += 1
        self._metrics.tunnels_open.set(self._used)
        try:
            far = await self._dial(asked)
        except HostError as error:
            self._refuse(writer, error, destination=destination)
        else:
            writer.write(frames.pack(cbor.encode(Done())))
            self._metrics.tunnels.labels("opened").inc()
            await self._carry(near=(reader, writer), far=far, destination=destination)
        finally:
            self._used -= 1
            self._metrics.tunnels_open.set(self._used)

    async def _read_open(self, reader: asyncio.StreamReader) -> TunnelOpen | None:
        try:
            async with asyncio.timeout(self._timing.tunnel_open):
                raw = await frames.read(reader, culprit=Culprit.ENCLAVE, limit=_MAX_OPEN)
            return None if raw is None else cbor.decode(raw, TunnelOpen, culprit=Culprit.ENCLAVE)
        except TimeoutError:
            self._metrics.tunnels.labels("tunnel_open_timeout").inc()
            self.log.event("tunnel_refused", "warning", code="tunnel_open_timeout")
        except ProtocolError as error:
            self._metrics.tunnels.labels(error.code).inc()
            self.log.event("tunnel_refused", "warning", code=error.code, reason=error.message)
        return None

    def _refuse(self, writer: asyncio.StreamWriter, error: HostError, *, destination: str) -> None:
        self._metrics.tunnels.labels(error.code).inc()
        self.log.event(
            "tunnel_refused", "warning", code=error.code, destination=destination, reason=error.message
        )
        writer.write(frames.pack(cbor.encode(Fault.of(error))))

    async def _dial(self, asked: TunnelOpen) -> Streams:
        """Reach the destination.

        :raises HostError: ``tunnel_destination_refused``, ``tunnel_destination_unreachable``.
        """
        entry = self._allow.get((asked.host, asked.port))
        if entry is None:
            raise _fault(
                "tunnel_destination_refused",
                f"{asked.host}:{asked.port} is not among the destinations that this host allows.",
                Reaction.ABORT,
            )
        try:
            async with asyncio.timeout(self._timing.tunnel_connect):
                if entry.dial is not None:
                    return await Address.parse(entry.dial).dial(limit=_CHUNK)
                return await _dial_by_name(asked.host, asked.port)
        except TimeoutError:
            reason = f"it did not answer within {self._timing.tunnel_connect:g} s"
        except OSError as error:
            reason = error.strerror or type(error).__name__
        raise _fault(
            "tunnel_destination_unreachable",
            f"{asked.host}:{asked.port} cannot be reached from the parent instance: {reason}.",
            Reaction.RETRY,
        )

    async def _carry(self, *, near: Streams, far: Streams, destination: str) -> None:
        loop = asyncio.get_running_loop()
        moved = {"to_destination": 0, "to_enclave": 0}
        reason = "stopped"
        try:
            async with asyncio.timeout(self._timing.tunnel_idle) as deadline:

                def note(direction: str, count: int) -> None:
                    moved[direction] += count
                    self._metrics.tunnel_bytes.labels(direction).inc(count)
                    if not deadline.expired():
                        deadline.reschedule(loop.time() + self._timing.tunnel_idle)

                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(near[0], far[1], functools.partial(note, "to_destination")))
                    both.create_task(_pump(far[0], near[1], functools.partial(note, "to_enclave")))
            reason = "closed"
        except TimeoutError:
            reason = "idle"
        except BaseExceptionGroup as group:
            if group.split(OSError)[1] is not None:
                raise
            reason = "reset"
        finally:
            if reason == "closed":
                far[1].close()
            else:  # half of a broken stream must not look like a whole one
                far[1].transport.abort()
                near[1].transport.abort()
            self.log.event(
                "tunnel_closed",
                destination=destination,
                reason=reason,
                bytes_out=moved["to_destination"],
                bytes_in=moved["to_enclave"],
            )


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[int], None]
) -> None:
    """Carry one direction to its end, then end it on the other side, too."""
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        note(len(chunk))
        await writer.drain()
    with contextlib.suppress(OSError):  # the other end may be gone already, with all that it wanted
        if not writer.is_closing():
            writer.write_eof()


async def _dial_by_name(host: str, port: int) -> Streams:
    """Connect to the first address of ``host`` that answers; the instance itself and its link-local services are no addresses."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    last: OSError = OSError(None, f"{host} has no address outside of this instance")
    for address in dict.fromkeys(str(entry[4][0]) for entry in found):
        if not may_dial(address):
            continue
        try:
            return await asyncio.open_connection(address, port, limit=_CHUNK)
        except OSError as error:
            last = error
    raise last


def may_dial(address: str) -> bool:
    """Whether an IP address may stand behind an allowed name.

    Private addresses may (VPC endpoints have them); loopback, link-local (the instance's metadata service), multicast and unspecified
    ones may not, whatever a name server says.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return not (
        ip.is_loopback
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_unspecified
        or ip == _METADATA_SERVICE_V6
    )


def _fault(code: str, message: str, reaction: Reaction) -> HostError:
    culprit = Culprit.NETWORK if code == "tunnel_destination_unreachable" else Culprit.HOST
    return HostError(code, message, culprit=culprit, reaction=reaction)
