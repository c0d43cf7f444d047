"""A wallet's whole life, command by command, over real sockets; ``docs/walkthroughs/lost-device.md`` among it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from solders.keypair import Keypair
from solders.transaction import Transaction

from cosigner.backups import files
from protocol.wallets import PasscodeSetup
from simulator import stack
from tests.cosigner.payloads import psbt
from tests.e2e.test_stack import kill_enclave
from tests.e2e.test_walkthroughs import Device, payment

PASSCODE = "correct horse"
PASSPHRASE = "battery staple"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stack")
    with (
        (directory / "log").open("ab") as log,
        stack.running(directory / "state", log=log.fileno()) as started,
    ):
        yield started


@pytest.fixture(autouse=True)
def cheap_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id at the least that the formats allow."""
    setup = PasscodeSetup(salt=b"0123456789abcdef", memory_kib=19 << 10, iterations=1, parallelism=1)
    monkeypatch.setattr(files, "new_setup", lambda: setup)


class Alice:
    """One user, on one device after the other; the credential is on all of them."""

    def __init__(self, running: stack.Stack, folder: Path, name: str) -> None:
        self._running, self._folder, self._name = running, folder, name
        self.key = folder / "credential.pem"
        self.phone = self.device("phone")
        made = self.phone.file("new-passphrase", "a passphrase")
        self.phone(
            "credential",
            "add",
            "--name",
            "key",
            "--new-key",
            str(self.key),
            "--new-key-passphrase-file",
            made,
        )
        self._passphrase = made

    def device(self, name: str) -> Device:
        device = Device(self._running, self._folder / name)
        device("login", "--as", self._name)
        return device

    @property
    def vouching(self) -> list[str]:
        return ["--key", str(self.key), "--key-passphrase-file", self._passphrase]


@pytest.fixture
def alice(running, tmp_path, request) -> Alice:
    return Alice(running, tmp_path, request.node.name)


def signs(device: Device, wallet: dict[str, Any], *more: str) -> None:
    """The wallet signs, and the library of its chain agrees."""
    address, chosen = wallet["address"], ["--wallet", wallet["wallet_id"], *more]
    if wallet["chain"] == "solana":
        signed = device("sign", "solana", *chosen, payment(device, address))
        Transaction.from_bytes(base64.b64decode(signed["transaction"])).verify()
    elif wallet["chain"] == "bitcoin":
        assert device("sign", "bitcoin", *chosen, device.file("psbt", psbt(address)))["transaction"]
    else:
        signed = device("sign", "evm", "message", *chosen, device.file("message", "hello"))
        assert Account.recover_message(encode_defunct(text="hello"), signature=signed["signature"]) == address


# --- docs/walkthroughs/lost-device.md --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_lost_device_with_a_backup(running, alice, chain):
    phone = alice.phone
    wallet = phone("wallet", "create", "--chain", chain)
    wallet_id = wallet["wallet_id"]

    # Beforehand: a backup with a passcode.
    passcode = phone.file("passcode", PASSCODE)
    made = phone("wallet", "backup", wallet_id, "--passcode-file", passcode)
    assert made["locations"] == ["service"]
    shown = phone("wallet", "show", wallet_id)
    assert (shown["backed_up"], shown["state"], shown["epoch"]) == (True, "active", 1)

    # 1. A new device: log in, and look.
    laptop = alice.device("laptop")
    (listed,) = laptop("wallet", "list", "--all")["wallets"]
    assert (listed["wallet_id"], listed["status"], listed["backed_up"]) == (wallet_id, "elsewhere", True)

    # 2. Recover. The passcode, and a credential.
    passcode = laptop.file("passcode", PASSCODE)
    wrong = laptop.file("wrong", "wrong horse")
    assert (
        laptop.refused("wallet", "recover", wallet_id, "--passcode-file", wrong, *alice.vouching)
        == "passcode_wrong"
    )
    back = laptop("wallet", "recover", wallet_id, "--passcode-file", passcode, *alice.vouching)
    assert (back["address"], back["epoch"]) == (wallet["address"], 2)
    signs(laptop, wallet)

    # 3. The phone's share is worthless, in whoever's hands, and whoever is asked: also an enclave that remembers nothing.
    kill_enclave(running)
    if chain == "solana":
        refused = phone.refused("sign", "solana", "--wallet", wallet_id, payment(phone, wallet["address"]))
    else:
        refused = phone.refused("wallet", "refresh", wallet_id)
    assert refused == "share_outdated"
    assert phone("wallet", "list", "--all")["wallets"][0]["status"] == "outdated"

    # 4. The new share is backed up already.
    (good,) = [one for one in laptop("wallet", "backups", wallet_id)["backups"] if one["restores"]]
    assert (good["passcode"], good["epoch"], good["locations"]) == (True, 2, ["service"])


