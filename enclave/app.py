"""Puts the rooms of the enclave together. Composition roots (``main``, and the simulator's) choose the parts that touch the world."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import log
from .boot import Boot
from .credentials import Credentials
from .environments import Environments
from .identity import Identity
from .kms import AttestedKms
from .server import Server
from .sessions import Sessions
from .storage import HostStorage
from .tunnel import Tunnel

if TYPE_CHECKING:
    from protocol.envelope.address import Address

    from .manifest import Manifest
    from .nsm import Nsm


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

    environments = Environments(parts.nsm, storage, connect)
    server = Server(
        boot=Boot(parts.nsm, environments),
        identity=Identity(parts.nsm, environments.key_policy),
        sessions=Sessions(),
        credentials=credentials,
        environments=environments,
    )
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        await server.serve(reader, writer)

    listener = await parts.listen.listen(connected)
    log.event("listening")
    try:
        await stop.wait()
    finally:
        listener.close()
        for task in connections:
            task.cancel()
        await storage.close()
