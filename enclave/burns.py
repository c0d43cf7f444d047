"""Burnt sessions, and the growing patience that they cost (``signing.md`` §2).

A failed consistency check of the oblivious transfers may tell a cheating client a bit or so. Fresh transfers make nothing of that add up,
but nobody shall try it at full speed. What burns is counted by user: whoever has a user's session could try with all of their wallets.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.envelope.errors import CosignerError, Culprit, Reaction

from . import log

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED_CHECK: Final = (
    "ot_check_failed"  # the code of what counts: a session that merely ended burns too, and does not
)
FREE: Final = 1  # burns without a delay: a client may try again once at once
FIRST_DELAY: Final = 1.0  # seconds; doubles with every further burn
MAX_DELAY: Final = 300.0
FORGET: Final = 3600.0  # seconds without a burn after which the count starts over
_REMEMBERED: Final = 100_000


class Burns:
    """How often sessions were burnt for each user, lately. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._burns: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._total = 0

    @property
    def total(self) -> int:
        """Burns since the enclave started."""
        return self._total

    def of(self, environment: str, user_id: str) -> UserBurns:
        """The burns of one user."""
        return UserBurns(self, (environment, user_id))

    def record(self, key: tuple[str, str]) -> None:
        """A session of this user was burnt."""
        with self._lock:
            self._burns[key] = (self._count(key) + 1, self._clock())
            self._burns.move_to_end(key)
            if len(self._burns) > _REMEMBERED:
                self._burns.popitem(last=False)
            self._total += 1
        log.event("session_burned", code=FAILED_CHECK, environment=key[0])

    def require_patience(self, key: tuple[str, str]) -> None:
        """Refuse while the delay after the last burn lasts.

        :raises CosignerError: ``burn_delay``.
        """
        with self._lock:
            count = self._count(key)
            if count <= FREE:
                return
            delay = min(FIRST_DELAY * 2.0 ** (count - FREE - 1), MAX_DELAY)
            left = self._burns[key][1] + delay - self._clock()
        if left > 0:
            raise CosignerError(
                "burn_delay",
                f"{count} sessions of this user were burnt; try again in {left:.0f} seconds.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.ABORT,
            )

    def _count(self, key: tuple[str, str]) -> int:
        count, last = self._burns.get(key, (0, 0.0))
        return count if self._clock() - last < FORGET else 0


@dataclass(frozen=True)
class UserBurns:
    """:class:`Burns`, for one user."""

    burns: Burns
    key: tuple[str, str]

    def record(self) -> None:
        """See :meth:`Burns.record`."""
        self.burns.record(self.key)

    def require_patience(self) -> None:
        """See :meth:`Burns.require_patience`."""
        self.burns.require_patience(self.key)
