"""A value and its event are written together or not at all, in either store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from host.errors import HostError
from host.storage import EpochConflict, StorageError, Stored
from host.webhooks.events import read
from tests.host.webhooks import stores
from tests.host.webhooks.arrivals import NOW, arrival, outbox_event, subscription


class Kept:
    """What a store holds of events, read behind its back."""

    def __init__(self, place: stores.Place, events: Any) -> None:
        self.place = place
        self.events = events


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with stores.moto() as url:
        yield url


@pytest.fixture(params=["sqlite", "dynamodb"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "sqlite":

        def rows() -> set[str]:
            connection = sqlite3.connect(tmp_path / "store")
            try:
                return {event for (event,) in connection.execute("SELECT event_id FROM event")}
            finally:
                connection.close()

        return Kept(stores.sqlite(tmp_path), rows)
    endpoint, table = request.getfixturevalue("endpoint"), f"t-{tmp_path.name[-40:]}"

    def items() -> set[str]:
        client = boto3.client("dynamodb", region_name=stores.REGION, endpoint_url=endpoint)
        found = client.scan(TableName=table)["Items"]
        client.close()
        return {key[6:] for item in found if (key := item["key"]["S"]).startswith("event/")}

    return Kept(stores.dynamodb(endpoint, table), items)


def test_a_write_that_is_refused_tells_nobody(kept: Kept) -> None:
    first, second = arrival(), arrival()

    async def body(store: Any) -> None:
        await store.put("k", expected=0, epoch=1, value=b"v", arrival=first)
        for expected in (0, 2):
            with pytest.raises(EpochConflict) as caught:
                await store.put("k", expected=expected, epoch=3, value=b"w", arrival=second)
            assert caught.value.current == 1
        assert await store.get("k") == Stored(1, b"v")

    kept.place.run(body)
    assert kept.events() == {first.event.event_id}


def test_an_event_that_is_known_is_kept_once_and_its_write_is_carried_out(kept: Kept) -> None:
    first = arrival()

    async def body(store: Any) -> None:
        await store.put("k", expected=0, epoch=1, value=b"v", arrival=first)
        await store.put("k", expected=1, epoch=2, value=b"w", arrival=first)
        assert await store.get("k") == Stored(2, b"w")
        with pytest.raises(EpochConflict):
            await store.put("k", expected=1, epoch=2, value=b"x", arrival=first)

    kept.place.run(body)
    assert kept.events() == {first.event.event_id}


def test_what_the_enclave_keeps_is_listed_without_events(kept: Kept) -> None:
    async def body(store: Any) -> None:
        await store.put("k", expected=0, epoch=1, value=b"v", arrival=arrival())
        await store.put("s", expected=0, epoch=1, value=b"v", arrival=read(subscription(), now=NOW))
        assert await store.keys("", after="", count=10) == ["k", "s"]

    kept.place.run(body)


def test_a_transaction_that_fails_leaves_neither(tmp_path: Path) -> None:
    async def body(store: Any) -> None:
        with pytest.raises(StorageError):
            await store.put(
                "k", expected=0, epoch=0, value=b"w", arrival=arrival()
            )  # breaks the table's own check
        assert await store.get("k") is None

    stores.sqlite(tmp_path).run(body)
    connection = sqlite3.connect(tmp_path / "store")
    assert connection.execute("SELECT count(*) FROM event").fetchone() == (0,)
    connection.close()


def test_a_file_of_the_release_before_gets_the_tables_and_still_opens_there(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "store")
    old.executescript(
        "CREATE TABLE record (key TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL CHECK (epoch >= 1),"
        " value BLOB NOT NULL CHECK (length(value) >= 1)) STRICT;"
        "INSERT INTO record VALUES ('k', 4, x'01'); PRAGMA application_id = 0x434F5349; PRAGMA user_version = 1;"
    )
    old.close()

    async def body(store: Any) -> None:
        assert await store.get("k") == Stored(4, b"\x01")
        await store.put("k", expected=4, epoch=5, value=b"v", arrival=arrival())

    stores.sqlite(tmp_path).run(body)
    again = sqlite3.connect(tmp_path / "store")
    assert again.execute("PRAGMA user_version").fetchone() == (1,)  # what the release before asks for
    again.close()


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        b'"x"',
        b"{}\xff",
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":9007199254740992}',
        b'{"10":1}',
    ]
    + [b'{"a":1,"a":1}', b'{"a":"\\ud800"}', b"{" + b'"a":{' * 40 + b"}" * 41],
)
def test_data_that_no_receiver_could_hash_is_refused(data: bytes) -> None:
    with pytest.raises(HostError) as caught:
        read(outbox_event(data=data), now=NOW)
    assert caught.value.code == "event_malformed"


def test_a_subscription_must_be_whole_and_its_secret_is_not_shown() -> None:
    good = subscription()
    assert read(good, now=NOW).message_id is None
    assert "MfKQ9r8GKYqr" not in repr(read(good, now=NOW))
    for data in (
        {},
        {"url": good.endpoint, "secret": "whsec_short", "events": [], "enabled": True},
        {"url": good.endpoint, "secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "events": [], "enabled": True},
        {
            "url": "https://elsewhere.example/",
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8I",
            "events": [],
            "enabled": True,
        },
        {"url": good.endpoint, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8I", "events": [], "enabled": 1},
    ):
        with pytest.raises(HostError) as caught:
            read(outbox_event("subscription", data, endpoint=good.endpoint), now=NOW)
        assert caught.value.code == "event_malformed"
        assert "whsec" not in caught.value.message
