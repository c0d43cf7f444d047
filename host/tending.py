"""One life of a connected enclave: its status, its provisioning, its credentials."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import (
    AwsCredentials,
    Done,
    LinkRequest,
    Provision,
    Status,
    StatusReply,
    UpdateCredentials,
)

from .config import Timing
from .credentials import CredentialSource
from .errors import HostError
from .link import Link
from .log import Log
from .metrics import Metrics
from .process import EnclaveProcess
from .readiness import Board, State

R = TypeVar("R", Done, StatusReply)

_NEEDS_PROVISIONING: Final = frozenset({"awaiting_manifest", "awaiting_keys"})
_NEEDS_RESTART: Final = frozenset({"manifest_already_measured"})  # beside every fault whose reaction is burn


@dataclass(frozen=True, slots=True)
class Care:
    """What an enclave needs from its host.

    :ivar manifest: reads the manifest's bytes; may raise :exc:`HostError`.
    """

    manifest: Callable[[], bytes]
    credentials: CredentialSource
    timing: Timing
    board: Board
    log: Log
    metrics: Metrics


class Backoff:
    """Delays that double, from ``first`` to ``maximum`` seconds."""

    def __init__(self, first: float, maximum: float) -> None:
        self._first = min(first, maximum)
        self._maximum = maximum
        self._delay = self._first

    def next(self) -> float:
        """The next delay, in seconds."""
        delay, self._delay = self._delay, min(2 * self._delay, self._maximum)
        return delay

    def reset(self) -> None:
        """Begin with the first delay again."""
        self._delay = self._first


class Tending:
    """Tends one enclave over one link until either is lost."""

    def __init__(self, link: Link, child: EnclaveProcess | None, care: Care) -> None:
        self._link = link
        self._child = child
        self._care = care
        self._timing = care.timing
        self._handed_in: AwsCredentials | None = None
        self._retry = Backoff(care.timing.backoff, care.timing.backoff_max)
        self._provision_at = 0.0  # monotonic seconds
        self._credentials_at = 0.0

    async def run(self) -> NoReturn:
        """Tend the enclave.

        :raises CosignerError: what ended it.
        """
        while True:
            due = await self._round()
            ends: set[asyncio.Future[Any]] = {self._link.lost}
            if self._child is not None:
                ends.add(self._child.exited)
            pause = max(0.0, due - time.monotonic())
            await asyncio.wait(ends, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if self._child is not None and self._child.exited.done():
                raise self._child.obituary()
            if self._link.lost.done():
                raise self._link.lost.result()

    async def _round(self) -> float:
        """Look at the enclave and do what is due; when to look again, in monotonic seconds."""
        status = await self._ask(Status(), StatusReply)
        self._care.metrics.enclave_sessions.set(status.sessions)
        self._care.metrics.enclave_counters(status.counters)
        again = time.monotonic() + self._timing.status
        if status.phase == "ready":
            self._care.board.enter(State.READY, phase=status.phase, reason=status.reason)
            await self._renew_credentials()
            if not status.reason:
                self._retry.reset()
                return min(again, self._credentials_at)
            # It serves, but some environments have no data key yet.
            if time.monotonic() >= self._provision_at:
                await self._provision(status)
                return 0.0
            return min(again, self._credentials_at, self._provision_at)
        if status.phase not in _NEEDS_PROVISIONING:
            raise HostError(
                "enclave_halted",
                f"The enclave is in phase {status.phase!r} and must be restarted. {status.reason}".rstrip(),
                culprit=Culprit.ENCLAVE,
                reaction=Reaction.BURN,
            )
        self._care.board.enter(State.PROVISIONING, phase=status.phase, reason=status.reason)
        if time.monotonic() >= self._provision_at:
            await self._provision(status)
            return 0.0  # its status says by now what is missing, and whether it serves the rest
        return min(again, self._provision_at)

    async def _provision(self, status: StatusReply) -> None:
        """Hand in manifest and credentials. Sets the time of the next attempt.

        :raises CosignerError: the enclave is lost or must be restarted.
        """
        care, delay = self._care, self._retry.next()
        self._provision_at = (
            time.monotonic() + delay
        )  # even after success: until the phase says so, that counts for nothing
        try:
            manifest = care.manifest()
            credentials = (await care.credentials.fetch()).aws
            await self._ask(Provision(manifest, credentials), Done, seconds=self._timing.provision)
        except CosignerError as error:
            care.metrics.provisions.labels("refused").inc()
            if self._link.lost.done() or error.reaction is Reaction.BURN or error.code in _NEEDS_RESTART:
                raise
            if (
                error.reaction is Reaction.ABORT
            ):  # another attempt helps only after somebody has changed something
                delay = self._timing.backoff_max
            self._provision_at = time.monotonic() + delay
            care.log.event(
                "provisioning_failed", "error", code=error.code, reason=error.message, seconds=delay
            )
            if status.phase != "ready":
                care.board.enter(State.PROVISIONING, phase=status.phase, reason=status.reason, fault=error)
            return
        self._handed_in = credentials
        self._credentials_at = time.monotonic() + self._timing.credentials
        care.metrics.provisions.labels("ok").inc()
        care.log.event("provisioned")

    async def _renew_credentials(self) -> None:
        """Hand in newer credentials if there are any. A failure is tried again, and ends nothing.

        :raises CosignerError: the enclave is lost.
        """
        if time.monotonic() < self._credentials_at:
            return
        self._credentials_at = time.monotonic() + self._timing.credentials
        care = self._care
        try:
            fresh = await care.credentials.fetch()
            if fresh.aws == self._handed_in:
                return
            await self._ask(UpdateCredentials(fresh.aws), Done)
        except CosignerError as error:
            if self._link.lost.done():
                raise
            care.metrics.credential_updates.labels("failed").inc()
            care.log.event("credentials_not_renewed", "error", code=error.code, reason=error.message)
            return
        self._handed_in = fresh.aws
        care.metrics.credential_updates.labels("ok").inc()
        care.log.event("credentials_renewed")

    async def _ask(self, body: LinkRequest, kind: type[R], *, seconds: float | None = None) -> R:
        timeout = self._timing.request if seconds is None else seconds
        return await self._link.ask(body, kind, timeout=timeout, reserved=True)
