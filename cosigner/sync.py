"""A synchronous face of :class:`cosigner.client.AsyncClient`, for scripts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from . import evm
from .client import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from attestation import VerifiedAttestation
    from protocol.accounts import LoggedIn

    from .client import BitcoinSignature, EthereumSignature, SolanaSignature, Wallet
    from .config import ClientConfig
    from .evm import CosignerAccount, EvmPayload, EvmSignature
    from .store import ShareStore


class Client:
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

    def login(self, jwt: str | None = None) -> LoggedIn:
        return self._runner.run(self._client.login(jwt))

    def attest(self) -> VerifiedAttestation:
        return self._runner.run(self._client.attest())

    def create_wallet(self, chain: str, network: str | None = None) -> Wallet:
        return self._runner.run(self._client.create_wallet(chain, network))

    def resume_wallet(self, wallet_id: str) -> Wallet | None:
        return self._runner.run(self._client.resume_wallet(wallet_id))

    def enclave_wallet(self, wallet_id: str) -> Wallet:
        return self._runner.run(self._client.enclave_wallet(wallet_id))

    def sign_solana(
        self, wallet_id: str, message: bytes, *, other_signatures: dict[bytes, bytes] | None = None
    ) -> SolanaSignature:
        return self._runner.run(
            self._client.sign_solana(wallet_id, message, other_signatures=other_signatures)
        )

    def sign_bitcoin(self, wallet_id: str, psbt: bytes, *, path: Sequence[int] = ()) -> BitcoinSignature:
        return self._runner.run(self._client.sign_bitcoin(wallet_id, psbt, path=path))

    def sign_evm_transaction(
        self, wallet_id: str, unsigned: bytes, *, path: Sequence[int] = ()
    ) -> EthereumSignature:
        return self._runner.run(self._client.sign_evm_transaction(wallet_id, unsigned, path=path))

    def sign_evm_message(
        self, wallet_id: str, message: bytes, *, validator: bytes | None = None, path: Sequence[int] = ()
    ) -> EthereumSignature:
        return self._runner.run(
            self._client.sign_evm_message(wallet_id, message, validator=validator, path=path)
        )

    def sign_evm_typed_data(
        self, wallet_id: str, typed_data: bytes, *, path: Sequence[int] = ()
    ) -> EthereumSignature:
        return self._runner.run(self._client.sign_evm_typed_data(wallet_id, typed_data, path=path))

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
