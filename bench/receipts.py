"""What a receipt costs: the enclave's CPU for an entry, and entries a second over the storage port into a folder."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from enclave.receipts import Log, ReceiptKey
from enclave.storage import HostStorage
from host.audit_log import AuditLog
from host.audit_log.file import FileBackend
from host.log import Log as HostLog
from host.metrics import Metrics
from host.storage.sqlite import SqliteStore
from host.storage_port import StoragePort
from protocol.actions import Action, PasskeyAssertion
from protocol.envelope.address import Address
from protocol.receipts import Decision, LoggedActor, PasskeyEvidence, PolicyVersion

from .measure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.envelope.messages import SignedEntry

ENTRIES: Final = 2000
AT_ONCE: Final = 32


class _Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class _Nowhere:
    """Storage that confirms everything at once: what is left is the enclave's own work."""

    async def append_log(self, chain: bytes, first: int, entries: Sequence[SignedEntry]) -> None:
        pass

    async def chain_heads(self, _: bytes) -> list[object]:
        return []


async def _document(_: bytes) -> bytes:
    return bytes(4096)


def decision() -> Decision:
    """A signature authorized by a passkey."""
    action = Action(
        version=1,
        environment="sandbox",
        session=os.urandom(32),
        operation="sign_ecdsa",
        subject="5a0c1e2f-0000-4000-8000-0000000000aa",
        body=os.urandom(32),
        nonce=os.urandom(16),
        expires_at=1_800_000_000_000,
    )
    assertion = PasskeyAssertion(
        credential_id=os.urandom(32),
        client_data_json=os.urandom(140),
        authenticator_data=os.urandom(37),
        signature=os.urandom(71),
    )
    policies = [
        PolicyVersion(layer, "", 3, hashlib.sha256(layer.encode()).digest())  # type: ignore[arg-type]
        for layer in ("environment", "account", "wallet")
    ]
    return Decision(
        action=action,
        actor=LoggedActor("5a0c1e2f-0000-4000-8000-000000000001", "user", os.urandom(32), "ab" * 32),
        evidence=[PasskeyEvidence(os.urandom(77), assertion)],
        approvals=[],
        summary='{"to":"0x' + "00" * 20 + '","value":"1000000000000000000"}',
        policies=policies,
        allowed=True,
        code="",
        reasons="",
        epoch=1,
        result=None,
    )


async def cpu_of_an_entry() -> float:
    """Milliseconds of CPU that an append costs the enclave without the storage port."""
    log = Log(ReceiptKey(), clock=_Clock(), storage=_Nowhere(), document=_document)  # type: ignore[arg-type]
    made = [decision() for _ in range(ENTRIES)]
    await log.append(made[0])
    started = time.process_time()
    for one in made:
        await log.append(one)
    return (time.process_time() - started) / ENTRIES * 1000


async def over_the_port(folder: Path, at_once: int) -> tuple[float, float]:
    """Entries a second, and milliseconds of CPU for each of enclave and host together, synced to disk before they count."""
    log = HostLog(io.StringIO())
    store, audit_log = SqliteStore(str(folder / "store")), AuditLog(FileBackend(str(folder / "log"), log=log))
    port = StoragePort(store, audit_log, log=log, metrics=Metrics(), connections=4)
    address = Address.parse(f"unix:{folder}/s")
    await port.start(address, enclave=Address.parse("unix:/nowhere"))
    storage = HostStorage(address)
    enclave_log = Log(ReceiptKey(), clock=_Clock(), storage=storage, document=_document)
    await enclave_log.append(decision())
    waiting = [decision() for _ in range(ENTRIES)]

    async def caller() -> None:
        while waiting:
            await enclave_log.append(waiting.pop())

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    await storage.close()
    await port.stop()
    await audit_log.close()
    await store.close()
    return ENTRIES / seconds, cpu / ENTRIES * 1000


def figures() -> list[Figure]:
    """What an entry costs, and how many a second there can be."""
    stage = "receipt"
    found = [Figure(stage, "enclave CPU, one entry", asyncio.run(cpu_of_an_entry()), "ms", 0.2)]
    for at_once in (1, AT_ONCE):
        with TemporaryDirectory() as folder:
            rate, cpu = asyncio.run(over_the_port(Path(folder), at_once))
        who = f"{at_once} at once, storage port, folder"
        target = 500 if at_once > 1 else None
        found.append(Figure(stage, f"entries kept, {who}", rate, "/s", target, at_least=True))
        found.append(Figure(stage, f"CPU of enclave and host, {who}", cpu, "ms"))
    return found
