"""Signing with a wallet's share: what clients of users and of delegates have in common. Results are verified before they are returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from protocol.messages import (
    EvmMessagePayload,
    EvmPayload,
    EvmTransactionPayload,
    EvmTypedDataPayload,
    PsbtPayload,
    SolanaPayload,
    SolanaTextPayload,
)
from threshold import derive_public_key
from threshold.payload import (
    evm_signature_assemble,
    evm_transaction_assemble,
    psbt_finalize,
    solana_assemble,
)

from . import evm, signing
from .evm import EvmMessage, EvmTransaction, EvmTypedData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from .actions import Actions
    from .evidence import Given
    from .evm import AsyncCosignerAccount


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


class SigningCalls:
    """The signing calls of :class:`cosigner.client.AsyncClient` and of delegates' clients."""

    _actions: Actions

    async def _load(self, wallet_id: str) -> tuple[KeyShare, WalletInfo]:
        """The share that signs for a wallet."""
        raise NotImplementedError

    async def sign_solana(
        self,
        wallet_id: str,
        message: bytes,
        *,
        other_signatures: dict[bytes, bytes] | None = None,
        **given: Unpack[Given],
    ) -> SolanaSignature:
        """Sign a serialized Solana message (legacy or version 0).

        :param other_signatures: signatures of other required signers, 64 bytes by 32-byte public key.
        :raises PayloadError: malformed, or this wallet is not a required signer.
        """
        share, wallet = await self._load(wallet_id)
        done = await signing.cosign(self._actions, share, wallet, SolanaPayload(message), given=given)
        signatures = {**(other_signatures or {}), wallet.public_key: done.signatures[0]}
        required = done.task.summary["required_signers"]
        complete = isinstance(required, list) and len(required) == len(signatures)
        return SolanaSignature(
            message=message,
            signature=done.signatures[0],
            transaction=solana_assemble(message, signatures) if complete else None,
            summary=done.task.summary,
        )

    async def sign_solana_text(self, wallet_id: str, text: bytes, **given: Unpack[Given]) -> SolanaSignature:
        """Sign a text as a wallet adapter's ``signMessage`` does: the signature covers its bytes. Such a text is never a transaction.

        :param text: UTF-8, 1 to 65515 bytes, without control characters.
        :raises PayloadError: ``solana_text_invalid``, ``solana_text_too_large``, ``solana_text_is_message``.
        """
        share, wallet = await self._load(wallet_id)
        done = await signing.cosign(self._actions, share, wallet, SolanaTextPayload(text), given=given)
        return SolanaSignature(
            message=text, signature=done.signatures[0], transaction=None, summary=done.task.summary
        )

    async def sign_bitcoin(
        self, wallet_id: str, psbt: bytes, *, path: Sequence[int] = (), **given: Unpack[Given]
    ) -> BitcoinSignature:
        """Sign every input of a PSBT that spends this wallet's Taproot key path.

        :param psbt: binary PSBT of version 0.
        :param path: unhardened BIP-32 path below the wallet's key, such as ``(0, 5)``.
        :raises PayloadError: malformed, or no input belongs to this wallet.
        """
        share, wallet = await self._load(wallet_id)
        done = await signing.cosign(self._actions, share, wallet, PsbtPayload(psbt), path=path, given=given)
        signatures = dict(zip(done.task.inputs, done.signatures, strict=True))
        finished = psbt_finalize(psbt, signatures)
        return BitcoinSignature(
            psbt=finished["psbt"],
            signatures=signatures,
            sighashes=dict(zip(done.task.inputs, done.task.digests, strict=True)),
            transaction=finished["transaction"],
            summary=done.task.summary,
        )

    async def sign_evm_transaction(
        self, wallet_id: str, unsigned: bytes, *, path: Sequence[int] = (), **given: Unpack[Given]
    ) -> EthereumSignature:
        """Sign an EVM transaction of types 0 (EIP-155), 1, 2, 3 or 4.

        :param unsigned: what is hashed for the signature; :func:`cosigner.evm.unsigned_transaction` makes it of a dictionary.
        :param path: unhardened BIP-32 path below the wallet's key, such as ``(0, 5)``.
        :raises PayloadError: malformed; it says what and where.
        """
        return await self._sign_evm(wallet_id, EvmTransactionPayload(unsigned), path, given)

    async def sign_evm_message(
        self,
        wallet_id: str,
        message: bytes,
        *,
        validator: bytes | None = None,
        path: Sequence[int] = (),
        **given: Unpack[Given],
    ) -> EthereumSignature:
        """Sign a message (EIP-191): ``personal_sign``, or version 0 for a ``validator`` of 20 bytes."""
        return await self._sign_evm(wallet_id, EvmMessagePayload(message, validator), path, given)

    async def sign_evm_typed_data(
        self, wallet_id: str, typed_data: bytes, *, path: Sequence[int] = (), **given: Unpack[Given]
    ) -> EthereumSignature:
        """Sign typed data (EIP-712), JSON as ``eth_signTypedData_v4`` takes it.

        :raises PayloadError: malformed; it says what and where.
        """
        return await self._sign_evm(wallet_id, EvmTypedDataPayload(typed_data), path, given)

    async def evm_account(self, wallet_id: str, *, path: Sequence[int] = ()) -> AsyncCosignerAccount:
        """An account for ``eth_account`` and ``web3.py`` users; needs the extra ``cosigner[evm]``.

        :raises StoreError: see :meth:`cosigner.store.ShareStore.load`.
        """
        sign, public_key = await self.evm_signer(wallet_id, path=path)
        return evm.AsyncCosignerAccount(sign, public_key)

    async def evm_signer(
        self, wallet_id: str, *, path: Sequence[int] = ()
    ) -> tuple[evm.AsyncEvmSigner, bytes]:
        """What an account needs: a coroutine that signs payloads, and the key it signs with (33 bytes)."""
        share, wallet = await self._load(wallet_id)
        public_key = derive_public_key(wallet.public_key, share.chain_code, list(path))

        async def sign(payload: evm.EvmPayload, /) -> evm.EvmSignature:
            signed = await self._sign_evm(wallet_id, _evm_payload(payload), path, {})
            r, s = signed.signature[:32], signed.signature[32:64]
            return evm.EvmSignature(int.from_bytes(r, "big"), int.from_bytes(s, "big"), signed.recovery_id)

        return sign, public_key

    async def _sign_evm(
        self, wallet_id: str, payload: EvmPayload, path: Sequence[int], given: Given
    ) -> EthereumSignature:
        share, wallet = await self._load(wallet_id)
        done = await signing.cosign_ecdsa(self._actions, share, wallet, payload, path=path, given=given)
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


def _evm_payload(payload: evm.EvmPayload) -> EvmPayload:
    """What an account hands over, as it travels."""
    match payload:
        case EvmTransaction(unsigned=unsigned):
            return EvmTransactionPayload(unsigned)
        case EvmMessage(message=message, validator=validator):
            return EvmMessagePayload(message, validator)
        case EvmTypedData(typed_data=typed_data):
            return EvmTypedDataPayload(typed_data)
