"""A wallet's life end to end: a client, the host and the enclave as processes on loopback. Refresh, reshare, recovery, per party.

The client's CPU is with its share store on disk and with every check, Argon2id aside: the store is opened once, and backups have no passcode.
A *recovery* opens a backup of the service's storage, renews the shares, puts a new backup there and proves it: seven requests to the enclave,
and four to the storage, each over a connection of its own. So it has no target here; that of its ceremony is in :mod:`bench.reshare`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from cosigner import AsyncClient, ClientConfig, Evidence, ShareStore, SigningKey
from cosigner.backups import files
from cosigner.backups.locations.file import FileLocation
from cosigner.backups.making import Apart, BackupPlan
from cosigner.mock_issuer import provider
from protocol.wallets import PasscodeSetup
from simulator import stack
from threshold import SealingKey

from .measure import Figure
from .stack import cpu_seconds, processes

RUNS = 60
TARGET = 10.0  # ms CPU for each party


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="cosigner-bench-") as directory:
        state = Path(directory).resolve() / "state"
        with (Path(directory) / "log").open("ab") as log, stack.running(state, log=log.fileno()) as running:
            stretched = files.offline_key
            files.offline_key = _not_stretched
            try:
                yield from asyncio.run(_client(running, Path(directory)))
            finally:
                files.offline_key = stretched


def _not_stretched(setup: PasscodeSetup, passphrase: bytes) -> SealingKey:
    """In place of Argon2id."""
    return SealingKey.from_data_key(setup.salt + passphrase.ljust(16))


async def _client(running: stack.Stack, directory: Path) -> list[Figure]:
    config = ClientConfig.load(running.client_config)
    key = SigningKey.generate()
    evidence = Evidence(
        signing_key=key, beforehand=frozenset({"reshare_begin", "backup_open"})
    )  # asked at once: the enclave would ask
    store = ShareStore.create(directory / "shares", os.urandom(32))
    found = []
    async with AsyncClient(
        config, store, token_provider=provider(config, "bench"), evidence=evidence
    ) as client:
        await client.add_key("bench", key)
        plan = BackupPlan([client.service_storage()])
        apart = {3: Apart(FileLocation(directory / "apart"), b"x")}
        for chain in ("solana", "bitcoin", "ethereum"):
            wallet_id = (await client.create_wallet(chain)).wallet_id

            async def refresh(wallet_id: str = wallet_id) -> None:
                await client.refresh_wallet(wallet_id)

            async def reshare(wallet_id: str = wallet_id) -> None:
                await client.reshare_wallet(wallet_id, parties=3, apart=apart)

            async def recover(wallet_id: str = wallet_id) -> None:
                await client.recover_wallet(wallet_id, plan)

            found += await _measure(running, client, f"refresh, {chain}", refresh)
            found += await _measure(running, client, f"reshare to 2-of-3, {chain}", reshare)
            await client.reshare_wallet(wallet_id, parties=2)
            await client.backup_wallet(wallet_id, plan)
            found += await _measure(running, client, f"recovery, {chain}", recover, None)
    return found


async def _measure(
    running: stack.Stack,
    client: AsyncClient,
    stage: str,
    work: Callable[[], Awaitable[None]],
    target: float | None = TARGET,
) -> list[Figure]:
    for _ in range(3):
        await work()
    pids = processes(running.state)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    own, traffic, started = time.process_time(), client.traffic.copy(), time.perf_counter()
    for _ in range(RUNS):
        await work()
    elapsed, own = time.perf_counter() - started, time.process_time() - own
    used = client.traffic.since(traffic)
    enclave = cpu_seconds(pids["simulator.enclave"]) - before["simulator.enclave"]
    return [
        Figure(stage, "client CPU", own / RUNS * 1000, "ms", target),
        Figure(stage, "enclave CPU", enclave / RUNS * 1000, "ms", target),
        Figure(stage, "from start to end", elapsed / RUNS * 1000, "ms"),
        Figure(stage, "HTTP bodies, both ways", (used.sent + used.received) / RUNS, "B"),
    ]
