"""Webhooks as the host sends them, made by the host's own code, and as Dynamic's documentation shows them, made by hand."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import uuid
from typing import Any

from host.webhooks import payload, signing
from host.webhooks.events import CREATED, read
from protocol.hybrid import DecryptionKey
from tests.host.webhooks.arrivals import NOW, SECRET, SUBSCRIPTION_ID, outbox_event

API_KEY = "dyn_" + "k" * 43
WALLET = "0f8fad5b-d9cb-469f-a165-70867728950e"
SHARE_SET = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@functools.cache
def key() -> DecryptionKey:
    return DecryptionKey.generate(2048)


def created_data(**changes: Any) -> dict[str, Any]:
    recipient = key().public("key-1")
    share = {"pubkey": "02ab", "secretShare": "s3cr3t", "walletId": WALLET, "shareSetId": SHARE_SET}
    return {
        "chain": "EVM",
        "walletId": WALLET,
        "userId": "e58ed763-928c-4155-bee9-fdbaaadc15f3",
        "publicKey": "0x" + "ab" * 20,
        "shareSetId": SHARE_SET,
        "encryptedDelegatedShare": recipient.encrypt(json.dumps(share).encode()).fields(),
        "encryptedWalletApiKey": recipient.encrypt(API_KEY.encode()).fields(),
        **changes,
    }


def revoked_data(**changes: Any) -> dict[str, Any]:
    return {"chain": "EVM", "walletId": WALLET, "shareSetId": SHARE_SET, **changes}


def sent(
    name: str = CREATED,
    data: Any = None,
    *,
    now: int = NOW,
    at: int = NOW // 1000,
    secret: str = SECRET,
    event_id: str | None = None,
    redelivery: bool = False,
) -> tuple[dict[str, str], bytes]:
    """A request: its headers and its body."""
    event = outbox_event(
        name, created_data() if data is None else data, event_id=event_id or str(uuid.uuid4())
    )
    message_id = str(uuid.uuid4())
    body = payload.body(
        read(event, now=now).event,
        message_id=message_id,
        webhook_id=SUBSCRIPTION_ID,
        environment_name="sandbox",
        redelivery=redelivery,
    )
    return signing.headers(secret, body, message_id=message_id, seconds=at), body


def by_hand(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Dynamic's header alone."""
    return {
        "X-Dynamic-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    }
