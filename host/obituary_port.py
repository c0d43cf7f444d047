"""Where the enclave's PID 1 says why the enclave ends: one line, just before the machine is powered off (``docs/spec/wire.md`` §4.3).

In production an enclave has no console; without this line, an enclave that could not start and one that was terminated look the same. The
line is shown and logged, and nothing is decided by it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

from .listener import Listener
from .log import Log
from .metrics import Metrics

MAX_LINE: Final = 37  # bytes: a word of 32, a space, a number of 3 digits, a line end
_LINE: Final = re.compile(rb"([a-z_]{1,32}(?: [0-9]{1,3})?)\n")
_SECONDS: Final = 5.0  # for the line, and for the launcher to say which CID is the enclave's
_LOOK_AGAIN: Final = 0.1
_CONNECTIONS: Final = 8


class ObituaryPort(Listener):
    """Takes the enclave's last words.

    :param bury: told the words, which match ``[a-z_]{1,32}( [0-9]{1,3})?``.
    """

    def __init__(self, bury: Callable[[str], None], *, log: Log, metrics: Metrics) -> None:
        # An enclave can end before its launcher has written down its CID: who it is, is looked up in serve(), with patience.
        super().__init__("obituary_port", log=log, connections=_CONNECTIONS, enclave_only=False)
        self._bury = bury
        self._metrics = metrics

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outcome = "late"
        try:
            async with asyncio.timeout(_SECONDS):
                words = _parse(await _read_line(reader))
                if words is None:
                    outcome = "malformed"
                    return
                outcome = "stranger"
                while not self.is_enclave(writer):  # noqa: ASYNC110  (the launcher is another process)
                    await asyncio.sleep(_LOOK_AGAIN)
            outcome = "ok"
            self.log.event("enclave_obituary", "warning", reason=words)
            self._bury(words)
        except TimeoutError:
            return
        finally:
            self._metrics.obituaries.labels(outcome).inc()
            if outcome != "ok":
                self.log.event("obituary_ignored", "warning", reason=outcome)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """Up to the first line end, the stream's end, or one byte more than a line may have."""
    raw = b""
    while b"\n" not in raw and len(raw) <= MAX_LINE and (chunk := await reader.read(MAX_LINE + 1 - len(raw))):
        raw += chunk
    return raw


def _parse(raw: bytes) -> str | None:
    match = _LINE.fullmatch(raw)
    return None if match is None else match[1].decode("ascii")
