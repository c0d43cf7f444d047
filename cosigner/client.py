"""The client: one object for everything a user's device does with its co-signer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from protocol.messages import GetWallet, PsbtPayload, SolanaPayload, WalletInfo, WalletReply
from threshold.payload import bitcoin_address, psbt_finalize, solana_address, solana_assemble

from . import keygen, signing
from .errors import StoreError
from .session import SessionKeeper
from .transport import Transport

if TYPE_CHECKING:
    from types import TracebackType

    from attestation import VerifiedAttestation
    from threshold import KeyShare

    from .config import ClientConfig
    from .session import Session
    from .store import ShareStore, StoredWallet
    from .transport import Traffic


@dataclass(frozen=True)
class Wallet:
    """A wallet's public facts.

    :ivar address: as its chain writes it.
    :ivar public_key: 32 bytes (Ed25519) or 33 (secp256k1, the Taproot internal key).
    """

    wallet_id: str
    chain: str
    network: str
    suite: str
    address: str
    public_key: bytes
    epoch: int

    @classmethod
    def of(cls, info: WalletInfo) -> Wallet:
        """The public facts of ``info``, with the address worked out."""
        address = (
            solana_address(info.public_key)
            if info.chain == "solana"
            else bitcoin_address(info.public_key, info.network)
        )
        return cls(
            wallet_id=info.wallet_id,
            chain=info.chain,
            network=info.network,
            suite=info.suite,
            address=address,
            public_key=info.public_key,
            epoch=info.epoch,
        )


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


class AsyncClient:
    """An asynchronous client. Use it as an async context manager.

    :param config: where the host is and what the client trusts.
    :param store: the user's shares; may be left out for attestation alone.
    """

    def __init__(
        self, config: ClientConfig, store: ShareStore | None = None, *, transport: Transport | None = None
    ) -> None:
        self._config = config
        self._store = store
        self._transport = transport or Transport(config.api_url)
        self._keeper = SessionKeeper(self._transport, config.policy, config.environment)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._keeper.close()
        finally:
            await self._transport.__aexit__(kind, error, trace)

    @property
    def traffic(self) -> Traffic:
        """Bytes of HTTP bodies so far."""
        return self._transport.traffic

    async def attest(self) -> VerifiedAttestation:
        """Fetch and verify a fresh attestation document.

        :raises AttestationRefused: it does not satisfy the trust policy.
        """
        return (await self._keeper.enclave(fresh=True)).attestation

    async def open(self) -> None:
        """Open the session now rather than at the first use."""

        async def nothing(_: Session) -> None:
            return None

        await self._keeper.run(nothing)

    async def create_wallet(self, chain: str, network: str | None = None) -> Wallet:
        """Create a 2-of-2 wallet by distributed key generation.

        :param chain: ``solana`` or ``bitcoin``.
        :param network: for Bitcoin ``mainnet`` (default), ``testnet``, ``signet`` or ``regtest``.
        :raises CosignerError: see :func:`cosigner.keygen.create`.
        """
        info = await keygen.create(
            self._keeper, self._unlocked(), self._config.environment, chain=chain, network=network
        )
        return Wallet.of(info)

    async def resume_wallet(self, wallet_id: str) -> Wallet | None:
        """Settle a wallet that a crash left pending; ``None``, and still pending, when the enclave does not know it.

        :raises StoreError: ``environment_mismatch``: the wallet belongs to another environment.
        """
        store = self._unlocked()
        pending = await asyncio.to_thread(store.pending, wallet_id)
        self._require_environment(pending)
        info = await keygen.resume(self._keeper, store, pending.info)
        return None if info is None else Wallet.of(info)

    async def enclave_wallet(self, wallet_id: str) -> Wallet:
        """What the enclave has stored of a wallet, at its newest epoch.

        :raises EnclaveRefused: ``wallet_unknown``, ``sealed_record_rejected``, ``epoch_stale``.
        """

        async def ask(session: Session) -> WalletReply:
            return await session.call(GetWallet(wallet_id), WalletReply)

        return Wallet.of((await self._keeper.run(ask)).wallet)

    async def sign_solana(
        self, wallet_id: str, message: bytes, *, other_signatures: dict[bytes, bytes] | None = None
    ) -> SolanaSignature:
        """Sign a serialized Solana message (legacy or version 0).

        :param other_signatures: signatures of other required signers, 64 bytes by 32-byte public key.
        :raises PayloadError: malformed, or this wallet is not a required signer.
        """
        share, wallet = await self._load(wallet_id)
        done = await signing.cosign(self._keeper, share, wallet, SolanaPayload(message))
        signatures = {**(other_signatures or {}), wallet.public_key: done.signatures[0]}
        required = done.task.summary["required_signers"]
        complete = isinstance(required, list) and len(required) == len(signatures)
        return SolanaSignature(
            message=message,
            signature=done.signatures[0],
            transaction=solana_assemble(message, signatures) if complete else None,
            summary=done.task.summary,
        )

    async def sign_bitcoin(self, wallet_id: str, psbt: bytes) -> BitcoinSignature:
        """Sign every input of a PSBT that spends this wallet's Taproot key path.

        :param psbt: binary PSBT of version 0.
        :raises PayloadError: malformed, or no input belongs to this wallet.
        """
        share, wallet = await self._load(wallet_id)
        done = await signing.cosign(self._keeper, share, wallet, PsbtPayload(psbt))
        signatures = dict(zip(done.task.inputs, done.signatures, strict=True))
        finished = psbt_finalize(psbt, signatures)
        return BitcoinSignature(
            psbt=finished["psbt"],
            signatures=signatures,
            sighashes=dict(zip(done.task.inputs, done.task.digests, strict=True)),
            transaction=finished["transaction"],
            summary=done.task.summary,
        )

    async def _load(self, wallet_id: str) -> tuple[KeyShare, WalletInfo]:
        share, stored = await asyncio.to_thread(self._unlocked().load, wallet_id)
        self._require_environment(stored)
        return share, stored.info

    def _require_environment(self, stored: StoredWallet) -> None:
        if stored.environment != self._config.environment:
            raise StoreError(
                "environment_mismatch",
                f"Wallet {stored.info.wallet_id} belongs to environment {stored.environment!r}, but this client is configured for "
                f"{self._config.environment!r}.",
            )

    def _unlocked(self) -> ShareStore:
        if self._store is None:
            raise StoreError("store_locked", "This client was made without a share store.")
        return self._store
