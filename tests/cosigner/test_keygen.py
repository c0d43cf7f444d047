"""Making a wallet: wherever client, host or enclave fail, no wallet is half lost, and what was left open can be settled."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cosigner.client import AsyncClient, Wallet
from cosigner.errors import CosignerError, EnclaveRefused, HostError, StoreError
from cosigner.store import ShareStore
from enclave import realm as enclave_realm
from enclave.storage import StorageConflictError
from enclave.vault import OpenedWallet
from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.messages import Found
from protocol.messages import DkgBegun
from tests.cosigner.payloads import psbt, solana_message
from tests.cosigner.world import Forward, Rule, World, open_store, problem, record_number
from threshold import ThresholdError

BEGIN, FINISH = 0, 1  # the records of a ceremony


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store(tmp_path: Path) -> ShareStore:
    return open_store(tmp_path)


def create(world: World, store: ShareStore, chain: str = "solana") -> Wallet:
    return world.run(lambda client: client.create_wallet(chain), store)


def listed(store: ShareStore) -> dict[str, bool]:
    """Whether each wallet of the store is pending."""
    return {entry.info.wallet_id: entry.pending for entry in ShareStore.wallets(store._directory)}


def stored(world: World) -> set[str]:
    """The wallets whose share the enclave has stored."""
    return {key.rsplit("/", 1)[-1] for key in world.storage.records}


def signs(world: World, store: ShareStore, wallet_id: str) -> None:
    """The wallet signs, with an enclave that remembers nothing."""
    world.restart()

    async def sign(client: AsyncClient) -> None:
        wallet = await client.enclave_wallet(wallet_id)
        if wallet.chain == "solana":
            assert (await client.sign_solana(wallet_id, solana_message(wallet.address))).transaction
        else:
            assert (await client.sign_bitcoin(wallet_id, psbt(wallet.address))).transaction

    world.run(sign, store)


def resume_all(world: World, store: ShareStore) -> list[Wallet | None]:
    async def resume(client: AsyncClient) -> list[Wallet | None]:
        return [
            await client.resume_wallet(wallet_id) for wallet_id, pending in listed(store).items() if pending
        ]

    return world.run(resume, store)


# --- when all goes well ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "network", "prefix"),
    [
        ("solana", None, ""),
        ("bitcoin", None, "bc1p"),
        ("bitcoin", "mainnet", "bc1p"),
        ("bitcoin", "testnet", "tb1p"),
        ("bitcoin", "signet", "tb1p"),
        ("bitcoin", "regtest", "bcrt1p"),
    ],
)
def test_a_new_wallet_is_on_both_sides_and_signs_after_restarts(
    world: World, store: ShareStore, chain: str, network: str | None, prefix: str
) -> None:
    wallet = world.run(lambda client: client.create_wallet(chain, network), store)
    assert wallet.address.startswith(prefix)
    assert (wallet.chain, wallet.epoch) == (chain, 1)
    assert listed(store) == {wallet.wallet_id: False}
    assert stored(world) == {wallet.wallet_id}
    signs(world, store, wallet.wallet_id)


def test_every_wallet_has_an_id_and_a_key_of_its_own(world: World, store: ShareStore) -> None:
    wallets = [create(world, store) for _ in range(3)]
    assert (
        len({wallet.wallet_id for wallet in wallets}) == len({wallet.public_key for wallet in wallets}) == 3
    )


def test_two_wallets_made_at_once_do_not_mix(world: World, store: ShareStore) -> None:
    async def both(client: AsyncClient) -> list[Wallet]:
        return list(
            await asyncio.gather(*(client.create_wallet(chain) for chain in ("solana", "bitcoin", "solana")))
        )

    for wallet in world.run(both, store):
        signs(world, store, wallet.wallet_id)


def test_a_chain_or_network_that_is_not_known_is_refused_before_anything_is_sent(
    world: World, store: ShareStore
) -> None:
    for chain, network, code in (
        ("dogecoin", None, "chain_unsupported"),
        ("bitcoin", "moon", "network_unsupported"),
        ("solana", "mainnet", "network_unsupported"),
    ):
        with pytest.raises(CosignerError) as caught:
            world.run(lambda client, c=chain, n=network: client.create_wallet(c, n), store)
        assert caught.value.code == code
    assert world.seen.attestations == 0
    assert listed(store) == {}


def test_without_a_store_no_wallet_is_made(world: World) -> None:
    with pytest.raises(StoreError) as caught:
        world.run(lambda client: client.create_wallet("solana"))
    assert caught.value.code == "store_locked"


# --- the host fails ----------------------------------------------------------------------------------------------------------------


class Network:
    """A network that fails once: at one record, on the way there or on the way back."""

    def __init__(self, number: int, *, answered: bool, failure: Exception | httpx.Response) -> None:
        self.number, self.answered, self.failure = number, answered, failure
        self.failed = False

    async def __call__(self, request: httpx.Request, forward: Forward) -> httpx.Response:
        if self.failed or record_number(request) != self.number:
            return await forward(request)
        self.failed = True
        if self.answered:
            await forward(request)
        if isinstance(self.failure, Exception):
            raise self.failure
        return self.failure


def dead_after(number: int, *, answered: bool) -> Rule:
    """A network that is down from that record on."""
    down = False

    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal down
        if down:
            raise httpx.ConnectError("down")
        if record_number(request) == number:
            down = True
            if answered:
                await forward(request)
            raise httpx.ReadError("down")
        return await forward(request)

    return rule


@pytest.mark.parametrize("answered", [False, True])
def test_a_failure_before_the_second_message_leaves_nothing(
    world: World, store: ShareStore, answered: bool
) -> None:
    with world.misbehaving(dead_after(BEGIN, answered=answered)), pytest.raises(HostError) as caught:
        create(world, store)
    assert caught.value.code == "host_unreachable"
    assert listed(store) == {}
    assert stored(world) == set()


def test_a_lost_answer_to_the_second_message_is_settled_at_once(world: World, store: ShareStore) -> None:
    with world.misbehaving(Network(FINISH, answered=True, failure=httpx.ReadTimeout(""))):
        wallet = create(world, store)
    assert listed(store) == {wallet.wallet_id: False}
    assert stored(world) == {wallet.wallet_id}
    signs(world, store, wallet.wallet_id)


@pytest.mark.parametrize("code", ["session_unknown", "enclave_unavailable", "record_rejected"])
def test_a_host_that_lies_about_the_second_message_is_found_out(
    world: World, store: ShareStore, code: str
) -> None:
    with world.misbehaving(Network(FINISH, answered=True, failure=problem(503, code))):
        wallet = create(world, store)
    assert listed(store) == {wallet.wallet_id: False}
    signs(world, store, wallet.wallet_id)


def test_an_altered_answer_to_the_second_message_is_settled_at_once(world: World, store: ShareStore) -> None:
    with world.misbehaving(Network(FINISH, answered=True, failure=httpx.Response(200, content=b"altered"))):
        wallet = create(world, store)
    signs(world, store, wallet.wallet_id)


@pytest.mark.parametrize("chain", ["solana", "bitcoin"])
@pytest.mark.parametrize("answered", [False, True])
def test_a_network_that_stays_down_leaves_a_pending_wallet_and_resume_settles_it(
    world: World, store: ShareStore, answered: bool, chain: str
) -> None:
    with world.misbehaving(dead_after(FINISH, answered=answered)), pytest.raises(CosignerError) as caught:
        create(world, store, chain)
    assert caught.value.code == "wallet_pending"
    assert caught.value.reaction is Reaction.RETRY
    assert "wallet list --resume" in caught.value.message
    ((wallet_id, pending),) = listed(store).items()
    assert pending
    assert wallet_id in caught.value.message
    world.restart()
    if answered:
        (wallet,) = resume_all(world, store)
        assert wallet is not None
        assert listed(store) == {wallet_id: False}
        signs(world, store, wallet_id)
    else:
        assert resume_all(world, store) == [None]
        assert listed(store) == {wallet_id: True}


def test_a_wallet_stays_pending_while_the_enclave_cannot_be_asked(world: World, store: ShareStore) -> None:
    with world.misbehaving(dead_after(FINISH, answered=True)), pytest.raises(CosignerError):
        create(world, store)
    before = listed(store)

    async def down(request: httpx.Request, _: Forward) -> httpx.Response:
        raise httpx.ConnectError("down")

    async def not_ready(request: httpx.Request, _: Forward) -> httpx.Response:
        return problem(503, "enclave_not_ready")

    async def says_unknown(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) is None:
            return await forward(request)
        return problem(404, "wallet_unknown", detail="The host says so.")

    for rule in (down, not_ready, says_unknown):
        with world.misbehaving(rule), pytest.raises(HostError):
            resume_all(world, store)
        assert listed(store) == before
    (wallet,) = resume_all(world, store)
    assert wallet is not None
    signs(world, store, wallet.wallet_id)


def test_resuming_what_is_not_pending_is_refused(world: World, store: ShareStore) -> None:
    wallet = create(world, store)
    with pytest.raises(StoreError) as caught:
        world.run(lambda client: client.resume_wallet(wallet.wallet_id), store)
    assert caught.value.code == "wallet_missing"


def test_an_enclave_restarted_in_the_middle_leaves_a_wallet_pending(world: World, store: ShareStore) -> None:
    async def restart_once(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) == BEGIN and len(world.seen.sessions) == 0:
            response = await forward(request)
            world.restart()
            return response
        return await forward(request)

    with world.misbehaving(restart_once), pytest.raises(CosignerError) as caught:
        create(world, store)
    # The enclave forgot the ceremony; the client cannot tell that from a lost answer, asks, and keeps the share.
    assert caught.value.code == "wallet_pending"
    assert stored(world) == set()
    assert resume_all(world, store) == [None]
    assert list(listed(store).values()) == [True]


# --- the enclave refuses or deceives -------------------------------------------------------------------------------------------------


def with_enclave(name: str, function: Callable[..., Awaitable[Any]]) -> Rule:
    """The enclave's function ``name`` of :mod:`enclave.wallets` is another one while requests are answered."""

    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(enclave_realm.wallets, name, function)
            return await forward(request)

    return rule


