"""A delegate's signature beside its user's: same wallet, same payload, same processes, in turn."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from cosigner import AsyncClient, ClientConfig, ShareStore, approvals
from cosigner.delegate import DelegatedWallet
from cosigner.delegation import DelegatedShare
from cosigner.delegation.files import new_encryption_key
from cosigner.demo_delegation import arrival, developer
from cosigner.keys import SigningKey
from cosigner.mock_issuer import provider
from cosigner.webhooks import DecryptionKey, Delegation, Inbox, LocalSealer, Receiver
from protocol.delegation import DelegationSettings, SetDelegationSettings
from protocol.intents import subject_of
from simulator import stack
from simulator.sandbox import ADMINISTRATOR, ADMINISTRATOR_KEY

from .measure import Figure
from .stack import cpu_seconds, processes

ROUNDS = 10
EACH = 20  # signatures in a row, of each in turn
RULES = {
    "version": 1,
    "layer": "signer",
    "rules": [{"name": "messages", "ruleType": "allow", "payloads": ["message"]}],
}


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="cosigner-bench-") as directory:
        state = Path(directory).resolve() / "state"
        with (
            (Path(directory) / "log").open("ab") as log,
            stack.running(state, log=log.fileno()) as running,
        ):
            yield from asyncio.run(_compare(running, Path(directory)))


async def _compare(running: stack.Stack, directory: Path) -> list[Figure]:
    config = ClientConfig.load(running.client_config)
    store = ShareStore.create(directory / "shares", os.urandom(32))
    async with AsyncClient(config, store, token_provider=provider(config)) as client:
        wallet = await client.create_wallet("ethereum")
        delegation = await _delegation(running, client, config, wallet.wallet_id, directory)
        share = DelegatedShare.parse(delegation.opened.share)
        async with DelegatedWallet(config, share, delegation.opened.api_key) as bot:
            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "user": lambda: client.sign_evm_message(wallet.wallet_id, b"benchmark"),
                "delegate": lambda: bot.sign_evm_message(wallet.wallet_id, b"benchmark"),
            }
            return await _measure(running, ways)


async def _measure(running: stack.Stack, ways: dict[str, Callable[[], Awaitable[object]]]) -> list[Figure]:
    enclave = processes(running.state)["simulator.enclave"]
    own: dict[str, float] = dict.fromkeys(ways, 0.0)
    theirs: dict[str, float] = dict.fromkeys(ways, 0.0)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for sign in ways.values():
        for _ in range(EACH):
            await sign()  # warm
    for _ in range(ROUNDS):
        for name, sign in ways.items():
            before, mine = cpu_seconds(enclave), time.process_time()
            for _ in range(EACH):
                started = time.perf_counter()
                await sign()
                times[name].append((time.perf_counter() - started) * 1000)
            own[name] += time.process_time() - mine
            theirs[name] += cpu_seconds(enclave) - before
    count = ROUNDS * EACH
    found = []
    for name in ways:
        found += [
            Figure(f"signature by the {name}, ethereum", "client CPU", own[name] / count * 1000, "ms"),
            Figure(f"signature by the {name}, ethereum", "enclave CPU", theirs[name] / count * 1000, "ms"),
            Figure(f"signature by the {name}, ethereum", "p50", statistics.median(times[name]), "ms"),
        ]
    ratio = statistics.median(times["delegate"]) / statistics.median(times["user"])
    return [*found, Figure("signature by the delegate, ethereum", "time over the user's", ratio, "x", 1.1)]


async def _delegation(
    running: stack.Stack, client: AsyncClient, config: ClientConfig, wallet_id: str, directory: Path
) -> Delegation:
    """Set up, approve, receive. The endpoint goes away afterwards, and deliveries of signatures wait for it."""
    private, key = new_encryption_key()
    with developer() as endpoint:
        settings = DelegationSettings(
            enabled=True,
            prompt_users_on_sign_in=False,
            requires_delegation=False,
            app="Benchmark",
            endpoint=endpoint.url,
            keys=[key],
        )
        request = SetDelegationSettings(settings, version=0, new_secret=True)
        draft = approvals.draft(request, environment=config.environment, subject=subject_of(request, ""))
        signing_key = SigningKey.from_pem((running.state / ADMINISTRATOR_KEY).read_bytes())
        approval = approvals.by_administrator(draft, ADMINISTRATOR, signing_key)
        done = await client.configure_delegation(settings, new_secret=True, approvals=[approval])
        inbox = Inbox(directory / "inbox.sqlite3", LocalSealer(directory / "sealing.key"))
        endpoint.receiver = Receiver(done.webhook_secret, DecryptionKey.from_pem(private), inbox)
        await client.approve_delegation(wallet_id, json.dumps(RULES).encode())
        return await arrival(inbox, wallet_id)
