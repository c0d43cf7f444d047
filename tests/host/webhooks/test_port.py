"""From the enclave's own storage client, over the storage port and the outbox, to a receiver: the parts as the host puts them together."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from enclave.storage import HostStorage, StorageConflictError
from host.audit_log import AuditLog
from host.audit_log.file import FileBackend
from host.log import Log
from host.storage.sqlite import SqliteStore
from host.storage_port import StoragePort
from protocol.envelope.address import Address
from protocol.envelope.errors import CosignerError
from protocol.envelope.messages import Found
from tests.host.rig import eventually, short_folder
from tests.host.webhooks.arrivals import outbox_event, subscription
from tests.host.webhooks.receiver import Receiver
from tests.host.webhooks.running import Sending, section, sending


@contextlib.asynccontextmanager
async def ported(folder: Path, running: Sending) -> AsyncIterator[HostStorage]:
    """A storage port over the sender's store, and the enclave's client at it."""
    log = Log(io.StringIO())
    address = Address.parse(f"unix:{folder}/s.sock")
    audit_log = AuditLog(FileBackend(f"{folder}/log", log=log))
    port = StoragePort(running.store, audit_log, log=log, metrics=running.metrics, connections=4)
    await port.start(address, enclave=lambda: Address.parse("unix:/nowhere"))
    storage = HostStorage(address)
    try:
        yield storage
    finally:
        await storage.close()
        await port.stop()
        await audit_log.close()


def test_what_the_enclave_writes_with_a_record_arrives() -> None:
    async def run(folder: Path, receiver: Receiver) -> None:
        async with sending(folder, section(receiver)) as running, ported(folder, running) as storage:
            settings = subscription(url=f"{receiver.url}/")
            await storage.put("settings", b"sealed", expected=0, epoch=1, event=settings)
            event = outbox_event()
            await storage.put("delegation", b"sealed", expected=0, epoch=1, event=event)
            await eventually(lambda: receiver.taken)
            assert receiver.taken[0].json["eventId"] == event.event_id
            with pytest.raises(StorageConflictError):  # as after a reply that was lost
                await storage.put("delegation", b"sealed", expected=0, epoch=1, event=event)
            await storage.put("delegation", b"again", expected=1, epoch=2, event=event)
            last = outbox_event()
            await storage.put("delegation", b"last", expected=2, epoch=3, event=last)
            await eventually(lambda: receiver.taken[-1].json["eventId"] == last.event_id)
            assert [taken.json["eventId"] for taken in receiver.taken] == [event.event_id, last.event_id]
            assert running.count("queued") >= 2

    with short_folder() as folder, Receiver() as receiver:
        asyncio.run(run(folder, receiver))


def test_data_that_cannot_be_sent_stop_the_whole_write() -> None:
    async def run(folder: Path) -> None:
        async with sending(folder, section()) as running, ported(folder, running) as storage:
            for data in (b'{"x":1.5}', b"[]", b'{"1":2}'):
                with pytest.raises(CosignerError) as caught:
                    await storage.put("k", b"sealed", expected=0, epoch=1, event=outbox_event(data=data))
                assert caught.value.code == "storage_unavailable"
                assert "cannot be sent" in caught.value.message
            assert await storage.get("k") is None
            await storage.put("k", b"sealed", expected=0, epoch=1, event=outbox_event())
            assert await storage.get("k") == Found(1, b"sealed")

    with short_folder() as folder:
        asyncio.run(run(folder))


def test_a_store_that_fails_for_a_while_delays_webhooks_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table is gone for a moment."""
    monkeypatch.setattr("host.webhooks.dispatch._STORE_PAUSE", 0.05)

    async def run(receiver: Receiver) -> None:
        async with sending(tmp_path, section(receiver, timeout=1)) as running:
            await running.put(subscription(url=f"{receiver.url}/"))
            store = running.store
            assert isinstance(store, SqliteStore)
            receiver.answer(lambda taken: 503 if len(receiver.taken) == 1 else 200)
            await running.put(outbox_event())
            await eventually(lambda: running.logged("webhook_failed"))
            await store.transact(lambda connection: connection.execute("ALTER TABLE delivery RENAME TO away"))
            await eventually(lambda: running.logged("webhook_store_failed"))
            await store.transact(lambda connection: connection.execute("ALTER TABLE away RENAME TO delivery"))
            await eventually(lambda: len(receiver.taken) >= 2)
            await eventually(lambda: running.count("delivered") == 1)

    with Receiver() as receiver:
        asyncio.run(run(receiver))
