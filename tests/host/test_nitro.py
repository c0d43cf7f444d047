"""The launcher over a fake ``nitro-cli``: address file, supervision, refusal of debug mode, an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.nitro import EXIT_DEBUG, EXIT_GONE, EXIT_OK, EXIT_USAGE
from tests.host.rig import short_folder, wait_until

ROOT = str(Path(__file__).parents[2])
FAKE = Path(__file__).with_name("fake_nitro_cli.py")


class Nitro:
    """A folder with an image, the fake's state, and launchers over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.eif = folder / "cosigner.eif"
        self.eif.write_bytes(b"\0" * (1 << 20))
        self.address_file = folder / "enclave.address"
        self.state_file = folder / "state.json"
        self.cli = folder / "nitro-cli"
        self.cli.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
        self.cli.chmod(0o755)
        self.change(enclaves=[], next_cid=16, calls=[], fail={}, say={}, flags="NONE", silent=0)

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.state_file.read_text()))

    def change(self, **members: Any) -> None:
        state = self.state() if self.state_file.exists() else {}
        temporary = self.folder / "state.tmp"
        temporary.write_text(json.dumps({**state, **members}))
        temporary.replace(self.state_file)

    def calls(self, command: str) -> list[list[str]]:
        return [call for call in self.state()["calls"] if call[0] == command]

    def enclave(self, **changes: Any) -> dict[str, Any]:
        one = {"EnclaveName": "cosigner", "EnclaveID": "i-0-enc0", "EnclaveCID": 5, "State": "RUNNING"}
        return {**one, "Flags": "NONE", "ProcessID": 1, "NumberOfCPUs": 2, "MemoryMiB": 4, **changes}

    def log(self) -> list[dict[str, Any]]:
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @contextlib.contextmanager
    def launched(self, *options: str, memory: int = 4) -> Iterator[subprocess.Popen[bytes]]:
        arguments = ["--eif", str(self.eif), "--memory", str(memory), "--cpus", "2"]
        arguments += [
            "--address-file",
            str(self.address_file),
            "--nitro-cli",
            str(self.cli),
            "--poll",
            "0.05",
        ]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "host.nitro", *arguments, *options],
                stderr=log,
                env={**os.environ, "PYTHONPATH": ROOT, "FAKE_NITRO_STATE": str(self.state_file)},
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def wait_for_address(self) -> str:
        wait_until(self.address_file.exists)
        return self.address_file.read_text()


@pytest.fixture
def nitro() -> Iterator[Nitro]:
    with short_folder() as folder:
        yield Nitro(folder)


def test_it_writes_the_address_and_terminates_the_enclave_when_asked(nitro: Nitro) -> None:
    with nitro.launched() as process:
        assert nitro.wait_for_address() == "vsock:16:5000\n"
        assert stat.S_IMODE(nitro.address_file.stat().st_mode) == 0o644
        wait_until(lambda: len(nitro.calls("describe-enclaves")) > 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == EXIT_OK
    assert nitro.state()["enclaves"] == []
    assert not nitro.address_file.exists()
    assert {path.name for path in nitro.folder.iterdir()} == {
        "cosigner.eif",
        "state.json",
        "nitro-cli",
        "log",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_asked_many_times_is_being_asked_once(nitro: Nitro, number: signal.Signals) -> None:
    with nitro.launched() as process:
        nitro.wait_for_address()
        for _ in range(100):
            process.send_signal(number)
        assert process.wait(20) == EXIT_OK
    assert nitro.state()["enclaves"] == []
    assert len(nitro.calls("terminate-enclave")) == 1


def test_the_command_line_is_the_documented_one_and_never_asks_for_debug_mode(nitro: Nitro) -> None:
    with nitro.launched("--name", "blue"):
        nitro.wait_for_address()
    (call,) = nitro.calls("run-enclave")
    assert dict(zip(call[1::2], call[2::2], strict=True)) == {
        "--eif-path": str(nitro.eif),
        "--memory": "4",
        "--cpu-count": "2",
        "--enclave-name": "blue",
    }


def test_an_enclave_that_dies_ends_the_launcher_and_the_next_launch_has_a_new_cid(nitro: Nitro) -> None:
    with nitro.launched() as process:
        assert nitro.wait_for_address() == "vsock:16:5000\n"
        nitro.change(enclaves=[])
        assert process.wait(20) == EXIT_GONE
    assert not nitro.address_file.exists()
    assert nitro.log()[-1]["code"] == "enclave_gone"
    with nitro.launched():
        assert nitro.wait_for_address() == "vsock:17:5000\n"


def test_an_enclave_that_is_terminating_counts_as_gone(nitro: Nitro) -> None:
    with nitro.launched() as process:
        nitro.wait_for_address()
        state = nitro.state()
        nitro.change(enclaves=[{**state["enclaves"][0], "State": "TERMINATING"}])
        assert process.wait(20) == EXIT_GONE


@pytest.mark.parametrize("flags", ["DEBUG_MODE", "", "none", "NONE|DEBUG_MODE"])
def test_an_enclave_in_debug_mode_is_terminated_and_its_address_never_told(nitro: Nitro, flags: str) -> None:
    nitro.change(flags=flags)
    with nitro.launched() as process:
        assert process.wait(20) == EXIT_DEBUG
    assert nitro.state()["enclaves"] == []
    assert not nitro.address_file.exists()
    assert "enclave_launched" not in {line["event"] for line in nitro.log()}


def test_a_leftover_of_our_name_is_terminated_and_others_are_left_alone(nitro: Nitro) -> None:
    other = nitro.enclave(EnclaveName="another", EnclaveID="i-0-enc1", EnclaveCID=6)
    nitro.change(enclaves=[nitro.enclave(), other])
    with nitro.launched():
        nitro.wait_for_address()
        assert [one["EnclaveCID"] for one in nitro.state()["enclaves"]] == [6, 16]


def test_a_stale_address_file_is_gone_before_the_launch(nitro: Nitro) -> None:
    nitro.address_file.write_text("vsock:9:5000\n")
    nitro.change(fail={"run-enclave": 1})
    with nitro.launched() as process:
        assert process.wait(20) == EXIT_GONE
    assert not nitro.address_file.exists()
    assert nitro.log()[-1]["code"] == "enclave_start_failed"
    assert "[ E39 ]" in (nitro.folder / "log").read_text()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("run-enclave", "Started enclave"),
        ("run-enclave", "[]"),
        ("run-enclave", '{"EnclaveID": "i-0-enc0"}'),
        ("run-enclave", '{"EnclaveID": "i-0-enc0", "EnclaveCID": 3}'),
        ("run-enclave", '{"EnclaveID": "i-0-enc0", "EnclaveCID": "16"}'),
        ("run-enclave", '{"EnclaveID": "--all", "EnclaveCID": 4294967295}'),
        ("run-enclave", "[" * 100_000),
        ("describe-enclaves", "{}"),
        ("describe-enclaves", "\x00"),
        ("describe-enclaves", '[{"EnclaveID": "i-0-enc0"}]'),
    ],
)
def test_other_words_than_the_documented_ones_are_refused(nitro: Nitro, command: str, answer: str) -> None:
    nitro.change(say={command: answer})
    with nitro.launched() as process:
        assert process.wait(20) == EXIT_GONE
    assert nitro.log()[-1]["code"] == "nitro_cli_failed"
    assert not nitro.address_file.exists()


