"""The ``cosigner`` command against a running stack, as a user or a script runs it."""

import base64
import contextlib
import io
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from coincurve import PublicKeyXOnly
from embit.psbt import PSBT
from embit.script import address_to_scriptpubkey
from embit.transaction import Transaction as BitcoinTransaction
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_defunct, encode_typed_data
from solders.transaction import Transaction
from web3 import Web3

from cosigner import Wallet
from cosigner.cli.main import _parser, main
from cosigner.evm import unsigned_transaction
from cosigner.store import KdfParameters, ShareStore, StoreFile
from protocol.envelope import cbor
from simulator import stack
from tests.cosigner.ceremonies import ceremony
from tests.cosigner.payloads import psbt, solana_message
from tests.threshold.test_evm_typed_data import MAIL

HOUSE = Path(__file__).parents[2]
COSIGNER = str(Path(sys.executable).with_name("cosigner"))
PASSPHRASE = "correct horse battery staple"
UNKNOWN = "0f8fad5b-d9cb-469f-a165-70867728950e"
MESSAGE = b"attack at dawn\n"
TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TRANSACTION = {
    "chainId": 1,
    "nonce": 7,
    "gas": 21_000,
    "maxFeePerGas": "0x4a817c800",
    "maxPriorityFeePerGas": 10**9,
    "to": TO,
    "value": 10**16,
}


@dataclass
class Ran:
    """:ivar err: without the lines that tell of a step that takes long: how long one takes is the machine's affair."""

    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        self.err = "".join(line for line in self.err.splitlines(keepends=True) if not line.endswith(" …\n"))

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The error of a ``--json`` command; nothing else may be on standard output."""
        assert self.code == 1
        body = self.json
        assert set(body) == {"error"}
        error: dict[str, str] = body["error"]
        assert {"code", "message", "culprit", "reaction"} <= set(error)
        return error


@dataclass
class Shell:
    """Runs commands with one configuration and one store, in this process: an interpreter of its own for each takes too long."""

    config: Path
    store: Path
    passphrase_file: Path

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Ran:
        return run_here([*arguments, "--config", str(self.config), "--store", str(self.store)], stdin=stdin)

    def unlocked(self, *arguments: str, **more: Any) -> Ran:
        return self(*arguments, "--passphrase-file", str(self.passphrase_file), **more)


def run_here(arguments: list[str], *, stdin: bytes = b"") -> Ran:
    """What the installed command does once its interpreter has started."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(arguments)
    return checked(Ran(code, out.getvalue(), err.getvalue()))


def execute(command: list[str], *, cwd: Path | None = None, stdin: bytes = b"", **environment: str) -> Ran:
    """A process of its own, as from a shell."""
    assert PASSPHRASE not in " ".join(command)
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "COSIGNER_CONFIG"} | environment,
    )
    return checked(Ran(done.returncode, done.stdout.decode(), done.stderr.decode()))


def checked(ran: Ran) -> Ran:
    assert PASSPHRASE not in ran.out + ran.err
    assert "Traceback" not in ran.err, ran.err
    return ran


