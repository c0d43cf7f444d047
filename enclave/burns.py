"""Burnt sessions, and the growing patience that they cost (``signing.md`` §2).

A failed consistency check of the oblivious transfers may tell a cheating client a bit or so. Fresh transfers make nothing of that add up,
but nobody shall try it at full speed. Until the enclave knows credentials, what burns is counted by wallet.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from protocol.envelope.errors import CosignerError, Culprit, Reaction

from . import log

if TYPE_CHECKING:
    from collections.abc import Callable

FREE: Final = 1  # burns without a delay: a client may try again once at once
FIRST_DELAY: Final = 1.0  # seconds; doubles with every further burn
MAX_DELAY: Final = 300.0
FORGET: Final = 3600.0  # seconds without a burn after which the count starts over
_REMEMBERED: Final = 100_000


class Burns:
    """How often sessions were burnt for each wallet, lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._burns: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def record(self, environment: str, wallet_id: str, code: str) -> None:
        """A session was burnt while signing with this wallet."""
        count = self._count(environment, wallet_id) + 1
        self._burns[environment, wallet_id] = (count, self._clock())
        self._burns.move_to_end((environment, wallet_id))
        if len(self._burns) > _REMEMBERED:
            self._burns.popitem(last=False)
        log.event("session_burned", code=code, environment=environment, count=count)

    def require_patience(self, environment: str, wallet_id: str) -> None:
        """Refuse while the delay after the last burn lasts.

        :raises CosignerError: ``burn_delay``.
        """
        count = self._count(environment, wallet_id)
        if count <= FREE:
            return
        delay = min(FIRST_DELAY * 2.0 ** (count - FREE - 1), MAX_DELAY)
        left = self._burns[environment, wallet_id][1] + delay - self._clock()
        if left > 0:
            raise CosignerError(
                "burn_delay",
                f"Sessions were burnt {count} times while signing with this wallet; try again in {left:.0f} seconds.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.ABORT,
            )

    def _count(self, environment: str, wallet_id: str) -> int:
        count, last = self._burns.get((environment, wallet_id), (0, 0.0))
        return count if self._clock() - last < FORGET else 0
