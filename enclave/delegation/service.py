"""The requests about delegated access, one method each. The gate has judged them, and has looked at whose the wallet is."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from enclave import reshares
from protocol import delegation as d
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Done
from protocol.lifecycle import CommitReshare
from protocol.messages import WalletReply
from protocol.wallets import CLIENT_PARTY, WalletStatus

from . import ceremony, developer_keys, record
from .record import RevokedBy, unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enclave.actors import Actor, Delegated
    from enclave.authn.clock import Clock
    from enclave.authorization.granted import Granted
    from enclave.authorization.permits import Permit
    from enclave.backups import Backups
    from enclave.counters import Counters
    from enclave.sessions import Session
    from enclave.statuses import Statuses
    from enclave.vault import OpenedWallet, Vault
    from protocol.hybrid import Envelope
    from protocol.messages import DelegationReply

    from .book import Book
    from .ending import Ending
    from .events import Outbox, Subscription
    from .record import Delegation
    from .settings import Settings

T = TypeVar("T")

_KEY_LENGTH: Final = 32
_REPLY_BYTES: Final = 768 << 10  # of listed rules: the reply must fit a record
_ADMINISTRATOR: Final = "administrator:"


class Delegations:
    """Delegated access in one environment.

    :param require_standing: raises if what vouched for a request does so no longer.
    """

    def __init__(
        self,
        environment: str,
        *,
        settings: Settings,
        book: Book,
        ending: Ending,
        outbox: Outbox,
        vault: Vault,
        backups: Backups,
        statuses: Statuses,
        clock: Clock,
        counters: Counters,
        require_standing: Callable[[Granted], Awaitable[object]],
    ) -> None:
        self._environment = environment
        self._settings = settings
        self._book = book
        self._ending = ending
        self._outbox = outbox
        self._vault = vault
        self._backups = backups
        self._statuses = statuses
        self._clock = clock
        self._counters = counters
        self._require_standing = require_standing

    async def answer(self, session: Session, granted: Granted) -> DelegationReply | WalletReply | Done:  # noqa: C901  (a line for each request)
        """Carry one out.

        :raises Exception: whatever kept it from being carried out.
        """
        actor = granted.need_actor()
        require = partial(self._require_standing, granted)
        match granted.request:
            case d.GetDelegationSettings():
                return await self._settings.show(denied=await self._book.denied(actor.user_id))
            case d.SetDelegationSettings() as request:
                signed = [one for one in granted.approvals if one.approver.startswith(_ADMINISTRATOR)]
                return await self._settings.set(request, signed, require)
            case d.PingWebhook():
                await self._settings.ping(require)
                return Done()
            case d.BeginDelegation() as request:
                return await ceremony.begin(
                    granted.need_permit(),
                    actor,
                    session,
                    granted.need_opened(),
                    request,
                    approved_by=granted.evidence.credential,
                )
            case d.FinishDelegation() as request:
                return await self._finish(session, granted, request)
            case d.CommitDelegation() as request:
                return await self._commit(granted, request)
            case d.ListDelegations(wallet_id=wallet_id):
                return await self._list(actor, wallet_id)
            case d.RevokeDelegation() as request:
                return await self._revoke(
                    granted, request, "user" if actor.delegation is None else "delegate"
                )
            case d.RevokeDelegationAsAdministrator() as request:
                return await self._revoke(granted, request, "administrator")
            case d.TightenDelegation() as request:
                return await self._tighten(actor, request)
            case d.DenyDelegation(denied=denied):
                await self._book.deny(actor.user_id, denied=denied, now=self._clock.now_ms())
                return Done()
            case _ as unforeseen:
                raise NotImplementedError(type(unforeseen).__name__)

    def show(self, opened: OpenedWallet) -> WalletReply:
        """What a delegate sees of its wallet: its own share set, and nothing of the user's backups."""
        return WalletReply(
            opened.wallet,
            opened.confirmation,
            WalletStatus(
                state="active",
                custody="delegated",
                epoch_since=opened.current.made_at,
                refresh_due=None,
                pending=None,
                backed_up=False,
                backups=[],
                imported=opened.header.imported,
                legacy_wallet_id="",
            ),
        )

    async def telling(self, granted: Granted, making: Awaitable[T]) -> T:
        """Make a signature; if a delegate asked, tell the developer in the meantime. Either both or no answer.

        What fails after all may have been told: rather one signature too many than one that nobody heard of.
        """
        actor = granted.need_actor()
        if actor.delegation is None:
            return await making
        made, told = await asyncio.gather(
            making, self._tell(actor.delegation, granted), return_exceptions=True
        )
        if isinstance(made, BaseException):  # first of all: it may say that the session must end
            raise made
        if told is not None:
            raise told
        return made

    async def _tell(self, delegation: Delegated, granted: Granted) -> None:
        to = (await self._settings.in_force()).require_enabled()
        one = await self._book.require(delegation.wallet_id, delegation.share_set_id)
        digests, now = granted.need_signing().task.digests, self._clock.now_ms()
        await self._book.count_signature(one, self._outbox.signature(to, one, digests, now))

    # --- the ceremony --------------------------------------------------------------------------------------------------------

    async def _finish(
        self, session: Session, granted: Granted, request: d.FinishDelegation
    ) -> d.DelegationStored:
        """Keep both new shares where nothing signs with them: the record first, which says that they wait."""
        actor, opened = granted.need_actor(), granted.need_opened()
        begun = session.take_ceremony(request.wallet_id, actor, d.BeginDelegation)
        terms, permit, now = begun.request.terms, begun.permit, self._clock.now_ms()
        if terms.share_set_id != request.share_set_id:
            raise unknown()
        opened.require_epoch(begun.request.epoch)
        made = await ceremony.receive(begun.state, begun.request, opened, request)
        await self._give_up_waiting(permit, request.wallet_id)
        one = record.begun(
            actor.user_id,
            terms,
            approved_by=begun.state.approved_by,
            delegate=(made.delegate, made.delegate_confirmation),
            own=(made.own, made.own_confirmation),
            now=now,
        )
        await self._book.add(one, now=now)
        await self._require_approver(granted, one)
        await self._vault.create(
            permit,
            made.delegate_share,
            made.delegate,
            creator=opened.creator,
            confirmation=made.delegate_confirmation,
            made_at=now,
            pending=True,
        )
        await self._vault.keep_pending(
            permit, opened, made.own_share, made.own, confirmation=made.own_confirmation, made_at=now
        )
        return made.reply()

    async def _give_up_waiting(self, permit: Permit, wallet_id: str) -> None:
        """What waited until now was aborted with the user's shares, and can never be committed."""
        for one in await self._book.of(wallet_id):
            if one.state == "waiting":
                await self._ending.end(permit, one, "user", None)
                return

    async def _commit(self, granted: Granted, request: d.CommitDelegation) -> WalletReply:
        """In this order: the delegate's share counts; the delegation counts, and the developer is told, in one write; the user's share
        counts. Whatever is cut short is completed by asking again, and nothing is done or told twice.
        """
        actor, opened, permit = granted.need_actor(), granted.need_opened(), granted.need_permit()
        one = await self._book.require(request.wallet_id, request.share_set_id)
        if one.user_id != actor.user_id:
            raise unknown()
        record.require_not_over(one, self._clock.now_ms())
        own_waits = await self._verify_own(actor, opened, one, request)
        delegated = await self._vault.open(request.wallet_id, request.share_set_id)
        self._verify_delegate(delegated, request)
        if one.state == "waiting":
            await self._activate(granted, one, delegated, request)
        if own_waits:
            opened = await self._vault.commit(permit, opened)
            self._counters["reshares"] += 1
        return await self._statuses.reply(actor, opened)

    async def _verify_own(
        self, actor: Actor, opened: OpenedWallet, one: Delegation, request: d.CommitDelegation
    ) -> bool:
        """That the user holds the new shares of this very ceremony. Whether these are still to be committed."""
        asked = CommitReshare(request.wallet_id, request.epoch, request.proofs)
        waits = reshares.verify_commit(self._environment, opened, asked)
        if opened.facts_of(request.epoch).confirmation != one.own_confirmation:
            raise CosignerError(
                "reshare_unknown",
                "The shares of this delegation were aborted; approve it again.",
                culprit=Culprit.CLIENT,
            )
        if waits:
            await self._backups.require_backup(actor, opened, request.epoch)
        return waits

    def _verify_delegate(self, delegated: OpenedWallet, request: d.CommitDelegation) -> None:
        facts = delegated.facts_of(request.epoch)
        context = ceremony.committing(self._environment, facts)
        delegated.verify_proofs(request.epoch, context, [(CLIENT_PARTY, request.delegate_proof)])

    async def _activate(
        self, granted: Granted, one: Delegation, delegated: OpenedWallet, request: d.CommitDelegation
    ) -> None:
        actor = granted.need_actor()
        ceremony.require_envelope(request.encrypted_share, one.terms.kid)
        await self._require_approver(granted, one)
        await self._require_key(one)
        if delegated.pending is not None:
            await self._vault.commit(granted.need_permit(), delegated)
        await self._book.deny(actor.user_id, denied=False, now=self._clock.now_ms())
        await self._require_approver(granted, one)
        # Again: the host may have held up those writes for as long as it liked.
        to, key = await self._require_key(one)
        api_key = "dyn_" + base64.urlsafe_b64encode(os.urandom(_KEY_LENGTH)).rstrip(b"=").decode()
        envelope = _encrypted(api_key, key)
        await self._book.change(
            request.wallet_id,
            request.share_set_id,
            lambda found: record.activate(
                found,
                api_key_hash=hashlib.sha256(api_key.encode()).digest(),
                encrypted_api_key=envelope,
                now=self._clock.now_ms(),
            ),
            event=lambda active: self._outbox.created(
                to, active, share=request.encrypted_share, api_key=envelope, receipt=granted.receipt
            ),
        )
        self._counters["delegations"] += 1

    async def _require_approver(self, granted: Granted, one: Delegation) -> None:
        """That session and evidence stand, and the credential, too, that vouched for the approval."""
        await self._require_standing(granted)
        evidence = replace(granted.evidence, credential=one.approved_by)
        await self._require_standing(replace(granted, evidence=evidence))

    async def _require_key(self, one: Delegation) -> tuple[Subscription, d.DeveloperKey]:
        settings = await self._settings.in_force()
        return settings.require_enabled(), settings.require_key(one.terms.kid, one.terms.key_hash)

    # --- what becomes of it ----------------------------------------------------------------------------------------------------

    async def _list(self, actor: Actor, wallet_id: str) -> d.Delegations:
        """Those that count or did, oldest first; a delegate sees its own. Of very many the newest."""
        listed: list[d.DelegationInfo] = []
        size = 0
        for one in reversed(await self._book.of(wallet_id)):
            own = actor.delegation is None or actor.delegation.share_set_id == one.share_set_id
            if one.api_key_hash is None or not own:
                continue
            size += len(one.terms.rules) + len(one.tightened)
            if size > _REPLY_BYTES:
                break
            listed.append(record.info(one))
        return d.Delegations(listed[::-1])

    async def _revoke(
        self,
        granted: Granted,
        request: d.RevokeDelegation | d.RevokeDelegationAsAdministrator,
        by: RevokedBy,
    ) -> Done:
        one = await self._book.require(request.wallet_id, request.share_set_id)
        await self._ending.end(granted.need_permit(), one, by, granted.receipt)
        return Done()

    async def _tighten(self, actor: Actor, request: d.TightenDelegation) -> Done:
        await self._book.change(
            request.wallet_id,
            request.share_set_id,
            lambda found: record.tighten(
                found,
                request.rules,
                request.expires_at,
                by_delegate=actor.delegation is not None,
                now=self._clock.now_ms(),
            ),
        )
        return Done()


def _encrypted(api_key: str, key: d.DeveloperKey) -> Envelope:
    """To the developer, who alone gets it."""
    return developer_keys.encryption_key(key).encrypt(api_key.encode())