def test_lost_device_with_the_backup_share(running, alice, tmp_path):
    phone = alice.phone
    wallet = phone("wallet", "create", "--chain", "ethereum")
    stick = tmp_path / "stick"
    passphrase = phone.file("share-passphrase", PASSPHRASE)

    # Beforehand: a third share, on a stick.
    three = phone(
        "wallet",
        "reshare",
        wallet["wallet_id"],
        "--parties",
        "3",
        "--apart",
        f"file:{stick}",
        "--apart-passphrase-file",
        passphrase,
        *alice.vouching,
    )
    assert (three["parties"], three["epoch"], three["address"]) == (3, 2, wallet["address"])
    (share,) = stick.iterdir()
    signs(phone, wallet)

    # 1. The stick, its passphrase, and a place for its successor.
    laptop = alice.device("laptop")
    back = laptop(
        "wallet",
        "recover",
        "--share-file",
        str(share),
        "--share-passphrase-file",
        passphrase,
        "--apart",
        f"file:{stick}",
        "--apart-passphrase-file",
        passphrase,
        *alice.vouching,
    )
    assert (back["parties"], back["epoch"], back["address"]) == (3, 3, wallet["address"])
    signs(laptop, wallet)
    assert len(list(stick.iterdir())) == 2  # the old one is worthless: throw it away
    assert (
        phone.refused(
            "wallet",
            "refresh",
            wallet["wallet_id"],
            "--apart",
            f"file:{stick}",
            "--apart-passphrase-file",
            passphrase,
        )
        == "share_outdated"
    )


@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_without_the_service(running, alice, tmp_path, chain):
    phone = alice.phone
    wallet = phone("wallet", "create", "--chain", chain)
    stick = tmp_path / "stick"
    passphrase = phone.file("share-passphrase", PASSPHRASE)
    phone(
        "wallet",
        "reshare",
        wallet["wallet_id"],
        "--parties",
        "3",
        "--apart",
        f"file:{stick}",
        "--apart-passphrase-file",
        passphrase,
        *alice.vouching,
    )
    (share,) = stick.iterdir()
    nowhere = phone.file("nowhere.json", Path(running.client_config).read_text())
    text = json.loads(Path(nowhere).read_text())
    text["api_url"] = "http://127.0.0.1:9"
    Path(nowhere).write_text(json.dumps(text))
    phone._shell.config = Path(nowhere)

    # 1. Sign with the device's share and the stick's.
    offline = ["--offline", str(share), "--offline-passphrase-file", passphrase]
    signs(phone, wallet, *offline)

    # 2. Or take the key out, after warnings.
    command = [
        "recover-offline",
        "--wallet",
        wallet["wallet_id"],
        "--share-file",
        str(share),
        "--share-passphrase-file",
        passphrase,
        "--out",
        str(phone.home / "key"),
    ]
    assert phone.refused(*command) == "confirmation_missing"
    assert not (phone.home / "key").exists()
    done = phone(*command, "--yes-i-understand")
    text = (phone.home / "key").read_text()
    assert (phone.home / "key").stat().st_mode & 0o777 == 0o600
    assert done["address"] == wallet["address"]
    if chain == "ethereum":
        assert Account.from_key(text).address == wallet["address"]
    assert phone.refused(*command, "--yes-i-understand") == "output_exists"


# --- the rest of the commands ------------------------------------------------------------------------------------------------------


