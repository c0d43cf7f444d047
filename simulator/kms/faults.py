"""Misbehaviour on demand, so that a client's refusals can be tested."""

from __future__ import annotations

import enum
import re
import threading
from dataclasses import dataclass, replace
from typing import Final, Self

from simulator.kms.errors import ApiError


class Fault(enum.Enum):
    """One way to misbehave. The first group concerns answers to requests with a Recipient."""

    PLAINTEXT = "plaintext"  # the plaintext as well as the envelope
    FORGED_ENVELOPE = "forged-envelope"  # addressed to the caller, sealed for another key
    FOREIGN_ENVELOPE = "foreign-envelope"  # addressed to another key
    SUBSTITUTED_KEY = "substituted-key"  # a good envelope around other bytes of the same length
    SHORT_KEY = "short-key"  # a good envelope around 16 bytes
    NO_ENVELOPE = "no-envelope"  # CiphertextForRecipient is left out

    OTHER_KEY_ID = "other-key-id"  # another key is named in the answer

    THROTTLE = "throttle"  # ThrottlingException
    INTERNAL = "internal"  # KMSInternalException, status 500
    DENIED = "denied"  # AccessDeniedException
    EXPIRED_TOKEN = "expired-token"  # ExpiredTokenException: the caller's credentials ran out  # noqa: S105

    UNAVAILABLE = "unavailable"  # status 503 with a page of HTML, as a proxy has it
    GARBAGE = "garbage"  # status 200 with a body that is not JSON
    EMPTY = "empty"  # status 200 with `{}`
    TRUNCATED = "truncated"  # half of the announced body, then the connection ends
    DROP = "drop"  # the connection ends without an answer
    DELAY = "delay"  # the right answer after `seconds`


ERRORS: Final = {
    Fault.THROTTLE: ApiError("ThrottlingException", "Rate exceeded"),
    Fault.INTERNAL: ApiError("KMSInternalException", "injected", status=500),
    Fault.DENIED: ApiError("AccessDeniedException", "injected"),
    Fault.EXPIRED_TOKEN: ApiError("ExpiredTokenException", "The security token included is expired"),
}

MAX_SECONDS: Final = 3600.0
_SPECIFICATION: Final = re.compile(
    r"(?P<fault>[a-z-]+)(?::(?P<operation>[A-Za-z]{1,64}))?(?:\*(?P<times>[0-9]{1,6}|always))?"
    r"(?:@(?P<seconds>[0-9]{1,4}(?:\.[0-9]{1,3})?))?"
)


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that waits for its requests.

    `operation`: such as `Decrypt`; None for any. `seconds`: for DELAY. `times`: how many requests; None for all.
    """

    fault: Fault
    operation: str | None = None
    seconds: float = 0.0
    times: int | None = 1

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError("a fault happens at least once")
        if not 0 <= self.seconds <= MAX_SECONDS or (self.seconds > 0) != (self.fault is Fault.DELAY):
            raise ValueError(
                f"a delay, and nothing else, has more than 0 and at most {MAX_SECONDS:g} seconds"
            )

    def __str__(self) -> str:
        """As `parse` reads it."""
        times = "" if self.times == 1 else "*always" if self.times is None else f"*{self.times}"
        seconds = f"@{self.seconds:.3f}" if self.seconds else ""
        return self.fault.value + (f":{self.operation}" if self.operation else "") + times + seconds

    @classmethod
    def parse(cls, text: str) -> Self:
        """`FAULT[:OPERATION][*TIMES|*always][@SECONDS]`, such as `throttle:Decrypt*3` or `delay@2.5`. ValueError."""
        match = _SPECIFICATION.fullmatch(text)
        if match is None:
            raise ValueError("a fault is FAULT[:OPERATION][*TIMES|*always][@SECONDS]")
        times = match["times"] or "1"
        return cls(
            Fault(match["fault"]),
            match["operation"],
            float(match["seconds"] or 0),
            None if times == "always" else int(times),
        )


class Faults:
    """Faults to come, in order; each request takes the first one that is meant for it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def inject(
        self, fault: Fault, *, times: int | None = 1, operation: str | None = None, seconds: float = 0.0
    ) -> None:
        """Misbehave so on the next `times` requests (of that operation); None: until `clear`."""
        self.add(Injection(fault, operation, seconds, times))

    def add(self, injection: Injection) -> None:
        """Queue one."""
        with self._lock:
            self._waiting.append(_Waiting(injection, injection.times))

    @property
    def waiting(self) -> list[str]:
        """What is to come, as `Injection.parse` reads it, with the times that are left."""
        with self._lock:
            return [str(replace(waiting.injection, times=waiting.left)) for waiting in self._waiting]

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._waiting.clear()

    def take(self, operation: str) -> Injection | None:
        """The fault for this request; it is gone after its last time."""
        with self._lock:
            for position, waiting in enumerate(self._waiting):
                if waiting.injection.operation in (None, operation):
                    if waiting.left is not None:
                        waiting.left -= 1
                        if waiting.left == 0:
                            del self._waiting[position]
                    return waiting.injection
            return None


@dataclass(slots=True)
class _Waiting:
    injection: Injection
    left: int | None
