"""What users and administrators do about delegated access: the calls of :class:`cosigner.AsyncClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from protocol.delegation import (
    DelegationConfigured,
    DelegationInfo,
    Delegations,
    DelegationSettingsReply,
    DenyDelegation,
    GetDelegationSettings,
    ListDelegations,
    PingWebhook,
    RevokeDelegation,
    RevokeDelegationAsAdministrator,
    SetDelegationSettings,
    TightenDelegation,
)
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Done

from ..lifecycle import LifecycleCalls  # noqa: TID252
from ..session_keys import now_ms  # noqa: TID252
from . import approving, prompting, settings
from .prompting import Prompt
from .terms import DEFAULT_LIFETIME, canonical, terms_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from protocol.delegation import DelegationSettings

    from ..backups.making import Apart, BackupPlan  # noqa: TID252
    from ..config import ClientConfig  # noqa: TID252
    from ..evidence import Given  # noqa: TID252
    from ..session import Session  # noqa: TID252
    from .terms import Limits


class DelegationCalls(LifecycleCalls):
    """Delegated access. Calls that change something take ``mfa_token`` and ``approvals``, as those about accounts do."""

    _config: ClientConfig

    async def delegation_settings(self) -> DelegationSettingsReply:
        """The environment's settings, checked, and whether this user has said no.

        :raises CosignerError: ``settings_unapproved``: the configuration names administrators, and they did not sign these.
        """

        async def ask(session: Session) -> DelegationSettingsReply:
            return await session.call(GetDelegationSettings(), DelegationSettingsReply)

        reply = await self._keeper.run(ask)
        settings.check(reply, self._config.environment, self._config.administrators)
        return reply

    async def delegation_prompt(self) -> Prompt | None:
        """What the user is to be asked when they sign in; ``None``: nothing. One request for each wallet where anything is asked.

        :raises CosignerError: as :meth:`delegation_settings`.
        """
        reply = await self.delegation_settings()
        if not prompting.wanted(reply):
            return None
        wallets = [
            entry.wallet.wallet_id
            for entry in await self.enclave_wallets()
            if prompting.can_be_delegated(entry)
            and not prompting.is_delegated(await self.delegations(entry.wallet.wallet_id), now_ms())
        ]
        settings = reply.settings
        return Prompt(settings.app, settings.requires_delegation, tuple(wallets)) if wallets else None

    async def approve_delegation(
        self,
        wallet_id: str,
        limits: Limits | bytes,
        *,
        app: str | None = None,
        lifetime: timedelta = DEFAULT_LIFETIME,
        backup: BackupPlan | None = None,
        apart: Mapping[int, Apart] | None = None,
        **given: Unpack[Given],
    ) -> DelegationInfo:
        """Let the environment's app sign for this wallet, within limits, until then or until revoked.

        The user's own shares are replaced on the way, for which ``backup`` and ``apart`` are as in :meth:`refresh_wallet`; the address stays.

        :param limits: or a policy's layer ``signer`` as JSON.
        :param app: whom the user was asked about; by default whoever the settings name now.
        :raises CosignerError: ``terms_refused``: the app is another by now; ``delegation_disabled``, ``developer_key_missing``,
            ``settings_unapproved``, what the enclave refuses, and as :meth:`refresh_wallet`; ``delegation_not_in_force``: its last step
            failed, after the user's shares were renewed.
        :raises PolicyError: the limits are not well formed.
        """
        chosen = (await self.delegation_settings()).settings
        if app is not None and app != chosen.app:
            raise CosignerError(
                "terms_refused",
                f"The environment's app is {chosen.app!r} by now, and not {app!r}, which the user was asked about.",
                culprit=Culprit.CLIENT,
            )
        reply = await self._settle(wallet_id)
        share, wallet = await self._load(wallet_id)
        terms, key = terms_for(chosen, wallet, limits, lifetime=lifetime)
        plan = self._backup_as_before(reply) if backup is None else backup
        failure = await approving.approve(
            self._actions,
            self._unlocked(),
            share,
            reply,
            terms,
            key=key,
            prepare=self._preparing(wallet.parties, plan, apart),
            given=given,
        )
        await self._clear_away(reply, plan.locations)
        for found in await self.delegations(wallet_id):
            if found.terms.share_set_id == terms.share_set_id:
                return found
        why = "" if failure is None else f" ({failure.message})"
        raise CosignerError(
            "delegation_not_in_force",
            f"The enclave did not put the delegation in force{why}: the app signs nothing. Your own shares were renewed on the way. Look at the "
            "environment's settings, and approve again.",
            culprit=Culprit.ENCLAVE if failure is None else failure.culprit,
        ) from failure

    async def deny_delegation(self, *, denied: bool = True, **given: Unpack[Given]) -> None:
        """Say no to delegated access, or take that back. The environment's apps do not ask again."""
        await self._actions.act(DenyDelegation(denied), Done, given=given)

    async def delegations(self, wallet_id: str) -> list[DelegationInfo]:
        """The wallet's delegations, revoked ones included."""

        async def ask(session: Session) -> Delegations:
            return await session.call(ListDelegations(wallet_id), Delegations)

        return (await self._keeper.run(ask)).delegations

    async def revoke_delegation(self, wallet_id: str, share_set_id: str, **given: Unpack[Given]) -> None:
        """The delegate signs nothing more, from the moment this returns; the enclave's share that it needs is destroyed.

        :raises EnclaveRefused: ``delegation_unknown``.
        """
        await self._actions.act(RevokeDelegation(wallet_id, share_set_id), Done, given=given)

    async def tighten_delegation(
        self,
        wallet_id: str,
        share_set_id: str,
        limits: bytes,
        *,
        expires_at: int,
        **given: Unpack[Given],
    ) -> None:
        """Set further limits, which hold beside the approved ones.

        :param limits: a policy's layer ``signer`` as JSON.
        :param expires_at: milliseconds since 1970; not later than before.
        :raises EnclaveRefused: ``delegation_unknown``, ``delegation_not_tighter``.
        """
        request = TightenDelegation(wallet_id, share_set_id, canonical(limits), expires_at)
        await self._actions.act(request, Done, given=given)

    # --- administrators --------------------------------------------------------------------------------------------------------

    async def configure_delegation(
        self,
        wanted: DelegationSettings,
        *,
        version: int | None = None,
        new_secret: bool = False,
        **given: Unpack[Given],
    ) -> DelegationConfigured:
        """Replace the environment's settings. Needs the approvals of a quorum of administrators.

        :param version: of the settings that are replaced; by default of those in force now.
        :param new_secret: make another webhook secret; the reply hands it over once.
        :raises EnclaveRefused: ``approval_required``, ``user_conflict``, ``delegation_settings_refused``.
        """
        if version is None:
            version = (await self.delegation_settings()).version
        request = SetDelegationSettings(wanted, version, new_secret)
        return await self._actions.act(request, DelegationConfigured, given=given)

    async def ping_webhook(self, **given: Unpack[Given]) -> None:
        """Have the host send ``ping`` to the developer's endpoint. Needs a quorum of administrators."""
        await self._actions.act(PingWebhook(), Done, given=given)

    async def revoke_delegation_as_administrator(
        self, wallet_id: str, share_set_id: str, **given: Unpack[Given]
    ) -> None:
        """As :meth:`revoke_delegation`, for any user's wallet. Needs a quorum of administrators."""
        await self._actions.act(RevokeDelegationAsAdministrator(wallet_id, share_set_id), Done, given=given)
