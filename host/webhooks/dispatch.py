"""Who works on what: one worker for each channel, with a bound of its own, so that an endpoint that hangs delays its own events only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from host.log import Log
from host.metrics import Metrics
from host.storage import StorageError

from .attempt import Outcome, Sender
from .endpoint import Endpoint
from .events import CREATED, REVOKED
from .outbox import Delivery, Subscribed

_GRACE: Final = 5.0  # seconds for attempts under way when the host stops
_STORE_PAUSE: Final = 2.0  # seconds after the store failed
_DAY_MS: Final = 86_400_000
_PURGE_SECONDS: Final = 3600.0


class Worker:
    """Delivers one channel's events.

    :param concurrency: attempts at once. :param lease: seconds that a claim holds; longer than any attempt.
    :param poll: seconds between two looks for what became due by time, or by another process.
    """

    def __init__(
        self,
        channel: str,
        sender: Sender,
        endpoint: Endpoint,
        *,
        concurrency: int,
        lease: float,
        poll: float,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._channel = channel
        self._sender = sender
        self._endpoint = endpoint
        self._concurrency = concurrency
        self._lease = lease
        self._poll = poll
        self._log = log
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._subjects: dict[str, tuple[asyncio.Lock, int]] = {}  # with how many hold or await it

    def wake(self) -> None:
        """Something became due."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; then attempts under way have a moment to end."""
        try:
            while True:
                self._wake.clear()
                try:
                    more = await self._start_due()
                except StorageError as error:
                    self._log.event("webhook_store_failed", "error", code=error.code, reason=error.message)
                    await asyncio.sleep(_STORE_PAUSE)
                    continue
                if not more:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), self._poll)
        finally:
            await self._wind_up()

    async def _start_due(self) -> bool:
        """Claim and start as much as there is room for; whether there may be more."""
        if len(self._under_way) >= self._concurrency:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        subscribed = await self._sender.subscription(self._channel)
        if subscribed is None:
            return False
        room = self._concurrency - len(self._under_way)
        now = self._sender.clock()
        claimed = await self._sender.outbox.claim(
            self._channel, now=now, until=now + round(self._lease * 1000), count=room
        )
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery, subscribed))
            self._under_way[task] = delivery
            task.add_done_callback(self._under_way.pop)
        return len(claimed) == room

    async def _deliver(self, delivery: Delivery, subscribed: Subscribed) -> None:
        try:
            async with self._alone(delivery):
                outcome = await self._sender.attempt(delivery, subscribed, self._endpoint)
            await self._settle(delivery, outcome)
        except StorageError as error:  # the claim ends, and the delivery is due again
            self._log.event("webhook_store_failed", "error", code=error.code, reason=error.message)
        except Exception as error:  # noqa: BLE001  (a mistake of ours must not end the worker; the claim ends)
            self._log.failure("webhook_failed_inside", error)

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        outbox, now = self._sender.outbox, self._sender.clock()
        match outcome.kind:
            case "failed":
                await outbox.postpone(
                    delivery,
                    attempts=delivery.attempts + 1,
                    due_at=self._sender.due_again(delivery),
                    reason=outcome.reason,
                )
            case end:
                await outbox.finish(delivery, end, now=now, reason=outcome.reason)
        self._metrics.webhooks.labels(outcome.kind).inc()
        if outcome.kind != "delivered":
            self._log.event(
                f"webhook_{outcome.kind}",
                "error" if outcome.kind == "dead" else "info" if outcome.kind == "dropped" else "warning",
                environment=delivery.event.environment,
                event_id=delivery.event.event_id,
                message_id=delivery.message_id,
                operation=delivery.event.name,
                attempt=delivery.attempts + 1,
                code=outcome.reason,
                reason=outcome.detail,
            )

    @contextlib.asynccontextmanager
    async def _alone(self, delivery: Delivery) -> AsyncIterator[None]:
        """What tells of one delegation goes out one after the other: no ``created`` is under way while its ``revoked`` is sent."""
        event = delivery.event
        if event.name not in {CREATED, REVOKED} or not event.subject:
            yield
            return
        lock, users = self._subjects.get(event.subject, (asyncio.Lock(), 0))
        self._subjects[event.subject] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._subjects.pop(event.subject)
            if users > 1:
                self._subjects[event.subject] = (lock, users - 1)

    async def _wind_up(self) -> None:
        """Let attempts end, then give back what did not: due at once, for whoever comes next."""
        if self._under_way:
            _, left = await asyncio.wait(list(self._under_way), timeout=_GRACE)
            unfinished = [self._under_way[task] for task in left if task in self._under_way]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)
            with contextlib.suppress(StorageError):
                for delivery in unfinished:
                    await self._sender.outbox.postpone(
                        delivery,
                        attempts=delivery.attempts,
                        due_at=self._sender.clock(),
                        reason="interrupted",
                    )
        await self._endpoint.close()


class Dispatcher:
    """One worker for each channel that has something to go by.

    :param make: makes a channel's worker. :param retention_days: how long what ended is kept.
    """

    def __init__(
        self,
        sender: Sender,
        make: Callable[[str], Worker],
        *,
        poll: float,
        retention_days: int,
        log: Log,
    ) -> None:
        self._sender = sender
        self._make = make
        self._poll = poll
        self._retention_days = retention_days
        self._log = log
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        self._sender.outbox.notify = self._notified
        purge_at = loop.time()
        try:
            while True:
                self._news.clear()
                try:
                    await self._staff()
                    if loop.time() >= purge_at:
                        purge_at = loop.time() + _PURGE_SECONDS
                        await self._purge()
                except StorageError as error:
                    self._log.event("webhook_store_failed", "error", code=error.code, reason=error.message)
                except Exception as error:  # noqa: BLE001  (a mistake of ours must not end the others' webhooks)
                    self._log.failure("webhook_failed_inside", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self._poll)
        finally:
            tasks = [task for _, task in self._workers.values()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def _notified(self, channel: str) -> None:
        known = self._workers.get(channel)
        if known is None:
            self._news.set()
        else:
            known[0].wake()

    async def _staff(self) -> None:
        for channel in await self._sender.outbox.channels():
            known = self._workers.get(channel)
            if known is not None and known[1].done() and (failure := known[1].exception()) is not None:
                self._log.failure("webhook_worker_failed", failure, environment=channel)
                known = None
            if known is None:
                worker = self._make(channel)
                self._workers[channel] = (worker, asyncio.create_task(worker.run()))

    async def _purge(self) -> None:
        before = self._sender.clock() - self._retention_days * _DAY_MS
        for channel in list(self._workers):
            await self._sender.outbox.purge(channel, before=before)
