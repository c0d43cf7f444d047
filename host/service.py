"""Puts the host together, in the order in which its parts need each other, and takes it apart in the opposite one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from protocol.envelope.address import Address
from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.limits import MAX_MANIFEST

from .admission import Admission
from .api import Api
from .audit_log import AuditLog
from .audit_log.choice import open_audit_log
from .backups import Backups
from .config import Config
from .credentials import source_of
from .errors import HostError
from .http_guard import Guard, GuardedProtocol
from .listener import Listener
from .log import Log
from .metrics import Metrics
from .obituary_port import ObituaryPort
from .readiness import Board
from .storage import Store
from .storage.choice import open_store
from .storage_port import StoragePort
from .supervisor import Supervisor
from .tending import Care
from .tunnel import TunnelPort
from .webhooks.service import dispatcher
from .whereabouts import locator

_BACKLOG: Final = 1024
_HTTP_GRACE: Final = 5  # seconds for requests under way when the host stops
_THREADS: Final = 32  # for name lookups and credentials: one that hangs must not hold up the others


Listening = Callable[[str], None]


async def run(config: Config, *, log: Log, stop: asyncio.Event, listening: Listening) -> None:
    """Run the host until ``stop`` is set.

    :param listening: called once with the API's URL, when it answers.
    :raises HostError: ``storage_unusable``, ``audit_log_unusable``, ``webhooks_unusable`` or ``listen_failed``: the host cannot start.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="host"))
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        store = open_store(config.storage)
        stack.push_async_callback(store.close)
        audit_log = open_audit_log(config, log=log)
        stack.push_async_callback(audit_log.close)
        board = Board(log=log, metrics=metrics)
        webhooks = dispatcher(config.webhooks, store.outbox, log=log, metrics=metrics)
        await stack.enter_async_context(_task(webhooks.run()))
        await _start_ports(config, store, audit_log, stack, board=board, log=log, metrics=metrics)
        supervisor = Supervisor(
            locate=locator(config.enclave),
            launched=config.enclave.address_file is not None,
            command=config.enclave.command,
            capacity=config.limits.concurrency,
            care=Care(
                manifest=lambda: read_manifest(Path(config.manifest)),
                credentials=source_of(config.credentials),
                timing=config.timing,
                board=board,
                log=log,
                metrics=metrics,
            ),
        )
        sock, url = _bind(config.listen)
        stack.callback(_forget_socket, config.listen)
        stack.enter_context(sock)
        supervising = await stack.enter_async_context(_task(supervisor.run()))
        api = Api(
            supervisor,
            backups=Backups(store, metrics=metrics),
            admission=Admission(config.limits, metrics),
            body_seconds=config.timing.body,
            log=log,
            metrics=metrics,
        )
        server = _Server(config, api, log)
        async with _task(server.serve(sockets=[sock])) as serving:
            await server.answered(serving)
            listening(url)
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, supervising, serving}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            server.should_exit = True
            await serving
        if supervising.done():
            await supervising  # it ends by itself only by a mistake of ours


def read_manifest(path: Path) -> bytes:
    """Read the manifest; the host hands it on as it is.

    :raises HostError: ``manifest_unreadable``.
    """
    try:
        with path.open("rb") as file:
            manifest = file.read(MAX_MANIFEST + 1)
    except OSError as error:
        raise _manifest_unreadable(f"{path} cannot be read: {error.strerror}") from None
    if not 0 < len(manifest) <= MAX_MANIFEST:
        raise _manifest_unreadable(f"{path} must have 1 to {MAX_MANIFEST} bytes")
    return manifest


def _manifest_unreadable(reason: str) -> HostError:
    return HostError(
        "manifest_unreadable",
        f"There is no manifest for the enclave: {reason}.",
        culprit=Culprit.HOST,
        reaction=Reaction.RETRY,
    )


async def _start_ports(
    config: Config,
    store: Store,
    audit_log: AuditLog,
    stack: contextlib.AsyncExitStack,
    *,
    board: Board,
    log: Log,
    metrics: Metrics,
) -> None:
    enclave = locator(config.enclave)
    storage = StoragePort(
        store, audit_log, log=log, metrics=metrics, connections=config.limits.storage_connections
    )
    tunnel = TunnelPort(
        config.tunnel.allow,
        timing=config.timing,
        log=log,
        metrics=metrics,
        tunnels=config.limits.tunnels,
    )
    ports: list[tuple[str, Listener, str]] = [
        ("ports.storage", storage, config.ports.storage),
        ("ports.tunnel", tunnel, config.ports.tunnel),
    ]
    if config.ports.obituary is not None:
        obituary = ObituaryPort(board.bury, log=log, metrics=metrics)
        ports.append(("ports.obituary", obituary, config.ports.obituary))
    for field, port, address in ports:
        try:
            await port.start(Address.parse(address), enclave=enclave)
        except OSError as error:
            raise _listen_failed(field, address, error) from None
        stack.callback(_forget_socket, address)
        stack.push_async_callback(port.stop)


class _Server(uvicorn.Server):
    """uvicorn, without signal handlers of its own, and with an event for when it answers."""

    def __init__(self, config: Config, api: Api, log: Log) -> None:
        guard = Guard(connections=config.limits.connections, header_seconds=config.timing.header, log=log)
        protocol = functools.partial(GuardedProtocol, guard=guard)
        super().__init__(
            uvicorn.Config(
                api.application(),
                http=cast("type[asyncio.Protocol]", protocol),
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=round(config.timing.keep_alive),
                timeout_graceful_shutdown=_HTTP_GRACE,
            )
        )
        self.answering: Final = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def answered(self, serving: asyncio.Task[None]) -> None:
        """Wait until the server answers; what ends it before that is raised."""
        answering = asyncio.create_task(self.answering.wait())
        await asyncio.wait({answering, serving}, return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()
        if serving.done():
            serving.result()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


def _bind(listen: str) -> tuple[socket.socket, str]:
    """A listening socket and its URL (``http://HOST:PORT``, or the address itself for a unix socket)."""
    address = Address.parse(listen)
    unix = address.scheme == "unix"
    # asyncio switches Nagle's algorithm off only where the protocol number says TCP; with it, every answer waits 40 ms.
    protocol = 0 if unix else socket.IPPROTO_TCP
    sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM, protocol)
    try:
        if address.scheme == "unix":
            _forget_socket(listen)
            previous = os.umask(0o117)  # owner and group: a reverse proxy may run as another user
            try:
                sock.bind(address.host)
            finally:
                os.umask(previous)
            url = listen
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address.host, address.port))
            url = "http://{}:{}".format(*sock.getsockname())
        sock.listen(_BACKLOG)
        sock.settimeout(0)
    except OSError as error:
        sock.close()
        raise _listen_failed("listen", listen, error) from None
    return sock, url


def _forget_socket(address: str) -> None:
    parsed = Address.parse(address)
    if parsed.scheme == "unix":
        with contextlib.suppress(OSError):
            Path(parsed.host).unlink()


def _listen_failed(field: str, address: str, error: OSError) -> HostError:
    return HostError(
        "listen_failed",
        f"Cannot listen on {address} (field {field!r} of the configuration): {error.strerror or error}.",
        culprit=Culprit.HOST,
    )


@contextlib.asynccontextmanager
async def _task(work: Any) -> AsyncIterator[asyncio.Task[Any]]:  # noqa: ANN401  (any coroutine)
    """Run a coroutine beside the body, and cancel it after."""
    task: asyncio.Task[Any] = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
