"""The enclave's way to the store: frames over a real socket, hostile ones included."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.audit_log import AuditLog, AuditLogError
from host.audit_log.file import FileBackend
from host.log import Log
from host.metrics import Metrics
from host.storage import StorageError
from host.storage.sqlite import SqliteStore
from host.storage_port import StoragePort
from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import Culprit
from protocol.envelope.limits import MAX_FRAME, MAX_STORAGE_KEY, MAX_STORED_VALUE
from protocol.envelope.messages import (
    ChainHead,
    ChainHeads,
    Conflict,
    Done,
    Fault,
    Found,
    GetChainHeads,
    Keys,
    LogAppend,
    LogConflict,
    Missing,
    SignedEntry,
    StorageDelete,
    StorageGet,
    StorageList,
    StoragePut,
    StorageReplyFrame,
    StorageRequest,
    StorageRequestFrame,
)
from protocol.envelope.segments import entry_hash
from tests.host.rig import configuration_for, short_folder

ENCLAVE = Address.parse("unix:/nowhere")
ROOT = str(Path(__file__).parents[2])


class Client:
    """The enclave's side, blocking."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(path)
        self.next_id = 0

    def ask(self, body: StorageRequest) -> Any:
        self.next_id += 1
        self.send(StorageRequestFrame(id=self.next_id, body=body))
        frame = self.receive()
        assert frame.id == self.next_id
        return frame.body

    def send(self, frame: StorageRequestFrame) -> None:
        self.sock.sendall(frames.pack(cbor.encode(frame)))

    def receive(self) -> StorageReplyFrame:
        raw = frames.read_blocking(self.sock, culprit=Culprit.STORAGE)
        return cbor.decode(raw, StorageReplyFrame, culprit=Culprit.STORAGE)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class Port:
    """A storage port in an event loop of its own thread."""

    def __init__(self, folder: Path, connections: int = 64) -> None:
        self.path = f"{folder}/s.sock"
        self.log = io.StringIO()
        self.store = SqliteStore(f"{folder}/store")
        self.audit_log = AuditLog(FileBackend(f"{folder}/log", log=Log(self.log)))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.port = StoragePort(
            self.store, self.audit_log, log=Log(self.log), metrics=Metrics(), connections=connections
        )

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def __enter__(self) -> Port:
        self.thread.start()
        self.call(self.port.start(Address.parse(f"unix:{self.path}"), enclave=ENCLAVE))
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.port.stop())
        self.call(self.port.stop())  # once more: nothing happens
        self.call(self.store.close())
        self.call(self.audit_log.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with short_folder() as folder, Port(folder) as running:
        yield running


def test_every_request_is_answered(port: Port) -> None:
    with Client(port.path) as client:
        assert client.ask(StorageGet("all/a")) == Missing()
        assert client.ask(StoragePut("all/a", 0, 1, b"v")) == Done()
        assert client.ask(StoragePut("all/a", 0, 1, b"w")) == Conflict(1)
        assert client.ask(StorageGet("all/a")) == Found(1, b"v")
        assert client.ask(StoragePut("all/b", 0, 7, b"x" * MAX_STORED_VALUE)) == Done()
        assert client.ask(StorageList("all/", "", 10)) == Keys(["all/a", "all/b"])
        assert client.ask(StorageList("all/", "all/a", 10)) == Keys(["all/b"])
        assert client.ask(StorageDelete("all/a", 2)) == Conflict(1)
        assert client.ask(StorageDelete("all/a", 1)) == Done()
        assert client.ask(StorageDelete("all/a", 1)) == Conflict(0)


def test_many_writes_of_one_connection_are_under_way_together_and_in_order(port: Port) -> None:
    with Client(port.path) as client:
        for number in range(300):
            client.send(StorageRequestFrame(number, StoragePut("order/k", number, number + 1, b"v")))
        assert {client.receive().body for _ in range(300)} == {Done()}
        assert client.ask(StorageGet("order/k")) == Found(300, b"v")


def test_of_many_connections_exactly_one_wins(port: Port) -> None:
    results: list[Any] = []
    barrier = threading.Barrier(12)

    def compete(number: int) -> None:
        with Client(port.path) as client:
            barrier.wait(20)
            results.append(client.ask(StoragePut("race/k", 0, 1, b"%d" % number)))

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results.count(Done()) == 1
    assert results.count(Conflict(1)) == 11


HOSTILE_KEYS = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "../a",
    "a/../b",
    "A",
    "a b",
    "a\x00",
    "a\n",
    "ä",
    "-a",
    "a/-b",
] + [
    "a" * (MAX_STORAGE_KEY + 1),
    "'; DROP TABLE record; --",
    "a%",
]


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_a_hostile_key_ends_its_connection_and_changes_nothing(port: Port, key: str) -> None:
    with Client(port.path) as good, Client(port.path) as bad:
        before = good.ask(StorageList("", "", 1000))
        bad.send(StorageRequestFrame(1, StoragePut(key, 0, 1, b"v")))
        assert bad.sock.recv(1) == b""
        assert good.ask(StorageList("", "", 1000)) == before


