"""The log of decisions: one hash chain for each life of an enclave, signed by a key that never leaves it (``docs/spec/receipts.md``).

An entry is appended once the host has confirmed that it is durable, and only then is what it allows done. Entries are numbered and signed
at once, and sent together: one batch is under way at a time, and whatever comes meanwhile makes up the next. A batch that was not
confirmed is sent again before anything new, in the very same bytes: a number is never signed twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Never, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.limits import MAX_LOG_BATCH, MAX_LOG_ENTRIES
from protocol.envelope.messages import SignedEntry
from protocol.envelope.segments import entry_hash
from protocol.receipts import (
    NO_HASH,
    Decision,
    Entry,
    Link,
    LogHead,
    Opening,
    Outcome,
    check_link,
    entry_message,
    head_message,
    opening_nonce,
)

from . import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from protocol.envelope.messages import ChainHead

MAX_BACKLOG: Final = 8 << 20  # bytes of entries that the host has not confirmed


class Clock(Protocol):
    """What the log needs of :class:`enclave.authn.clock.Clock`."""

    def now_ms(self) -> int:
        """Milliseconds since 1970; raises when there is no time to be trusted."""


class LogStorage(Protocol):
    """What the log needs of the host's storage (:class:`enclave.storage.HostStorage`)."""

    async def append_log(self, chain: bytes, first: int, entries: Sequence[SignedEntry]) -> None:
        """Keep entries; returns when they are durable. The same entries again are kept once.

        :raises CosignerError: they may be kept or not.
        """

    async def chain_heads(self, chain: bytes) -> list[ChainHead]:
        """The newest entries of the newest chains but ``chain``, as the host has them."""


class ReceiptKey:
    """The Ed25519 key that signs this enclave's chain; made at boot, lives in memory only.

    :ivar public_bytes: 32 bytes, for :class:`protocol.binding.AttestedKeys`; it is the chain's name.
    """

    __slots__ = ("_private", "public_bytes")

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public_bytes: Final = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def __reduce__(self) -> Never:
        msg = "a receipt key cannot be copied or pickled"
        raise TypeError(msg)


class _Pending:
    """An entry that the host has not confirmed, and whoever waits for it."""

    __slots__ = ("allowed", "sequence", "signed", "waiter")

    def __init__(self, sequence: int, signed: SignedEntry, *, allowed: bool) -> None:
        self.sequence = sequence
        self.signed = signed
        self.allowed = allowed
        self.waiter: asyncio.Future[None] | None = None


