"""Refresh, recovery and import against the enclave's own parts: any message is lost, the device or the enclave dies anywhere, the host serves
old records. The wallet signs afterwards, and with nothing that is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosigner.backups import files
from cosigner.backups.making import BackupPlan
from cosigner.client import AsyncClient, Wallet
from cosigner.errors import CosignerError, StoreError
from cosigner.store import ShareStore
from protocol.envelope.errors import Culprit
from tests.cosigner.crashes import crash_at, steps_of
from tests.cosigner.payloads import solana_message
from tests.cosigner.person import CHEAP, Person
from tests.cosigner.world import Forward, Rule, record_number
from threshold.device import SecretKey


@pytest.fixture(autouse=True)
def cheap_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "new_setup", lambda: CHEAP)


def person_in(folder: Path) -> Person:
    folder.mkdir(parents=True, exist_ok=True)
    return Person(folder)


def refresh(person: Person, wallet: Wallet) -> None:
    person.do(lambda client: client.refresh_wallet(wallet.wallet_id))


def nth(number: int, what: Callable[[], None], *, answered: bool) -> Rule:
    """Something happens at the n-th record that the host sees, before it reaches the enclave or after; the answer is lost."""
    seen = 0

    async def rule(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal seen
        if record_number(request) is None:
            return await forward(request)
        seen += 1
        if seen - 1 != number:
            return await forward(request)
        if answered:
            await forward(request)
        what()
        raise httpx.ReadError("lost")

    return rule


def works(person: Person, wallet: Wallet) -> None:
    """The wallet signs, its shares can be renewed, and it signs again; older shares are over."""
    person.signs(wallet)
    old = person.share(wallet)
    refresh(person, wallet)
    person.signs(wallet)
    assert person.share(wallet).epoch == old.epoch + 1


RECORDS_OF_A_REFRESH = 5  # a question, begin without a credential and with one, finish, commit


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("number", range(RECORDS_OF_A_REFRESH + 1))
def test_a_refresh_that_loses_any_message(tmp_path: Path, number: int, answered: bool) -> None:  # noqa: FBT001
    person = person_in(tmp_path)
    wallet = person.create()
    with person.world.misbehaving(nth(number, lambda: None, answered=answered)):
        try:
            refresh(person, wallet)
        except CosignerError as error:
            assert error.code in {"host_unreachable", "renewal_pending"}  # noqa: PT017
    works(person, wallet)


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("number", range(RECORDS_OF_A_REFRESH + 1))
def test_a_refresh_during_which_the_enclave_dies(tmp_path: Path, number: int, answered: bool) -> None:  # noqa: FBT001
    person = person_in(tmp_path)
    wallet = person.create()
    with person.world.misbehaving(nth(number, person.world.restart, answered=answered)):
        try:
            refresh(person, wallet)
        except CosignerError as error:
            assert error.code in {"host_unreachable", "renewal_pending"}  # noqa: PT017
    works(person, wallet)


def test_a_refresh_that_reads_as_many_records_as_these_tests_think(tmp_path: Path) -> None:
    person = person_in(tmp_path)
    wallet = person.create()
    person.world.seen.records.clear()
    refresh(person, wallet)
    assert len(person.world.seen.records) == RECORDS_OF_A_REFRESH


def test_a_recovery_in_which_the_new_device_dies_at_any_file_operation(tmp_path: Path) -> None:
    """What was decided is settled; what was not is begun again, from the same backup."""
    person = person_in(tmp_path)
    plan = BackupPlan([person.place])

    def lost() -> Wallet:
        person.new_device(f"before-{len(list(tmp_path.iterdir()))}")
        wallet = person.create()
        person.do(lambda client: client.backup_wallet(wallet.wallet_id, plan))
        person.new_device(f"after-{len(list(tmp_path.iterdir()))}")
        return wallet

    def recover(wallet: Wallet) -> None:
        person.do(lambda client: client.recover_wallet(wallet.wallet_id, plan))

    first = lost()
    steps = steps_of(lambda: recover(first))
    assert steps > 20
    for step in range(0, steps, 3):
        wallet = lost()
        crash_at(step, lambda w=wallet: recover(w))
        here = {entry.info.wallet_id for entry in ShareStore.wallets(person.directory)}
        if wallet.wallet_id not in here:
            recover(wallet)
        try:
            person.signs(wallet)
        except StoreError as error:  # it died while it was deciding, and the network outlived it
            assert error.code == "recovery_unfinished"  # noqa: PT017
            recover(wallet)
            person.signs(wallet)


def test_an_import_in_which_the_device_dies_at_any_file_operation(tmp_path: Path) -> None:
    """Either the wallet is there, pending or active, and can be settled, or nothing was imported."""
    person = person_in(tmp_path)
    key = SecretKey.from_ed25519_seed(bytes(range(32)))
    steps = steps_of(lambda: person.do(lambda client: client.import_wallet(key, "solana")))
    for step in range(0, steps, 2):
        person.new_device(f"device-{step}")
        crash_at(step, lambda: person.do(lambda client: client.import_wallet(key, "solana")))

        async def settle(client: AsyncClient) -> None:
            for entry in ShareStore.wallets(person.directory):
                if entry.pending or entry.renewing:
                    await client.resume_wallet(entry.info.wallet_id)

        person.do(settle)
        for entry in ShareStore.wallets(person.directory):
            if not entry.pending:
                works(person, Wallet.of(entry.info))


def test_a_host_that_rolls_its_storage_back_to_any_point_is_noticed(tmp_path: Path) -> None:
    """Every record that was ever stored is served again by a fresh enclave: none but the newest is taken, and nothing is lost by it."""
    person = person_in(tmp_path)
    wallet = person.create()
    refresh(person, wallet)
    refresh(person, wallet)
    storage = person.world.storage
    (key,) = [key for key in storage.records if wallet.wallet_id in key]
    states = [(epoch, value) for name, epoch, value in storage.history if name == key]
    assert len(states) == 5  # made; twice: pending, active
    newest = storage.records[key]
    for state in states[:-1]:
        storage.records[key] = state
        person.world.restart()
        with pytest.raises(CosignerError) as caught:
            person.do(lambda client: client.sign_solana(wallet.wallet_id, solana_message(wallet.address)))
        assert (caught.value.code, caught.value.culprit) == ("epoch_stale", Culprit.STORAGE)
        with pytest.raises(CosignerError) as caught:
            refresh(person, wallet)
        assert caught.value.code == "epoch_stale"
        storage.records[key] = newest
        person.signs(wallet)
    works(person, wallet)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["lose", "restart", "rollback", "crash", "refresh"]),
        st.integers(min_value=0, max_value=RECORDS_OF_A_REFRESH + 1),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@given(events=EVENTS)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_order_of_misfortunes_leaves_a_wallet_that_signs(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, bool]]
) -> None:
    person = person_in(tmp_path_factory.mktemp("person"))
    wallet = person.create()
    storage = person.world.storage
    (key,) = [key for key in storage.records if wallet.wallet_id in key]
    for what, number, flag in events:
        if what == "crash":
            crash_at(number * 3, lambda: refresh(person, wallet), after=flag)
        elif what == "rollback":
            truth = storage.records[key]
            states = [(epoch, value) for name, epoch, value in storage.history if name == key]
            storage.records[key] = states[max(0, len(states) - 1 - number)]
            person.world.restart()
            with contextlib.suppress(CosignerError):
                refresh(person, wallet)
            if storage.records[key][0] <= truth[0]:  # nothing newer was made of the old record
                storage.records[key] = truth
            person.world.restart()
        else:
            happens = person.world.restart if what == "restart" else asyncio.sleep
            rule = nth(number, lambda h=happens: None if h is asyncio.sleep else h(), answered=flag)
            with contextlib.suppress(CosignerError):
                if what == "refresh":
                    refresh(person, wallet)
                with person.world.misbehaving(rule):
                    refresh(person, wallet)
        person.signs(wallet)
    works(person, wallet)
