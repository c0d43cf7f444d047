"""Sessions end, make room, and hand each ceremony state out once."""

from __future__ import annotations

import pytest

from enclave import sessions as rooms
from enclave.actors import Actor, Delegated, delegate
from enclave.sessions import Ceremony, Sessions
from protocol.channel import ChannelKey, ClientHandshake
from protocol.envelope.errors import CosignerError
from protocol.lifecycle import BeginReshare
from protocol.messages import BeginDkg

WALLETS = [f"0000000{index}-0000-4000-8000-000000000000" for index in range(6)]


ALICE = Actor("10000000-0000-4000-8000-00000000000a", "user", b"\x02" + bytes(32), 1 << 50)
BOB = Actor("10000000-0000-4000-8000-00000000000b", "user", b"\x03" + bytes(32), 1 << 50)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(clock)


def opened(sessions: Sessions, login: tuple[Actor, int] | None = None):
    key = ChannelKey()
    return sessions.open(key.open_hello(ClientHandshake(key.public_bytes, "sandbox").hello), None, login)[0]


def unknown(sessions: Sessions, session) -> bool:
    with pytest.raises(CosignerError) as refused:
        sessions.get(session.channel.session_id)
    return refused.value.code == "session_unknown"


def test_a_session_ends_when_its_time_is_over(sessions, clock):
    session = opened(sessions)
    clock.now = rooms.LIFETIME - 1
    assert sessions.get(session.channel.session_id) is session
    clock.now = rooms.LIFETIME
    assert unknown(sessions, session)
    assert len(sessions) == 0


def test_a_closed_session_is_gone(sessions):
    session = opened(sessions)
    sessions.close(session)
    assert unknown(sessions, session)


def test_session_ids_are_fresh(sessions):
    assert len({opened(sessions).channel.session_id for _ in range(50)}) == 50


def test_the_session_idle_longest_makes_room(sessions, monkeypatch):
    monkeypatch.setattr(rooms, "MAX_SESSIONS", 3)
    first, second, third = (opened(sessions) for _ in range(3))
    sessions.get(first.channel.session_id)  # used: no longer the one idle longest
    fourth = opened(sessions)
    assert unknown(sessions, second)
    for session in (first, third, fourth):
        assert sessions.get(session.channel.session_id) is session


def test_expired_sessions_make_room_first(sessions, clock):
    opened(sessions)
    clock.now = rooms.LIFETIME + 1
    opened(sessions)
    assert len(sessions) == 1


def ceremony(wallet_id: str) -> Ceremony:
    request = BeginDkg(
        wallet_id=wallet_id,
        suite="frost-ed25519",
        chain="solana",
        network="",
        threshold=2,
        parties=2,
        message1=b"m",
    )
    return Ceremony(request, object(), object(), ALICE)  # type: ignore[arg-type]


def test_a_ceremony_is_handed_out_once(sessions):
    session = opened(sessions)
    session.put_ceremony(WALLETS[0], ceremony(WALLETS[0]))
    session.take_ceremony(WALLETS[0], ALICE, BeginDkg)
    for wallet in WALLETS[:2]:
        with pytest.raises(CosignerError) as refused:
            session.take_ceremony(wallet, ALICE, BeginDkg)
        assert refused.value.code == "ceremony_unknown"


def test_a_session_holds_a_bounded_number_of_ceremonies(sessions):
    session = opened(sessions)
    for wallet in WALLETS:
        session.put_ceremony(wallet, ceremony(wallet))
    kept = 0
    for wallet in WALLETS:
        try:
            session.take_ceremony(wallet, ALICE, BeginDkg)
            kept += 1
        except CosignerError:
            pass
    assert kept == rooms.MAX_CEREMONIES


def test_a_ceremony_is_for_whoever_began_it(sessions):
    session = opened(sessions)
    session.put_ceremony(WALLETS[0], ceremony(WALLETS[0]))
    with pytest.raises(CosignerError) as refused:
        session.take_ceremony(WALLETS[0], BOB, BeginDkg)
    assert refused.value.code == "ceremony_unknown"


def test_a_ceremony_is_not_finished_as_one_of_another_kind(sessions):
    session = opened(sessions)
    session.put_ceremony(WALLETS[0], ceremony(WALLETS[0]))
    for begun in (BeginReshare, BeginDkg):  # a wrong end spends it, too
        with pytest.raises(CosignerError) as refused:
            session.take_ceremony(WALLETS[0], ALICE, begun)
        assert refused.value.code == "ceremony_unknown"


def test_a_session_lives_no_longer_than_its_session_key(sessions, clock):
    session = opened(sessions, (ALICE, 10))
    assert session.channel.lifetime == 10
    clock.now = 10
    assert unknown(sessions, session)


