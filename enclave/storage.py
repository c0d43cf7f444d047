"""The enclave's view of the host's storage: untrusted bytes under keys, with compare-and-put by epoch."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol

from protocol.envelope import cbor, frames
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.messages import (
    ChainHead,
    ChainHeads,
    Conflict,
    Done,
    Fault,
    Found,
    GetChainHeads,
    LogAppend,
    LogConflict,
    Missing,
    OutboxEvent,
    SignedEntry,
    StorageGet,
    StoragePut,
    StorageReply,
    StorageReplyFrame,
    StorageRequest,
    StorageRequestFrame,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.envelope.address import Address

_TIMEOUT: Final = 10.0  # seconds for one storage answer


class StorageConflictError(CosignerError):
    """The key's epoch was not the expected one; nothing was written."""

    def __init__(self, current: int) -> None:
        super().__init__(
            "storage_conflict",
            "Another writer changed this record first; read it again.",
            culprit=Culprit.STORAGE,
            reaction=Reaction.RETRY,
        )
        self.current = current


class Storage(Protocol):
    """What vault and keys need of the host's storage."""

    async def get(self, key: str) -> Found | None:
        """Read a record, or ``None`` when the host says there is none."""

    async def put(
        self, key: str, value: bytes, *, expected: int, epoch: int, event: OutboxEvent | None = None
    ) -> None:
        """Write a record durably if its epoch is ``expected`` (0: absent).

        :param event: what developers are told about the change: kept by the host in the same durable write, or not at all.
        :raises StorageConflictError: the epoch was another.
        """


class HostStorage:
    """:class:`Storage` over one connection to the host's storage port; redials when the connection breaks."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[StorageReply]] = {}
        self._next_id = 0
        self._dialing = asyncio.Lock()

    async def get(self, key: str) -> Found | None:
        reply = await self._call(StorageGet(key))
        if isinstance(reply, Found):
            return reply
        if isinstance(reply, Missing):
            return None
        raise _unexpected(reply)

    async def put(
        self, key: str, value: bytes, *, expected: int, epoch: int, event: OutboxEvent | None = None
    ) -> None:
        reply = await self._call(
            StoragePut(key=key, expected=expected, epoch=epoch, value=value, event=event)
        )
        if isinstance(reply, Conflict):
            raise StorageConflictError(reply.current)
        if not isinstance(reply, Done):
            raise _unexpected(reply)

    async def append_log(self, chain: bytes, first: int, entries: Sequence[SignedEntry]) -> None:
        """Append entries to the log of decisions durably (:class:`enclave.receipts.LogStorage`)."""
        reply = await self._call(LogAppend(chain=chain, first=first, entries=list(entries)))
        if isinstance(reply, LogConflict):
            raise _unavailable(
                f"The host's log of this enclave ends before entry {reply.next}; entries from {first} on do not continue it."
            )
        if not isinstance(reply, Done):
            raise _unexpected(reply)

    async def chain_heads(self, chain: bytes) -> list[ChainHead]:
        """The newest entries of earlier logs, as the host has them."""
        reply = await self._call(GetChainHeads(chain))
        if not isinstance(reply, ChainHeads):
            raise _unexpected(reply)
        return reply.heads

    async def close(self) -> None:
        """Drop the connection; requests in flight fail."""
        self._disconnect(_unavailable("The enclave is stopping."))

    async def _call(self, request: StorageRequest) -> StorageReply:
        try:
            async with asyncio.timeout(_TIMEOUT):
                writer = await self._connected()
                self._next_id = (self._next_id + 1) % (1 << 32)
                frame_id = self._next_id
                future: asyncio.Future[StorageReply] = asyncio.get_running_loop().create_future()
                self._waiting[frame_id] = future
                try:
                    writer.write(frames.pack(cbor.encode(StorageRequestFrame(id=frame_id, body=request))))
                    await writer.drain()
                    return await future
                finally:
                    self._waiting.pop(frame_id, None)
        except TimeoutError:
            raise _unavailable(f"The host's storage did not answer within {_TIMEOUT:g} seconds.") from None
        except OSError:
            self._disconnect(_unavailable("The connection to the host's storage broke."))
            raise _unavailable("The host's storage cannot be reached.") from None

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._dialing:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await self._address.dial()
                self._reading = asyncio.create_task(self._read(reader))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        error = _unavailable("The host closed the storage connection.")
        try:
            while (raw := await frames.read(reader, culprit=Culprit.STORAGE)) is not None:
                frame = cbor.decode(raw, StorageReplyFrame, culprit=Culprit.STORAGE)
                future = self._waiting.get(frame.id)
                if future is None or future.done():
                    continue  # an answer nobody waits for: late, or invented by the host
                future.set_result(frame.body)
        except (ProtocolError, OSError) as broken:
            error = _unavailable(f"The host's storage sent nonsense: {broken}")
        self._disconnect(error)

    def _disconnect(self, error: CosignerError) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        reading, self._reading = self._reading, None
        if reading is not None and reading is not asyncio.current_task():
            with contextlib.suppress(RuntimeError):
                reading.cancel()


def _unavailable(message: str) -> CosignerError:
    return CosignerError("storage_unavailable", message, culprit=Culprit.STORAGE, reaction=Reaction.RETRY)


def _unexpected(reply: StorageReply) -> CosignerError:
    if isinstance(reply, Fault):
        return _unavailable(f"The host's storage refused: {reply.message}")
    return _unavailable("The host's storage answered something else than was asked.")
