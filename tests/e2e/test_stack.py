"""The whole stack as separate processes over real sockets: KMS over HTTPS, host over HTTP, enclave over a unix socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from cosigner import AsyncClient, AttestationRefused, Client, ClientConfig, EnclaveRefused, ShareStore
from cosigner.cli import main as command
from cosigner.mock_issuer import provider
from simulator import stack
from tests.support.world import (
    PASSPHRASE,
    bitcoin_psbt,
    solana_message,
    verify_bitcoin,
    verify_solana,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stack")
    with (
        (directory / "log").open("ab") as log,
        stack.running(directory / "state", log=log.fileno()) as started,
    ):
        yield started


@pytest.fixture
def shares(tmp_path):
    return ShareStore.create(tmp_path / "shares", PASSPHRASE)


def config(running) -> ClientConfig:
    return ClientConfig.load(running.client_config)


def logged_in(running, subject: str = "alice") -> dict[str, Any]:
    """The keyword with which a client logs in by itself, as a user of the mock issuer."""
    return {"token_provider": provider(config(running), subject)}


def enclave_process(state: Path) -> int:
    """The pid of the enclave that works for this stack."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"simulator.enclave" in words and str(state).encode() in words:
                return int(entry.name)
    return 0


def wait_until(condition, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def ready(running) -> bool:
    try:
        with urllib.request.urlopen(f"{running.api_url}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def kill_enclave(running) -> None:
    """SIGKILL, and wait until another one serves."""
    before = enclave_process(running.state)
    assert before
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: enclave_process(running.state) not in {0, before}, "a new enclave process")
    wait_until(lambda: ready(running), "the new enclave to be ready")


def enclave_socket(running) -> str:
    address = json.loads((running.state / "host.json").read_text())["enclave"]["address"]
    return address.removeprefix("unix:")


def test_a_wallet_of_every_suite_is_made_and_signs(running, shares):
    with Client(config(running), shares, **logged_in(running)) as client:
        solana, bitcoin = client.create_wallet("solana"), client.create_wallet("bitcoin", "regtest")
        message = solana_message(solana.address)
        signed = client.sign_solana(solana.wallet_id, message)
        verify_solana(message, signed.signature, solana.address)
        psbt = bitcoin_psbt(bitcoin.address, inputs=5)
        verify_bitcoin(psbt, client.sign_bitcoin(bitcoin.wallet_id, psbt).transaction, bitcoin.address)
        assert bitcoin.address.startswith("bcrt1p")
        ethereum = client.create_wallet("ethereum")
        greeting = client.sign_evm_message(ethereum.wallet_id, b"hello")
        recovered = Account.recover_message(encode_defunct(b"hello"), signature=greeting.signature)
        assert recovered == ethereum.address


def test_an_enclave_killed_between_key_generation_and_signing_still_signs(running, shares):
    with Client(config(running), shares, **logged_in(running)) as client:
        wallet = client.create_wallet("solana")
        kill_enclave(running)
        message = solana_message(wallet.address)
        verify_solana(message, client.sign_solana(wallet.wallet_id, message).signature, wallet.address)


def test_an_enclave_killed_between_ethereum_signatures_costs_one_attempt(running, shares):
    with Client(config(running), shares, **logged_in(running)) as client:
        wallet = client.create_wallet("ethereum")
        account = client.evm_account(wallet.wallet_id, path=(0, 5))
        transaction = {
            "chainId": 1,
            "nonce": 0,
            "to": "0x" + "de" * 20,
            "value": 1,
            "gas": 21_000,
            "maxFeePerGas": 1,
            "maxPriorityFeePerGas": 1,
        }
        for _ in range(2):
            signed = account.sign_transaction(transaction)
            assert Account.recover_transaction(signed.raw_transaction) == account.address
            assert account.address == client.derived_address(wallet.wallet_id, (0, 5))
            kill_enclave(running)


def test_the_address_below_a_wallet_is_shown_by_the_command(running, shares, tmp_path, capsys):
    with Client(config(running), shares, **logged_in(running)) as client:
        wallet = client.create_wallet("bitcoin")
        expected = client.derived_address(wallet.wallet_id, (0, 5))
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    arguments = ["--config", str(running.client_config), "--store", str(tmp_path / "shares")]
    arguments += ["--passphrase-file", str(tmp_path / "passphrase"), "--path", "m/0/5", wallet.wallet_id]
    assert command(["wallet", "address", *arguments]) == 0
    assert capsys.readouterr().out.strip() == expected != wallet.address


def test_two_clients_at_once_sign_with_one_wallet(running, shares, tmp_path):
    async def scenario():
        async with (
            AsyncClient(config(running), shares, **logged_in(running)) as first,
            AsyncClient(config(running), shares, **logged_in(running)) as second,
        ):
            wallet = await first.create_wallet("solana")
            messages = [solana_message(wallet.address, lamports) for lamports in range(1, 9)]
            done = await asyncio.gather(
                *(user.sign_solana(wallet.wallet_id, m) for m in messages for user in (first, second))
            )
            for index, signed in enumerate(done):
                verify_solana(messages[index // 2], signed.signature, wallet.address)

    asyncio.run(scenario())


def test_a_client_that_pins_another_image_sends_nothing(running, shares, tmp_path):
    parsed = json.loads(running.client_config.read_text())
    parsed["trust"]["pcrs"]["0"] = ["ab" * 48]
    other = tmp_path / "client.json"
    other.write_text(json.dumps(parsed))
    with (
        Client(ClientConfig.load(other), shares, **logged_in(running)) as client,
        pytest.raises(AttestationRefused) as refused,
    ):
        client.create_wallet("solana")
    assert refused.value.code == "attestation_pcr_mismatch"


def test_a_client_with_the_production_root_refuses_the_simulator(running, shares, tmp_path):
    parsed = json.loads(running.client_config.read_text())
    parsed["trust"]["roots"] = ["641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"]
    other = tmp_path / "client.json"
    other.write_text(json.dumps(parsed))
    with (
        Client(ClientConfig.load(other), shares, **logged_in(running)) as client,
        pytest.raises(AttestationRefused) as refused,
    ):
        client.attest()
    assert refused.value.code == "attestation_root_not_trusted"


def test_a_wallet_that_nobody_made_is_unknown(running, shares):
    with (
        Client(config(running), shares, **logged_in(running)) as client,
        pytest.raises(EnclaveRefused) as refused,
    ):
        client.enclave_wallet("00000000-0000-4000-8000-000000000000")
    assert refused.value.code == "wallet_unknown"


HOSTILE_FRAMES = {
    "an announced gigabyte": struct.pack(">I", 1 << 30) + b"x" * 64,
    "one byte more than the limit": struct.pack(">I", (1 << 20) + 1),
    "an empty frame": struct.pack(">I", 0),
    "a frame that never ends": struct.pack(">I", 1000) + b"x",
    "noise": os.urandom(4096),
    "a frame of nonsense": struct.pack(">I", 5) + b"\xff" * 5,
    "deep nesting": struct.pack(">I", 100_001) + b"\x81" * 100_000 + b"\x00",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", HOSTILE_FRAMES)
def test_hostile_frames_at_the_enclaves_door_end_that_connection_and_nothing_else(running, shares, name):
    pid = enclave_process(running.state)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(10)
        door.connect(enclave_socket(running))
        door.sendall(HOSTILE_FRAMES[name])
        door.shutdown(socket.SHUT_WR)
        assert door.recv(1) == b""  # closed without a word
    assert enclave_process(running.state) == pid
    with Client(config(running), shares, **logged_in(running)) as client:
        wallet = client.create_wallet("solana")
        message = solana_message(wallet.address)
        verify_solana(message, client.sign_solana(wallet.wallet_id, message).signature, wallet.address)


def test_no_secret_and_no_record_is_in_the_logs(running, shares):
    """What may be logged is an allow-list; this looks for what must not be there after everything above has run."""
    with Client(config(running), shares, **logged_in(running)) as client:
        wallet = client.create_wallet("solana")
        client.sign_solana(wallet.wallet_id, solana_message(wallet.address))
    logged = (running.state.parent / "log").read_text(errors="replace")
    credentials = json.loads((running.state / "credentials.json").read_text())
    assert "listening" in logged
    for secret in (credentials["SecretAccessKey"], PASSPHRASE.decode(), wallet.wallet_id, wallet.address):
        assert secret not in logged


def test_a_stack_started_again_on_its_state_still_has_its_wallets(tmp_path):
    shares = ShareStore.create(tmp_path / "shares", PASSPHRASE)
    with (tmp_path / "log").open("ab") as log:
        with (
            stack.running(tmp_path / "state", log=log.fileno()) as first,
            Client(config(first), shares, **logged_in(first)) as client,
        ):
            wallet = client.create_wallet("bitcoin")
        with (
            stack.running(tmp_path / "state", log=log.fileno()) as again,
            Client(config(again), shares, **logged_in(again)) as client,
        ):
            psbt = bitcoin_psbt(wallet.address)
            signed = client.sign_bitcoin(wallet.wallet_id, psbt)
            verify_bitcoin(psbt, signed.transaction, wallet.address)
