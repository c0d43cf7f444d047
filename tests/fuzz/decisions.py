"""Targets of the log of decisions: what a host may do to its files, and to receipts."""

from __future__ import annotations

import asyncio
from functools import cache

import msgspec

from cosigner.audit_log import Placed, Problem, verify_log
from cosigner.audit_log.evidence import EvidenceError, check_evidence
from protocol.envelope.errors import ProtocolError
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import HEADER, LogRecord, SegmentError, read_segment
from protocol.receipts import Entry, PasskeyEvidence, open_entry
from tests.cosigner.test_audit_evidence import by_passkey
from tests.fuzz.targets import _register_cbor, target
from tests.protocol.test_receipts import ENTRIES
from tests.support import logs

_register_cbor(Entry, list(ENTRIES.values()))
_register_cbor(SignedEntry, [SignedEntry(entry.encode(), bytes(64)) for entry in ENTRIES.values()])


@cache
def _log() -> list[LogRecord]:
    """Two enclaves one after another."""
    storage, clock = logs.MemoryLog(), logs.SettableClock(logs.now() - 10_000)
    asyncio.run(logs.filled(storage, 3, clock=clock))
    asyncio.run(logs.filled(storage, 2, clock=clock))
    return storage.records()


@target(ProtocolError, seeds=lambda: [record.signed.signature + record.signed.entry for record in _log()])
def log_open_entry(data: bytes) -> None:
    open_entry(SignedEntry(signature=data[:64], entry=data[64:]))
    assert any(record.signed.signature + record.signed.entry == data for record in _log()), "a forged entry"


@target(SegmentError, seeds=lambda: [logs.segment(_log()), logs.segment(_log()[:1]), HEADER])
def log_segment(data: bytes) -> None:
    assert HEADER + b"".join(record.encode() for record in read_segment(data)) == data


class _NotGoodError(Exception):
    """The audit failed."""


@target(
    _NotGoodError, seeds=lambda: [logs.segment(_log()), logs.segment(_log()[:-1]), logs.segment(_log()[:4])]
)
def log_verify(data: bytes) -> None:
    """Whatever the host makes of its files: the audit ends, and finds nothing in a log alone whose newest ends were cut off."""
    found: list[Placed | Problem] = []
    try:
        for record in read_segment(data):
            found.append(Placed("", record))
    except SegmentError:
        found.append(Problem("segment_damaged", ""))
    if not verify_log(found, logs.TRUST).good:
        raise _NotGoodError
    kept = [item.record for item in found if isinstance(item, Placed)]
    in_order = sorted(kept, key=_log().index)
    assert in_order == _log()[: len(kept)], "a log that is none"


@target(EvidenceError, seeds=lambda: [_cose()])
def log_evidence(data: bytes) -> None:
    """A key, an assertion's parts: each two bytes of length and its bytes."""
    parts = []
    for _ in range(4):
        length = int.from_bytes(data[:2], "big")
        parts.append(data[2 : 2 + length])
        data = data[2 + length :]
    decision = _by_passkey()
    (evidence,) = decision.evidence
    assert isinstance(evidence, PasskeyEvidence)
    assertion = msgspec.structs.replace(
        evidence.assertion, client_data_json=parts[1], authenticator_data=parts[2], signature=parts[3]
    )
    check_evidence(msgspec.structs.replace(decision, evidence=[PasskeyEvidence(parts[0], assertion)]))


_by_passkey = cache(by_passkey)


def _cose() -> bytes:
    (evidence,) = _by_passkey().evidence
    assert isinstance(evidence, PasskeyEvidence)
    assertion = evidence.assertion
    parts = (
        evidence.public_key,
        assertion.client_data_json,
        assertion.authenticator_data,
        assertion.signature,
    )
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
