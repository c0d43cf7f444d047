"""``docker compose up``, and a client outside: the README's way, its containers' confinement, and what survives.

``make test-compose``: needs docker with the compose plugin, and the images of ``make images``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from cosigner import Client, ClientConfig, ShareStore
from cosigner.mock_issuer import provider
from tests.docker.images import HOUSE, docker
from tests.docker.stack import Compose, stack
from tests.support.world import PASSPHRASE, bitcoin_psbt, solana_message, verify_bitcoin, verify_solana

SERVICES = {"kms", "issuer", "provision", "enclave", "host"}


@pytest.fixture(scope="module")
def running():
    with stack() as compose:
        yield compose


def sign(client: Client, chain: str, wallet_id: str) -> None:
    """A signature, verified by a library that had no part in making it."""
    address = client.enclave_wallet(wallet_id).address
    if chain == "solana":
        message = solana_message(address)
        verify_solana(message, client.sign_solana(wallet_id, message).signature, address)
    elif chain == "bitcoin":
        psbt = bitcoin_psbt(address)
        verify_bitcoin(psbt, client.sign_bitcoin(wallet_id, psbt).transaction, address)
    else:
        signature = client.sign_evm_message(wallet_id, b"hello").signature
        assert Account.recover_message(encode_defunct(b"hello"), signature=signature) == address


def sign_with_every_wallet(config: ClientConfig, shares: ShareStore, wallets: dict[str, str]) -> None:
    with Client(config, shares, token_provider=provider(config)) as client:
        for chain, wallet_id in wallets.items():
            sign(client, chain, wallet_id)


def create_wallets(config: ClientConfig, shares: ShareStore) -> dict[str, str]:
    with Client(config, shares, token_provider=provider(config)) as client:
        return {chain: client.create_wallet(chain).wallet_id for chain in ("solana", "bitcoin", "ethereum")}


def test_the_command_outside_creates_a_wallet_and_signs(running, tmp_path):
    config = running.client_config(tmp_path)
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    (tmp_path / "message.txt").write_bytes(b"hello")
    common = ["--config", str(config), "--json"]
    unlock = ["--passphrase-file", str(tmp_path / "passphrase"), "--store", str(tmp_path / "shares")]

    def cosigner(*arguments: str) -> dict:
        command = [sys.executable, "-m", "cosigner", *arguments, *common]
        done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    cosigner("attest")
    assert cosigner("login", *unlock)["created"]
    wallet = cosigner("wallet", "create", "--chain", "ethereum", *unlock)
    signed = cosigner(
        "sign", "evm", "message", "--wallet", wallet["wallet_id"], str(tmp_path / "message.txt"), *unlock
    )
    assert (
        Account.recover_message(encode_defunct(b"hello"), signature=signed["signature"]) == wallet["address"]
    )


def test_wallets_survive_down_and_up_and_the_enclaves_death(running, tmp_path):
    config = ClientConfig.load(running.client_config(tmp_path))
    shares = ShareStore.create(tmp_path / "shares", PASSPHRASE)
    wallets = create_wallets(config, shares)
    sign_with_every_wallet(config, shares, wallets)

    running("down")
    running.up()
    # The code is the same, so the measurements are; the root and the manifest are kept. Nothing has to be fetched anew.
    assert ClientConfig.load(running.client_config(tmp_path)) == config
    sign_with_every_wallet(config, shares, wallets)

    running("kill", "--signal", "KILL", "enclave")
    running("start", "enclave")
    until_ready(running)
    sign_with_every_wallet(config, shares, wallets)


def until_ready(compose: Compose, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{compose.port}/readyz", timeout=5):
                return
        except OSError:
            assert time.monotonic() < deadline, compose("logs", "--no-color")
            time.sleep(0.1)


def test_every_container_is_confined(running):
    containers = running.containers()
    assert containers.keys() == SERVICES
    for service, container in containers.items():
        limits = container["HostConfig"]
        assert container["Config"]["User"] == "10001:10001", service
        assert limits["ReadonlyRootfs"], service
        assert limits["CapDrop"] == ["ALL"], service
        assert not limits["CapAdd"], service
        assert not limits["Privileged"], service
        assert limits["SecurityOpt"] == ["no-new-privileges:true"], service
        assert limits["PidMode"] == "", service
        assert limits["IpcMode"] == "private", service
        assert not limits["Devices"], service
        assert {mount["Type"] for mount in container["Mounts"]} <= {"volume"}, service


def test_no_process_of_the_stack_has_a_privilege(running):
    """As the kernel says it: user, capabilities (even those that could be regained), no_new_privs, seccomp."""
    for service, container in running.containers().items():
        if service == "provision":
            assert container["State"]["ExitCode"] == 0
            continue
        with open(f"/proc/{container['State']['Pid']}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert set(status["Uid"].split()) == {"10001"}
        assert set(status["Gid"].split()) == {"10001"}
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"


def test_the_enclave_has_no_network_and_the_host_no_sight_of_the_fakes(running):
    containers = running.containers()
    for container in containers.values():
        assert container["HostConfig"]["NetworkMode"] != "host"
    assert containers["enclave"]["HostConfig"]["NetworkMode"] == "none"
    published = {service for service, entry in containers.items() if entry["HostConfig"]["PortBindings"]}
    assert published == {"host", "issuer"}
    for service in published:
        for bindings in containers[service]["HostConfig"]["PortBindings"].values():
            assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    assert {mount["Destination"] for mount in containers["host"]["Mounts"]} == {
        "/config",
        "/sockets",
        "/store",
    }
    assert {mount["Destination"] for mount in containers["enclave"]["Mounts"]} == {"/state", "/sockets"}


def test_the_kms_simulators_network_leads_nowhere_else(running):
    (name,) = running.containers()["kms"]["NetworkSettings"]["Networks"]
    assert json.loads(docker("network", "inspect", name).stdout)[0]["Internal"]


def test_health_checks_say_what_is_wrong(running):
    """Without the enclave the host is up but not healthy."""
    running("stop", "enclave")
    try:
        deadline = time.monotonic() + 120
        while running.containers()["host"]["State"]["Health"]["FailingStreak"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert running.containers()["host"]["State"]["Running"]
    finally:
        running("start", "enclave")
    until_ready(running)


def test_the_production_image_signs_when_it_is_given_the_fakes(tmp_path):
    """What the pruning left of the interpreter is enough for every ceremony: here the code runs from the image that ships."""
    with stack(HOUSE / "tests/docker/production.yaml") as compose:
        image = compose.containers()["enclave"]["Config"]["Image"]
        assert "simulator" not in image
        config = ClientConfig.load(compose.client_config(tmp_path))
        shares = ShareStore.create(tmp_path / "shares", PASSPHRASE)
        sign_with_every_wallet(config, shares, create_wallets(config, shares))
