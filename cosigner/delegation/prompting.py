"""Whether a user is to be asked about delegated access when they sign in: what the environment's settings and the user's own word say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocol.delegation import DelegationInfo, DelegationSettingsReply
    from protocol.wallets import WalletEntry

CHAINS: Final = frozenset({"ethereum", "solana"})  # whose wallets can be delegated


@dataclass(frozen=True)
class Prompt:
    """What to ask the user.

    :ivar app: who would sign for them.
    :ivar required: the app is of no use to those who say no. The enclave does not enforce that.
    :ivar wallets: ids of those that the app cannot sign for.
    """

    app: str
    required: bool
    wallets: tuple[str, ...]


def wanted(reply: DelegationSettingsReply) -> bool:
    """Whether to ask at all. Who has said no is asked only where it is required."""
    settings = reply.settings
    asks = settings.prompt_users_on_sign_in or settings.requires_delegation
    return settings.enabled and asks and (settings.requires_delegation or not reply.denied)


def can_be_delegated(entry: WalletEntry) -> bool:
    """Whether a wallet is one to ask about."""
    return entry.status.state != "retired" and entry.wallet.chain in CHAINS


def is_delegated(delegations: Iterable[DelegationInfo], now_ms: int) -> bool:
    """Whether the app can sign for the wallet that these are of."""
    return any(one.revoked_at is None and now_ms < one.expires_at for one in delegations)
