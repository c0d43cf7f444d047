"""boto3 for the host's own stores: clients that give up in time, and failures in words that name no account."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client(
    service: str, region: str, endpoint: str | None, *, threads: int, timeout: float, attempts: int
) -> Any:  # noqa: ANN401  (boto3 makes its classes at run time)
    """A client of ``service`` with credentials by botocore's ordinary chain.

    :param endpoint: another one than AWS's, for tests.
    :param threads: how many will use it at once.
    :param timeout: seconds to connect, and seconds without an answer.
    :param attempts: how often a call is made in all.
    """
    return boto3.session.Session().client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            max_pool_connections=threads,
            retries={"mode": "standard", "total_max_attempts": attempts},
            tcp_keepalive=True,
        ),
    )


def reason(error: Exception) -> str:
    """The class or code of a failure; AWS's words name accounts and roles."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
