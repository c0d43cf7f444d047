"""A host that holds operations of its storage up, and lets them go when it likes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Held:
    """One operation of a storage that hangs until it is let go.

    :param only: which calls of it hang; asked with their arguments.
    :ivar reached: a call hangs.
    """

    def __init__(
        self, storage: Any, operation: str, only: Callable[..., bool] = lambda *_, **__: True
    ) -> None:
        self.reached = asyncio.Event()
        self._go_on = asyncio.Event()
        self._real = getattr(storage, operation)
        self._only = only
        setattr(storage, operation, self._hang)

    async def _hang(self, *arguments: Any, **named: Any) -> Any:
        if self._only(*arguments, **named) and not self._go_on.is_set():
            self.reached.set()
            await self._go_on.wait()
        return await self._real(*arguments, **named)

    def let_go(self) -> None:
        """Whatever hangs goes on, and nothing hangs any more."""
        self._go_on.set()
