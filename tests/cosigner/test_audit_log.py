"""A host with all power over its files: whatever it does to a log is found out, or is written down as what cannot be."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation import TrustPolicy
from cosigner.audit_log import Trust
from cosigner.audit_log.report import CODES, Problem
from enclave.receipts import Log, ReceiptKey
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import LogRecord, entry_hash, last_record, read_segment
from protocol.receipts import Link, Opening, Outcome, check_head
from tests.cosigner import log_reference
from tests.support import logs
from tests.support.logs import MemoryLog, SettableClock, audit, codes


def written(count: int = 5, **arguments: Any) -> list[LogRecord]:
    """The log of one enclave."""
    storage = MemoryLog()
    asyncio.run(logs.filled(storage, count, **arguments))
    return storage.records()


def lives(*counts: int) -> MemoryLog:
    """Enclaves one after another, each shown the heads of those before."""
    storage = MemoryLog()
    clock = SettableClock(logs.now() - 10_000)

    async def run() -> None:
        for count in counts:
            await logs.filled(storage, count, clock=clock)

    asyncio.run(run())
    return storage


GOOD = written()


def test_a_log_as_the_enclave_wrote_it_is_good() -> None:
    report = audit(GOOD)
    assert report.good and not report.notes
    (chain,) = report.chains
    assert (chain.entries, chain.last, chain.allowed, chain.denied) == (6, 5, 3, 2)
    assert chain.key_policy == "pinned" and "-enc" in chain.module_id
    assert (chain.vouched, chain.end_is_certain) == (-1, False)


def test_logs_across_restarts_are_good_and_vouch_for_one_another() -> None:
    report = audit(lives(3, 2, 4).records())
    assert report.good and not report.notes
    first, second, third = report.chains
    assert (first.vouched, first.vouched_by) == (3, "chain")
    assert (second.vouched, second.vouched_by) == (2, "chain")
    assert third.vouched == -1
    assert set(third.earlier) == {first.chain, second.chain}


def test_logs_of_two_enclaves_at_once_merge_in_any_order() -> None:
    storage, other = lives(3, 2), lives(4)
    merged = storage.records() + other.records()
    assert audit(merged).good
    assert audit(merged[::-1][:5][::-1] + merged[:-5]).good
    assert len(audit(merged).chains) == 3


def test_an_empty_log_is_not_a_good_one() -> None:
    assert codes(audit([])) == {"log_empty"}


# --- tampering, by name ----------------------------------------------------------------------------------------------------


def test_an_altered_byte_of_an_entry_is_noticed() -> None:
    for record in GOOD:
        for position in range(0, len(record.signed.entry), 97):
            raw = bytearray(record.signed.entry)
            raw[position] ^= 1
            bad = replace(record, signed=msgspec.structs.replace(record.signed, entry=bytes(raw)))
            found = codes(audit([bad if item is record else item for item in GOOD]))
            assert found & {"entry_malformed", "entry_signature"}


def test_a_field_altered_and_encoded_again_is_noticed() -> None:
    bad = logs.altered(GOOD[2], time=logs.opened(GOOD[2]).time + 1)
    report = audit([*GOOD[:2], bad, *GOOD[3:]])
    assert codes(report) == {"entry_signature", "entry_missing"}


def test_a_dropped_entry_is_noticed() -> None:
    for index in range(1, len(GOOD) - 1):
        report = audit(GOOD[:index] + GOOD[index + 1 :])
        assert codes(report) == {"entry_missing"}
        assert report.problems[0].sequence == index


def test_a_dropped_opening_is_noticed() -> None:
    assert codes(audit(GOOD[1:])) == {"opening_missing"}


def test_swapped_entries_are_noticed() -> None:
    swapped = [GOOD[0], GOOD[2], GOOD[1], *GOOD[3:]]
    assert codes(audit(swapped)) == {"entry_out_of_order"}


def test_entries_swapped_under_one_anothers_numbers_are_noticed() -> None:
    one, two = GOOD[1], GOOD[2]
    swapped = [GOOD[0], replace(one, signed=two.signed), replace(two, signed=one.signed), *GOOD[3:]]
    assert "entry_misplaced" in codes(audit(swapped))


def test_an_entry_under_another_chains_name_is_noticed() -> None:
    other = written(1)
    moved = replace(GOOD[1], chain=other[0].chain)
    assert "entry_misplaced" in codes(audit([GOOD[0], moved, *GOOD[2:], *other]))


def test_a_duplicated_entry_is_noticed() -> None:
    assert codes(audit([*GOOD[:3], GOOD[2], *GOOD[3:]])) == {"entry_out_of_order", "entry_duplicated"}


def forger() -> tuple[MemoryLog, ReceiptKey, Log]:
    """An enclave whose key the test keeps: what no host has."""
    storage, key = MemoryLog(), ReceiptKey()
    log = asyncio.run(logs.filled(storage, 5, key=key))
    return storage, key, log


def test_a_forked_chain_is_noticed() -> None:
    storage, key, _ = forger()
    kept = storage.records()
    fork = msgspec.structs.replace(logs.opened(kept[3]), body=logs.denial(77))
    report = audit([*kept, replace(kept[3], signed=logs.sign(key, fork))])
    assert "chain_forked" in codes(report)


def test_an_entry_that_does_not_follow_is_noticed_though_the_key_signed_it() -> None:
    storage, key, _ = forger()
    kept = storage.records()
    other = msgspec.structs.replace(logs.opened(kept[3]), previous=bytes([1]) * 32)
    report = audit([*kept[:3], replace(kept[3], signed=logs.sign(key, other)), *kept[4:]])
    assert codes(report) == {"chain_broken"}
    assert {problem.sequence for problem in report.problems} == {3, 4}


def test_an_entry_signed_by_another_key_is_noticed() -> None:
    bad = replace(GOOD[3], signed=logs.sign(Ed25519PrivateKey.generate(), logs.opened(GOOD[3])))
    assert codes(audit([*GOOD[:3], bad, *GOOD[4:]])) == {"entry_signature", "entry_missing"}


def test_a_whole_log_of_a_made_up_key_is_noticed() -> None:
    """The host writes a log of its own and puts a real enclave's document into the opening."""
    document = logs.opened(GOOD[0]).body.document  # type: ignore[union-attr]
    key = ReceiptKey()
    opening = msgspec.structs.replace(
        logs.opened(GOOD[0]), chain=key.public_bytes, body=Opening(document=document, earlier=[])
    )
    record = LogRecord(key.public_bytes, 0, logs.sign(key, opening))
    assert codes(audit([record])) == {"key_not_attested", "document_foreign"}


