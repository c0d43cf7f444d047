"""Misbehaviour on demand, so that a client's refusals can be tested."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass


class Fault(enum.Enum):
    """One way to misbehave."""

    PLAINTEXT = "plaintext"  # answer Recipient requests with the plaintext as well
    OTHER_KEY_ID = "other key id"  # name another key in the answer
    FORGED_ENVELOPE = "forged envelope"  # addressed to the caller, sealed for another key
    FOREIGN_ENVELOPE = "foreign envelope"  # addressed to another key
    SUBSTITUTED_KEY = "substituted key"  # a good envelope around another 32-byte key
    SHORT_KEY = "short key"  # a good envelope around 16 bytes
    NO_ENVELOPE = "no envelope"  # leave CiphertextForRecipient out
    GARBAGE = "garbage"  # 200 with a body that is not JSON
    THROTTLE = "throttle"  # ThrottlingException
    INTERNAL = "internal"  # KMSInternalException
    DROP = "drop"  # close the connection without an answer
    DELAY = "delay"  # answer correctly after `seconds`


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that waits for its request. `operation`: such as `Decrypt`; None for any."""

    fault: Fault
    operation: str | None = None
    seconds: float = 0.0


class Faults:
    """Faults to come, in order; each request takes the first one that is meant for it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Injection] = []

    def inject(
        self, fault: Fault, *, times: int = 1, operation: str | None = None, seconds: float = 0.0
    ) -> None:
        """Misbehave so on the next `times` requests (of that operation)."""
        with self._lock:
            self._queue.extend([Injection(fault, operation, seconds)] * times)

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._queue.clear()

    def take(self, operation: str) -> Injection | None:
        """The fault for this request, removed from the queue."""
        with self._lock:
            for position, injection in enumerate(self._queue):
                if injection.operation in (None, operation):
                    return self._queue.pop(position)
            return None
