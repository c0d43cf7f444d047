"""One environment in service: its rooms, and the way of a request through them.

The gate hands out a :class:`~enclave.authorization.gate.Granted`, and only from that is anything carried out: whose request it is, what
is signed and the permit to sign it are all taken from there, never from the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol import accounts as a
from protocol import messages as m
from protocol.envelope import cbor
from protocol.envelope.messages import Done
from protocol.intents import body_of

from . import signing, wallets
from .authorization.requirements import requirement_of

if TYPE_CHECKING:
    from .accounts.ownership import Wallets
    from .accounts.service import Accounts
    from .authorization.gate import Gate, Granted
    from .authorization.replies import Replies
    from .authorization.rulebook import Rulebook
    from .burns import Burns
    from .logins import Logins
    from .sessions import Session, Sessions
    from .vault import Vault


@dataclass(frozen=True, slots=True)
class Rooms:
    """What belongs to one environment."""

    vault: Vault
    gate: Gate
    logins: Logins
    accounts: Accounts
    wallets: Wallets
    rulebook: Rulebook
    replies: Replies


class Realm:
    """Answers the requests of one environment's sessions."""

    def __init__(
        self, name: str, rooms: Rooms, sessions: Sessions, burns: Burns, counters: dict[str, int]
    ) -> None:
        self._name = name
        self._rooms = rooms
        self._sessions = sessions
        self._burns = burns
        self._counters = counters

    @property
    def logins(self) -> Logins:
        """Who opens sessions."""
        return self._rooms.logins

    async def answer(self, session: Session, call: m.Call) -> bytes:
        """Judge a request, carry it out, and encode the answer; the same answer as before where an idempotency key says so.

        :raises Exception: whatever kept it from being carried out.
        """
        actor, key = session.actor, call.idempotency_key
        if actor is None or key is None or not requirement_of(call.request).action:
            return await self._carry_out(session, call)
        await self._rooms.gate.require_user(actor)
        async with self._rooms.replies.slot(actor.user_id, key, body_of(call.request)) as slot:
            if slot.reply is not None:
                return slot.reply
            reply = await self._carry_out(session, call)
            slot.keep(reply)
            return reply

    async def _carry_out(self, session: Session, call: m.Call) -> bytes:
        granted = await self._rooms.gate.admit(session, call)
        reply = await self._dispatch(session, granted)
        return cbor.encode(m.Answer(reply, granted.receipt))

    async def _dispatch(self, session: Session, granted: Granted) -> m.Reply:
        match granted.request:
            case m.Sign() as request:
                signed = await signing.sign(granted.need_permit(), granted.need_signing(), request)
                self._counters["signed"] += len(signed.shares)
                return signed
            case m.SignEcdsa() as request:
                part = await signing.sign_ecdsa(
                    granted.need_permit(), granted.need_signing(), session, self._burns, request
                )
                self._counters["signed"] += 1
                return part
            case m.BeginDkg() as request:
                return await wallets.begin_dkg(granted.need_permit(), granted.need_actor(), session, request)
            case m.FinishDkg() as request:
                return await self._finish_dkg(session, request)
            case m.GetWallet():
                return wallets.wallet_reply(granted.need_opened())
            case a.GetPolicy(layer=layer, subject=subject):
                return await self._rooms.rulebook.show(layer, subject)
            case a.SetPolicy() as request:
                return await self._rooms.rulebook.replace(request)
            case m.Close():
                self._sessions.close(session)
                return Done()
            case _:
                return await self._account(session, granted)

    async def _finish_dkg(self, session: Session, request: m.FinishDkg) -> m.WalletReply:
        reply = await wallets.finish_dkg(
            session,
            self._rooms.vault,
            request,
            lambda owner: self._rooms.wallets.claim(owner, request.wallet_id),
        )
        self._counters["wallets_created"] += 1
        return reply