def cheap_store(directory: Path) -> None:
    """A store with the least Argon2id parameters that the format allows."""
    kdf = KdfParameters(salt=os.urandom(16), memory_kib=19 << 10, iterations=1, parallelism=1)
    check = kdf.derive(PASSPHRASE.encode()).seal_bytes(b"check", cbor.encode(kdf))
    directory.mkdir(mode=0o700)
    (directory / "store.cbor").write_bytes(cbor.encode(StoreFile(version=1, kdf=kdf, check=check)))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    directory = tmp_path_factory.mktemp("stack")
    with (
        (directory / "log").open("ab") as log,
        stack.running(directory / "state", log=log.fileno()) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def shell(running: stack.Stack, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    directory = tmp_path_factory.mktemp("device")
    passphrase = directory / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    cheap_store(directory / "shares")
    shell = Shell(running.client_config, directory / "shares", passphrase)
    assert shell.unlocked("login", "--as", "the tests of the command").code == 0
    return shell


@pytest.fixture(scope="module")
def wallets(shell: Shell) -> dict[str, dict[str, Any]]:
    """One wallet of each chain, made by the command."""
    made = {}
    for chain, *more in (("solana",), ("bitcoin", "--network", "regtest"), ("ethereum",)):
        ran = shell.unlocked("wallet", "create", "--chain", chain, *more, "--json")
        assert ran.code == 0, ran
        made[chain] = ran.json
    return made


# --- the commands, with --json ---------------------------------------------------------------------------------------------------


def test_attest_reports_what_was_verified(shell: Shell) -> None:
    ran = shell("attest", "--json")
    assert (ran.code, ran.err) == (0, "")
    config = json.loads(shell.config.read_text())
    found = ran.json
    assert set(found) == {"verified", "module_id", "pcrs", "root_sha256", "age_s", "key_policy"}
    assert found["verified"] is True
    assert (
        found["key_policy"] == "editable"
    )  # the mock operator may change it, and the configuration accepts that
    assert found["root_sha256"] in config["trust"]["roots"]
    for index, allowed in config["trust"]["pcrs"].items():
        assert found["pcrs"][index] in allowed


def test_attest_tells_people_that_the_key_policy_can_be_edited(shell: Shell) -> None:
    assert "key policy        editable (somebody may let other code at the data keys" in shell("attest").out


def test_a_client_that_does_not_accept_an_editable_key_policy_is_refused(
    shell: Shell, tmp_path: Path
) -> None:
    """The default: what the mock stack's ``client.json`` accepts must be said."""
    config = json.loads(shell.config.read_text())
    assert config["trust"].pop("accept_editable_key_policy") is True
    strict = tmp_path / "client.json"
    strict.write_text(json.dumps(config))
    ran = run_here(["attest", "--json", "--config", str(strict), "--store", str(shell.store)])
    assert ran.code != 0
    assert "attestation_key_policy_editable" in ran.out + ran.err


def test_a_created_wallet_is_described(wallets: dict[str, dict[str, Any]]) -> None:
    for chain, wallet in wallets.items():
        assert set(wallet) == {
            "wallet_id",
            "suite",
            "chain",
            "network",
            "address",
            "public_key",
            "epoch",
            "parties",
        }
        assert (wallet["chain"], wallet["epoch"], wallet["parties"]) == (chain, 1, 2)
    assert wallets["bitcoin"]["address"].startswith("bcrt1p")


def test_wallets_are_listed_and_shown(shell: Shell, wallets: dict[str, dict[str, Any]]) -> None:
    listed = shell("wallet", "list", "--json").json["wallets"]
    expected = [{**wallet, "status": "active"} for wallet in wallets.values()]
    assert sorted(listed, key=lambda w: w["wallet_id"]) == sorted(expected, key=lambda w: w["wallet_id"])
    for wallet in wallets.values():
        shown = shell.unlocked("wallet", "show", wallet["wallet_id"], "--json").json
        assert shown.items() >= {**wallet, "enclave_epoch": 1, "state": "active", "backed_up": False}.items()
        assert shown["refresh_due"] > shown["epoch_since"]


@pytest.mark.parametrize("form", ["base64", "hexadecimal", "binary", "standard input"])
def test_a_solana_message_is_signed_in_every_form(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path, form: str
) -> None:
    wallet = wallets["solana"]
    message = solana_message(wallet["address"])
    content = {"hexadecimal": message.hex().encode() + b"\n", "binary": message}.get(
        form, base64.b64encode(message) + b"\n"
    )
    path = tmp_path / "message"
    path.write_bytes(content)
    where = "-" if form == "standard input" else str(path)
    ran = shell.unlocked("sign", "solana", "--wallet", wallet["wallet_id"], where, "--json", stdin=content)
    assert (ran.code, ran.err) == (0, "")
    assert set(ran.json) == {"signature", "transaction", "summary"}
    transaction = Transaction.from_bytes(base64.b64decode(ran.json["transaction"]))
    transaction.verify()
    assert bytes(transaction.message) == message
    assert bytes(transaction.signatures[0]).hex() == ran.json["signature"]
    assert ran.json["summary"]["fee_payer"] == wallet["address"]


@pytest.mark.parametrize("form", ["base64", "binary"])
def test_a_psbt_is_signed_in_every_form(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path, form: str
) -> None:
    wallet = wallets["bitcoin"]
    payload = psbt(wallet["address"], inputs=2)
    path, out = tmp_path / "payment.psbt", tmp_path / "signed.psbt"
    path.write_bytes(base64.b64encode(payload) + b"\n" if form == "base64" else payload)
    ran = shell.unlocked(
        "sign", "bitcoin", "--wallet", wallet["wallet_id"], str(path), "--out", str(out), "--json"
    )
    assert (ran.code, ran.err) == (0, "")
    assert set(ran.json) == {"psbt", "transaction", "signatures", "summary"}
    assert base64.b64decode(ran.json["psbt"]) == out.read_bytes()
    final = BitcoinTransaction.from_string(ran.json["transaction"])
    unsigned = PSBT.parse(payload).tx
    assert final.txid() == unsigned.txid()
    script = address_to_scriptpubkey(wallet["address"])
    for index, entry in enumerate(final.vin):
        (signature,) = entry.witness.items
        digest = unsigned.sighash_taproot(index, script_pubkeys=[script] * 2, values=[60_000] * 2)
        assert PublicKeyXOnly(script.data[2:]).verify(signature, digest)
        assert ran.json["signatures"][str(index)] == signature.hex()


def evm_input(kind: str, form: str) -> bytes:
    if kind == "message":
        return MESSAGE
    if kind == "typed-data":
        return json.dumps(MAIL).encode()
    unsigned = unsigned_transaction(TRANSACTION).hex()
    return {"hexadecimal": f"{unsigned}\n", "0x": f"  0x{unsigned.upper()}\n"}.get(
        form, json.dumps(TRANSACTION, indent=2)
    ).encode()


@pytest.mark.parametrize("path", [[], ["--path", "0"], ["--path", "m/0/5"]], ids=" ".join)
@pytest.mark.parametrize(
    "payload",
    [("tx", "JSON"), ("tx", "hexadecimal"), ("tx", "0x"), ("message", "file"), ("typed-data", "JSON")],
)
def test_evm_payloads_are_signed_in_every_form(
    shell: Shell,
    wallets: dict[str, dict[str, Any]],
    tmp_path: Path,
    payload: tuple[str, str],
    path: list[str],
) -> None:
    kind, form = payload
    wallet, file = wallets["ethereum"], tmp_path / "payload"
    file.write_bytes(evm_input(kind, form))
    ran = shell.unlocked(
        "sign", "evm", kind, "--wallet", wallet["wallet_id"], *path, str(file), "--json", stdin=b""
    )
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert set(found) == {"signature", "digest", "transaction", "transaction_hash", "summary"}
    sender = wallet["address"]
    if path:
        derived = shell.unlocked("wallet", "address", wallet["wallet_id"], *path, "--json")
        assert derived.code == 0
        assert derived.json["address"] != sender
        sender = derived.json["address"]
    assert found["summary"]["from"] == sender
    if kind == "tx":
        assert Account.recover_transaction(found["transaction"]) == sender
        assert found["transaction_hash"] == Web3.keccak(hexstr=found["transaction"]).to_0x_hex()
        return
    assert (found["transaction"], found["transaction_hash"]) == (None, None)
    signable = encode_defunct(MESSAGE) if kind == "message" else encode_typed_data(full_message=MAIL)
    assert Account.recover_message(signable, signature=found["signature"]) == sender
    assert found["digest"] == "0x" + _hash_eip191_message(signable).hex()


def test_evm_payloads_come_from_standard_input(shell: Shell, wallets: dict[str, dict[str, Any]]) -> None:
    wallet = wallets["ethereum"]
    for kind in ("tx", "message", "typed-data"):
        ran = shell.unlocked(
            "sign", "evm", kind, "--wallet", wallet["wallet_id"], "-", "--json", stdin=evm_input(kind, "JSON")
        )
        assert (ran.code, ran.err) == (0, "")
        assert ran.json["summary"]["from"] == wallet["address"]


def test_bitcoin_is_spent_from_a_path(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    wallet, file = wallets["bitcoin"], tmp_path / "payment"
    address = shell.unlocked("wallet", "address", wallet["wallet_id"], "--path", "m/0/5", "--json").json[
        "address"
    ]
    file.write_bytes(psbt(address))
    ran = shell.unlocked(
        "sign", "bitcoin", "--wallet", wallet["wallet_id"], "--path", "0/5", str(file), "--json"
    )
    assert (ran.code, ran.err) == (0, "")
    script, unsigned = address_to_scriptpubkey(address), PSBT.parse(file.read_bytes()).tx
    digest = unsigned.sighash_taproot(0, script_pubkeys=[script], values=[60_000])
    assert PublicKeyXOnly(script.data[2:]).verify(bytes.fromhex(ran.json["signatures"]["0"]), digest)
    refused = shell.unlocked("sign", "bitcoin", "--wallet", wallet["wallet_id"], str(file), "--json")
    assert refused.error["code"] == "psbt_no_input_of_wallet"


# --- the commands, for a person --------------------------------------------------------------------------------------------------


def test_the_commands_print_lines_for_a_person(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    attested = shell("attest")
    assert attested.code == 0
    assert attested.out.startswith("The enclave is attested: i-")
    assert "PCR16" in attested.out
    listed = shell("wallet", "list")
    for wallet in wallets.values():
        assert wallet["wallet_id"] in listed.out
        assert wallet["address"] in listed.out
    shown = shell.unlocked("wallet", "show", wallets["solana"]["wallet_id"])
    assert shown.code == 0
    assert wallets["solana"]["address"] in shown.out
    assert "epoch 1, agrees" in shown.out
    message = tmp_path / "message"
    message.write_bytes(solana_message(wallets["solana"]["address"]))
    signed = shell.unlocked("sign", "solana", "--wallet", wallets["solana"]["wallet_id"], str(message))
    assert signed.code == 0
    for said in ("1000 lamports", wallets["solana"]["address"], "signature", "transaction"):
        assert said in signed.out
    payment = tmp_path / "payment"
    payment.write_bytes(psbt(wallets["bitcoin"]["address"]))
    signed = shell.unlocked("sign", "bitcoin", "--wallet", wallets["bitcoin"]["wallet_id"], str(payment))
    assert signed.code == 0
    for said in ("50000 sat", "fee", "10000 sat", "psbt", "transaction"):
        assert said in signed.out


def test_evm_commands_print_lines_for_a_person(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    wallet, file = wallets["ethereum"], tmp_path / "payload"
    local = {**TRANSACTION, "chainId": 31337}  # what the mock stack's rules let pass unread
    token = {**local, "value": 0, "data": "0xa9059cbb" + "00" * 12 + "35" * 20 + f"{500:064x}"}
    other = {**local, "to": None, "data": "0x6001600055"}
    for kind, content, said in (
        ("tx", json.dumps(TRANSACTION), [TO, "10000000000000000 wei", "at most", "transaction hash"]),
        ("tx", json.dumps(token), ["erc20.transfer", '"500"', "0x" + "35" * 20]),
        ("tx", json.dumps(other), ["contract creation", "60016000", "5 bytes of data"]),
        ("message", "Grüezi", ["message", "Grüezi"]),
        ("message", "\x1b[2J", ["(not text)"]),
        ("typed-data", json.dumps(MAIL), ["Mail", '"chainId": "1"']),
    ):
        file.write_bytes(content.encode())
        ran = shell.unlocked("sign", "evm", kind, "--wallet", wallet["wallet_id"], str(file))
        assert (ran.code, ran.err) == (0, "")
        for expected in (*said, wallet["address"], "digest", "signature"):
            assert expected.lower() in ran.out.lower()
        assert ("transaction" in ran.out) == (kind == "tx")
    ran = shell.unlocked("wallet", "address", wallet["wallet_id"], "--path", "0/5")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip().startswith("0x")


# --- exit codes ------------------------------------------------------------------------------------------------------------------


def commands() -> list[list[str]]:
    """Every command that the parser knows, down to the leaves."""
    found: list[list[str]] = [[]]

    def walk(parser: Any, path: list[str]) -> None:
        for action in parser._actions:
            for name, child in (
                (getattr(action, "choices", None) or {}).items() if action.dest == "==SUPPRESS==" else []
            ):
                found.append([*path, name])
                walk(child, [*path, name])

    walk(_parser(), [])
    return found


def test_all_commands_are_found_by_these_tests() -> None:
    groups = {
        "": ["attest", "login", "logout", "whoami", "recover-offline", "demo"],
        "session": ["list", "revoke"],
        "credential": ["list", "add", "rename", "activate", "deactivate", "remove", "code"],
        "totp": ["enable", "disable", "codes"],
        "recovery": ["key", "start", "finish", "cancel"],
        "approve": [
            *("signing", "policy"),
            *("delegation-settings", "delegation-revocation", "delegation-ping"),
        ],
        "delegate": [
            *("approve", "list", "revoke", "tighten", "deny"),
            *("settings", "configure", "ping", "keygen"),
        ],
        "wallet": [
            *("create", "import", "list", "show", "address", "refresh", "reshare", "recover"),
            *("backup", "backups", "export", "delete", "hand-over"),
        ],
        "sign": ["solana", "bitcoin", "evm"],
        "sign evm": ["tx", "message", "typed-data"],
        "audit": ["rebuild", "receipts", "log"],
        "audit log": ["verify", "show"],
        "policy": ["check", "show", "get", "set"],
    }
    named = {f"{group} {name}".strip() for group, names in groups.items() for name in names}
    assert {" ".join(command) for command in commands()} == named | set(groups)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_of_every_command_exits_with_zero(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        _parser().parse_args([*command, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {' '.join(['cosigner', *command])} ")
    groups = {" ".join(other[:-1]) for other in commands() if other}
    assert ("--json" in shown) == (" ".join(command) not in groups)


@pytest.mark.parametrize("command", [[COSIGNER, "--help"], [sys.executable, "-m", "cosigner", "--help"]])
def test_the_command_is_installed_under_its_name_and_as_a_module(command: list[str]) -> None:
    ran = execute(command, cwd=HOUSE)
    assert ran.code == 0
    assert ran.out.startswith("usage: cosigner")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["wallet"],
        ["wallet", "create"],
        ["wallet", "create", "--chain", "dogecoin"],
        ["wallet", "show"],
        ["sign"],
        ["sign", "solana", "message"],
        ["sign", "solana", "--wallet", UNKNOWN],
        ["sign", "solana", "--wallet", UNKNOWN, "--path", "0", "message"],
        ["sign", "evm"],
        ["sign", "evm", "tx", "FILE"],
        ["sign", "evm", "message", "--wallet", UNKNOWN],
        ["sign", "evm", "digest", "--wallet", UNKNOWN, "FILE"],
        ["wallet", "address", UNKNOWN],
        ["delegate", "approve", UNKNOWN, "--max-signatures", "0"],
        ["delegate", "approve", UNKNOWN, "--max-signatures", "1000001"],
        ["delegate", "approve", UNKNOWN, "--max-signatures", "many"],
        ["policy"],
        ["policy", "check", "FILE"],
        ["policy", "show"],
        ["attest", "extra"],
        ["attest", "--passphrase", "x"],
        ["demo", "--config", "x"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _parser().parse_args(arguments)
    assert caught.value.code == 2
    assert "usage: cosigner" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path",
    [
        "",
        "m",
        "m/",
        "/",
        "0/",
        "/0",
        "0//5",
        "m/m/0",
        "0'",
        "0h",
        "-1",
        "2147483648",
        "0x5",
        "a",
        "٣",
        " 0",
        "9" * 5000,
    ],
)
@pytest.mark.parametrize(
    "command", ["sign evm tx", "sign evm message", "sign evm typed-data", "sign bitcoin", "wallet address"]
)
def test_a_path_that_is_none_exits_with_two(
    command: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = [UNKNOWN] if command == "wallet address" else ["--wallet", UNKNOWN, "FILE"]
    for arguments in ([f"--path={path}"], ["--path", path]):
        with pytest.raises(SystemExit) as caught:
            _parser().parse_args([*command.split(), *arguments, *rest])
        assert caught.value.code == 2
        assert "--path" in capsys.readouterr().err


def test_wrong_usage_exits_with_two_from_the_shell_as_well() -> None:
    ran = execute([COSIGNER, "nonsense"])
    assert (ran.code, ran.out) == (2, "")
    assert "nonsense" in ran.err


def test_a_missing_configuration_says_what_to_do(tmp_path: Path) -> None:
    ran = execute([COSIGNER, "attest"], cwd=tmp_path)
    assert (ran.code, ran.out) == (1, "")
    for hint in ("config_missing", ".cosigner/client.json", "make stack", "--config", "COSIGNER_CONFIG"):
        assert hint in ran.err
    assert execute([COSIGNER, "attest", "--json"], cwd=tmp_path).error["code"] == "config_missing"


def test_the_configuration_may_be_named_by_the_environment(shell: Shell, tmp_path: Path) -> None:
    ran = execute([COSIGNER, "attest", "--json"], cwd=tmp_path, COSIGNER_CONFIG=str(shell.config))
    assert ran.code == 0


def test_a_malformed_configuration_is_said(shell: Shell, tmp_path: Path) -> None:
    broken = tmp_path / "client.json"
    broken.write_text("{")
    ran = run_here(["attest", "--json", "--config", str(broken)])
    assert ran.error["code"] == "config_invalid"


def test_an_enclave_with_another_measurement_is_refused_with_its_step(shell: Shell, tmp_path: Path) -> None:
    config = json.loads(shell.config.read_text())
    config["trust"]["pcrs"]["0"] = ["ab" * 48]
    other = tmp_path / "client.json"
    other.write_text(json.dumps(config))
    ran = run_here(["attest", "--json", "--config", str(other)])
    assert ran.error["code"] == "attestation_pcr_mismatch"
    assert ran.error["step"] == "9: PCR policy"
    spoken = run_here(["attest", "--config", str(other)])
    assert (spoken.code, spoken.out) == (1, "")
    assert "failing step 9: PCR policy" in spoken.err
    elsewhere = Shell(other, shell.store, shell.passphrase_file)
    ran = elsewhere.unlocked("wallet", "create", "--chain", "solana", "--json")
    assert ran.error["code"] == "attestation_pcr_mismatch"


def test_a_host_that_is_not_there_is_said(shell: Shell, tmp_path: Path) -> None:
    config = json.loads(shell.config.read_text())
    config["api_url"] = "http://127.0.0.1:1"
    other = tmp_path / "client.json"
    other.write_text(json.dumps(config))
    ran = run_here(["attest", "--config", str(other)])
    assert ran.code == 1
    assert "Is the stack running?" in ran.err
    assert "host_unreachable" in ran.err


def test_refused_payloads_exit_with_one_and_their_code(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"not base64!")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(solana_message("9An8VkXwkSf6wbairDwYwRFcYyFSHp8ECni45AJandvu"))
    solana, bitcoin = wallets["solana"]["wallet_id"], wallets["bitcoin"]["wallet_id"]
    for arguments, code in (
        (["solana", "--wallet", solana, str(garbage)], "input_malformed"),
        (["solana", "--wallet", solana, str(foreign)], "solana_not_a_signer"),
        (["solana", "--wallet", bitcoin, str(foreign)], "payload_wrong_chain"),
        (["solana", "--wallet", solana, str(tmp_path / "absent")], "input_unreadable"),
        (["bitcoin", "--wallet", bitcoin, str(garbage)], "input_malformed"),
        (["bitcoin", "--wallet", UNKNOWN, str(foreign)], "input_malformed"),
        (["solana", "--wallet", UNKNOWN, str(foreign)], "wallet_missing"),
    ):
        ran = shell.unlocked("sign", *arguments, "--json")
        assert ran.error["code"] == code, arguments
    assert shell.unlocked("wallet", "show", UNKNOWN, "--json").error["code"] == "wallet_missing"


@pytest.mark.parametrize(
    ("kind", "content", "code", "field"),
    [
        ("tx", b"", "evm_malformed", None),
        ("tx", b"c0", "evm_malformed", None),
        ("tx", b"0x05c0", "evm_type_unsupported", None),
        ("tx", b"0xabc", "input_malformed", None),
        ("tx", b"not hexadecimal", "input_malformed", None),
        ("tx", b"[1, 2]", "input_malformed", None),
        ("tx", b"\xff\xfe\x00", "input_malformed", None),
        ("tx", b"[" * 200_000, "input_malformed", None),
        ("tx", b'{"nonce": 1, "nonce": 2}', "input_malformed", None),
        ("tx", {"nonce": ...}, "evm_transaction_field", "nonce"),
        ("tx", {"nonce": "1"}, "evm_transaction_field", "nonce"),
        ("tx", {"nonce": 2**64}, "evm_malformed", "nonce"),
        ("tx", {"value": 1.5}, "evm_transaction_field", "value"),
        ("tx", {"to": "0x70997970c51812dc3A010C7d01b50e0d17dc79C8"}, "evm_transaction_field", "to"),
        ("tx", {"gasLimit": 5}, "evm_transaction_field", "gasLimit"),
        ("tx", {"from": "0x" + "00" * 20}, "evm_transaction_field", "from"),
        ("tx", {"type": 9}, "evm_type_unsupported", "type"),
        (
            "tx",
            {"accessList": [{"address": "0x", "storageKeys": []}]},
            "evm_transaction_field",
            "accessList[0].address",
        ),
        ("message", bytes((1 << 17) + 1), "evm_too_large", None),
        ("typed-data", b"", "typed_data_malformed", None),
        ("typed-data", b"{}", "typed_data_missing_field", None),
        ("typed-data", b"[" * 100_000, "typed_data_malformed", None),
        (
            "typed-data",
            json.dumps({**MAIL, "message": {**MAIL["message"], "contents": 5}}).encode(),
            "typed_data_value",
            "contents",
        ),
    ],
)
def test_a_malformed_evm_payload_is_refused_with_its_code_and_field(
    shell: Shell,
    wallets: dict[str, dict[str, Any]],
    tmp_path: Path,
    *,
    kind: str,
    content: bytes | dict[str, Any],
    code: str,
    field: str | None,
) -> None:
    if isinstance(content, dict):
        changed = {name: value for name, value in {**TRANSACTION, **content}.items() if value is not ...}
        content = json.dumps(changed).encode()
    file = tmp_path / "payload"
    file.write_bytes(content)
    arguments = ["sign", "evm", kind, "--wallet", wallets["ethereum"]["wallet_id"], str(file)]
    error = shell.unlocked(*arguments, "--json").error
    assert (error["code"], error["culprit"]) == (code, "client")
    if field is not None:
        assert f"{field})" in error["message"]
    spoken = shell.unlocked(*arguments)
    assert (spoken.code, spoken.out) == (1, "")
    assert code in spoken.err


def test_refused_evm_requests_exit_with_one_and_their_code(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    message = tmp_path / "message"
    message.write_bytes(MESSAGE)
    ethereum, bitcoin, solana = (wallets[name]["wallet_id"] for name in ("ethereum", "bitcoin", "solana"))
    evm = ["sign", "evm", "message"]
    for arguments, code in (
        ([*evm, "--wallet", UNKNOWN, str(message)], "wallet_missing"),
        ([*evm, "--wallet", bitcoin, str(message)], "payload_wrong_chain"),
        ([*evm, "--wallet", ethereum, str(tmp_path / "absent")], "input_unreadable"),
        ([*evm, "--wallet", ethereum, "--path", "/".join(["0"] * 17), str(message)], "invalid_path"),
        (["wallet", "address", ethereum, "--path", "/".join(["0"] * 17)], "invalid_path"),
        (["wallet", "address", solana, "--path", "0"], "invalid_public_key"),
        (["wallet", "address", UNKNOWN, "--path", "0"], "wallet_missing"),
    ):
        assert shell.unlocked(*arguments, "--json").error["code"] == code, arguments


# --- passphrases -----------------------------------------------------------------------------------------------------------------


def test_without_a_terminal_a_passphrase_file_is_asked_for(
    shell: Shell, wallets: dict[str, dict[str, Any]]
) -> None:
    ran = shell("wallet", "create", "--chain", "solana", "--json", stdin=PASSPHRASE.encode())
    assert ran.error["code"] == "passphrase_missing"
    assert "--passphrase-file" in ran.error["message"]
    assert wallets


def test_a_wrong_passphrase_is_refused(
    shell: Shell, wallets: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase")
    assert wallets
    ran = shell("wallet", "create", "--chain", "solana", "--passphrase-file", str(wrong), "--json")
    assert ran.error["code"] == "passphrase_wrong"
    assert "another passphrase" not in ran.out + ran.err


def test_an_empty_passphrase_file_makes_no_store(shell: Shell, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    other = Shell(shell.config, tmp_path / "shares", empty)
    assert (
        other.unlocked("wallet", "create", "--chain", "solana", "--json").error["code"] == "passphrase_length"
    )
    assert not (tmp_path / "shares").exists()


def test_no_option_takes_a_passphrase_and_no_variable_does() -> None:
    options: set[str] = set()

    def walk(parser: Any) -> None:
        for action in parser._actions:
            options.update(action.option_strings)
            if isinstance(getattr(action, "choices", None), dict):
                for child in action.choices.values():
                    walk(child)

    walk(_parser())
    assert {option for option in options if "pass" in option or "secret" in option} == {
        "--passphrase-file",
        "--key-passphrase-file",
        "--new-key-passphrase-file",
        "--recovery-passphrase-file",
        "--share-passphrase-file",
        "--apart-passphrase-file",
        "--offline-passphrase-file",
        "--phrase-passphrase-file",
        "--passcode-file",
        "--passcode",  # asks for one
        "--no-passcode",
        "--new-secret",  # makes one
        "--secret-out",
    }
    sources = [path.read_text() for path in (HOUSE / "cosigner").rglob("*.py")]
    assert not any(re.search(r"environ.*PASS", text) for text in sources)


# --- wallets that were interrupted -----------------------------------------------------------------------------------------------


def test_an_interrupted_wallet_is_listed_as_pending_and_resume_settles_it(
    shell: Shell, tmp_path: Path
) -> None:
    """The enclave of this stack never stored its share: the wallet stays pending, and no address of it is shown."""
    cheap_store(tmp_path / "shares")
    store = ShareStore.unlock(tmp_path / "shares", PASSPHRASE.encode())
    made = ceremony()
    store.save_pending(stack.ENVIRONMENT, made.state, made.wallet)
    other = Shell(shell.config, tmp_path / "shares", shell.passphrase_file)
    assert other.unlocked("login").code == 0
    assert [entry["status"] for entry in other("wallet", "list", "--json").json["wallets"]] == ["pending"]
    spoken = other("wallet", "list")
    assert "pending" in spoken.out
    assert "--resume" in spoken.out
    assert Wallet.of(made.wallet).address not in spoken.out
    (entry,) = other.unlocked("wallet", "list", "--resume", "--json").json["wallets"]
    assert entry == {
        "wallet_id": made.wallet.wallet_id,
        "chain": made.wallet.chain,
        "network": made.wallet.network,
        "epoch": 1,
        "status": "pending",
    }


# --- the README --------------------------------------------------------------------------------------------------------------------


def readme() -> str:
    return (HOUSE / "README.md").read_text()


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```([\w ]*)\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def test_every_command_in_the_readme_is_one_that_the_parser_takes() -> None:
    lines = [line for block in blocks("") for line in block.splitlines() if ".venv/bin/cosigner " in line]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line, comments=True)
        options = _parser().parse_args(words[words.index(".venv/bin/cosigner") + 1 :])
        assert callable(options.run)


def test_the_readmes_way_from_wallet_to_signature_works(running: stack.Stack, tmp_path: Path) -> None:
    """As a user does it: new store, every command in a process of its own, the README's programs in between."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    common = ["--config", str(running.client_config), "--store", str(tmp_path / "shares"), "--json"]
    unlocking = [*common, "--passphrase-file", str(passphrase)]
    programs = {text.split("\n", 1)[0].split()[1]: text for text in blocks("python") if text.startswith("# ")}
    assert execute([COSIGNER, "attest", *common]).code == 0
    assert execute([COSIGNER, "login", *unlocking]).code == 0
    for chain, program in (("solana", "solana_message.py"), ("bitcoin", "bitcoin_psbt.py")):
        wallet = execute([COSIGNER, "wallet", "create", "--chain", chain, *unlocking]).json
        (tmp_path / program).write_text(programs[program])
        made = execute([sys.executable, str(tmp_path / program), wallet["address"]])
        assert made.code == 0
        payload = tmp_path / f"{chain}.payload"
        payload.write_text(made.out)
        ran = execute([COSIGNER, "sign", chain, "--wallet", wallet["wallet_id"], str(payload), *unlocking])
        assert ran.code == 0, ran
        assert ran.json["transaction"]
        assert stat.S_IMODE((tmp_path / "shares" / f"{wallet['wallet_id']}.share").stat().st_mode) == 0o600
    assert len(execute([COSIGNER, "wallet", "list", *common]).json["wallets"]) == 2
