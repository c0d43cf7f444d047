"""Who makes room when the table of sessions is full: whoever has the most, and nobody who has just one."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave import sessions as rooms
from enclave.actors import Actor
from enclave.session_groups import Groups, group_of
from enclave.sessions import Session, Sessions
from protocol.envelope.errors import CosignerError


class Hello:
    """A client hello, as far as :class:`Sessions` looks at it."""

    environment = "sandbox"

    def answer(self, session_id, lifetime, ecdsa):
        return SimpleNamespace(session_id=session_id, lifetime=lifetime), b""


def user(number: int) -> Actor:
    return Actor(f"{number:08}-0000-4000-8000-000000000000", "user", b"\x02" + bytes(32), 1 << 50)


def opened(sessions: Sessions, number: int | None) -> Session:
    """A session of a user, or, without a number, of nobody."""
    return sessions.open(Hello(), None, None if number is None else (user(number), 3600))[0]


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(rooms, "MAX_SESSIONS", 12)
    monkeypatch.setattr(rooms, "MAX_OF_USER", 5)
    monkeypatch.setattr(rooms, "MAX_ANONYMOUS", 7)
    return Sessions(lambda: 0.0)


def alive(sessions: list[Session]) -> list[Session]:
    return [session for session in sessions if not session.closed]


def test_attack_users_with_as_many_sessions_as_they_may_have_do_not_end_anybody_elses_only_one():
    """64 users fill the table with 128 sessions each, and go on."""
    sessions = Sessions(lambda: 0.0)
    assert 64 * rooms.MAX_OF_USER == rooms.MAX_SESSIONS
    victim, nobodys = opened(sessions, 1000), opened(sessions, None)
    crowd = [opened(sessions, number) for _ in range(2 * rooms.MAX_OF_USER) for number in range(64)]
    assert not victim.closed
    assert not nobodys.closed
    assert len(sessions) == rooms.MAX_SESSIONS
    held = Counter(group_of(session) for session in alive(crowd))
    assert max(held.values()) - min(held.values()) <= 1
    late = opened(sessions, 2000)
    crowd += [opened(sessions, number) for number in range(64)]
    assert not (late.closed or victim.closed)


def test_attack_hellos_without_end_end_no_users_session(table):
    users = [opened(table, number) for number in range(6) for _ in range(2)]
    for _ in range(20):
        opened(table, None)
    held = Counter(group_of(session) for session in alive(users))
    assert set(held.values()) <= {1, 2}
    assert len(held) == 6


def test_whoever_has_as_many_as_the_largest_makes_room_for_themselves(table):
    for number in range(3):
        for _ in range(4):
            opened(table, number)
    mine = table._groups.members(group_of(SimpleNamespace(actor=user(2), environment="sandbox")))
    others = [session for session in table._sessions.values() if session not in mine]
    opened(table, 2)
    assert [session.closed for session in mine] == [True, False, False, False]
    assert alive(others) == others


def test_of_a_group_the_session_idle_longest_makes_room(table):
    first, second, *_ = [opened(table, 1) for _ in range(5)]
    table.get(first.channel.session_id)
    opened(table, 1)
    assert (first.closed, second.closed) == (False, True)


def test_where_everybody_has_one_the_one_idle_longest_makes_room(table):
    ones = [opened(table, number) for number in range(12)]
    table.get(ones[0].channel.session_id)
    opened(table, 12)
    assert [session.closed for session in ones] == [False, True, *([False] * 10)]


def test_a_login_in_a_session_that_made_room_meanwhile_does_not_revive_it(table):
    session = opened(table, None)
    table.close(session)
    with pytest.raises(CosignerError, match="session_unknown"):
        table.assign(session, user(1), 3600)
    for _ in range(20):  # a dead session that a group still held would never make room
        opened(table, 1)
    assert table._groups.size(("sandbox", user(1).user_id)) == 5


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["open", "open", "open", "close", "use", "login"]), st.integers(0, 200)),
    max_size=120,
)


@given(ACTIONS)
def test_no_only_session_is_ended_while_anybody_has_more(actions):
    sessions, held = Sessions(lambda: 0.0), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "MAX_SESSIONS", 9)
        patch.setattr(rooms, "MAX_OF_USER", 4)
        patch.setattr(rooms, "MAX_ANONYMOUS", 5)
        for action, number in actions:
            before = alive(held)
            sizes = Counter(group_of(session) for session in before)
            groups = {id(session): group_of(session) for session in before}
            asking = None
            if action == "open":
                new = opened(sessions, number % 7 or None)
                asking = group_of(new)
                held.append(new)
            elif before:
                session = before[number % len(before)]
                if action == "close":
                    sessions.close(session)
                    continue
                if action == "use":
                    assert sessions.get(session.channel.session_id) is session
                elif session.actor is None:
                    sessions.assign(session, user(number % 6 + 1), 3600)
                    asking = group_of(session)
            for ended in (session for session in before if session.closed):
                group = groups[id(ended)]
                assert group == asking or sizes[group] == max(sizes.values())
                if group != asking and sizes[group] == 1:
                    assert max(sizes.values()) == 1
            agree(sessions, alive(held))


def agree(sessions: Sessions, held: list[Session]) -> None:
    """The table, its groups and their sizes are what a plain count says."""
    groups: Groups = sessions._groups
    counted = Counter(group_of(session) for session in held)
    assert len(sessions) == len(held) <= 9
    assert {group: groups.size(group) for group in counted} == counted
    assert groups.largest == max(counted.values(), default=0)
    assert not held or counted[groups.a_largest()] == groups.largest
    assert sum(map(len, groups._by_size.values())) == len(counted)
    for group, count in counted.items():
        assert count <= (5 if group == ("", "") else 4)
