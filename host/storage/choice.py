"""Which store the configuration names."""

from __future__ import annotations

from host.config import StorageSection

from . import Store
from .sqlite import SqliteStore


def open_store(section: StorageSection) -> Store:
    """Open the store.

    :raises HostError: ``storage_unusable``.
    """
    if section.dynamodb is not None:
        from .dynamodb import DynamoDbStore  # noqa: PLC0415  (boto3 is slow to import, and needed with this store only)

        return DynamoDbStore(section.dynamodb.table, region=section.dynamodb.region)
    return SqliteStore(section.sqlite or "")
