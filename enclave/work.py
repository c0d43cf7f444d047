"""Where computation runs: native calls release the GIL, so a pool of one thread per core uses every core."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

WORKERS: Final = os.cpu_count() or 1
_POOL: Final = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="core")


async def compute(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a native computation off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, lambda: function(*args, **kwargs))