def test_refresh_with_a_backup_in_a_folder(running, alice, tmp_path):
    phone = alice.phone
    wallet = phone("wallet", "create", "--chain", "solana")
    place = f"file:{tmp_path / 'backups'}"
    passcode = phone.file("passcode", PASSCODE)
    phone(
        "wallet",
        "backup",
        wallet["wallet_id"],
        "--location",
        place,
        "--location",
        "service",
        "--passcode-file",
        passcode,
    )
    assert phone.refused("wallet", "refresh", wallet["wallet_id"]) == "backup_plan_missing"
    renewed = phone(
        "wallet",
        "refresh",
        wallet["wallet_id"],
        "--location",
        place,
        "--location",
        "service",
        "--passcode-file",
        passcode,
        *alice.vouching,
    )
    assert renewed["epoch"] == 2
    assert len(list((tmp_path / "backups").iterdir())) == 1  # the one of before was deleted
    laptop = alice.device("laptop")
    passcode = laptop.file("passcode", PASSCODE)
    laptop(
        "wallet",
        "recover",
        wallet["wallet_id"],
        "--location",
        place,
        "--passcode-file",
        passcode,
        *alice.vouching,
    )
    signs(laptop, wallet)
    known = laptop("wallet", "backups", wallet["wallet_id"])["backups"]
    removed = next(one["backup_id"] for one in known if one["restores"])
    left = laptop(
        "wallet", "backups", wallet["wallet_id"], "--remove", removed, "--location", place, *alice.vouching
    )
    assert removed not in {one["backup_id"] for one in left["backups"]}
    assert not left["backed_up"]


def test_import_export_delete(running, alice):
    phone = alice.phone
    key = Account.create()
    file = Path(phone.file("key.hex", key.key.hex()))
    wallet = phone(
        "wallet",
        "import",
        "--chain",
        "ethereum",
        "--file",
        str(file),
        "--legacy-id",
        "tee-42",
        "--wipe",
        *alice.vouching,
    )
    assert (wallet["address"], wallet["epoch"], wallet["wiped"]) == (key.address, 2, True)
    assert not file.exists()
    signs(phone, wallet)
    shown = phone("wallet", "show", wallet["wallet_id"])
    assert (shown["imported"], shown["legacy_wallet_id"]) == (True, "tee-42")

    out = phone.home / "out"
    command = ["wallet", "export", wallet["wallet_id"], "--out", str(out)]
    assert phone.refused(*command, *alice.vouching) == "confirmation_missing"
    assert phone.refused(*command, "--yes-i-understand") == "factor_required"
    phone(*command, "--yes-i-understand", *alice.vouching)
    assert Account.from_key(out.read_text()).address == key.address

    share = phone.home / "share"
    passphrase = phone.file("share-passphrase", PASSPHRASE)
    phone(
        "wallet",
        "export",
        wallet["wallet_id"],
        "--share",
        "--out",
        str(share),
        "--share-passphrase-file",
        passphrase,
        *alice.vouching,
    )
    ran = phone(
        "recover-offline",
        "--wallet",
        wallet["wallet_id"],
        "--share-file",
        str(share),
        "--share-passphrase-file",
        passphrase,
        "--out",
        "-",
        "--yes-i-understand",
    )
    assert Account.from_key(ran["key"]).address == key.address

    delete = ["wallet", "delete", wallet["wallet_id"], *alice.vouching]
    assert phone.refused(*delete) == "confirmation_missing"
    assert phone(*delete, "--yes-i-understand")["state"] == "retired"
    assert phone("wallet", "list")["wallets"] == []
    (gone,) = [
        one for one in phone("wallet", "list", "--all")["wallets"] if one["wallet_id"] == wallet["wallet_id"]
    ]
    assert gone["status"] == "retired"


def test_import_of_every_form(running, alice):
    phone = alice.phone
    pair = Keypair()
    file = phone.file("solana.json", pair.to_json())
    wallet = phone(
        "wallet", "import", "--chain", "solana", "--from", "solana-keypair", "--file", file, *alice.vouching
    )
    assert wallet["address"] == str(pair.pubkey())
    signs(phone, wallet)

    phrase = phone.file("phrase", " ".join(["abandon"] * 11 + ["about"]))
    wallet = phone(
        "wallet", "import", "--chain", "ethereum", "--from", "phrase", "--file", phrase, *alice.vouching
    )
    assert wallet["address"] == "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"  # the well-known first account
    wallet = phone(
        "wallet", "import", "--chain", "bitcoin", "--from", "phrase", "--file", phrase, *alice.vouching
    )
    assert (
        wallet["address"] == "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    )  # BIP-86's first test vector
    signs(phone, wallet)
    wif = phone.file("wif", "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn")  # the key 1
    wallet = phone("wallet", "import", "--chain", "bitcoin", "--from", "wif", "--file", wif, *alice.vouching)
    signs(phone, wallet)
    assert (
        phone.refused(
            "wallet", "import", "--chain", "bitcoin", "--network", "testnet", "--from", "wif", "--file", wif
        )
        == "usage"
    )