def test_a_login_shortens_a_session_and_never_prolongs_it(sessions, clock):
    short, long = opened(sessions), opened(sessions)
    sessions.assign(short, ALICE, 10)
    sessions.assign(long, ALICE, 10 * rooms.LIFETIME)
    clock.now = 10
    assert unknown(sessions, short)
    assert sessions.get(long.channel.session_id) is long
    clock.now = rooms.LIFETIME
    assert unknown(sessions, long)


def test_a_session_never_becomes_another_users(sessions):
    session = opened(sessions, (ALICE, 100))
    with pytest.raises(CosignerError) as refused:
        sessions.assign(session, BOB, 100)
    assert refused.value.code == "session_taken"
    assert session.actor is ALICE


def test_whoever_opens_sessions_without_end_takes_none_of_anybody_elses(sessions, monkeypatch):
    monkeypatch.setattr(rooms, "MAX_ANONYMOUS", 4)
    monkeypatch.setattr(rooms, "MAX_OF_USER", 3)
    bobs = opened(sessions, (BOB, 100))
    nobodys = [opened(sessions) for _ in range(10)]
    alices = [opened(sessions, (ALICE, 100)) for _ in range(10)]
    assert sessions.get(bobs.channel.session_id) is bobs
    assert len(sessions) == 1 + 4 + 3
    assert all(session.closed for session in nobodys[:-4] + alices[:-3])
    assert not any(session.closed for session in nobodys[-4:] + alices[-3:])


def test_a_login_moves_a_session_out_of_nobodys_room(sessions, monkeypatch):
    monkeypatch.setattr(rooms, "MAX_ANONYMOUS", 2)
    session = opened(sessions)
    sessions.assign(session, ALICE, 100)
    for _ in range(5):
        opened(sessions)
    assert sessions.get(session.channel.session_id) is session


def test_a_revoked_session_key_ends_its_sessions_and_no_others(sessions):
    other_key = Actor(ALICE.user_id, "user", b"\x03" * 33, 1 << 50)
    first, second = opened(sessions, (ALICE, 100)), opened(sessions, (ALICE, 100))
    another, bobs = opened(sessions, (other_key, 100)), opened(sessions, (BOB, 100))
    sessions.end("live", ALICE.user_id, frozenset({ALICE.session_key}))
    assert not first.closed
    sessions.end("sandbox", ALICE.user_id, frozenset({ALICE.session_key}))
    assert (first.closed, second.closed) == (True, True)
    assert (another.closed, bobs.closed) == (False, False)


def test_the_session_that_asks_for_its_own_end_is_answered_first(sessions):
    session = opened(sessions, (ALICE, 100))
    token = rooms.ASKING.set(session)
    try:
        sessions.end("sandbox", ALICE.user_id, frozenset({ALICE.session_key}))
    finally:
        rooms.ASKING.reset(token)
    assert not session.closed
    sessions.end_if_doomed(session)
    assert session.closed


def test_a_session_that_renews_its_key_lives_on_under_the_new_one(sessions):
    session = opened(sessions, (ALICE, 100))
    token = rooms.ASKING.set(session)
    try:
        sessions.end("sandbox", ALICE.user_id, frozenset({ALICE.session_key}))
        renewed = Actor(ALICE.user_id, "user", b"\x03" * 33, 1 << 50)
        sessions.assign(session, renewed, 100)
    finally:
        rooms.ASKING.reset(token)
    sessions.end_if_doomed(session)
    assert not session.closed


def test_a_users_session_never_becomes_their_delegates_and_the_other_way_round(sessions):
    robot = delegate(ALICE.user_id, Delegated(WALLETS[0], WALLETS[1]), expires_at_ms=1 << 50)
    for one, other in ((ALICE, robot), (robot, ALICE)):
        session = opened(sessions)
        sessions.assign(session, one, 100)
        with pytest.raises(CosignerError) as refused:
            sessions.assign(session, other, 100)
        assert refused.value.code == "session_taken"
        assert session.actor is one


def test_a_delegates_sessions_end_with_the_delegation_and_its_users_do_not(sessions):
    robot = delegate(ALICE.user_id, Delegated(WALLETS[0], WALLETS[1]), expires_at_ms=1 << 50)
    another = delegate(ALICE.user_id, Delegated(WALLETS[0], WALLETS[2]), expires_at_ms=1 << 50)
    owned = {actor: opened(sessions, (actor, 100)) for actor in (ALICE, robot, another)}
    sessions.end("sandbox", robot.principal, frozenset({robot.session_key}))
    assert unknown(sessions, owned[robot])
    for actor in (ALICE, another):
        assert sessions.get(owned[actor].channel.session_id) is owned[actor]
