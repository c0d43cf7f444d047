"""The synchronous face of :class:`cosigner.delegation.calls.DelegationCalls`. Every method is the one with the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .delegation.terms import DEFAULT_LIFETIME

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import Unpack

    from protocol.delegation import (
        DelegationConfigured,
        DelegationInfo,
        DelegationSettings,
        DelegationSettingsReply,
    )

    from .backups.making import Apart, BackupPlan
    from .client import AsyncClient
    from .delegation import Limits, Prompt
    from .evidence import Given


class SyncDelegationCalls:
    """The calls of :class:`cosigner.sync.Client` about delegated access."""

    _runner: asyncio.Runner
    _client: AsyncClient

    def delegation_settings(self) -> DelegationSettingsReply:
        return self._runner.run(self._client.delegation_settings())

    def delegation_prompt(self) -> Prompt | None:
        return self._runner.run(self._client.delegation_prompt())

    def approve_delegation(
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
        return self._runner.run(
            self._client.approve_delegation(
                wallet_id, limits, app=app, lifetime=lifetime, backup=backup, apart=apart, **given
            )
        )

    def deny_delegation(self, *, denied: bool = True, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.deny_delegation(denied=denied, **given))

    def delegations(self, wallet_id: str) -> list[DelegationInfo]:
        return self._runner.run(self._client.delegations(wallet_id))

    def revoke_delegation(self, wallet_id: str, share_set_id: str, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.revoke_delegation(wallet_id, share_set_id, **given))

    def tighten_delegation(
        self,
        wallet_id: str,
        share_set_id: str,
        limits: bytes,
        *,
        expires_at: int,
        **given: Unpack[Given],
    ) -> None:
        self._runner.run(
            self._client.tighten_delegation(wallet_id, share_set_id, limits, expires_at=expires_at, **given)
        )

    def configure_delegation(
        self,
        wanted: DelegationSettings,
        *,
        version: int | None = None,
        new_secret: bool = False,
        **given: Unpack[Given],
    ) -> DelegationConfigured:
        return self._runner.run(
            self._client.configure_delegation(wanted, version=version, new_secret=new_secret, **given)
        )

    def ping_webhook(self, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.ping_webhook(**given))

    def revoke_delegation_as_administrator(
        self, wallet_id: str, share_set_id: str, **given: Unpack[Given]
    ) -> None:
        self._runner.run(self._client.revoke_delegation_as_administrator(wallet_id, share_set_id, **given))
