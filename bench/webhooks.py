"""Webhooks a second: from the write that hands an event over to the receiver's answer, over TLS, with the outbox on disk.

The receiver is a process of its own that answers at once; the sender keeps up to 32 attempts under way.
"""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import ssl
import time
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from host.config import WebhooksSection
from host.log import Log
from host.metrics import Metrics
from host.storage.sqlite import SqliteStore
from host.webhooks import service
from host.webhooks.events import CREATED, new_id, read
from protocol.envelope.messages import OutboxEvent
from simulator.pki import TlsAuthority

from .measure import Figure

EVENTS: Final = 3000
AT_ONCE: Final = 32
TARGET: Final = 500.0
_ENVIRONMENT: Final = "sandbox"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def _receive(folder: str, report: Connection) -> None:
    """The receiver's process: says its port, then how many it took when it is told to end."""
    taken = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                taken += 1
                writer.write(_ANSWER)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def run() -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(f"{folder}/server.pem")
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        report.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(report.recv)
        server.close()
        report.send(taken)

    asyncio.run(run())


def figures() -> list[Figure]:
    with TemporaryDirectory() as folder:
        authority = TlsAuthority.open(Path(folder))
        issued = authority.server(["localhost"])
        Path(folder, "ca.pem").write_bytes(authority.pem)
        Path(folder, "server.pem").write_bytes(issued.key_pem + issued.pem)
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        receiver = context.Process(target=_receive, args=(folder, there))
        receiver.start()
        try:
            url = f"https://localhost:{here.recv()}/"
            seconds = asyncio.run(_send(Path(folder), url))
            here.send(None)
            taken = here.recv()
        finally:
            receiver.join(20)
    if taken < EVENTS:
        raise AssertionError(f"the receiver took {taken} of {EVENTS} webhooks")
    return [
        Figure(
            "webhooks",
            f"delivered to a local receiver, {AT_ONCE} at once, a second",
            EVENTS / seconds,
            "/s",
            TARGET,
            at_least=True,
        )
    ]


async def _send(folder: Path, url: str) -> float:
    store = SqliteStore(str(folder / "store"))
    section = WebhooksSection(allow_private=True, ca_file=f"{folder}/ca.pem", concurrency=AT_ONCE)
    metrics = Metrics()
    delivered = metrics.webhooks.labels("delivered")
    dispatcher = service.dispatcher(section, store.outbox, log=Log(io.StringIO()), metrics=metrics)
    working = asyncio.create_task(dispatcher.run())
    secret = {"url": url, "secret": "whsec_" + "A" * 32, "events": [CREATED], "enabled": True}
    await _put(store, "s", "subscription", url, secret)
    data = {
        "walletId": new_id(),
        "chain": "EVM",
        "encryptedDelegatedShare": {"ct": "x" * 1500, "ek": "y" * 512},
    }
    started = time.perf_counter()
    for first in range(0, EVENTS, 100):
        await asyncio.gather(
            *(
                _put(store, f"k/{first + number}", CREATED, url, {**data, "shareSetId": new_id()})
                for number in range(100)
            )
        )
    while delivered._value.get() < EVENTS:  # noqa: SLF001, ASYNC110  (the library shows a counter's value in no other way)
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - started
    working.cancel()
    await asyncio.wait([working])
    await store.close()
    return seconds


async def _put(store: SqliteStore, key: str, name: str, url: str, data: dict[str, object]) -> None:
    event = OutboxEvent(
        event_id=new_id(),
        environment=_ENVIRONMENT,
        name=name,
        endpoint=url,
        data=json.dumps(data).encode(),
        subscription_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    )
    arrival = read(event, now=service.milliseconds())
    await store.put(key, expected=0, epoch=1, value=b"value", arrival=arrival)
