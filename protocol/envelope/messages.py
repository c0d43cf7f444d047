"""Messages between host and enclave: the link, the storage port and the tunnel port (``docs/spec/wire.md``)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from .errors import CosignerError, Culprit, Reaction
from .limits import (
    MAX_EVENT_DATA,
    MAX_EVENT_ENDPOINT,
    MAX_HELLO,
    MAX_LIST,
    MAX_LOG_BATCH,
    MAX_LOG_ENTRIES,
    MAX_LOG_ENTRY,
    MAX_LOG_HEADS,
    MAX_MANIFEST,
    MAX_NEEDS,
    MAX_NONCE,
    MAX_RECORD,
    MAX_STORAGE_KEY,
    MAX_STORED_VALUE,
    MIN_NONCE,
    SESSION_ID_LENGTH,
)

Nonce = Annotated[bytes, Meta(min_length=MIN_NONCE, max_length=MAX_NONCE)]
SessionId = Annotated[bytes, Meta(min_length=SESSION_ID_LENGTH, max_length=SESSION_ID_LENGTH)]
Hello = Annotated[bytes, Meta(min_length=1, max_length=MAX_HELLO)]
RecordBytes = Annotated[bytes, Meta(min_length=1, max_length=MAX_RECORD)]
Epoch = Annotated[int, Meta(ge=1, lt=1 << 32)]
ExpectedEpoch = Annotated[int, Meta(ge=0, lt=1 << 32)]  # 0: the key must not exist
StorageKey = Annotated[
    str, Meta(max_length=MAX_STORAGE_KEY, pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\Z")
]
StoragePrefix = Annotated[str, Meta(max_length=MAX_STORAGE_KEY, pattern=r"^([a-z0-9][a-z0-9_-]*/)*\Z")]
StoredValue = Annotated[bytes, Meta(min_length=1, max_length=MAX_STORED_VALUE)]
Code = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
ShortText = Annotated[str, Meta(max_length=1024)]
FrameId = Annotated[int, Meta(ge=0, lt=1 << 32)]
ChainId = Annotated[bytes, Meta(min_length=32, max_length=32)]
LogSequence = Annotated[int, Meta(ge=0, lt=1 << 53)]
LogHash = Annotated[bytes, Meta(min_length=32, max_length=32)]
LogSignature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Need = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]
EnvironmentName = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")
]  # as protocol.names.EnvironmentId
EventId = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
]  # a lower-case UUID (RFC 9562) of any version
EventName = Annotated[str, Meta(max_length=64, pattern=r"^[a-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*)*\Z")]
EventEndpoint = Annotated[
    str, Meta(max_length=MAX_EVENT_ENDPOINT, pattern=r"^https?://[\x21-\x7e]+\Z")
]  # a URL; the host judges it before it connects, and takes ``http`` in mock mode only
EventData = Annotated[bytes, Meta(min_length=2, max_length=MAX_EVENT_DATA)]
HostName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of every message; on the wire a CBOR map whose ``kind`` names the type."""

    @property
    def kind(self) -> str:
        """The type's name on the wire."""
        return str(self.__struct_config__.tag)


class Fault(Message, frozen=True, tag="fault", omit_defaults=True):
    """An error as it crosses a process boundary.

    :ivar needs: with ``factor_required``, which factors: one of ``passkey`` and ``signing_key`` if any is listed, and a code if ``totp``
        is; with ``approval_required``, whose approvals would count, as in :class:`protocol.actions.SignedApproval`. Left out if empty.
    """

    code: Code
    message: ShortText
    culprit: Culprit
    reaction: Reaction
    needs: Annotated[list[Need], Meta(max_length=MAX_NEEDS)] = []

    @classmethod
    def of(cls, error: CosignerError) -> Fault:
        return cls(
            code=error.code,
            message=error.message[:1024],
            culprit=error.culprit,
            reaction=error.reaction,
            needs=list(error.needs[:MAX_NEEDS]),
        )

    def error(self) -> CosignerError:
        return CosignerError(
            self.code, self.message, culprit=self.culprit, reaction=self.reaction, needs=self.needs
        )


# --- link: host asks, enclave answers --------------------------------------------------------------------------------------


class AwsCredentials(Message, frozen=True, tag="aws_credentials"):
    """Credentials of the parent instance's role. The enclave never logs them."""

    access_key_id: Annotated[str, Meta(min_length=1, max_length=128)]
    secret_access_key: Annotated[str, Meta(min_length=1, max_length=256)]
    session_token: Annotated[str, Meta(max_length=4096)]  # empty for long-term credentials

    def __repr__(self) -> str:
        return "<AwsCredentials redacted>"


class Attest(Message, frozen=True, tag="attest"):
    """Ask for an attestation document over the caller's nonce."""

    nonce: Nonce


class OpenSession(Message, frozen=True, tag="open_session"):
    """Forward a client hello."""

    hello: Hello


class Record(Message, frozen=True, tag="record"):
    """Forward one sealed record of a session."""

    session_id: SessionId
    record: RecordBytes


class Provision(Message, frozen=True, tag="provision"):
    """Hand in the manifest, once, and first credentials."""

    manifest: Annotated[bytes, Meta(min_length=1, max_length=MAX_MANIFEST)]
    credentials: AwsCredentials


class UpdateCredentials(Message, frozen=True, tag="update_credentials"):
    """Replace the credentials before they expire."""

    credentials: AwsCredentials


class Status(Message, frozen=True, tag="status"):
    """Ask for the boot phase and counters."""


LinkRequest = Attest | OpenSession | Record | Provision | UpdateCredentials | Status


