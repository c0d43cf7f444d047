"""Addresses: the three forms, and streams over unix and TCP sockets."""

import asyncio
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope.address import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("vsock:3:5000", Address("vsock", "3", 5000)),
        ("vsock:4294967295:1", Address("vsock", "4294967295", 1)),
        ("unix:/run/cosigner/enclave", Address("unix", "/run/cosigner/enclave", 0)),
        ("unix:/with:colon", Address("unix", "/with:colon", 0)),
        ("tcp:127.0.0.1:8080", Address("tcp", "127.0.0.1", 8080)),
        ("tcp:localhost:0", Address("tcp", "localhost", 0)),
    ],
)
def test_an_address_is_parsed_and_written_the_same_way(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix",
        "unix:",
        "unix:relative/path",
        "tcp:localhost",
        "tcp::80",
        "tcp:localhost:",
        "tcp:localhost:http",
        "tcp:localhost:-1",
        "tcp:localhost:+1",
        "vsock:3",
        "vsock:parent:5000",
        "vsock:-1:5000",
        "vsock::5000",
        "http:localhost:80",
        "TCP:localhost:80",
        " tcp:localhost:80",
    ],
)
def test_other_texts_are_refused_with_the_three_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"vsock:CID:PORT, unix:/PATH or tcp:HOST:PORT"):
        Address.parse(text)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert Address.parse(str(address)) == address


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"echo " + await reader.readexactly(4))
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _ask(address: Address) -> bytes:
    reader, writer = await address.dial()
    writer.write(b"ping")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def _ask_blocking(address: Address) -> bytes:
    with address.dial_blocking(5.0) as sock:
        sock.sendall(b"ping")
        return b"".join(iter(lambda: sock.recv(100), b""))


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
def test_both_ways_of_dialling_reach_the_listener(scheme: str, tmp_path: Path) -> None:
    async def scenario() -> tuple[bytes, bytes]:
        address = Address.parse(f"unix:{tmp_path}/s" if scheme == "unix" else "tcp:127.0.0.1:0")
        server = await address.listen(_echo)
        async with server:
            if scheme == "tcp":
                address = Address("tcp", "127.0.0.1", server.sockets[0].getsockname()[1])
            return await _ask(address), await asyncio.to_thread(_ask_blocking, address)

    assert asyncio.run(scenario()) == (b"echo ping", b"echo ping")


def test_a_unix_socket_is_for_its_owner_only_and_replaces_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def scenario() -> tuple[int, bytes]:
        address = Address("unix", str(path), 0)
        server = await address.listen(_echo)
        async with server:
            return stat.S_IMODE(path.stat().st_mode), await _ask(address)

    mode, answer = asyncio.run(scenario())
    assert mode & 0o077 == 0
    assert answer == b"echo ping"


def test_dialling_where_nobody_listens_is_an_os_error(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        tcp = Address("tcp", "127.0.0.1", free.getsockname()[1])
    for address in (tcp, Address("unix", str(tmp_path / "nobody"), 0)):
        with pytest.raises(OSError):
            address.dial_blocking(1.0)
        with pytest.raises(OSError):
            asyncio.run(address.dial())


def test_a_blocking_dial_keeps_its_time_out(tmp_path: Path) -> None:
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with Address("unix", str(path), 0).dial_blocking(0.01) as sock, pytest.raises(TimeoutError):
            sock.recv(1)


@pytest.mark.parametrize(
    "text",
    [
        "tcp:h:99999",
        "tcp:h:\u0663",
        "vsock:\u0663:1",
        "vsock:4294967296:1",
        "vsock:3:4294967296",
        "unix:/a\0b",
    ],
)
def test_numbers_out_of_range_and_stray_characters_are_refused(text) -> None:
    with pytest.raises(ValueError, match="is not vsock"):
        Address.parse(text)


def test_listening_never_removes_a_file_that_is_not_a_socket(tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")

    async def scenario() -> None:
        (await Address("unix", str(precious), 0).listen(lambda _, __: None)).close()

    with pytest.raises(OSError, match="in use"):
        asyncio.run(scenario())
    assert precious.read_text() == "x"
