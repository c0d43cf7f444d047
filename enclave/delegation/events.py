"""What developers are told (``docs/spec/webhooks.md``), as the host is given it: beside the write that it tells of, or not at all.

The host signs and delivers. It can invent events; that gains nothing, since a delegate without its API key and share signs nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from protocol.envelope.limits import MAX_EVENT_DATA
from protocol.envelope.messages import OutboxEvent
from threshold.payload import evm_address, solana_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.envelope.messages import SignedEntry
    from protocol.hybrid import Envelope
    from protocol.wallets import WalletInfo

    from .record import Delegation

CREATED: Final = "wallet.delegation.created"
REVOKED: Final = "wallet.delegation.revoked"
SIGNATURE: Final = "wallet.delegation.signature"
PING: Final = "ping"
SUBSCRIPTION: Final = "subscription"
EVENTS: Final = (PING, CREATED, REVOKED, SIGNATURE)
CHAINS: Final = {"ethereum": "EVM", "solana": "SVM"}
"""Chains whose wallets can be delegated, and what developers know them as."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where an environment's events go. ``endpoint`` is empty: nowhere."""

    webhook_id: str
    endpoint: str


class Outbox:
    """Makes the events of one environment; ``None`` where there is nowhere to send them."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    def subscription(self, now: Subscription, before: str, *, secret: str) -> OutboxEvent | None:
        """Tells the host itself where events go from now on, and that they go nowhere, if the endpoint was taken away. Whether delegated
        access is enabled means nothing here: that a delegation is revoked is told in any case.

        :param before: the endpoint until now.
        """
        url = now.endpoint or before
        data = {"url": url, "secret": secret, "events": list(EVENTS), "enabled": bool(now.endpoint)}
        return self._event(SUBSCRIPTION, Subscription(now.webhook_id, url), data)

    def ping(self, to: Subscription) -> OutboxEvent | None:
        """Tells the developer that events arrive."""
        data = {
            "webhookId": to.webhook_id,
            "message": "Events of delegated access are delivered here.",
            "events": list(EVENTS),
            "url": to.endpoint,
            "isEnabled": True,
        }
        return self._event(PING, to, data)

    def created(
        self,
        to: Subscription,
        one: Delegation,
        *,
        share: Envelope,
        api_key: Envelope,
        receipt: SignedEntry | None,
    ) -> OutboxEvent | None:
        """Brings the developer what it signs with."""
        data = _named(one) | {
            "expiresAt": one.expires_at,
            "encryptedDelegatedShare": share.fields(),
            "encryptedWalletApiKey": api_key.fields(),
        }
        return self._event(CREATED, to, _with_receipt(data, receipt), of=one)

    def revoked(self, to: Subscription, one: Delegation, receipt: SignedEntry | None) -> OutboxEvent | None:
        """Tells the developer to forget it all."""
        data = _named(one) | {"revokedBy": one.revoked_by}
        return self._event(REVOKED, to, _with_receipt(data, receipt), of=one)

    def signature(
        self, to: Subscription, one: Delegation, digests: Sequence[bytes], now: int
    ) -> OutboxEvent | None:
        """Tells the developer that somebody signs with what it holds."""
        data = _named(one) | {"digests": [digest.hex() for digest in digests], "at": now}
        return self._event(SIGNATURE, to, data)

    def _event(
        self, name: str, to: Subscription, data: dict[str, Any], *, of: Delegation | None = None
    ) -> OutboxEvent | None:
        if not to.endpoint:
            return None
        return OutboxEvent(
            event_id=str(uuid.uuid4()) if of is None else _once(self._environment, name, of),
            environment=self._environment,
            name=name,
            endpoint=to.endpoint,
            data=_json(data),
            subscription_id=to.webhook_id,
        )


def address_of(wallet: WalletInfo) -> str:
    """The wallet's address, as developers know it."""
    if wallet.chain == "solana":
        return solana_address(wallet.public_key)
    return evm_address(wallet.public_key)


def _named(one: Delegation) -> dict[str, Any]:
    """What every event of a delegation names it by."""
    return {
        "chain": CHAINS[one.wallet.chain],
        "walletId": one.wallet_id,
        "userId": one.user_id,
        "publicKey": address_of(one.wallet),
        "shareSetId": one.share_set_id,
    }


def _with_receipt(data: dict[str, Any], receipt: SignedEntry | None) -> dict[str, Any]:
    """With the enclave's receipt (``docs/spec/receipts.md``), by which the developer can check what no host can forge. One with very
    many approvals is left out; the log has it.
    """
    if receipt is None:
        return data
    told = data | {
        "receipt": {
            "entry": base64.b64encode(receipt.entry).decode(),
            "signature": base64.b64encode(receipt.signature).decode(),
        }
    }
    return told if len(_json(told)) <= MAX_EVENT_DATA else data


def _once(environment: str, name: str, one: Delegation) -> str:
    """The id of an event that there is one of: the same again is kept once. A UUID of version 8 (RFC 9562 §5.8).

    A share set's id is the client's choice; it names a delegation with its wallet and environment alone.
    """
    named = f"cosigner/event/v1 {name} {environment} {one.wallet_id} {one.share_set_id}"
    digest = bytearray(hashlib.sha256(named.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def _json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=True).encode()
