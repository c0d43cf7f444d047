"""What an audit of a log found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CODES: Final[dict[str, str]] = {
    "segment_damaged": "a file is no segment, or a record in it is cut short or altered",
    "entry_malformed": "an entry is not in the one encoding of an entry",
    "entry_signature": "an entry is not signed by the key that it names",
    "entry_misplaced": "the host keeps an entry under another chain or number than the entry's own",
    "entry_out_of_order": "entries in a file are not in the order of their numbers",
    "entry_duplicated": "the very same entry is there twice",
    "chain_forked": "two different entries are signed under one number",
    "chain_broken": "an entry does not follow from the one before it",
    "entry_missing": "numbers are missing between entries of a chain",
    "opening_missing": "a chain's first entry is missing, and with it the document that names its key",
    "time_reversed": "an entry is earlier than the one before it",
    "document_refused": "the attestation document of a chain does not satisfy the trust policy",
    "document_foreign": "the attestation document of a chain was not made for its opening",
    "document_time": "the attestation document of a chain is not of the time of its opening",
    "key_not_attested": "the attestation document of a chain does not name the key that signed it",
    "key_policy_editable": "the enclave said that somebody may change the policy of its KMS keys, or had not judged it",
    "chain_missing": "a chain that another one, a receipt or the live enclave refers to is not there",
    "chain_truncated": "a chain ends before an entry that another chain, a receipt or the live enclave refers to",
    "link_broken": "a chain refers to an entry of another chain that is a different one here",
    "receipt_invalid": "a receipt is not one: it does not parse, or its signature is not good",
    "receipt_not_in_log": "the log has another entry in the place of a receipt's",
    "live_head_differs": "the log has another entry in the place of the live enclave's newest",
    "outcome_unfounded": "an outcome refers to an entry that allowed nothing",
    "evidence_invalid": "an assertion, a signature or an approval in an entry does not hold",
    "log_empty": "there is no entry at all",
}
"""Codes are stable; each is a failed audit."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding that fails the audit.

    :ivar code: a key of :data:`CODES`.
    :ivar chain: 32 bytes, empty where the finding is not about one chain.
    :ivar sequence: the entry's number, where the finding is about one.
    :ivar where: file and offset, where that helps.
    """

    code: str
    message: str
    chain: bytes = b""
    sequence: int | None = None
    where: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise KeyError(self.code)


@dataclass(slots=True)
class ChainReport:
    """One chain: one life of one enclave.

    :ivar entries: how many are there. :ivar allowed: :ivar denied: how many decisions of either kind.
    :ivar first_ms: :ivar last_ms: times of the first and last entry, milliseconds since 1970.
    :ivar module_id: of the enclave, from its document; empty if that was refused.
    :ivar key_policy: what the document says of the KMS keys.
    :ivar last: the highest number that is there.
    :ivar vouched: the highest number that something outside the chain refers to; -1: nothing does.
    :ivar vouched_by: what does: ``live``, ``receipt`` or ``chain``.
    :ivar earlier: chains that this one refers to.
    """

    chain: bytes
    entries: int = 0
    allowed: int = 0
    denied: int = 0
    first_ms: int = 0
    last_ms: int = 0
    module_id: str = ""
    key_policy: str = ""
    last: int = -1
    vouched: int = -1
    vouched_by: str = ""
    earlier: tuple[bytes, ...] = ()

    @property
    def end_is_certain(self) -> bool:
        """Whether nothing can be missing at the end: the running enclave itself named the last entry."""
        return self.vouched_by == "live" and self.vouched <= self.last


@dataclass(slots=True)
class Report:
    """The outcome of an audit. :attr:`chains` are in the order in which they began."""

    chains: list[ChainReport] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.problems