def test_a_refused_first_message_leaves_nothing(world: World, store: ShareStore) -> None:
    async def refuse(*_: object) -> None:
        raise CosignerError("party_set_unsupported", "No.", culprit=Culprit.CLIENT)

    with world.misbehaving(with_enclave("begin_dkg", refuse)), pytest.raises(EnclaveRefused):
        create(world, store)
    assert listed(store) == {}


def test_a_refused_second_message_leaves_nothing(world: World, store: ShareStore) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise CosignerError("wallet_exists", "No.", culprit=Culprit.CLIENT)

    with world.misbehaving(with_enclave("finish_dkg", refuse)), pytest.raises(EnclaveRefused) as caught:
        create(world, store)
    assert caught.value.code == "wallet_exists"
    assert listed(store) == {}
    assert stored(world) == set()


@pytest.mark.parametrize("written", [False, True])
def test_an_enclave_that_does_not_know_whether_it_stored_its_share_is_asked_again(
    world: World, store: ShareStore, written: bool
) -> None:
    """Storage wrote and then failed to say so: the enclave's refusal does not mean that it has no share."""
    real = enclave_realm.wallets.finish_dkg

    async def uncertain(*arguments: Any, **named: Any) -> OpenedWallet:
        if written:
            await real(*arguments, **named)
        raise CosignerError(
            "storage_unavailable", "No answer.", culprit=Culprit.STORAGE, reaction=Reaction.RETRY
        )

    with world.misbehaving(with_enclave("finish_dkg", uncertain)):
        if written:
            wallet = create(world, store)
            signs(world, store, wallet.wallet_id)
            return
        with pytest.raises(CosignerError) as caught:
            create(world, store)
    assert caught.value.code == "wallet_pending"
    assert list(listed(store).values()) == [True]


