"""What an account hands to whoever signs for it, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class EvmTransaction:
    """An unsigned transaction: what :func:`threshold.payload.evm_transaction_inspect` takes."""

    unsigned: bytes


@dataclass(frozen=True, slots=True)
class EvmMessage:
    """A message (EIP-191); with the 20 bytes of a ``validator``, one of version 0, otherwise of version ``E``."""

    message: bytes
    validator: bytes | None = None


@dataclass(frozen=True, slots=True)
class EvmTypedData:
    """Typed data (EIP-712) as JSON: what :func:`threshold.payload.evm_typed_data_inspect` takes."""

    typed_data: bytes


EvmPayload: TypeAlias = EvmTransaction | EvmMessage | EvmTypedData


class EvmSignature(NamedTuple):
    """A signature with ``s`` in the lower half; ``recovery_id`` is 0 or 1."""

    r: int
    s: int
    recovery_id: int

    def to_bytes(self) -> bytes:
        """``r`` and ``s``, 32 bytes each."""
        return self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big")


class EvmSigner(Protocol):
    """Signs a payload of which it computes the digest itself."""

    def __call__(self, payload: EvmPayload, /) -> EvmSignature: ...


class AsyncEvmSigner(Protocol):
    """An :class:`EvmSigner` that is awaited."""

    async def __call__(self, payload: EvmPayload, /) -> EvmSignature: ...
