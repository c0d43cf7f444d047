"""Sealed records in untrusted storage: what the enclave must remember about users, logins, ownership, policy (``docs/spec/accounts.md`` §1).

A record is sealed for one environment, KMS key, kind, key and *revision*, and every change makes the next revision by a conditional
write. The host can lose a record or serve an old one. Within the life of this enclave that is noticed: the newest revision of each
record, and a hash of its bytes, stay in memory. Across a restart an old record cannot be told from the newest (``docs/limitations.md``).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec
from msgspec import Meta

from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.limits import MAX_STORED_VALUE
from protocol.envelope.messages import Epoch
from protocol.names import EnvironmentId
from threshold import ThresholdError

from .storage import Storage, StorageConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.envelope.messages import OutboxEvent
    from threshold import SealingKey

T = TypeVar("T")

REMEMBERED: Final = 100_000  # records whose newest revision is kept in memory
CACHED_BYTES: Final = 16 << 20  # of encoded values whose decoded form is kept
CACHE_SECONDS: Final = (
    10.0  # how long a decoded record is used without asking storage: other enclaves change records, too
)
MAX_VALUE: Final = MAX_STORED_VALUE - 1024  # one encoded value; the rest is for the seal
_ATTEMPTS: Final = 4
_MAX_REVISION: Final = (1 << 32) - 1

Kind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
RecordKey = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\Z", max_length=128)]


class RecordContext(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a record is good for: the associated data of its seal. Every field but ``revision`` is known to the reader beforehand."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    key_arn: str
    kind: Kind
    key: RecordKey
    revision: Epoch


class StoredRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What storage holds."""

    revision: Epoch
    sealed: Annotated[bytes, Meta(min_length=68, max_length=MAX_STORED_VALUE)]


@dataclass(frozen=True, slots=True)
class Versioned(Generic[T]):
    """A value, and the revision at which it was read: what the next write must expect."""

    value: T
    revision: int


