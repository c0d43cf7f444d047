"""The plug is pulled on each side at every step of a handover; both start again, settle, and the wallet signs."""

from __future__ import annotations

import itertools

import pytest

from tests.enclave.lifecycle.devices import Device, Died, device, unavailable
from tests.support.world import run

STEPS = ("begin", "finish", "commit")


async def step(one: Device, name: str, purpose: str, parties: int, dealer: int) -> None:
    if name == "begin":
        await one.begin(purpose, parties, dealer)
    else:
        await getattr(one, name)()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Died, unavailable()], ids=["the enclave dies", "storage fails"])
@pytest.mark.parametrize(
    "how",
    [(2, "refresh", 2, 1), (2, "reshare", 3, 1), (3, "recover", 2, 3)],
    ids=["refresh", "2-of-2 to 2-of-3", "recovery with the backup share"],
)
def test_an_enclave_that_dies_at_any_write_of_a_handover_loses_no_wallet(how, error, when):
    """Every put and every entry of the log is one crash point; they are all tried, until the handover needs no more."""
    before, purpose, parties, dealer = how
    outcomes = []

    async def scenario(number: int) -> None:
        one = await device(before, passkey=True)
        start = one.epoch
        one.die_at(number, when, error)
        went_well = True
        for name in STEPS:
            went_well = went_well and await one.survive(step(one, name, purpose, parties, dealer))
        one.let_live()
        await one.signs()
        await one.settle()
        await one.signs()
        assert one.epoch in {start, start + 1}
        assert not one.kept
        outcomes.append((went_well, one.epoch - start))
        # And what is left behind keeps nobody from trying again.
        for name in STEPS:
            await step(one, name, "refresh", one.epochs[one.epoch][1].max_signers, 1)
        await one.signs()

    for number in itertools.count():
        run(lambda number=number: scenario(number))
        if outcomes[-1][0]:
            break
    assert (
        len(outcomes) > 4
    )  # the crash points were really there: entries and records of begin, finish, commit
    assert outcomes[-1] == (True, 1)
    assert {moved for went_well, moved in outcomes if not went_well} == {0, 1}


@pytest.mark.parametrize("lost", STEPS)
@pytest.mark.parametrize("restart", [False, True], ids=["the same enclave", "another enclave"])
def test_a_device_that_dies_or_loses_an_answer_settles(lost, restart):
    """The enclave has done the step; the device has stored what it had before it."""

    async def scenario() -> None:
        one = await device()
        for name in STEPS[: STEPS.index(lost)]:
            await step(one, name, "refresh", 2, 1)
        epochs, kept = (
            dict(one.epochs),
            {
                epoch: type(old)(old.state, old.confirmation, dict(old.shares))
                for epoch, old in one.kept.items()
            },
        )
        await step(one, lost, "refresh", 2, 1)
        one.epochs, one.kept, one.ceremony = epochs, kept, None
        if restart:
            await one.restart_enclave()
        else:
            await one.user.reopen()
        await one.signs()
        await one.settle()
        await one.signs()
        assert one.epoch == (2 if lost == "commit" else 1)
        for name in STEPS:
            await step(one, name, "refresh", 2, 1)
        await one.signs()

    run(scenario)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_abort_that_is_cut_short_happened_or_did_not(when):
    ended = []

    async def scenario(number: int) -> None:
        one = await device()
        await one.begin("refresh", 2)
        await one.finish()
        one.die_at(number, when)
        ended.append(await one.survive(one.abort()))
        one.let_live()
        await one.signs()
        await one.settle()
        await one.signs()

    for number in itertools.count():
        run(lambda number=number: scenario(number))
        if ended[-1]:
            break
    assert len(ended) > 2
