"""Tokens of the mock stack's issuer (``simulator/issuer/README.md``): for trying and testing, as no production stack has it."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from protocol.envelope.errors import Culprit

from .errors import HostError

if TYPE_CHECKING:
    from .config import ClientConfig, MockIssuer
    from .identity import TokenProvider

DEFAULT_SUBJECT: Final = "alice"
_TIMEOUT: Final = 10.0  # seconds


class _Given(msgspec.Struct):
    token: str


def token(issuer: MockIssuer, subject: str = DEFAULT_SUBJECT) -> str:
    """A JWT for ``subject``, good for some minutes.

    :raises HostError: ``issuer_unreachable``.
    """
    context = ssl.create_default_context(cadata=issuer.ca_pem)
    try:
        with httpx.Client(verify=context, timeout=_TIMEOUT, trust_env=False) as http:
            answer = http.post(issuer.token_url, json={"sub": subject})
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=_Given).token
    except (httpx.HTTPError, msgspec.MsgspecError) as error:
        raise HostError(
            "issuer_unreachable",
            f"No token from the mock issuer at {issuer.token_url}: {str(error) or type(error).__name__}. Is the stack running?",
            culprit=Culprit.NETWORK,
        ) from None


def provider(config: ClientConfig, subject: str = DEFAULT_SUBJECT) -> TokenProvider:
    """A ``token_provider`` for clients of a mock stack.

    :raises ValueError: the configuration is of no mock stack.
    """
    issuer = config.mock_issuer
    if issuer is None:
        msg = "this configuration names no mock issuer"
        raise ValueError(msg)
    return lambda: asyncio.to_thread(token, issuer, subject)
