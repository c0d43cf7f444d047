"""Data keys: one for each environment, released by KMS to this measurement only (DESIGN §4.3).

Whether the KMS key may hold one is judged first, every time (`enclave.key_policy`): there is no way to a data key around it.

The first enclave of an environment has KMS generate the key (genesis) and stores the ciphertext with the host. Every later one has
KMS decrypt that ciphertext. The key itself exists in enclave memory only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.limits import MAX_STORED_VALUE
from threshold import SealingKey

from . import log
from .storage import Storage, StorageConflictError

if TYPE_CHECKING:
    from .key_policy import Measurement, Verdict
    from .manifest import Environment

_PURPOSE: Final = "cosigner/data-key/v1"
_GENESIS_EPOCH: Final = 1


class Kms(Protocol):
    """The two attested KMS calls, and the judgement before them; see :class:`enclave.kms.AttestedKms`."""

    def judge_key(self, key_arn: str, *, ours: Measurement, accept_editable: bool) -> Verdict:
        """Whether the key may hold a data key of an enclave that measures as ``ours``."""

    def generate_data_key(self, key_arn: str, context: dict[str, str]) -> tuple[bytes, bytearray]:
        """A new 32-byte key and its ciphertext."""

    def decrypt_data_key(self, key_arn: str, ciphertext: bytes, context: dict[str, str]) -> bytearray:
        """The 32-byte key of a ciphertext."""


class WrappedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data key as KMS encrypted it; not secret."""

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: str
    key_arn: str
    ciphertext: Annotated[bytes, Meta(min_length=1, max_length=6144)]


@dataclass(frozen=True, slots=True)
class DataKey:
    """An environment's data key, and what its KMS key's policy was judged to be before it was asked for."""

    sealing_key: SealingKey
    verdict: Verdict


async def data_key(environment: Environment, *, ours: Measurement, kms: Kms, storage: Storage) -> DataKey:
    """Judge the environment's KMS key, then get its data key, generating it if storage has none.

    :param ours: what this enclave measures as.
    :raises KmsError: KMS refused, its answer was not believed, or the key must not be used.
    :raises CosignerError: ``storage_unavailable``, ``wrapped_key_rejected``.
    """
    verdict = await asyncio.to_thread(
        kms.judge_key,
        environment.kms_key_arn,
        ours=ours,
        accept_editable=environment.key_policy == "editable",
    )
    return DataKey(await _sealing_key_of(environment, kms, storage), verdict)


async def _sealing_key_of(environment: Environment, kms: Kms, storage: Storage) -> SealingKey:
    key = f"environments/{environment.id}/data-key"
    context = {"environment": environment.id, "purpose": _PURPOSE}
    stored = await storage.get(key)
    if stored is None:
        ciphertext, plaintext = await asyncio.to_thread(
            kms.generate_data_key, environment.kms_key_arn, context
        )
        wrapped = WrappedKey(
            version=1, environment=environment.id, key_arn=environment.kms_key_arn, ciphertext=ciphertext
        )
        try:
            await storage.put(key, cbor.encode(wrapped), expected=0, epoch=_GENESIS_EPOCH)
        except StorageConflictError:  # another enclave was first: its key counts
            _wipe(plaintext)
            stored = await storage.get(key)
        else:
            log.event("data_key_generated", environment=environment.id)
            return _sealing_key(plaintext)
    if stored is None:
        raise CosignerError(
            "storage_unavailable",
            "The host's storage reports a data key and then denies having it.",
            culprit=Culprit.STORAGE,
        )
    wrapped = cbor.decode(stored.value, WrappedKey, limit=MAX_STORED_VALUE, culprit=Culprit.STORAGE)
    if (wrapped.environment, wrapped.key_arn) != (environment.id, environment.kms_key_arn):
        raise CosignerError(
            "wrapped_key_rejected",
            f"The stored data key of {environment.id} belongs to another environment or KMS key.",
            culprit=Culprit.STORAGE,
        )
    plaintext = await asyncio.to_thread(
        kms.decrypt_data_key, environment.kms_key_arn, wrapped.ciphertext, context
    )
    log.event("data_key_released", environment=environment.id)
    return _sealing_key(plaintext)


def _sealing_key(plaintext: bytearray) -> SealingKey:
    try:
        return SealingKey.from_data_key(plaintext)
    finally:
        _wipe(plaintext)


def _wipe(secret: bytearray) -> None:
    """Overwrite what Python lets us overwrite; copies made by libraries below stay (``docs/threat-model.md``)."""
    secret[:] = bytes(len(secret))
