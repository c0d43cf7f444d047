"""Delegated access by command: an operator, a user, and a developer who runs the two examples. Everything over real sockets and processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from simulator import stack
from simulator.sandbox import ADMINISTRATOR, ADMINISTRATOR_KEY
from tests.e2e.test_stack import kill_enclave
from tests.e2e.test_walkthroughs import Device

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stack")
    with (
        (directory / "log").open("ab") as log,
        stack.running(directory / "state", log=log.fileno()) as started,
    ):
        yield started


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def receiver(state: Path, port: int, *, secret: str, key: Path) -> Iterator[None]:
    """``examples/webhook_receiver.py``, as its own text says."""
    environment = os.environ | {
        "DYNAMIC_WEBHOOK_SECRET": secret,
        "DYNAMIC_DELEGATION_PRIVATE_KEY": key.read_text(),
        "PYTHONPATH": str(ROOT),
    }
    command = [
        sys.executable,
        str(ROOT / "examples/webhook_receiver.py"),
        "--state",
        str(state),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        until(lambda: connects(port))
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def bot(running: stack.Stack, state: Path) -> list[dict[str, Any]]:
    """One round of ``examples/delegated_bot.py``."""
    command = [sys.executable, str(ROOT / "examples/delegated_bot.py"), "--once"]
    command += ["--state", str(state), "--config", str(running.client_config)]
    ran = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True, timeout=120
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def until(look: Any) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)
    return found


def test_a_user_lets_an_app_sign_and_ends_it(running, tmp_path):
    admin = ["--administrator", ADMINISTRATOR, "--key", str(running.state / ADMINISTRATOR_KEY)]
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "delegating")
    wallet = laptop("wallet", "create", "--chain", "ethereum")

    # 1. The developer makes a key; an operator approves the settings that name it.
    key = laptop.home / "developer.pem"
    made = laptop("delegate", "keygen", "--out", str(key))
    assert (key.stat().st_mode & 0o777) == 0o600
    port = free_port()
    settings = {
        "enabled": True,
        "app": "Savings bot",
        "promptUsersOnSignIn": True,
        "endpoint": f"http://127.0.0.1:{port}/webhooks",
        "keys": [{"kid": made["kid"], "publicKey": made["publicKey"], "state": "active"}],
    }
    wanted, approval = laptop.file("settings.json", json.dumps(settings)), str(laptop.home / "approval")
    assert laptop.refused("delegate", "configure", wanted) == "approval_required"
    laptop("approve", "delegation-settings", wanted, *admin, "--out", approval)
    secret = laptop.home / "secret"
    configured = laptop("delegate", "configure", wanted, "--approval", approval, "--secret-out", str(secret))
    assert configured["version"] == 1
    assert laptop("delegate", "settings")["app"] == "Savings bot"

    state = tmp_path / "developer"
    with receiver(state, port, secret=secret.read_text().strip(), key=key):
        # 2. The user approves, and the developer hears of it.
        approved = laptop(
            "delegate", "approve", wallet["wallet_id"], "--max-per-call", "0.01", "--total", "0.05"
        )
        assert (approved["app"], approved["state"]) == ("Savings bot", "active")
        (signed,) = until(lambda: bot(running, state))
        assert Account.recover_transaction(signed["transaction"]) == wallet["address"]

        # 3. The user's own device goes on signing, and the enclave remembers across a crash.
        kill_enclave(running)
        (signed,) = bot(running, state)
        assert Account.recover_transaction(signed["transaction"]) == wallet["address"]

        # 4. Whoever may not read the wallet's delegations does not; the user ends it.
        (listed,) = laptop("delegate", "list", wallet["wallet_id"])["delegations"]
        stranger = Device(running, tmp_path / "stranger")
        stranger("login", "--as", "stranger")
        assert stranger.refused("delegate", "list", wallet["wallet_id"]) == "wallet_unknown"
        assert stranger.refused("delegate", "revoke", wallet["wallet_id"], listed["shareSetId"]) in {
            "not_owner",
            "wallet_unknown",
        }
        laptop("delegate", "revoke", wallet["wallet_id"], listed["shareSetId"])
        (listed,) = laptop("delegate", "list", wallet["wallet_id"])["delegations"]
        assert (listed["state"], listed["revokedBy"]) == ("revoked", "user")

        # 5. The developer hears of that, too, and has nothing left to sign with.
        until(lambda: not bot(running, state))

        # 6. Who logs in is asked, as the settings want, until they say no.
        again = laptop.run("login", "--as", "delegating")
        assert "Savings bot asks to sign" in again.err
        assert wallet["wallet_id"] in again.err
        laptop("delegate", "deny")
        assert "Savings bot" not in laptop.run("login", "--as", "delegating").err


def test_an_administrator_ends_what_a_user_began(running, tmp_path):
    admin = ["--administrator", ADMINISTRATOR, "--key", str(running.state / ADMINISTRATOR_KEY)]
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "another")
    wallet = laptop("wallet", "create", "--chain", "solana")["wallet_id"]
    ran = laptop.run("delegate", "approve", wallet)
    assert ran.error["code"] == "usage"
    approved = laptop("delegate", "approve", wallet, "--max-per-call", "0.1", "--total", "1", "--days", "2")
    operator = Device(running, tmp_path / "operator")
    operator("login", "--as", "operator")
    which, approval = [wallet, approved["shareSetId"]], str(operator.home / "approval")
    assert operator.refused("delegate", "revoke", *which, "--administrator") == "approval_required"
    operator("approve", "delegation-revocation", *which, *admin, "--out", approval)
    operator("delegate", "revoke", *which, "--administrator", "--approval", approval)
    (listed,) = laptop("delegate", "list", wallet)["delegations"]
    assert listed["revokedBy"] == "administrator"
    spoken = laptop._shell.unlocked("delegate", "list", wallet)
    assert "Savings bot" in spoken.out
    assert "by the administrator" in spoken.out


def test_a_user_who_said_no_is_remembered(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "private person")
    laptop("delegate", "deny")
    assert laptop("delegate", "settings")["denied"] is True
    laptop("delegate", "deny", "--undo")
    assert laptop("delegate", "settings")["denied"] is False
