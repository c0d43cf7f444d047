"""New shares: whoever dies, loses an answer or rolls storage back, the wallet signs, and never with a share that is over."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cosigner import reshare, settling
from cosigner.errors import CosignerError, EnclaveRefused, StoreError
from cosigner.reshare import NewShares
from cosigner.store import ShareStore
from protocol.envelope.errors import Culprit
from protocol.messages import WalletReply
from tests.cosigner.crashes import crash_at, steps_of
from tests.cosigner.model import Model, When
from tests.cosigner.world import open_store
from threshold import KeyShare, ThresholdError, frost_begin, frost_respond

CHAINS = ["solana", "bitcoin", "ethereum"]


class Device:
    """A device with a store, and what it does with a wallet."""

    def __init__(self, model: Model, directory: Path) -> None:
        self.model, self.directory = model, directory
        self.kept: dict[int, KeyShare] = {}

    @property
    def store(self) -> ShareStore:
        """Opened anew each time: nothing is remembered but what lies in files."""
        return open_store(self.directory)

    def settle(self) -> WalletReply:
        return asyncio.run(settling.settle(self.model, self.store, self.model.wallet_id))  # type: ignore[arg-type]

    def share(self) -> KeyShare:
        return self.store.load(self.model.wallet_id)[0]

    def renew(self, parties: int = 2, *, share: KeyShare | None = None, purpose: Any = "refresh") -> None:
        store = self.store
        found = self.settle()
        share = share or self.share()

        async def prepare(new: NewShares) -> None:
            self.kept = {party: one for party, one in new.shares.items() if party != 1}

        asyncio.run(
            reshare.renew(
                self.model,  # type: ignore[arg-type]
                store,
                share,
                found,
                purpose=purpose,
                parties=parties,
                prepare=prepare,
            )
        )

    def signs(self) -> bool:
        """After settling, as a client does before it signs."""
        self.settle()
        return self.model.signs_with(self.share())


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return made(tmp_path)


def made(directory: Path, chain: str = "solana") -> Device:
    model = Model(chain)
    device = Device(model, directory / "store")
    device.directory.mkdir()
    model.on_device(device.store)
    return device


def files(device: Device) -> set[str]:
    return {path.suffix for path in device.directory.iterdir()}


# --- when all goes well ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", ["solana", "bitcoin"])
def test_a_refresh_keeps_the_key_and_makes_the_old_share_worthless(tmp_path: Path, chain: str) -> None:
    device = made(tmp_path, chain)
    old = device.share()
    for epoch in (2, 3, 4):
        device.renew()
        new, stored = device.store.load(device.model.wallet_id)
        assert (new.epoch, stored.info.epoch) == (epoch, epoch)
        assert new.group_public_key == old.group_public_key == stored.info.public_key
        assert device.signs()
        assert not device.model.signs_with(old)
        old = new
    assert files(device) == {".share", ".epoch"}


def test_two_of_three_and_back(device: Device) -> None:
    device.renew(3, purpose="reshare")
    backup_share = device.kept[3]
    assert device.signs()
    assert device.model.signs_with(backup_share)
    nonces, commitments = frost_begin(device.share(), 1)
    answer = frost_respond(backup_share, [b"message"], {1: commitments})
    assert nonces.finish(device.share(), [b"message"], {3: answer})
    device.renew(2, purpose="reshare")
    assert device.signs()
    assert not device.model.signs_with(backup_share)


def test_the_share_of_another_party_never_lies_in_the_store(device: Device) -> None:
    device.renew(3, purpose="reshare")
    assert device.share().identifier == 1
    assert files(device) == {".share", ".epoch"}


def test_a_new_device_comes_by_the_wallet_with_the_backup_share(device: Device, tmp_path: Path) -> None:
    device.renew(3, purpose="reshare")
    lost = device.share()
    new = Device(device.model, tmp_path / "new")
    new.directory.mkdir()
    new.renew(3, share=device.kept[3], purpose="recover")
    assert new.signs()
    assert not device.model.signs_with(lost)
    with pytest.raises(StoreError) as caught:
        device.signs()
    assert caught.value.code == "share_outdated"


@pytest.mark.parametrize("parties", [0, 1, 6])
def test_a_wallet_has_two_to_five_shares(device: Device, parties: int) -> None:
    with pytest.raises(CosignerError) as caught:
        device.renew(parties)
    assert caught.value.code == "parties_unsupported"
    assert set(device.model.asked) == {"wallet_get"}


# --- crashes -----------------------------------------------------------------------------------------------------------------------


def test_a_device_that_dies_at_any_file_operation_loses_nothing(tmp_path: Path) -> None:
    first = made(tmp_path)
    steps = steps_of(first.renew)
    assert steps > 8
    for step in range(steps):
        for after in (False, True):
            directory = tmp_path / f"{step}-{after}"
            directory.mkdir()
            device = made(directory)
            old = device.share()
            assert crash_at(step, device.renew, after=after) or after  # what is not there cannot be unlinked
            assert device.signs()
            assert device.model.record.pending is None or device.share().epoch == 1
            device.renew()  # and it can be refreshed again
            assert device.signs()
            assert not device.model.signs_with(old)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "kind", ["wallet_get", "reshare_begin", "reshare_finish", "reshare_commit", "reshare_abort"]
)
def test_any_message_that_is_lost_loses_nothing(device: Device, kind: str, when: When) -> None:
    """The one that is lost is the first of its kind; an abort is sent because nothing else got through."""
    old = device.share()
    lost = {kind, "reshare_commit"} if kind == "reshare_abort" else {kind}

    def fault(request: Any) -> When | None:
        if request.kind in lost:
            lost.discard(request.kind)
            return when
        return None

    device.model.fault = fault
    try:
        device.renew()
    except CosignerError as error:
        assert error.code in {"host_unreachable", "renewal_pending"}  # noqa: PT017
    assert device.signs()
    device.renew()
    assert device.signs()
    assert not device.model.signs_with(old)


def test_what_was_decided_is_committed_later(device: Device) -> None:
    old = device.share()
    down = False

    def fault(request: Any) -> When | None:
        nonlocal down
        down = down or request.kind == "reshare_commit"
        return "before" if down else None

    device.model.fault = fault
    with pytest.raises(CosignerError) as caught:
        device.renew()
    assert caught.value.code == "renewal_pending"
    assert files(device) == {".share", ".next"}
    (listed,) = ShareStore.wallets(device.directory)
    assert (listed.pending, listed.renewing, listed.info.epoch) == (False, True, 1)
    device.model.fault = lambda _: None
    assert device.signs()
    assert (device.share().epoch, files(device)) == (2, {".share", ".epoch"})
    assert not device.model.signs_with(old)


def test_what_nobody_decided_is_dropped(device: Device) -> None:
    """A device died after the enclave had stored its new share and before it wrote down its own."""

    class DeadError(BaseException):
        pass

    async def dead(_: NewShares) -> None:
        device.model.fault = lambda _: "before"
        raise DeadError

    found, share = device.settle(), device.share()
    with pytest.raises(DeadError):
        asyncio.run(
            reshare.renew(
                device.model,  # type: ignore[arg-type]
                device.store,
                share,
                found,
                purpose="refresh",
                parties=2,
                prepare=dead,
            )
        )
    device.model.fault = lambda _: None
    assert device.model.record.pending is not None
    assert device.signs()
    assert device.share().epoch == 1
    device.renew()
    assert device.signs()


def test_rules_that_want_a_backup_first_leave_the_wallet_as_it_was(device: Device) -> None:
    device.model.backup_required = True
    with pytest.raises(EnclaveRefused) as caught:
        device.renew()
    assert caught.value.code == "backup_required"
    assert device.model.record.pending is None
    assert device.signs()
    assert device.share().epoch == 1


def decided_and_dead(device: Device, parties: int = 2) -> None:
    """The device dies after it has decided, before the enclave hears of it."""
    down = False

    def fault(request: Any) -> When | None:
        nonlocal down
        down = down or request.kind == "reshare_commit"
        return "before" if down else None

    device.model.fault = fault
    with pytest.raises(CosignerError):
        device.renew(parties, purpose="reshare")
    device.model.fault = lambda _: None
    assert files(device) >= {".share", ".next"}


def test_rules_that_want_a_backup_first_do_not_lock_a_device_that_died_after_it_decided(
    device: Device,
) -> None:
    device.model.backup_required = True
    decided_and_dead(device)
    assert device.signs()
    assert (device.share().epoch, device.model.record.pending) == (1, None)
    device.model.backup_required = False
    device.renew()
    assert device.signs()


def test_a_commit_refused_for_want_of_a_backup_whose_abort_is_lost_does_not_lock_the_device(
    device: Device,
) -> None:
    device.model.backup_required = True
    device.model.fault = lambda request: "before" if request.kind == "reshare_abort" else None
    with pytest.raises(CosignerError):
        device.renew()
    device.model.fault = lambda _: None
    assert device.model.record.pending is not None
    assert device.signs()
    device.model.backup_required = False
    device.renew()
    assert device.signs()


def test_two_that_settle_at_once_on_one_device_both_find_it_settled(device: Device) -> None:
    """Two calls of one program, or two programs: the second has committed and adopted before the first one's commit arrives."""
    decided_and_dead(device)
    first = True

    def fault(request: Any) -> When | None:
        nonlocal first
        if request.kind == "reshare_commit" and first:
            first = False
            with ThreadPoolExecutor(1) as elsewhere:
                elsewhere.submit(device.settle).result()
        return None

    device.model.fault = fault
    device.settle()
    assert not first
    assert device.share().epoch == 2
    assert device.signs()


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """While the first answer about the wallet is on its way, something else happens on the device."""
    real, first = Model._answer, True

    def answer(model: Model, request: Any, session: Any) -> Any:
        nonlocal first
        reply = real(model, request, session)
        if request.kind == "wallet_get" and first:
            first = False
            with ThreadPoolExecutor(1) as elsewhere:
                elsewhere.submit(act).result()
        return reply

    monkeypatch.setattr(Model, "_answer", answer)


