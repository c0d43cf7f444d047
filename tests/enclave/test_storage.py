"""The enclave's storage client against hosts that answer late, wrongly, twice or not at all."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from enclave import storage as room
from enclave.storage import HostStorage, StorageConflictError
from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import MAX_LOG_ENTRY
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
    StorageGet,
    StorageReplyFrame,
    StorageRequestFrame,
)
from tests.support.world import run


@contextlib.asynccontextmanager
async def host(tmp_path, answer):
    """A storage port whose ``answer(frame)`` gives the raw bytes to send back, or ``None`` to hang up."""
    address = Address.parse(f"unix:{tmp_path}/storage")
    connections = 0

    async def connected(reader, writer):
        nonlocal connections
        connections += 1
        try:
            while (raw := await frames.read(reader, culprit=Culprit.ENCLAVE)) is not None:
                reply = answer(cbor.decode(raw, StorageRequestFrame, culprit=Culprit.ENCLAVE))
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await address.listen(connected)
    storage = HostStorage(address)
    try:
        yield storage, lambda: connections
    finally:
        await storage.close()
        server.close()
        await asyncio.sleep(0.01)  # let the server's side see the end of the stream


def reply(frame_id: int, body) -> bytes:
    return frames.pack(cbor.encode(StorageReplyFrame(id=frame_id, body=body)))


async def unavailable(call) -> CosignerError:
    with pytest.raises(CosignerError) as refused:
        await call
    assert refused.value.code == "storage_unavailable"
    assert (refused.value.culprit, refused.value.reaction) == (Culprit.STORAGE, Reaction.RETRY)
    return refused.value


def test_answers_are_what_they_say(tmp_path):
    async def scenario():
        bodies = [Found(epoch=3, value=b"v"), Missing(), Done(), Conflict(current=4)]
        async with host(tmp_path, lambda frame: reply(frame.id, bodies.pop(0))) as (storage, connections):
            assert await storage.get("a/b") == Found(epoch=3, value=b"v")
            assert await storage.get("a/b") is None
            await storage.put("a/b", b"v", expected=0, epoch=1)
            with pytest.raises(StorageConflictError) as conflict:
                await storage.put("a/b", b"v", expected=0, epoch=1)
            assert conflict.value.current == 4
            assert connections() == 1

    run(scenario)


def test_log_entries_go_out_as_they_are_and_heads_come_back(tmp_path):
    async def scenario():
        asked = []
        head = ChainHead(bytes(32), 3, bytes(32), bytes(64))
        bodies = [Done(), LogConflict(next=2), ChainHeads([head]), Missing(), Missing()]

        def answer(frame):
            asked.append(frame.body)
            return reply(frame.id, bodies.pop(0))

        entry = SignedEntry(b"entry", bytes(64))
        async with host(tmp_path, answer) as (storage, _):
            await storage.append_log(bytes([1]) * 32, 5, [entry])
            refused = await unavailable(storage.append_log(bytes([1]) * 32, 6, [entry]))
            assert "ends before entry 2" in refused.message
            assert await storage.chain_heads(bytes(32)) == [head]
            await unavailable(storage.append_log(bytes([1]) * 32, 5, [entry]))
            await unavailable(storage.chain_heads(bytes(32)))
        assert asked[0] == LogAppend(bytes([1]) * 32, 5, [entry])
        assert asked[2] == GetChainHeads(bytes(32))

    run(scenario)


def test_a_batch_has_a_bound_that_one_entry_alone_never_reaches():
    largest = SignedEntry(bytes(MAX_LOG_ENTRY), bytes(64))
    assert LogAppend(bytes(32), 0, [largest, largest]).entries
    with pytest.raises(ValueError, match="together"):
        LogAppend(bytes(32), 0, [largest, largest, SignedEntry(b"x", bytes(64))])


@pytest.mark.parametrize(
    "body",
    [
        Done(),
        Conflict(current=1),
        Keys(keys=[]),
        Fault(code="full", message="disk full", culprit=Culprit.STORAGE, reaction=Reaction.RETRY),
    ],
    ids=lambda body: type(body).__name__,
)
def test_an_answer_to_another_question_is_refused(tmp_path, body):
    async def scenario():
        async with host(tmp_path, lambda frame: reply(frame.id, body)) as (storage, _):
            await unavailable(storage.get("a"))

    run(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xff",
        b"\x00\x00\x00\x05ab",
        frames.pack(cbor.encode({"id": 1, "body": {"kind": "missing", "extra": 1}})),
    ],
    ids=["empty frame", "huge frame", "not CBOR", "cut short", "unknown field"],
)
def test_nonsense_breaks_the_connection_and_the_next_request_dials_again(tmp_path, raw):
    async def scenario():
        answers = [raw, None]

        def answer(frame):
            if answers:
                return answers.pop(0)
            return reply(frame.id, Missing())

        async with host(tmp_path, answer) as (storage, connections):
            await unavailable(storage.get("a")) if raw != b"\x00\x00\x00\x05ab" else await unavailable(
                asyncio.gather(storage.get("a"), storage.get("b"))
            )
            answers.clear()
            assert await storage.get("a") is None
            assert connections() == 2

    run(scenario)


def test_a_host_that_hangs_up_is_dialled_again(tmp_path):
    async def scenario():
        answers = [None]

        def answer(frame):
            return answers.pop(0) if answers else reply(frame.id, Missing())

        async with host(tmp_path, answer) as (storage, connections):
            await unavailable(storage.get("a"))
            assert await storage.get("a") is None
            assert connections() == 2

    run(scenario)


def test_a_host_that_never_answers_is_given_up(tmp_path, monkeypatch):
    async def scenario():
        monkeypatch.setattr(room, "_TIMEOUT", 0.05)
        async with host(tmp_path, lambda frame: b"") as (storage, _):
            await unavailable(storage.get("a"))

    run(scenario)


def test_a_host_that_is_not_there_is_reported(tmp_path):
    async def scenario():
        await unavailable(HostStorage(Address.parse(f"unix:{tmp_path}/nobody")).get("a"))

    run(scenario)


def test_answers_in_another_order_reach_the_right_question(tmp_path):
    async def scenario():
        held = []

        def answer(frame):
            assert isinstance(frame.body, StorageGet)
            held.append(reply(frame.id, Found(epoch=1, value=frame.body.key.encode())))
            return b"".join(reversed(held)) if len(held) == 3 else b""

        async with host(tmp_path, answer) as (storage, _):
            found = await asyncio.gather(*(storage.get(key) for key in ("a", "b", "c")))
            assert [record.value for record in found] == [b"a", b"b", b"c"]

    run(scenario)


def test_an_answer_that_nobody_asked_for_is_dropped(tmp_path):
    async def scenario():
        def answer(frame):
            invented = reply((frame.id + 1000) % (1 << 32), Found(epoch=1, value=b"invented"))
            return invented + reply(frame.id, Missing()) + reply(frame.id, Found(epoch=1, value=b"twice"))

        async with host(tmp_path, answer) as (storage, _):
            for _ in range(3):
                assert await storage.get("a") is None

    run(scenario)
