"""What a payload does, as far as it says so: the input of a decision. Plain values, all of them worked out from the payload itself.

Addresses are in the form of :mod:`policy.addresses`, amounts in base units. Whoever makes these structures vouches for them; from the
results of the payload parsers :mod:`policy.inspected` makes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

_EVM_ADDRESS: Final = re.compile("0x[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class EvmTransaction:
    """A transaction of types 0 to 4.

    :ivar to: ``None`` creates a contract.
    :ivar max_fee: the most that all gas can cost, blobs included, in wei.
    :ivar authorizations: whose code accounts are told to run (EIP-7702), by address of the code.
    """

    chain_id: int
    to: str | None
    value: int
    max_fee: int
    data: bytes
    authorizations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse addresses in a form that no rule would recognize, and numbers that no transaction has."""
        _require_normal(self.to, *self.authorizations)
        if min(self.chain_id, self.value, self.max_fee) < 0:
            msg = "a number of a transaction is negative"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class EvmMessage:
    """A message (EIP-191). ``validator`` is the contract of version 0, ``None`` for version ``E``."""

    validator: str | None = None

    def __post_init__(self) -> None:
        _require_normal(self.validator)


@dataclass(frozen=True, slots=True)
class EvmTypedData:
    """Typed data (EIP-712). Members of the domain that are absent are ``None``."""

    primary_type: str
    name: str | None = None
    version: str | None = None
    chain_id: int | None = None
    verifying_contract: str | None = None

    def __post_init__(self) -> None:
        _require_normal(self.verifying_contract)


@dataclass(frozen=True, slots=True)
class SolanaText:
    """A text that is signed as it is."""


@dataclass(frozen=True, slots=True)
class SolanaInstruction:
    """One instruction. An account is ``None`` where it comes from an address lookup table, so it is nobody that signs."""

    program: str
    accounts: tuple[str | None, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class SolanaTransaction:
    """A message, legacy or version 0. ``signatures`` is how many it needs."""

    wallet: str
    fee_payer: str
    signatures: int
    instructions: tuple[SolanaInstruction, ...]


@dataclass(frozen=True, slots=True)
class BitcoinOutput:
    """An output. ``address`` is ``None`` where the script has none; ``ours`` is change."""

    address: str | None
    script: bytes
    amount: int
    ours: bool


@dataclass(frozen=True, slots=True)
class BitcoinTransaction:
    """A PSBT's transaction. ``spent`` is the sum of the wallet's own inputs, in satoshi."""

    network: str
    spent: int
    outputs: tuple[BitcoinOutput, ...]


@dataclass(frozen=True, slots=True)
class RawDigest:
    """A digest that says nothing about what is signed."""

    chain: str


Summary: TypeAlias = (
    EvmTransaction
    | EvmMessage
    | EvmTypedData
    | SolanaTransaction
    | SolanaText
    | BitcoinTransaction
    | RawDigest
)


def _require_normal(*addresses: str | None) -> None:
    for address in addresses:
        if address is not None and not _EVM_ADDRESS.fullmatch(address):
            msg = "an EVM address is 0x and 40 hexadecimal digits in lower case"
            raise ValueError(msg)