def test_a_renewal_that_ends_while_an_answer_is_on_its_way_is_no_rollback(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, device.renew)
    device.settle()
    assert device.share().epoch == 2
    assert device.signs()


def test_an_answer_that_the_host_holds_back_does_not_undo_what_was_decided_meanwhile(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call asks while an old decision is open. Before the answer arrives, another has dropped that, and decided again."""
    other = Device(device.model, tmp_path / "other")
    shutil.copytree(device.directory, other.directory)
    decided_and_dead(device)
    asyncio.run(settling.abort(device.model, device.model.wallet_id, 2))  # type: ignore[arg-type]
    other.renew()

    def decide_again() -> None:
        device.settle()  # which drops it: the other device's shares count
        device.model.fault = lambda request: "before" if request.kind == "reshare_commit" else None
        with pytest.raises(CosignerError):
            device.renew(share=other.share(), purpose="recover")
        device.model.fault = lambda _: None

    meanwhile(monkeypatch, decide_again)
    device.settle()
    assert ".next" in files(device)
    assert device.signs()
    assert device.share().epoch == 3


def test_what_another_device_left_waiting_for_more_parties_does_not_lock_the_device(
    device: Device, tmp_path: Path
) -> None:
    other = Device(device.model, tmp_path / "other")
    shutil.copytree(device.directory, other.directory)
    decided_and_dead(device)
    asyncio.run(settling.abort(device.model, device.model.wallet_id, 2))  # type: ignore[arg-type]
    decided_and_dead(other, 3)
    assert device.signs()
    assert other.signs()
    assert other.share().epoch == 2


def test_a_renewal_that_another_device_overtook_is_not_said_to_have_worked(
    device: Device, tmp_path: Path
) -> None:
    """Between the decision and its commit another device aborts it, and renews the shares itself."""
    other = Device(device.model, tmp_path / "other")
    shutil.copytree(device.directory, other.directory)
    overtaken = False

    def fault(request: Any) -> When | None:
        nonlocal overtaken
        if request.kind == "reshare_commit" and not overtaken:
            overtaken = True
            with ThreadPoolExecutor(1) as elsewhere:
                elsewhere.submit(other.renew).result()
        return None

    device.model.fault = fault
    with pytest.raises(StoreError) as caught:
        device.renew()
    assert caught.value.code == "share_outdated"
    assert other.signs()
    with pytest.raises(StoreError):
        device.share()


# --- rollback ----------------------------------------------------------------------------------------------------------------------


def test_storage_rolled_back_at_every_point_is_noticed_and_loses_nothing(tmp_path: Path) -> None:
    device = made(tmp_path)
    device.renew()
    device.renew(3, purpose="reshare")
    true = len(device.model.history) - 1
    for point in range(true):
        device.model.roll_back(point)
        with pytest.raises(CosignerError) as caught:
            device.signs()
        assert (caught.value.code, caught.value.culprit) == ("epoch_stale", Culprit.STORAGE)
        with pytest.raises(CosignerError):
            device.renew()
        device.model.roll_back(true)
        assert device.signs()


def lost_commit(device: Device) -> int:
    """The enclave commits, and the device does not learn it; returns where in the history that is."""
    down = False

    def fault(request: Any) -> When | None:
        nonlocal down
        if request.kind == "reshare_commit":
            down = True
            return "after"
        return "before" if down else None

    device.model.fault = fault
    with pytest.raises(CosignerError) as caught:
        device.renew()
    assert caught.value.code == "renewal_pending"
    device.model.fault = lambda _: None
    return len(device.model.history) - 1


def test_a_record_hidden_after_the_decision_is_waited_for(device: Device) -> None:
    """The host rolls back to before the ceremony while the device does not know whether its commit arrived."""
    old = device.share()
    committed = lost_commit(device)
    device.model.roll_back(0)
    assert device.signs()  # with the old share: this device has never seen the new epoch in force
    assert files(device) == {".share", ".next"}
    device.model.roll_back(committed)
    assert device.signs()
    assert device.share().epoch == 2
    assert not device.model.signs_with(old)


def test_what_was_decided_survives_another_ceremony_that_is_not_committed(device: Device) -> None:
    """As before, and meanwhile the user tries again."""
    committed = lost_commit(device)
    device.model.roll_back(0)
    device.model.fault = lambda request: "before" if request.kind == "reshare_commit" else None
    with pytest.raises(CosignerError):
        device.renew()
    device.model.fault = lambda _: None
    assert files(device) == {".share", ".next", ".aside"}
    device.model.roll_back(committed)
    assert device.signs()
    assert files(device) == {".share", ".epoch"}


def test_a_store_put_back_from_an_old_copy_is_noticed(device: Device, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(device.directory, copy)
    device.renew()
    old = Device(device.model, copy)
    with pytest.raises(StoreError) as caught:
        old.signs()
    assert caught.value.code == "share_outdated"
    with pytest.raises(StoreError) as caught:
        old.renew()
    assert caught.value.code == "share_outdated"
    with pytest.raises(
        StoreError
    ) as caught:  # it has learnt the newest epoch, and needs nobody to say so again
        old.share()
    assert caught.value.code == "share_outdated"


def test_an_old_share_file_beside_the_newest_epoch_is_not_opened(device: Device) -> None:
    path = device.directory / f"{device.model.wallet_id}.share"
    before = path.read_bytes()
    device.renew()
    path.write_bytes(before)
    with pytest.raises(StoreError) as caught:
        device.share()
    assert caught.value.code == "share_outdated"


def test_an_epoch_file_altered_anywhere_is_refused(device: Device) -> None:
    device.renew()
    path = device.directory / f"{device.model.wallet_id}.epoch"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(StoreError) as caught:
            device.share()
        assert caught.value.code in {"store_malformed", "share_rejected"}


def test_a_decided_file_altered_anywhere_is_refused_and_kept(device: Device) -> None:
    device.model.fault = lambda request: "before" if request.kind == "reshare_commit" else None
    with pytest.raises(CosignerError):
        device.renew()
    device.model.fault = lambda _: None
    path = device.directory / f"{device.model.wallet_id}.next"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(StoreError) as caught:
            device.settle()
        assert caught.value.code in {"store_malformed", "share_rejected"}
        assert path.read_bytes() == damaged
    path.write_bytes(content)
    assert device.signs()
    assert device.share().epoch == 2


# --- an enclave that cheats --------------------------------------------------------------------------------------------------------


def test_an_enclave_that_deals_another_share_than_its_own_is_found_out(device: Device) -> None:
    stranger = Model().record.active.share

    class Cheat(Model):
        def _begin(self, request: Any, session: Any) -> Any:
            true = self.record
            self._write(active=true.active.__class__(true.active.wallet, stranger, true.active.confirmation))
            try:
                return super()._begin(request, session)
            finally:
                self._write(active=true.active)

    device.model.__class__ = Cheat
    with pytest.raises((ThresholdError, CosignerError)):
        device.renew()
    device.model.__class__ = Model
    assert device.signs()
    assert device.share().epoch == 1


# --- all of it at random -----------------------------------------------------------------------------------------------------------


class Interleavings(RuleBasedStateMachine):
    """Refreshes that lose any message, die at any file operation, and are gone on with or begun again: the wallet always signs."""

    @initialize(tmp=st.integers())
    def begin(self, tmp: int) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.device = made(Path(self.folder.name))
        self.stolen: list[KeyShare] = [self.device.share()]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(
        lost=st.lists(
            st.tuples(
                st.sampled_from(
                    ["wallet_get", "reshare_begin", "reshare_finish", "reshare_commit", "reshare_abort"]
                ),
                st.sampled_from(["before", "after"]),
            ),
            max_size=4,
        ),
        parties=st.sampled_from([2, 3]),
    )
    def renew_over_a_bad_line(self, lost: list[tuple[str, When]], parties: int) -> None:
        left = list(lost)

        def fault(request: Any) -> When | None:
            if left and left[0][0] == request.kind:
                return left.pop(0)[1]
            return None

        self.device.model.fault = fault
        try:
            self.device.renew(parties, purpose="reshare")
        except CosignerError:
            pass
        finally:
            self.device.model.fault = lambda _: None

    @rule(step=st.integers(min_value=0, max_value=30), after=st.booleans())
    def renew_and_die(self, step: int, after: bool) -> None:  # noqa: FBT001
        crash_at(step, self.device.renew, after=after)

    @rule()
    def settle(self) -> None:
        self.device.settle()

    @precondition(lambda self: hasattr(self, "device"))
    @invariant()
    def the_wallet_signs_and_stolen_shares_do_not(self) -> None:
        if not hasattr(self, "device"):
            return
        assert self.device.signs()
        now = self.device.share()
        if now.epoch != self.stolen[-1].epoch:
            self.stolen.append(now)
        for stolen in self.stolen[:-1]:
            assert not self.device.model.signs_with(stolen)


Interleavings.TestCase.settings = settings(
    max_examples=40, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
TestInterleavings = Interleavings.TestCase
