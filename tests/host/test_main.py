"""The command: its ready line, its exit codes, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.host.rig import configuration_for, short_folder, wait_until

ROOT = str(Path(__file__).parents[2])
FAKE = str(Path(__file__).with_name("fake_enclave.py"))


@contextlib.contextmanager
def host(folder: Path, *options: str, **changes: Any) -> Iterator[subprocess.Popen[str]]:
    (folder / "config.json").write_bytes(msgspec.json.encode(configuration_for(folder, **changes)))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "host", "--config", f"{folder}/config.json", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_answers_and_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    with short_folder() as folder:
        command = [sys.executable, FAKE, f"unix:{folder}/e.sock", f"{folder}/journal"]
        enclave = {"address": f"unix:{folder}/e.sock", "command": command}
        with host(folder, "--json", enclave=enclave) as process:
            ready = json.loads(first_line(process))
            assert ready["event"] == "listening"
            with httpx.Client(base_url=ready["url"]) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200)
            process.send_signal(number)
            process.send_signal(number)  # once more: nothing happens
            assert process.wait(20) == 0
        left = {path.name for path in folder.iterdir()}
        assert left == {
            "config.json",
            "credentials.json",
            "manifest.cbor",
            "journal",
            "log",
            "store.sqlite3",
            "store.sqlite3.audit-log",
            "e.sock",
        }
        assert "stopped by SIGTERM" in (folder / "journal").read_text()
        for line in (folder / "log").read_text().splitlines():
            assert json.loads(line)["event"]


def test_the_plain_ready_line_is_for_people() -> None:
    with short_folder() as folder, host(folder) as process:
        assert first_line(process).startswith("The host answers at http://127.0.0.1:")
        process.terminate()
        assert process.wait(20) == 0


def test_a_bad_configuration_ends_it_with_2_and_names_the_field() -> None:
    with short_folder() as folder, host(folder, "--json", listen="nowhere") as process:
        failure = json.loads(first_line(process))
        assert process.wait(20) == 2
        assert failure["event"] == "failed"
        assert failure["code"] == "config_invalid"
        assert "listen" in failure["message"]
        assert "listen" in (folder / "log").read_text()


def test_a_port_in_use_ends_it_with_1_and_names_the_field() -> None:
    with short_folder() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
        with host(folder, "--json", listen=listen) as process:
            failure = json.loads(first_line(process))
            assert process.wait(20) == 1
            assert failure["code"] == "listen_failed"
            assert "'listen'" in failure["message"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"storage": {"sqlite": "/nonexistent/store"}}, "storage_unusable"),
        ({"ports": {"storage": "unix:/nonexistent/s", "tunnel": "unix:/nonexistent/t"}}, "listen_failed"),
    ],
)
def test_what_keeps_it_from_starting_is_a_stable_error(changes: dict[str, Any], code: str) -> None:
    with short_folder() as folder, host(folder, "--json", **changes) as process:
        assert json.loads(first_line(process))["code"] == code
        assert process.wait(20) == 1


def test_bad_usage_ends_it_with_2() -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "host"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        check=False,
    )
    assert outcome.returncode == 2
    assert b"--config" in outcome.stderr
