"""Where the enclave reaches the store and the log of decisions: frames of one request each, answered by id (``docs/spec/wire.md``).

Writes of one connection may be under way together; those to one key are carried out in the order in which they came. Bytes that are not a storage
request end their connection, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from protocol.envelope import cbor, frames
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError
from protocol.envelope.messages import (
    ChainHeads,
    Conflict,
    Done,
    Fault,
    Found,
    GetChainHeads,
    Keys,
    LogAppend,
    LogConflict,
    Missing,
    StorageDelete,
    StorageGet,
    StorageList,
    StoragePut,
    StorageReply,
    StorageReplyFrame,
    StorageRequest,
    StorageRequestFrame,
)

from .audit_log import AuditLog, LogConflictError
from .listener import Listener
from .log import Log
from .metrics import Metrics
from .storage import EpochConflict, Store
from .webhooks.clock import milliseconds
from .webhooks.events import read as read_event

_MAX_WRITES: Final = 64  # of one connection, under way together


class StoragePort(Listener):
    """Serves the enclave's storage connections.

    :param connections: at most this many at once; more are closed at once.
    :param clock: milliseconds since 1970, for events.
    """

    def __init__(
        self,
        store: Store,
        audit_log: AuditLog,
        *,
        log: Log,
        metrics: Metrics,
        connections: int,
        clock: Callable[[], int] = milliseconds,
    ) -> None:
        super().__init__("storage_port", log=log, connections=connections)
        self._store = store
        self._audit_log = audit_log
        self._metrics = metrics
        self._clock = clock

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writes: set[asyncio.Task[None]] = set()
        try:
            while (raw := await frames.read(reader, culprit=Culprit.ENCLAVE)) is not None:
                frame = cbor.decode(raw, StorageRequestFrame, culprit=Culprit.ENCLAVE)
                if isinstance(frame.body, StorageGet | StorageList):
                    await self._answer(frame, writer)
                else:
                    task = asyncio.create_task(self._answer(frame, writer))
                    writes.add(task)
                    task.add_done_callback(writes.discard)
                    if len(writes) >= _MAX_WRITES:
                        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
                await writer.drain()
            if writes:
                await asyncio.wait(writes)
        except ProtocolError as error:
            self._metrics.storage_operations.labels("unknown", error.code).inc()
            self.log.event("storage_connection_refused", "warning", code=error.code, reason=error.message)
        finally:
            for task in writes:  # their outcome can no longer be told
                task.cancel()

    async def _answer(self, frame: StorageRequestFrame, writer: asyncio.StreamWriter) -> None:
        operation = str(type(frame.body).__struct_config__.tag)
        started = time.perf_counter()
        reply = await self._carry_out(frame.body)
        self._metrics.storage_seconds.labels(operation).observe(time.perf_counter() - started)
        outcome = reply.code if isinstance(reply, Fault) else str(type(reply).__struct_config__.tag)
        self._metrics.storage_operations.labels(operation, outcome).inc()
        if not writer.is_closing():
            writer.write(frames.pack(cbor.encode(StorageReplyFrame(id=frame.id, body=reply))))

    async def _carry_out(self, request: StorageRequest) -> StorageReply:
        try:
            match request:
                case StorageGet(key=key):
                    stored = await self._store.get(key)
                    return Missing() if stored is None else Found(epoch=stored.epoch, value=stored.value)
                case StorageList(prefix=prefix, after=after, count=count):
                    return Keys(keys=await self._store.keys(prefix, after=after, count=count))
                case StoragePut():
                    await self._put(request)
                case StorageDelete(key=key, expected=expected):
                    await self._store.delete(key, expected=expected)
                case LogAppend(chain=chain, first=first, entries=entries):
                    await self._audit_log.append(chain, first, entries)
                case GetChainHeads(chain=chain):
                    return ChainHeads(heads=await self._audit_log.heads(chain))
        except EpochConflict as conflict:
            return Conflict(current=conflict.current)
        except LogConflictError as conflict:
            self.log.event("log_conflict", "error", reason=str(conflict))
            return LogConflict(next=conflict.next)
        except CosignerError as error:
            self.log.event("storage_failed", "error", code=error.code, reason=error.message)
            return Fault.of(error)
        return Done()

    async def _put(self, request: StoragePut) -> None:
        event = request.event
        arrival = None if event is None else read_event(event, now=self._clock())
        await self._store.put(
            request.key, expected=request.expected, epoch=request.epoch, value=request.value, arrival=arrival
        )
        if arrival is not None and arrival.message_id is not None:
            self._metrics.webhooks.labels("queued").inc()