def test_a_key_that_the_document_does_not_name_is_noticed() -> None:
    assert codes(audit(written(named=bytes([7]) * 32))) == {"key_not_attested"}


def test_a_document_without_keys_is_noticed() -> None:
    device = logs.nsm()
    storage = MemoryLog()
    key = ReceiptKey()

    async def document(nonce: bytes) -> bytes:
        return device.attest(b"nothing", nonce, None)

    log = Log(key, clock=SettableClock(logs.now()), storage=storage, document=document)
    asyncio.run(log.append(logs.decision()))
    assert codes(audit(storage.records())) == {"key_not_attested"}


def test_the_document_of_another_image_is_noticed() -> None:
    other = {**logs.PCRS, 0: hashlib.sha384(b"another image").digest()}
    report = audit(written(device=logs.nsm(other)))
    assert codes(report) == {"document_refused"}
    assert "pcr_mismatch" in report.problems[0].message


def test_the_document_of_an_enclave_in_debug_mode_is_noticed() -> None:
    report = audit(written(device=logs.nsm({0: bytes(48), 1: bytes(48), 2: bytes(48)})))
    assert codes(report) == {"document_refused"}
    assert "debug_mode" in report.problems[0].message


def test_a_document_under_another_root_is_noticed() -> None:
    trust = Trust(TrustPolicy(pcrs=logs.POLICY.pcrs))  # AWS's root
    report = audit(GOOD, trust=trust)
    assert codes(report) == {"document_refused"}
    assert "root_not_trusted" in report.problems[0].message


def test_a_document_that_was_not_made_for_the_opening_is_noticed() -> None:
    """An enclave cannot do this, unless its code is another; the nonce ties document and opening together."""
    storage, key, _ = forger()
    kept = storage.records()
    opening = logs.opened(kept[0])
    foreign = logs.nsm().attest(b"", bytes(32), None)
    bad = msgspec.structs.replace(opening, body=Opening(document=foreign, earlier=[]))
    assert "document_foreign" in codes(audit([replace(kept[0], signed=logs.sign(key, bad)), *kept[1:]]))


