"""The DynamoDB store against its contract, over HTTP with moto's server: conditional, ordered, and one winner of a race."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from host import config as configuration
from host.config import StorageSection
from host.errors import HostError
from host.storage import EpochConflict, StorageError, Store, Stored, choice
from host.storage import dynamodb as module
from host.storage.dynamodb import SHARDS, DynamoDbStore, shard_of
from tests.host.store_model import StoreModel
from tests.host.tables import KEY, TEXT, Tables
from tests.support.aws import REGION

pytestmark = pytest.mark.usefixtures("credentials")


def with_store(store: DynamoDbStore, body: Callable[[DynamoDbStore], Any]) -> None:
    async def run() -> None:
        try:
            await body(store)
        finally:
            await store.close()
            await store.close()  # once more: nothing happens

    asyncio.run(run())


def test_a_value_comes_back_with_its_epoch(tables: Tables) -> None:
    async def body(store: Store) -> None:
        assert await store.get("a/b") is None
        await store.put("a/b", expected=0, epoch=1, value=b"one")
        assert await store.get("a/b") == Stored(1, b"one")
        await store.put("a/b", expected=1, epoch=(1 << 32) - 1, value=bytes(range(256)) * 256)
        assert await store.get("a/b") == Stored((1 << 32) - 1, bytes(range(256)) * 256)

    with_store(tables.store(), body)


def test_a_wrong_epoch_changes_nothing_and_says_the_right_one(tables: Tables) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(EpochConflict) as caught:
            await store.put("k", expected=1, epoch=2, value=b"x")
        assert caught.value.current == 0
        await store.put("k", expected=0, epoch=5, value=b"x")
        for attempt in (0, 4, 6):
            with pytest.raises(EpochConflict) as caught:
                await store.put("k", expected=attempt, epoch=9, value=b"y")
            assert caught.value.current == 5
        with pytest.raises(EpochConflict) as caught:
            await store.put("k", expected=0, epoch=5, value=b"x")  # the very same bytes are no excuse
        assert caught.value.current == 5
        with pytest.raises(EpochConflict) as caught:
            await store.delete("k", expected=4)
        assert caught.value.current == 5
        assert await store.get("k") == Stored(5, b"x")
        await store.delete("k", expected=5)
        assert await store.get("k") is None
        with pytest.raises(EpochConflict) as caught:
            await store.delete("k", expected=5)
        assert caught.value.current == 0

    with_store(tables.store(), body)


def test_a_listing_is_sorted_paged_and_keeps_to_its_prefix(tables: Tables) -> None:
    keys = ["a", "a-b/c", "a/0", "a/b", "a/b/c", "a0", "b/a"] + [f"w/{number:04d}" for number in range(100)]
    assert {shard_of(key) for key in keys} == set(SHARDS)

    async def body(store: Store) -> None:
        await asyncio.gather(*(store.put(key, expected=0, epoch=1, value=b"v") for key in keys))
        assert await store.keys("a/", after="", count=1000) == ["a/0", "a/b", "a/b/c"]
        assert await store.keys("", after="", count=1000) == sorted(keys)
        assert await store.keys("a/b/", after="", count=1000) == ["a/b/c"]
        assert await store.keys("nothing/", after="", count=1000) == []
        assert await store.keys("a/", after="b", count=10) == []
        assert await store.keys("w/", after="a", count=1) == ["w/0000"]
        assert await store.keys("w/", after="w/0099", count=1) == []
        found: list[str] = []
        while page := await store.keys("w/", after=found[-1] if found else "", count=30):
            assert len(page) <= 30
            found += page
        assert found == [key for key in keys if key.startswith("w/")]

    with_store(tables.store(), body)


def test_a_listing_follows_pages_that_dynamodb_cuts_at_a_megabyte(tables: Tables) -> None:
    twins = [key for key in (f"w/{number}" for number in range(1000)) if shard_of(key) == "0"][:40]

    async def body(store: Store) -> None:
        await asyncio.gather(*(store.put(key, expected=0, epoch=1, value=bytes(65536)) for key in twins))
        assert await store.keys("w/", after="", count=1000) == sorted(twins)

    with_store(tables.store(), body)


def test_of_many_hosts_exactly_one_wins_each_epoch(tables: Tables) -> None:
    name, rounds, threads = tables.make(), 4, 6
    wins: list[tuple[int, int]] = []
    barrier = threading.Barrier(threads)

    def compete(number: int) -> None:
        async def body(store: DynamoDbStore) -> None:
            for epoch in range(rounds):
                barrier.wait(30)
                with contextlib.suppress(EpochConflict):
                    await store.put("k", expected=epoch, epoch=epoch + 1, value=b"%d" % (number + 1))
                    wins.append((epoch, number))
                barrier.wait(30)

        with_store(tables.store(name), body)  # a store of its own, as another host would have

    workers = [threading.Thread(target=compete, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [epoch for epoch, _ in sorted(wins)] == list(range(rounds))


def test_writes_to_one_key_are_carried_out_in_the_order_in_which_they_came(tables: Tables) -> None:
    async def body(store: DynamoDbStore) -> None:
        await asyncio.gather(
            *(store.put("k", expected=number, epoch=number + 1, value=b"v") for number in range(40))
        )
        assert await store.get("k") == Stored(40, b"v")
        assert store._locks == {}

    with_store(tables.store(), body)


def test_where_a_key_lies_is_part_of_the_format(tables: Tables) -> None:
    assert len(SHARDS) == 16
    for key in ("k", "environments/sandbox/data-key"):
        assert shard_of(key) == f"{hashlib.sha256(key.encode()).digest()[0] >> 4:x}"
    name = tables.make()

    async def body(store: Store) -> None:
        await store.put("environments/sandbox/data-key", expected=0, epoch=1, value=b"v")

    with_store(tables.store(name), body)
    assert tables.client.scan(TableName=name)["Items"] == [
        {
            "shard": {"S": shard_of("environments/sandbox/data-key")},
            "key": {"S": "environments/sandbox/data-key"},
            "epoch": {"N": "1"},
            "value": {"B": b"v"},
        }
    ]


# --- failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [{"epoch": {"N": "0"}, "value": {"B": b"v"}}, {"epoch": {"N": "1.5"}, "value": {"B": b"v"}}]
    + [{"epoch": {"S": "1"}, "value": {"B": b"v"}}, {"epoch": {"N": "1"}, "value": {"S": "v"}}]
    + [{"epoch": {"N": "1"}}, {"value": {"B": b"v"}}, {"epoch": {"N": "1"}, "value": {"B": b""}}],
)
def test_an_item_that_somebody_else_wrote_is_no_record(tables: Tables, item: dict[str, Any]) -> None:
    name = tables.make()
    tables.client.put_item(TableName=name, Item={"shard": {"S": shard_of("k")}, "key": {"S": "k"}, **item})

    async def body(store: Store) -> None:
        with pytest.raises(StorageError):
            await store.get("k")
        with pytest.raises(StorageError):
            await store.put("k", expected=0, epoch=1, value=b"mine")

    with_store(tables.store(name), body)


def test_a_table_that_is_missing_or_another_is_refused(tables: Tables, endpoint: str) -> None:
    other = tables.make(KEY[:1], TEXT[:1])
    swapped = tables.make(
        [{"AttributeName": "key", "KeyType": "HASH"}, {"AttributeName": "shard", "KeyType": "RANGE"}]
    )
    for name, reason in (("missing", "ResourceNotFoundException"), (other, "its key"), (swapped, "its key")):
        with pytest.raises(HostError) as caught:
            tables.store(name)
        assert caught.value.code == "storage_unusable"
        assert reason in caught.value.message


def test_without_a_server_the_host_does_not_start() -> None:
    with pytest.raises(HostError) as caught:
        DynamoDbStore("records", region=REGION, endpoint="http://127.0.0.1:1")
    assert caught.value.code == "storage_unusable"


def test_a_store_that_is_closed_or_whose_table_is_gone_says_so(tables: Tables) -> None:
    name = tables.make()

    async def body(store: DynamoDbStore) -> None:
        tables.client.delete_table(TableName=name)
        with pytest.raises(StorageError) as caught:
            await store.get("k")
        assert "ResourceNotFoundException" in caught.value.message
        assert caught.value.reaction == "retry"
        await store.close()
        for work in (
            store.get("k"),
            store.put("k", expected=0, epoch=1, value=b"v"),
            store.delete("k", expected=1),
        ):
            with pytest.raises(StorageError):
                await work

    with_store(tables.store(name), body)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "names account and role"}}, "PutItem")


def bent(
    store: DynamoDbStore, monkeypatch: pytest.MonkeyPatch, *, before: list[Exception], after: list[Exception]
) -> list[str]:
    """Let the writer's calls fail before, or after, they were carried out; the calls that were made."""
    calls: list[str] = []
    real = store._writer.put_item

    def put_item(**arguments: Any) -> Any:
        calls.append(arguments["Item"]["key"]["S"])
        if before:
            raise before.pop(0)
        answer = real(**arguments)
        if after:
            raise after.pop(0)
        return answer

    monkeypatch.setattr(store._writer, "put_item", put_item)
    monkeypatch.setattr(module, "_BACKOFF", 0.0)
    return calls


