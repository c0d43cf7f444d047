"""The encrypted share and API key of a ``wallet.delegation.created``, opened: :mod:`protocol.hybrid`, and what must agree inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from protocol.envelope.errors import ProtocolError
from protocol.hybrid import ALGORITHM, DecryptionKey, EncryptionKey, Envelope

from .errors import WebhookRefused
from .events import Created

__all__ = ["ALGORITHM", "DecryptionKey", "EncryptionKey", "Envelope", "Opened", "open_created"]


@dataclass(frozen=True, slots=True)
class Opened:
    """What only the developer can read. Its ``repr`` shows nothing.

    :ivar share: the delegated share's JSON. :ivar api_key: the wallet's API key.
    """

    share: dict[str, Any] = field(repr=False)
    api_key: str = field(repr=False)


def open_created(created: Created, keys: DecryptionKey | Mapping[str, DecryptionKey]) -> Opened:
    """Decrypt, and compare: nothing in the envelopes' form ties them to the message that brings them.

    :param keys: the developer's key, or keys by their ``kid``, while one replaces another.
    :raises WebhookRefused: ``delegation_unopened``: no key opens it; ``delegation_mismatch``: the share is another wallet's.
    """
    share = _share(_decrypt(created.share, keys))
    for name, expected in (("walletId", created.wallet_id), ("shareSetId", created.share_set_id)):
        if name in share and expected is not None and share[name] != expected:
            raise WebhookRefused(
                "delegation_mismatch", f"The share inside names another {name} than the webhook."
            )
    try:
        return Opened(share, _decrypt(created.api_key, keys).decode("ascii"))
    except UnicodeDecodeError:
        _unopened("the wallet's API key is no text")


def _decrypt(envelope: Envelope, keys: DecryptionKey | Mapping[str, DecryptionKey]) -> bytes:
    if isinstance(keys, DecryptionKey):
        key: DecryptionKey | None = keys
    else:
        key = keys.get(envelope.kid or "")
    if key is None:
        _unopened("there is no key of the name that it is encrypted to")
    try:
        return key.decrypt(envelope)
    except ProtocolError as error:
        _unopened(error.message)


def _share(content: bytes) -> dict[str, Any]:
    try:
        share = json.loads(content)
    except (ValueError, RecursionError):
        share = None
    if not isinstance(share, dict):
        _unopened("the share is no JSON object")
    return share


def _unopened(reason: str) -> NoReturn:
    raise WebhookRefused("delegation_unopened", f"The delegation cannot be opened: {reason}")
