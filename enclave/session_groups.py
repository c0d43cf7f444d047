"""Open sessions by whose they are, and which group of them is the largest. Every operation takes the same short time, however many there are."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sessions import Session

Group = tuple[str, str]


def group_of(session: Session) -> Group:
    """A user's sessions, a delegate's, or those of nobody, whatever their environment."""
    return ("", "") if session.actor is None else (session.environment, session.actor.principal)


class Groups:
    """Sessions in groups, each in the order of their last use, and groups by size.

    A session is added and removed as what it is then: whoever gives it to a user removes it before, and adds it after.

    :ivar largest: how many sessions the largest groups have.
    """

    def __init__(self) -> None:
        self._members: dict[Group, OrderedDict[bytes, Session]] = {}
        self._by_size: dict[int, OrderedDict[Group, None]] = {}
        self.largest = 0

    def add(self, session: Session) -> None:
        """As the newest of its group."""
        group = group_of(session)
        members = self._members.setdefault(group, OrderedDict())
        before = len(members)
        members[session.channel.session_id] = session
        self._resize(group, before, len(members))

    def remove(self, session: Session) -> None:
        """Forget a session; one that is not there is forgotten already."""
        group = group_of(session)
        members = self._members.get(group)
        if members is None or members.pop(session.channel.session_id, None) is None:
            return
        self._resize(group, len(members) + 1, len(members))
        if not members:
            del self._members[group]

    def touch(self, session: Session) -> None:
        """It was used just now."""
        self._members[group_of(session)].move_to_end(session.channel.session_id)

    def size(self, group: Group) -> int:
        return len(self._members.get(group, ()))

    def members(self, group: Group) -> list[Session]:
        return list(self._members.get(group, OrderedDict()).values())

    def idle_longest(self, group: Group) -> Session:
        """The session of a group, which must have one, that was not used for longest."""
        return next(iter(self._members[group].values()))

    def a_largest(self) -> Group:
        """One of the largest groups: the one that has been so large for longest."""
        return next(iter(self._by_size[self.largest]))

    def _resize(self, group: Group, before: int, after: int) -> None:
        if before == after:
            return
        if before:
            del self._by_size[before][group]
            if not self._by_size[before]:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, OrderedDict())[group] = None
        # one session more or less: the largest is what it was, or its neighbour
        self.largest = max(self.largest, after)
        if self.largest not in self._by_size:
            self.largest -= 1
