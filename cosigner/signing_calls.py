"""What a user signs: the calls of :class:`cosigner.client.AsyncClient` that take a transaction or a message."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

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

from . import evm, settling, signing
from .errors import EnclaveRefused
from .evm import EvmMessage, EvmTransaction, EvmTypedData
from .signed import SolanaSignature, bitcoin_signature, ethereum_signature, solana_signature
from .wallets import address_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from .actions import Actions
    from .evidence import Given
    from .evm import AsyncCosignerAccount
    from .signed import BitcoinSignature, EthereumSignature
    from .store import ShareStore


class SigningCalls:
    """The calls of :class:`cosigner.client.AsyncClient` that sign."""

    _actions: Actions

    async def _load(self, wallet_id: str) -> tuple[KeyShare, WalletInfo]:
        raise NotImplementedError

    def _unlocked(self) -> ShareStore:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def _current(self, wallet: WalletInfo) -> AsyncIterator[None]:
        """The enclave may say that this device's share is of an epoch that is over: the device remembers that.

        :raises StoreError: ``share_outdated``.
        """
        try:
            yield
        except EnclaveRefused as error:
            if error.code != "epoch_superseded":
                raise
            store = self._unlocked()
            raise (
                await settling.outdated(self._actions, store, wallet.wallet_id, wallet.epoch) or error
            ) from error

    async def derived_address(self, wallet_id: str, path: Sequence[int]) -> str:
        """The address at an unhardened BIP-32 path below a Bitcoin or Ethereum wallet.

        :raises ThresholdError: ``invalid_path``, ``invalid_public_key`` (a Solana wallet has no such addresses).
        """
        share, wallet = await self._load(wallet_id)
        key = derive_public_key(wallet.public_key, share.chain_code, list(path))
        return address_of(wallet.chain, wallet.network, key)

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
        async with self._current(wallet):
            done = await signing.cosign(self._actions, share, wallet, SolanaPayload(message), given=given)
        return solana_signature(
            message,
            done.task,
            done.signatures[0],
            public_key=wallet.public_key,
            other_signatures=other_signatures,
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
        async with self._current(wallet):
            done = await signing.cosign(
                self._actions, share, wallet, PsbtPayload(psbt), path=path, given=given
            )
        return bitcoin_signature(psbt, done.task, done.signatures)

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
        async with self._current(wallet):
            done = await signing.cosign_ecdsa(self._actions, share, wallet, payload, path=path, given=given)
        return ethereum_signature(payload, done)


def _evm_payload(payload: evm.EvmPayload) -> EvmPayload:
    """What an account hands over, as it travels."""
    match payload:
        case EvmTransaction(unsigned=unsigned):
            return EvmTransactionPayload(unsigned)
        case EvmMessage(message=message, validator=validator):
            return EvmMessagePayload(message, validator)
        case EvmTypedData(typed_data=typed_data):
            return EvmTypedDataPayload(typed_data)
