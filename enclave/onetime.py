"""Values that are good once, until they expire."""

from __future__ import annotations

from collections import OrderedDict


class OneTime:
    """A bounded set of values with the times at which they may be forgotten.

    :param most: how many are kept. Whoever adds more learns that there is no room; what was added is never forgotten early.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._until: OrderedDict[bytes, int] = OrderedDict()

    def add(self, value: bytes, *, until: int, now: int) -> bool:
        """Remember a value. ``False``: it is known already, or there is no room."""
        if value in self._until:
            return False
        if len(self._until) >= self._most:
            self._forget(now)
        if len(self._until) >= self._most:
            return False
        self._until[value] = until
        return True

    def take(self, value: bytes, *, now: int) -> bool:
        """Use a value up. ``False``: it is not known, was used, or has expired."""
        until = self._until.pop(value, None)
        return until is not None and until > now

    def _forget(self, now: int) -> None:
        for value in [value for value, until in self._until.items() if until <= now]:
            del self._until[value]
