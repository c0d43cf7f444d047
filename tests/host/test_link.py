"""The link: answers by id in any order, and an enclave that answers with anything else."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.errors import HostError
from host.link import EnclaveError, Link
from host.metrics import Metrics
from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.limits import MAX_FRAME
from protocol.envelope.messages import (
    Attest,
    Attested,
    Done,
    LinkReplyFrame,
    LinkRequestFrame,
    Record,
    RecordReply,
    Status,
    StatusReply,
)
from tests.host.fake_enclave import FakeEnclave, fault
from tests.host.rig import eventually, short_folder

SESSION = bytes(15) + b"\x01"
Body = Callable[[Link, FakeEnclave], Awaitable[None]]


def with_link(body: Body, *, on_request: Any = None, capacity: int = 64) -> None:
    async def run(folder: Path) -> None:
        fake = FakeEnclave(on_request=on_request, phase="ready")
        await fake.start(f"unix:{folder}/e.sock")
        link = await Link.connect(
            Address.parse(f"unix:{folder}/e.sock"), capacity=capacity, metrics=Metrics()
        )
        try:
            async with asyncio.timeout(20):
                await body(link, fake)
        finally:
            await link.close()
            await fake.stop()

    with short_folder() as folder:
        asyncio.run(run(folder))


async def record(link: Link, content: bytes, seconds: float = 10) -> bytes:
    return (await link.ask(Record(SESSION, content), RecordReply, timeout=seconds)).record


def sends(raw: bytes, *, then_close: bool = False) -> Any:
    """An enclave that answers the first request with these very bytes."""

    async def handler(_: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        if then_close:
            writer.close()
        return True

    return handler


def test_answers_come_in_any_order() -> None:
    kept: list[LinkRequestFrame] = []

    async def reverse(fake: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        kept.append(frame)
        if len(kept) == 50:
            for one in reversed(kept):
                fake.reply(writer, one.id, fake.answer(one))
        return True

    async def body(link: Link, _: FakeEnclave) -> None:
        answers = await asyncio.gather(*(record(link, b"%03d" % number) for number in range(50)))
        assert answers == [(b"%03d" % number)[::-1] for number in range(50)]

    with_link(body, on_request=reverse)


def test_a_fault_is_raised_under_the_enclaves_own_code_and_the_link_lives_on() -> None:
    async def body(link: Link, _: FakeEnclave) -> None:
        with pytest.raises(EnclaveError) as caught:
            await record(link, b"fault:record_rejected:host:retry")
        assert (caught.value.code, caught.value.culprit, caught.value.reaction) == (
            "record_rejected",
            "host",
            "retry",
        )
        assert await record(link, b"ab") == b"ba"

    with_link(body)


def good(number: int, body: Any = None) -> bytes:
    return frames.pack(cbor.encode(LinkReplyFrame(id=number, body=body or RecordReply(b"x"))))


def malformed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(good(7), "link_reply_malformed", id="an id that nobody asked with"),
        pytest.param(good(0) + good(0), None, id="the same answer twice"),
        pytest.param(good(0, Done()), "link_reply_malformed", id="an answer of another kind"),
        pytest.param(malformed(b"\xff" * 40), "link_reply_malformed", id="garbage"),
        pytest.param(malformed(cbor.encode({"id": 0})), "link_reply_malformed", id="half a message"),
        pytest.param(
            malformed(cbor.encode({"id": 0, "body": {"kind": "provision"}})),
            "link_reply_malformed",
            id="a request as answer",
        ),
        pytest.param(
            malformed(b"\xa2" + b"\x62id\x00" + b"\x64body" + cbor.encode(RecordReply(b"x"))),
            None,
            id="an answer well-formed",
        ),
        pytest.param(
            malformed(b"\xa2" + b"\x64body" + cbor.encode(RecordReply(b"x")) + b"\x62id\x00"),
            "link_reply_malformed",
            id="keys out of order",
        ),
        pytest.param(struct.pack(">I", MAX_FRAME + 1), "link_reply_malformed", id="an oversized frame"),
        pytest.param(struct.pack(">I", 0xFFFFFFFF), "link_reply_malformed", id="a frame of 4 GiB"),
        pytest.param(struct.pack(">I", 0), "link_reply_malformed", id="an empty frame"),
    ],
)
def test_a_hostile_answer_breaks_the_link_with_a_stable_error(raw: bytes, code: str | None) -> None:
    async def body(link: Link, _: FakeEnclave) -> None:
        if code is None:
            assert await record(link, b"x") == b"x"
        else:
            with pytest.raises(HostError) as caught:
                await record(link, b"x")
            assert caught.value.code == code
        if raw != malformed(b"\xa2\x62id\x00\x64body" + cbor.encode(RecordReply(b"x"))):
            assert (await link.lost).code == "link_reply_malformed"
            with pytest.raises(HostError) as again:
                await record(link, b"x")
            assert again.value.code == "link_reply_malformed"

    with_link(body, on_request=sends(raw))


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x00\x00\x00\x10half"])
def test_an_early_end_is_a_lost_link(raw: bytes) -> None:
    async def body(link: Link, _: FakeEnclave) -> None:
        waiting = [asyncio.create_task(record(link, b"x")) for _ in range(3)]
        for task in waiting:
            with pytest.raises(HostError) as caught:
                await task
            assert caught.value.code == "link_lost"
        assert (await link.lost).code == "link_lost"

    with_link(body, on_request=sends(raw, then_close=True))


def test_a_late_answer_is_no_offence_but_a_second_one_is() -> None:
    kept: list[tuple[LinkRequestFrame, asyncio.StreamWriter]] = []

    async def hold_first(_: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        if frame.id == 0:
            kept.append((frame, writer))
            return True
        return False

    async def body(link: Link, fake: FakeEnclave) -> None:
        with pytest.raises(HostError) as caught:
            await record(link, b"late", seconds=0.05)
        assert caught.value.code == "enclave_timeout"
        frame, writer = kept[0]
        fake.reply(writer, frame.id, fake.answer(frame))
        assert await record(link, b"ab") == b"ba"
        fake.reply(writer, frame.id, fake.answer(frame))
        assert (await link.lost).code == "link_reply_malformed"

    with_link(body, on_request=hold_first)


def test_a_caller_that_goes_away_leaves_the_link_in_order() -> None:
    kept: list[tuple[LinkRequestFrame, asyncio.StreamWriter]] = []

    async def hold_first(_: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        if frame.id == 0:
            kept.append((frame, writer))
            return True
        return False

    async def body(link: Link, fake: FakeEnclave) -> None:
        task = asyncio.create_task(record(link, b"x"))
        await eventually(lambda: kept)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        frame, writer = kept[0]
        fake.reply(writer, frame.id, fake.answer(frame))
        assert await record(link, b"ab") == b"ba"

    with_link(body, on_request=hold_first)


def test_what_is_under_way_is_bounded() -> None:
    async def silent(_: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        return True

    async def body(link: Link, _: FakeEnclave) -> None:
        waiting = [asyncio.create_task(record(link, b"x")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(HostError) as caught:
            await record(link, b"x")
        assert caught.value.code == "host_busy"
        await link.close()
        for task in waiting:
            with pytest.raises(HostError) as lost:
                await task
            assert lost.value.code == "link_lost"

    with_link(body, on_request=silent, capacity=4)


def test_an_enclave_that_answers_nothing_loses_the_link() -> None:
    async def silent(_: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        return True

    async def body(link: Link, _: FakeEnclave) -> None:
        waiting = [asyncio.create_task(record(link, b"x", seconds=0.05)) for _ in range(3)]
        await asyncio.wait(waiting)
        assert {task.exception().code for task in waiting} <= {"enclave_timeout", "link_lost"}  # type: ignore[union-attr]
        assert (await link.lost).code == "link_lost"

    with_link(body, on_request=silent, capacity=4)


def test_every_kind_of_request_gets_its_kind_of_answer() -> None:
    async def body(link: Link, _: FakeEnclave) -> None:
        assert (await link.ask(Status(), StatusReply, timeout=5)).phase == "ready"
        attested = await link.ask(Attest(bytes(32)), Attested, timeout=5)
        assert attested.document == b"document over " + bytes(32)

    with_link(body)


def test_a_refused_connection_is_an_os_error() -> None:
    async def run(folder: Path) -> None:
        with pytest.raises(OSError):
            await Link.connect(Address.parse(f"unix:{folder}/nobody"), capacity=1, metrics=Metrics())

    with short_folder() as folder:
        asyncio.run(run(folder))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_no_bytes_of_the_enclave_harm_the_host(raw: bytes, framed: bool) -> None:
    async def body(link: Link, _: FakeEnclave) -> None:
        with contextlib.suppress(HostError, EnclaveError):
            await record(link, b"x")
        assert (await link.lost).code in {"link_lost", "link_reply_malformed"}

    with_link(body, on_request=sends(malformed(raw) if framed else raw, then_close=True))


def test_faults_as_answers_to_status_do_not_break_the_link() -> None:
    async def refuse(fake: FakeEnclave, frame: LinkRequestFrame, writer: asyncio.StreamWriter) -> bool:
        fake.reply(writer, frame.id, fault("phase_illegal"))
        return True

    async def body(link: Link, _: FakeEnclave) -> None:
        for _ in range(2):
            with pytest.raises(EnclaveError):
                await link.ask(Status(), StatusReply, timeout=5)
        assert not link.lost.done()

    with_link(body, on_request=refuse)