def test_a_write_whose_answer_was_lost_is_not_repeated_and_its_outcome_called_unknown(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: DynamoDbStore) -> None:
        lost = [ReadTimeoutError(endpoint_url="x"), refusal("InternalServerError")]
        calls = bent(store, monkeypatch, before=[], after=lost)
        with pytest.raises(StorageError) as caught:
            await store.put("k", expected=0, epoch=1, value=b"v")
        assert "ReadTimeoutError" in caught.value.message
        assert calls == ["k"]
        assert await store.get("k") == Stored(1, b"v")
        with pytest.raises(StorageError) as caught:
            await store.put("l", expected=0, epoch=1, value=b"v")
        assert "account" not in caught.value.message
        assert calls == ["k", "l"]

    with_store(tables.store(), body)


def test_botocore_itself_repeats_reads_but_never_writes(tables: Tables) -> None:
    store = tables.store()
    assert store._writer.meta.config.retries["total_max_attempts"] == 1
    assert store._reader.meta.config.retries["total_max_attempts"] == 3
    with_store(store, lambda store: store.get("k"))


def test_a_write_that_certainly_was_not_carried_out_is_tried_again(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: DynamoDbStore) -> None:
        busy = [refusal("ThrottlingException"), refusal("ProvisionedThroughputExceededException")]
        calls = bent(store, monkeypatch, before=busy, after=[])
        await store.put("k", expected=0, epoch=1, value=b"v")
        assert calls == ["k"] * 3
        calls = bent(store, monkeypatch, before=[refusal("ThrottlingException")] * 9, after=[])
        with pytest.raises(StorageError):
            await store.put("l", expected=0, epoch=1, value=b"v")
        assert calls == ["l"] * 4

    with_store(tables.store(), body)


