"""The synchronous client is the asynchronous one, method by method."""

import asyncio
import inspect
from pathlib import Path

import pytest
from solders.transaction import Transaction

import cosigner
from cosigner import AsyncClient, Client, EnclaveRefused, HostError
from cosigner import sync as sync_module
from tests.cosigner.payloads import psbt, solana_message
from tests.cosigner.world import World, open_store

ASYNCHRONOUS_ONLY = {"open", "evm_signer"}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world that every :class:`Client` reaches."""
    world = World()
    monkeypatch.setattr(
        sync_module,
        "AsyncClient",
        lambda config, store: AsyncClient(config, store, keyring=world.keyring, transport=world.transport()),
    )
    asyncio.run(world.log_in())
    return world


def test_a_script_creates_shows_and_signs(world: World, tmp_path: Path) -> None:
    with Client(world.config(), open_store(tmp_path)) as client:
        assert client.attest().root_sha256 == world.pki.root_sha256
        solana, bitcoin = client.create_wallet("solana"), client.create_wallet("bitcoin", "testnet")
        assert client.enclave_wallet(solana.wallet_id) == solana
        signed = client.sign_solana(solana.wallet_id, solana_message(solana.address), other_signatures={})
        assert signed.transaction is not None
        Transaction.from_bytes(signed.transaction).verify()
        assert client.sign_bitcoin(bitcoin.wallet_id, psbt(bitcoin.address)).transaction is not None
    assert len(world.seen.sessions) == 1  # one session for all of it


def test_refusals_come_through_and_the_client_goes_on(world: World, tmp_path: Path) -> None:
    with Client(world.config(), open_store(tmp_path)) as client:
        with pytest.raises(EnclaveRefused) as caught:
            client.enclave_wallet("0f8fad5b-d9cb-469f-a165-70867728950e")
        assert caught.value.code == "wallet_unknown"
        assert client.create_wallet("solana").chain == "solana"


def test_a_failure_inside_leaves_the_context_cleanly(world: World) -> None:
    with pytest.raises(ZeroDivisionError), Client(world.config()) as client:
        client.attest()
        raise ZeroDivisionError


def test_nobody_there_is_an_error_and_not_a_hang(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    config = cosigner.ClientConfig("http://127.0.0.1:1", "sandbox", world.config().policy)
    with Client(config) as client, pytest.raises(HostError) as caught:
        client.attest()
    assert caught.value.code == "host_unreachable"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, member in inspect.getmembers(AsyncClient, inspect.iscoroutinefunction)
        if not name.startswith("_") and name not in ASYNCHRONOUS_ONLY
    ],
)
def test_both_faces_have_the_same_methods_with_the_same_parameters(name: str) -> None:
    asynchronous, synchronous = (inspect.signature(getattr(face, name)) for face in (AsyncClient, Client))
    assert list(asynchronous.parameters.values()) == list(synchronous.parameters.values())
    assert synchronous.return_annotation == asynchronous.return_annotation.removeprefix("Async")


def test_what_only_the_asynchronous_face_has() -> None:
    faces = [{name for name in dir(face) if not name.startswith("_")} for face in (AsyncClient, Client)]
    assert faces[0] - faces[1] == ASYNCHRONOUS_ONLY | {"traffic"}
    assert faces[1] <= faces[0]
    assert inspect.signature(Client.evm_account).return_annotation == "CosignerAccount"
    assert inspect.signature(AsyncClient.evm_account).return_annotation == "AsyncCosignerAccount"


def test_everything_that_the_package_offers_is_there() -> None:
    for name in cosigner.__all__:
        assert getattr(cosigner, name).__module__.startswith(("cosigner.", "protocol.", "threshold."))
