"""What a decision knows about a payload: who is paid or called, how much of what leaves, and what cannot be seen.

:func:`policy.effects.facts_of` makes one :class:`Facts` of one summary. Nothing here depends on a rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .assets import Coin
from .summary import EvmTypedData

# Kinds of payload. An allow rule is about transactions unless it lists others.
TRANSACTION: Final = "transaction"
MESSAGE: Final = "message"
VALIDATOR_MESSAGE: Final = "validatorMessage"
TYPED_DATA: Final = "typedData"
RAW_DIGEST: Final = "rawDigest"
PAYLOADS: Final = (TRANSACTION, MESSAGE, VALIDATOR_MESSAGE, TYPED_DATA, RAW_DIGEST)

# What a transaction may do unseen. Each is refused unless an allow rule lists it in `blind`.
CALL: Final = "evm.call"
CONTRACT_CREATION: Final = "evm.contract_creation"
UNLIMITED_APPROVAL: Final = "evm.unlimited_approval"
AUTHORIZATION: Final = "evm.authorization"
INSTRUCTION: Final = "solana.instruction"
UNNAMED_MINT: Final = "solana.unnamed_mint"
SCRIPT: Final = "bitcoin.script"
BLIND: Final = (
    CALL,
    CONTRACT_CREATION,
    UNLIMITED_APPROVAL,
    AUTHORIZATION,
    INSTRUCTION,
    UNNAMED_MINT,
    SCRIPT,
)

TOKENS: Final = "tokens"  # what is unknown concerns tokens; the chain's own coin is known exactly
EVERYTHING: Final = "everything"


class Party(NamedTuple):
    """Somebody who receives value or rights.

    :ivar via: the contract or program through which; ``None`` for a plain payment.
    :ivar mint: for a Solana token account its mint, with ``program``, so that owners can be compared.
    """

    address: str
    via: str | None = None
    mint: str | None = None
    program: str | None = None


@dataclass(slots=True)
class Facts:
    """See the module.

    :ivar payload: one of :data:`PAYLOADS`.
    :ivar chain_id: ``None``: the signature is good on every chain, or nobody knows where.
    :ivar recipients: who receives.
    :ivar callees: contracts and programs that are called and can do anything.
    :ivar programs: every program of a Solana message that can use the wallet's signature.
    :ivar others: further addresses that are named, such as the owner of tokens that somebody else moves.
    :ivar amounts: what can leave at most.
    :ivar blind: what cannot be seen, by code, with what it is about.
    :ivar unknown_amounts: which of it could move more than ``amounts`` says: :data:`TOKENS` or :data:`EVERYTHING`.
    :ivar unknown_parties: why further parties are possible; empty if there are none.
    :ivar call: target and calldata of an EVM call.
    :ivar owners: whose Solana token accounts are, where the message proves it.
    """

    chain: str
    payload: str = TRANSACTION
    chain_id: int | None = None
    network: str | None = None
    recipients: list[Party] = field(default_factory=list)
    callees: list[str] = field(default_factory=list)
    programs: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    amounts: dict[Coin, int] = field(default_factory=dict)
    blind: dict[str, str] = field(default_factory=dict)
    unknown_amounts: dict[str, str] = field(default_factory=dict)
    unknown_parties: str = ""
    call: tuple[str, bytes] | None = None
    typed_data: EvmTypedData | None = None
    owners: dict[str, str] = field(default_factory=dict)

    def add(self, coin: Coin, amount: int) -> None:
        """Count an amount that can leave."""
        if amount:
            self.amounts[coin] = self.amounts.get(coin, 0) + amount

    def conceal(self, code: str, about: str, unknown: str = "", parties: str = "") -> None:
        """Note something that a transaction does unseen."""
        self.blind.setdefault(code, about)
        if unknown:
            self.unknown_amounts.setdefault(code, unknown)
        if parties:
            self.unknown_parties = self.unknown_parties or parties

    @staticmethod
    def opaque(chain: str, payload: str, why: str, *callees: str) -> Facts:
        """What is known of a payload that is no transaction: nothing of amounts and receivers."""
        return Facts(
            chain,
            payload,
            callees=list(callees),
            unknown_amounts={payload: EVERYTHING},
            unknown_parties=why,
        )
