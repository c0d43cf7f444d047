"""Where the enclaves' logs of decisions are kept: what every backend must do, and what is the same for all of them.

To the host an entry is opaque bytes and a signature, at a number of a chain. What is kept is never changed or taken away. The host is not
trusted with it: whoever audits finds out what is missing or altered (``docs/spec/receipts.md``).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import MAX_LOG_HEADS
from protocol.envelope.messages import ChainHead, SignedEntry
from protocol.envelope.segments import LogRecord, entry_hash

_MAX_CHAINS: Final = 64  # whose state is kept in memory


class LogConflictError(Exception):
    """The entries do not continue the chain, which ends before ``next``, or differ from what is kept. Nothing was changed."""

    def __init__(self, next_sequence: int) -> None:
        super().__init__(f"the chain ends before entry {next_sequence}")
        self.next = next_sequence


class AuditLogError(CosignerError):
    """The log cannot be written or read; whether entries were kept is unknown, and the same ones may be appended again."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "audit_log_unavailable",
            f"The host's log of decisions failed: {reason}.",
            culprit=Culprit.STORAGE,
            reaction=Reaction.RETRY,
        )


class Backend(ABC):
    """Keeps records. :class:`AuditLog` calls :meth:`length`, :meth:`read` and :meth:`write` of one chain one at a time.

    Every method raises :exc:`AuditLogError` when it fails.
    """

    @abstractmethod
    async def length(self, chain: bytes) -> int:
        """How many entries of the chain are kept; what an interrupted write left is cleared away first."""

    @abstractmethod
    async def read(self, chain: bytes, first: int, count: int) -> list[SignedEntry]:
        """Entries that are kept."""

    @abstractmethod
    async def write(self, records: Sequence[LogRecord]) -> None:
        """Keep records that continue their chain; returns when they are durable. After a failure :meth:`length` is asked first."""

    @abstractmethod
    async def newest(self, count: int, besides: bytes) -> list[LogRecord]:
        """The last record of each of the newest ``count`` chains but one."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was asked and close. May be called again."""


class _Chain:
    __slots__ = ("length", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length: int | None = None  # unknown: ask the backend


class AuditLog:
    """Appends entries in order, each once, over any backend; for one event loop."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._chains: OrderedDict[bytes, _Chain] = OrderedDict()

    async def append(self, chain: bytes, first: int, entries: Sequence[SignedEntry]) -> None:
        """Keep entries ``first``, ``first`` + 1, … of a chain; returns when they are durable. Entries that are kept already must be the same.

        :raises LogConflictError: they do not continue the chain, or differ.
        :raises AuditLogError: the backend failed.
        """
        state = self._state(chain)
        async with state.lock:
            if state.length is None:
                state.length = await self._backend.length(chain)
            length = state.length
            if first > length:
                raise LogConflictError(length)
            again = entries[: length - first]
            if again and await self._backend.read(chain, first, len(again)) != list(again):
                raise LogConflictError(length)
            fresh = entries[len(again) :]
            if not fresh:
                return
            state.length = None  # until it is certain again
            await self._backend.write(
                [LogRecord(chain, length + index, signed) for index, signed in enumerate(fresh)]
            )
            state.length = length + len(fresh)

    async def heads(self, besides: bytes) -> list[ChainHead]:
        """The newest entries of the newest chains but one.

        :raises AuditLogError: the backend failed.
        """
        return [
            ChainHead(
                chain=record.chain,
                sequence=record.sequence,
                hash=entry_hash(record.signed.entry),
                signature=record.signed.signature,
            )
            for record in await self._backend.newest(MAX_LOG_HEADS, besides)
        ]

    async def close(self) -> None:
        await self._backend.close()

    def _state(self, chain: bytes) -> _Chain:
        state = self._chains.setdefault(chain, _Chain())
        self._chains.move_to_end(chain)
        for old, other in list(self._chains.items())[:-_MAX_CHAINS]:
            if not other.lock.locked():
                del self._chains[old]
        return state
