"""Sessions end, make room, and hand each ceremony state out once."""

from __future__ import annotations

import pytest

from enclave import sessions as rooms
from enclave.sessions import Ceremony, Sessions
from protocol.channel import ChannelKey, ClientHandshake
from protocol.envelope.errors import CosignerError
from protocol.messages import BeginDkg

WALLETS = [f"0000000{index}-0000-4000-8000-000000000000" for index in range(6)]


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


def opened(sessions: Sessions):
    key = ChannelKey()
    return sessions.open(key.open_hello(ClientHandshake(key.public_bytes, "sandbox").hello))[0]


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
    return Ceremony(request, object())  # type: ignore[arg-type]


def test_a_ceremony_is_handed_out_once(sessions):
    session = opened(sessions)
    session.put_ceremony(WALLETS[0], ceremony(WALLETS[0]))
    session.take_ceremony(WALLETS[0])
    for wallet in WALLETS[:2]:
        with pytest.raises(CosignerError) as refused:
            session.take_ceremony(wallet)
        assert refused.value.code == "ceremony_unknown"


def test_a_session_holds_a_bounded_number_of_ceremonies(sessions):
    session = opened(sessions)
    for wallet in WALLETS:
        session.put_ceremony(wallet, ceremony(wallet))
    kept = 0
    for wallet in WALLETS:
        try:
            session.take_ceremony(wallet)
            kept += 1
        except CosignerError:
            pass
    assert kept == rooms.MAX_CEREMONIES
