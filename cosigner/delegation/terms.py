"""What a user approves: which app, which payloads, until when."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import policy
from protocol.delegation import DelegationTerms
from protocol.envelope.errors import CosignerError, Culprit

from ..policies import CHAINS  # noqa: TID252
from ..session_keys import now_ms  # noqa: TID252

if TYPE_CHECKING:
    from protocol.delegation import DelegationSettings, DeveloperKey
    from protocol.wallets import WalletInfo

DEFAULT_LIFETIME: Final = timedelta(days=30)


@dataclass(frozen=True)
class Limits:
    """Limits in the words that most delegations need. What they do not say, a policy's layer ``signer`` says (``docs/spec/policy.md``).

    :ivar asset: ``ETH``, ``SOL`` or ``BTC``; amounts are decimal, in whole units.
    :ivar window: of ``total``: ``24h``, ``7d``, …; empty: for as long as the delegation lasts.
    :ivar addresses: who may be paid or called; empty: anybody.
    :ivar chain_ids: of EVM chains; empty: any.
    :ivar max_signatures: how many payloads may be signed within ``signatures_window``; ``None``: any number.
    """

    max_per_call: str
    total: str
    window: str = "24h"
    addresses: Sequence[str] = ()
    chain_ids: Sequence[int] = ()
    max_signatures: int | None = None
    signatures_window: str = "24h"

    def rules(self, chain: str) -> bytes:
        """The layer, canonical.

        :param chain: as wallets name it.
        :raises PolicyError: an amount, address, number or window is not well formed.
        """
        limit: dict[str, Any] = {
            "asset": {"EVM": "ETH", "SVM": "SOL", "BTC": "BTC"}[CHAINS[chain]],
            "maxPerCall": self.max_per_call,
            "totalLimit": self.total,
        }
        if self.window:
            limit["window"] = self.window
        rule: dict[str, Any] = {
            "name": "what the user approved",
            "ruleType": "allow",
            "chain": CHAINS[chain],
            "valueLimit": limit,
        }
        if self.addresses:
            rule["addresses"] = list(self.addresses)
        if self.chain_ids:
            rule["chainIds"] = list(self.chain_ids)
        if self.max_signatures is not None:
            rule["rateLimit"] = {"count": self.max_signatures, "window": self.signatures_window}
        return canonical(json.dumps({"version": 1, "layer": "signer", "rules": [rule]}).encode())


def canonical(rules: bytes) -> bytes:
    """A layer ``signer`` as a person wrote it, in the form that is approved and stored.

    :raises PolicyError: it is not well formed.
    :raises CosignerError: ``rules_refused``: it is of another layer.
    """
    layer = policy.read_layer(rules)
    if layer.name != "signer":
        raise CosignerError(
            "rules_refused", "A delegate's rules are a layer `signer`.", culprit=Culprit.CLIENT
        )
    return policy.layer_bytes(layer)


def terms_for(
    settings: DelegationSettings,
    wallet: WalletInfo,
    limits: Limits | bytes,
    *,
    lifetime: timedelta = DEFAULT_LIFETIME,
) -> tuple[DelegationTerms, DeveloperKey]:
    """Terms for the settings' app, and the settings' active key, which they name.

    :param limits: or a layer ``signer`` as JSON.
    :raises CosignerError: ``delegation_disabled``, ``developer_key_missing``, ``chain_unsupported``.
    """
    key = settings.active_key()
    if not settings.enabled:
        raise CosignerError(
            "delegation_disabled", "This environment does not allow delegated access.", culprit=Culprit.CLIENT
        )
    if key is None:
        raise CosignerError(
            "developer_key_missing",
            "The developer has no active encryption key; an administrator sets one: `cosigner delegate configure`.",
            culprit=Culprit.CLIENT,
        )
    terms = DelegationTerms(
        share_set_id=str(uuid.uuid4()),
        app=settings.app,
        rules=limits.rules(wallet.chain) if isinstance(limits, Limits) else canonical(limits),
        expires_at=now_ms() + int(lifetime.total_seconds() * 1000),
        kid=key.kid,
        key_hash=hashlib.sha256(key.public_key).digest(),
    )
    return terms, key