def test_an_id_that_is_taken_is_refused_and_the_wallet_that_has_it_stays(
    world: World, store: ShareStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create(world, store)
    monkeypatch.setattr("cosigner.keygen.uuid.uuid4", lambda: first.wallet_id)
    other = open_store(store._directory / "other")
    other._directory.mkdir()
    with pytest.raises(EnclaveRefused) as caught:
        create(world, other)
    assert caught.value.code == "wallet_exists"
    assert listed(other) == {}
    signs(world, store, first.wallet_id)


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": bytes(32)},
        {"epoch": 2},
        {"chain": "bitcoin"},
        {"network": "testnet"},
        {"threshold": 1},
        {"share_set_id": "0f8fad5b-d9cb-469f-a165-70867728950e"},
    ],
    ids=str,
)
def test_an_enclave_that_stored_another_wallet_is_found_out(
    world: World, store: ShareStore, change: dict[str, Any]
) -> None:
    real = enclave_realm.wallets.finish_dkg

    async def deceive(*arguments: Any, **named: Any) -> OpenedWallet:
        opened = await real(*arguments, **named)
        wallet = msgspec.structs.replace(opened.wallet, **change)
        opened.current = msgspec.structs.replace(opened.current, wallet=wallet)
        return opened

    with world.misbehaving(with_enclave("finish_dkg", deceive)), pytest.raises(CosignerError) as caught:
        create(world, store)
    assert (caught.value.code, caught.value.culprit) == ("wallet_mismatch", Culprit.ENCLAVE)
    assert list(listed(store).values()) == [True]


