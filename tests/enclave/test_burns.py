"""The delay after burnt sessions: the first is free, then it doubles up to a limit, and is forgotten in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from enclave import burns as room
from enclave.burns import FIRST_DELAY, FORGET, FREE, MAX_DELAY, Burns
from protocol.envelope.errors import CosignerError, Culprit, Reaction

WALLETS = [f"0000000{index}-0000-4000-8000-000000000000" for index in range(4)]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def burns(clock):
    return Burns(clock)


@pytest.fixture
def wallet(burns):
    return burns.of("sandbox", WALLETS[0])


def delayed(wallet) -> bool:
    try:
        wallet.require_patience()
    except CosignerError as refused:
        error = refused
    else:
        return False
    assert (error.code, error.culprit, error.reaction) == ("burn_delay", Culprit.CLIENT, Reaction.ABORT)
    return True


def delay_of(wallet, clock) -> float:
    """How long a wallet has to wait from now on, found by asking at every quarter of a second."""
    start = clock.now
    while delayed(wallet):
        clock.now += 0.25
        assert clock.now < start + 2 * MAX_DELAY
    waited, clock.now = clock.now - start, start
    return waited


def test_a_wallet_without_burns_does_not_wait(wallet):
    assert not delayed(wallet)


def test_the_first_burn_is_free_and_then_the_delay_doubles(wallet, clock):
    delays = []
    for _ in range(6):
        wallet.record()
        delays.append(delay_of(wallet, clock))
    assert FREE == 1
    assert delays == [0, *(FIRST_DELAY * 2**n for n in range(5))]


def test_the_delay_has_a_limit(wallet, clock):
    for _ in range(200):
        wallet.record()
    assert delay_of(wallet, clock) == MAX_DELAY == 300


def test_the_delay_runs_from_the_last_burn(wallet, clock):
    for _ in range(4):
        wallet.record()
        clock.now += 100
    assert not delayed(wallet)  # 4 s are over
    wallet.record()
    assert delay_of(wallet, clock) == 8


def test_asking_does_not_prolong_the_delay(wallet, clock):
    for _ in range(3):
        wallet.record()
    for _ in range(100):
        assert delayed(wallet)
    clock.now += 2
    assert not delayed(wallet)


def test_the_refusal_says_how_long(wallet):
    for _ in range(8):
        wallet.record()
    with pytest.raises(CosignerError, match=r"burnt 8 times .* in 64 seconds"):
        wallet.require_patience()


def test_burns_are_forgotten_after_a_quiet_hour(wallet, clock):
    for _ in range(20):
        wallet.record()
    clock.now += FORGET - 1
    wallet.record()  # not yet quiet for an hour: the count goes on
    assert delay_of(wallet, clock) == MAX_DELAY
    clock.now += FORGET
    assert not delayed(wallet)
    wallet.record()
    assert not delayed(wallet)  # free again
    wallet.record()
    assert delay_of(wallet, clock) == FIRST_DELAY


def test_the_longest_delay_is_over_before_it_is_forgotten():
    assert MAX_DELAY < FORGET


def test_wallets_and_environments_are_counted_apart(burns, clock):
    burnt = burns.of("sandbox", WALLETS[0])
    for _ in range(5):
        burnt.record()
    for environment, wallet_id in (("sandbox", WALLETS[1]), ("live", WALLETS[0]), ("live", WALLETS[1])):
        assert not delayed(burns.of(environment, wallet_id))
    assert delayed(burns.of("sandbox", WALLETS[0]))


def test_a_bounded_number_of_wallets_is_remembered(burns, monkeypatch):
    monkeypatch.setattr(room, "_REMEMBERED", 3)
    wallets = [burns.of("sandbox", wallet_id) for wallet_id in WALLETS]
    for wallet in wallets[:3]:
        for _ in range(3):
            wallet.record()
    wallets[0].record()  # burnt last: it is not the one that makes room
    wallets[3].record()
    assert [delayed(wallet) for wallet in wallets] == [True, False, True, False]
    assert len(burns._burns) == 3


def test_burns_of_many_threads_all_count(wallet):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: wallet.record(), range(400)))
    with pytest.raises(CosignerError, match="400 times"):
        wallet.require_patience()
