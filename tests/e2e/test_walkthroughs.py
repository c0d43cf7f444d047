"""The walk-throughs of ``docs/walkthroughs``, command by command, over real sockets: a lock-out, a lost phone, a stolen session, a stolen database."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from cosigner.cli import credentials
from cosigner.store import ShareStore
from simulator import stack
from tests.cosigner.test_cli import PASSPHRASE, Ran, Shell, cheap_store, run_here
from tests.e2e.test_stack import kill_enclave
from tests.support.world import solana_message

SOL = 10**9


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stack")
    with (
        (directory / "log").open("ab") as log,
        stack.running(directory / "state", log=log.fileno()) as started,
    ):
        yield started


class Device:
    """A device with a store of its own; ``--json`` everywhere."""

    def __init__(self, running: stack.Stack, home: Path) -> None:
        home.mkdir()
        self.home = home
        (home / "passphrase").write_text(PASSPHRASE)
        cheap_store(home / "shares")
        self._shell = Shell(running.client_config, home / "shares", home / "passphrase")

    def run(self, *arguments: str, **more: Any) -> Ran:
        return self._shell.unlocked(*arguments, "--json", **more)

    def __call__(self, *arguments: str, **more: Any) -> Any:
        ran = self.run(*arguments, **more)
        assert ran.code == 0, ran
        return ran.json

    def refused(self, *arguments: str, **more: Any) -> str:
        return self.run(*arguments, **more).error["code"]

    def file(self, name: str, content: str | bytes) -> str:
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def key(self, name: str) -> list[str]:
        """The options with which a registered key vouches."""
        return ["--key", str(self.home / name), "--key-passphrase-file", str(self.home / "passphrase")]

    def new_key(self, name: str) -> list[str]:
        """The options with which a new key is made and registered."""
        return [
            "--new-key",
            str(self.home / name),
            "--new-key-passphrase-file",
            str(self.home / "passphrase"),
        ]

    def totp(self) -> bytes:
        """Put TOTP in force; the app's code is what the command shows the secret for."""
        secret = bytearray()
        with pytest.MonkeyPatch.context() as patch:

            def answer(path: Path) -> bytes:
                assert str(path) == "-"
                return code(bytes(secret), -1).encode()

            def text(raw: bytes) -> str:
                secret[:] = raw
                return base64.b32encode(raw).decode()

            patch.setattr(credentials, "read_file", answer)
            patch.setattr(credentials.totp, "secret_text", text)
            self.codes = self("totp", "enable", "--confirm-file", "-")["recovery_codes"]
        return bytes(secret)


def code(secret: bytes, steps: int = 0) -> str:
    return TOTP(secret, 6, SHA1(), 30).generate(int(time.time()) + 30 * steps).decode()  # noqa: S303


def payment(device: Device, address: str, lamports: int = 1) -> str:
    return device.file("payment", base64.b64encode(solana_message(address, lamports)))


# --- lock-out ----------------------------------------------------------------------------------------------------------------------


def test_lock_out(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "locked out")
    wallet = laptop("wallet", "create", "--chain", "solana")
    secret = laptop.totp()
    wrong = laptop.file("wrong", "000000" if code(secret) != "000000" else "000001")

    # 1. Somebody guesses. Every attempt is counted before it is looked at.
    answers = [laptop.refused("totp", "codes", "--code-file", wrong) for _ in range(6)]
    guesses = answers.index("factor_locked")
    assert 1 <= guesses <= 5
    assert answers == ["evidence_invalid"] * guesses + ["factor_locked"] * (6 - guesses)

    # 2. The right code does not help either, nor does another enclave: the count is in the sealed record.
    right = laptop.file("right", laptop.codes[0])
    assert laptop.refused("totp", "codes", "--code-file", right) == "factor_locked"
    kill_enclave(running)
    assert laptop.refused("totp", "codes", "--code-file", right) == "factor_locked"

    # 3. What needs no code still works, and the account says how long it lasts.
    assert laptop("whoami")["locked_until"] is not None
    assert laptop("sign", "solana", "--wallet", wallet["wallet_id"], payment(laptop, wallet["address"]))

    # 4. The log has every attempt.
    codes = [
        entry for entry in run_audit(running, "show").json["entries"] if "factor_locked" in json.dumps(entry)
    ]
    assert len(codes) >= 1


# --- lost phone ----------------------------------------------------------------------------------------------------------------------


def test_lost_phone(running, tmp_path):
    phone, laptop = Device(running, tmp_path / "phone"), Device(running, tmp_path / "laptop")
    user = phone("login", "--as", "lost a phone")["user_id"]
    phone("credential", "add", "--name", "phone", *phone.new_key("key"))
    laptop("login", "--as", "lost a phone")
    made = phone("credential", "code", *phone.key("key"))["code"]
    laptop(
        "credential",
        "add",
        "--name",
        "laptop",
        *laptop.new_key("key"),
        "--device-code",
        "--device-code-file",
        laptop.file("code", made),
    )
    wallet = laptop("wallet", "create", "--chain", "solana")

    # 1. End the phone's sessions.
    assert len(laptop("session", "list")["session_keys"]) == 2
    laptop("session", "revoke")
    assert phone.refused("whoami") == "login_required"

    # 2. The phone's key vouches no more.
    laptop("credential", "deactivate", "phone", *laptop.key("key"))
    laptop("credential", "remove", "phone", *laptop.key("key"))
    assert [one["name"] for one in laptop("whoami")["credentials"]] == ["laptop"]

    # 3. Wallets whose share is on the laptop go on.
    assert laptop("sign", "solana", "--wallet", wallet["wallet_id"], payment(laptop, wallet["address"]))

    # 4. A new phone.
    fresh = Device(running, tmp_path / "new phone")
    assert fresh("login", "--as", "lost a phone")["user_id"] == user
    made = laptop("credential", "code", *laptop.key("key"))["code"]
    fresh(
        "credential",
        "add",
        "--name",
        "new phone",
        *fresh.new_key("key"),
        "--device-code",
        "--device-code-file",
        fresh.file("code", made),
    )
    assert {one["name"] for one in fresh("whoami")["credentials"]} == {"laptop", "new phone"}


