"""The synchronous face of :class:`cosigner.accounts.AccountCalls`. Every method is the one with the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import approvals

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from protocol.accounts import (
        Account,
        CredentialInfo,
        DeviceCodeMade,
        LayerName,
        LoggedIn,
        PolicyLayer,
        RecoveryCodes,
        ServiceAccount,
        SessionKeyInfo,
    )
    from protocol.actions import SignedApproval
    from protocol.messages import Request
    from protocol.receipts import Link

    from .client import AsyncClient
    from .evidence import Given, KeyProvider, PasskeyProvider
    from .keys import SigningKey
    from .recovery import Gate, Recovered


class SyncAccountCalls:
    """The calls of :class:`cosigner.sync.Client` that are about users rather than wallets."""

    _runner: asyncio.Runner
    _client: AsyncClient

    def login(self, jwt: str | None = None) -> LoggedIn:
        return self._runner.run(self._client.login(jwt))

    def logout(self) -> None:
        self._runner.run(self._client.logout())

    def session_keys(self) -> list[SessionKeyInfo]:
        return self._runner.run(self._client.session_keys())

    def revoke_session_keys(self, session_keys: Sequence[bytes] = (), **given: Unpack[Given]) -> None:
        self._runner.run(self._client.revoke_session_keys(session_keys, **given))

    def account(self) -> Account:
        return self._runner.run(self._client.account())

    def link_login(self, jwt: str, **given: Unpack[Given]) -> Account:
        return self._runner.run(self._client.link_login(jwt, **given))

    def unlink_login(self, login: str, **given: Unpack[Given]) -> Account:
        return self._runner.run(self._client.unlink_login(login, **given))

    def add_passkey(
        self,
        name: str,
        *,
        passkeys: PasskeyProvider | None = None,
        device_code: str | None = None,
        **given: Unpack[Given],
    ) -> CredentialInfo:
        return self._runner.run(
            self._client.add_passkey(name, passkeys=passkeys, device_code=device_code, **given)
        )

    def add_key(
        self, name: str, key: KeyProvider, *, device_code: str | None = None, **given: Unpack[Given]
    ) -> CredentialInfo:
        return self._runner.run(self._client.add_key(name, key, device_code=device_code, **given))

    def credentials(self) -> list[CredentialInfo]:
        return self._runner.run(self._client.credentials())

    def rename_credential(self, credential_id: bytes, name: str, **given: Unpack[Given]) -> CredentialInfo:
        return self._runner.run(self._client.rename_credential(credential_id, name, **given))

    def activate_credential(self, credential_id: bytes, **given: Unpack[Given]) -> CredentialInfo:
        return self._runner.run(self._client.activate_credential(credential_id, **given))

    def deactivate_credential(self, credential_id: bytes, **given: Unpack[Given]) -> CredentialInfo:
        return self._runner.run(self._client.deactivate_credential(credential_id, **given))

    def remove_credential(self, credential_id: bytes, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.remove_credential(credential_id, **given))

    def make_device_code(self, **given: Unpack[Given]) -> DeviceCodeMade:
        return self._runner.run(self._client.make_device_code(**given))

    def enable_totp(self, confirm: Callable[[bytes], str], **given: Unpack[Given]) -> RecoveryCodes:
        return self._runner.run(self._client.enable_totp(confirm, **given))

    def disable_totp(self, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.disable_totp(**given))

    def new_recovery_codes(self, **given: Unpack[Given]) -> list[str]:
        return self._runner.run(self._client.new_recovery_codes(**given))

    def set_recovery_key(self, key: SigningKey | None, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.set_recovery_key(key, **given))

    def recover(
        self,
        user_id: str,
        recovery_key: SigningKey,
        name: str,
        *,
        passkeys: PasskeyProvider | None = None,
        key: KeyProvider | None = None,
        gate: Gate | None = None,
    ) -> Recovered:
        return self._runner.run(
            self._client.recover(user_id, recovery_key, name, passkeys=passkeys, key=key, gate=gate)
        )

    def complete_recovery(self, user_id: str) -> Recovered:
        return self._runner.run(self._client.complete_recovery(user_id))

    def cancel_recovery(self, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.cancel_recovery(**given))

    def hand_over(self, wallet_id: str, user_id: str, **given: Unpack[Given]) -> None:
        self._runner.run(self._client.hand_over(wallet_id, user_id, **given))

    def new_service_account(self, name: str, key: SigningKey, **given: Unpack[Given]) -> ServiceAccount:
        return self._runner.run(self._client.new_service_account(name, key, **given))

    def get_policy(self, layer: LayerName, subject: str = "") -> PolicyLayer:
        return self._runner.run(self._client.get_policy(layer, subject))

    def set_policy(
        self,
        layer: LayerName,
        content: bytes,
        *,
        subject: str = "",
        expected: bytes | None = None,
        **given: Unpack[Given],
    ) -> PolicyLayer:
        return self._runner.run(
            self._client.set_policy(layer, content, subject=subject, expected=expected, **given)
        )

    def approve(
        self, request: Request, *, asker: str = "", lifetime: float = approvals.DEFAULT_LIFETIME
    ) -> SignedApproval:
        return self._runner.run(self._client.approve(request, asker=asker, lifetime=lifetime))

    def log_head(self) -> Link:
        return self._runner.run(self._client.log_head())
