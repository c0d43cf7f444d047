"""The store in a DynamoDB table, for hosts that may be lost: every write is a conditional one, every read a consistent one.

An item is ``shard`` (text, partition key), ``key`` (text, sort key), ``epoch`` (number), ``value`` (binary). The shard is one of 16, by a
hash of the key: one partition would bound all writes at 1,000 a second, and a listing, which nothing on the way of a signature needs, asks
all 16. The shards are part of the table's format.

botocore repeats reads by itself. It must not repeat writes: a write that was carried out and whose answer was lost would come back as a
conflict with itself. Writes are repeated here, when DynamoDB says that it did not carry them out, and else reported as failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from host import aws
from host.errors import HostError
from host.webhooks import dynamodb_items
from host.webhooks.dynamodb_outbox import DynamoDbOutbox
from host.webhooks.events import Arrival
from protocol.envelope.errors import Culprit

from . import EpochConflict, StorageError, Store, Stored

T = TypeVar("T")

SHARDS: Final = tuple("0123456789abcdef")
KEY_SCHEMA: Final = {"shard": "HASH", "key": "RANGE"}
_THREADS: Final = 32
_TIMEOUT: Final = 3.0  # seconds; the enclave gives up after 10
_READ_ATTEMPTS: Final = 3
_WRITE_ATTEMPTS: Final = 4
_BACKOFF: Final = 0.05  # seconds, doubling
_BELOW_ALL_KEYS: Final = " "
_ABOVE_ALL_KEYS: Final = "\x7f"

# DynamoDB Developer Guide, "Error messages and codes": these were refused before anything was written.
_NOT_CARRIED_OUT: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
    }
)


_CONDITION_FAILED: Final = "ConditionalCheckFailed"
_CANCELLED_FOR_NOW: Final = frozenset(
    {"None", "TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"}
)


class DynamoDbStore(Store):
    """A store in one table, for one event loop. Any number of hosts may use the same table.

    :param endpoint: another server than AWS's, for tests.
    :raises HostError: ``storage_unusable``: the table cannot be reached or has another key.
    """

    def __init__(self, table: str, *, region: str, endpoint: str | None = None) -> None:
        self._table = table
        self._closed = False
        self.outbox = DynamoDbOutbox(self)
        self._locks: dict[str, _KeyLock] = {}
        try:
            make = functools.partial(
                aws.client, "dynamodb", region, endpoint, threads=_THREADS, timeout=_TIMEOUT
            )
            self._reader = make(attempts=_READ_ATTEMPTS)
            self._writer = make(attempts=1)
            schema = self._reader.describe_table(TableName=table)["Table"]["KeySchema"]
        except (ClientError, BotoCoreError, ValueError) as error:
            raise _unusable(table, aws.reason(error)) from None
        found = {part["AttributeName"]: part["KeyType"] for part in schema}
        if found != KEY_SCHEMA:
            raise _unusable(table, "its key is another than shard (partition) and key (sort)")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dynamodb")

    async def get(self, key: str) -> Stored | None:
        answer = await self.run(
            lambda: self._reader.get_item(TableName=self._table, Key=_place(key), ConsistentRead=True)
        )
        item = answer.get("Item")
        return None if item is None else _stored(item)

    async def put(
        self, key: str, *, expected: int, epoch: int, value: bytes, arrival: Arrival | None = None
    ) -> None:
        item = {**_place(key), "epoch": {"N": str(epoch)}, "value": {"B": value}}
        async with self._in_order(key):
            if arrival is not None and await self.run(lambda: self._write_both(item, expected, arrival)):
                self.outbox.arrived(arrival)
                return
            await self.run(lambda: self._write(self._writer.put_item, expected, Item=item))

    async def delete(self, key: str, *, expected: int) -> None:
        async with self._in_order(key):
            await self.run(lambda: self._write(self._writer.delete_item, expected, Key=_place(key)))

    async def keys(self, prefix: str, *, after: str, count: int) -> list[str]:
        # Keys are ASCII, none ends in "/", and "0" follows "/": the keys below "a/" are those between "a/" and "a0".
        low = max(after, prefix) or _BELOW_ALL_KEYS
        high = prefix[:-1] + "0" if prefix else _ABOVE_ALL_KEYS
        if low >= high:
            return []
        found = await asyncio.gather(
            *(self.run(functools.partial(self._between, shard, low, high, count)) for shard in SHARDS)
        )
        return sorted(key for keys in found for key in keys)[:count]

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        self._reader.close()
        self._writer.close()

    @contextlib.asynccontextmanager
    async def _in_order(self, key: str) -> AsyncIterator[None]:
        """Writes to one key happen in the order in which they were asked for."""
        lock = self._locks.setdefault(key, _KeyLock())
        lock.users += 1
        try:
            async with lock.lock:
                yield
        finally:
            lock.users -= 1
            if not lock.users:
                del self._locks[key]

    async def run(self, call: Callable[[], T]) -> T:
        """Run what blocks on a thread of the store.

        :raises StorageError: it failed.
        """
        if self._closed:
            raise StorageError("it is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (ClientError, BotoCoreError) as error:
            raise StorageError(aws.reason(error)) from None

    def _write(self, operation: Callable[..., Any], expected: int, **arguments: object) -> None:
        """One conditional write; repeated only when it certainly was not carried out.

        :raises EpochConflict: the key's epoch is another.
        """
        condition = _condition(expected)
        for attempt in range(1, _WRITE_ATTEMPTS + 1):
            try:
                operation(
                    TableName=self._table,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **condition,
                    **arguments,
                )
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code == "ConditionalCheckFailedException":
                    item = error.response.get("Item")
                    raise EpochConflict(_stored(item).epoch if item else 0) from None
                if code not in _NOT_CARRIED_OUT or attempt == _WRITE_ATTEMPTS:
                    raise
                time.sleep(_BACKOFF * 2**attempt)
            else:
                return

    def _write_both(self, item: Mapping[str, object], expected: int, arrival: Arrival) -> bool:
        """One conditional write and an event, in one transaction; ``False`` if the event is known already, and nothing was written.

        :raises EpochConflict: the key's epoch is another.
        """
        record = {"Item": item, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **_condition(expected)}
        reasons = self.transact([{"Put": put} for put in (record, *dynamodb_items.puts(arrival))])
        if reasons and reasons[0].get("Code") == _CONDITION_FAILED:
            found = reasons[0].get("Item")
            raise EpochConflict(_stored(found).epoch if found else 0)
        return not reasons

    def transact(self, actions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Carry out ``Put`` and ``Delete`` actions, given without table names, together; repeated only when they certainly were not.

        Blocks. Returns nothing, or if conditions failed and nothing was changed, the reason for each action.

        :raises ClientError: it failed otherwise.
        """
        named = [
            {kind: {"TableName": self._table, **content} for kind, content in action.items()}
            for action in actions
        ]
        for attempt in range(1, _WRITE_ATTEMPTS + 1):
            try:
                self._writer.transact_write_items(TransactItems=named)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                reasons: list[Mapping[str, Any]] = error.response.get("CancellationReasons", [])
                codes = {reason.get("Code") for reason in reasons}
                if _CONDITION_FAILED in codes:
                    return reasons
                cancelled = code == "TransactionCanceledException" and codes <= _CANCELLED_FOR_NOW
                if not (cancelled or code in _NOT_CARRIED_OUT) or attempt == _WRITE_ATTEMPTS:
                    raise
                time.sleep(_BACKOFF * 2**attempt)
            else:
                break
        return []

    def query(self, shard: str, low: str, high: str, *, count: int, newest: bool = False) -> list[Any]:
        """At most ``count`` items of a partition from ``low`` to ``high``, both included. Blocks."""
        items: list[Any] = []
        start: dict[str, object] = {}
        while len(items) < count:
            page = self._reader.query(
                TableName=self._table,
                ConsistentRead=True,
                KeyConditionExpression="shard = :shard AND #k BETWEEN :low AND :high",
                ExpressionAttributeNames={"#k": "key"},
                ExpressionAttributeValues={":shard": {"S": shard}, ":low": {"S": low}, ":high": {"S": high}},
                ScanIndexForward=not newest,
                Limit=count - len(items),
                **start,
            )
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        return items

    def item(self, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """One item. Blocks."""
        found: Mapping[str, Any] | None = self._reader.get_item(
            TableName=self._table, Key=key, ConsistentRead=True
        ).get("Item")
        return found

    def _between(self, shard: str, low: str, high: str, count: int) -> list[str]:
        """At most ``count`` keys of a shard, the lowest ones, both bounds excluded."""
        keys: list[str] = []
        start: dict[str, object] = {}
        while len(keys) < count:
            page = self._reader.query(
                TableName=self._table,
                ConsistentRead=True,
                KeyConditionExpression="shard = :shard AND #k BETWEEN :low AND :high",
                ExpressionAttributeNames={"#k": "key"},
                ExpressionAttributeValues={":shard": {"S": shard}, ":low": {"S": low}, ":high": {"S": high}},
                ProjectionExpression="#k",
                Limit=count + 1,  # the lower bound may be a key, and is not wanted
                **start,
            )
            keys += [key for item in page["Items"] if low < (key := item["key"]["S"]) < high]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        return keys[:count]


class _KeyLock:
    """A lock, first come first served, and how many hold or await it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


def shard_of(key: str) -> str:
    """The shard of a key: the first hexadecimal digit of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[0]


def _condition(expected: int) -> dict[str, object]:
    if not expected:
        return {"ConditionExpression": "attribute_not_exists(#k)", "ExpressionAttributeNames": {"#k": "key"}}
    return {
        "ConditionExpression": "#e = :expected",
        "ExpressionAttributeNames": {"#e": "epoch"},
        "ExpressionAttributeValues": {":expected": {"N": str(expected)}},
    }


def _place(key: str) -> dict[str, dict[str, str]]:
    return {"shard": {"S": shard_of(key)}, "key": {"S": key}}


def _stored(item: Mapping[str, Mapping[str, Any]]) -> Stored:
    try:
        epoch, value = int(item["epoch"]["N"]), bytes(item["value"]["B"])
    except (KeyError, TypeError, ValueError):
        epoch, value = 0, b""
    if epoch < 1 or not value:
        raise StorageError("an item of the table is no record; somebody else wrote it")
    return Stored(epoch, value)


def _unusable(table: str, reason: str) -> HostError:
    return HostError(
        "storage_unusable",
        f"Cannot use the DynamoDB table {table!r} as storage: {reason}. Check storage.dynamodb and the instance's role.",
        culprit=Culprit.STORAGE,
    )
