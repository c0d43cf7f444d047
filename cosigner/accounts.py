"""What users do with their own account: session keys, credentials, second factors, logins, ownership, rules (``docs/spec/accounts.md``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from protocol import crockford
from protocol.accounts import (
    Account,
    AddCredential,
    BeginCredential,
    BeginTotp,
    CancelRecovery,
    ChangeCredential,
    ConfirmTotp,
    CredentialChallenge,
    CredentialInfo,
    DeviceCodeMade,
    GetAccount,
    GetPolicy,
    HandOver,
    LinkLogin,
    ListSessionKeys,
    MakeDeviceCode,
    NewRecoveryCodes,
    NewServiceAccount,
    PolicyLayer,
    RecoveryCodes,
    RemoveCredential,
    RemoveTotp,
    RevokeSessionKeys,
    ServiceAccount,
    SessionKeyInfo,
    SessionKeys,
    SetPolicy,
    SetRecoveryKey,
    TotpSecret,
    UnlinkLogin,
)
from protocol.actions import DeviceCode
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Done
from protocol.intents import subject_of
from protocol.receipts import GetLogHead, Link, LogHead, check_head

from . import approvals
from .actions import new_key
from .evidence import Asked
from .recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Unpack

    from protocol.accounts import LayerName, LoggedIn, NewKey, NewPasskey
    from protocol.actions import SignedApproval
    from protocol.messages import Request

    from .actions import Actions
    from .evidence import Given, KeyProvider, PasskeyProvider
    from .identity import Identity
    from .keys import SigningKey
    from .recovery import Gate, Recovered
    from .session import Session, SessionKeeper
    from .store import ShareStore

T = TypeVar("T")


class AccountCalls:
    """The calls of :class:`cosigner.client.AsyncClient` that are about users rather than wallets.

    Those that change something take ``mfa_token`` (a TOTP or recovery code) and ``approvals``, and raise :class:`EnclaveRefused`:
    ``factor_required``, ``policy_denied``, ``approval_required``, ``evidence_invalid``, ``factor_locked``, and what each of them says.
    """

    _keeper: SessionKeeper
    _identity: Identity
    _actions: Actions

    # --- sessions ------------------------------------------------------------------------------------------------------------

    async def login(self, jwt: str | None = None) -> LoggedIn:
        """Register a session key of this device under a JWT. Later sessions are opened by the key alone.

        Where this device has a key that is still good the new one takes its place (renewal).

        :param jwt: by default from the token provider.
        :raises EnclaveRefused: ``jwt_invalid``, ``jwt_expired``, ``issuer_unknown``.
        """
        return await self._keeper.log_in(jwt)

    async def logout(self) -> None:
        """Revoke this device's session key, and remove it from the store. It is removed even if the enclave cannot be told."""
        registered = await self._identity.registered()
        if registered is None:
            return
        try:
            if not registered.expired():
                await self.revoke_session_keys([registered.key.public])
        except CosignerError as error:
            # Revoking the key in use ends the session, and with it the answer's way back.
            if error.code not in {"session_unknown", "login_required", "session_key_rejected"}:
                raise
        finally:
            self._keeper.forget()
            await self._identity.forget()

    async def session_keys(self) -> list[SessionKeyInfo]:
        """The user's session keys, those of other devices as well."""
        return (await self._ask(ListSessionKeys(), SessionKeys)).keys

    async def revoke_session_keys(self, session_keys: Sequence[bytes] = (), **given: Unpack[Given]) -> None:
        """End sessions at once.

        :param session_keys: 33 bytes each; none: all but this device's, and JWTs issued so far are refused, too.
        :raises EnclaveRefused: ``session_key_rejected``: one is not this user's.
        """
        await self._actions.act(RevokeSessionKeys(list(session_keys)), Done, given=given)

    async def account(self) -> Account:
        """What the enclave keeps of this user: logins, credentials, second factors, what is under way."""
        return await self._ask(GetAccount(), Account)

    async def link_login(self, jwt: str, **given: Unpack[Given]) -> Account:
        """Another verified login becomes this user's: any of them logs in.

        :raises EnclaveRefused: ``jwt_invalid``, ``login_taken``, ``login_limit``.
        """
        return await self._actions.act(LinkLogin(jwt.strip()), Account, given=given)

    async def unlink_login(self, login: str, **given: Unpack[Given]) -> Account:
        """Take a login away, and the session keys that it registered.

        :param login: its id, from :meth:`account`.
        :raises EnclaveRefused: ``login_unknown``, ``last_login``.
        """
        return await self._actions.act(UnlinkLogin(login), Account, given=given)

    # --- credentials ---------------------------------------------------------------------------------------------------------

    async def add_passkey(
        self,
        name: str,
        *,
        passkeys: PasskeyProvider | None = None,
        device_code: str | None = None,
        **given: Unpack[Given],
    ) -> CredentialInfo:
        """Register a passkey. The first of a user needs nothing else; a further one an active credential, or a device code.

        :param passkeys: the device that gets it; by default the one that the client was made with.
        :param device_code: made on another device by :meth:`make_device_code`.
        :raises EnclaveRefused: ``credential_exists``, ``credential_limit``, ``device_code_invalid``, ``credential_refused``.
        """
        provider = passkeys or self._actions.evidence.passkeys
        if provider is None:
            raise _no_passkeys()

        async def make(challenge: CredentialChallenge) -> NewPasskey:
            return await provider.create(challenge, name)

        return await self._add(name, make, device_code, given)

    async def add_key(
        self, name: str, key: KeyProvider, *, device_code: str | None = None, **given: Unpack[Given]
    ) -> CredentialInfo:
        """Register a raw key; otherwise as :meth:`add_passkey`."""

        async def make(challenge: CredentialChallenge) -> NewKey:
            return key.registration(challenge.challenge)

        return await self._add(name, make, device_code, given)

    async def credentials(self) -> list[CredentialInfo]:
        """The user's passkeys and keys."""
        return (await self.account()).credentials

    async def rename_credential(
        self, credential_id: bytes, name: str, **given: Unpack[Given]
    ) -> CredentialInfo:
        """:raises EnclaveRefused: ``credential_unknown``."""
        return await self._change(credential_id, name=name, given=given)

    async def activate_credential(self, credential_id: bytes, **given: Unpack[Given]) -> CredentialInfo:
        """:raises EnclaveRefused: ``credential_unknown``."""
        return await self._change(credential_id, active=True, given=given)

    async def deactivate_credential(self, credential_id: bytes, **given: Unpack[Given]) -> CredentialInfo:
        """:raises EnclaveRefused: ``credential_unknown``, ``last_credential``."""
        return await self._change(credential_id, active=False, given=given)

    async def remove_credential(self, credential_id: bytes, **given: Unpack[Given]) -> None:
        """:raises EnclaveRefused: ``credential_unknown``, ``last_credential``."""
        await self._actions.act(RemoveCredential(credential_id), Done, given=given)

    async def make_device_code(self, **given: Unpack[Given]) -> DeviceCodeMade:
        """A one-time code with which another device of this user, logged in, registers one credential within ten minutes."""
        return await self._actions.act(MakeDeviceCode(), DeviceCodeMade, given=given)

    # --- second factors --------------------------------------------------------------------------------------------------------

    async def enable_totp(self, confirm: Callable[[bytes], str], **given: Unpack[Given]) -> RecoveryCodes:
        """Make a TOTP secret and put it in force; returns the recovery codes, which are shown this once.

        :param confirm: shows the secret (20 bytes; :func:`cosigner.totp.uri` makes the text of a QR code) and returns the code that the
            user's authenticator app shows for it. Runs in this thread.
        :raises EnclaveRefused: ``evidence_invalid``: another code was expected; ``totp_exists``.
        """
        begin_key, confirm_key = new_key(), new_key()

        async def ceremony(session: Session) -> RecoveryCodes:
            made = await self._actions.perform(session, BeginTotp(), TotpSecret, key=begin_key, given=given)
            code = "".join(confirm(made.secret).split())
            return await self._actions.perform(session, ConfirmTotp(code), RecoveryCodes, key=confirm_key)

        return await self._keeper.run(ceremony)

    async def disable_totp(self, **given: Unpack[Given]) -> None:
        """:raises EnclaveRefused: ``totp_missing``."""
        await self._actions.act(RemoveTotp(), Done, given=given)

    async def new_recovery_codes(self, **given: Unpack[Given]) -> list[str]:
        """Fresh codes that stand in for TOTP, once each; the earlier ones are void."""
        return (await self._actions.act(NewRecoveryCodes(), RecoveryCodes, given=given)).codes

    # --- recovery --------------------------------------------------------------------------------------------------------------

    async def set_recovery_key(self, key: SigningKey | None, **given: Unpack[Given]) -> None:
        """Register the public half of a key that the user keeps offline; ``None`` takes it away."""
        request = (
            SetRecoveryKey(algorithm="ed25519", public_key=None)
            if key is None
            else SetRecoveryKey(algorithm=key.algorithm, public_key=key.public_key)
        )
        await self._actions.act(request, Done, given=given)

    async def recover(
        self,
        user_id: str,
        recovery_key: SigningKey,
        name: str,
        *,
        passkeys: PasskeyProvider | None = None,
        key: KeyProvider | None = None,
        gate: Gate | None = None,
    ) -> Recovered:
        """Replace all credentials, session keys and second factors of a user by one new credential, and log this device in.

        Needs no login. Under a time lock the answer names its end; :meth:`complete_recovery` asks again then.

        :param name: of the new credential: a passkey of ``passkeys``, or ``key``.
        :param gate: has the environment's release gate sign, where the manifest names one.
        :raises EnclaveRefused: ``recovery_refused``.
        """
        provider = passkeys or self._actions.evidence.passkeys

        async def make(challenge: CredentialChallenge) -> NewPasskey | NewKey:
            if key is not None:
                return key.registration(challenge.challenge)
            if provider is None:
                raise _no_passkeys()
            return await provider.create(challenge, name)

        return await self._recovery(user_id).begin(recovery_key, name, make, gate)

    async def complete_recovery(self, user_id: str) -> Recovered:
        """Complete a recovery that this device began, once its time lock is over; before that, the answer names its end again.

        :raises CosignerError: ``recovery_missing``.
        :raises EnclaveRefused: ``recovery_refused``: it was cancelled, or waited too long.
        """
        return await self._recovery(user_id).complete()

    async def cancel_recovery(self, **given: Unpack[Given]) -> None:
        """Stop a recovery that waits for its time lock.

        :raises EnclaveRefused: ``recovery_refused``: none is under way.
        """
        await self._actions.act(CancelRecovery(), Done, given=given)

    # --- ownership, service accounts, rules --------------------------------------------------------------------------------------

    async def hand_over(self, wallet_id: str, user_id: str, **given: Unpack[Given]) -> None:
        """A custodial wallet becomes its end user's. There is no way back.

        :raises EnclaveRefused: ``not_owner``, ``hand_over_final``, ``user_unknown``.
        """
        await self._actions.act(HandOver(wallet_id, user_id), Done, given=given)

    async def new_service_account(self, name: str, key: SigningKey, **given: Unpack[Given]) -> ServiceAccount:
        """Make a service account that logs in by ``key``; administrators must have approved it (:mod:`cosigner.approvals`).

        :raises EnclaveRefused: ``approval_required``.
        """

        async def ceremony(session: Session) -> ServiceAccount:
            challenge = await session.call(BeginCredential(), CredentialChallenge)
            request = NewServiceAccount(
                name=name, challenge=challenge.challenge, credential=key.registration(challenge.challenge)
            )
            return await self._actions.perform(session, request, ServiceAccount, given=given)

        return await self._keeper.run(ceremony)

    async def get_policy(self, layer: LayerName, subject: str = "") -> PolicyLayer:
        """A layer in force; its hash is zeros, and its version 0, where there is none.

        :param subject: the account's or wallet's id, or ``WALLET:USER`` for a signer's; empty for the environment.
        :raises EnclaveRefused: ``not_owner``, ``layer_unknown``.
        """
        return await self._ask(GetPolicy(layer, subject), PolicyLayer)

    async def set_policy(
        self,
        layer: LayerName,
        content: bytes,
        *,
        subject: str = "",
        expected: bytes | None = None,
        **given: Unpack[Given],
    ) -> PolicyLayer:
        """Replace a layer (``docs/spec/policy.md``).

        :param content: JSON; empty takes the layer away, where that is allowed.
        :param expected: hash of the layer that is replaced; by default of the one that is in force now.
        :raises EnclaveRefused: ``policy_invalid``, ``user_conflict`` (another was put in force meanwhile), ``approval_required``.
        """
        if expected is None:
            expected = (await self.get_policy(layer, subject)).hash
        request = SetPolicy(layer=layer, subject=subject, expected=expected, content=content)
        return await self._actions.act(request, PolicyLayer, given=given)

    async def approve(
        self,
        request: Request,
        *,
        asker: str = "",
        lifetime: float = approvals.DEFAULT_LIFETIME,
    ) -> SignedApproval:
        """Approve, as this user, what somebody else is going to ask for; they hand it in as ``approvals=``.

        :param request: :func:`cosigner.approvals.signing_request` of a payload, or any other request.
        :param asker: the user who will ask, for requests that are about that user rather than a wallet or layer.
        """
        account = await self.account()
        draft = approvals.draft(
            request,
            environment=self._actions.environment,
            subject=subject_of(request, asker),
            lifetime=lifetime,
        )
        evidence = self._actions.evidence
        active = [found for found in account.credentials if found.active]
        allow = [found.credential_id for found in active if found.type == "passkey"]
        if evidence.passkeys is not None and (allow or evidence.signing_key is None):
            given = await evidence.passkeys.get(draft.hash, Asked(draft, request, allow))
            return approvals.signed(draft, f"user:{account.user_id}", given)
        if evidence.signing_key is None:
            raise CosignerError(
                "factor_required",
                "An approval is signed by a passkey or key of yours; this client was given neither.",
                culprit=Culprit.CLIENT,
            )
        return approvals.signed(draft, f"user:{account.user_id}", evidence.signing_key.evidence(draft.hash))

    # --- the log ---------------------------------------------------------------------------------------------------------------

    async def log_head(self) -> Link:
        """The newest entry of the enclave's log that the host has confirmed to keep, signed over a fresh nonce.

        :raises ProtocolError: ``receipt_signature``, ``receipt_foreign``.
        """
        nonce = os.urandom(32)

        async def ask(session: Session) -> Link:
            head = await session.call(GetLogHead(nonce), LogHead)
            return check_head(head, nonce=nonce, receipt_key=session.enclave.receipt_key)

        return await self._keeper.run(ask)

    def _recovery(self, user_id: str) -> Recovery:
        return Recovery(
            self._keeper,
            self._identity,
            self._unlocked(),
            environment=self._actions.environment,
            user_id=user_id,
        )

    def _unlocked(self) -> ShareStore:
        raise NotImplementedError

    # --- common ----------------------------------------------------------------------------------------------------------------

    async def _ask(self, request: Request, kind: type[T]) -> T:
        async def ask(session: Session) -> T:
            return await session.call(request, kind)

        return await self._keeper.run(ask)

    async def _add(
        self,
        name: str,
        make: Callable[[CredentialChallenge], Awaitable[NewPasskey | NewKey]],
        device_code: str | None,
        given: Given,
    ) -> CredentialInfo:
        code = None if device_code is None else _device_code(device_code)

        async def ceremony(session: Session) -> CredentialInfo:
            challenge = await session.call(BeginCredential(), CredentialChallenge)
            request = AddCredential(
                name=name, challenge=challenge.challenge, credential=await make(challenge)
            )
            return await self._actions.perform(
                session, request, CredentialInfo, given=given, device_code=code
            )

        return await self._keeper.run(ceremony)

    async def _change(
        self,
        credential_id: bytes,
        *,
        name: str | None = None,
        active: bool | None = None,
        given: Given,
    ) -> CredentialInfo:
        request = ChangeCredential(credential_id, name, active)
        return await self._actions.act(request, CredentialInfo, given=given)


def _no_passkeys() -> CosignerError:
    return CosignerError(
        "passkeys_missing",
        "This client was given no passkeys: name them in its evidence, or with passkeys=.",
        culprit=Culprit.CLIENT,
    )


def _device_code(text: str) -> DeviceCode:
    try:
        return DeviceCode(crockford.normalize(text))
    except ValueError:
        raise CosignerError(
            "code_malformed",
            "A device code is four groups of four letters and digits.",
            culprit=Culprit.CLIENT,
        ) from None
