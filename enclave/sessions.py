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
    from threshold import DkgRound2, EcdsaEnclaveOt, EcdsaEnclaveSetup

    from .actors import Actor

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
    """One client's channel. ``lock`` keeps its records in order.

    :ivar ecdsa: the enclave's side of the session's oblivious transfers, if the client asked for them. In memory only.
    :ivar actor: whose session it is; ``None``: nobody's.
    """

    def __init__(
        self, channel: Channel, environment: str, deadline: float, ecdsa: EcdsaEnclaveOt | None = None
    ) -> None:
        self.channel = channel
        self.environment = environment
        self.deadline = deadline
        self.ecdsa = ecdsa
        self.lock = asyncio.Lock()
        self.closed = False
        self.actor: Actor | None = None
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


def session_gone() -> CosignerError:
    """The one answer for a session that never was, expired, was closed, burnt, or lost in a restart."""
    return CosignerError(
        "session_unknown",
        "The enclave has no such session; open a new one.",
        culprit=Culprit.CLIENT,
        reaction=Reaction.RETRY,
    )


class Sessions:
    """All open sessions, oldest first. When there are too many the one idle longest is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(
        self, received: ReceivedHello, ecdsa: tuple[EcdsaEnclaveSetup, bytes] | None = None
    ) -> tuple[Session, bytes]:
        """Answer a client hello; returns the session and the enclave hello.

        :param ecdsa: the answered base oblivious transfers; they are bound to the channel's transcript here.
        """
        session_id = os.urandom(SESSION_ID_LENGTH)
        channel, answer = received.answer(session_id, LIFETIME, None if ecdsa is None else ecdsa[1])
        transfers = None if ecdsa is None else ecdsa[0].bind(channel.transcript)
        session = Session(channel, received.environment, self._clock() + LIFETIME, transfers)
        self._evict()
        self._sessions[session_id] = session
        return session, answer

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
        return session

    def close(self, session: Session) -> None:
        """Forget a session, and with it its oblivious transfers."""
        session.closed = True
        if session.ecdsa is not None:
            session.ecdsa.burn()
        self._sessions.pop(session.channel.session_id, None)

    def _evict(self) -> None:
        now = self._clock()
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if len(self._sessions) < MAX_SESSIONS and oldest.deadline > now:
                return
            self.close(oldest)
