"""Logs of decisions for tests: enclaves that write them for real, a host in memory that keeps them, and the pieces to tamper with them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation import TrustPolicy
from cosigner.audit_log import Placed, Report, Trust, read_log, verify_log
from cosigner.audit_log.report import Problem
from enclave.receipts import Log, ReceiptKey
from protocol.actions import Action
from protocol.binding import AttestedKeys, KeyPolicy
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import ChainHead, SignedEntry
from protocol.envelope.segments import HEADER, SUFFIX, LogRecord, entry_hash
from protocol.receipts import Decision, Entry, LoggedActor, PolicyVersion, entry_message
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki

PKI = NitroPki.ephemeral()
PCRS = {index: hashlib.sha384(b"pcr %d" % index).digest() for index in (0, 1, 2)}
MANIFEST = b"a manifest"
ENVIRONMENT = "sandbox"
USER = "5a0c1e2f-0000-4000-8000-000000000001"
WALLET = "5a0c1e2f-0000-4000-8000-0000000000aa"


def nsm(measurements: dict[int, bytes] = PCRS) -> FakeNsm:
    made = FakeNsm(PKI, measurements=measurements)
    made.extend_pcr(16, MANIFEST)
    made.lock_pcrs(32)
    return made


POLICY = TrustPolicy(
    roots=frozenset({PKI.root_sha256}),
    pcrs={
        **{index: frozenset({value}) for index, value in PCRS.items()},
        16: frozenset({nsm().describe_pcr(16)[1]}),
    },
)
TRUST = Trust(POLICY)


class SettableClock:
    """Milliseconds that a test sets; they go on by one at each look."""

    def __init__(self, now: int) -> None:
        self.now = now

    def now_ms(self) -> int:
        self.now += 1
        return self.now


class MemoryLog:
    """A host that keeps logs, with what a host could do to an enclave that appends.

    :ivar before: called with (first number, entries) before anything is kept; may raise.
    :ivar after: called after it was kept; may raise (the answer is lost).
    :ivar shown: heads to show in place of the true ones.
    :ivar calls: sizes of the batches that came.
    """

    def __init__(self) -> None:
        self.chains: dict[bytes, list[SignedEntry]] = {}
        self.before: Callable[[int, Sequence[SignedEntry]], None] = lambda first, entries: None
        self.after: Callable[[], None] = lambda: None
        self.shown: list[ChainHead] | None = None
        self.calls: list[int] = []

    async def append_log(self, chain: bytes, first: int, entries: Sequence[SignedEntry]) -> None:
        await asyncio.sleep(0)
        self.calls.append(len(entries))
        self.before(first, entries)
        kept = self.chains.setdefault(chain, [])
        assert first <= len(kept)
        again = kept[first:]
        assert list(entries[: len(again)]) == again, "the enclave signed a number twice"
        kept += entries[len(again) :]
        self.after()

    async def chain_heads(self, chain: bytes) -> list[ChainHead]:
        if self.shown is not None:
            return self.shown
        return [
            head_of(records(other, kept)[-1])
            for other, kept in self.chains.items()
            if other != chain and kept
        ]

    def records(self) -> list[LogRecord]:
        """Everything that is kept, chain by chain."""
        return [record for chain, kept in self.chains.items() for record in records(chain, kept)]


def unavailable() -> CosignerError:
    return CosignerError("storage_unavailable", "no", culprit=Culprit.STORAGE, reaction=Reaction.RETRY)


def enclave(
    storage: Any,
    *,
    clock: SettableClock | None = None,
    device: FakeNsm | None = None,
    key: ReceiptKey | None = None,
    named: bytes | None = None,
    key_policy: KeyPolicy = "pinned",
) -> Log:
    """One life of an enclave: its log, with a key of its own.

    :param named: the key that its documents name, in place of its own.
    """
    key = key or ReceiptKey()
    device = device or nsm()

    async def document(nonce: bytes) -> bytes:
        keys = AttestedKeys(
            version=1, channel_key=bytes(32), key_policy=key_policy, receipt_key=named or key.public_bytes
        )
        return device.attest(keys.encode(), nonce, None)

    return Log(key, clock=clock or SettableClock(now()), storage=storage, document=document)


def now() -> int:
    import time

    return time.time_ns() // 1_000_000


def action(number: int = 0, **changes: Any) -> Action:
    normal = {
        "version": 1,
        "environment": ENVIRONMENT,
        "session": bytes(32),
        "operation": "sign",
        "subject": WALLET,
        "body": hashlib.sha256(b"%d" % number).digest(),
        "nonce": os.urandom(16),
        "expires_at": 1_800_000_000_000,
    }
    return Action(**{**normal, **changes})


def decision(number: int = 0, **changes: Any) -> Decision:
    normal: dict[str, Any] = {
        "action": action(number),
        "actor": LoggedActor(USER, "user", hashlib.sha256(b"session key").digest(), "ab" * 32),
        "evidence": [],
        "approvals": [],
        "summary": '{"to":"somebody"}',
        "policies": [PolicyVersion("environment", "", 1, bytes(32))],
        "allowed": True,
        "code": "",
        "reasons": "",
        "epoch": 1,
        "result": None,
    }
    return Decision(**{**normal, **changes})


def denial(number: int = 0, **changes: Any) -> Decision:
    return decision(
        number,
        **{
            "allowed": False,
            "code": "policy_denied",
            "reasons": '{"message":"No rule allows it."}',
            **changes,
        },
    )


async def filled(storage: MemoryLog, count: int = 5, **arguments: Any) -> Log:
    """An enclave that has decided ``count`` times: one chain of ``count`` + 1 entries."""
    log = enclave(storage, **arguments)
    for number in range(count):
        await log.append(decision(number) if number % 3 else denial(number))
    return log


def records(chain: bytes, entries: Iterable[SignedEntry], first: int = 0) -> list[LogRecord]:
    return [LogRecord(chain, first + index, signed) for index, signed in enumerate(entries)]


def head_of(record: LogRecord) -> ChainHead:
    return ChainHead(
        chain=record.chain,
        sequence=record.sequence,
        hash=entry_hash(record.signed.entry),
        signature=record.signed.signature,
    )


def segment(found: Iterable[LogRecord]) -> bytes:
    return HEADER + b"".join(record.encode() for record in found)


def sign(key: Ed25519PrivateKey | ReceiptKey, entry: Entry) -> SignedEntry:
    encoded = entry.encode()
    message = entry_message(chain=entry.chain, sequence=entry.sequence, digest=entry_hash(encoded))
    return SignedEntry(entry=encoded, signature=key.sign(message))


def altered(record: LogRecord, **changes: Any) -> LogRecord:
    """The record with members of its entry changed, and the signature as it was."""
    entry = msgspec.structs.replace(opened(record), **changes)
    return replace(record, signed=msgspec.structs.replace(record.signed, entry=entry.encode()))


def opened(record: LogRecord) -> Entry:
    from protocol.envelope import cbor

    return cbor.decode(record.signed.entry, Entry, culprit=Culprit.ENCLAVE)


def audit(found: Iterable[LogRecord] | bytes, folder: Path | None = None, **arguments: Any) -> Report:
    """Verify records, or the bytes of one segment (which needs a folder)."""
    trust = arguments.pop("trust", TRUST)
    if isinstance(found, bytes):
        assert folder is not None
        path = folder / f"{0:020d}{SUFFIX}"
        path.write_bytes(found)
        return verify_log(read_log([path]), trust, **arguments)
    log: list[Placed | Problem] = [Placed("a file", record) for record in found]
    return verify_log(log, trust, **arguments)


def codes(report: Report) -> set[str]:
    return {problem.code for problem in report.problems}
