"""Delegations at rest: sealed again, under a key of this machine or one that AWS KMS guards (``docs/spec/seal.md`` §1)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from cosigner.errors import StoreError
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, ProtocolError
from threshold import SealingKey, ThresholdError

_KEY: Final = 32
_PURPOSE: Final = "cosigner-delegation"
_MAX_RECORD: Final = 128 << 10


class Sealer(Protocol):
    """Seals what an inbox keeps. Both methods may block, and raise :class:`cosigner.errors.StoreError`."""

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Seal; only the same context opens it."""

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Open what :meth:`seal` made.

        :raises StoreError: ``delegation_not_authentic``.
        """


class LocalSealer:
    """A key in a file, which whoever reads the file has.

    :param path: 32 bytes, readable by their owner only; made if there is none.
    :raises StoreError: ``sealing_key_unusable``.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._key = SealingKey.from_data_key(_read_or_make(path))
        except OSError as error:
            raise _unusable(f"{path}: {error.strerror}") from None
        except ThresholdError:
            raise _unusable(f"{path} does not hold {_KEY} random bytes") from None

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        return self._key.seal_bytes(plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        return _open(self._key, sealed, context)


class KmsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed text beside its wrapped key."""

    version: Literal[1]
    wrapped: Annotated[bytes, Meta(min_length=1, max_length=6144)]
    sealed: Annotated[bytes, Meta(min_length=1, max_length=_MAX_RECORD)]


class KmsSealer:
    """A data key from AWS KMS for each record; nothing on this machine opens a record without asking KMS, which logs it.

    :param key_id: the KMS key's ARN.
    :param client: a boto3 client of KMS.
    """

    def __init__(self, key_id: str, client: Any) -> None:  # noqa: ANN401  (boto3 makes its classes at run time)
        self._key_id = key_id
        self._client = client

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        answer = self._ask(
            self._client.generate_data_key,
            KeyId=self._key_id,
            KeySpec="AES_256",
            EncryptionContext=_encryption_context(context),
        )
        sealed = SealingKey.from_data_key(answer["Plaintext"]).seal_bytes(plaintext, context)
        return cbor.encode(KmsRecord(version=1, wrapped=answer["CiphertextBlob"], sealed=sealed))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        try:
            record = cbor.decode(sealed, KmsRecord, limit=2 * _MAX_RECORD, culprit=Culprit.STORAGE)
        except ProtocolError:
            raise _not_authentic() from None
        answer = self._ask(
            self._client.decrypt,
            KeyId=self._key_id,
            CiphertextBlob=record.wrapped,
            EncryptionContext=_encryption_context(context),
        )
        return _open(SealingKey.from_data_key(answer["Plaintext"]), record.sealed, context)

    @staticmethod
    def _ask(call: Any, **arguments: object) -> Any:  # noqa: ANN401
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (for those who use KMS)

        try:
            return call(**arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in {"InvalidCiphertextException", "IncorrectKeyException"}:
                raise _not_authentic() from None
            raise _unusable(f"KMS answered {code}") from None
        except BotoCoreError as error:
            raise _unusable(f"KMS cannot be asked: {type(error).__name__}") from None


def _encryption_context(context: bytes) -> dict[str, str]:
    return {"purpose": _PURPOSE, "context": context.hex()}


def _open(key: SealingKey, sealed: bytes, context: bytes) -> bytes:
    try:
        return key.open_bytes(sealed, context)
    except ThresholdError:
        raise _not_authentic() from None


def _read_or_make(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise _unusable(f"{path} can be read by others than its owner: chmod 600") from None
        return path.read_bytes()
    key = os.urandom(_KEY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def _unusable(reason: str) -> StoreError:
    return StoreError("sealing_key_unusable", f"Delegations cannot be sealed or opened: {reason}.")


def _not_authentic() -> StoreError:
    return StoreError(
        "delegation_not_authentic", "The stored delegation was changed, or sealed under another key."
    )