def test_a_wrong_confirmation_makes_no_wallet(world: World, store: ShareStore) -> None:
    real = enclave_realm.wallets.finish_dkg

    async def deceive(*arguments: Any, **named: Any) -> OpenedWallet:
        opened = await real(*arguments, **named)
        opened.current = msgspec.structs.replace(opened.current, confirmation=bytes(32))
        return opened

    with world.misbehaving(with_enclave("finish_dkg", deceive)), pytest.raises(ThresholdError) as caught:
        create(world, store)
    assert (caught.value.code, caught.value.culprit) == ("confirmation_mismatch", 2)
    assert list(listed(store).values()) == [True]


@pytest.mark.parametrize("field", ["message1", "message2"])
@pytest.mark.parametrize("content", [b"x", bytes(103), b"\xff" * 300])
def test_garbage_from_the_enclave_is_blamed_on_it_and_leaves_nothing(
    world: World, store: ShareStore, field: str, content: bytes
) -> None:
    real = enclave_realm.wallets.begin_dkg

    async def garble(*arguments: Any) -> DkgBegun:
        return msgspec.structs.replace(await real(*arguments), **{field: content})

    with world.misbehaving(with_enclave("begin_dkg", garble)), pytest.raises(ThresholdError) as caught:
        create(world, store)
    assert caught.value.culprit == 2
    assert listed(store) == {}
    assert stored(world) == set()


def test_a_host_that_swaps_the_stored_shares_is_found_out_when_a_wallet_is_settled(
    world: World, store: ShareStore
) -> None:
    with world.misbehaving(dead_after(FINISH, answered=True)), pytest.raises(CosignerError):
        create(world, store)
    other = create(world, open_store(store._directory))
    (pending,) = [wallet_id for wallet_id, open_ in listed(store).items() if open_]
    keys = {
        wallet_id: next(k for k in world.storage.records if wallet_id in k)
        for wallet_id in (pending, other.wallet_id)
    }
    records = world.storage.records
    honest = dict(records)
    records[keys[pending]], records[keys[other.wallet_id]] = (
        records[keys[other.wallet_id]],
        records[keys[pending]],
    )
    with pytest.raises(EnclaveRefused) as caught:
        resume_all(world, store)
    assert caught.value.code == "sealed_record_rejected"
    assert listed(store)[pending]
    records.update(honest)
    assert resume_all(world, store) != [None]
    signs(world, store, pending)


# --- the client dies ---------------------------------------------------------------------------------------------------------------


class ClientDied(BaseException):
    """The process is gone; nothing may go on after this."""


def test_a_client_that_dies_before_the_second_message_loses_nothing_of_value(
    world: World, store: ShareStore
) -> None:
    async def die(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) == FINISH:
            raise ClientDied
        return await forward(request)

    with world.misbehaving(die), pytest.raises(ClientDied):
        create(world, store)
    assert stored(world) == set()
    assert list(listed(store).values()) == [True]
    assert resume_all(world, store) == [None]
    assert list(listed(store).values()) == [True]


def test_a_host_that_hides_a_record_once_does_not_make_the_client_give_its_share_up(
    world: World, store: ShareStore
) -> None:
    with world.misbehaving(dead_after(FINISH, answered=True)), pytest.raises(CosignerError):
        create(world, store)
    (wallet_id,) = listed(store)
    world.restart()
    hidden = dict(world.storage.records)
    world.storage.records.clear()
    assert resume_all(world, store) == [None]
    world.storage.records.update(hidden)
    (wallet,) = resume_all(world, store)
    assert wallet is not None
    signs(world, store, wallet_id)


