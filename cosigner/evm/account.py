"""The accounts. This module needs `eth_account` (the extra ``cosigner[evm]``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Never

from eth_account.datastructures import SignedMessage, SignedTransaction
from eth_account.messages import SignableMessage
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.base import BlobPooledTransactionData
from eth_account.types import Blobs
from eth_typing import ChecksumAddress
from hexbytes import HexBytes

from protocol.envelope.errors import CosignerError, Culprit
from threshold import PayloadError
from threshold.payload import (
    evm_address,
    evm_message_digest,
    evm_signature_assemble,
    evm_transaction_assemble,
    evm_transaction_inspect,
    evm_typed_data_inspect,
)

from . import rlp
from .payloads import AsyncEvmSigner, EvmMessage, EvmSignature, EvmSigner, EvmTransaction, EvmTypedData
from .transactions import transaction_type, unsigned_transaction
from .typed_data import typed_data_json
from .values import address, refuse

_PERSONAL: Final = b"thereum Signed Message:\n"
_WRAPPER_VERSION: Final = 1  # EIP-7594


class _Prepared:
    """A transaction before its signature, with the blobs that travel beside it."""

    def __init__(self, transaction: Mapping[str, Any], sender: ChecksumAddress, blobs: Blobs | None) -> None:
        fields = {name: value for name, value in transaction.items() if name != "from"}
        if "from" in transaction and address(transaction["from"], "from") != bytes.fromhex(sender[2:]):
            refuse(f"this account is {sender}", "from")
        self._blobs = None
        if blobs is not None:
            self._blobs = _blob_data(fields, blobs)
        self.unsigned = unsigned_transaction(fields)

    def signed(self, signature: EvmSignature, public_key: bytes) -> SignedTransaction:
        """The transaction with its verified signature.

        :raises PayloadError: ``evm_signature_invalid``.
        """
        result = evm_transaction_assemble(
            self.unsigned, signature.to_bytes(), signature.recovery_id, public_key
        )
        details = evm_transaction_inspect(self.unsigned)
        v = signature.recovery_id if details["type"] else 35 + 2 * details["chain_id"] + signature.recovery_id
        raw = result["raw"] if self._blobs is None else _with_sidecar(result["raw"], self._blobs)
        return SignedTransaction(
            raw_transaction=HexBytes(raw),
            hash=HexBytes(result["hash"]),
            r=signature.r,
            s=signature.s,
            v=v,
        )


class CosignerAccount(LocalAccount):
    """An account like :class:`~eth_account.signers.local.LocalAccount`, but nobody has its key.

    :param sign: signs a payload together with the enclave.
    :param public_key: 33 bytes; every signature is verified under it.

    Methods that would need the key or a digest instead of what is signed raise :class:`~cosigner.errors.CosignerError`
    (``operation_unsupported``).
    """

    def __init__(self, sign: EvmSigner, public_key: bytes) -> None:
        # LocalAccount's own constructor wants the key; only the address is shared.
        self._sign = sign
        self._public_key = public_key
        self._address = ChecksumAddress(evm_address(public_key))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"<CosignerAccount {self._address}>"

    def sign_transaction(
        self, transaction_dict: Mapping[str, Any], blobs: Blobs | None = None
    ) -> SignedTransaction:
        """Sign a transaction.

        :raises PayloadError: a field is missing, unknown or not of its type; ``field`` names it.
        """
        prepared = _Prepared(transaction_dict, self._address, blobs)
        return prepared.signed(self._sign(EvmTransaction(prepared.unsigned)), self._public_key)

    def sign_message(self, signable_message: SignableMessage) -> SignedMessage:
        """Sign a message of ``encode_defunct`` or ``encode_intended_validator``.

        :raises PayloadError: ``evm_message_unsupported``: it holds hashes (``encode_typed_data``), or is no such message.
        """
        payload = message_payload(signable_message)
        return signed_message(_digest(payload), self._sign(payload), self._public_key)

    def sign_typed_data(
        self,
        domain_data: Mapping[str, Any] | None = None,
        message_types: Mapping[str, Any] | None = None,
        message_data: Mapping[str, Any] | None = None,
        full_message: Mapping[str, Any] | None = None,
    ) -> SignedMessage:
        """Sign typed data, given in three parts or whole.

        :raises PayloadError: it is not well formed; ``field`` says where.
        """
        payload = EvmTypedData(typed_data_json(domain_data, message_types, message_data, full_message))
        return signed_message(_digest(payload), self._sign(payload), self._public_key)

    @property
    def key(self) -> Never:
        raise _unsupported("There is no private key: two parties hold a share each.")

    def __bytes__(self) -> bytes:
        raise _unsupported("There is no private key: two parties hold a share each.")

    def encrypt(self, password: str, kdf: object = None, iterations: int | None = None) -> Never:  # noqa: ARG002
        raise _unsupported(
            "There is no private key to encrypt; the share store protects this device's share."
        )

    def unsafe_sign_hash(self, message_hash: object) -> Never:  # noqa: ARG002
        raise _unsupported("A digest is not signed, because it does not tell what it stands for.")

    def sign_authorization(self, authorization: object) -> Never:  # noqa: ARG002
        raise _unsupported("Authorizations of EIP-7702 are not signed.")


class AsyncCosignerAccount:
    """:class:`CosignerAccount` with coroutines; ``sign`` is awaited."""

    def __init__(self, sign: AsyncEvmSigner, public_key: bytes) -> None:
        self._sign = sign
        self._public_key = public_key
        self._address = ChecksumAddress(evm_address(public_key))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"<AsyncCosignerAccount {self._address}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncCosignerAccount) and self._address == other._address

    def __hash__(self) -> int:
        return hash((AsyncCosignerAccount, self._address))

    @property
    def address(self) -> ChecksumAddress:
        """EIP-55."""
        return self._address

    async def sign_transaction(
        self, transaction_dict: Mapping[str, Any], blobs: Blobs | None = None
    ) -> SignedTransaction:
        """See :meth:`CosignerAccount.sign_transaction`."""
        prepared = _Prepared(transaction_dict, self._address, blobs)
        return prepared.signed(await self._sign(EvmTransaction(prepared.unsigned)), self._public_key)

    async def sign_message(self, signable_message: SignableMessage) -> SignedMessage:
        """See :meth:`CosignerAccount.sign_message`."""
        payload = message_payload(signable_message)
        return signed_message(_digest(payload), await self._sign(payload), self._public_key)

    async def sign_typed_data(
        self,
        domain_data: Mapping[str, Any] | None = None,
        message_types: Mapping[str, Any] | None = None,
        message_data: Mapping[str, Any] | None = None,
        full_message: Mapping[str, Any] | None = None,
    ) -> SignedMessage:
        """See :meth:`CosignerAccount.sign_typed_data`."""
        payload = EvmTypedData(typed_data_json(domain_data, message_types, message_data, full_message))
        return signed_message(_digest(payload), await self._sign(payload), self._public_key)


def message_payload(message: SignableMessage) -> EvmMessage:
    """The message itself, of version ``E`` or 0.

    :raises PayloadError: ``evm_message_unsupported``.
    """
    version, header, body = (bytes(part) for part in message)
    if version == b"E" and header == _PERSONAL + str(len(body)).encode():
        return EvmMessage(body)
    if version == b"\x00":
        return EvmMessage(body, validator=header)
    text = (
        "Typed data has to be given whole, not as hashes: use sign_typed_data instead of sign_message."
        if version == b"\x01"
        else "Only messages of encode_defunct and encode_intended_validator are signed."
    )
    raise PayloadError("evm_message_unsupported", text)


def signed_message(digest: bytes, signature: EvmSignature, public_key: bytes) -> SignedMessage:
    """What `eth_account` returns for a message; the signature is verified.

    :raises PayloadError: ``evm_signature_invalid``.
    """
    raw = evm_signature_assemble(digest, signature.to_bytes(), signature.recovery_id, public_key)
    return SignedMessage(
        message_hash=HexBytes(digest), r=signature.r, s=signature.s, v=raw[-1], signature=HexBytes(raw)
    )


def _digest(payload: EvmMessage | EvmTypedData) -> bytes:
    if isinstance(payload, EvmMessage):
        return evm_message_digest(payload.message, payload.validator)["digest"]
    return evm_typed_data_inspect(payload.typed_data)["digest"]


def _blob_data(fields: dict[str, Any], blobs: Blobs) -> BlobPooledTransactionData:
    """The sidecar of these blobs; their hashes are put into the transaction, or are those that it has."""
    if transaction_type(fields) != 3:  # noqa: PLR2004
        refuse("only transactions of type 3 have blobs", "type")
    data = BlobPooledTransactionData.model_validate({"blobs": [{"data": HexBytes(blob)} for blob in blobs]})
    hashes = [bytes(entry.data) for entry in data.versioned_hashes]
    given = fields.setdefault("blobVersionedHashes", hashes)
    if [bytes(HexBytes(entry)) for entry in given] != hashes:
        refuse("these are not the hashes of the blobs", "blobVersionedHashes")
    return data


def _with_sidecar(raw: bytes, data: BlobPooledTransactionData) -> bytes:
    """The form that nodes take from wallets (EIP-7594): transaction, version, blobs, commitments, cell proofs."""
    lists = (data.blobs, data.commitments, data.cell_proofs)
    sidecar = [rlp.encode([bytes(entry.data) for entry in entries]) for entries in lists]
    return raw[:1] + rlp.encode_list([raw[1:], rlp.encode(_WRAPPER_VERSION), *sidecar])


def _unsupported(message: str) -> CosignerError:
    return CosignerError("operation_unsupported", message, culprit=Culprit.CLIENT)
