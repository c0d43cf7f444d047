"""The gate: every request of every session passes here, and nothing behind it runs without what it hands out.

The order is fixed, and it is the same for everything that changes state:

1. the session is a user's, whose session key is registered and good (else only what the table lets anybody ask);
2. the action is fresh, and its nonce new;
3. evidence verifies, of the user's own credential and of whoever approves; factors suffice;
4. the wallet is the user's; only now is its record opened, and what would be signed is worked out from the payload;
5. codes are verified: looking at one uses it up;
6. the policy decides; what it counts is stored, durably;
7. the receipt is stored, durably.

Whatever fails on the way is a denial, and leaves a receipt too. A :class:`Granted` comes out at the end, with the permit in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enclave import reshares, signing
from enclave.accounts import credentials, session_keys
from enclave.delegation.book import MAX_LISTED
from enclave.work import compute
from policy import PolicyError
from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Message
from threshold import PayloadError, ThresholdError

from .asked import as_error
from .cases import Case
from .deciding import Deciding
from .delegates import require_allowed, require_bare
from .evidence import Verified, require_factors, verify_first
from .freshness import fresh_action
from .granted import DeniedError, Granted
from .journal import Judged
from .owners import require_usable
from .permits import grant
from .requirements import requirement_of

if TYPE_CHECKING:
    from enclave.accounts.directory import Directory
    from enclave.accounts.second_factors import SecondFactors
    from enclave.accounts.user import UserRecord
    from enclave.actors import Actor
    from enclave.authn.clock import Clock
    from enclave.backups import Backups
    from enclave.burns import Burns
    from enclave.manifest import Environment
    from enclave.sessions import Session

    from .approvals import Approvals
    from .delegates import Delegates
    from .journal import Journal
    from .owners import Owners
    from .permits import Permit
    from .rulebook import Rulebook
    from .usage import Ledgers

_USES: Final[dict[type[Message], int]] = {
    m.Sign: 1,
    m.SignEcdsa: 1,
    m.BeginDkg: 1,  # its share goes into the vault when it is finished
    life.BeginReshare: 2,  # the old share deals, and the new one goes into the vault
    life.CommitReshare: 1,
    life.AbortReshare: 1,
    life.ImportWallet: 1,
    life.ExportShare: 1,
    life.DeleteWallet: 1 + MAX_LISTED,  # and its delegates' share sets
    d.BeginDelegation: 4,  # the old share deals; two new ones go into the vault; one that was given up leaves it
    d.CommitDelegation: 2,
    d.RevokeDelegation: 1,
    d.RevokeDelegationAsAdministrator: 1,
}
"""How often a request uses a wallet's shares."""