@pytest.mark.parametrize("off", [-400_000, 400_000])
def test_an_opening_at_another_time_than_its_document_is_noticed(off: int) -> None:
    assert codes(audit(written(clock=SettableClock(logs.now() + off)))) == {"document_time"}


def test_documents_are_judged_at_their_own_time_however_old() -> None:
    """The certificates of the document run out after three hours; the log is read years later."""
    assert audit(GOOD).good  # no clock is asked anywhere in the audit


@pytest.mark.parametrize("said", ["editable", "unjudged"])
def test_an_editable_key_policy_is_noticed_unless_accepted(said: str) -> None:
    found = written(key_policy=said)
    assert codes(audit(found)) == {"key_policy_editable"}
    assert audit(found, trust=Trust(logs.POLICY, accept_editable=True)).good


def test_time_that_goes_backwards_is_noticed() -> None:
    storage, key, _ = forger()
    kept = storage.records()
    early = msgspec.structs.replace(logs.opened(kept[5]), time=1)
    report = audit([*kept[:5], replace(kept[5], signed=logs.sign(key, early))])
    assert codes(report) == {"time_reversed"}


def test_an_outcome_of_what_was_never_allowed_is_noticed() -> None:
    storage, _, log = forger()
    asyncio.run(log.append(Outcome(of=1, code="internal", result=None)))  # entry 1 is a denial
    assert codes(audit(storage.records())) == {"outcome_unfounded"}


# --- truncation: what shows and what does not ------------------------------------------------------------------------------


def test_the_end_of_the_newest_chain_can_be_cut_off_unnoticed_and_the_report_says_so() -> None:
    report = audit(GOOD[:4])
    assert report.good
    assert not report.chains[0].end_is_certain


def test_the_end_of_an_earlier_chain_cannot_be_cut_off() -> None:
    storage = lives(3, 2)
    first = next(iter(storage.chains))
    del storage.chains[first][-1]
    report = audit(storage.records())
    assert codes(report) == {"chain_truncated"}


def test_an_earlier_chain_cannot_be_left_out() -> None:
    storage = lives(3, 2)
    del storage.chains[next(iter(storage.chains))]
    assert codes(audit(storage.records())) == {"chain_missing"}


def test_the_newest_chain_can_be_left_out_unless_somebody_has_a_receipt_of_it() -> None:
    storage = lives(3, 2)
    first, second = storage.chains
    receipt = storage.chains.pop(second)[1]
    assert audit(storage.records()).good
    assert codes(audit(storage.records(), receipts=[receipt])) == {"chain_missing"}


def test_an_earlier_log_replayed_whole_is_noticed_by_a_receipt() -> None:
    """The host puts back the copy of yesterday."""
    storage = MemoryLog()

    async def run() -> tuple[list[LogRecord], SignedEntry]:
        log = await logs.filled(storage, 3)
        yesterday = storage.records()
        return yesterday, await log.append(logs.decision(9))

    yesterday, receipt = asyncio.run(run())
    assert audit(yesterday).good
    report = audit(yesterday, receipts=[receipt])
    assert codes(report) == {"chain_truncated"}
    assert audit(storage.records(), receipts=[receipt]).good


def test_an_older_chain_shown_as_the_newest_is_said() -> None:
    """The host shows a new enclave an old head: nothing is lost, but what came after is vouched for by nobody."""
    storage = lives(3)
    stale = logs.head_of(storage.records()[1])
    storage.shown = [stale]
    asyncio.run(logs.filled(storage, 2))
    report = audit(storage.records())
    assert report.good
    assert len(report.notes) == 1 and "entry 3 was there" in report.notes[0]
    assert report.chains[0].vouched == 1


def test_a_head_that_the_host_made_up_marks_the_log_for_good() -> None:
    key = Ed25519PrivateKey.generate()
    opening = logs.opened(GOOD[0])
    fake = msgspec.structs.replace(opening, chain=key.public_key().public_bytes_raw())
    storage = MemoryLog()
    storage.shown = [logs.head_of(LogRecord(fake.chain, 0, logs.sign(key, fake)))]
    asyncio.run(logs.filled(storage, 2))
    assert codes(audit(storage.records())) == {"chain_missing"}


def test_a_link_to_another_entry_than_the_one_there_is_noticed() -> None:
    storage, key, _ = forger()
    kept = storage.records()
    twin = msgspec.structs.replace(logs.opened(kept[5]), body=logs.denial(78))
    storage.shown = [logs.head_of(replace(kept[5], signed=logs.sign(key, twin)))]
    asyncio.run(logs.filled(storage, 1, clock=SettableClock(logs.now() + 10)))
    assert codes(audit(storage.records())) == {"link_broken"}


