"""The service's own storage for backups, over real sockets and both stores: who may keep what, races, and failures of the store."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.backups import Backups
from host.errors import HostError
from host.metrics import Metrics
from host.storage import EpochConflict, StorageError, Store, Stored
from host.storage.dynamodb import DynamoDbStore
from host.storage.sqlite import SqliteStore
from protocol.envelope.backups import slot_key
from protocol.envelope.limits import MAX_STORAGE_KEY, MAX_STORED_VALUE
from protocol.envelope.messages import StoragePut
from tests.host.fake_enclave import FakeEnclave
from tests.host.rig import OCTETS, Rig, running_host, short_folder
from tests.host.tables import Tables
from tests.support.aws import REGION

ENVIRONMENT = {"environment": "sandbox"}
CIPHERTEXT = b"ciphertext of a share"


@dataclass
class Place:
    """A running host, and its store as the enclave would reach it."""

    rig: Rig
    open_store: Callable[[], Store]

    def do(self, work: Callable[[Store], Any]) -> Any:
        async def run() -> Any:
            store = self.open_store()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def open_slot(self, environment: str = "sandbox") -> str:
        """What the enclave does when a user begins a backup."""
        locator = secrets.token_hex(32)
        key = slot_key(environment, locator)
        self.do(lambda store: store.put(key, expected=0, epoch=1, value=b"\x00"))
        return locator

    def stored(self, locator: str) -> Stored | None:
        found: Stored | None = self.do(lambda store: store.get(slot_key("sandbox", locator)))
        return found


@pytest.fixture(scope="module", params=["sqlite", "dynamodb"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with ExitStack() as stack:
        changes: dict[str, Any] = {}
        if request.param == "dynamodb":
            endpoint = request.getfixturevalue("endpoint")
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "testing")
            patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
            tables = Tables(endpoint)
            stack.callback(tables.client.close)
            table = tables.make()
            folder = stack.enter_context(short_folder())
            changes = {
                "storage": {"dynamodb": {"table": table, "region": REGION}},
                "audit_log": {"sink": "file", "path": f"{folder}/log"},
            }
        rig = stack.enter_context(running_host(FakeEnclave(), **changes))
        if request.param == "dynamodb":
            yield Place(rig, lambda: tables.store(table))
        else:
            yield Place(rig, lambda: SqliteStore(f"{rig.folder}/store.sqlite3"))


@pytest.fixture
def http(place: Place) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{place.rig.url}/v1/backups/", timeout=20, params=ENVIRONMENT) as client:
        yield client


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.text
    )
    problem = dict(response.json())
    assert problem["code"] == code
    return problem


def keep(http: httpx.Client, locator: str, body: bytes = CIPHERTEXT) -> httpx.Response:
    return http.put(locator, content=body, headers=OCTETS)


def keep_at(rig: Rig, locator: str) -> httpx.Response:
    with httpx.Client(base_url=f"{rig.url}/v1/backups/", params=ENVIRONMENT) as http:
        return keep(http, locator)


# --- what it is for --------------------------------------------------------------------------------------------------------


def test_a_backup_is_kept_replaced_and_forgotten_and_its_slot_stays_open(
    place: Place, http: httpx.Client
) -> None:
    locator = place.open_slot()
    assert_problem(http.get(locator), 404, "backup_unknown")
    kept = keep(http, locator)
    assert (kept.status_code, kept.content) == (204, b"")
    assert place.stored(locator) == Stored(2, CIPHERTEXT)
    fetched = http.get(locator)
    assert (fetched.status_code, fetched.content) == (200, CIPHERTEXT)
    assert fetched.headers["content-type"] == "application/octet-stream"
    assert fetched.headers["cache-control"] == "no-store"
    assert keep(http, locator, b"another").status_code == 204
    assert http.get(locator).content == b"another"
    assert http.delete(locator).status_code == 204
    assert place.stored(locator) == Stored(4, b"\x00")
    assert_problem(http.get(locator), 404, "backup_unknown")
    assert keep(http, locator).status_code == 204
    assert place.stored(locator) == Stored(5, CIPHERTEXT)


def test_what_is_sent_twice_is_written_once(place: Place, http: httpx.Client) -> None:
    locator = place.open_slot()
    for _ in range(3):
        assert keep(http, locator).status_code == 204
    assert place.stored(locator) == Stored(2, CIPHERTEXT)
    for _ in range(3):
        assert http.delete(locator).status_code == 204
    assert place.stored(locator) == Stored(3, b"\x00")


def test_the_largest_backup_passes_and_one_byte_more_does_not(place: Place, http: httpx.Client) -> None:
    locator = place.open_slot()
    largest = secrets.token_bytes(MAX_STORED_VALUE)
    assert keep(http, locator, largest).status_code == 204
    assert http.get(locator).content == largest
    assert_problem(keep(http, locator, largest + b"x"), 413, "body_too_large")
    assert http.get(locator).content == largest


def test_what_is_kept_is_there_after_the_host_starts_again(tmp_path: Path) -> None:
    path = f"{tmp_path}/store.sqlite3"
    with running_host(FakeEnclave(), storage={"sqlite": path}) as rig:
        locator = Place(rig, lambda: SqliteStore(path)).open_slot()
        assert keep_at(rig, locator).status_code == 204
    with running_host(FakeEnclave(), storage={"sqlite": path}) as rig:
        found = httpx.get(f"{rig.url}/v1/backups/{locator}", params=ENVIRONMENT)
        assert found.content == CIPHERTEXT


# --- who may not -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_locator_that_the_enclave_did_not_open_is_unknown(
    place: Place, http: httpx.Client, method: str
) -> None:
    locator = secrets.token_hex(32)
    response = http.request(method, locator, content=b"12" if method == "PUT" else None, headers=OCTETS)
    problem = assert_problem(response, 404, "backup_unknown")
    assert (problem["culprit"], problem["reaction"]) == ("client", "abort")
    assert place.stored(locator) is None


def test_a_slot_of_another_environment_is_another_slot(place: Place, http: httpx.Client) -> None:
    locator = place.open_slot("live")
    assert_problem(keep(http, locator), 404, "backup_unknown")
    assert http.put(locator, content=CIPHERTEXT, headers=OCTETS, params={"environment": "live"}).is_success


def test_the_store_does_not_hold_the_locator(place: Place, http: httpx.Client) -> None:
    locator = place.open_slot()
    keep(http, locator)
    keys = place.do(lambda store: store.keys("environments/sandbox/backups/", after="", count=1000))
    hashed = hashlib.sha256(bytes.fromhex(locator)).hexdigest()
    assert f"environments/sandbox/backups/{hashed}" in keys
    assert not any(locator in key for key in keys)
    for key in keys:  # whoever reads the store does not reach what is in it over HTTP
        assert_problem(http.get(key.rpartition("/")[2]), 404, "backup_unknown")


@pytest.mark.parametrize(
    "locator",
    [
        "0",
        "g" * 64,
        "A" * 64,
        "0" * 63,
        "0" * 65,
        "0" * 63 + "%0a",
        "%00" * 64,
        "٠" * 64,
        "..%2f..%2f" + "0" * 54,
    ],
)
def test_a_malformed_locator_is_refused(http: httpx.Client, locator: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        response = http.request(method, locator, content=b"12" if method == "PUT" else None, headers=OCTETS)
        assert (response.status_code, response.json()["code"]) in {
            (400, "locator_malformed"),
            (404, "route_unknown"),
        }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?environment=",
        "?environment=a&environment=a",
        "?environment=a/b",
        "?environment=..",
        "?environment=A",
    ]
    + ["?environment=-a", f"?environment={'a' * 64}", "?environment=a%0a", "?environment=a/backups/x"],
)
def test_a_malformed_environment_is_refused(place: Place, query: str) -> None:
    with httpx.Client(base_url=place.rig.url) as client:
        assert_problem(client.get(f"/v1/backups/{'0' * 64}{query}"), 400, "environment_malformed")


@pytest.mark.parametrize("body", [b"\x00", b"x"])
def test_what_could_be_an_empty_slot_is_no_backup(place: Place, http: httpx.Client, body: bytes) -> None:
    locator = place.open_slot()
    keep(http, locator)
    assert_problem(keep(http, locator, body), 400, "backup_malformed")
    assert_problem(keep(http, locator, b""), 400, "body_empty")
    assert http.get(locator).content == CIPHERTEXT


def test_another_content_type_is_refused(place: Place, http: httpx.Client) -> None:
    locator = place.open_slot()
    for kind in ("", "text/plain", "multipart/form-data; boundary=x"):
        response = http.put(locator, content=CIPHERTEXT, headers={"content-type": kind})
        assert_problem(response, 415, "content_type_unsupported")


def test_other_methods_are_not_answered(place: Place, http: httpx.Client) -> None:
    locator = place.open_slot()
    for method in ("POST", "PATCH"):
        response = http.request(method, locator, content=CIPHERTEXT, headers=OCTETS)
        assert_problem(response, 405, "method_not_allowed")
        assert set(response.headers["allow"].replace(" ", "").split(",")) >= {"GET", "PUT", "DELETE"}


def test_neither_locators_nor_backups_are_logged_or_counted_by_name(place: Place, http: httpx.Client) -> None:
    locator = place.open_slot()
    keep(http, locator, b"a-very-recognizable-backup")
    http.get(locator)
    http.delete(locator)
    metrics = httpx.get(f"{place.rig.url}/metrics").text
    for text in (place.rig.log.getvalue(), metrics):
        assert locator not in text
        assert locator[:16] not in text
        assert "recognizable" not in text
    assert any(line["route"] == "/v1/backups/{locator}" for line in place.rig.events("request"))
    for operation, outcome in (("put", "kept"), ("get", "found"), ("delete", "emptied")):
        assert f'cosigner_host_backups_total{{operation="{operation}",outcome="{outcome}"}}' in metrics


def test_an_address_that_asks_too_fast_is_limited() -> None:
    with running_host(FakeEnclave(), limits={"requests_per_second": 0.001, "burst": 2}) as rig:
        with httpx.Client(base_url=f"{rig.url}/v1/backups/", params=ENVIRONMENT) as http:
            statuses = [http.get(secrets.token_hex(32)).status_code for _ in range(4)]
            assert statuses == [404, 404, 429, 429]


# --- races and failures ----------------------------------------------------------------------------------------------------


def test_of_many_writers_at_once_each_is_told_the_truth(place: Place, http: httpx.Client) -> None:
    """Whoever is told 204 has had its bytes stored; the last of them are there; the others are told of the conflict."""
    locator = place.open_slot()
    bodies = [f"backup of device {number}".encode() for number in range(16)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: keep(http, locator, body), bodies))
    kept = [body for body, answer in zip(bodies, answers, strict=True) if answer.status_code == 204]
    for answer in answers:
        if answer.status_code != 204:
            problem = assert_problem(answer, 409, "backup_conflict")
            assert problem["reaction"] == "retry"
    stored = place.stored(locator)
    assert stored is not None
    assert kept
    assert stored.value in kept
    assert stored.epoch == 1 + len(kept)


@dataclass
class Slow(Store):
    """A store in which something happens between a look and a write.

    :ivar between: what; it may change the record, or raise.
    """

    records: dict[str, Stored] = field(default_factory=dict)
    between: Callable[[Slow], None] = lambda _: None

    async def get(self, key: str) -> Stored | None:
        return self.records.get(key)

    async def put(self, key: str, *, expected: int, epoch: int, value: bytes) -> None:
        StoragePut(key=key, expected=expected, epoch=epoch, value=value)
        self.between(self)
        current = self.records[key].epoch if key in self.records else 0
        if current != expected:
            raise EpochConflict(current)
        self.records[key] = Stored(epoch, value)

    async def delete(self, key: str, *, expected: int) -> None:
        raise NotImplementedError

    async def keys(self, prefix: str, *, after: str, count: int) -> list[str]:
        raise NotImplementedError

    async def close(self) -> None:
        return


LOCATOR = "ab" * 32
KEY = slot_key("sandbox", LOCATOR)


def outcome(store: Slow, epoch: int = 1) -> tuple[str, Metrics]:
    store.records[KEY] = Stored(epoch, b"\x00")
    metrics = Metrics()
    try:
        asyncio.run(Backups(store, metrics=metrics).keep("sandbox", LOCATOR, CIPHERTEXT))
    except (HostError, StorageError) as error:
        return error.code, metrics
    return "kept", metrics


def counted(metrics: Metrics) -> list[str]:
    """The outcomes of PUTs that were counted."""
    return re.findall(r'backups_total\{operation="put",outcome="([a-z_]+)"\}', metrics.exposition().decode())


def test_a_write_that_another_overtook_is_a_conflict_and_changes_nothing() -> None:
    def other(store: Slow) -> None:
        store.records[KEY] = Stored(2, b"the other's")

    store = Slow(between=other)
    code, metrics = outcome(store)
    assert [code] == ["backup_conflict"] == counted(metrics)
    assert store.records[KEY] == Stored(2, b"the other's")


def test_a_slot_that_the_enclave_closed_in_between_is_not_opened_again() -> None:
    def close(store: Slow) -> None:
        store.records.clear()

    store = Slow(between=close)
    assert outcome(store)[0] == "backup_unknown"
    assert not store.records


def test_a_failing_store_is_reported_as_one_and_the_same_request_may_follow() -> None:
    def fail(store: Slow) -> None:
        store.between = lambda _: None
        store.records[KEY] = Stored(2, CIPHERTEXT)  # carried out, and the answer lost
        raise StorageError("SQLITE_FULL")

    store = Slow(between=fail)
    code, metrics = outcome(store)
    assert [code] == ["storage_unavailable"] == counted(metrics)
    asyncio.run(Backups(store, metrics=metrics).keep("sandbox", LOCATOR, CIPHERTEXT))
    assert store.records[KEY] == Stored(2, CIPHERTEXT)


def test_a_store_that_fails_is_503_over_http(
    place: Place, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    locator = place.open_slot()

    async def fail(*_: object, **__: object) -> None:
        raise StorageError("SQLITE_FULL")

    for store_class in (SqliteStore, DynamoDbStore):
        monkeypatch.setattr(store_class, "put", fail)
    refused = keep(http, locator)
    problem = assert_problem(refused, 503, "storage_unavailable")
    assert (problem["culprit"], problem["reaction"]) == ("storage", "retry")
    assert refused.headers["retry-after"] == "2"
    monkeypatch.undo()
    assert keep(http, locator).status_code == 204


def test_epochs_do_not_run_over() -> None:
    store = Slow()
    assert outcome(store, epoch=(1 << 32) - 2)[0] == "kept"
    assert store.records[KEY].epoch == (1 << 32) - 1
    assert outcome(store, epoch=(1 << 32) - 1)[0] == "backup_exhausted"


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.binary(min_size=2, max_size=8)),
            st.tuples(st.sampled_from(["get", "delete"]), st.just(b"")),
        ),
        max_size=12,
    )
)
def test_a_slot_behaves_as_a_variable(steps: list[tuple[str, bytes]]) -> None:
    async def run() -> None:
        store = Slow({KEY: Stored(1, b"\x00")})
        backups = Backups(store, metrics=Metrics())
        model: bytes | None = None
        for step, body in steps:
            before = store.records[KEY].epoch
            if step == "put":
                await backups.keep("sandbox", LOCATOR, body)
                model = body
            elif step == "delete":
                await backups.empty("sandbox", LOCATOR)
                model = None
            elif model is None:
                with pytest.raises(HostError) as caught:
                    await backups.fetch("sandbox", LOCATOR)
                assert caught.value.code == "backup_unknown"
            else:
                assert await backups.fetch("sandbox", LOCATOR) == model
            assert store.records[KEY].value == (model or b"\x00")
            assert store.records[KEY].epoch in {before, before + 1}

    asyncio.run(run())


# --- the key ---------------------------------------------------------------------------------------------------------------


@given(st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,62}\Z"), st.binary(min_size=32, max_size=32))
def test_every_slots_key_is_a_storage_key(environment: str, locator: bytes) -> None:
    key = slot_key(environment, locator.hex())
    msgspec.convert({"kind": "put", "key": key, "expected": 0, "epoch": 1, "value": b"\x00"}, StoragePut)
    assert len(key) <= MAX_STORAGE_KEY


def test_the_slots_key_is_the_specified_one() -> None:
    known = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"  # SHA-256 of 32 zero bytes
    assert slot_key("sandbox", "00" * 32) == f"environments/sandbox/backups/{known}"
    for environment, locator in (("..", "00" * 32), ("sandbox", "00" * 31), ("sandbox", "AA" * 32)):
        with pytest.raises(ValueError):
            slot_key(environment, locator)
