"""What is known of the enclave's state: for ``/readyz``, the metrics and the log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Readiness:
    """A snapshot.

    :ivar phase: the enclave's own phase, empty while it is not connected.
    :ivar reason: the enclave's own words for it.
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
        self.now = Readiness(
            state=state,
            phase=phase,
            reason=reason,
            fault=None if state is State.READY else fault or old.fault,
            restarts=old.restarts if restarts is None else restarts,
            since=time.time() if changed else old.since,
        )
        if changed:
            self._entered = time.monotonic()
        if changed or phase != old.phase:
            self._metrics.phase(phase)
            self._log.event("supervisor_state", state=state.value, phase=phase, restarts=self.now.restarts)
