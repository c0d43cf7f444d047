"""The log of decisions: what an entry says, how entries are chained, and what their signatures cover (``docs/spec/receipts.md``).

One chain is one life of one enclave. It is named by the Ed25519 public key that signs it, made at boot and named in the attestation
document that the chain's first entry holds. A receipt is a signed entry, handed to the caller whom it concerns.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Annotated, Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from .accounts import KeyAlgorithm, KeyBytes, LayerName, UserId
from .actions import (
    MAX_APPROVALS,
    Action,
    Approval,
    Hash,
    KeySignature,
    Milliseconds,
    PasskeyAssertion,
    Subject,
)
from .envelope import cbor
from .envelope.errors import Culprit, ProtocolError
from .envelope.limits import MAX_LOG_ENTRY, MAX_LOG_HEADS
from .envelope.messages import ChainHead, ChainId, Epoch, LogSequence, LogSignature, Message, SignedEntry
from .envelope.segments import entry_hash

SIGNATURE_LABEL: Final = b"cosigner/log-signature/v1"
HEAD_LABEL: Final = b"cosigner/log-head/v1"
OPENING_LABEL: Final = b"cosigner/log-opening/v1"
MAX_SUMMARY: Final = 4096
MAX_REASONS: Final = 8192
MAX_DOCUMENT: Final = 16384
NO_HASH: Final = bytes(32)

CodeOrNone = Annotated[str, Meta(pattern=r"^([a-z][a-z0-9_]{0,63})?\Z")]  # empty: there is none
CoseKey = Annotated[bytes, Meta(min_length=32, max_length=1024)]


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of another chain."""

    chain: ChainId
    sequence: LogSequence
    hash: Hash


class Opening(Message, frozen=True, tag="opening"):
    """The first entry of a chain.

    :ivar document: the attestation document whose ``user_data`` names the chain's key and whose nonce is :func:`opening_nonce`.
    :ivar earlier: the newest entries of other chains that the host showed, by ascending chain.
    """

    document: Annotated[bytes, Meta(min_length=1, max_length=MAX_DOCUMENT)]
    earlier: Annotated[list[Link], Meta(max_length=MAX_LOG_HEADS)]

    def __post_init__(self) -> None:
        chains = [link.chain for link in self.earlier]
        if any(one >= other for one, other in itertools.pairwise(chains)):
            msg = "earlier chains are in ascending order, each once"
            raise ValueError(msg)