class RecordConflictError(CosignerError):
    """Somebody else changed the record first (or a write of ours whose answer was lost did); nothing was written."""

    def __init__(self) -> None:
        super().__init__(
            "record_conflict",
            "This was changed by somebody else at the same moment; try again.",
            culprit=Culprit.STORAGE,
            reaction=Reaction.RETRY,
        )


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest state of a record that this enclave has seen or written."""

    revision: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Cached(Generic[T]):
    value: T
    revision: int
    size: int
    read_at: float


class Records:
    """The sealed records of one environment.

    :param storage: the host's; not trusted.
    :param monotonic: seconds; ages what is cached.
    """

    def __init__(
        self,
        *,
        environment: str,
        key_arn: str,
        sealing_key: SealingKey,
        storage: Storage,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.environment: Final = environment
        self._key_arn = key_arn
        self._sealing_key = sealing_key
        self._storage = storage
        self._monotonic = monotonic
        self._newest: OrderedDict[tuple[str, str], _Newest] = OrderedDict()
        self._cache: OrderedDict[tuple[str, str], _Cached[Any]] = OrderedDict()
        self._cached_bytes = 0
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def lock(self, kind: str, key: str) -> asyncio.Lock:
        """The lock under which a record is read and then written. Keep a reference while it is in use; ``async with`` does."""
        return self._locks.setdefault((kind, key), asyncio.Lock())

    async def read(self, kind: str, key: str, type_: type[T]) -> Versioned[T] | None:
        """Read a record; ``None`` if there never was one, as far as this enclave can know.

        :raises CosignerError: ``sealed_record_rejected`` (not what was sealed under this name), ``epoch_stale`` (older than this enclave
            has seen, or gone), ``record_forked`` (another record of the same revision), ``storage_unavailable``.
        """
        name = (kind, key)
        cached = self._cached(name, type_)
        if cached is not None and self._monotonic() - cached.read_at < CACHE_SECONDS:
            return Versioned(cached.value, cached.revision)
        for _ in range(_ATTEMPTS):
            before = self._newest.get(name)
            found = await self._storage.get(self._storage_key(name))
            if self._newest.get(name) != before:
                continue  # written here meanwhile: the answer may be older through no fault of the host's
            if found is None:
                if before is not None:
                    raise _stale()
                return None
            return self._accept(name, found.value, type_, before)
        raise RecordConflictError

    async def write(
        self, kind: str, key: str, value: object, *, expected: int, event: OutboxEvent | None = None
    ) -> int:
        """Seal and store the next revision; when this returns, the host has acknowledged a durable write.

        :param expected: the revision that was read; 0 if there was none.
        :param event: what developers are told about it, in the same durable write.
        :returns: the new revision.
        :raises RecordConflictError: the record is at another revision.
        :raises CosignerError: ``record_too_large``; ``storage_unavailable``: whether it was written is unknown, read again.
        """
        name, revision = (kind, key), expected + 1
        newest = self._newest.get(name)
        if newest is not None and newest.revision != expected:
            raise RecordConflictError
        plaintext = cbor.encode(value)
        if len(plaintext) > MAX_VALUE or revision > _MAX_REVISION:
            raise CosignerError(
                "record_too_large",
                "There is no room for this; remove something first.",
                culprit=Culprit.CLIENT,
            )
        sealed = self._sealing_key.seal_bytes(plaintext, self._context(name, revision))
        stored = cbor.encode(StoredRecord(revision=revision, sealed=sealed))
        try:
            await self._storage.put(
                self._storage_key(name), stored, expected=expected, epoch=revision, event=event
            )
        except StorageConflictError:
            raise RecordConflictError from None
        finally:
            self._forget(name)  # what is cached is old, or may be
        newest = self._newest.get(name)
        if newest is None or newest.revision <= revision:  # a reader may have seen another enclave's next one
            self._remember(name, _Newest(revision, _digest(stored)))
            self._keep(name, _Cached(value, revision, len(plaintext), self._monotonic()))
        return revision

    def _accept(
        self, name: tuple[str, str], raw: bytes, type_: type[T], newest: _Newest | None
    ) -> Versioned[T]:
        """Judge what storage gave."""
        digest = _digest(raw)
        cached = self._cached(name, type_)
        if cached is not None and newest == _Newest(cached.revision, digest):
            value, revision, size = cached.value, cached.revision, cached.size
        else:
            revision, plaintext = self._open(name, raw)
            if newest is not None and revision < newest.revision:
                raise _stale()
            if newest is not None and revision == newest.revision and digest != newest.digest:
                raise _forked()
            value, size = _decode(plaintext, type_), len(plaintext)
        self._remember(name, _Newest(revision, digest))
        self._keep(name, _Cached(value, revision, size, self._monotonic()))
        return Versioned(value, revision)

    def _open(self, name: tuple[str, str], raw: bytes) -> tuple[int, bytes]:
        try:
            stored = cbor.decode(raw, StoredRecord, limit=MAX_STORED_VALUE, culprit=Culprit.STORAGE)
            return stored.revision, self._sealing_key.open_bytes(
                stored.sealed, self._context(name, stored.revision)
            )
        except (ProtocolError, ThresholdError):
            raise _rejected("its seal does not verify under this name and revision") from None

    def _context(self, name: tuple[str, str], revision: int) -> bytes:
        return cbor.encode(
            RecordContext(
                version=1,
                environment=self.environment,
                key_arn=self._key_arn,
                kind=name[0],
                key=name[1],
                revision=revision,
            )
        )

    def _storage_key(self, name: tuple[str, str]) -> str:
        return f"environments/{self.environment}/{name[0]}/{name[1]}"

    def _remember(self, name: tuple[str, str], newest: _Newest) -> None:
        self._newest[name] = newest
        self._newest.move_to_end(name)
        if len(self._newest) > REMEMBERED:
            self._newest.popitem(last=False)

    def _cached(self, name: tuple[str, str], type_: type[T]) -> _Cached[T] | None:
        cached = self._cache.get(name)
        if cached is None or not isinstance(cached.value, type_):
            return None
        self._cache.move_to_end(name)
        return cached

    def _keep(self, name: tuple[str, str], cached: _Cached[T]) -> None:
        self._forget(name)
        self._cache[name] = cached
        self._cached_bytes += cached.size
        while self._cached_bytes > CACHED_BYTES:
            self._cached_bytes -= self._cache.popitem(last=False)[1].size

    def _forget(self, name: tuple[str, str]) -> None:
        cached = self._cache.pop(name, None)
        if cached is not None:
            self._cached_bytes -= cached.size


async def nothing_more() -> None:
    """What a change requires besides its own rules, where that is nothing."""


def _decode(plaintext: bytes, type_: type[T]) -> T:
    """What was sealed here decodes as what it was; anything else is a fault of this program, or of another version of it."""
    try:
        return cbor.decode(plaintext, type_, limit=MAX_VALUE, culprit=Culprit.ENCLAVE)
    except ProtocolError:
        raise _rejected("it holds something else than its kind says") from None


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:16]


def _rejected(why: str) -> CosignerError:
    return CosignerError(
        "sealed_record_rejected", f"A stored record was not accepted: {why}.", culprit=Culprit.STORAGE
    )


def _stale() -> CosignerError:
    return CosignerError(
        "epoch_stale",
        "The host's storage serves an older state of a record than it must have.",
        culprit=Culprit.STORAGE,
        reaction=Reaction.RETRY,
    )


def _forked() -> CosignerError:
    return CosignerError(
        "record_forked",
        "The host's storage serves another record in place of the one of the same revision.",
        culprit=Culprit.STORAGE,
    )
