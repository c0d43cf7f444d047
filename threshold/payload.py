"""What is signed, read from the payload itself: EVM, Solana and Bitcoin transactions, messages, typed data; and addresses.

Parsing is strict and bounded: trailing bytes, other encodings of the same transaction and contradictions are refused
with a :class:`~threshold.errors.PayloadError`, never silently repaired. The digests reported here are computed from
the payload; no digest is ever taken from outside. The codes are listed in ``docs/spec/threshold.md``, "Payloads".
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

from ._native import (
    bitcoin_address,
    evm_address,
    evm_checksum_address,
    evm_message_digest,
    evm_signature_assemble,
    evm_transaction_assemble,
    evm_transaction_inspect,
    evm_typed_data_inspect,
    psbt_finalize,
    psbt_inspect,
    solana_address,
    solana_assemble,
    solana_inspect,
    solana_text_inspect,
)

__all__ = [
    "AddressTableLookup",
    "EvmAccess",
    "EvmAuthorization",
    "EvmCall",
    "EvmMessageSummary",
    "EvmSignedTransaction",
    "EvmTransactionSummary",
    "EvmTypedDataSummary",
    "EvmTypedValue",
    "FinalizedPsbt",
    "PsbtInput",
    "PsbtOutput",
    "PsbtSummary",
    "SolanaAccount",
    "SolanaInstruction",
    "SolanaSummary",
    "bitcoin_address",
    "evm_address",
    "evm_checksum_address",
    "evm_message_digest",
    "evm_signature_assemble",
    "evm_transaction_assemble",
    "evm_transaction_inspect",
    "evm_typed_data_inspect",
    "psbt_finalize",
    "psbt_inspect",
    "solana_address",
    "solana_assemble",
    "solana_inspect",
    "solana_text_inspect",
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


EvmCall = TypedDict(
    "EvmCall",
    {
        "kind": Literal["erc20.transfer", "erc20.approve", "erc20.transferFrom"],
        "from": NotRequired[str],
        "to": NotRequired[str],
        "spender": NotRequired[str],
        "amount": int,
    },
)
"""A call whose selector and length are those of an ERC-20 method; whether the called contract is a token is not known.
``amount`` is in the token's smallest unit. ``transfer`` has ``to``, ``approve`` has ``spender``, ``transferFrom`` has
``from`` and ``to``."""


class EvmAccess(TypedDict):
    """An entry of an access list (EIP-2930): an account and storage slots of 32 bytes each."""

    address: str
    storage_keys: list[bytes]


class EvmAuthorization(TypedDict):
    """Somebody's permission to run the code of ``address`` as their account (EIP-7702). ``chain_id`` 0 means every
    chain; ``authority`` is who signed it, or ``None`` when the signature is invalid and chains will ignore it.
    """

    chain_id: int
    address: str
    nonce: int
    authority: str | None


class EvmTransactionSummary(TypedDict):
    """What an unsigned transaction does. Addresses are EIP-55, amounts and fees in wei.

    ``digest`` has 32 bytes: what the signature covers. ``to`` is ``None`` for a contract creation, whose ``data`` is
    code; otherwise ``selector`` is the first four bytes of ``data``, if it has as many. Types 0 and 1 have
    ``gas_price``, 2 to 4 ``max_fee_per_gas`` and ``max_priority_fee_per_gas``, 3 also ``max_fee_per_blob_gas`` and
    ``blob_versioned_hashes``; ``max_fee`` is the most that all gas can cost.
    """

    type: Literal[0, 1, 2, 3, 4]
    digest: bytes
    chain_id: int
    nonce: int
    to: str | None
    value: int
    gas_limit: int
    gas_price: int | None
    max_fee_per_gas: int | None
    max_priority_fee_per_gas: int | None
    max_fee_per_blob_gas: int | None
    max_fee: int
    data: bytes
    selector: bytes | None
    call: EvmCall | None
    access_list: list[EvmAccess]
    blob_versioned_hashes: list[bytes]
    authorizations: list[EvmAuthorization]


class EvmSignedTransaction(TypedDict):
    """A transaction for the network (EIP-2718 encoding; a blob transaction without its sidecar) and its 32-byte hash."""

    raw: bytes
    hash: bytes


class EvmMessageSummary(TypedDict):
    """What a message of EIP-191 says: the 32 bytes that the signature covers; the text, unless the message is not
    UTF-8 or has characters that are invisible or turn the direction of writing; the contract that it is for.
    """

    digest: bytes
    text: str | None
    validator: str | None


EvmTypedValue: TypeAlias = (
    bool | int | str | bytes | list["EvmTypedValue"] | dict[str, "EvmTypedValue"] | None
)
"""A value of typed data by its type: addresses are EIP-55 strings, a struct that is absent is ``None``."""


class EvmTypedDataSummary(TypedDict):
    """What typed data of EIP-712 says. ``digest``, ``domain_separator`` and ``message_hash`` have 32 bytes; the last
    is ``None`` when the primary type is the domain itself. ``encoded_type`` is the primary type's definition.
    """

    digest: bytes
    domain_separator: bytes
    message_hash: bytes | None
    primary_type: str
    encoded_type: str
    domain: dict[str, EvmTypedValue]
    message: dict[str, EvmTypedValue]