def live(storage: MemoryLog, log: Log) -> Link:
    nonce = bytes(range(32))
    head = asyncio.run(log.head(nonce))
    return check_head(head, nonce=nonce, receipt_key=next(iter(storage.chains)))


def test_the_live_head_makes_the_end_certain() -> None:
    storage, _, log = forger()
    newest = live(storage, log)
    report = audit(storage.records(), live=newest)
    assert report.good and report.chains[0].end_is_certain


def test_a_log_truncated_before_the_live_head_is_noticed() -> None:
    storage, _, log = forger()
    newest = live(storage, log)
    assert codes(audit(storage.records()[:-1], live=newest)) == {"chain_truncated"}
    assert codes(audit(written(1), live=newest)) == {"chain_missing"}


def test_another_entry_in_the_place_of_the_live_head_is_noticed() -> None:
    storage, key, log = forger()
    newest = live(storage, log)
    kept = storage.records()
    twin = msgspec.structs.replace(logs.opened(kept[5]), body=logs.denial(79))
    report = audit([*kept[:5], replace(kept[5], signed=logs.sign(key, twin))], live=newest)
    assert codes(report) == {"live_head_differs"}


# --- receipts and archived documents ---------------------------------------------------------------------------------------


def test_receipts_that_are_in_the_log_vouch_for_it() -> None:
    report = audit(GOOD, receipts=[GOOD[2].signed, GOOD[4].signed])
    assert report.good
    assert (report.chains[0].vouched, report.chains[0].vouched_by) == (4, "receipt")


def test_a_receipt_for_another_decision_under_the_same_number_is_noticed() -> None:
    storage, key, _ = forger()
    kept = storage.records()
    twin = msgspec.structs.replace(logs.opened(kept[3]), body=logs.decision(80))
    assert codes(audit(kept, receipts=[logs.sign(key, twin)])) == {"receipt_not_in_log"}


def test_a_receipt_for_an_entry_that_is_missing_is_noticed() -> None:
    report = audit([*GOOD[:2], *GOOD[3:]], receipts=[GOOD[2].signed])
    assert codes(report) == {"entry_missing"} and len(report.problems) == 2


def test_a_forged_receipt_is_noticed() -> None:
    forged = logs.sign(Ed25519PrivateKey.generate(), logs.opened(GOOD[2]))
    assert codes(audit(GOOD, receipts=[forged])) == {"receipt_invalid"}
    assert codes(audit(GOOD, receipts=[SignedEntry(b"\xa0", bytes(64))])) == {"receipt_invalid"}


def test_an_archived_document_of_an_enclave_without_a_log_is_said() -> None:
    device = logs.nsm()
    other = logs.enclave(MemoryLog(), device=device)
    document = asyncio.run(other._document(bytes(32)))
    report = audit(GOOD, documents=[document])
    assert report.good and device.module_id in report.notes[0]
    ours = logs.opened(GOOD[0]).body.document  # type: ignore[union-attr]
    assert not audit(GOOD, documents=[ours]).notes
    assert "refused" in audit(GOOD, documents=[b"nothing"]).notes[0]
    assert "no keys" in audit(GOOD, documents=[device.attest(b"?", None, None)]).notes[0]


# --- any change at all -----------------------------------------------------------------------------------------------------


STORAGE = lives(3, 2)
SEGMENT = logs.segment(STORAGE.records())