def test_a_pending_wallet_of_another_environment_is_not_asked_about(world: World, store: ShareStore) -> None:
    with world.misbehaving(dead_after(FINISH, answered=True)), pytest.raises(CosignerError):
        create(world, store)
    ((wallet_id, _),) = listed(store).items()
    path = store._directory / f"{wallet_id}.pending"
    path.write_bytes(path.read_bytes().replace(b"gsandbox", b"gelseone"))
    with pytest.raises(CosignerError) as caught:
        resume_all(world, store)
    assert caught.value.code == "environment_mismatch"


def test_a_client_that_dies_before_its_own_share_is_stored_never_lets_the_enclave_store_one(
    world: World, store: ShareStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise ClientDied

    with monkeypatch.context() as patch:
        patch.setattr(ShareStore, "save_pending", die)
        with pytest.raises(ClientDied):
            create(world, store)
    assert stored(world) == set()
    assert len(world.seen.records) == 1


def test_a_client_that_cannot_store_its_share_never_lets_the_enclave_store_one(
    world: World, store: ShareStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError) as caught:
            create(world, store)
    assert caught.value.code == "store_unwritable"
    assert stored(world) == set()


def test_a_client_that_dies_while_it_waits_for_the_answer_finds_its_wallet_again(
    world: World, store: ShareStore
) -> None:
    async def die(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if record_number(request) == FINISH:
            raise ClientDied
        return response

    with world.misbehaving(die), pytest.raises(ClientDied):
        create(world, store)
    ((wallet_id, pending),) = listed(store).items()
    assert pending
    assert stored(world) == {wallet_id}
    world.restart()
    (wallet,) = resume_all(world, store)
    assert wallet is not None
    signs(world, store, wallet_id)


@pytest.mark.parametrize("at", ["activate", "_save", "discard_pending"])
def test_a_client_that_dies_while_it_activates_its_share_finds_its_wallet_again(
    world: World, store: ShareStore, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Before anything was written, after ID.share was written, and before ID.pending was removed."""
    real = getattr(ShareStore, at)

    def die(self: ShareStore, *arguments: Any) -> None:
        if at == "_save":
            real(self, *arguments)
            if arguments[-1] != "share":
                return
        raise ClientDied

    with monkeypatch.context() as patch:
        patch.setattr(ShareStore, at, die)
        with pytest.raises(ClientDied):
            create(world, store)
    names = {path.suffix for path in store._directory.iterdir() if path.is_file()}
    assert names == ({".pending"} if at == "activate" else {".pending", ".share"})
    (wallet_id,) = listed(store)
    resume_all(world, store)
    assert listed(store) == {wallet_id: False}
    signs(world, store, wallet_id)


def test_an_enclave_that_dies_right_after_it_stored_its_share_loses_nothing(
    world: World, store: ShareStore
) -> None:
    async def die(request: httpx.Request, forward: Forward) -> httpx.Response:
        if record_number(request) == FINISH and not world.storage.records:
            await forward(request)
            world.restart()
            return problem(503, "enclave_unavailable")
        return await forward(request)

    with world.misbehaving(die):
        wallet = create(world, store)
    signs(world, store, wallet.wallet_id)


def test_storage_that_wrote_and_then_failed_loses_nothing(world: World, store: ShareStore) -> None:
    """The host acknowledges nothing, or says that somebody else was first: the share may still be there."""

    def fail(_: str) -> None:
        world.storage.after_put = lambda _: None
        raise CosignerError("storage_unavailable", "Lost.", culprit=Culprit.STORAGE, reaction=Reaction.RETRY)

    world.storage.after_put = fail
    wallet = create(world, store)
    assert listed(store) == {wallet.wallet_id: False}
    signs(world, store, wallet.wallet_id)


def test_the_memory_storage_of_these_tests_keeps_epochs() -> None:
    async def scenario() -> None:
        storage, key = World().storage, "environments/e/wallets/k"
        await storage.put(key, b"1", expected=0, epoch=1)
        with pytest.raises(StorageConflictError):
            await storage.put(key, b"2", expected=0, epoch=1)
        await storage.put(key, b"2", expected=1, epoch=2)
        assert await storage.get(key) == Found(epoch=2, value=b"2")

    asyncio.run(scenario())
