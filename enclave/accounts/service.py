"""The requests of users about themselves, one method each (``protocol.accounts``).

Whoever calls has judged the request. What is left here are the rules of the record, which hold whoever calls.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Final

from enclave.authn import codes, keys, totp
from protocol.accounts import (
    Account,
    CredentialChallenge,
    CredentialInfo,
    DeviceCodeMade,
    LoginInfo,
    RecoveryCodes,
    ServiceAccount,
    SessionKeyInfo,
    SessionKeys,
    TotpSecret,
)
from protocol.envelope.messages import Done

from . import credentials, factors, logins, recovery, registration, session_keys
from .user import (
    NO_EVIDENCE,
    RECOVERY_CODES,
    Credential,
    LinkedLogin,
    RecoveryKey,
    UserRecord,
    require_strength,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from enclave.actors import Actor
    from enclave.authn.clock import Clock
    from enclave.manifest import Environment
    from protocol.accounts import (
        AddCredential,
        ChangeCredential,
        ConfirmTotp,
        HandOver,
        LinkLogin,
        NewServiceAccount,
        RemoveCredential,
        RevokeSessionKeys,
        SetRecoveryKey,
        UnlinkLogin,
    )

    from .directory import Directory
    from .entry import JwtVerifier
    from .ownership import Wallets
    from .registration import Asking
    from .user import Evidence

_HANDLE_LENGTH: Final = 16


class Accounts:
    """Users of one environment.

    Every method raises what the rules that it names raise, ``user_conflict``, and the errors of storage.

    :param end_sessions: as for :class:`.entry.Entry`.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        directory: Directory,
        wallets: Wallets,
        issuers: JwtVerifier,
        clock: Clock,
        end_sessions: Callable[[str, frozenset[bytes]], None],
    ) -> None:
        self._relying_party = environment.relying_party
        self._longest_ms = environment.session_lifetime_s * 1000
        self._directory = directory
        self._wallets = wallets
        self._issuers = issuers
        self._clock = clock
        self._end_sessions = end_sessions

    # --- what the user may see ---------------------------------------------------------------------------------------------

    async def get_account(self, actor: Actor) -> Account:
        """The user's own record."""
        record, now = await self._directory.require(actor.user_id), self._clock.now_ms()
        pending = record.pending_recovery
        return Account(
            user_id=record.user_id,
            kind_of_user=record.kind,
            logins=[
                LoginInfo(login=login.login_id, issuer=login.issuer, linked_at=login.linked_at)
                for login in record.logins
            ],
            credentials=[_info(credential) for credential in record.credentials],
            totp=record.totp is not None,
            recovery_codes_left=len(record.recovery_codes),
            recovery_key=record.recovery_key is not None,
            recovery_not_before=pending.not_before if pending and pending.not_after > now else None,
            locked_until=record.lockout.until if record.lockout.until > now else None,
        )

    async def list_session_keys(self, actor: Actor) -> SessionKeys:
        """Those that are good now."""
        record, now = await self._directory.require(actor.user_id), self._clock.now_ms()
        return SessionKeys(
            [
                SessionKeyInfo(
                    session_key=key.session_key,
                    created_at=key.created_at,
                    expires_at=session_keys.expiry(key, longest_ms=self._longest_ms),
                    login=key.login,
                    current=key.session_key == actor.session_key,
                )
                for key in record.session_keys
                if session_keys.expiry(key, longest_ms=self._longest_ms) > now
            ]
        )

    # --- session keys and logins -------------------------------------------------------------------------------------------

    async def revoke_session_keys(self, actor: Actor, request: RevokeSessionKeys) -> Done:
        """:func:`.session_keys.revoke`."""
        now = self._clock.now_ms()
        await self._change(
            actor,
            lambda record: session_keys.revoke(
                record, request.session_keys, current=actor.session_key, now_ms=now
            ),
        )
        return Done()

    async def link_login(self, actor: Actor, request: LinkLogin, evidence: Evidence) -> Account:
        """:func:`.logins.link`, and that the login is nobody else's."""
        now = self._clock.now_ms()
        verified = await self._issuers.verify(request.jwt, now_ms=now)
        logins.require_fresh_token(await self._directory.require(actor.user_id), verified.issued_at_ms)
        login = LinkedLogin(login_id=verified.login_id, issuer=verified.issuer, linked_at=now)
        await self._directory.link(
            actor.user_id,
            login,
            evidence,
            now_ms=now,
            require=lambda record: self._require_session(actor, record),
        )
        return await self.get_account(actor)

    async def unlink_login(self, actor: Actor, request: UnlinkLogin, evidence: Evidence) -> Account:
        """:func:`.logins.unlink`."""
        before, after = await self._directory.unlink(
            actor.user_id,
            request.login,
            evidence,
            now_ms=self._clock.now_ms(),
            require=lambda record: self._require_session(actor, record),
        )
        self._end_what_was_lost(before, after)
        return await self.get_account(actor)

    # --- credentials -------------------------------------------------------------------------------------------------------

    async def begin_credential(self, session: Asking, actor: Actor | None) -> CredentialChallenge:
        """A challenge for a registration; without an actor it is for a recovery.

        :raises CosignerError: ``challenge_limit``.
        """
        known = [] if actor is None else (await self._directory.require(actor.user_id)).credentials
        party = self._relying_party
        # A handle that is used twice would have an authenticator overwrite the other passkey (WebAuthn level 3, §6.3.2).
        handle = os.urandom(_HANDLE_LENGTH) if actor is None else uuid.UUID(actor.user_id).bytes
        return CredentialChallenge(
            challenge=registration.give_challenge(session, now_ms=self._clock.now_ms()),
            rp_id="" if party is None else party.rp_id,
            user_handle=handle,
            exclude=[credential.credential_id for credential in known if credential.type == "passkey"],
            user_verification="required" if party is None else party.user_verification,
        )

    async def add_credential(
        self, session: Asking, actor: Actor, request: AddCredential, evidence: Evidence
    ) -> CredentialInfo:
        """:func:`.registration.verify`, :func:`.credentials.add`."""
        credential = registration.verify(
            session,
            request.challenge,
            request.credential,
            name=request.name,
            relying_party=self._relying_party,
            now_ms=self._clock.now_ms(),
        )
        link = os.urandom(32)
        await self._change(actor, lambda record: credentials.add(record, credential, evidence, link=link))
        return _info(credential)

    async def change_credential(
        self, actor: Actor, request: ChangeCredential, evidence: Evidence
    ) -> CredentialInfo:
        """:func:`.credentials.change`."""
        record = await self._change(
            actor,
            lambda record: credentials.change(
                record, request.credential_id, name=request.name, active=request.active, evidence=evidence
            ),
        )
        return _info(credentials.find(record, request.credential_id))

    async def remove_credential(self, actor: Actor, request: RemoveCredential, evidence: Evidence) -> Done:
        """:func:`.credentials.remove`."""
        await self._change(actor, lambda record: credentials.remove(record, request.credential_id, evidence))
        return Done()

    async def make_device_code(self, actor: Actor, evidence: Evidence) -> DeviceCodeMade:
        """:func:`.credentials.make_device_code`."""
        now = self._clock.now_ms()
        text, kept = codes.make()
        await self._change(
            actor, lambda record: credentials.make_device_code(record, kept, evidence, now_ms=now)
        )
        return DeviceCodeMade(code=text, expires_at=now + credentials.DEVICE_CODE_MS)

    # --- second factors ----------------------------------------------------------------------------------------------------

    async def begin_totp(self, session: Asking, actor: Actor, evidence: Evidence) -> TotpSecret:
        """:func:`.factors.begin_totp`."""
        now, secret, here = self._clock.now_ms(), totp.new_secret(), session.transcript
        await self._change(
            actor, lambda record: factors.begin_totp(record, secret, evidence, session=here, now_ms=now)
        )
        return TotpSecret(secret=secret)

    async def confirm_totp(self, session: Asking, actor: Actor, request: ConfirmTotp) -> RecoveryCodes:
        """:func:`.factors.confirm_totp`; the reply holds the first recovery codes."""
        now, here, texts, kept = self._clock.now_ms(), session.transcript, *_new_codes()
        await self._change(actor, lambda record: factors.count_confirmation(record, session=here, now_ms=now))
        await self._change(
            actor,
            lambda record: factors.confirm_totp(record, request.code, kept, session=here, now_ms=now),
        )
        return RecoveryCodes(codes=texts)

    async def new_recovery_codes(self, actor: Actor, evidence: Evidence) -> RecoveryCodes:
        """:func:`.factors.replace_recovery_codes`."""
        texts, kept = _new_codes()
        await self._change(actor, lambda record: factors.replace_recovery_codes(record, kept, evidence))
        return RecoveryCodes(codes=texts)

    async def remove_totp(self, actor: Actor, evidence: Evidence) -> Done:
        """:func:`.factors.remove_totp`."""
        await self._change(actor, lambda record: factors.remove_totp(record, evidence))
        return Done()

    # --- recovery ----------------------------------------------------------------------------------------------------------

    async def set_recovery_key(self, actor: Actor, request: SetRecoveryKey, evidence: Evidence) -> Done:
        """:func:`.recovery.set_key`.

        :raises CosignerError: ``evidence_invalid``: the key is not acceptable.
        """
        key = None
        if request.public_key is not None:
            keys.load(request.algorithm, request.public_key)
            key = RecoveryKey(algorithm=request.algorithm, public_key=request.public_key)
        await self._change(actor, lambda record: recovery.set_key(record, key, evidence))
        return Done()

    async def cancel_recovery(self, actor: Actor, evidence: Evidence) -> Done:
        """:func:`.recovery.cancel`."""
        await self._change(actor, lambda record: recovery.cancel(record, evidence))
        return Done()

    # --- service accounts --------------------------------------------------------------------------------------------------

    async def hand_over(self, actor: Actor, request: HandOver, evidence: Evidence) -> Done:
        """:func:`.ownership.hand_over`."""

        async def require() -> None:
            record = await self._directory.require(actor.user_id)
            self._require_session(actor, record)
            require_strength(record, evidence)

        await require()
        await self._wallets.hand_over(
            actor, request.wallet_id, request.user_id, now_ms=self._clock.now_ms(), require=require
        )
        return Done()

    async def new_service_account(self, session: Asking, request: NewServiceAccount) -> ServiceAccount:
        """A service account with its first key. That administrators approve it, the caller has seen to.

        :raises CosignerError: ``evidence_invalid``.
        """
        now = self._clock.now_ms()
        credential = registration.verify(
            session,
            request.challenge,
            request.credential,
            name=request.name,
            relying_party=None,
            now_ms=now,
        )
        record = await self._directory.create(
            "service",
            name=request.name,
            now_ms=now,
            complete=lambda new: credentials.add(new, credential, NO_EVIDENCE, link=os.urandom(32)),
        )
        return ServiceAccount(user_id=record.user_id, credential_id=credential.credential_id)

    async def _change(self, actor: Actor, transition: Callable[[UserRecord], UserRecord]) -> UserRecord:
        def by_actor(record: UserRecord) -> UserRecord:
            self._require_session(actor, record)
            return transition(record)

        before, after = await self._directory.change_and_compare(actor.user_id, by_actor)
        self._end_what_was_lost(before, after)
        return after

    def _require_session(self, actor: Actor, record: UserRecord) -> None:
        """In the very record that is changed: a session key that was revoked while the change was under way changes nothing.

        :raises CosignerError: ``session_key_rejected``, ``session_key_expired``.
        """
        now = self._clock.now_ms()
        session_keys.find(record, actor.session_key, longest_ms=self._longest_ms, now_ms=now)

    def _end_what_was_lost(self, before: UserRecord, after: UserRecord) -> None:
        gone = session_keys.lost(before, after)
        if gone:
            self._end_sessions(after.user_id, gone)


def _info(credential: Credential) -> CredentialInfo:
    return CredentialInfo(
        credential_id=credential.credential_id,
        type=credential.type,
        name=credential.name,
        active=credential.active,
        created_at=credential.created_at,
        discoverable=credential.discoverable,
    )


def _new_codes() -> tuple[list[str], list[bytes]]:
    """Recovery codes: what the user sees, and what is kept."""
    made = [codes.make() for _ in range(RECOVERY_CODES)]
    return [text for text, _ in made], [kept for _, kept in made]
