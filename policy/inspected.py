"""From what the payload parsers report to a :mod:`policy.summary`.

The parsers are another package's (``threshold.payload``); what comes from there are plain mappings, so nothing is imported. A mapping
that is not as that package documents it is refused, not guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import PolicyError
from .summary import (
    BitcoinOutput,
    BitcoinTransaction,
    EvmMessage,
    EvmTransaction,
    EvmTypedData,
    SolanaInstruction,
    SolanaText,
    SolanaTransaction,
    Summary,
)

T = TypeVar("T")
Details = Mapping[str, Any]


def summary_of(kind: str, details: Details, *, wallet: str = "", network: str = "") -> Summary:
    """What a payload does.

    :param kind: as in :func:`threshold.tasks.signing_task`: ``evm_transaction``, ``evm_message``, ``evm_typed_data``,
        ``solana_message``, ``solana_text``, ``psbt``.
    :param details: what ``threshold.payload``'s function for this kind returned.
    :param wallet: for ``solana_message`` the wallet's address.
    :param network: for ``psbt`` the wallet's network.
    :raises PolicyError: ``summary_invalid``: another kind, or details of another shape.
    """
    match kind:
        case "evm_transaction":
            return evm_transaction(details)
        case "evm_message":
            return EvmMessage(validator=_evm_or_none(details, "validator"))
        case "evm_typed_data":
            return evm_typed_data(details)
        case "solana_message":
            return solana_transaction(details, wallet)
        case "solana_text":
            return SolanaText()
        case "psbt":
            return bitcoin_transaction(details, network)
        case _:
            raise PolicyError("summary_invalid", f"There are no rules for payloads of kind {kind!r}.")


def evm_transaction(details: Details) -> EvmTransaction:
    """From ``evm_transaction_inspect``."""
    return EvmTransaction(
        chain_id=_number(details, "chain_id"),
        to=_evm_or_none(details, "to"),
        value=_number(details, "value"),
        max_fee=_number(details, "max_fee"),
        data=_take(details, "data", bytes),
        authorizations=tuple(
            _evm(_take(entry, "address", str)) for entry in _take(details, "authorizations", list)
        ),
    )


def evm_typed_data(details: Details) -> EvmTypedData:
    """From ``evm_typed_data_inspect``."""
    domain = _take(details, "domain", dict)
    return EvmTypedData(
        primary_type=_take(details, "primary_type", str),
        name=_optional(domain, "name", str),
        version=_optional(domain, "version", str),
        chain_id=None if domain.get("chainId") is None else _number(domain, "chainId"),
        verifying_contract=_evm_or_none(domain, "verifyingContract"),
    )


def solana_transaction(details: Details, wallet: str) -> SolanaTransaction:
    """From ``solana_inspect``."""
    signers = _take(details, "required_signers", list)
    if wallet not in signers:
        raise PolicyError("summary_invalid", "The wallet signs no such message.")
    return SolanaTransaction(
        wallet=wallet,
        fee_payer=_take(details, "fee_payer", str),
        signatures=len(signers),
        instructions=tuple(
            SolanaInstruction(
                program=_take(entry, "program", str),
                accounts=tuple(_take(entry, "accounts", list)),
                data=_take(entry, "data", bytes),
            )
            for entry in _take(details, "instructions", list)
        ),
    )


def bitcoin_transaction(details: Details, network: str) -> BitcoinTransaction:
    """From ``psbt_inspect``."""
    if not network:
        raise PolicyError("summary_invalid", "A Bitcoin transaction is for a network.")
    ours = [entry for entry in _take(details, "inputs", list) if _take(entry, "ours", bool)]
    return BitcoinTransaction(
        network=network,
        spent=sum(_number(entry, "amount") for entry in ours),
        outputs=tuple(
            BitcoinOutput(
                address=_optional(entry, "address", str),
                script=_take(entry, "script", bytes),
                amount=_number(entry, "amount"),
                ours=_take(entry, "ours", bool),
            )
            for entry in _take(details, "outputs", list)
        ),
    )


def _take(details: Details, name: str, kind: type[T]) -> T:
    value = details.get(name)
    if not isinstance(value, kind):
        raise PolicyError("summary_invalid", f"A {kind.__name__} is expected.", name)
    return value


def _optional(details: Details, name: str, kind: type[T]) -> T | None:
    return None if details.get(name) is None else _take(details, name, kind)


def _number(details: Details, name: str) -> int:
    value = details.get(name)
    if type(value) is not int or value < 0:
        raise PolicyError("summary_invalid", "A number of 0 or more is expected.", name)
    return value


def _evm_or_none(details: Details, name: str) -> str | None:
    text = _optional(details, name, str)
    return None if text is None else _evm(text)


def _evm(text: str) -> str:
    if not text.startswith("0x") or len(text) != 42:  # noqa: PLR2004  (20 bytes)
        raise PolicyError("summary_invalid", "An EVM address is expected.")
    return text.lower()
