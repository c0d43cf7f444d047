"""A synchronous face of :class:`cosigner.client.AsyncClient`, for scripts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, Unpack

from . import evm
from .client import AsyncClient, ClientOptions
from .sync_accounts import SyncAccountCalls
from .sync_delegation import SyncDelegationCalls
from .sync_lifecycle import SyncLifecycleCalls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from attestation import VerifiedAttestation

    from .backups.locations import BackupLocation
    from .client import Wallet
    from .config import ClientConfig
    from .evidence import Given
    from .evm import CosignerAccount, EvmPayload, EvmSignature
    from .receipts import Receipt
    from .signed import BitcoinSignature, EthereumSignature, SolanaSignature
    from .store import ShareStore


class Client(SyncAccountCalls, SyncDelegationCalls, SyncLifecycleCalls):
    """Runs an :class:`AsyncClient` on an event loop of its own. Use it as a context manager, from one thread.

    Every method is the one of :class:`AsyncClient` with the same name.
    """

    def __init__(
        self, config: ClientConfig, store: ShareStore | None = None, **options: Unpack[ClientOptions]
    ) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(config, store, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._client.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    def attest(self) -> VerifiedAttestation:
        return self._runner.run(self._client.attest())

    @property
    def last_receipt(self) -> Receipt | None:
        return self._client.last_receipt

    def create_wallet(self, chain: str, network: str | None = None, **given: Unpack[Given]) -> Wallet:
        return self._runner.run(self._client.create_wallet(chain, network, **given))

    def resume_wallet(self, wallet_id: str) -> Wallet | None:
        return self._runner.run(self._client.resume_wallet(wallet_id))

    def enclave_wallet(self, wallet_id: str) -> Wallet:
        return self._runner.run(self._client.enclave_wallet(wallet_id))

    def service_storage(self) -> BackupLocation:
        return self._client.service_storage()

    def sign_solana(
        self,
        wallet_id: str,
        message: bytes,
        *,
        other_signatures: dict[bytes, bytes] | None = None,
        **given: Unpack[Given],
    ) -> SolanaSignature:
        return self._runner.run(
            self._client.sign_solana(wallet_id, message, other_signatures=other_signatures, **given)
        )

    def sign_solana_text(self, wallet_id: str, text: bytes, **given: Unpack[Given]) -> SolanaSignature:
        return self._runner.run(self._client.sign_solana_text(wallet_id, text, **given))

    def sign_bitcoin(
        self, wallet_id: str, psbt: bytes, *, path: Sequence[int] = (), **given: Unpack[Given]
    ) -> BitcoinSignature:
        return self._runner.run(self._client.sign_bitcoin(wallet_id, psbt, path=path, **given))

    def sign_evm_transaction(
        self, wallet_id: str, unsigned: bytes, *, path: Sequence[int] = (), **given: Unpack[Given]
    ) -> EthereumSignature:
        return self._runner.run(self._client.sign_evm_transaction(wallet_id, unsigned, path=path, **given))

    def sign_evm_message(
        self,
        wallet_id: str,
        message: bytes,
        *,
        validator: bytes | None = None,
        path: Sequence[int] = (),
        **given: Unpack[Given],
    ) -> EthereumSignature:
        return self._runner.run(
            self._client.sign_evm_message(wallet_id, message, validator=validator, path=path, **given)
        )

    def sign_evm_typed_data(
        self, wallet_id: str, typed_data: bytes, *, path: Sequence[int] = (), **given: Unpack[Given]
    ) -> EthereumSignature:
        return self._runner.run(self._client.sign_evm_typed_data(wallet_id, typed_data, path=path, **given))

    def derived_address(self, wallet_id: str, path: Sequence[int]) -> str:
        return self._runner.run(self._client.derived_address(wallet_id, path))

    def evm_account(self, wallet_id: str, *, path: Sequence[int] = ()) -> CosignerAccount:
        """As :meth:`AsyncClient.evm_account`, with the methods of ``eth_account``'s ``LocalAccount``."""
        sign_async, public_key = self._runner.run(self._client.evm_signer(wallet_id, path=path))

        async def signed(payload: EvmPayload) -> EvmSignature:
            return await sign_async(payload)

        def sign(payload: EvmPayload, /) -> EvmSignature:
            return self._runner.run(signed(payload))

        return evm.CosignerAccount(sign, public_key)
