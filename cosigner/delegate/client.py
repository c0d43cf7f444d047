"""A delegate's client: the developer's server signs for a user, with the share that the webhook brought (``docs/spec/delegation.md`` §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from protocol.binding import delegate_context
from protocol.delegation import (
    DelegateLoggedIn,
    DelegateLogin,
    DelegationInfo,
    Delegations,
    ListDelegations,
    RevokeDelegation,
    TightenDelegation,
)
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Done

from ..actions import Actions  # noqa: TID252
from ..client import Wallet  # noqa: TID252
from ..delegation.terms import canonical  # noqa: TID252
from ..errors import StoreError  # noqa: TID252
from ..evidence import Evidence  # noqa: TID252
from ..identity import Identity  # noqa: TID252
from ..session import SessionKeeper  # noqa: TID252
from ..signing_calls import SigningCalls  # noqa: TID252
from ..transport import Transport  # noqa: TID252

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from protocol.wallets import WalletInfo
    from threshold import KeyShare

    from ..config import ClientConfig  # noqa: TID252
    from ..delegation import DelegatedShare  # noqa: TID252
    from ..receipts import Receipt  # noqa: TID252
    from ..session import Session  # noqa: TID252


class DelegateKeeper(SessionKeeper):
    """Keeps a delegate's session open. Whose it is the wallet's API key and the share say, every time one is opened."""

    def __init__(
        self,
        transport: Transport,
        config: ClientConfig,
        share: DelegatedShare,
        api_key: str,
    ) -> None:
        super().__init__(
            transport,
            config.policy,
            config.environment,
            Identity(config.environment),
            accept_editable_key_policy=config.accept_editable_key_policy,
        )
        self._share = share
        self._api_key = api_key
        self.wallet: WalletInfo | None = None

    async def _open(self) -> Session:
        session = await self._handshake(None)
        context = delegate_context(
            transcript=session.transcript,
            environment=self._share.environment,
            wallet_id=self._share.wallet_id,
            share_set_id=self._share.share_set_id,
        )
        logged_in = await session.call(
            DelegateLogin(
                wallet_id=self._share.wallet_id,
                share_set_id=self._share.share_set_id,
                api_key=self._api_key,
                proof=self._share.key.prove(context),
            ),
            DelegateLoggedIn,
        )
        wallet, share = logged_in.wallet, self._share.key
        if (wallet.public_key, wallet.epoch) != (share.group_public_key, share.epoch):
            raise CosignerError(
                "wallet_mismatch",
                "The enclave's share belongs to another key or epoch than this one.",
                culprit=Culprit.ENCLAVE,
            )
        session.user_id = logged_in.user_id
        self.wallet = wallet
        return session


class DelegatedWallet(SigningCalls):
    """One wallet that a user has delegated: it signs what :class:`cosigner.AsyncClient` signs, as far as the user approved it.

    Use it as an async context manager. Wallet ids in its calls must be :attr:`wallet_id`.

    :param share: what the webhook brought, opened.
    :param api_key: the wallet's API key, which came with it.
    """

    def __init__(
        self,
        config: ClientConfig,
        share: DelegatedShare,
        api_key: str,
        *,
        transport: Transport | None = None,
        keep_receipt: Callable[[Receipt], None] | None = None,
    ) -> None:
        if share.environment != config.environment:
            raise StoreError(
                "environment_mismatch",
                f"This share belongs to environment {share.environment!r}, but the client is configured for {config.environment!r}.",
            )
        self._share = share
        self._transport = transport or Transport(config.api_url)
        self._keeper = DelegateKeeper(self._transport, config, share, api_key)
        self._actions = Actions(self._keeper, config.environment, Evidence(), keep_receipt)
        self.wallet_id = share.wallet_id
        self.share_set_id = share.share_set_id

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
    def last_receipt(self) -> Receipt | None:
        """The receipt of the newest action, allowed or denied; checked."""
        return self._actions.last

    async def wallet(self) -> Wallet:
        """The wallet's public facts, address included.

        :raises EnclaveRefused: ``delegation_refused``: unknown, revoked or expired.
        """
        return Wallet.of(await self._info())

    async def delegation(self) -> DelegationInfo:
        """What the user approved, and until when."""

        async def ask(session: Session) -> Delegations:
            return await session.call(ListDelegations(self.wallet_id), Delegations)

        (found,) = (await self._keeper.run(ask)).delegations
        return found

    async def tighten(self, limits: bytes, *, expires_at: int) -> None:
        """Bind this delegate further than the user did. Only the user can undo it.

        :param limits: a policy's layer ``signer`` as JSON. :param expires_at: milliseconds since 1970.
        """
        request = TightenDelegation(self.wallet_id, self.share_set_id, canonical(limits), expires_at)
        await self._actions.act(request, Done)

    async def revoke(self) -> None:
        """Give the delegation up. Nothing signs with this share afterwards."""
        await self._actions.act(RevokeDelegation(self.wallet_id, self.share_set_id), Done)

    async def _load(self, wallet_id: str) -> tuple[KeyShare, WalletInfo]:
        if wallet_id != self.wallet_id:
            raise StoreError(
                "wallet_missing", f"This share is of wallet {self.wallet_id}, not of {wallet_id}."
            )
        return self._share.key, await self._info()

    async def _info(self) -> WalletInfo:
        if self._keeper.wallet is None:
            await self._keeper.session()
        if self._keeper.wallet is None:
            raise AssertionError  # opening a session has set it
        return self._keeper.wallet
