"""The enclave at work under its filters: boot, KMS over TLS, key generation and signatures of every suite, as separate processes."""

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from cosigner import Client, ClientConfig, ShareStore
from cosigner.mock_issuer import provider
from simulator import stack
from tests.support.world import (
    PASSPHRASE,
    bitcoin_psbt,
    solana_message,
    verify_bitcoin,
    verify_solana,
)


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


@pytest.fixture
def running(confined, tmp_path, monkeypatch):
    """The mock stack, with the enclave's command wrapped: the host starts it under the filters."""
    plain = stack._host_config

    def wrapped(*arguments, **options):
        path = plain(*arguments, **options)
        config = json.loads(path.read_text())
        config["enclave"]["command"].insert(0, confined)
        path.write_text(json.dumps(config))
        return path

    monkeypatch.setattr(stack, "_host_config", wrapped)
    with (tmp_path / "log").open("ab") as log, stack.running(tmp_path / "state", log=log.fileno()) as started:
        yield started


def test_every_suite_signs_under_the_filters(running, tmp_path):
    pid = enclave_process(running.state)
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Seccomp:\t2" in status
    shares = ShareStore.create(tmp_path / "shares", PASSPHRASE)
    config = ClientConfig.load(running.client_config)
    with Client(config, shares, token_provider=provider(config)) as client:
        solana, bitcoin = client.create_wallet("solana"), client.create_wallet("bitcoin", "regtest")
        ethereum = client.create_wallet("ethereum")
        for _ in range(3):
            message = solana_message(solana.address)
            verify_solana(message, client.sign_solana(solana.wallet_id, message).signature, solana.address)
            psbt = bitcoin_psbt(bitcoin.address, inputs=2)
            verify_bitcoin(psbt, client.sign_bitcoin(bitcoin.wallet_id, psbt).transaction, bitcoin.address)
            greeting = client.sign_evm_message(ethereum.wallet_id, b"hello")
            recovered = Account.recover_message(encode_defunct(b"hello"), signature=greeting.signature)
            assert recovered == ethereum.address
    # The one that started is the one that served: it was never killed and started anew.
    assert enclave_process(running.state) == pid
