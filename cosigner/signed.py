"""Signatures as callers get them, put together with what they sign: whether the enclave had a part in them or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.messages import EvmTransactionPayload
from threshold.payload import (
    evm_signature_assemble,
    evm_transaction_assemble,
    psbt_finalize,
    solana_assemble,
)

if TYPE_CHECKING:
    from protocol.messages import EvmPayload
    from threshold.tasks import SigningTask

    from .signing import EcdsaCoSigned


@dataclass(frozen=True)
class SolanaSignature:
    """:ivar transaction: the wire transaction, or ``None`` while signatures of others are missing."""

    message: bytes
    signature: bytes
    transaction: bytes | None
    summary: dict[str, object]


@dataclass(frozen=True)
class BitcoinSignature:
    """:ivar transaction: the network serialization, or ``None`` while inputs of others are unsigned."""

    psbt: bytes
    signatures: dict[int, bytes]
    sighashes: dict[int, bytes]
    transaction: bytes | None
    summary: dict[str, object]


@dataclass(frozen=True)
class EthereumSignature:
    """A signature over an EVM payload.

    :ivar digest: the 32 bytes that were signed.
    :ivar signature: r, s and 27 or 28: 65 bytes.
    :ivar recovery_id: 0 or 1.
    :ivar public_key: the key that signed, 33 bytes.
    :ivar transaction: the raw signed transaction; ``None`` for messages and typed data.
    :ivar transaction_hash: its hash.
    """

    digest: bytes
    signature: bytes
    recovery_id: int
    public_key: bytes
    transaction: bytes | None
    transaction_hash: bytes | None
    summary: dict[str, object]


def solana_signature(
    message: bytes,
    task: SigningTask,
    signature: bytes,
    *,
    public_key: bytes,
    other_signatures: dict[bytes, bytes] | None,
) -> SolanaSignature:
    """:raises PayloadError: a signature of ``other_signatures`` is of nobody who must sign, or is not valid."""
    signatures = {**(other_signatures or {}), public_key: signature}
    required = task.summary["required_signers"]
    complete = isinstance(required, list) and len(required) == len(signatures)
    return SolanaSignature(
        message=message,
        signature=signature,
        transaction=solana_assemble(message, signatures) if complete else None,
        summary=task.summary,
    )


def bitcoin_signature(psbt: bytes, task: SigningTask, made: list[bytes]) -> BitcoinSignature:
    """:param made: in the order of the task."""
    signatures = dict(zip(task.inputs, made, strict=True))
    finished = psbt_finalize(psbt, signatures)
    return BitcoinSignature(
        psbt=finished["psbt"],
        signatures=signatures,
        sighashes=dict(zip(task.inputs, task.digests, strict=True)),
        transaction=finished["transaction"],
        summary=task.summary,
    )


def ethereum_signature(payload: EvmPayload, done: EcdsaCoSigned) -> EthereumSignature:
    """The signature, and the signed transaction if ``payload`` is one."""
    (digest,) = done.task.digests
    signature, recovery_id, key = done.signature, done.recovery_id, done.public_key
    assembled = None
    if isinstance(payload, EvmTransactionPayload):
        assembled = evm_transaction_assemble(payload.transaction, signature, recovery_id, key)
    return EthereumSignature(
        digest=digest,
        signature=evm_signature_assemble(digest, signature, recovery_id, key),
        recovery_id=recovery_id,
        public_key=key,
        transaction=assembled["raw"] if assembled else None,
        transaction_hash=assembled["hash"] if assembled else None,
        summary=done.task.summary,
    )