@pytest.mark.parametrize(
    "failure", [refusal("AccessDeniedException"), ConnectTimeoutError(endpoint_url="x"), refusal("")]
)
def test_any_other_refusal_fails_the_write_at_once(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    async def body(store: DynamoDbStore) -> None:
        calls = bent(store, monkeypatch, before=[failure], after=[])
        with pytest.raises(StorageError):
            await store.put("k", expected=0, epoch=1, value=b"v")
        assert calls == ["k"]

    with_store(tables.store(), body)


def test_the_configuration_chooses_the_table(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", tables.endpoint)
    name = tables.make()
    section = StorageSection(dynamodb=configuration.DynamoDbSection(table=name, region=REGION))
    store = choice.open_store(section)
    assert isinstance(store, DynamoDbStore)

    async def body(store: Store) -> None:
        await store.put("k", expected=0, epoch=1, value=b"v")

    with_store(store, body)
    assert tables.client.scan(TableName=name)["Count"] == 1


# --- the store beside a dict, through any order of operations ------------------------------------------------


class TableModel(StoreModel):
    endpoint = ""

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables(self.endpoint)
        self.name = self.tables.make()
        self.store = self.tables.store(self.name)

    def teardown(self) -> None:
        self.same_keys()
        self.do(self.store.close())
        self.runner.close()
        self.tables.client.delete_table(TableName=self.name)
        self.tables.client.close()


def test_any_order_of_operations_does_what_a_dict_does(endpoint: str) -> None:
    run_state_machine_as_test(
        type("Model", (TableModel,), {"endpoint": endpoint}),
        settings=settings(
            max_examples=6,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
