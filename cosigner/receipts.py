"""Receipts: what the enclave's log says of this client's actions, checked, and kept in the share store (``docs/spec/receipts.md``).

A receipt is a file of its own, written once: ``receipts/SUBJECT/CHAIN-SEQUENCE.receipt``, where the subject is a wallet's or a user's id, or
a policy layer's name. ``cosigner audit log verify --receipt`` takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.intents import body_of, subject_of
from protocol.receipts import Decision, open_entry

if TYPE_CHECKING:
    from protocol.actions import Action
    from protocol.envelope.messages import SignedEntry
    from protocol.messages import Request

SUFFIX: Final = ".receipt"


@dataclass(frozen=True)
class Receipt:
    """A checked receipt.

    :ivar chain: the key of the enclave's log, 32 bytes.
    :ivar reasons: why it was denied, as a JSON tree; empty if no rules were asked.
    """

    signed: SignedEntry
    chain: bytes
    sequence: int
    time: int
    decision: Decision

    @property
    def subject(self) -> str:
        """What the action was about."""
        return self.decision.action.subject or "environment"

    @property
    def file_name(self) -> str:
        """Under which it is kept."""
        return f"{self.chain.hex()[:16]}-{self.sequence:012d}{SUFFIX}"

    def encode(self) -> bytes:
        """As it is kept."""
        return cbor.encode(self.signed)


def check(
    signed: SignedEntry,
    *,
    receipt_key: bytes,
    request: Request,
    environment: str,
    user_id: str,
    transcript: bytes,
    action: Action | None,
) -> Receipt:
    """Check a receipt that came with an answer: the attested enclave's signature, and that it is about this very request.

    The answer to a repeated request is the one that was given before, perhaps in another session: then so is its receipt.

    :param receipt_key: from the attestation document of the enclave that answered.
    :param transcript: of the session that the answer came in.
    :param action: what was authorized in it; ``None`` where the session key alone vouched.
    :raises ProtocolError: ``receipt_signature``, ``receipt_foreign``, ``message_malformed``.
    """
    entry = open_entry(signed)
    body = entry.body
    if (
        entry.chain != receipt_key
        or not isinstance(body, Decision)
        or _facts(body.action) != (environment, request.kind, subject_of(request, user_id), body_of(request))
        or (action is not None and body.action.session == transcript and body.action != action)
    ):
        raise ProtocolError(
            "receipt_foreign",
            "The receipt is not by this enclave, or not about what was asked.",
            culprit=Culprit.ENCLAVE,
        )
    return Receipt(signed, entry.chain, entry.sequence, entry.time, body)


def missing() -> ProtocolError:
    """An answer to an action without a receipt."""
    return ProtocolError(
        "receipt_missing", "The enclave answered without a receipt.", culprit=Culprit.ENCLAVE
    )


def _facts(action: Action) -> tuple[str, str, str, bytes]:
    return action.environment, action.operation, action.subject, action.body
