"""Tunnels: who may go where, and bytes that arrive whole, both ways, at the pace of the slower side."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host import config as configuration
from host import tunnel
from host.log import Log
from host.metrics import Metrics
from host.tunnel import TunnelPort, may_dial
from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import Done, Fault, TunnelOpen, TunnelReply
from tests.host.rig import eventually, short_folder

KMS = ("kms.us-east-1.amazonaws.com", 443)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Lab:
    """A tunnel port, and a destination behind it."""

    def __init__(self, folder: Path, port: TunnelPort, metrics: Metrics, log: io.StringIO) -> None:
        self.folder = folder
        self.port = port
        self.metrics = metrics
        self._log = log
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Streams:
        streams = await asyncio.open_unix_connection(f"{self.folder}/t.sock")
        self._writers.append(streams[1])
        return streams

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def open(self, host: str = KMS[0], port: int = KMS[1]) -> tuple[TunnelReply, Streams]:
        reader, writer = await self.connect()
        writer.write(frames.pack(cbor.encode(TunnelOpen(host, port))))
        raw = await frames.read(reader, culprit=Culprit.HOST)
        assert raw is not None
        return cbor.decode(raw, TunnelReply, culprit=Culprit.HOST), (reader, writer)  # type: ignore[arg-type]

    async def opened(self) -> Streams:
        reply, streams = await self.open()
        assert reply == Done()
        return streams

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]

    async def closed(self, count: int = 1) -> dict[str, Any]:
        """The log line of the last of ``count`` closed tunnels."""
        await eventually(lambda: len(self.events("tunnel_closed")) >= count)
        return self.events("tunnel_closed")[-1]

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def in_lab(
    body: Callable[[Lab], Awaitable[None]],
    destination: Serve | None = None,
    *,
    tunnels: int = 64,
    allow: list[configuration.Destination] | None = None,
    **timing: float,
) -> None:
    async def run(folder: Path) -> None:
        server = None
        if destination is not None:
            server = await asyncio.start_unix_server(destination, f"{folder}/far.sock")
        log, metrics = io.StringIO(), Metrics()
        port = TunnelPort(
            [configuration.Destination(*KMS, dial=f"unix:{folder}/far.sock")] if allow is None else allow,
            timing=configuration.Timing(**timing),
            log=Log(log),
            metrics=metrics,
            tunnels=tunnels,
        )
        await port.start(
            Address.parse(f"unix:{folder}/t.sock"), enclave=lambda: Address.parse("unix:/nowhere")
        )
        lab = Lab(folder, port, metrics, log)
        try:
            async with asyncio.timeout(20):
                await body(lab)
        finally:
            await lab.close()
            await port.stop()
            if server is not None:
                server.close()

    with short_folder() as folder:
        asyncio.run(run(folder))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


def test_bytes_flow_both_ways() -> None:
    async def body(lab: Lab) -> None:
        reader, writer = await lab.opened()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert lab.value("cosigner_host_tunnels_open") == 1
        writer.close()
        line = await lab.closed()
        assert (line["bytes_out"], line["bytes_in"], line["reason"]) == (5, 5, "closed")
        assert line["destination"] == "kms.us-east-1.amazonaws.com:443"
        assert lab.value("cosigner_host_tunnel_bytes_total", direction="to_destination") == 5
        assert lab.value("cosigner_host_tunnels_open") == 0

    in_lab(body, echo)


def test_bytes_sent_together_with_the_opening_frame_are_not_lost() -> None:
    async def body(lab: Lab) -> None:
        reader, writer = await lab.connect()
        writer.write(frames.pack(cbor.encode(TunnelOpen(*KMS))) + b"early")
        await frames.read(reader, culprit=Culprit.HOST)
        assert await reader.readexactly(5) == b"early"
        writer.close()

    in_lab(body, echo)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("example.com", 443),
        ("kms.us-east-1.amazonaws.com", 80),
        ("kms.us-east-1.amazonaws.com.", 443),
        ("169.254.169.254", 80),
        ("localhost", 443),
        ("kms.us-east-1.amazonaws.com.evil.example", 443),
    ],
)
def test_a_destination_that_is_not_on_the_list_is_refused(host: str, port: int) -> None:
    async def body(lab: Lab) -> None:
        reader, writer = await lab.connect()
        try:
            writer.write(frames.pack(cbor.encode(TunnelOpen(host, port))))
            raw = await frames.read(reader, culprit=Culprit.HOST)
        finally:
            writer.close()
        if raw is None:  # not even a host name
            assert lab.events("tunnel_refused")[-1]["code"] == "message_malformed"
            return
        fault = cbor.decode(raw, Fault, culprit=Culprit.HOST)
        assert (fault.code, fault.reaction) == ("tunnel_destination_refused", "abort")
        assert await reader.read() == b""
        assert lab.value("cosigner_host_tunnels_total", outcome="tunnel_destination_refused") == 1

    in_lab(body, echo)


def test_a_destination_that_does_not_answer_is_a_fault() -> None:
    async def body(lab: Lab) -> None:
        reply, (reader, writer) = await lab.open()
        assert isinstance(reply, Fault)
        assert (reply.code, reply.culprit, reply.reaction) == (
            "tunnel_destination_unreachable",
            "network",
            "retry",
        )
        assert await reader.read() == b""
        writer.close()

    in_lab(body)  # nobody listens there


def test_a_name_server_that_hangs_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> Streams:
        await asyncio.Event().wait()
        raise AssertionError

    async def body(lab: Lab) -> None:
        monkeypatch.setattr(tunnel, "_dial_by_name", hang)
        stuck = [asyncio.create_task(lab.open("slow.example", 443)) for _ in range(20)]
        await eventually(lambda: lab.value("cosigner_host_tunnels_open") == 20)
        reader, writer = await lab.opened()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()
        for task in stuck:
            reply, (_, stuck_writer) = await task
            assert isinstance(reply, Fault)
            assert reply.code == "tunnel_destination_unreachable"
            stuck_writer.close()

    with short_folder() as far:
        server_path = f"unix:{far}/far.sock"

        async def body_with_server(lab: Lab) -> None:
            server = await asyncio.start_unix_server(echo, f"{far}/far.sock")
            await body(lab)
            server.close()

        allow = [
            configuration.Destination(*KMS, dial=server_path),
            configuration.Destination("slow.example", 443),
        ]
        in_lab(body_with_server, allow=allow, tunnel_connect=1.0)


def test_a_name_that_leads_back_to_the_instance_is_refused() -> None:
    async def body(lab: Lab) -> None:
        reply, (_, writer) = await lab.open("localhost", 443)
        assert isinstance(reply, Fault)
        assert reply.code == "tunnel_destination_unreachable"
        assert "no address outside of this instance" in reply.message
        writer.close()

    in_lab(body, allow=[configuration.Destination("localhost", 443)])


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("52.119.1.2", True),
        ("10.0.3.4", True),  # a VPC endpoint
        ("2600:1f18::1", True),
        ("fd12:3456::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
    ],
)
def test_addresses_behind_an_allowed_name(address: str, allowed: bool) -> None:
    assert may_dial(address) is allowed


def test_either_side_may_finish_first() -> None:
    async def answer_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.read()  # until the enclave has finished sending
        writer.write(b"%d bytes" % len(received))
        writer.close()

    async def body(lab: Lab) -> None:
        reader, writer = await lab.opened()
        writer.write(bytes(100_000))
        writer.write_eof()
        assert await reader.read() == b"100000 bytes"
        assert (await lab.closed())["reason"] == "closed"
        writer.close()

    in_lab(body, answer_after_the_end)


def test_the_destination_may_finish_first() -> None:
    received: list[bytes] = []

    async def finish_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        received.append(await reader.read())
        writer.close()

    async def body(lab: Lab) -> None:
        reader, writer = await lab.opened()
        assert await reader.read() == b"bye"
        writer.write(b"still here")
        await writer.drain()
        writer.write_eof()
        await lab.closed()
        await eventually(lambda: received)
        assert received == [b"still here"]
        writer.close()

    in_lab(body, finish_at_once)


def test_a_large_transfer_both_ways_with_slow_readers_arrives_whole() -> None:
    blob = os.urandom(1 << 20) * 4
    digest = hashlib.sha256(blob).digest()
    at_destination: list[bytes] = []

    async def slow_read(reader: asyncio.StreamReader) -> bytes:
        digest_so_far = hashlib.sha256()
        while chunk := await reader.read(3000):
            digest_so_far.update(chunk)
            await asyncio.sleep(0)
        return digest_so_far.digest()

    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send() -> None:
            for start in range(0, len(blob), 50_000):
                writer.write(blob[start : start + 50_000])
                await writer.drain()
            writer.write_eof()

        got, _ = await asyncio.gather(slow_read(reader), send())
        at_destination.append(got)
        writer.close()

    async def body(lab: Lab) -> None:
        reader, writer = await lab.opened()
        writer.write(blob)
        writer.write_eof()
        assert await slow_read(reader) == digest
        line = await lab.closed()
        await eventually(lambda: at_destination)
        assert at_destination == [digest]
        assert (line["bytes_out"], line["bytes_in"]) == (len(blob), len(blob))
        writer.close()

    in_lab(body, both)


def test_a_reader_that_stops_stops_the_sender() -> None:
    release = asyncio.Event()

    async def never_read(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    async def body(lab: Lab) -> None:
        _, writer = await lab.opened()
        writer.transport.set_write_buffer_limits(high=0)
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while sent < 64 << 20:
                    writer.write(bytes(1 << 16))
                    sent += 1 << 16
                    await writer.drain()
        assert lab.value("cosigner_host_tunnel_bytes_total", direction="to_destination") < 4 << 20
        release.set()
        writer.transport.abort()

    in_lab(body, never_read)


def test_a_broken_connection_is_passed_on_as_broken() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    async def run() -> None:
        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def body(lab: Lab) -> None:
            reader, writer = await lab.opened()
            assert await reader.readexactly(4) == b"half"
            writer.write(b"x" * 1000)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            assert (await lab.closed())["reason"] == "reset"
            writer.close()

        await lab_in_this_loop(body, f"tcp:127.0.0.1:{port}")
        server.close()

    asyncio.run(run())


async def lab_in_this_loop(body: Callable[[Lab], Awaitable[None]], dial: str) -> None:
    with short_folder() as folder:
        log, metrics = io.StringIO(), Metrics()
        port = TunnelPort(
            [configuration.Destination(*KMS, dial=dial)],
            timing=configuration.Timing(),
            log=Log(log),
            metrics=metrics,
            tunnels=4,
        )
        await port.start(
            Address.parse(f"unix:{folder}/t.sock"), enclave=lambda: Address.parse("unix:/nowhere")
        )
        lab = Lab(folder, port, metrics, log)
        try:
            async with asyncio.timeout(20):
                await body(lab)
        finally:
            await lab.close()
            await port.stop()


def test_an_idle_tunnel_is_closed_but_a_slow_one_is_not() -> None:
    async def body(lab: Lab) -> None:
        reader, writer = await lab.opened()
        for _ in range(6):
            await asyncio.sleep(0.1)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        assert lab.events("tunnel_closed") == []
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert (await lab.closed())["reason"] == "idle"
        writer.close()

    in_lab(body, echo, tunnel_idle=0.4)


def test_an_opening_frame_that_does_not_come_ends_the_connection() -> None:
    async def body(lab: Lab) -> None:
        reader, writer = await lab.connect()
        writer.write(b"\x00\x00")
        assert await reader.read() == b""
        assert lab.events("tunnel_refused")[-1]["code"] == "tunnel_open_timeout"
        writer.close()

    in_lab(body, echo, tunnel_open=0.05)


def test_tunnels_are_bounded_and_one_more_is_told_so() -> None:
    async def body(lab: Lab) -> None:
        open_ones = [await lab.opened() for _ in range(3)]
        reply, (_, writer) = await lab.open()
        assert isinstance(reply, Fault)
        assert (reply.code, reply.reaction) == ("tunnel_busy", "retry")
        writer.close()
        open_ones[0][1].close()
        await lab.closed()
        again = await lab.opened()
        for _, one in [*open_ones, again]:
            one.close()

    in_lab(body, echo, tunnels=3)


def test_thirty_tunnels_work_at_once() -> None:
    async def body(lab: Lab) -> None:
        async def one(number: int) -> None:
            reader, writer = await lab.opened()
            blob = bytes([number]) * 100_000
            writer.write(blob)
            writer.write_eof()
            assert await reader.read() == blob
            writer.close()

        await asyncio.gather(*(one(number) for number in range(30)))

    in_lab(body, echo)


def test_stopping_closes_what_is_open() -> None:
    async def body(lab: Lab) -> None:
        reader, writer = await lab.opened()
        await lab.port.stop()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert lab.events("tunnel_closed")[-1]["reason"] == "stopped"
        writer.close()

    in_lab(body, echo)


@settings(max_examples=50, deadline=None)
@given(raw=st.binary(max_size=300), framed=st.booleans())
def test_no_bytes_of_the_enclave_harm_the_tunnel_port(raw: bytes, framed: bool) -> None:
    async def body(lab: Lab) -> None:
        reader, writer = await lab.connect()
        writer.write(struct.pack(">I", len(raw)) + raw if framed else raw)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        good_reader, good_writer = await lab.opened()
        good_writer.write(b"x")
        assert await good_reader.readexactly(1) == b"x"
        good_writer.close()

    in_lab(body, echo)
