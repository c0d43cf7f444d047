"""From a summary to what it does."""

from __future__ import annotations

from . import effects_bitcoin, effects_evm, effects_solana
from .facts import RAW_DIGEST, Facts
from .summary import (
    BitcoinTransaction,
    EvmMessage,
    EvmTransaction,
    EvmTypedData,
    RawDigest,
    SolanaText,
    SolanaTransaction,
    Summary,
)


def facts_of(summary: Summary) -> Facts:
    """What a payload does."""
    match summary:
        case EvmTransaction():
            return effects_evm.transaction(summary)
        case EvmMessage():
            return effects_evm.message(summary)
        case EvmTypedData():
            return effects_evm.typed_data(summary)
        case SolanaTransaction():
            return effects_solana.transaction(summary)
        case SolanaText():
            return effects_solana.text()
        case BitcoinTransaction():
            return effects_bitcoin.transaction(summary)
        case RawDigest():
            return Facts.opaque(summary.chain, RAW_DIGEST, "A digest says nothing about what is signed.")
