"""Locations with what is behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from cosigner.backups.locations.file import FileLocation
from cosigner.backups.locations.s3 import S3Location
from cosigner.backups.locations.service import ServiceLocation
from host.storage.sqlite import SqliteStore
from protocol.envelope.backups import EMPTY, slot_key
from tests.cosigner.backups.places import SERVERS, Clock, Place, at, some_locator
from tests.host.fake_enclave import FakeEnclave
from tests.host.rig import Rig, running_host
from tests.support.aws import REGION, credentials, endpoint

__all__ = ["credentials", "endpoint"]

KINDS = ["service", "file", "s3", "google_drive", "icloud", "endpoint"]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_host(FakeEnclave()) as running:
        yield running


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each location, with nothing in it."""
    kind: str = request.param
    if kind == "service":
        yield service(request.getfixturevalue("rig"))
    elif kind == "file":
        yield folder(tmp_path / "backups")
    elif kind == "s3":
        request.getfixturevalue("credentials")
        yield bucket(request.getfixturevalue("endpoint"))
    else:
        server = SERVERS[kind]()
        with server.running():
            yield at(kind, server, tmp_path)


@pytest.fixture(params=list(SERVERS))
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each location whose server is ours to bend."""
    server = SERVERS[request.param]()
    with server.running():
        yield at(request.param, server, tmp_path)


def service(rig: Rig) -> Place:
    """The host, over a real socket. The enclave's part, opening slots, is done at its store."""
    locators: dict[int, str] = {}

    def name(number: int) -> str:
        if number not in locators:
            locators[number] = some_locator(number)
            asyncio.run(_open_slot(rig, locators[number]))
        return locators[number]

    def contents() -> dict[str, bytes]:
        answers = {
            locator: httpx.get(f"{rig.url}/v1/backups/{locator}?environment=sandbox")
            for locator in locators.values()
        }
        return {locator: answer.content for locator, answer in answers.items() if answer.status_code == 200}

    clock = Clock()
    return Place(
        ServiceLocation(rig.url, "sandbox", sleep=clock), contents, make_name=name, lists=False, clock=clock
    )


async def _open_slot(rig: Rig, locator: str) -> None:
    await open_slot_at(rig, slot_key("sandbox", locator))


async def open_slot_at(rig: Rig, key: str) -> None:
    store = SqliteStore(f"{rig.folder}/store.sqlite3")
    await store.put(key, expected=0, epoch=1, value=EMPTY)
    await store.close()


def folder(path: Path) -> Place:
    return Place(FileLocation(path), lambda: {file.stem: file.read_bytes() for file in path.glob("*.backup")})


_buckets = iter(range(1 << 20))


def bucket(url: str) -> Place:
    return in_bucket(url, new_bucket(url))


def new_bucket(url: str) -> str:
    client: Any = boto3.client("s3", region_name=REGION, endpoint_url=url)
    name = f"backups-{next(_buckets)}"
    client.create_bucket(Bucket=name)
    return name


def in_bucket(url: str, name: str) -> Place:
    client: Any = boto3.client("s3", region_name=REGION, endpoint_url=url)

    def contents() -> dict[str, bytes]:
        listed = client.list_objects_v2(Bucket=name, Prefix="of/alice/").get("Contents", [])
        return {
            item["Key"].removeprefix("of/alice/"): client.get_object(Bucket=name, Key=item["Key"])[
                "Body"
            ].read()
            for item in listed
        }

    return Place(S3Location(name, "of/alice/", region=REGION, endpoint=url), contents)
