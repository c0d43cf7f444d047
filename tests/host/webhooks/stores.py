"""The two stores, each with its own way to look at what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from host.storage import Store
from host.storage.dynamodb import DynamoDbStore
from host.storage.sqlite import SqliteStore

REGION = "us-east-1"


class Place:
    """A store that can be opened again and again, as another process would."""

    def __init__(self, opener: Callable[[], Store]) -> None:
        self.open = opener

    def run(self, body: Callable[[Any], Any]) -> Any:
        """Open the store, run ``body(store)``, close it."""

        async def within() -> Any:
            store = self.open()
            try:
                return await body(store)
            finally:
                await store.close()

        return asyncio.run(within())


def sqlite(folder: Path) -> Place:
    return Place(lambda: SqliteStore(str(folder / "store")))


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """moto's server; its URL."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "testing"
    os.environ.pop("AWS_PROFILE", None)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def dynamodb(endpoint: str, table: str) -> Place:
    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint)
    client.create_table(
        TableName=table,
        KeySchema=[
            {"AttributeName": "shard", "KeyType": "HASH"},
            {"AttributeName": "key", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("shard", "key")],
        BillingMode="PAY_PER_REQUEST",
    )
    client.close()
    return Place(lambda: DynamoDbStore(table, region=REGION, endpoint=endpoint))
