"""Open sessions: channels, whose they are, and the one-shot states that belong to them. All of it lives in memory only.

Sessions come in groups, those of one user and those of nobody. Each group has its limit and makes room in itself. Only all groups
together can fill the table; then the largest makes room, so that however many sessions some users open, whoever has just one keeps it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import SESSION_ID_LENGTH

from .onetime import OneTime
from .session_groups import Groups, group_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.channel import Channel, ReceivedHello
    from threshold import EcdsaEnclaveOt, EcdsaEnclaveSetup

    from .actors import Actor
    from .authorization.permits import Permit
    from .session_groups import Group

MAX_SESSIONS: Final = 8192
MAX_ANONYMOUS: Final = 1024
MAX_OF_USER: Final = 128
LIFETIME: Final = 3600  # seconds
MAX_CEREMONIES: Final = 4  # in progress, per session
MAX_NONCES: Final = 4096  # of actions not yet expired, per session
MAX_CHALLENGES: Final = 16


ASKING: Final[ContextVar[Session]] = ContextVar("asking")
"""The session whose request is being carried out."""


Begun = TypeVar("Begun")  # the request that began a ceremony
State = TypeVar("State")


class Ceremony(Generic[Begun, State]):
    """A key generation, or a handover of shares, between its two messages. :meth:`Session.take_ceremony` hands it out once.

    :ivar permit: good for storing this wallet's share; granted when the ceremony was authorized, to ``owner``.
    """

    __slots__ = ("owner", "permit", "request", "state")

    def __init__(self, request: Begun, state: State, permit: Permit, owner: Actor) -> None:
        self.request = request
        self.state = state
        self.permit = permit
        self.owner = owner


class Session:
    """One client's channel. ``lock`` keeps its records in order.

    :ivar ecdsa: the enclave's side of the session's oblivious transfers, if the client asked for them. In memory only.
    :ivar actor: whose session it is; ``None``: nobody's. Set by :meth:`Sessions.assign`.
    :ivar doomed: session keys that ceased to be good while this session's own request was carried out: it is answered, and then ends.
    :ivar nonces: of actions; each is good once.
    :ivar challenges: for registering credentials; each is good once.
    """

    def __init__(
        self, channel: Channel, environment: str, deadline: float, ecdsa: EcdsaEnclaveOt | None = None
    ) -> None:
        self.channel = channel
        self.environment = environment
        self.deadline = deadline
        self.ecdsa = ecdsa
        self.actor: Actor | None = None
        self.lock = asyncio.Lock()
        self.closed = False
        self.doomed: frozenset[bytes] = frozenset()
        self.nonces = OneTime(MAX_NONCES)
        self.challenges = OneTime(MAX_CHALLENGES)
        self._ceremonies: OrderedDict[str, Ceremony[Any, Any]] = OrderedDict()

    def put_ceremony(self, wallet_id: str, ceremony: Ceremony[Any, Any]) -> None:
        """Keep a ceremony until its next message, in the place of one of the same wallet; the oldest makes room when there are too many."""
        self._ceremonies.pop(wallet_id, None)
        while len(self._ceremonies) >= MAX_CEREMONIES:
            self._ceremonies.popitem(last=False)
        self._ceremonies[wallet_id] = ceremony

    def take_ceremony(self, wallet_id: str, actor: Actor, begun: type[Begun]) -> Ceremony[Begun, Any]:
        """Take a ceremony out; nobody gets it again.

        :param begun: the type of the request that began it.
        :raises CosignerError: ``ceremony_unknown``: also one that another user began, or another kind of request.
        """
        ceremony = self._ceremonies.pop(wallet_id, None)
        if (
            ceremony is None
            or ceremony.owner.user_id != actor.user_id
            or not isinstance(ceremony.request, begun)
        ):
            raise CosignerError(
                "ceremony_unknown",
                "This session has no such ceremony in progress for that wallet; begin it again.",
                culprit=Culprit.CLIENT,
            )
        return ceremony


def session_gone() -> CosignerError:
    """The one answer for a session that never was, expired, was closed, burnt, or lost in a restart."""
    return CosignerError(
        "session_unknown",
        "The enclave has no such session; open a new one.",
        culprit=Culprit.CLIENT,
        reaction=Reaction.RETRY,
    )


class Sessions:
    """All open sessions, those idle longest first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._groups = Groups()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(
        self,
        received: ReceivedHello,
        ecdsa: tuple[EcdsaEnclaveSetup, bytes] | None = None,
        login: tuple[Actor, int] | None = None,
    ) -> tuple[Session, bytes]:
        """Answer a client hello; returns the session and the enclave hello.

        :param ecdsa: the answered base oblivious transfers; they are bound to the channel's transcript here.
        :param login: whose session it is, and for how many seconds more their session key is good.
        """
        session_id = os.urandom(SESSION_ID_LENGTH)
        lifetime = LIFETIME if login is None else max(min(LIFETIME, login[1]), 1)
        channel, answer = received.answer(session_id, lifetime, None if ecdsa is None else ecdsa[1])
        transfers = None if ecdsa is None else ecdsa[0].bind(channel.transcript)
        session = Session(channel, received.environment, self._clock() + lifetime, transfers)
        session.actor = None if login is None else login[0]
        self._make_room(group_of(session))
        self._sessions[session_id] = session
        self._join(session)
        return session, answer

    def assign(self, session: Session, actor: Actor, seconds: int) -> None:
        """From now on the session is this user's, as long as their session key is good for.

        :raises CosignerError: ``session_taken``: it is another user's already; ``session_unknown``: it ended in the meantime.
        """
        if session.closed:
            raise session_gone()
        before = session.actor
        if before is not None and before.principal != actor.principal:
            raise CosignerError(
                "session_taken",
                "This session is another user's; log in to a session of your own.",
                culprit=Culprit.CLIENT,
            )
        self._groups.remove(session)
        session.actor = actor
        session.deadline = min(session.deadline, self._clock() + seconds)
        self._join(session)

    def get(self, session_id: bytes) -> Session:
        """Look a session up.

        :raises CosignerError: ``session_unknown``: never opened, expired, closed, or lost in a restart.
        """
        session = self._sessions.get(session_id)
        if session is None or session.closed or session.deadline <= self._clock():
            if session is not None:
                self.close(session)
            raise session_gone()
        self._sessions.move_to_end(session_id)
        self._groups.touch(session)
        return session

    def close(self, session: Session) -> None:
        """Forget a session, and with it its oblivious transfers and ceremonies."""
        session.closed = True
        if session.ecdsa is not None:
            session.ecdsa.burn()
        self._sessions.pop(session.channel.session_id, None)
        self._groups.remove(session)

    def end(self, environment: str, principal: str, session_keys: frozenset[bytes]) -> None:
        """Close a user's or delegate's sessions that rest on these session keys, at once; whoever has a request under way there gets no answer.

        The session whose own request this is (:data:`ASKING`) is told, and ends once it is answered, unless it rests on another key by then.
        """
        asking = ASKING.get(None)
        for session in self._groups.members((environment, principal)):
            if session is asking:
                session.doomed |= session_keys
            elif session.actor is not None and session.actor.session_key in session_keys:
                self.close(session)

    def end_if_doomed(self, session: Session) -> None:
        """After an answer: close the session if the key that it rests on is gone."""
        if session.actor is not None and session.actor.session_key in session.doomed:
            self.close(session)

    def _join(self, session: Session) -> None:
        limit = MAX_ANONYMOUS if session.actor is None else MAX_OF_USER
        while self._groups.size(group_of(session)) >= limit:
            self.close(self._groups.idle_longest(group_of(session)))
        self._groups.add(session)

    def _make_room(self, asking: Group) -> None:
        """For one session more of a group."""
        now = self._clock()
        while self._sessions and (oldest := next(iter(self._sessions.values()))).deadline <= now:
            self.close(oldest)
        while len(self._sessions) >= MAX_SESSIONS:
            self.close(self._least_missed(asking))

    def _least_missed(self, asking: Group) -> Session:
        """Of the largest group the session idle longest. With one more, whoever asks counts as large as they will be, and comes first."""
        own, largest = self._groups.size(asking), self._groups.largest
        if own and own + 1 >= largest:
            return self._groups.idle_longest(asking)
        if largest == 1:
            return next(iter(self._sessions.values()))
        return self._groups.idle_longest(self._groups.a_largest())
