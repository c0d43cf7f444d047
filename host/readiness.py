"""What is known of the enclave's state: for ``/readyz``, the metrics and the log."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from protocol.envelope.errors import CosignerError

from .log import Log
from .metrics import Metrics


class State(StrEnum):
    """What the supervisor is at."""

    STARTING = "starting"
    CONNECTING = "connecting"
    PROVISIONING = "provisioning"
    READY = "ready"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


_CONNECTED: Final = frozenset({State.PROVISIONING, State.READY})


@dataclass(frozen=True, slots=True)
class Readiness:
    """A snapshot.

    :ivar phase: the enclave's own phase, empty while it is not connected.
    :ivar reason: the enclave's own words for it; while it is not connected, those with which the last one ended.
    :ivar fault: the last thing that went wrong; ``None`` once the enclave is ready.
    :ivar since: seconds since 1970 at which the state was entered.
    """

    state: State
    phase: str
    reason: str
    fault: CosignerError | None
    restarts: int
    since: float

    @property
    def ready(self) -> bool:
        return self.state is State.READY


class Board:
    """Holds the present :class:`Readiness`; the supervisor writes, everybody may read."""

    def __init__(self, *, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._entered = time.monotonic()
        self._last_words = ""
        self.now = Readiness(State.STARTING, "", "", None, 0, time.time())

    @property
    def seconds(self) -> float:
        """How long the present state has lasted."""
        return time.monotonic() - self._entered

    def enter(
        self,
        state: State,
        *,
        phase: str = "",
        reason: str = "",
        fault: CosignerError | None = None,
        restarts: int | None = None,
    ) -> None:
        """Show a new state. The last fault stays until there is another, or the enclave is ready."""
        old = self.now
        changed = state is not old.state
        if (
            old.state is State.CONNECTING and state in _CONNECTED
        ):  # another enclave, or the same one alive after all
            self._last_words = ""
        self.now = Readiness(
            state=state,
            phase=phase,
            reason=reason if state in _CONNECTED else self._last_words,
            fault=None if state is State.READY else fault or old.fault,
            restarts=old.restarts if restarts is None else restarts,
            since=time.time() if changed else old.since,
        )
        if changed:
            self._entered = time.monotonic()
        if changed or phase != old.phase:
            self._metrics.phase(phase)
            self._log.event("supervisor_state", state=state.value, phase=phase, restarts=self.now.restarts)

    def bury(self, words: str) -> None:
        """Show with which words the enclave ended, from the moment it is lost until one is connected again.

        They come just before or just after the loss of the link is noticed.
        """
        self._last_words = f"The enclave ended: {words}."
        if self.now.state not in _CONNECTED:
            self.now = replace(self.now, reason=self._last_words)
