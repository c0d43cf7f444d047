"""What is signed, read from the transaction itself: Solana messages and Bitcoin PSBTs, and addresses.

Parsing is strict and bounded: trailing bytes, other encodings of the same transaction and contradictions are refused
with a :class:`~threshold.errors.PayloadError`, never silently repaired. The digests reported here are computed from
the payload; no digest is ever taken from outside. The codes are listed in ``docs/spec/threshold.md``, "Payloads".
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from ._native import (
    bitcoin_address,
    psbt_finalize,
    psbt_inspect,
    solana_address,
    solana_assemble,
    solana_inspect,
)

__all__ = [
    "AddressTableLookup",
    "FinalizedPsbt",
    "PsbtInput",
    "PsbtOutput",
    "PsbtSummary",
    "SolanaAccount",
    "SolanaInstruction",
    "SolanaSummary",
    "bitcoin_address",
    "psbt_finalize",
    "psbt_inspect",
    "solana_address",
    "solana_assemble",
    "solana_inspect",
]


class SolanaAccount(TypedDict):
    """An account named in the message itself."""

    address: str
    signer: bool
    writable: bool


SolanaInstruction = TypedDict(
    "SolanaInstruction",
    {
        "program": str | None,
        "accounts": list[str | None],
        "data": bytes,
        "kind": Literal["system.transfer", "spl-token.transfer", "spl-token.transferChecked"] | None,
        "from": NotRequired[str],
        "to": NotRequired[str],
        "lamports": NotRequired[int],
        "source": NotRequired[str],
        "mint": NotRequired[str],
        "destination": NotRequired[str],
        "owner": NotRequired[str],
        "amount": NotRequired[int],
        "decimals": NotRequired[int],
    },
)
"""One instruction. Addresses are base58; an account is ``None`` when it comes from an address lookup table. ``kind`` is
``None`` unless the instruction is a known transfer whose accounts are all named in the message; then the transfer's own
keys are present: ``from``, ``to``, ``lamports`` or ``source``, ``destination``, ``owner``, ``amount`` and, for
``transferChecked``, ``mint`` and ``decimals``. Token-2022 transfers have the same kinds; ``program`` tells."""


class AddressTableLookup(TypedDict):
    """Accounts that a v0 message loads from a table: the table's address and indexes into it."""

    table: str
    writable: list[int]
    readonly: list[int]


class SolanaSummary(TypedDict):
    """What a Solana message does. ``signed_bytes`` is the message itself."""

    version: Literal["legacy", 0]
    signed_bytes: bytes
    recent_blockhash: str
    fee_payer: str
    required_signers: list[str]
    accounts: list[SolanaAccount]
    instructions: list[SolanaInstruction]
    address_table_lookups: list[AddressTableLookup]


class PsbtInput(TypedDict):
    """One input. Amounts in satoshi; ``txid`` in display order. The last three are ``None`` unless ``ours``:
    the 32-byte BIP-341 signature hash, its type (0 DEFAULT, 1 ALL), and the tweak to sign under: ``b""`` for BIP-86,
    the 32-byte Merkle root otherwise.
    """

    index: int
    txid: str
    vout: int
    amount: int
    script: bytes
    sequence: int
    ours: bool
    sighash: bytes | None
    sighash_type: int | None
    tweak: bytes | None


class PsbtOutput(TypedDict):
    """One output. ``ours`` means that it pays the wallet's BIP-86 address."""

    address: str | None
    script: bytes
    amount: int
    ours: bool


class PsbtSummary(TypedDict):
    """What the transaction of a PSBT does. ``lock_time`` is the transaction's field, ``fee`` is in satoshi."""

    txid: str
    version: int
    lock_time: int
    fee: int
    inputs: list[PsbtInput]
    outputs: list[PsbtOutput]


class FinalizedPsbt(TypedDict):
    """A PSBT with final inputs, and the network transaction when all of them are."""

    psbt: bytes
    transaction: bytes | None
