"""The client: one object for everything a user's device does with its co-signer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from . import keygen, settling
from .accounts import AccountCalls
from .actions import Actions
from .backups.locations.service import ServiceLocation
from .delegation.calls import DelegationCalls
from .errors import StoreError
from .evidence import Evidence
from .identity import DEFAULT_LIFETIME, Identity
from .session import SessionKeeper
from .signed import BitcoinSignature, EthereumSignature, SolanaSignature
from .signing_calls import SigningCalls
from .store import StoredWallet
from .transport import Transport
from .wallets import Wallet

if TYPE_CHECKING:
    from types import TracebackType

    from attestation import VerifiedAttestation
    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from .backups.locations import BackupLocation
    from .config import ClientConfig
    from .evidence import Given
    from .identity import Keyring, TokenProvider
    from .keys import SigningKey
    from .receipts import Receipt
    from .session import Session
    from .store import ShareStore
    from .transport import Traffic


__all__ = [
    "AsyncClient",
    "BitcoinSignature",
    "ClientOptions",
    "EthereumSignature",
    "SolanaSignature",
    "Wallet",
]


class ClientOptions(TypedDict, total=False):
    """Keywords of :class:`AsyncClient`."""

    keyring: Keyring | None
    user_id: str | None
    token_provider: TokenProvider | None
    service_key: SigningKey | None
    session_lifetime: int
    evidence: Evidence | None
    transport: Transport | None


class AsyncClient(AccountCalls, DelegationCalls, SigningCalls):
    """An asynchronous client. Use it as an async context manager.

    :param config: where the host is and what the client trusts.
    :param store: the user's shares and session key; may be left out for attestation alone.
    :param keyring: where the session key lies, if not in the store: a platform's own, say.
    :param user_id: which user of this device; by default whoever logged in last.
    :param token_provider: gives a valid JWT, or an awaitable of one, whenever a login is due.
    :param service_key: for the service account ``user_id``, in place of JWTs.
    :param session_lifetime: seconds wished for a session key; the environment shortens it.
    :param evidence: what else vouches for this user's actions when the enclave asks: passkeys, a key, a second factor.
    """

    def __init__(
        self,
        config: ClientConfig,
        store: ShareStore | None = None,
        *,
        keyring: Keyring | None = None,
        user_id: str | None = None,
        token_provider: TokenProvider | None = None,
        service_key: SigningKey | None = None,
        session_lifetime: int = DEFAULT_LIFETIME,
        evidence: Evidence | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._transport = transport or Transport(config.api_url)
        self._identity = Identity(
            config.environment,
            keyring if keyring is not None else store,
            user_id=user_id,
            token_provider=token_provider,
            service_key=service_key,
            lifetime=session_lifetime,
        )
        self._keeper = SessionKeeper(
            self._transport,
            config.policy,
            config.environment,
            self._identity,
            accept_editable_key_policy=config.accept_editable_key_policy,
        )
        self._actions = Actions(
            self._keeper,
            config.environment,
            evidence or Evidence(),
            None if store is None else store.keep_receipt,
        )

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

    async def open(self, *, ecdsa: bool = False) -> None:
        """Open the session now rather than at the first use.

        :param ecdsa: with what ECDSA signatures need; a session that is there but lacks it is replaced.
        """

        async def nothing(_: Session) -> None:
            return None

        await self._keeper.run(nothing, ecdsa=ecdsa)

    @property
    def last_receipt(self) -> Receipt | None:
        """The receipt of the newest action, allowed or denied; checked."""
        return self._actions.last

    async def create_wallet(self, chain: str, network: str | None = None, **given: Unpack[Given]) -> Wallet:
        """Create a 2-of-2 wallet by distributed key generation.

        :param chain: ``solana``, ``bitcoin`` or ``ethereum`` (all EVM chains).
        :param network: for Bitcoin ``mainnet`` (default), ``testnet``, ``signet`` or ``regtest``.
        :raises CosignerError: see :func:`cosigner.keygen.create`.
        """
        info = await keygen.create(self._actions, self._unlocked(), chain=chain, network=network, given=given)
        return Wallet.of(info)

    async def resume_wallet(self, wallet_id: str) -> Wallet | None:
        """Settle a wallet whose creation, import, recovery or renewal a crash left open; ``None``, and still pending, when the enclave does not know it.

        :raises StoreError: ``environment_mismatch``: the wallet belongs to another environment.
        """
        store = self._unlocked()
        if await asyncio.to_thread(store.decided, wallet_id) is not None:
            return Wallet.of((await self._load(wallet_id))[1])
        pending = await asyncio.to_thread(store.pending, wallet_id)
        self._require_environment(pending)
        info = await keygen.resume(self._actions, store, pending.info)
        return None if info is None else Wallet.of(info)

    async def enclave_wallet(self, wallet_id: str) -> Wallet:
        """What the enclave has stored of a wallet, at its newest epoch.

        :raises EnclaveRefused: ``wallet_unknown``, ``sealed_record_rejected``, ``epoch_stale``.
        """
        return Wallet.of((await settling.ask(self._actions, wallet_id)).wallet)

    def service_storage(self) -> BackupLocation:
        """The service's own storage, as a location of backups."""
        return ServiceLocation(self._config.api_url, self._config.environment)

    async def _load(self, wallet_id: str) -> tuple[KeyShare, WalletInfo]:
        store = self._unlocked()
        decided = await asyncio.to_thread(store.decided, wallet_id)
        if decided is not None:
            self._require_environment(StoredWallet(decided.environment, decided.wallet, pending=True))
            await settling.settle(self._actions, store, wallet_id)
            await asyncio.to_thread(_require_share, store, wallet_id)
        share, stored = store.load(wallet_id)
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


def _require_share(store: ShareStore, wallet_id: str) -> None:
    """After settling: what was decided has become a share, or there is an older one."""
    if store.decided(wallet_id) is not None and store.newest(wallet_id) == 0:
        raise StoreError(
            "recovery_unfinished",
            f"The recovery of wallet {wallet_id} on this device was cut off, and the enclave has dropped its half. Recover again: "
            "cosigner wallet recover.",
        )
