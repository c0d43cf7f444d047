"""The delay after burnt sessions: the first is free, then it doubles up to a limit, and is forgotten in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from enclave import burns as room
from enclave.burns import FIRST_DELAY, FORGET, FREE, MAX_DELAY, Burns
from protocol.envelope.errors import CosignerError, Culprit, Reaction

USERS = [f"0000000{index}-0000-4000-8000-000000000000" for index in range(4)]


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
def user(burns):
    return burns.of("sandbox", USERS[0])


def delayed(user) -> bool:
    try:
        user.require_patience()
    except CosignerError as refused:
        error = refused
    else:
        return False
    assert (error.code, error.culprit, error.reaction) == ("burn_delay", Culprit.CLIENT, Reaction.ABORT)
    return True


def delay_of(user, clock) -> float:
    """How long a user has to wait from now on, found by asking at every quarter of a second."""
    start = clock.now
    while delayed(user):
        clock.now += 0.25
        assert clock.now < start + 2 * MAX_DELAY
    waited, clock.now = clock.now - start, start
    return waited


def test_a_user_without_burns_does_not_wait(user):
    assert not delayed(user)


def test_the_first_burn_is_free_and_then_the_delay_doubles(user, clock):
    delays = []
    for _ in range(6):
        user.record()
        delays.append(delay_of(user, clock))
    assert FREE == 1
    assert delays == [0, *(FIRST_DELAY * 2**n for n in range(5))]


def test_the_delay_has_a_limit(user, clock):
    for _ in range(200):
        user.record()
    assert delay_of(user, clock) == MAX_DELAY == 300


def test_the_delay_runs_from_the_last_burn(user, clock):
    for _ in range(4):
        user.record()
        clock.now += 100
    assert not delayed(user)  # 4 s are over
    user.record()
    assert delay_of(user, clock) == 8


def test_asking_does_not_prolong_the_delay(user, clock):
    for _ in range(3):
        user.record()
    for _ in range(100):
        assert delayed(user)
    clock.now += 2
    assert not delayed(user)


def test_the_refusal_says_how_long(user):
    for _ in range(8):
        user.record()
    with pytest.raises(CosignerError, match=r"8 sessions of this user were burnt; .* in 64 seconds"):
        user.require_patience()


def test_burns_are_forgotten_after_a_quiet_hour(user, clock):
    for _ in range(20):
        user.record()
    clock.now += FORGET - 1
    user.record()  # not yet quiet for an hour: the count goes on
    assert delay_of(user, clock) == MAX_DELAY
    clock.now += FORGET
    assert not delayed(user)
    user.record()
    assert not delayed(user)  # free again
    user.record()
    assert delay_of(user, clock) == FIRST_DELAY


def test_the_longest_delay_is_over_before_it_is_forgotten():
    assert MAX_DELAY < FORGET


def test_users_and_environments_are_counted_apart(burns, clock):
    burnt = burns.of("sandbox", USERS[0])
    for _ in range(5):
        burnt.record()
    for environment, user_id in (("sandbox", USERS[1]), ("live", USERS[0]), ("live", USERS[1])):
        assert not delayed(burns.of(environment, user_id))
    assert delayed(burns.of("sandbox", USERS[0]))


def test_a_bounded_number_of_users_is_remembered(burns, monkeypatch):
    monkeypatch.setattr(room, "_REMEMBERED", 3)
    users = [burns.of("sandbox", user_id) for user_id in USERS]
    for user in users[:3]:
        for _ in range(3):
            user.record()
    users[0].record()  # burnt last: it is not the one that makes room
    users[3].record()
    assert [delayed(user) for user in users] == [True, False, True, False]
    assert len(burns._burns) == 3


def test_burns_of_many_threads_all_count(user):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: user.record(), range(400)))
    with pytest.raises(CosignerError, match="400 sessions"):
        user.require_patience()
