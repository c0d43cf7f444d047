"""The enclave's end of the log: one chain, nothing done before it is kept, and no number signed twice whatever the host does."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave import receipts
from enclave.receipts import Log, ReceiptKey
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.limits import MAX_LOG_BATCH, MAX_LOG_ENTRIES
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import LogRecord, entry_hash
from protocol.receipts import (
    Decision,
    Opening,
    Outcome,
    check_head,
    open_entry,
    open_receipt,
    opening_nonce,
)
from tests.support import logs
from tests.support.logs import MemoryLog, SettableClock, audit, codes, unavailable


def run(scenario: Callable[[], Coroutine[Any, Any, object]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(main())


def bodies(storage: MemoryLog) -> list[object]:
    return [logs.opened(record).body for record in storage.records()]


def test_the_receipt_is_the_entry_that_the_host_keeps() -> None:
    async def scenario() -> None:
        storage, key = MemoryLog(), ReceiptKey()
        log = logs.enclave(storage, key=key)
        decision = logs.decision()
        receipt = await log.append(decision)
        assert storage.chains[key.public_bytes][1] == receipt
        assert open_receipt(receipt, receipt_key=key.public_bytes, action=decision.action) == decision

    run(scenario)


def test_the_chain_begins_with_a_document_that_names_its_key() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        await logs.filled(storage, 1)
        opening = logs.opened(storage.records()[0])
        assert isinstance(opening.body, Opening)
        assert opening_nonce(opening.chain, []) in opening.body.document

    run(scenario)


def test_nothing_is_written_before_the_first_decision() -> None:
    storage = MemoryLog()
    logs.enclave(storage)
    assert storage.chains == {}


def test_many_at_once_make_one_chain_in_few_batches() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        given = await asyncio.gather(*(log.append(logs.decision(number)) for number in range(300)))
        assert len({receipt.entry for receipt in given}) == 300
        assert audit(storage.records()).good
        assert sum(storage.calls) == 301
        assert len(storage.calls) <= 4

    run(scenario)


def test_batches_keep_to_their_bounds() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        await log.append(logs.decision())
        big = logs.decision(summary="x" * 4096, reasons="", evidence=[])
        await asyncio.gather(*(log.append(big) for _ in range(2 * MAX_LOG_ENTRIES)))
        assert max(storage.calls) <= MAX_LOG_BATCH // 4096
        await asyncio.gather(*(log.append(logs.decision(number)) for number in range(MAX_LOG_ENTRIES + 9)))
        assert max(storage.calls) == MAX_LOG_ENTRIES
        assert audit(storage.records()).good

    run(scenario)


def test_nothing_returns_before_the_host_confirmed() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        await log.append(logs.decision())
        held = asyncio.Event()
        keep = storage.append_log

        async def slowly(*arguments: Any) -> None:
            await keep(*arguments)
            await held.wait()

        storage.append_log = slowly  # type: ignore[method-assign]
        task = asyncio.create_task(log.append(logs.decision(1)))
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done and len(storage.records()) == 3  # kept, and not confirmed
        held.set()
        await task

    run(scenario)


def refuse(*_: object) -> None:
    raise unavailable()


def test_a_failure_refuses_everybody_who_waits_and_says_so_in_the_log() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        await log.append(logs.decision())
        storage.before = refuse
        outcomes = await asyncio.gather(
            log.append(logs.decision(1)), log.append(logs.denial(2)), return_exceptions=True
        )
        for outcome in outcomes:
            assert isinstance(outcome, CosignerError)
            assert (outcome.code, outcome.reaction) == ("receipt_failed", Reaction.RETRY)
        assert len(storage.records()) == 2
        storage.before = lambda *_: None
        await log.append(logs.decision(3))
        found = bodies(storage)
        assert isinstance(found[2], Decision) and found[2].allowed
        assert found[4] == Outcome(of=2, code="receipt_failed", result=None)  # none for the denial
        assert len(found) == 6
        assert audit(storage.records()).good

    run(scenario)


def test_an_answer_that_was_lost_is_no_second_entry() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        await log.append(logs.decision())
        storage.after = refuse
        with pytest.raises(CosignerError, match="receipt_failed"):
            await log.append(logs.decision(1))
        assert len(storage.records()) == 3  # it is there, though the enclave cannot know
        storage.after = lambda: None
        await log.append(logs.decision(2))
        assert audit(storage.records()).good
        assert bodies(storage)[3] == Outcome(of=2, code="receipt_failed", result=None)

    run(scenario)


def test_an_opening_whose_answer_was_lost_is_sent_again_as_it_was() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        storage.after = refuse
        for number in range(3):
            with pytest.raises(CosignerError, match="receipt_failed"):
                await log.append(logs.decision(number))
        with pytest.raises(CosignerError, match="receipt_failed"):
            await log.head(bytes(32))
        storage.after = lambda: None
        await log.append(logs.decision(9))
        assert audit(storage.records()).good
        assert sum(isinstance(body, Opening) for body in bodies(storage)) == 1

    run(scenario)


def test_what_a_host_does_not_confirm_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(receipts, "MAX_BACKLOG", 20_000)
        storage = MemoryLog()
        log = logs.enclave(storage)
        await log.append(logs.decision())
        storage.before = refuse
        for number in range(100):
            with pytest.raises(CosignerError, match="receipt_failed"):
                await log.append(logs.decision(number))
        assert len(log._pending) < 60
        storage.before = lambda *_: None
        with pytest.raises(CosignerError, match="not confirmed the entries before"):
            await log.append(logs.decision())
        assert log._sending is not None
        await log._sending
        await log.append(logs.decision())
        assert audit(storage.records()).good

    run(scenario)


def test_a_caller_who_gives_up_changes_nothing() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        await log.append(logs.decision())
        task = asyncio.create_task(log.append(logs.decision(1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await log.append(logs.decision(2))
        assert len(storage.records()) == 4
        assert audit(storage.records()).good

    run(scenario)


def test_a_clock_that_fails_refuses_and_leaves_no_gap() -> None:
    async def scenario() -> None:
        storage, clock = MemoryLog(), SettableClock(logs.now())
        log = logs.enclave(storage, clock=clock)
        await log.append(logs.decision())
        told = clock.now_ms

        def disagrees() -> int:
            raise CosignerError("clock_disagrees", "no", culprit=Culprit.ENCLAVE, reaction=Reaction.RETRY)

        clock.now_ms = disagrees  # type: ignore[method-assign]
        with pytest.raises(CosignerError, match="clock_disagrees"):
            await log.append(logs.decision(1))
        clock.now_ms = told  # type: ignore[method-assign]
        await log.append(logs.decision(2))
        assert audit(storage.records()).good and len(storage.records()) == 3

    run(scenario)


def test_time_never_goes_backwards() -> None:
    async def scenario() -> None:
        storage, clock = MemoryLog(), SettableClock(logs.now())
        log = logs.enclave(storage, clock=clock)
        await log.append(logs.decision())
        clock.now -= 5000
        await log.append(logs.decision(1))
        assert audit(storage.records()).good

    run(scenario)


def test_a_document_that_cannot_be_had_opens_no_chain_and_later_one_does() -> None:
    async def scenario() -> None:
        storage, key = MemoryLog(), ReceiptKey()
        good = logs.enclave(storage, key=key)
        failures = [RuntimeError("the NSM is busy")]

        async def document(nonce: bytes) -> bytes:
            if failures:
                raise failures.pop()
            return await good._document(nonce)

        log = Log(key, clock=SettableClock(logs.now()), storage=storage, document=document)
        with pytest.raises(RuntimeError):
            await log.append(logs.decision())
        assert storage.chains == {}
        await log.append(logs.decision())
        assert audit(storage.records()).good

    run(scenario)


# --- what the host shows of earlier chains ---------------------------------------------------------------------------------


def chain_of(count: int) -> list[LogRecord]:
    storage = MemoryLog()
    asyncio.run(logs.filled(storage, count))
    return storage.records()


def test_heads_are_linked_in_their_order() -> None:
    storage = MemoryLog()
    for _ in range(4):
        asyncio.run(logs.filled(storage, 1, clock=SettableClock(logs.now())))
    opening = logs.opened([record for record in storage.records() if record.sequence == 0][3]).body
    assert isinstance(opening, Opening)
    chains = [link.chain for link in opening.earlier]
    assert chains == sorted(chains) and len(chains) == 3
    assert codes(audit(storage.records())) == set()


@pytest.mark.parametrize("change", ["hash", "signature", "sequence", "chain"])
def test_a_head_that_its_key_did_not_sign_is_refused(change: str) -> None:
    async def scenario() -> None:
        head = logs.head_of(chain[-1])
        values = {"hash": bytes(32), "signature": bytes(64), "sequence": 77, "chain": bytes(32)}
        storage = MemoryLog()
        storage.shown = [msgspec.structs.replace(head, **{change: values[change]})]
        with pytest.raises(CosignerError, match="receipt_failed"):
            await logs.enclave(storage).append(logs.decision())
        assert storage.chains == {}

    chain = chain_of(1)
    run(scenario)


def test_a_head_shown_twice_or_of_this_very_chain_is_refused() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        storage.shown = [logs.head_of(chain[-1]), logs.head_of(chain[0])]
        with pytest.raises(CosignerError, match="shown twice"):
            await logs.enclave(storage).append(logs.decision())
        key = Ed25519PrivateKey.generate()
        entry = msgspec.structs.replace(logs.opened(chain[0]), chain=key.public_key().public_bytes_raw())
        own = ReceiptKey()
        own._private = key
        own.__class__.public_bytes.__set__(own, entry.chain)  # type: ignore[attr-defined]
        storage.shown = [logs.head_of(LogRecord(entry.chain, 0, logs.sign(key, entry)))]
        with pytest.raises(CosignerError, match="this one"):
            await logs.enclave(storage, key=own).append(logs.decision())

    chain = chain_of(1)
    run(scenario)


# --- the live head ---------------------------------------------------------------------------------------------------------


def test_the_live_head_is_the_newest_confirmed_entry_over_the_askers_nonce() -> None:
    async def scenario() -> None:
        storage, key = MemoryLog(), ReceiptKey()
        log = logs.enclave(storage, key=key)
        opening = check_head(await log.head(bytes(32)), nonce=bytes(32), receipt_key=key.public_bytes)
        assert opening.sequence == 0  # asking begins the log: an enclave with a head has a chain
        receipt = await log.append(logs.decision())
        head = await log.head(bytes([1]) * 32)
        link = check_head(head, nonce=bytes([1]) * 32, receipt_key=key.public_bytes)
        assert (link.sequence, link.hash) == (1, entry_hash(receipt.entry))
        for wrong in (
            {"nonce": bytes(32), "receipt_key": key.public_bytes},
            {"nonce": bytes([1]) * 32, "receipt_key": ReceiptKey().public_bytes},
        ):
            with pytest.raises(CosignerError, match="receipt_signature|receipt_foreign"):
                check_head(head, **wrong)
        storage.before = refuse
        with pytest.raises(CosignerError, match="receipt_failed"):
            await log.append(logs.decision(1))
        again = check_head(await log.head(bytes(32)), nonce=bytes(32), receipt_key=key.public_bytes)
        assert again.sequence == 1

    run(scenario)


# --- receipts and keys -----------------------------------------------------------------------------------------------------


def test_a_receipt_of_another_enclave_or_action_is_refused() -> None:
    async def scenario() -> None:
        key = ReceiptKey()
        decision = logs.decision()
        receipt = await logs.enclave(MemoryLog(), key=key).append(decision)
        with pytest.raises(CosignerError, match="receipt_foreign"):
            open_receipt(receipt, receipt_key=ReceiptKey().public_bytes, action=decision.action)
        with pytest.raises(CosignerError, match="receipt_foreign"):
            open_receipt(receipt, receipt_key=key.public_bytes, action=logs.action(1))
        with pytest.raises(CosignerError, match="receipt_signature"):
            open_entry(SignedEntry(receipt.entry, bytes(64)))

    run(scenario)


def test_the_key_is_not_copied_and_does_not_show() -> None:
    key = ReceiptKey()
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copying(key)
    assert key._private.private_bytes_raw().hex() not in repr(key)
    assert ReceiptKey().public_bytes != key.public_bytes


def test_a_stopping_enclave_refuses_whoever_waits() -> None:
    async def scenario() -> None:
        storage = MemoryLog()
        log = logs.enclave(storage)
        await log.append(logs.decision())

        async def never(*_: Any) -> None:
            await asyncio.sleep(3600)

        storage.append_log = never  # type: ignore[method-assign]
        task = asyncio.create_task(log.append(logs.decision(1)))
        await asyncio.sleep(0.01)
        assert log._sending is not None
        log._sending.cancel()
        with pytest.raises(CosignerError, match="stopping"):
            await task

    run(scenario)