@pytest.mark.parametrize(
    "request_map",
    [
        {"kind": "put", "key": "a", "expected": -1, "epoch": 1, "value": b"v"},
        {"kind": "put", "key": "a", "expected": 0, "epoch": 0, "value": b"v"},
        {"kind": "put", "key": "a", "expected": 0, "epoch": 1 << 32, "value": b"v"},
        {"kind": "put", "key": "a", "expected": 0, "epoch": 1, "value": b""},
        {"kind": "put", "key": "a", "expected": 0, "epoch": 1, "value": b"v" * (MAX_STORED_VALUE + 1)},
        {"kind": "put", "key": "a", "expected": 0, "epoch": 1, "value": "text"},
        {"kind": "list", "prefix": "a", "after": "", "count": 1},
        {"kind": "list", "prefix": "", "after": "", "count": 1001},
        {"kind": "drop", "key": "a"},
        {"kind": "get", "key": "a", "more": 1},
    ],
)
def test_a_request_out_of_bounds_ends_its_connection(port: Port, request_map: dict[str, Any]) -> None:
    with Client(port.path) as client:
        client.sock.sendall(frames.pack(cbor2.dumps({"id": 1, "body": request_map}, canonical=True)))
        assert client.sock.recv(1) == b""
    assert "message_malformed" in port.log.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack(">I", MAX_FRAME + 1),
        struct.pack(">I", 0),
        b"\xff" * 64,
        struct.pack(">I", 3) + b"\xff\xff\xff",
    ],
)
def test_a_broken_frame_ends_its_connection(port: Port, raw: bytes) -> None:
    with Client(port.path) as client:
        client.sock.sendall(raw)
        assert client.sock.recv(1) == b""


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=300), framed=st.booleans())
def test_no_bytes_of_the_enclave_harm_the_storage_port(port: Port, raw: bytes, framed: bool) -> None:
    with Client(port.path) as client:
        client.sock.sendall(struct.pack(">I", len(raw)) + raw if framed else raw)
        client.sock.shutdown(socket.SHUT_WR)
        while client.sock.recv(65536):
            pass
    with Client(port.path) as client:
        assert client.ask(StorageGet("never/written")) == Missing()


def test_connections_beyond_the_limit_are_closed() -> None:
    with short_folder() as folder, Port(folder, connections=2) as port:
        with Client(port.path) as first, Client(port.path) as second:
            assert first.ask(StorageGet("a")) == second.ask(StorageGet("a")) == Missing()
            with Client(port.path) as third:
                assert third.sock.recv(1) == b""
        assert "too many connections" in port.log.getvalue()