class Log:
    """This enclave's chain.

    :param document: makes an attestation document over a nonce of 32 bytes, naming ``key``; asked once, when the chain is opened.
    """

    def __init__(
        self,
        key: ReceiptKey,
        *,
        clock: Clock,
        storage: LogStorage,
        document: Callable[[bytes], Awaitable[bytes]],
    ) -> None:
        self._key = key
        self._chain: Final = key.public_bytes
        self._clock = clock
        self._storage = storage
        self._document = document
        self._opening = asyncio.Lock()
        self._next = 0
        self._previous = NO_HASH
        self._time = 0
        self._pending: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self._durable: Link | None = None

    async def append(self, body: Decision | Outcome) -> SignedEntry:
        """Append an entry. When this returns the entry is durable; when it raises, what the entry allows must not be done.

        :returns: the receipt.
        :raises CosignerError: ``receipt_failed``; ``clock_disagrees`` and what else the clock raises. An entry whose storage was not confirmed
            may be in the log all the same; if it allows something, an :class:`Outcome` after it says that nothing was done.
        """
        await self._open()
        if self._pending_bytes >= MAX_BACKLOG:
            self._send()
            raise _failed("The host has not confirmed the entries before.")
        pending = self._add(body, self._clock.now_ms())
        await self._confirmed(pending)
        return pending.signed

    async def head(self, nonce: bytes) -> LogHead:
        """The newest confirmed entry, signed over ``nonce`` (32 bytes).

        :raises CosignerError: ``receipt_failed``: the chain could not be opened.
        """
        await self._open()
        if self._durable is None:
            raise _failed("The host has not confirmed any entry.")
        link = self._durable
        message = head_message(nonce=nonce, chain=self._chain, sequence=link.sequence, digest=link.hash)
        return LogHead(
            chain=self._chain, sequence=link.sequence, hash=link.hash, signature=self._key.sign(message)
        )

    async def _open(self) -> None:
        """Begin the chain, once: with a document that names its key, linked to the heads of earlier chains."""
        if self._next:
            return
        async with self._opening:
            if self._next:
                return
            try:
                links = _links(await self._storage.chain_heads(self._chain), own=self._chain)
            except CosignerError as error:
                raise _failed(
                    f"What the host shows of earlier logs cannot be used: {error.message}"
                ) from None
            document = await self._document(opening_nonce(self._chain, links))
            opening = self._add(Opening(document=document, earlier=links), self._clock.now_ms())
            log.event("log_opened")
            await self._confirmed(opening)

    def _add(self, body: Opening | Decision | Outcome, now_ms: int) -> _Pending:
        """Number, chain and sign an entry. There is no ``await`` in here: nothing comes between."""
        now = max(now_ms, self._time)
        entry = Entry(
            version=1,
            chain=self._chain,
            sequence=self._next,
            previous=self._previous,
            time=now,
            body=body,
        ).encode()
        digest = entry_hash(entry)
        message = entry_message(chain=self._chain, sequence=self._next, digest=digest)
        signed = SignedEntry(entry=entry, signature=self._key.sign(message))
        pending = _Pending(self._next, signed, allowed=isinstance(body, Decision) and body.allowed)
        self._pending.append(pending)
        self._pending_bytes += len(entry)
        self._next, self._previous, self._time = self._next + 1, digest, now
        return pending

    async def _confirmed(self, pending: _Pending) -> None:
        """Wait until an entry is durable. A caller that gives up changes nothing for the entry."""
        pending.waiter = asyncio.get_running_loop().create_future()
        self._send()
        await pending.waiter

    def _send(self) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._pending:
                batch = self._batch()
                entries = [pending.signed for pending in batch]
                await self._storage.append_log(self._chain, batch[0].sequence, entries)
                self._confirm(batch)
        except CosignerError as error:
            self._fail(error.message)
        except BaseException:
            self._fail("The enclave is stopping.")
            raise
        finally:
            self._sending = None

    def _batch(self) -> list[_Pending]:
        """The oldest entries, as many as fit one request, at least one."""
        batch: list[_Pending] = []
        size = 0
        for pending in self._pending:
            size += len(pending.signed.entry)
            if batch and (size > MAX_LOG_BATCH or len(batch) == MAX_LOG_ENTRIES):
                break
            batch.append(pending)
        return batch

    def _confirm(self, batch: list[_Pending]) -> None:
        for pending in batch:
            self._pending.popleft()
            self._pending_bytes -= len(pending.signed.entry)
            _settle(pending, None)
        last = batch[-1]
        self._durable = Link(chain=self._chain, sequence=last.sequence, hash=entry_hash(last.signed.entry))

    def _fail(self, reason: str) -> None:
        """Refuse everybody who waits. What they were allowed is not done, and the log will say so; all of it is sent again later."""
        log.event("log_append_failed")
        for pending in list(self._pending):
            if pending.waiter is None:
                continue
            _settle(pending, _failed(reason))
            if pending.allowed:
                self._add(Outcome(of=pending.sequence, code="receipt_failed", result=None), self._time)


def _settle(pending: _Pending, error: CosignerError | None) -> None:
    waiter, pending.waiter = pending.waiter, None
    if waiter is None or waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)


def _links(heads: Sequence[ChainHead], *, own: bytes) -> list[Link]:
    """What the host shows, checked as far as it can be from in here: that each is signed by the key that it names."""
    links = {head.chain: check_link(head) for head in heads}
    if own in links or len(links) < len(heads):
        raise ProtocolError(
            "message_malformed", "A chain is shown twice, or is this one.", culprit=Culprit.STORAGE
        )
    return [links[chain] for chain in sorted(links)]


def _failed(reason: str) -> CosignerError:
    return CosignerError(
        "receipt_failed",
        f"The decision could not be written to the log, so nothing was done. {reason}",
        culprit=Culprit.STORAGE,
        reaction=Reaction.RETRY,
    )