@settings(max_examples=400, deadline=None)
@given(position=st.integers(0, len(SEGMENT) * 8 - 1))
def test_any_single_bit_of_a_log_that_changes_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, position: int
) -> None:
    raw = bytearray(SEGMENT)
    raw[position // 8] ^= 1 << position % 8
    assert not audit(bytes(raw), tmp_path_factory.getbasetemp()).good


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_single_bit_that_changes_is_noticed_though_the_host_mends_the_checksum(
    data: st.DataObject,
) -> None:
    kept = STORAGE.records()
    index = data.draw(st.integers(0, len(kept) - 1))
    record = kept[index]
    body = bytearray(
        record.chain + record.sequence.to_bytes(8, "big") + record.signed.signature + record.signed.entry
    )
    position = data.draw(st.integers(0, len(body) * 8 - 1))
    body[position // 8] ^= 1 << position % 8
    kept[index] = LogRecord(
        bytes(body[:32]),
        int.from_bytes(body[32:40], "big"),
        SignedEntry(signature=bytes(body[40:104]), entry=bytes(body[104:])),
    )
    assert not audit(kept).good


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, len(SEGMENT) - 1))
def test_a_file_cut_anywhere_reads_up_to_there_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    whole = list(read_segment(SEGMENT))
    last, error = last_record(SEGMENT[:cut])
    assert last == (whole[whole.index(last)] if last is not None else None)
    assert error is None or (error.torn and error.offset <= cut)
    report = audit(SEGMENT[:cut], tmp_path_factory.getbasetemp())
    assert ("segment_damaged" in codes(report)) == (error is not None)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_choice_of_records_but_the_whole_or_a_shorter_end_passes(data: st.DataObject) -> None:
    """Any sequence of the log's records, repeated and reordered at will, is refused unless it is a log with ends cut off as it is allowed."""
    kept = STORAGE.records()
    chosen = data.draw(st.lists(st.integers(0, len(kept) - 1), min_size=1, max_size=10))
    report = audit([kept[index] for index in chosen])
    by_chain: dict[bytes, list[int]] = {}
    for index in chosen:
        by_chain.setdefault(kept[index].chain, []).append(kept[index].sequence)
    prefixes = all(numbers == list(range(len(numbers))) for numbers in by_chain.values())
    first, second = STORAGE.chains
    linked = second not in by_chain or len(by_chain.get(first, [])) == len(STORAGE.chains[first])
    assert report.good == (prefixes and linked)


def test_every_code_is_in_the_table_and_tested() -> None:
    with pytest.raises(KeyError):
        Problem("made_up", "")
    source = Path(__file__).read_text() + (Path(__file__).parent / "test_audit_evidence.py").read_text()
    assert {code for code in CODES if f'"{code}"' not in source} == set()


def test_the_hash_of_an_entry_is_what_the_specification_says() -> None:
    raw = GOOD[1].signed.entry
    assert entry_hash(raw) == hashlib.sha256(b"cosigner/log-entry/v1" + raw).digest()
    assert logs.opened(GOOD[2]).previous == entry_hash(raw)
    covered = b"cosigner/log-signature/v1" + GOOD[1].chain + bytes(7) + b"\x01" + entry_hash(raw)
    Ed25519PublicKey.from_public_bytes(GOOD[1].chain).verify(GOOD[1].signed.signature, covered)


# --- a second implementation -----------------------------------------------------------------------------------------------


PINNED = {**logs.PCRS, 16: logs.nsm().describe_pcr(16)[1]}


def reference_says(segment: bytes) -> bool:
    try:
        log_reference.verify([segment], PINNED)
    except log_reference.BadError:
        return False
    return True


def test_a_verifier_written_from_the_specification_agrees_on_a_good_log() -> None:
    assert log_reference.verify([SEGMENT], PINNED) == {
        chain: len(kept) - 1 for chain, kept in STORAGE.chains.items()
    }


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_verifier_written_from_the_specification_agrees_on_what_a_host_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Records chosen, reordered, repeated, put under other numbers, with signatures and entries of others."""
    kept = STORAGE.records()
    found: list[LogRecord] = []
    for index in data.draw(st.lists(st.integers(0, len(kept) - 1), min_size=1, max_size=9)):
        record = kept[index]
        other = kept[data.draw(st.integers(0, len(kept) - 1))]
        match data.draw(st.integers(0, 19)):
            case 0:
                record = replace(record, sequence=other.sequence)
            case 1:
                record = replace(record, chain=other.chain)
            case 2:
                record = replace(record, signed=SignedEntry(record.signed.entry, other.signed.signature))
            case 3:
                record = replace(record, signed=other.signed)
        found.append(record)
    segment = logs.segment(found)
    report = audit(segment, tmp_path_factory.getbasetemp())
    assert report.good == reference_says(segment)


@pytest.mark.parametrize(
    "arguments",
    [
        {"named": bytes([7]) * 32},
        {"key_policy": "editable"},
        {"device": logs.nsm({**logs.PCRS, 0: bytes([1]) * 48})},
        {"clock": SettableClock(logs.now() + 86_400_000)},
    ],
    ids=["key", "policy", "image", "time"],
)
def test_a_verifier_written_from_the_specification_agrees_on_documents(arguments: dict[str, Any]) -> None:
    found = written(**arguments)
    assert not audit(found).good
    assert not reference_says(logs.segment(found))
