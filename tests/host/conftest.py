"""What tests of the host's stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.tables import Tables
from tests.support.aws import credentials, endpoint

__all__ = ["credentials", "endpoint", "tables"]


@pytest.fixture
def tables(endpoint: str, credentials: None) -> Iterator[Tables]:
    made = Tables(endpoint)
    yield made
    made.client.close()