def test_a_failing_store_is_a_fault_and_the_connection_lives_on(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    with Client(port.path) as client:
        monkeypatch.setattr(port.store, "put", fail)
        reply = client.ask(StoragePut("full/a", 0, 1, b"v"))
        assert isinstance(reply, Fault)
        assert (reply.code, reply.culprit, reply.reaction) == ("storage_unavailable", "storage", "retry")
        assert client.ask(StorageGet("full/a")) == Missing()


def signed(number: int) -> SignedEntry:
    return SignedEntry(entry=b"entry %d" % number, signature=bytes([number]) * 64)


def test_log_entries_are_kept_in_order_and_once(port: Port) -> None:
    chain, other = bytes([1]) * 32, bytes([2]) * 32
    with Client(port.path) as client:
        assert client.ask(LogAppend(chain, 1, [signed(1)])) == LogConflict(0)
        assert client.ask(LogAppend(chain, 0, [signed(0), signed(1)])) == Done()
        assert client.ask(LogAppend(chain, 1, [signed(1), signed(2)])) == Done()
        assert client.ask(LogAppend(chain, 2, [signed(9)])) == LogConflict(3)
        assert client.ask(GetChainHeads(chain)) == ChainHeads([])
        head = ChainHead(chain, 2, entry_hash(b"entry 2"), bytes([2]) * 64)
        assert client.ask(GetChainHeads(other)) == ChainHeads([head])


def test_a_log_that_fails_is_a_fault(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise AuditLogError("the disk is full")

    with Client(port.path) as client:
        monkeypatch.setattr(port.audit_log, "append", fail)
        reply = client.ask(LogAppend(bytes(32), 0, [signed(0)]))
        assert isinstance(reply, Fault)
        assert (reply.code, reply.culprit, reply.reaction) == ("audit_log_unavailable", "storage", "retry")


def test_the_socket_is_for_its_owner_only(port: Port) -> None:
    assert os.stat(port.path).st_mode & 0o777 == 0o600


def test_over_vsock_only_the_enclave_may_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    class Writer:
        def __init__(self, family: int, cid: int) -> None:
            self.facts = {"socket": type("Socket", (), {"family": family}), "peername": (cid, 1234)}

        def get_extra_info(self, name: str) -> Any:
            return self.facts[name]

    async def run(folder: Path) -> None:
        store = SqliteStore(f"{folder}/store")
        log = Log(io.StringIO())
        audit_log = AuditLog(FileBackend(f"{folder}/log", log=log))
        port = StoragePort(store, audit_log, log=log, metrics=Metrics(), connections=4)
        await port.start(Address.parse(f"unix:{folder}/s"), enclave=Address.parse("vsock:16:5000"))
        vsock = getattr(socket, "AF_VSOCK", 40)
        monkeypatch.setattr(socket, "AF_VSOCK", vsock, raising=False)
        assert port._may_connect(Writer(vsock, 16))  # type: ignore[arg-type]
        assert not port._may_connect(Writer(vsock, 17))  # type: ignore[arg-type]
        await port.stop()
        await store.close()
        await audit_log.close()

    with short_folder() as folder:
        asyncio.run(run(folder))


def test_what_the_host_acknowledged_survives_kill_9() -> None:
    with short_folder() as folder:
        (folder / "config.json").write_bytes(msgspec.json.encode(configuration_for(folder)))
        for round_ in (1, 2):
            process = subprocess.Popen(
                [sys.executable, "-m", "host", "--config", f"{folder}/config.json", "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": ROOT},
            )
            try:
                assert process.stdout is not None
                assert json.loads(process.stdout.readline())["event"] == "listening"
                with Client(f"{folder}/s.sock") as client:
                    if round_ == 1:
                        assert client.ask(StoragePut("wallet/share", 0, 1, b"sealed")) == Done()
                        process.kill()
                    else:
                        assert client.ask(StorageGet("wallet/share")) == Found(1, b"sealed")
                        process.terminate()
                assert process.wait(20) == (-9 if round_ == 1 else 0)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()  # type: ignore[union-attr]
