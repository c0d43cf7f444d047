"""Keeps one enclave running, connected and provisioned.

::

    starting ──▶ connecting ──▶ provisioning ──▶ ready
        ▲            │               │             │      the enclave dies or halts, or the link is lost
        └──────── backing_off ◀──────┴─────────────┘      (0.5 s, 1 s, 2 s … 60 s, then begin anew)

An enclave that this host started is ended and started again; to one that somebody else started it connects again. Nothing here spins:
every way back leads through a wait that doubles, until the enclave was ready for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import Attested, Done, LinkRequest, RecordReply, SessionOpened, StatusReply

from .errors import HostError
from .link import Link
from .process import EnclaveProcess
from .readiness import Readiness, State
from .tending import Backoff, Care, Tending
from .whereabouts import Locate

R = TypeVar("R", Attested, SessionOpened, RecordReply, Done, StatusReply)

_POLL: Final = 0.02  # seconds between attempts to reach an enclave that this host is starting
_LOOK: Final = 0.2  # seconds between attempts to reach one that its launcher is starting, or will start


class Supervisor:
    """Runs the enclave; see the module's text.

    :param locate: says where the enclave is; asked for every attempt to connect.
    :param launched: a launcher says where the enclave is, and starts another when it ends; so it is looked for often, for
        ``Timing.start`` seconds at a time.
    :param command: starts the enclave; ``None``: somebody else does.
    :param capacity: requests at the enclave at once.
    """

    def __init__(
        self, *, locate: Locate, launched: bool, command: list[str] | None, capacity: int, care: Care
    ) -> None:
        self._locate = locate
        self._launched = launched
        self._command = command
        self._capacity = capacity
        self._care = care
        self._link: Link | None = None

    @property
    def readiness(self) -> Readiness:
        """The state now."""
        return self._care.board.now

    async def ask(self, body: LinkRequest, kind: type[R]) -> R:
        """Ask the enclave on behalf of a client.

        :param kind: the type that a good answer has.
        :raises CosignerError: ``enclave_unavailable``, or as :meth:`Link.ask`.
        """
        if self._link is None:
            raise HostError(
                "enclave_unavailable",
                "The enclave is not connected; the host is starting it.",
                culprit=Culprit.HOST,
                reaction=Reaction.RETRY,
            )
        return await self._link.ask(body, kind, timeout=self._care.timing.request)

    async def run(self) -> NoReturn:
        """Keep the enclave running until cancelled; then it is ended, if this host started it."""
        board, restart = self._care.board, Backoff(self._care.timing.backoff, self._care.timing.backoff_max)
        try:
            while True:
                try:
                    await self._one_life()
                except CosignerError as error:
                    if board.now.ready and board.seconds >= self._care.timing.stable:
                        restart.reset()
                    delay = restart.next()
                    self._care.log.event(
                        "enclave_lost", "warning", code=error.code, reason=error.message, seconds=delay
                    )
                    board.enter(State.BACKING_OFF, fault=error)
                await asyncio.sleep(delay)
                self._care.metrics.supervisor_restarts.inc()
                board.enter(State.STARTING, restarts=board.now.restarts + 1)
        finally:
            board.enter(State.STOPPED)

    async def _one_life(self) -> NoReturn:
        """Start the enclave and tend it until something ends it.

        :raises CosignerError: what ended it.
        """
        child: EnclaveProcess | None = None
        try:
            if self._command is not None:
                self._remove_stale_socket()
                child = await EnclaveProcess.start(self._command, self._care.log)
                self._care.metrics.enclave_starts.inc()
            self._care.board.enter(State.CONNECTING)
            link = await self._connect(child)
            try:
                self._link = link
                await Tending(link, child, self._care).run()
            finally:
                self._link = None
                await link.close()
        finally:
            if child is not None:
                await child.stop(self._care.timing.stop)

    def _remove_stale_socket(self) -> None:
        """An enclave orphaned by a host that was killed must not be taken for the one that starts now."""
        address = self._locate()
        if address.scheme == "unix":
            with contextlib.suppress(OSError):
                Path(address.host).unlink()

    async def _connect(self, child: EnclaveProcess | None) -> Link:
        deadline = time.monotonic() + self._care.timing.start
        while True:
            try:
                return await self._try_to_connect()
            except HostError as error:
                failure = error
            if child is not None and child.exited.done():
                raise child.obituary()
            if not (child or self._launched) or time.monotonic() >= deadline:
                raise failure
            if child is not None:
                await asyncio.wait([child.exited], timeout=_POLL)
            else:
                self._care.board.enter(State.CONNECTING, fault=failure)
                await asyncio.sleep(_LOOK)

    async def _try_to_connect(self) -> Link:
        """Connect once.

        :raises HostError: ``enclave_unreachable``.
        """
        address = self._locate()
        try:
            async with asyncio.timeout(self._care.timing.start):
                return await Link.connect(address, capacity=self._capacity, metrics=self._care.metrics)
        except OSError as error:  # TimeoutError is one
            reason = error.strerror or type(error).__name__
        raise HostError(
            "enclave_unreachable",
            f"The enclave does not listen at {address}: {reason}.",
            culprit=Culprit.ENCLAVE,
            reaction=Reaction.RETRY,
        )
