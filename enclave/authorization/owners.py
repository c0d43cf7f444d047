"""Whose the wallet, or the layer, is that a request is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from enclave.delegation.record import refused
from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope.errors import CosignerError, Culprit

if TYPE_CHECKING:
    from enclave.accounts.ownership import Wallets
    from enclave.actors import Actor
    from enclave.vault import OpenedWallet, Vault
    from protocol.envelope.messages import Message

_IDS: Final = re.compile(r"[0-9a-f-]{36}(:[0-9a-f-]{36})?")

_UsesWallet = (
    m.Sign
    | m.SignEcdsa
    | a.HandOver
    | life.BeginReshare
    | life.FinishReshare
    | life.CommitReshare
    | life.AbortReshare
    | life.ExportShare
    | life.BeginBackup
    | life.ConfirmBackup
    | life.OpenBackup
    | life.RemoveBackup
    | d.BeginDelegation
    | d.FinishDelegation
    | d.CommitDelegation
    | d.TightenDelegation
)
_SeesWallet = (
    m.GetWallet | life.DeleteWallet | d.ListDelegations | d.RevokeDelegation
)  # also of what is deleted
_NamesEpoch = m.Sign | m.SignEcdsa | life.ExportShare


class Owners:
    """The owners of one environment's wallets and layers."""

    def __init__(self, vault: Vault, wallets: Wallets) -> None:
        self._vault = vault
        self._wallets = wallets

    async def wallet_of(self, actor: Actor, request: Message) -> OpenedWallet | None:
        """The wallet that a request is about, which is the user's; ``None``: it is about none. See :func:`require_usable`.

        :raises CosignerError: ``not_owner``, ``wallet_unknown``, and those of vault and storage.
        """
        if isinstance(request, _UsesWallet | _SeesWallet):
            return await self.own(actor, request.wallet_id)
        return None

    async def known(self, actor: Actor, wallet_id: str) -> OpenedWallet:
        """:meth:`own` for who only looks: a wallet that is somebody else's is unknown to them, like one that never was.

        :raises CosignerError: ``wallet_unknown``, and as :meth:`own`.
        """
        try:
            return await self.own(actor, wallet_id)
        except CosignerError as error:
            if error.code == "not_owner":
                raise CosignerError(
                    "wallet_unknown",
                    "The user has no such wallet in this environment.",
                    culprit=Culprit.CLIENT,
                ) from None
            raise

    async def own(self, actor: Actor, wallet_id: str) -> OpenedWallet:
        """A wallet of this user. The record of its owner and its share must agree on who made it: a host can hide the one, so that somebody
        else may claim the wallet, but it cannot make the other. A delegate gets its own share set, of the one wallet that it is for, while
        that is still its user's.

        :raises CosignerError: ``not_owner``, ``wallet_unknown``, ``delegation_refused``, and those of vault and storage.
        """
        delegation = actor.delegation
        if delegation is not None and wallet_id != delegation.wallet_id:
            raise CosignerError("not_owner", "This delegation is for another wallet.", culprit=Culprit.CLIENT)
        record = await self._wallets.require_owner(actor, wallet_id)
        opened = await self._vault.open(wallet_id, None if delegation is None else delegation.share_set_id)
        if opened.creator != record.creator:
            raise CosignerError("not_owner", "This wallet is not this user's.", culprit=Culprit.STORAGE)
        if delegation is not None and opened.retired:  # what another enclave has ended is seen here first
            raise refused("The delegation is over.")
        return opened

    async def require_sight(self, actor: Actor, layer: str, subject: str) -> None:
        """Who may see a layer: the environment's, every user; an account's, its user; a wallet's and its signers', the wallet's owner.

        :raises CosignerError: ``not_owner``, and as :meth:`own`.
        """
        match layer, subject.split(":"):
            case "environment", [""]:
                return
            case "account", [user_id] if user_id == actor.user_id:
                return
            case ("wallet", [wallet_id]) | ("signer", [wallet_id, _]) if _IDS.fullmatch(subject):
                await self.own(actor, wallet_id)
                return
        raise CosignerError("not_owner", "This layer is not yours.", culprit=Culprit.CLIENT)


def require_usable(opened: OpenedWallet, request: Message) -> None:
    """That a wallet is live, and at the epoch that a request names, if it uses the wallet's share.

    :raises CosignerError: ``wallet_retired``, ``epoch_stale``, ``epoch_superseded``.
    """
    if isinstance(request, _UsesWallet):
        opened.require_live()
    if isinstance(request, _NamesEpoch):
        opened.require_epoch(request.epoch)
