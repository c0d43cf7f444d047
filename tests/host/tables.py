"""Tables in moto's server."""

from __future__ import annotations

from typing import Any

import boto3

from host.storage.dynamodb import DynamoDbStore
from tests.support.aws import REGION

KEY = [{"AttributeName": "shard", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}]
TEXT = [{"AttributeName": "shard", "AttributeType": "S"}, {"AttributeName": "key", "AttributeType": "S"}]


class Tables:
    """Makes tables in moto's server; each has a name of its own."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint)
        self._made = 0

    def make(self, key: Any = KEY, attributes: Any = TEXT) -> str:
        self._made += 1
        name = f"records-{id(self)}-{self._made}"
        self.client.create_table(
            TableName=name, KeySchema=key, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST"
        )
        return name

    def store(self, name: str | None = None) -> DynamoDbStore:
        return DynamoDbStore(name or self.make(), region=REGION, endpoint=self.endpoint)