class Gate:
    """Judges the requests of one environment's sessions."""

    def __init__(
        self,
        environment: Environment,
        *,
        directory: Directory,
        owners: Owners,
        delegates: Delegates,
        backups: Backups,
        rulebook: Rulebook,
        ledgers: Ledgers,
        approvals: Approvals,
        second_factors: SecondFactors,
        journal: Journal,
        clock: Clock,
        burns: Burns,
    ) -> None:
        self._environment = environment
        self._directory = directory
        self._owners = owners
        self._delegates = delegates
        self._backups = backups
        self._rulebook = rulebook
        self._deciding = Deciding(rulebook, ledgers, delegates)
        self._approvals = approvals
        self._second_factors = second_factors
        self._journal = journal
        self._clock = clock
        self._burns = burns

    async def admit(self, session: Session, call: m.Call) -> Granted:
        """Judge one request.

        :raises DeniedError: refused, and in the log.
        :raises CosignerError: ``login_required``, ``session_key_rejected``, ``session_key_expired``, ``receipt_failed``,
            ``clock_disagrees``, ``storage_unavailable`` and the like: refused without an entry.
        """
        request = call.request
        requirement = requirement_of(request)
        now = self._clock.now_ms()
        actor = session.actor
        if actor is None:
            if requirement.who != "anybody":
                raise CosignerError(
                    "login_required", "This session is nobody's; log in first.", culprit=Culprit.CLIENT
                )
            return Granted(None, request, now)
        record, login = await self.require_user(actor)
        if not requirement.action:
            require_allowed(actor, requirement, request)
            return await self._admit_reading(actor, request, now)
        action = fresh_action(session, actor, call, now)
        case = Case(
            session=session,
            actor=actor,
            request=request,
            requirement=requirement,
            action=action,
            authorization=call.authorization,
            now=now,
            judged=Judged(actor, login, action, call.request, call.authorization, now),
            evidence=Verified(actor.factors),
        )
        try:
            return await self._judge(case, record)
        except (CosignerError, PolicyError, ThresholdError, PayloadError) as error:
            refused = as_error(error)
            raise DeniedError(refused, await self._journal.denied(case.judged, refused.code)) from None

    async def require_user(self, actor: Actor) -> tuple[UserRecord, str]:
        """The user's record, while their session key stands in it, and which login registered that. Of a delegate: the record of its user,
        while the delegation stands.

        :raises CosignerError: ``session_key_rejected``, ``session_key_expired``, ``delegation_refused``, ``delegation_disabled``.
        """
        record = await self._directory.require(actor.user_id)
        if actor.delegation is not None:
            await self._delegates.require(actor)
            return record, f"delegate:{actor.delegation.share_set_id}"
        key = session_keys.find(
            record,
            actor.session_key,
            longest_ms=self._environment.session_lifetime_s * 1000,
            now_ms=self._clock.now_ms(),
        )
        return record, key.login

    async def require_standing(self, granted: Granted) -> None:
        """That what vouched for a request still does: the user's session key, and the credential, if one vouched.

        To be asked right before anything is done. Storage and log hold a request up for as long as the host likes, and the user may have
        revoked the one, or deactivated the other, since they were looked at.

        :raises CosignerError: ``session_key_rejected``, ``session_key_expired``, ``credential_unknown``, ``credential_inactive``.
        """
        if granted.actor is None:
            return
        record, _ = await self.require_user(granted.actor)
        if granted.evidence.credential is not None:
            credentials.find_active(record, granted.evidence.credential)

    async def _admit_reading(self, actor: Actor, request: Message, now: int) -> Granted:
        """What changes nothing needs no action; what concerns a wallet, its owner."""
        match request:
            case m.GetWallet(wallet_id=wallet_id) | d.ListDelegations(wallet_id=wallet_id):
                return Granted(actor, request, now, opened=await self._owners.known(actor, wallet_id))
            case life.FinishReshare(wallet_id=wallet_id) | d.FinishDelegation(wallet_id=wallet_id):
                # whose it was when it began, it may be no longer
                opened = await self._owners.own(actor, wallet_id)
                require_usable(opened, request)
                return Granted(actor, request, now, opened=opened)
            case a.GetPolicy(layer=layer, subject=subject):
                await self._owners.require_sight(actor, layer, subject)
        return Granted(actor, request, now)

    async def _judge(self, case: Case, record: UserRecord) -> Granted:
        require_allowed(case.actor, case.requirement, case.request)
        await self._verify(case, record)
        await self._require_owner(case)
        await self._examine(case)
        await self._spend(case)
        async with self._approvals.unspent(case.approvals):
            if case.requirement.export:
                await self._deciding.decide(case, "export")
            if case.requirement.rules is not None:
                await self._deciding.decide(case, case.requirement.rules)
        receipt = await self._journal.allowed(case.judged)
        return Granted(
            actor=case.actor,
            request=case.request,
            now=case.now,
            evidence=case.evidence.facts(),
            permit=self._permit(case.request),
            opened=case.opened,
            signing=case.signing,
            receipt=receipt,
            approvals=tuple(case.approvals),
        )

    def _permit(self, request: Message) -> Permit | None:
        """For the requests that use a share."""
        uses, wallet_id = _USES.get(type(request), 0), getattr(request, "wallet_id", "")
        if not uses:
            return None
        return grant(environment=self._environment.id, operation=request.kind, wallet_id=wallet_id, uses=uses)

    async def _verify(self, case: Case, record: UserRecord) -> None:
        """Evidence and approvals verify, and suffice, but for the code of a second factor."""
        if case.actor.delegation is None:
            self._verify_user(case, record)
        else:
            require_bare(case.authorization)
        case.judged.approvals = await self._approvals.verify(
            case.request, case.action, case.approvals, case.now
        )
        if case.requirement.administrators:
            self._approvals.require_quorum(case.judged.approvers)

    def _verify_user(self, case: Case, record: UserRecord) -> None:
        step_up = self._environment.step_up.get(case.request.kind, [])
        case.evidence = verify_first(
            record,
            case.authorization,
            case.action.hash,
            requirement=case.requirement,
            relying_party=self._environment.relying_party,
        )
        case.judged.credential = None if case.evidence.vouched is None else case.evidence.vouched.credential
        require_factors(
            record, case.evidence, requirement=case.requirement, step_up=step_up, second=case.second
        )

    async def _require_owner(self, case: Case) -> None:
        """The wallet, or the layer, is the user's; and the wallet is one that the request can use.

        :raises CosignerError: ``not_owner``, ``wallet_unknown``, ``wallet_retired``, ``epoch_stale``, ``epoch_superseded``.
        """
        case.opened = await self._owners.wallet_of(case.actor, case.request)
        if case.opened is not None:
            case.judged.epoch = case.opened.wallet.epoch
            require_usable(case.opened, case.request)
        match case.request:
            case a.SetPolicy(layer=layer, subject=subject) if layer != "environment":
                await self._owners.require_sight(case.actor, layer, subject)
                self._rulebook.check(case.request)

    async def _examine(self, case: Case) -> None:
        """What would fail anyway shall not be charged; and what would be signed is worked out from the payload."""
        match case.request:
            case m.SignEcdsa() as request:
                signing.require_ecdsa(case.session)
                self._burns.of(self._environment.id, case.actor.principal).require_patience()
                await self._examine_signing(case, request)
            case m.Sign() as request:
                await self._examine_signing(case, request)
            case life.BeginReshare() as request:
                reshares.require_possible(case.need_opened(), request)
            case d.BeginDelegation() as request:
                opened = case.need_opened()
                await self._backups.require_backup(case.actor, opened)
                await self._delegates.require_possible(opened, request, case.now)

    async def _examine_signing(self, case: Case, request: m.Sign | m.SignEcdsa) -> None:
        opened = case.need_opened()
        opened.require_party(request.party)
        if case.actor.delegation is None:
            await self._backups.require_backup(case.actor, opened)
        case.signing = await compute(signing.examine, opened, request)
        case.judged.task = case.signing.task

    async def _spend(self, case: Case) -> None:
        """What evidence uses up: a second factor's code, whether it was asked for or not; a device code; a passkey's count."""
        user_id, vouched, device_code = case.actor.user_id, case.evidence.vouched, case.evidence.device_code
        if case.second is not None:
            case.judged.second = False
            await self._second_factors.spend(user_id, case.second, case.now)
            case.judged.second = True
            case.evidence = case.evidence.plus("totp")
        if device_code is not None:
            await self._directory.change(
                user_id, lambda user: credentials.take_device_code(user, device_code, now_ms=case.now)
            )
            case.judged.device_code = True
        if vouched is not None and vouched.sign_count:
            credential_id, count = vouched.credential.credential_id, vouched.sign_count
            await self._directory.change(user_id, lambda user: credentials.used(user, credential_id, count))