class LoggedActor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose session it was.

    :ivar user_id: of a delegate: the user whose wallet it is.
    :ivar session_key: SHA-256 of the session key; of a delegate: of its share set's id.
    :ivar login: which login registered the session key; empty if none did (a service account's key vouched for it); of a delegate:
        ``delegate:SHARE_SET``.
    """

    user_id: UserId
    kind: Literal["user", "service", "delegate"]
    session_key: Hash
    login: Subject


class PasskeyEvidence(Message, frozen=True, tag="passkey"):
    """An assertion in full, and the registered key (COSE) that it was checked with: anybody can check it again."""

    public_key: CoseKey
    assertion: PasskeyAssertion


class KeyEvidence(Message, frozen=True, tag="key"):
    """A signature in full, and the registered key that it was checked with."""

    algorithm: KeyAlgorithm
    public_key: KeyBytes
    signature: KeySignature


class UncheckedEvidence(Message, frozen=True, tag="unchecked"):
    """An assertion or signature that was not found good, or names a credential that the user does not have: SHA-256 of its canonical form."""

    hash: Hash


class TokenEvidence(Message, frozen=True, tag="token"):
    """A token or an offline signature, which is not kept here: SHA-256 of its bytes. Never of anything that can be guessed."""

    what: Literal["jwt", "account_key", "recovery_key", "release_gate", "delegate_key"]
    hash: Hash


class CodeEvidence(Message, frozen=True, tag="code"):
    """A one-time code was given. Nothing of it is kept: a hash of six digits would tell them."""

    what: Literal["totp", "recovery_code", "device_code"]
    accepted: bool


Evidence = PasskeyEvidence | KeyEvidence | UncheckedEvidence | TokenEvidence | CodeEvidence


class LoggedApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's approval that was counted, and what its evidence covers.

    :ivar approver: ``user:ID`` or ``administrator:NAME``.
    """

    approver: Subject
    approval: Approval
    evidence: PasskeyEvidence | KeyEvidence


class PolicyVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A layer of the policy that judged.

    :ivar version: 0: the one of the manifest.
    :ivar hash: as :func:`policy.layer_hash` makes it.
    """

    layer: LayerName
    subject: Subject
    version: Annotated[int, Meta(ge=0, lt=1 << 32)]
    hash: Hash


class Decision(Message, frozen=True, tag="decision"):
    """What was asked, by whom, on what evidence, and what was decided. It is stored before anything is done.

    :ivar summary: what the payload does, JSON (:func:`bounded_json`); empty if there is no payload.
    :ivar policies: the layers that judged, in their order.
    :ivar code: why it was denied; empty if it was allowed.
    :ivar reasons: the decision's tree, JSON (:func:`bounded_json`); empty if it never came to rules.
    :ivar epoch: the wallet's, where one is asked for.
    :ivar result: SHA-256 of the reply's canonical encoding, where that was known already.
    """

    action: Action
    actor: LoggedActor | None
    evidence: Annotated[list[Evidence], Meta(max_length=8)]
    approvals: Annotated[list[LoggedApproval], Meta(max_length=MAX_APPROVALS)]
    summary: Annotated[str, Meta(max_length=MAX_SUMMARY)]
    policies: Annotated[list[PolicyVersion], Meta(max_length=8)]
    allowed: bool
    code: CodeOrNone
    reasons: Annotated[str, Meta(max_length=MAX_REASONS)]
    epoch: Epoch | None
    result: Hash | None

    def __post_init__(self) -> None:
        if self.allowed == bool(self.code):
            msg = "a denial has a code, and nothing else has"
            raise ValueError(msg)


class Outcome(Message, frozen=True, tag="outcome"):
    """What became of an action that an earlier entry of this chain allowed. No entry: nothing is known to have failed.

    :ivar of: that entry's number.
    :ivar code: why it failed after all; ``receipt_failed``: the host did not confirm that entry in time, and nothing was done.
    """

    of: LogSequence
    code: CodeOrNone
    result: Hash | None


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry.

    :ivar chain: the chain's Ed25519 public key.
    :ivar sequence: 0, 1, 2, … without gaps.
    :ivar previous: hash of the entry before; zeros for the first.
    :ivar time: by the enclave's clock; never less than in the entry before.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    sequence: LogSequence
    previous: Hash
    time: Milliseconds
    body: Opening | Decision | Outcome

    def __post_init__(self) -> None:
        if (self.sequence == 0) != isinstance(self.body, Opening) or (self.sequence == 0) != (
            self.previous == NO_HASH
        ):
            msg = "a chain's first entry, and no other, is its opening and follows nothing"
            raise ValueError(msg)
        if isinstance(self.body, Outcome) and self.body.of >= self.sequence:
            msg = "an outcome is that of an earlier entry"
            raise ValueError(msg)

    def encode(self) -> bytes:
        """The canonical encoding."""
        return cbor.encode(self)


class GetLogHead(Message, frozen=True, tag="log_head_get"):
    """Ask, inside the channel, for the newest entry that the host has confirmed to keep."""

    nonce: Hash


class LogHead(Message, frozen=True, tag="log_head"):
    """The newest entry of the enclave's chain, signed over the asker's nonce (:func:`head_message`)."""

    chain: ChainId
    sequence: LogSequence
    hash: Hash
    signature: LogSignature


# --- what is signed --------------------------------------------------------------------------------------------------------


def entry_message(*, chain: bytes, sequence: int, digest: bytes) -> bytes:
    """What an entry's signature covers.

    :param digest: :func:`protocol.envelope.segments.entry_hash` of the entry.
    """
    return SIGNATURE_LABEL + chain + sequence.to_bytes(8, "big") + digest


def head_message(*, nonce: bytes, chain: bytes, sequence: int, digest: bytes) -> bytes:
    """What the signature of a live head covers."""
    return HEAD_LABEL + nonce + chain + sequence.to_bytes(8, "big") + digest


def opening_nonce(chain: bytes, earlier: list[Link]) -> bytes:
    """The nonce of the document in an opening, 32 bytes: the document was made after these entries were."""
    return hashlib.sha256(OPENING_LABEL + cbor.encode([chain, earlier])).digest()


# --- what is checked -------------------------------------------------------------------------------------------------------


def open_entry(signed: SignedEntry) -> Entry:
    """Parse an entry and check its signature under the key that it names itself. Whose key that is, the chain's opening says.

    :raises ProtocolError: ``message_malformed``, ``message_too_large``, ``receipt_signature``.
    """
    entry = cbor.decode(signed.entry, Entry, limit=MAX_LOG_ENTRY, culprit=Culprit.ENCLAVE)
    message = entry_message(chain=entry.chain, sequence=entry.sequence, digest=entry_hash(signed.entry))
    check_signature(entry.chain, message, signed.signature)
    return entry


def open_receipt(signed: SignedEntry, *, receipt_key: bytes, action: Action) -> Decision:
    """What a caller checks of a receipt: the attested enclave's signature, and that it is about this very action.

    :param receipt_key: from a verified attestation document.
    :raises ProtocolError: as :func:`open_entry`; ``receipt_foreign``: of another enclave or action.
    """
    entry = open_entry(signed)
    body = entry.body
    if entry.chain != receipt_key or not isinstance(body, Decision) or body.action != action:
        raise ProtocolError(
            "receipt_foreign",
            "The receipt is not by this enclave, or not about what was asked.",
            culprit=Culprit.ENCLAVE,
        )
    return body


def check_link(head: ChainHead) -> Link:
    """What a host shows as a chain's newest entry, once its signature is checked under the chain's key.

    :raises ProtocolError: ``receipt_signature``.
    """
    message = entry_message(chain=head.chain, sequence=head.sequence, digest=head.hash)
    check_signature(head.chain, message, head.signature)
    return Link(chain=head.chain, sequence=head.sequence, hash=head.hash)


def check_head(head: LogHead, *, nonce: bytes, receipt_key: bytes) -> Link:
    """A live head, once its signature is checked under the attested key.

    :raises ProtocolError: ``receipt_signature``, ``receipt_foreign``.
    """
    if head.chain != receipt_key:
        raise ProtocolError(
            "receipt_foreign", "The head is of another enclave's chain.", culprit=Culprit.ENCLAVE
        )
    message = head_message(nonce=nonce, chain=head.chain, sequence=head.sequence, digest=head.hash)
    check_signature(head.chain, message, head.signature)
    return Link(chain=head.chain, sequence=head.sequence, hash=head.hash)


def check_signature(chain: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032) under a chain's key.

    :raises ProtocolError: ``receipt_signature``.
    """
    try:
        Ed25519PublicKey.from_public_bytes(chain).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ProtocolError(
            "receipt_signature",
            "The entry is not signed by the key that it names.",
            culprit=Culprit.HOST,
        ) from None


def bounded_json(value: Any, most: int) -> str:  # noqa: ANN401  (any JSON value)
    """``value`` as compact JSON in ASCII of at most ``most`` characters, or else its length and SHA-256 in its place."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=True)
    if len(text) <= most:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"omitted": len(text), "sha256": digest}, separators=(",", ":"))
