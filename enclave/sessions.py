"""Open sessions: channels, and the one-shot ceremony states that belong to them. All of it lives in memory only."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import SESSION_ID_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.channel import Channel, ReceivedHello
    from protocol.messages import BeginDkg
    from threshold import DkgRound2

MAX_SESSIONS: Final = 8192
LIFETIME: Final = 3600  # seconds
MAX_CEREMONIES: Final = 4  # key generations in progress, per session


class Ceremony:
    """A key generation between its two messages. :meth:`Session.take_ceremony` hands it out once."""

    __slots__ = ("message1", "request", "state")

    def __init__(self, request: BeginDkg, state: DkgRound2) -> None:
        self.request = request
        self.state = state


class Session:
    """One client's channel. ``lock`` keeps its records in order."""

    def __init__(self, channel: Channel, environment: str, deadline: float) -> None:
        self.channel = channel
        self.environment = environment
        self.deadline = deadline
        self.lock = asyncio.Lock()
        self.closed = False
        self._ceremonies: OrderedDict[str, Ceremony] = OrderedDict()

    def put_ceremony(self, wallet_id: str, ceremony: Ceremony) -> None:
        """Keep a ceremony until its next message; the oldest makes room when there are too many."""
        self._ceremonies.pop(wallet_id, None)
        while len(self._ceremonies) >= MAX_CEREMONIES:
            self._ceremonies.popitem(last=False)
        self._ceremonies[wallet_id] = ceremony

    def take_ceremony(self, wallet_id: str) -> Ceremony:
        """Take a ceremony out; nobody gets it again.

        :raises CosignerError: ``ceremony_unknown``.
        """
        ceremony = self._ceremonies.pop(wallet_id, None)
        if ceremony is None:
            raise CosignerError(
                "ceremony_unknown",
                "This session has no key generation in progress for that wallet; begin it again.",
                culprit=Culprit.CLIENT,
            )
        return ceremony


class Sessions:
    """All open sessions, oldest first. When there are too many the one idle longest is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, received: ReceivedHello) -> tuple[Session, bytes]:
        """Answer a client hello; returns the session and the enclave hello."""
        session_id = os.urandom(SESSION_ID_LENGTH)
        channel, answer = received.answer(session_id, LIFETIME)
        session = Session(channel, received.environment, self._clock() + LIFETIME)
        self._evict()
        self._sessions[session_id] = session
        return session, answer

    def get(self, session_id: bytes) -> Session:
        """Look a session up.

        :raises CosignerError: ``session_unknown``: never opened, expired, closed, or lost in a restart.
        """
        session = self._sessions.get(session_id)
        if session is None or session.closed or session.deadline <= self._clock():
            self._sessions.pop(session_id, None)
            raise CosignerError(
                "session_unknown",
                "The enclave has no such session; open a new one.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.RETRY,
            )
        self._sessions.move_to_end(session_id)
        return session

    def close(self, session: Session) -> None:
        """Forget a session."""
        session.closed = True
        self._sessions.pop(session.channel.session_id, None)

    def _evict(self) -> None:
        now = self._clock()
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if len(self._sessions) < MAX_SESSIONS and oldest.deadline > now:
                return
            self.close(oldest)
