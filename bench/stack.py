"""End to end: a client, the host and the enclave as processes on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cosigner import AsyncClient, ClientConfig, ShareStore
from cosigner.mock_issuer import provider
from simulator import stack
from tests.support.world import bitcoin_psbt, solana_message

from .measure import Figure

SIGNATURES = 300
CLIENTS = 32
LOAD_SECONDS = 10
_TICKS = os.sysconf("SC_CLK_TCK")


def processes(state: Path) -> dict[str, int]:
    """The pids of the stack's processes that work for ``state``, by module."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "-m" in words and any(str(state) in word for word in words):
                found[words[words.index("-m") + 1]] = int(entry.name)
    return found


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="cosigner-bench-") as directory:
        state = Path(directory).resolve() / "state"
        with (Path(directory) / "log").open("ab") as log:
            started = time.perf_counter()
            with stack.running(state, log=log.fileno()) as running:
                yield Figure("mock stack", "start to ready", time.perf_counter() - started, "s")
                yield from asyncio.run(_clients(running, Path(directory)))
                yield from asyncio.run(_throughput(running, Path(directory)))
                yield Figure(
                    "mock stack",
                    "enclave process, resident",
                    resident_mb(processes(state)["simulator.enclave"]),
                    "MB",
                    150,
                )


async def _throughput(running: stack.Stack, directory: Path) -> list[Figure]:
    """Many clients at once, in one process, sharing the cores with host and enclave."""
    store = ShareStore.create(directory / "load", os.urandom(32))
    config = ClientConfig.load(running.client_config)
    async with contextlib.AsyncExitStack() as exits:
        clients = [
            await exits.enter_async_context(AsyncClient(config, store, token_provider=provider(config)))
            for _ in range(CLIENTS)
        ]
        wallet = await clients[0].create_wallet("ethereum")
        for client in clients:
            await client.open(ecdsa=True)
        pids = processes(running.state)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        own, started, count = time.process_time(), time.perf_counter(), 0

        async def load(client: AsyncClient) -> None:
            nonlocal count
            while time.perf_counter() - started < LOAD_SECONDS:
                await client.sign_evm_message(wallet.wallet_id, b"benchmark")
                count += 1

        await asyncio.gather(*(load(client) for client in clients))
        elapsed = time.perf_counter() - started
        own = time.process_time() - own
    stage = f"{CLIENTS} clients, ethereum"
    return [
        Figure(stage, "signatures per second, all on one machine", count / elapsed, "/s", 500, at_least=True),
        Figure(stage, "clients CPU per signature", own / count * 1000, "ms"),
        *(
            Figure(
                stage,
                f"{what} CPU per signature",
                (cpu_seconds(pids[module]) - before[module]) / count * 1000,
                "ms",
            )
            for what, module in (("host", "host"), ("enclave", "simulator.enclave"))
        ),
    ]


async def _clients(running: stack.Stack, directory: Path) -> list[Figure]:
    store = ShareStore.create(directory / "shares", os.urandom(32))
    found = []
    config = ClientConfig.load(running.client_config)
    async with AsyncClient(config, store, token_provider=provider(config)) as client:
        for chain in ("solana", "bitcoin", "ethereum"):
            started = time.perf_counter()
            wallet = await client.create_wallet(chain)
            found.append(
                Figure(
                    f"end to end, {chain}", "wallet creation", (time.perf_counter() - started) * 1000, "ms"
                )
            )

            async def sign(
                chain: str = chain, wallet_id: str = wallet.wallet_id, address: str = wallet.address
            ) -> None:
                if chain == "solana":
                    await client.sign_solana(wallet_id, solana_message(address))
                elif chain == "bitcoin":
                    await client.sign_bitcoin(wallet_id, bitcoin_psbt(address))
                else:
                    await client.sign_evm_message(wallet_id, b"benchmark")

            for _ in range(20):
                await sign()
            pids = processes(running.state)
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            own, traffic, times = time.process_time(), client.traffic.copy(), []
            for _ in range(SIGNATURES):
                started = time.perf_counter()
                await sign()
                times.append((time.perf_counter() - started) * 1000)
            own = time.process_time() - own
            used = client.traffic.since(traffic)
            stage = f"end to end, {chain}"
            found += [
                Figure(stage, "warm signature, p50", statistics.median(times), "ms", 5.0),
                Figure(stage, "warm signature, p95", statistics.quantiles(times, n=20)[18], "ms"),
                Figure(stage, "client CPU", own / SIGNATURES * 1000, "ms"),
                *(
                    Figure(
                        stage,
                        f"{what} CPU",
                        (cpu_seconds(pids[module]) - before[module]) / SIGNATURES * 1000,
                        "ms",
                    )
                    for what, module in (("host", "host"), ("enclave", "simulator.enclave"))
                ),
                Figure(stage, "HTTP bodies, both ways", (used.sent + used.received) / SIGNATURES, "B"),
            ]
    return found
