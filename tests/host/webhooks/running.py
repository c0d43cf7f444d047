"""A dispatcher over a store, in an event loop of its own, with a clock that a test moves."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from host.config import WebhooksSection
from host.log import Log
from host.metrics import Metrics
from host.storage import Store
from host.storage.sqlite import SqliteStore
from host.webhooks import service
from host.webhooks.events import read
from protocol.envelope.messages import OutboxEvent
from tests.host.webhooks.receiver import Receiver


def section(receiver: Receiver | None = None, **changes: Any) -> WebhooksSection:
    """Mock mode, fast."""
    fields: dict[str, Any] = {
        "allow_private": True,
        "poll": 0.02,
        "timeout": 5.0,
        "schedule": [0, 0.05, 0.1],
        **changes,
    }
    if receiver is not None:
        fields["ca_file"] = receiver.ca_file
    return msgspec.convert(fields, WebhooksSection)


class Sending:
    """A store and a dispatcher over it."""

    def __init__(self, store: Store, config: WebhooksSection, **options: Any) -> None:
        self.store = store
        self.text = io.StringIO()
        self.metrics = Metrics()
        self.dispatcher = service.dispatcher(
            config, store.outbox, log=Log(self.text), metrics=self.metrics, **options
        )
        self.writes = 0

    async def put(self, event: OutboxEvent, *, now: int | None = None) -> None:
        """What the storage port does with an event of the enclave."""
        self.writes += 1
        arrival = read(event, now=service.milliseconds() if now is None else now)
        await self.store.put(f"r/{id(self)}-{self.writes}", expected=0, epoch=1, value=b"v", arrival=arrival)

    def logged(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]

    def count(self, outcome: str) -> float:
        return float(self.metrics.webhooks.labels(outcome)._value.get())


@contextlib.asynccontextmanager
async def sending(folder: Path, config: WebhooksSection, **options: Any) -> AsyncIterator[Sending]:
    store = SqliteStore(str(folder / "store"))
    running = Sending(store, config, **options)
    task = asyncio.create_task(running.dispatcher.run())
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.close()
