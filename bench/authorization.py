"""What authorization adds to a signature inside the enclave: evidence, owner, rules, totals and the receipt.

The gate's CPU time in all threads, less what opening the wallet's record and working out the payload take, which a signature needs in any
case. The host's storage is memory, but every request to it is encoded as it is for the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from enclave import signing
from protocol.envelope import cbor, frames
from protocol.envelope.messages import (
    LogAppend,
    OutboxEvent,
    SignedEntry,
    StorageGet,
    StoragePut,
    StorageRequest,
    StorageRequestFrame,
)
from protocol.messages import Call, Sign, SolanaPayload
from tests.support.door import Door, User
from tests.support.manifests import EVERYTHING, environment, layer
from tests.support.world import MANIFEST, Host, MemoryStorage, solana_message
from threshold.payload import solana_address

from .measure import Figure

_RUNS = 400
_LIMITED = {
    "name": "limited",
    "ruleType": "allow",
    "chain": "SVM",
    "valueLimit": {"asset": "SOL", "totalLimit": "1000", "window": "24h"},
}


class EncodedStorage(MemoryStorage):
    """Storage in memory that costs the encoding of what would go over the link."""

    async def get(self, key: str):  # noqa: ANN201  (as its base)
        _encode(StorageGet(key))
        return await super().get(key)

    async def put(
        self, key: str, value: bytes, *, expected: int, epoch: int, event: OutboxEvent | None = None
    ) -> None:
        _encode(StoragePut(key=key, expected=expected, epoch=epoch, value=value, event=event))
        await super().put(key, value, expected=expected, epoch=epoch, event=event)

    async def append_log(self, chain: bytes, first: int, entries: Sequence[SignedEntry]) -> None:
        _encode(LogAppend(chain=chain, first=first, entries=list(entries)))
        await super().append_log(chain, first, entries)


def _encode(request: StorageRequest) -> None:
    frames.pack(cbor.encode(StorageRequestFrame(id=1, body=request)))


class Rig:
    """A user with a wallet, and the gate that judges them."""

    def __init__(self, host: Host, user: User, wallet_id: str) -> None:
        self.user, self.wallet_id = user, wallet_id
        rooms = host.enclave.environments.in_service("sandbox")._rooms  # noqa: SLF001
        self.gate, self.vault = rooms.gate, rooms.vault
        self.session = host.enclave.sessions.get(user.door.channel.session_id)
        address = solana_address(user.wallets[wallet_id].public_key)
        payload = SolanaPayload(message=solana_message(address))
        self.request: Sign = user.sign_request(wallet_id, payload)[1]

    @classmethod
    async def start(cls, *rules: dict[str, object]) -> Rig:
        host = Host(storage=EncodedStorage())
        first = environment("sandbox", policy=layer(*rules))
        host.manifest = type(MANIFEST)(version=1, environments=[first], kms=MANIFEST.kms)
        await host.start_enclave()
        user = await User.log_in(host)
        await user.add_passkey()
        await user.add_key()
        return cls(host, user, (await user.create()).wallet_id)

    async def without(self) -> None:
        """What a signature needs before it can be made, whoever asks."""
        opened = await self.vault.open(self.wallet_id)
        opened.require_epoch(1)
        signing.examine(opened, self.request)

    async def judged(self, call: Call) -> None:
        (await self.gate.admit(self.session, call)).need_permit()


async def _cpu_ms(make: Callable[[], Awaitable[object]]) -> float:
    """Median CPU milliseconds of one call, in all threads of this process."""
    for _ in range(20):
        await make()
    gc.collect()
    samples = []
    for _ in range(_RUNS):
        started = time.process_time()
        await make()
        samples.append(time.process_time() - started)
    return statistics.median(samples) * 1000


async def _measure() -> list[Figure]:
    plain = await Rig.start(*EVERYTHING)
    counted = await Rig.start(_LIMITED, EVERYTHING[1])
    found = []
    for rig, rules in ((plain, "rules"), (counted, "rules with a rolling total")):
        alone = await _cpu_ms(rig.without)
        for evidence, target in ((None, 1.0), ("key", None), ("passkey", 2.0)):
            calls = iter(
                [
                    Call(
                        rig.request,
                        None if evidence is None else rig.user.authorize(rig.request, by=evidence),
                    )
                    for _ in range(_RUNS + 20)
                ]
            )
            total = await _cpu_ms(lambda rig=rig, calls=calls: rig.judged(next(calls)))
            name = {
                None: "session key",
                "key": "session key and a raw key",
                "passkey": "session key and a passkey",
            }
            found.append(
                Figure("authorization", f"CPU, {name[evidence]}, {rules}", total - alone, "ms", target)
            )
    return [*found, await _hello(plain)]


async def _hello(rig: Rig) -> Figure:
    host, user = rig.user.host, rig.user

    async def opened(*, known: bool) -> None:
        await Door.open(host, authenticate=user.session_key.auth(user.user_id) if known else None)

    with_auth = await _cpu_ms(lambda: opened(known=True))
    without = await _cpu_ms(lambda: opened(known=False))
    return Figure("authorization", "CPU of a session key in a hello, both sides", with_auth - without, "ms")


def figures() -> Iterator[Figure]:
    with contextlib.redirect_stderr(io.StringIO()):  # the enclave's log
        yield from asyncio.run(_measure())
