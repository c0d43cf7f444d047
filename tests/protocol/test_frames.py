"""Frames: what is read back is what was packed, however the stream is cut; everything else is refused."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import frames
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.limits import MAX_FRAME

Reader = Callable[[Sequence[bytes], int], list[bytes]]


def read_async(chunks: Sequence[bytes], limit: int = MAX_FRAME) -> list[bytes]:
    """All frames of a stream that arrives in ``chunks`` and then ends."""

    async def scenario() -> list[bytes]:
        reader = asyncio.StreamReader()

        async def feed() -> None:
            for chunk in chunks:
                reader.feed_data(chunk)
                await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.create_task(feed())
        found = []
        while (body := await frames.read(reader, culprit=Culprit.HOST, limit=limit)) is not None:
            found.append(body)
        await feeding
        return found

    return asyncio.run(scenario())


def read_blocking(chunks: Sequence[bytes], limit: int = MAX_FRAME, count: int = 1) -> list[bytes]:
    """``count`` frames from a blocking socket."""
    ours, theirs = socket.socketpair()

    def feed() -> None:
        with theirs, contextlib.suppress(BrokenPipeError):  # the reader may refuse and hang up early
            for chunk in chunks:
                theirs.sendall(chunk)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        return [frames.read_blocking(ours, culprit=Culprit.KMS, limit=limit) for _ in range(count)]
    finally:
        ours.close()
        feeder.join()


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), st.data())
def test_frames_survive_any_cutting_of_the_stream(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames.pack(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_async(chunks) == bodies
    assert read_blocking(chunks, count=len(bodies)) == bodies


def test_the_header_is_the_length_in_four_big_endian_bytes() -> None:
    assert frames.pack(b"abc") == b"\x00\x00\x00\x03abc"
    assert frames.pack(bytes(0x010203))[:4] == b"\x00\x01\x02\x03"


def test_a_frame_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert [len(body) for body in read_async([frames.pack(bytes(MAX_FRAME))])] == [MAX_FRAME]
    assert [len(body) for body in read_blocking([frames.pack(bytes(MAX_FRAME))])] == [MAX_FRAME]
    over = (MAX_FRAME + 1).to_bytes(4, "big")
    for reader in (read_async, read_blocking):
        with pytest.raises(ProtocolError) as caught:
            reader([over])
        assert caught.value.code == "frame_too_large"


@pytest.mark.parametrize("reader", [read_async, read_blocking])
def test_an_oversized_frame_is_refused_by_its_header_alone(reader: Reader) -> None:
    with pytest.raises(ProtocolError) as caught:
        reader([b"\xff\xff\xff\xff"], 10)
    assert caught.value.code == "frame_too_large"
    with pytest.raises(ProtocolError):
        reader([frames.pack(bytes(11))], 10)
    assert reader([frames.pack(bytes(10))], 10) == [bytes(10)]


@pytest.mark.parametrize("reader", [read_async, read_blocking])
def test_an_empty_frame_is_refused(reader: Reader) -> None:
    with pytest.raises(ProtocolError) as caught:
        reader([b"\x00\x00\x00\x00"], 10)
    assert caught.value.code == "frame_empty"


@pytest.mark.parametrize("reader", [read_async, read_blocking])
@pytest.mark.parametrize("kept", [1, 2, 3, 4, 5, 8])
def test_a_stream_that_ends_inside_a_frame_is_refused(reader: Reader, kept: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        reader([frames.pack(b"12345")[:kept]], 10)
    assert caught.value.code == "frame_truncated"


def test_a_clean_end_is_none_for_asyncio_and_truncation_for_an_expected_answer() -> None:
    assert read_async([]) == []
    with pytest.raises(ProtocolError) as caught:
        read_blocking([])
    assert caught.value.code == "frame_truncated"


def test_the_blame_is_the_one_that_the_caller_names() -> None:
    with pytest.raises(ProtocolError) as caught:
        read_async([b"\x00"])
    assert caught.value.culprit is Culprit.HOST
    with pytest.raises(ProtocolError) as caught:
        read_blocking([b"\x00"])
    assert caught.value.culprit is Culprit.KMS


@pytest.mark.parametrize("size", [0, MAX_FRAME + 1])
def test_packing_a_length_out_of_range_is_a_bug_of_the_caller(size: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {MAX_FRAME} bytes, not {size}"):
        frames.pack(bytes(size))
