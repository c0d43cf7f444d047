"""A hostile parent at the enclave's vsock port: whatever it sends, honest requests are served afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time

import pytest

from cosigner import ShareStore
from enclave.main import LISTEN_PORT
from enclave.manifest import MANIFEST_PCR
from protocol.envelope import cbor, frames
from protocol.envelope.errors import Culprit
from protocol.envelope.limits import MAX_FRAME
from protocol.envelope.messages import (
    AwsCredentials,
    Fault,
    LinkReplyFrame,
    LinkRequest,
    LinkRequestFrame,
    Provision,
    Status,
    StatusReply,
)
from tests.eif.signing import sign_solana
from tests.eif.vsock import dial
from tests.eif.world import PASSPHRASE

_TIMEOUT = 60

FRAMES = {
    "an announced gigabyte": struct.pack(">I", 1 << 30) + b"x" * 64,
    "one byte more than the limit": struct.pack(">I", MAX_FRAME + 1),
    "an empty frame": struct.pack(">I", 0),
    "a frame of nonsense": struct.pack(">I", 5) + b"\xff" * 5,
    "noise": b"\xff" + random.Random(5).randbytes(65535),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "deep nesting": struct.pack(">I", 100_001) + b"\x81" * 100_000 + b"\x00",
    "an indefinite map": struct.pack(">I", 4) + b"\xbf\x61a\xff",
}


@pytest.fixture(scope="module")
def wallet(enclave, tmp_path_factory):
    """A wallet and the store with its user's share."""
    shares = ShareStore.create(tmp_path_factory.mktemp("user") / "shares", PASSPHRASE)

    async def create():
        async with enclave.client(shares) as client:
            return await client.create_wallet("solana")

    return asyncio.run(create()), shares


@pytest.fixture(autouse=True)
def honest_requests_are_served_afterwards(enclave, wallet):
    before = enclave.machine.pid
    yield
    made, shares = wallet

    async def sign():
        async with enclave.client(shares) as client:
            await sign_solana(client, made)

    asyncio.run(sign())
    assert enclave.machine.pid == before
    assert enclave.machine.running


def request(body: LinkRequest) -> bytes:
    return frames.pack(cbor.encode(LinkRequestFrame(id=7, body=body)))


def reply(door: socket.socket):
    raw = frames.read_blocking(door, culprit=Culprit.ENCLAVE)
    frame = cbor.decode(raw, LinkReplyFrame, culprit=Culprit.ENCLAVE)
    assert frame.id == 7
    return frame.body


def closed_without_a_word(door: socket.socket) -> bool:
    with contextlib.suppress(ConnectionError):  # a reset is another way to hang up
        return door.recv(1) == b""
    return True


@pytest.mark.parametrize("name", FRAMES)
def test_a_malformed_frame_ends_its_connection(enclave, name):
    with dial(enclave.machine.vsock, LISTEN_PORT, timeout=_TIMEOUT) as door:
        with contextlib.suppress(ConnectionError):  # it may hang up before it has everything
            door.sendall(FRAMES[name])
        assert closed_without_a_word(door)


def test_a_connection_cut_inside_a_frame(enclave):
    for length in (1, 3, 4, 5, 500):
        with dial(enclave.machine.vsock, LISTEN_PORT, timeout=_TIMEOUT) as door:
            door.sendall((struct.pack(">I", 1000) + b"x" * 1000)[:length])


def test_a_frame_that_arrives_byte_by_byte(enclave):
    """The status request, slowly: it is answered like any other."""
    with dial(enclave.machine.vsock, LISTEN_PORT, timeout=_TIMEOUT) as door:
        for byte in request(Status()):
            door.sendall(bytes([byte]))
            time.sleep(0.01)  # or the bytes would arrive together
        assert isinstance(reply(door), StatusReply)


def test_many_connections_that_say_nothing(enclave, wallet):
    """More than a parent ever opens, held while an honest client signs."""
    made, shares = wallet

    async def sign():
        async with enclave.client(shares) as client:
            await sign_solana(client, made)

    with contextlib.ExitStack() as exits:
        for _ in range(100):
            exits.enter_context(dial(enclave.machine.vsock, LISTEN_PORT, timeout=_TIMEOUT))
        asyncio.run(sign())


def test_many_connections_that_send_noise(enclave):
    noise = random.Random(7)
    for _ in range(50):
        with (
            contextlib.suppress(ConnectionError),
            dial(enclave.machine.vsock, LISTEN_PORT, timeout=_TIMEOUT) as door,
        ):
            door.sendall(noise.randbytes(noise.randrange(1, 5000)))


def test_ports_where_nobody_listens_are_closed(enclave):
    for port in (1, 22, 80, 5001, 5002, 5003, 8000, 9000):
        with pytest.raises(ConnectionError):
            dial(enclave.machine.vsock, port, timeout=_TIMEOUT).close()


def test_a_second_manifest_is_refused_and_changes_nothing(enclave):
    credentials = AwsCredentials(access_key_id="ASIAHOSTILE", secret_access_key="x", session_token="")
    other = enclave.manifest.replace(b"sandbox", b"sandbax")
    assert other != enclave.manifest
    with dial(enclave.machine.vsock, LISTEN_PORT, timeout=_TIMEOUT) as door:
        door.sendall(request(Provision(manifest=other, credentials=credentials)))
        refusal = reply(door)
    assert isinstance(refusal, Fault)
    assert refusal.code == "manifest_already_measured"

    async def ask():
        async with enclave.client() as client:
            return (await client.attest()).pcrs[MANIFEST_PCR]

    assert asyncio.run(ask()) == enclave.pcrs[MANIFEST_PCR]
