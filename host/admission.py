"""Who may come in, and with how much: a rate for each client address, and a bound on all bodies together."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from protocol.envelope.errors import Culprit, Reaction

from .config import Limits
from .errors import HostError
from .metrics import Metrics

_MAX_ADDRESSES: Final = 16384


class Admission:
    """The host's door; one event loop only."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._rate = limits.requests_per_second
        self._burst = float(limits.burst)
        self._body_bytes = limits.body_bytes
        self._used = 0
        self._metrics = metrics
        self._buckets: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # address: tokens, and when there were so many

    def admit(self, address: str) -> None:
        """Count a request of a client address (token bucket).

        :raises HostError: ``rate_limited``.
        """
        if self._rate is None:
            return
        now = time.monotonic()
        tokens, then = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        admitted = tokens >= 1
        self._buckets[address] = (tokens - 1 if admitted else tokens, now)
        if len(self._buckets) > _MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if not admitted:
            raise HostError(
                "rate_limited",
                "This address sends requests faster than the host allows.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.RETRY,
            )

    @contextmanager
    def body(self) -> Iterator[BodyRoom]:
        """Room for one request body, given back at the end."""
        room = BodyRoom(self)
        try:
            yield room
        finally:
            self._account(-room.taken)

    def take(self, count: int) -> None:
        """Take ``count`` bytes out of the bound on all bodies.

        :raises HostError: ``host_busy``.
        """
        if self._used + count > self._body_bytes:
            raise HostError(
                "host_busy",
                "The host holds as many request bodies as it may; try again shortly.",
                culprit=Culprit.HOST,
                reaction=Reaction.RETRY,
            )
        self._account(count)

    def _account(self, count: int) -> None:
        self._used += count
        self._metrics.body_bytes.set(self._used)


class BodyRoom:
    """The part of the bound that one request uses."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.taken = 0

    def take(self, count: int) -> None:
        """Take ``count`` bytes more; raises as :meth:`Admission.take`."""
        self._admission.take(count)
        self.taken += count
