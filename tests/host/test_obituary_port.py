"""The enclave's last words: taken strictly, shown while there is no enclave, and worth nothing else."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from host import obituary_port
from host.log import Log
from host.metrics import Metrics
from host.obituary_port import ObituaryPort
from host.readiness import Board, State
from protocol.envelope.address import Address
from tests.host.fake_enclave import FakeEnclave
from tests.host.rig import Rig, configuration_for, short_folder, wait_until


def say(folder: Path, raw: bytes, *, finish: bool = True) -> None:
    """Send bytes as PID 1 would, and wait until the host has closed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(f"{folder}/o.sock")
        try:
            sock.sendall(raw)
            if finish:
                sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        except OSError:
            pass


@pytest.fixture
def rig() -> Iterator[Rig]:
    with short_folder() as folder:
        ports = {
            "storage": f"unix:{folder}/s.sock",
            "tunnel": f"unix:{folder}/t.sock",
            "obituary": f"unix:{folder}/o.sock",
        }
        rig = Rig(folder, None, configuration_for(folder, ports=ports))
        rig.start()
        try:
            yield rig
        finally:
            rig.stop()


def count(rig: Rig, outcome: str) -> float:
    return rig.metric(f'cosigner_host_obituaries_total{{outcome="{outcome}"}}')


@pytest.mark.parametrize("words", ["exited 1", "killed 31", "no_entropy", "a" * 32 + " 255"])
def test_the_words_are_logged_and_shown_while_no_enclave_is_connected(rig: Rig, words: str) -> None:
    say(rig.folder, words.encode() + b"\n")
    assert rig.readiness()["reason"] == f"The enclave ended: {words}."
    (line,) = rig.events("enclave_obituary")
    assert line["reason"] == words
    assert count(rig, "ok") == 1


def test_the_host_does_not_wait_for_the_end_of_the_connection(rig: Rig) -> None:
    say(rig.folder, b"exited 1\n", finish=False)
    assert rig.readiness()["reason"] == "The enclave ended: exited 1."


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"exited 1",
        b"Exited 1\n",
        b"exited  1\n",
        b"exited 1000\n",
        b"exited -1\n",
        b"exited 1\r\n",
    ]
    + [b" exited\n", b"exited \n", b"exited 1\nkilled 9\n", b"a" * 33 + b"\n", b"\x1b[2J\n", b"exited\x00\n"]
    + [b"a" * 1_000_000, "exited ١\n".encode(), b"\xff\xfe\n"],
)
def test_anything_else_is_ignored_and_counted(rig: Rig, raw: bytes) -> None:
    say(rig.folder, raw)
    wait_until(lambda: count(rig, "malformed") == 1)
    assert rig.readiness()["reason"] == ""
    assert rig.events("enclave_obituary") == []
    assert rig.events("obituary_ignored")[0]["reason"] == "malformed"


def test_who_says_nothing_is_hung_up_on_and_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obituary_port, "_SECONDS", 0.05)
    say(rig.folder, b"exit", finish=False)
    wait_until(lambda: count(rig, "late") == 1)
    assert rig.readiness()["reason"] == ""


def test_the_words_outlast_failures_to_connect_and_end_with_the_next_enclave() -> None:
    with short_folder() as folder:
        ports = {"storage": f"unix:{folder}/s.sock", "tunnel": f"unix:{folder}/t.sock"}
        raw = configuration_for(folder, ports={**ports, "obituary": f"unix:{folder}/o.sock"})
        fake = FakeEnclave()
        rig = Rig(folder, fake, raw)
        rig.start()
        try:
            rig.wait_ready()
            say(folder, b"killed 9\n")
            assert rig.readiness()["reason"] == ""  # the link is there: that enclave speaks for itself
            rig.call(fake.stop())
            wait_until(lambda: (rig.readiness()["fault"] or {}).get("code") == "enclave_unreachable")
            assert rig.readiness()["reason"] == "The enclave ended: killed 9."
            rig.call(fake.start(f"unix:{folder}/e.sock"))
            rig.wait_ready()
            assert rig.readiness()["reason"] == ""
            rig.call(fake.stop())
            wait_until(lambda: not rig.readiness()["ready"])
            assert rig.readiness()["reason"] == ""  # old words are not this one's
        finally:
            rig.stop()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 60))
@example(b"exited 1\n", 3)
@example(b"_\n", 1)
def test_whatever_comes_in_whatever_pieces_only_the_form_of_the_specification_passes(
    raw: bytes, cut: int
) -> None:
    async def read() -> bytes:
        reader = asyncio.StreamReader()
        for start in range(0, len(raw), cut):
            reader.feed_data(raw[start : start + cut])
        reader.feed_eof()
        return await obituary_port._read_line(reader)

    taken = asyncio.run(read())
    assert raw.startswith(taken)
    assert len(taken) <= obituary_port.MAX_LINE + 1
    words = obituary_port._parse(taken)
    if words is not None:
        assert re.fullmatch(r"[a-z_]{1,32}( [0-9]{1,3})?", words, re.ASCII)
        assert raw.startswith(words.encode() + b"\n")


class Peer:
    """A writer whose other end is an enclave with some CID."""

    def __init__(self, cid: int) -> None:
        self.facts = {"socket": type("Socket", (), {"family": socket.AF_VSOCK}), "peername": (cid, 1)}

    def get_extra_info(self, name: str) -> Any:
        return self.facts[name]


def serve(cid: int, places: list[Address]) -> tuple[list[str], list[str]]:
    """What is buried and what is logged when CID ``cid`` says ``exited 1``; ``places`` is where the enclave is, look by look."""
    buried: list[str] = []
    log = io.StringIO()

    async def run() -> None:
        port = ObituaryPort(buried.append, log=Log(log), metrics=Metrics())
        port._locate = lambda: places.pop(0) if len(places) > 1 else places[0]
        reader = asyncio.StreamReader()
        reader.feed_data(b"exited 1\n")
        await port.serve(reader, Peer(cid))  # type: ignore[arg-type]

    asyncio.run(run())
    return buried, [json.loads(line)["event"] for line in log.getvalue().splitlines()]


def test_an_enclave_that_ends_before_its_launcher_has_told_its_cid_is_heard() -> None:
    before, after = Address("vsock", "16", 5000), Address("vsock", "17", 5000)
    assert serve(17, [before, before, after]) == (["exited 1"], ["enclave_obituary"])


def test_another_enclave_of_the_instance_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obituary_port, "_SECONDS", 0.2)
    assert serve(99, [Address("vsock", "16", 5000)]) == ([], ["obituary_ignored"])


def test_words_that_come_after_the_loss_is_noticed_are_shown_at_once() -> None:
    board = Board(log=Log(io.StringIO()), metrics=Metrics())
    board.enter(State.CONNECTING)
    board.enter(State.READY, phase="ready")
    board.enter(State.BACKING_OFF)
    board.bury("killed 31")
    assert board.now.reason == "The enclave ended: killed 31."
    board.enter(State.STARTING)
    board.enter(State.CONNECTING)
    assert board.now.reason == "The enclave ended: killed 31."
    board.enter(State.PROVISIONING, phase="awaiting_manifest", reason="")
    assert board.now.reason == ""
