"""Codes under storage that fails, enclaves that die, and guesses that come all at once."""

from __future__ import annotations

import asyncio

import pytest

from enclave.accounts import factors
from enclave.accounts.directory import Directory
from enclave.accounts.second_factors import SecondFactors
from enclave.accounts.user import new_user
from protocol.actions import RecoveryCode, TotpCode
from protocol.envelope.errors import CosignerError, Culprit
from tests.enclave.accounts.hostile import Died, HostileStorage, records, unavailable
from tests.enclave.accounts.users import MINUTE, NOW, code_at, refused, with_totp, wrong_code

RIGHT, WRONG = TotpCode(code_at(NOW)), TotpCode(wrong_code(NOW))


class World:
    async def begin(self):
        self.storage = HostileStorage()
        self.restart()
        user = await self.directory.create("user", name="", now_ms=NOW, complete=lambda new: new)
        self.user_id = user.user_id
        self.texts: list[str] = []

        def enrol(record):
            enrolled, self.texts = with_totp(record)
            return enrolled

        await self.directory.change(self.user_id, enrol)
        return self

    def restart(self):
        self.directory = Directory(records(self.storage))
        self.second_factors = SecondFactors(self.directory)

    async def spend(self, code, now=NOW):
        await self.second_factors.spend(self.user_id, code, now)

    async def lockout(self):
        return (await Directory(records(self.storage)).get(self.user_id)).lockout


def in_world(scenario):
    def test():
        async def run():
            await scenario(await World().begin())

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@in_world
async def test_a_right_code_works_once_also_in_the_next_enclave(world):
    await world.spend(RIGHT)
    for _ in range(2):
        with refused("evidence_invalid"):
            await world.spend(RIGHT)
        world.restart()


@in_world
async def test_a_recovery_code_works_once_also_in_the_next_enclave(world):
    await world.spend(RecoveryCode(world.texts[3]))
    for _ in range(2):
        with refused("evidence_invalid"):
            await world.spend(RecoveryCode(world.texts[3]))
        world.restart()


@in_world
async def test_five_wrong_codes_lock_also_the_next_enclave(world):
    await world.spend(RIGHT)
    for _ in range(5):
        with refused("evidence_invalid"):
            await world.spend(WRONG)
    later = TotpCode(code_at(NOW, drift=1))
    for _ in range(2):
        with refused("factor_locked"):
            await world.spend(later)
        world.restart()
    assert (await world.lockout()).until == NOW + 15 * MINUTE
    await world.spend(TotpCode(code_at(NOW + 15 * MINUTE)), NOW + 15 * MINUTE)


@in_world
async def test_until_a_right_code_was_seen_two_wrong_ones_lock(world):
    for _ in range(2):
        with refused("evidence_invalid"):
            await world.spend(WRONG)
    with refused("factor_locked"):
        await world.spend(RIGHT)


@in_world
async def test_of_many_guesses_at_once_only_the_free_ones_are_looked_at(world):
    await world.spend(RIGHT)
    results = await asyncio.gather(*(world.spend(WRONG) for _ in range(30)), return_exceptions=True)
    codes = [one.code for one in results]
    assert (codes.count("evidence_invalid"), codes.count("factor_locked")) == (5, 25)


@in_world
async def test_guesses_at_several_enclaves_at_once_are_counted_together(world):
    others = [SecondFactors(Directory(records(world.storage))) for _ in range(4)]
    await asyncio.gather(
        *(one.spend(world.user_id, WRONG, NOW) for one in others for _ in range(3)), return_exceptions=True
    )
    lockout = await world.lockout()
    assert lockout.until > NOW
    with refused("factor_locked"):
        await world.spend(RIGHT)


@in_world
async def test_a_code_that_comes_many_times_at_once_works_once(world):
    results = await asyncio.gather(*(world.spend(RIGHT) for _ in range(4)), return_exceptions=True)
    assert results.count(None) == 1


@pytest.mark.parametrize(
    "fault", [("before", unavailable()), ("after", unavailable()), ("before", Died), ("after", Died)]
)
def test_a_code_is_not_looked_at_before_the_attempt_is_acknowledged(fault, monkeypatch):
    looked = []
    use = factors.use_totp
    monkeypatch.setattr(factors, "use_totp", lambda *a, **k: looked.append(1) or use(*a, **k))

    async def scenario():
        world = await World().begin()
        world.storage.faults = [fault]
        with pytest.raises((Died, CosignerError)) as caught:
            await world.spend(RIGHT)
        assert isinstance(caught.value, Died) or caught.value.culprit is Culprit.STORAGE
        assert not looked
        world.restart()
        await world.spend(RIGHT)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "fault", [("before", unavailable()), ("after", unavailable()), ("before", Died), ("after", Died)]
)
def test_a_right_code_counts_only_once_its_use_is_acknowledged(fault):
    async def scenario():
        world = await World().begin()
        world.storage.faults = [None, fault]
        with pytest.raises((Died, CosignerError)):
            await world.spend(RIGHT)
        world.restart()
        if fault[0] == "before":
            assert (await world.lockout()).attempts == 1  # counted, and not forgiven
            await world.spend(RIGHT)
        with refused("evidence_invalid"):
            await world.spend(RIGHT)

    asyncio.run(scenario())


@in_world
async def test_a_host_that_drops_the_count_gives_no_free_guesses(world):
    """Every write of an attempt is lost, as the host says."""
    world.storage.faults = [("before", unavailable())] * 100
    for _ in range(100):
        with pytest.raises(CosignerError) as caught:
            await world.spend(WRONG)
        assert caught.value.code == "storage_unavailable"


@in_world
async def test_a_host_that_serves_the_record_from_before_the_guesses_is_caught(world):
    await world.spend(RIGHT)
    before = world.storage.snapshot()
    for _ in range(4):
        with refused("evidence_invalid"):
            await world.spend(WRONG)
    world.storage.roll_back(before)
    world.directory._records._cache.clear()
    with pytest.raises(CosignerError) as caught:
        await world.spend(WRONG)
    assert (caught.value.code, caught.value.culprit) == ("epoch_stale", Culprit.STORAGE)


def test_who_has_no_second_factor_or_is_nobody_has_nothing_to_spend():
    async def scenario():
        world = await World().begin()
        user = await world.directory.create("user", name="", now_ms=NOW, complete=lambda new: new)
        for user_id, code in ((user.user_id, "factor_required"), (new_user.__name__, "user_unknown")):
            with refused(code):
                await world.second_factors.spend(user_id, RIGHT, NOW)

    asyncio.run(scenario())
