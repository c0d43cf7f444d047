"""Verify logs of decisions from the entries, the documents in them and a trust policy alone: no network, no clock, no trust in the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from attestation import ISSUED, AttestationError, TrustPolicy
from attestation.verify import verify
from protocol.binding import AttestedKeys
from protocol.envelope.errors import CosignerError
from protocol.envelope.segments import entry_hash
from protocol.receipts import Decision, Entry, Link, Opening, Outcome, open_entry, opening_nonce

from .evidence import EvidenceError, check_evidence
from .files import Placed
from .report import ChainReport, Problem, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from attestation import VerifiedAttestation
    from protocol.envelope.messages import SignedEntry

DOCUMENT_TOLERANCE: Final = 300_000  # milliseconds between an opening and its document, by two clocks
_STRENGTH: Final = {"": 0, "chain": 1, "receipt": 2, "live": 3}


@dataclass(frozen=True)
class Trust:
    """Whose logs are believed.

    :ivar policy: which enclaves; documents are judged at their own time.
    :ivar accept_editable: also enclaves whose KMS keys somebody may open to other code.
    """

    policy: TrustPolicy
    accept_editable: bool = False


@dataclass(frozen=True, slots=True)
class _Fact:
    """What is remembered of an entry."""

    digest: bytes
    previous: bytes
    time: int
    allows: bool
    outcome_of: int | None


@dataclass(slots=True)
class _Chain:
    facts: dict[int, _Fact] = field(default_factory=dict)
    opening: Entry | None = None


def verify_log(
    log: Iterable[Placed | Problem],
    trust: Trust,
    *,
    receipts: Sequence[SignedEntry | Problem] = (),
    documents: Sequence[bytes] = (),
    live: Link | None = None,
) -> Report:
    """Check everything that ``docs/spec/receipts.md`` §7 lists.

    :param log: records in any order of files; within a file in the file's order.
    :param receipts: signed entries that callers were given.
    :param documents: archived attestation documents: each names a chain that may be expected.
    :param live: the running enclave's newest entry, checked (:func:`protocol.receipts.check_head`).
    """
    return _Audit(trust).run(log, receipts, documents, live)


class _Audit:
    """One audit. The report grows as the steps go on."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._chains: dict[bytes, _Chain] = {}
        self._reports: dict[bytes, ChainReport] = {}
        self._report = Report()

    def run(
        self,
        log: Iterable[Placed | Problem],
        receipts: Sequence[SignedEntry | Problem],
        documents: Sequence[bytes],
        live: Link | None,
    ) -> Report:
        self._read(log)
        for chain, state in self._chains.items():
            self._check_chain(chain, state)
            self._check_opening(chain, state)
        for chain, state in self._chains.items():
            self._check_links(chain, state)
        for receipt in receipts:
            self._check_receipt(receipt)
        for document in documents:
            self._expect_chain_of(document)
        if live is not None:
            self._refer(live, by="live", of="the running enclave", differs="live_head_differs")
        self._report.chains = sorted(self._reports.values(), key=lambda chain: (chain.first_ms, chain.chain))
        if not self._chains:
            self._problem("log_empty", "There is no entry at all.")
        return self._report

    def _problem(
        self, code: str, message: str, chain: bytes = b"", sequence: int | None = None, where: str = ""
    ) -> None:
        self._report.problems.append(Problem(code, message, chain, sequence, where))

    # --- every entry by itself ---

    def _read(self, log: Iterable[Placed | Problem]) -> None:
        before: dict[tuple[str, bytes], int] = {}  # by file and chain: several chains may share a file
        for item in log:
            if isinstance(item, Problem):
                self._report.problems.append(item)
                continue
            record = item.record
            last = before.get((item.file, record.chain), -1)
            if record.sequence <= last:
                message = f"Entry {record.sequence} stands behind entry {last}."
                self._problem("entry_out_of_order", message, record.chain, record.sequence, item.file)
            before[item.file, record.chain] = max(last, record.sequence)
            entry = self._open(item)
            if entry is not None:
                self._remember(entry, entry_hash(record.signed.entry), item.file)

    def _open(self, item: Placed) -> Entry | None:
        record = item.record
        try:
            entry = open_entry(record.signed)
        except CosignerError as error:
            code = "entry_signature" if error.code == "receipt_signature" else "entry_malformed"
            self._problem(code, error.message, record.chain, record.sequence, item.file)
            return None
        if (entry.chain, entry.sequence) != (record.chain, record.sequence):
            message = f"Entry {entry.sequence} of chain {entry.chain.hex()} is kept here."
            self._problem("entry_misplaced", message, record.chain, record.sequence, item.file)
        return entry

    def _remember(self, entry: Entry, digest: bytes, where: str) -> None:
        state = self._chains.setdefault(entry.chain, _Chain())
        report = self._reports.setdefault(entry.chain, ChainReport(entry.chain))
        kept = state.facts.get(entry.sequence)
        if kept is not None:
            same = kept.digest == digest
            code = "entry_duplicated" if same else "chain_forked"
            message = "It is there twice." if same else "Two different entries are signed under this number."
            self._problem(code, message, entry.chain, entry.sequence, where)
            return
        body = entry.body
        allows = isinstance(body, Decision) and body.allowed
        state.facts[entry.sequence] = _Fact(
            digest, entry.previous, entry.time, allows, body.of if isinstance(body, Outcome) else None
        )
        report.entries += 1
        if isinstance(body, Opening):
            state.opening = entry
        elif isinstance(body, Decision):
            report.allowed += allows
            report.denied += not allows
            self._check_evidence(entry, body, where)

    def _check_evidence(self, entry: Entry, decision: Decision, where: str) -> None:
        try:
            check_evidence(decision)
        except EvidenceError as error:
            self._problem("evidence_invalid", f"{error}.", entry.chain, entry.sequence, where)

    # --- a chain by itself ---

    def _check_chain(self, chain: bytes, state: _Chain) -> None:
        report = self._reports[chain]
        numbers = sorted(state.facts)
        report.first_ms, report.last_ms = state.facts[numbers[0]].time, state.facts[numbers[-1]].time
        report.last = numbers[-1]
        if numbers[0] != 0:
            self._problem("opening_missing", f"The chain begins with entry {numbers[0]}.", chain, numbers[0])
        before: int | None = None
        for number in numbers:
            fact = state.facts[number]
            if before is not None:
                self._check_step(chain, state, before, number)
            if fact.outcome_of is not None:
                origin = state.facts.get(fact.outcome_of)
                if origin is not None and not origin.allows:
                    message = f"It refers to entry {fact.outcome_of}, which allowed nothing."
                    self._problem("outcome_unfounded", message, chain, number)
            before = number

    def _check_step(self, chain: bytes, state: _Chain, before: int, number: int) -> None:
        earlier, fact = state.facts[before], state.facts[number]
        if number != before + 1:
            gap = (
                f"Entry {before + 1} is"
                if number == before + 2
                else f"Entries {before + 1} to {number - 1} are"
            )
            self._problem("entry_missing", f"{gap} missing.", chain, before + 1)
        elif fact.previous != earlier.digest:
            self._problem("chain_broken", f"It does not follow from entry {before}.", chain, number)
        if fact.time < earlier.time:
            self._problem("time_reversed", f"It is earlier than entry {before}.", chain, number)

    def _check_opening(self, chain: bytes, state: _Chain) -> None:
        entry = state.opening
        if entry is None or not isinstance(entry.body, Opening):
            return  # said already
        report = self._reports[chain]
        report.earlier = tuple(link.chain for link in entry.body.earlier)
        try:
            verified = verify(entry.body.document, policy=self._trust.policy, at=ISSUED)
        except AttestationError as error:
            self._problem("document_refused", f"{error}.", chain, 0)
            return
        report.module_id = verified.module_id
        if verified.nonce != opening_nonce(chain, entry.body.earlier):
            self._problem("document_foreign", "The document is not over this opening's nonce.", chain, 0)
        if abs(verified.document.timestamp_ms - entry.time) > DOCUMENT_TOLERANCE:
            self._problem("document_time", "The document is of another time than the opening.", chain, 0)
        self._check_keys(chain, report, verified)

    def _check_keys(self, chain: bytes, report: ChainReport, verified: VerifiedAttestation) -> None:
        try:
            keys = AttestedKeys.decode(verified.user_data or b"")
        except CosignerError:
            self._problem("key_not_attested", "The document names no keys.", chain, 0)
            return
        report.key_policy = keys.key_policy
        if keys.receipt_key != chain:
            message = f"The document names the key {keys.receipt_key.hex()}."
            self._problem("key_not_attested", message, chain, 0)
        if keys.key_policy != "pinned" and not self._trust.accept_editable:
            message = f"The enclave said of its KMS keys' policies: {keys.key_policy}."
            self._problem("key_policy_editable", message, chain, 0)

    # --- what refers to a chain from outside of it ---

    def _check_links(self, chain: bytes, state: _Chain) -> None:
        entry = state.opening
        if entry is None or not isinstance(entry.body, Opening):
            return
        for link in entry.body.earlier:
            self._refer(link, by="chain", of=f"chain {chain.hex()[:16]}…", differs="link_broken")
            other = self._chains.get(link.chain)
            passed = [] if other is None else [n for n in other.facts if n > link.sequence]
            shown_late = [n for n in passed if other is not None and other.facts[n].time < entry.time]
            if shown_late:
                self._report.notes.append(
                    f"When chain {chain.hex()[:16]}… began, the host showed it entry {link.sequence} of chain {link.chain.hex()[:16]}… as the "
                    f"newest, though entry {max(shown_late)} was there. Entries after {link.sequence} are not vouched for by that chain."
                )

    def _check_receipt(self, receipt: SignedEntry | Problem) -> None:
        if isinstance(receipt, Problem):
            self._report.problems.append(receipt)
            return
        try:
            entry = open_entry(receipt)
        except CosignerError as error:
            self._problem("receipt_invalid", error.message)
            return
        link = Link(chain=entry.chain, sequence=entry.sequence, hash=entry_hash(receipt.entry))
        self._refer(link, by="receipt", of="a receipt", differs="receipt_not_in_log")

    def _refer(self, link: Link, *, by: str, of: str, differs: str) -> None:
        """Something outside a chain names an entry of it: the entry must be there and be that one."""
        state = self._chains.get(link.chain)
        if state is None:
            message = f"{of[0].upper()}{of[1:]} refers to a chain that is not in this log."
            self._problem("chain_missing", message, link.chain, link.sequence)
            return
        report = self._reports[link.chain]
        if (link.sequence, _STRENGTH[by]) > (report.vouched, _STRENGTH[report.vouched_by]):
            report.vouched, report.vouched_by = link.sequence, by
        fact = state.facts.get(link.sequence)
        if fact is None:
            if link.sequence > report.last:
                message = f"It ends with entry {report.last}; {of} refers to entry {link.sequence}."
                self._problem("chain_truncated", message, link.chain, link.sequence)
            else:
                message = f"{of[0].upper()}{of[1:]} refers to it."
                self._problem("entry_missing", message, link.chain, link.sequence)
        elif fact.digest != link.hash:
            message = f"{of[0].upper()}{of[1:]} refers to another entry of this number."
            self._problem(differs, message, link.chain, link.sequence)

    def _expect_chain_of(self, document: bytes) -> None:
        try:
            verified = verify(document, policy=self._trust.policy, at=ISSUED)
            chain = AttestedKeys.decode(verified.user_data or b"").receipt_key
        except AttestationError as error:
            self._report.notes.append(f"An archived document was refused ({error}); it says nothing.")
            return
        except CosignerError:
            self._report.notes.append("An archived document names no keys; it says nothing.")
            return
        if chain not in self._chains:
            self._report.notes.append(
                f"Enclave {verified.module_id} was attested at {verified.issued_at:%Y-%m-%dT%H:%M:%SZ} and has no chain here. If it decided "
                "anything, its log was left out."
            )