def test_lost_phone_with_the_only_credential(running, tmp_path):
    phone = Device(running, tmp_path / "phone")
    user = phone("login", "--as", "lost everything")["user_id"]
    phone("credential", "add", "--name", "phone", *phone.new_key("key"))
    offline = tmp_path / "recovery.pem"
    phone(
        "recovery",
        "key",
        "--out",
        str(offline),
        *phone.key("key"),
        "--recovery-passphrase-file",
        str(phone.home / "passphrase"),
    )
    assert offline.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in offline.read_bytes()

    fresh = Device(running, tmp_path / "new phone")
    done = fresh(
        "recovery",
        "start",
        "--user",
        user,
        "--recovery-key",
        str(offline),
        *fresh.new_key("key"),
        "--recovery-passphrase-file",
        str(fresh.home / "passphrase"),
    )
    assert done == {"user_id": user, "complete": True}
    assert [one["name"] for one in fresh("whoami")["credentials"]] == ["recovered"]
    assert phone.refused("whoami") == "login_required"


# --- stolen session ------------------------------------------------------------------------------------------------------------------


def test_stolen_session(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    laptop("login", "--as", "robbed")
    laptop("credential", "add", "--name", "laptop", *laptop.new_key("key"))
    wallet = laptop("wallet", "create", "--chain", "solana")

    # The thief has the store and its passphrase: shares and session key; but not the registered key.
    thief = Device(running, tmp_path / "thief")
    shutil.rmtree(thief.home / "shares")
    shutil.copytree(laptop.home / "shares", thief.home / "shares")

    # 1. Within the limits of the policy the thief can sign: that is what limits are for.
    pay = ["sign", "solana", "--wallet", wallet["wallet_id"]]
    assert thief(*pay, payment(thief, wallet["address"], SOL))
    assert thief.refused(*pay, payment(thief, wallet["address"], 11 * SOL)) == "policy_denied"

    # 2. The thief cannot make the account theirs.
    assert thief.refused("credential", "add", "--name", "mine", *thief.new_key("key")) == "factor_required"
    assert thief.refused("credential", "code") == "factor_required"
    assert (
        thief.refused(
            "recovery",
            "key",
            "--out",
            str(thief.home / "r.pem"),
            "--recovery-passphrase-file",
            str(thief.home / "passphrase"),
        )
        == "factor_required"
    )
    loose = {"version": 1, "layer": "wallet", "rules": []}
    layer = ["policy", "set", "--layer", "wallet", "--subject", wallet["wallet_id"]]
    assert thief.refused(*layer, thief.file("layer", json.dumps(loose))) == "factor_required"

    # 3. The owner logs in again, and shuts everybody else out.
    laptop("login", "--as", "robbed")
    laptop("session", "revoke")
    assert thief.refused("whoami") == "login_required"
    assert thief.refused(*pay, payment(thief, wallet["address"])) == "login_required"
    assert laptop(*pay, payment(laptop, wallet["address"]))

    # 4. What happened stands in the log, which the owner can check against the receipts.
    receipts = laptop._shell("audit", "receipts", "--json").json["receipts"]
    words = [word for path in receipts for word in ("--receipt", path)]
    verified = run_audit(running, "verify", *words)
    assert verified.code == 0, verified
    shown = run_audit(running, "show").json["entries"]
    assert sum("policy_denied" in json.dumps(entry) for entry in shown) >= 1


def run_audit(running: stack.Stack, *arguments: str) -> Ran:
    config = ["--config", str(running.client_config)] if arguments[0] == "verify" else []
    return run_here(["audit", "log", *arguments, *config, "--json", str(running.audit_log)])


# --- stolen database -----------------------------------------------------------------------------------------------------------------


def test_stolen_database(running, tmp_path):
    laptop = Device(running, tmp_path / "laptop")
    user = laptop("login", "--as", "nobody's business")["user_id"]
    wallet = laptop("wallet", "create", "--chain", "solana")
    secret = laptop.totp()

    # 1. Everything that the host keeps: sealed records, and the log of decisions.
    database = running.state / "store.sqlite3"
    copy = tmp_path / "stolen.sqlite3"
    with sqlite3.connect(database) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    stolen = copy.read_bytes() + b"".join(
        path.read_bytes() for path in running.audit_log.rglob("*") if path.is_file()
    )
    assert wallet["wallet_id"].encode() in stolen  # ids are in plain, so that the host can find records

    # 2. No secret of the user's is in it.
    store = ShareStore.unlock(laptop.home / "shares", PASSPHRASE.encode())
    registered = store.session_key(stack.ENVIRONMENT, user)
    for hidden in (
        secret,
        registered.key.scalar(),
        b"nobody's business",
        *(one.encode() for one in laptop.codes),
        *(one.replace("-", "").encode() for one in laptop.codes),
    ):
        assert hidden not in stolen

    # 3. The log is as checkable for the thief as for anybody, and as little to be changed.
    assert run_audit(running, "verify").code == 0