def test_two_cids_for_one_enclave_are_refused(nitro: Nitro) -> None:
    lie = {**nitro.enclave(EnclaveID="i-abc12345def67890a-enc9876abcd54321016"), "EnclaveCID": 99}
    nitro.change(say={"describe-enclaves": json.dumps([{**lie, "EnclaveName": "someone else's"}])})
    with nitro.launched() as process:
        assert process.wait(20) == EXIT_GONE
    assert "two CIDs" in nitro.log()[-1]["reason"]


def test_a_cli_that_fails_once_is_asked_again_and_one_that_stays_silent_ends_the_launch(nitro: Nitro) -> None:
    with nitro.launched() as process:
        nitro.wait_for_address()
        nitro.change(fail={"describe-enclaves": 1})
        wait_until(lambda: any(line["event"] == "enclave_not_described" for line in nitro.log()))
        nitro.change(fail={})
        looks = len(nitro.calls("describe-enclaves"))
        wait_until(lambda: len(nitro.calls("describe-enclaves")) > looks + 5 or process.poll() is not None)
        if process.poll() is None:  # three failures may have fitted in between
            nitro.change(fail={"describe-enclaves": 1})
        assert process.wait(20) == EXIT_GONE
    assert [line["attempt"] for line in nitro.log() if line["event"] == "enclave_not_described"][-1] == 3
    assert not nitro.address_file.exists()


def test_too_little_memory_is_refused_with_both_figures(nitro: Nitro) -> None:
    with nitro.launched(memory=3) as process:
        assert process.wait(20) == EXIT_GONE
    assert "1048576 bytes needs 4 MiB" in nitro.log()[-1]["reason"]
    assert nitro.calls("run-enclave") == []


@pytest.mark.parametrize("missing", ["eif", "cli", "address_folder"])
def test_what_is_not_there_is_named(nitro: Nitro, missing: str) -> None:
    options: list[str] = []
    if missing == "eif":
        nitro.eif.unlink()
    elif missing == "cli":
        nitro.cli.unlink()
    else:
        options = ["--address-file", f"{nitro.folder}/none/enclave.address"]
    with nitro.launched(*options) as process:
        assert process.wait(20) == EXIT_GONE
    named = {"eif": "cosigner.eif", "cli": "nitro-cli", "address_folder": "/none/"}[missing]
    assert named in nitro.log()[-1]["reason"]
    assert nitro.state()["enclaves"] == []


@pytest.mark.parametrize("option", ["--memory", "--cpus", "--poll"])
def test_figures_that_make_no_sense_are_bad_usage(nitro: Nitro, option: str) -> None:
    with nitro.launched(option, "0") as process:
        assert process.wait(20) == EXIT_USAGE
