"""One environment in service: its rooms, and the way of a request through them.

The gate hands out a :class:`~enclave.authorization.granted.Granted`, and only from that is anything carried out: whose request it is, what
is signed and the permit to sign it are all taken from there, never from the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from protocol import accounts as a
from protocol import delegation as d
from protocol import messages as m
from protocol.envelope import cbor
from protocol.envelope.errors import Reaction
from protocol.envelope.messages import Done
from protocol.intents import body_of
from protocol.receipts import GetLogHead

from . import faults, signing, wallets
from .accounts.registration import Asking
from .authorization.granted import DeniedError
from .authorization.requirements import requirement_of
from .lifecycle import Lifecycle, LifecycleRequest

if TYPE_CHECKING:
    from .accounts.service import Accounts
    from .actors import Actor
    from .authorization.entering import Doorway
    from .authorization.gate import Gate
    from .authorization.granted import Granted
    from .authorization.journal import Journal
    from .authorization.replies import Replies
    from .authorization.rulebook import Rulebook
    from .burns import Burns
    from .counters import Counters
    from .delegation.login import DelegateEntry
    from .delegation.service import Delegations
    from .receipts import Log
    from .sessions import Session, Sessions
    from .statuses import Statuses
    from .vault import Vault


@dataclass(frozen=True, slots=True)
class Rooms:
    """What belongs to one environment."""

    vault: Vault
    gate: Gate
    doorway: Doorway
    accounts: Accounts
    lifecycle: Lifecycle
    delegations: Delegations
    delegate_entry: DelegateEntry
    statuses: Statuses
    rulebook: Rulebook
    replies: Replies
    journal: Journal
    log: Log


class Realm:
    """Answers the requests of one environment's sessions."""

    def __init__(self, rooms: Rooms, sessions: Sessions, burns: Burns, counters: Counters) -> None:
        self._rooms = rooms
        self._sessions = sessions
        self._burns = burns
        self._counters = counters

    @property
    def doorway(self) -> Doorway:
        """Whose session a hello opens."""
        return self._rooms.doorway

    async def answer(self, session: Session, call: m.Call) -> bytes:
        """Judge a request, carry it out, and encode the answer; the same answer as before where an idempotency key says so.

        :raises Exception: whatever kept it from being carried out.
        """
        actor, key = session.actor, call.idempotency_key
        if actor is None or key is None or not requirement_of(call.request).action:
            return await self._carry_out(session, call)
        await self._rooms.gate.require_user(actor)
        async with self._rooms.replies.slot(actor.principal, key, body_of(call.request)) as slot:
            if slot.reply is None:
                slot.keep(await self._carry_out(session, call))
            return slot.answer

    async def _carry_out(self, session: Session, call: m.Call) -> bytes:
        granted = await self._rooms.gate.admit(session, call)
        if isinstance(granted.request, a.Login | a.KeyLogin | a.Recover):
            return cbor.encode(m.Answer(*await self._rooms.doorway.enter(session, granted.request)))
        if isinstance(granted.request, d.DelegateLogin):
            return cbor.encode(m.Answer(*await self._rooms.delegate_entry.enter(session, granted.request)))
        try:
            await self._rooms.gate.require_standing(granted)
            reply = await self._dispatch(session, granted)
        except Exception as error:
            if granted.receipt is None:
                raise
            fault = faults.translate(error)
            if fault.reaction is Reaction.BURN:
                # First of all: the transfers are gone, and so is the session. Which check failed, nobody is told.
                self._sessions.close(session)
                await self._rooms.journal.failed(granted.receipt, "ceremony_failed")
                raise
            await self._rooms.journal.failed(granted.receipt, fault.code)
            raise DeniedError(fault.error(), granted.receipt) from None
        return cbor.encode(m.Answer(reply, granted.receipt))

    async def _dispatch(  # noqa: C901, PLR0912  (a line for each request)
        self, session: Session, granted: Granted
    ) -> m.Reply:
        match granted.request:
            case request if isinstance(request, LifecycleRequest):
                return await self._rooms.lifecycle.answer(session, granted, request)
            case request if isinstance(request, m.DelegationRequest):
                return await self._rooms.delegations.answer(session, granted)
            case m.Sign() as request:
                made = signing.sign(granted.need_permit(), granted.need_signing(), request)
                signed = await self._rooms.delegations.telling(granted, made)
                self._counters["signed"] += len(signed.shares)
                return signed
            case m.SignEcdsa() as request:
                burns = self._burns.of(session.environment, granted.need_actor().principal)
                making = signing.sign_ecdsa(
                    granted.need_permit(), granted.need_signing(), session, burns, request
                )
                part = await self._rooms.delegations.telling(granted, making)
                self._counters["signed"] += 1
                return part
            case m.BeginDkg() as request:
                return await wallets.begin_dkg(granted.need_permit(), granted.need_actor(), session, request)
            case m.FinishDkg() as request:
                return await self._finish_dkg(session, granted, request)
            case m.GetWallet():
                return await self._show(granted)
            case GetLogHead(nonce=nonce):
                return await self._rooms.log.head(nonce)
            case a.GetPolicy(layer=layer, subject=subject):
                return await self._rooms.rulebook.show(layer, subject)
            case a.SetPolicy() as request:
                require = partial(self._rooms.gate.require_standing, granted)
                return await self._rooms.rulebook.replace(request, require)
            case m.Close():
                self._sessions.close(session)
                return Done()
            case a.BeginCredential():
                return await self._rooms.accounts.begin_credential(_asking(session), granted.actor)
            case _:
                return await self._account(session, granted, granted.need_actor())

    async def _account(  # noqa: C901, PLR0912  (a line for each request)
        self, session: Session, granted: Granted, actor: Actor
    ) -> m.Reply:
        accounts, evidence = self._rooms.accounts, granted.evidence
        match granted.request:
            case a.GetAccount():
                return await accounts.get_account(actor)
            case a.ListSessionKeys():
                return await accounts.list_session_keys(actor)
            case a.RevokeSessionKeys() as request:
                return await accounts.revoke_session_keys(actor, request)
            case a.LinkLogin() as request:
                return await accounts.link_login(actor, request, evidence)
            case a.UnlinkLogin() as request:
                return await accounts.unlink_login(actor, request, evidence)
            case a.AddCredential() as request:
                return await accounts.add_credential(_asking(session), actor, request, evidence)
            case a.ChangeCredential() as request:
                return await accounts.change_credential(actor, request, evidence)
            case a.RemoveCredential() as request:
                return await accounts.remove_credential(actor, request, evidence)
            case a.MakeDeviceCode():
                return await accounts.make_device_code(actor, evidence)
            case a.BeginTotp():
                return await accounts.begin_totp(_asking(session), actor, evidence)
            case a.ConfirmTotp() as request:
                return await accounts.confirm_totp(_asking(session), actor, request)
            case a.NewRecoveryCodes():
                return await accounts.new_recovery_codes(actor, evidence)
            case a.RemoveTotp():
                return await accounts.remove_totp(actor, evidence)
            case a.SetRecoveryKey() as request:
                return await accounts.set_recovery_key(actor, request, evidence)
            case a.CancelRecovery():
                return await accounts.cancel_recovery(actor, evidence)
            case a.HandOver() as request:
                return await accounts.hand_over(actor, request, evidence)
            case a.NewServiceAccount() as request:
                return await accounts.new_service_account(_asking(session), request)
            case _ as unknown:
                raise NotImplementedError(
                    type(unknown).__name__
                )  # a request without a line above is not carried out

    async def _show(self, granted: Granted) -> m.WalletReply:
        actor, opened = granted.need_actor(), granted.need_opened()
        if actor.delegation is not None:
            return self._rooms.delegations.show(opened)
        return await self._rooms.statuses.show(actor, opened)

    async def _finish_dkg(self, session: Session, granted: Granted, request: m.FinishDkg) -> m.WalletReply:
        """The user who began must be the one who finishes; a session never becomes another user's, and this does not rely on it."""
        actor, vault = granted.need_actor(), self._rooms.vault
        claim = partial(self._rooms.lifecycle.claim, granted, request.wallet_id)
        opened = await wallets.finish_dkg(session, vault, request, actor, claim, now_ms=granted.now)
        self._counters["wallets_created"] += 1
        return await self._rooms.statuses.reply(actor, opened)


def _asking(session: Session) -> Asking:
    return Asking(session.channel.transcript, session.challenges)
