"""Puts the rooms of the enclave together. Composition roots (``main``, and the simulator's) choose the parts that touch the world."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from . import log
from .authn.clock import Clock
from .boot import Boot
from .burns import Burns
from .counters import new_counters
from .credentials import Credentials
from .environments import Environments
from .identity import Identity
from .kms import AttestedKms
from .realms import Realms
from .receipts import Log, LogStorage, ReceiptKey
from .server import Server
from .sessions import Sessions
from .storage import HostStorage, Storage
from .tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from protocol.envelope.address import Address

    from .authn.jwks_fetching import Dial
    from .keys import Kms
    from .manifest import Manifest
    from .nsm import Nsm
    from .realm import Realm


@dataclass(frozen=True)
class Parts:
    """What touches the world outside.

    :ivar nsm: the Nitro Secure Module.
    :ivar listen: where the host connects to.
    :ivar storage: the host's storage port.
    :ivar tunnel: the host's tunnel port.
    """

    nsm: Nsm
    listen: Address
    storage: Address
    tunnel: Address


class Keeping(Storage, LogStorage, Protocol):
    """What the host keeps for the enclave: records, and the log of decisions."""


@dataclass(frozen=True)
class Enclave:
    """The rooms, connected."""

    server: Server
    boot: Boot
    identity: Identity
    sessions: Sessions
    environments: Environments[Realm]
    clock: Clock


def assemble(
    nsm: Nsm,
    storage: Keeping,
    *,
    credentials: Credentials,
    connect: Callable[[Manifest], Awaitable[Kms]],
    dial: Dial,
) -> Enclave:
    """Connect the rooms of one enclave.

    :param connect: makes the way to the manifest's KMS.
    :param dial: opens a tunnel through the host.
    """
    clock, key, sessions, burns, counters = Clock(nsm), ReceiptKey(), Sessions(), Burns(), new_counters()
    identity = Identity(nsm, lambda: environments.key_policy(), key.public_bytes)  # noqa: PLW0108  (it is made below)
    realms = Realms(
        storage=storage,
        clock=clock,
        log=Log(key, clock=clock, storage=storage, document=identity.document),
        sessions=sessions,
        burns=burns,
        counters=counters,
        dial=dial,
    )
    environments = Environments(nsm, storage, connect, realms.make)
    boot = Boot(nsm, environments)
    server = Server(
        boot=boot,
        identity=identity,
        sessions=sessions,
        credentials=credentials,
        environments=environments,
        burns=burns,
        counters=counters,
    )
    return Enclave(server, boot, identity, sessions, environments, clock)


async def run(parts: Parts, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set."""
    log.silence_libraries()
    credentials = Credentials()
    storage = HostStorage(parts.storage)
    tunnel = Tunnel(parts.tunnel)

    async def connect(manifest: Manifest) -> AttestedKms:
        return await asyncio.to_thread(  # it reads boto3's description of the service
            AttestedKms,
            region=manifest.kms.region,
            host=manifest.kms.host,
            port=manifest.kms.port,
            ca_pem=manifest.kms.ca_pem or None,
            dial=tunnel.dial,
            credentials=credentials.current,
            nsm=parts.nsm,
        )

    enclave = assemble(parts.nsm, storage, credentials=credentials, connect=connect, dial=tunnel.dial)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        await enclave.server.serve(reader, writer)

    listener = await parts.listen.listen(connected)
    log.event("listening")
    try:
        await stop.wait()
    finally:
        listener.close()
        for task in connections:
            task.cancel()
        await storage.close()