class Attested(Message, frozen=True, tag="attested"):
    """The document, and the channel public key whose hash stands in its ``user_data``."""

    document: Annotated[bytes, Meta(min_length=1, max_length=16384)]
    channel_key: Annotated[bytes, Meta(min_length=1216, max_length=1216)]


class SessionOpened(Message, frozen=True, tag="session_opened"):
    session_id: SessionId
    hello: Hello


class RecordReply(Message, frozen=True, tag="record_reply"):
    record: RecordBytes


class Done(Message, frozen=True, tag="done"):
    """The request was carried out and has no other result."""


class StatusReply(Message, frozen=True, tag="status_reply"):
    phase: Annotated[str, Meta(max_length=32)]
    reason: ShortText  # why the phase is what it is, empty when all is well
    sessions: Annotated[int, Meta(ge=0, lt=1 << 32)]
    counters: dict[str, Annotated[int, Meta(ge=0, le=1 << 53)]]


LinkReply = Attested | SessionOpened | RecordReply | Done | StatusReply | Fault


class LinkRequestFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``id`` is chosen by the host; the answer carries it back. Answers may come in any order."""

    id: FrameId
    body: LinkRequest


class LinkReplyFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: FrameId
    body: LinkReply


# --- storage port: enclave asks, host answers ------------------------------------------------------------------------------


class StorageGet(Message, frozen=True, tag="get"):
    key: StorageKey


class OutboxEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the host shall tell a developer's endpoint (``docs/spec/webhooks.md``), at least once.

    :ivar event_id: the same id again is kept once, whatever else it says.
    :ivar name: such as ``wallet.delegation.created``; ``subscription`` tells the host itself where an environment's events go.
    :ivar endpoint: where the environment's settings said that events go when this one was written.
    :ivar data: the ``data`` of the webhook, a JSON object; for ``subscription`` its ``url``, ``secret``, ``events``, ``enabled``.
    """

    event_id: EventId
    environment: EnvironmentName
    name: EventName
    endpoint: EventEndpoint
    data: EventData
    subscription_id: EventId

    def __repr__(self) -> str:  # the data of a subscription holds its secret
        return f"<OutboxEvent {self.name} {self.event_id}>"


class StoragePut(Message, frozen=True, tag="put", omit_defaults=True):
    """Store ``value`` at ``epoch`` if the key's epoch is ``expected`` (0: if the key is absent).

    :ivar event: what the change is told as: written with the value or not at all.
    """

    key: StorageKey
    expected: ExpectedEpoch
    epoch: Epoch
    value: StoredValue
    event: OutboxEvent | None = None


class StorageDelete(Message, frozen=True, tag="delete"):
    """Delete the key if its epoch is ``expected``."""

    key: StorageKey
    expected: Epoch


class StorageList(Message, frozen=True, tag="list"):
    """List up to ``count`` keys below ``prefix`` that sort after ``after``."""

    prefix: StoragePrefix
    after: Annotated[str, Meta(max_length=MAX_STORAGE_KEY)]
    count: Annotated[int, Meta(ge=1, le=MAX_LIST)]


class SignedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of an enclave's log of decisions (``docs/spec/receipts.md``); to the host two strings of bytes."""

    entry: Annotated[bytes, Meta(min_length=1, max_length=MAX_LOG_ENTRY)]
    signature: LogSignature


class LogAppend(Message, frozen=True, tag="log_append"):
    """Keep entries ``first``, ``first`` + 1, … of a chain for ever; answered when they are durable. At most 512 KiB of entries
    together, unless there is only one.

    What is kept already is kept once: the same entries again are :class:`Done`.
    """

    chain: ChainId
    first: LogSequence
    entries: Annotated[list[SignedEntry], Meta(min_length=1, max_length=MAX_LOG_ENTRIES)]

    def __post_init__(self) -> None:
        if len(self.entries) > 1 and sum(len(signed.entry) for signed in self.entries) > MAX_LOG_BATCH:
            msg = f"several entries have at most {MAX_LOG_BATCH} bytes together"
            raise ValueError(msg)


class GetChainHeads(Message, frozen=True, tag="log_heads"):
    """Ask for the newest entries of the newest chains, without ``chain``."""

    chain: ChainId


StorageRequest = StorageGet | StoragePut | StorageDelete | StorageList | LogAppend | GetChainHeads


class Found(Message, frozen=True, tag="found"):
    epoch: Epoch
    value: StoredValue


class Missing(Message, frozen=True, tag="missing"):
    """No value has that key."""


class Conflict(Message, frozen=True, tag="conflict"):
    """The key's epoch was not the expected one, but ``current`` (0: absent). Nothing was changed."""

    current: ExpectedEpoch


class Keys(Message, frozen=True, tag="keys"):
    keys: Annotated[list[StorageKey], Meta(max_length=MAX_LIST)]


class LogConflict(Message, frozen=True, tag="log_conflict"):
    """The entries do not continue what is kept of the chain, which ends before ``next``, or differ from it. Nothing was changed."""

    next: LogSequence


class ChainHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest entry that is kept of a chain: its number, hash and signature."""

    chain: ChainId
    sequence: LogSequence
    hash: LogHash
    signature: LogSignature


class ChainHeads(Message, frozen=True, tag="chain_heads"):
    heads: Annotated[list[ChainHead], Meta(max_length=MAX_LOG_HEADS)]


StorageReply = Found | Missing | Conflict | Keys | LogConflict | ChainHeads | Done | Fault


class StorageRequestFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: FrameId
    body: StorageRequest


class StorageReplyFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: FrameId
    body: StorageReply


# --- tunnel port: enclave names a destination, then bytes flow -------------------------------------------------------------


class TunnelOpen(Message, frozen=True, tag="tunnel_open"):
    host: HostName
    port: Port


TunnelReply = Done | Fault
