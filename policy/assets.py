"""What amounts are counted in, and amounts: whole numbers of base units, never floats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from .addresses import BTC, EVM, SVM
from .errors import PolicyError

MAX_AMOUNT: Final = (1 << 256) - 1
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,77})(?:\.([0-9]{1,77}))?")


class Coin(NamedTuple):
    """An asset as payloads move it.

    :ivar chain_id: of EVM chains; ``None`` elsewhere.
    :ivar token: the contract or the mint; ``None`` for the chain's own coin.
    """

    chain: str
    chain_id: int | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset as rules name it.

    :ivar name: ``ETH``, ``SOL``, ``BTC``, a name from the layer's ``assets``, or the address of a token.
    :ivar chain_id: of a token that is declared for one EVM chain; ``None``: on every chain that the rule is about.
    :ivar decimals: digits after the point in amounts; 0 for a token that is named by its address.
    """

    name: str
    chain: str
    chain_id: int | None
    token: str | None
    decimals: int

    def covers(self, coin: Coin) -> bool:
        """Whether an amount of ``coin`` is an amount of this asset. The coins of all EVM chains are ``ETH``."""
        return (
            self.chain == coin.chain
            and self.token == coin.token
            and (self.chain_id is None or self.chain_id == coin.chain_id)
        )

    def written(self, amount: int) -> str:
        """An amount as rules have it, without superfluous zeros."""
        if not self.decimals:
            return str(amount)
        whole, fraction = divmod(amount, 10**self.decimals)
        digits = f"{fraction:0{self.decimals}d}".rstrip("0")
        return f"{whole}.{digits}" if digits else str(whole)

    def shown(self, amount: int) -> str:
        """An amount and its unit, for people."""
        return f"{self.written(amount)} {self.name if self.decimals else f'base units of {self.name}'}"

    def read(self, text: object, field: str) -> int:
        """Base units from a decimal string.

        :raises PolicyError: ``policy_value``: a number rather than a string, more digits than the asset has, 2^256 or more.
        """
        match = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise PolicyError("policy_value", 'An amount is a decimal string such as "1.5".', field)
        whole, fraction = match[1], match[2] or ""
        if len(fraction) > self.decimals:
            raise PolicyError(
                "policy_value",
                f"{self.name} has {self.decimals} decimals; {text} has {len(fraction)}.",
                field,
            )
        amount = int(whole + fraction.ljust(self.decimals, "0"))
        if amount > MAX_AMOUNT:
            raise PolicyError("policy_value", "An amount has at most 256 bits.", field)
        return amount


BUILT_IN: Final = {
    asset.name: asset
    for asset in (
        Asset("ETH", EVM, None, None, 18),
        Asset("SOL", SVM, None, None, 9),
        Asset("BTC", BTC, None, None, 8),
    )
}
