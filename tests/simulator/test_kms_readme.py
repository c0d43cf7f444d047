"""simulator/kms/README.md: its commands work, its tables are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.kms import Fault
from simulator.kms.conditions import _NEGATIONS, _TESTS
from simulator.kms.service import KmsService

HOUSE = Path(__file__).parents[2]
README = (HOUSE / "simulator" / "kms" / "README.md").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_its_commands_work_in_order(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "sh", "python", "sh", "sh", "python", "sh"]
    # One shell for everything; the Python blocks so far are one program, since the later go on from the earlier.
    script = ["set -euo pipefail", "trap 'kill $(jobs -p)' EXIT"]
    program = ""
    for kind, block in blocks:
        if kind == "sh":
            script.append(block)
        else:
            file = tmp_path / f"block{len(script)}.py"
            file.write_text(program + block)
            setup, _, _ = block.partition("\nkey = ")
            program = program or setup + "\n"
            script.append(f"python {file}")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(HOUSE),
        "PORT": str(free_port()),
        "TMPDIR": str(tmp_path),
        "NO_PROXY": "*",
    }
    with subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        cwd=HOUSE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            output, _ = shell.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    assert shell.returncode == 0, output


def test_the_tools_of_the_page_are_installed() -> None:
    assert [tool for tool in ("bash", "curl", "openssl") if shutil.which(tool) is None] == []


def test_every_fault_has_its_row() -> None:
    table = README.partition("| Fault |")[2].partition("\n\n")[0]
    named = {word.partition("@")[0] for word in re.findall(r"`([a-z@A-Z-]+)`", table)}
    assert {fault.value for fault in Fault} <= named


def test_every_option_every_operation_and_every_operator_is_named() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "simulator.kms", "--help"],
        cwd=HOUSE,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    options = set(re.findall(r"--[a-z0-9-]+", help_text)) - {"--help"}
    assert {option for option in options if option not in README} == set()
    assert {name for name in _TESTS if name not in README and not name.startswith("Arn")} == set()
    assert "their negations" in README
    assert {name.replace("Not", "") for name in _NEGATIONS} <= set(_TESTS)
    operations = set(
        re.findall(r'"([A-Z][A-Za-z]+)": self\._', Path(KmsService.run.__code__.co_filename).read_text())
    )
    assert len(operations) >= 12
    assert {name for name in operations if name not in README} == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pcr", "0=00"],
        ["--pcr", "16=" + "00" * 48],
        ["--pcr", "x=" + "00" * 48],
        ["--pcr", "0"],
        ["--public-key", "/nowhere"],
        ["--user-data", "00" * 2000],
    ],
)
def test_documents_that_no_enclave_could_have(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "simulator.kms.document", "--state", str(tmp_path), *arguments]
    done = subprocess.run(command, cwd=HOUSE, check=False, capture_output=True, text=True)
    assert done.returncode in (1, 2)
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr


def test_credentials_and_principals_of_the_command_line(tmp_path: Path) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    secrets = tmp_path / "credentials.json"
    secrets.write_text(json.dumps({"ASIAROLE": {"secret_access_key": "right", "session_token": "token"}}))
    session = "arn:aws:sts::111122223333:assumed-role/enclave/i-1"
    command = [
        *(sys.executable, "-m", "simulator.kms", "--json", "--state", str(tmp_path)),
        *("--credentials", str(secrets), "--principal", f"ASIAROLE={session}"),
        *("--fault", "throttle:GenerateRandom", "--log", str(tmp_path / "log"), "--name", "kms.internal"),
        *("--aws-root", "--simulated-root"),
    ]
    with subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            assert len(ready["roots"]) == 2

            def client(secret: str) -> object:
                return boto3.client(
                    "kms",
                    region_name=ready["region"],
                    endpoint_url=ready["url"],
                    verify=ready["ca_file"],
                    aws_access_key_id="ASIAROLE",
                    aws_secret_access_key=secret,
                    aws_session_token="token",
                    config=Config(retries={"total_max_attempts": 1}, proxies={}),
                )

            codes = []
            for secret in ("right", "wrong", "right"):
                try:
                    client(secret).generate_random(NumberOfBytes=8)  # type: ignore[attr-defined]
                    codes.append("")
                except ClientError as error:
                    codes.append(error.response["Error"]["Code"])
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert codes == ["ThrottlingException", "InvalidSignatureException", ""]
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {event["userIdentity"]["arn"] for event in events} == {session}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fault", "nap"],
        ["--principal", "X"],
        ["--principal", "X=arn:aws:iam::111122223333:role/enclave"],
        ["--root-sha256", "abc"],
        ["--credentials", "/nowhere"],
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "simulator.kms", "--state", str(tmp_path), *arguments]
    done = subprocess.run(command, cwd=HOUSE, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
