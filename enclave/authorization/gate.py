"""The gate: every request of every session passes here, and nothing behind it runs without what it hands out.

The order is fixed, and it is the same for everything that changes state:

1. the session is a user's, whose session key is registered and good (else only what the table lets anybody ask);
2. the action is fresh, and its nonce new;
3. evidence verifies, of the user's own credential and of whoever approves; factors suffice;
4. the wallet is the user's; only now is its record opened, and what would be signed is worked out from the payload;
5. the second factor, which costs a code, is verified;
6. the policy decides; what it counts is stored, durably;
7. the receipt is stored, durably.

Whatever fails on the way is a denial, and leaves a receipt too. A :class:`Granted` comes out at the end, with the permit in it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from enclave import signing
from enclave.work import compute
from policy import Action as JudgedAction
from policy import Deny, decide, summary_of
from policy.rendering import headline
from protocol import messages as m
from protocol.envelope.errors import CosignerError, Culprit
from threshold import PayloadError, ThresholdError
from threshold.payload import solana_address

from .evidence import Evidence, require_factors, verify_first
from .freshness import fresh_action
from .journal import Judged
from .permits import grant
from .requirements import requirement_of
from .rulebook import NO_RULES, RulesInForce
from .usage import NOTHING_USED

if TYPE_CHECKING:
    from enclave.accounts.directory import Directory
    from enclave.accounts.ownership import Wallets
    from enclave.accounts.user import UserRecord
    from enclave.actors import Actor
    from enclave.authn.clock import Clock
    from enclave.manifest import Environment
    from enclave.sessions import Session
    from enclave.signing import Signing
    from enclave.vault import OpenedWallet, Vault
    from policy import Decision, Summary
    from protocol.actions import Action, Authorization
    from protocol.envelope.messages import Message
    from protocol.receipts import SignedEntry

    from .approvals import Approvals
    from .journal import Journal
    from .permits import Permit
    from .requirements import Requirement
    from .rulebook import Rulebook
    from .second_factors import SecondFactors
    from .usage import Ledgers

_CHAINS: Final = {"ethereum": "EVM", "solana": "SVM", "bitcoin": "BTC"}
_MAX_REASON: Final = 1000


@dataclass(frozen=True, slots=True)
class Granted:
    """A request that may be carried out, and all that carrying it out may use.

    :ivar actor: ``None``: nobody's request, of those that anybody may ask.
    :ivar permit: for the wallet that the request is about.
    :ivar opened: that wallet, where the request reads or signs.
    :ivar signing: what is signed.
    :ivar receipt: of the decision.
    """

    actor: Actor | None
    request: Message
    now: int
    evidence: Evidence = field(default_factory=lambda: Evidence(frozenset()))
    permit: Permit | None = None
    opened: OpenedWallet | None = None
    signing: Signing | None = None
    receipt: SignedEntry | None = None


class Denied(CosignerError):
    """A refusal that stands in the log.

    :ivar receipt: its entry.
    """

    def __init__(self, error: CosignerError, receipt: SignedEntry | None) -> None:
        super().__init__(error.code, error.message, culprit=error.culprit, reaction=error.reaction)
        self.receipt = receipt


@dataclass(slots=True)
class _Case:
    """One action on its way through the gate. What is known so far is what a receipt of its denial can say."""

    session: Session
    actor: Actor
    request: Message
    requirement: Requirement
    action: Action
    authorization: Authorization | None
    now: int
    evidence: Evidence
    approvers: frozenset[str] = frozenset()
    opened: OpenedWallet | None = None
    signing: Signing | None = None
    rules: RulesInForce = NO_RULES
    decision: Decision | None = None


class Gate:
    """Judges the requests of one environment's sessions."""

    def __init__(  # noqa: PLR0913  (all rooms that have a say)
        self,
        environment: Environment,
        *,
        vault: Vault,
        directory: Directory,
        wallets: Wallets,
        rulebook: Rulebook,
        ledgers: Ledgers,
        approvals: Approvals,
        second_factors: SecondFactors,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._environment = environment
        self._vault = vault
        self._directory = directory
        self._wallets = wallets
        self._rulebook = rulebook
        self._ledgers = ledgers
        self._approvals = approvals
        self._second_factors = second_factors
        self._journal = journal
        self._clock = clock

    async def admit(self, session: Session, call: m.Call) -> Granted:
        """Judge one request.

        :raises Denied: refused, and in the log.
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
        record = await self.require_user(actor, now)
        if not requirement.action:
            return await self._admit_reading(session, actor, request, now)
        case = _Case(
            session=session,
            actor=actor,
            request=request,
            requirement=requirement,
            action=fresh_action(session, actor, call, now),
            authorization=call.authorization,
            now=now,
            evidence=Evidence(actor.factors),
        )
        try:
            return await self._judge(case, record)
        except (CosignerError, ThresholdError, PayloadError) as error:
            raise await self._denied(case, error) from None

    async def require_user(self, actor: Actor, now: int) -> UserRecord:
        """The user's record, while their session key stands in it.

        :raises CosignerError: ``session_key_rejected``, ``session_key_expired``.
        """
        record = await self._directory.get(actor.user_id)
        if actor.expires_at_ms <= now:
            raise CosignerError(
                "session_key_expired", "The session key has expired; log in again.", culprit=Culprit.CLIENT
            )
        if record is None or record.session_key(actor.session_key) is None:
            raise CosignerError(
                "session_key_rejected",
                "The session key is not registered, or was revoked; log in again.",
                culprit=Culprit.CLIENT,
            )
        return record

    async def _admit_reading(self, session: Session, actor: Actor, request: Message, now: int) -> Granted:
        """What changes nothing needs no action; what concerns a wallet, its owner."""
        match request:
            case m.GetWallet(wallet_id=wallet_id):
                await self._wallets.require_owner(actor, wallet_id)
                return Granted(actor, request, now, opened=await self._vault.open(wallet_id))
            case m.GetPolicy(layer=layer, subject=subject):
                await self._require_sight(actor, layer, subject)
        return Granted(actor, request, now, evidence=Evidence(actor.factors))

    async def _judge(self, case: _Case, record: UserRecord) -> Granted:
        await self._verify(case, record)
        await self._require_owner(case)
        if isinstance(case.request, m.Sign | m.SignEcdsa):
            await self._examine(case, case.request)
        await self._spend_second_factor(case)
        approvals = [] if case.authorization is None else case.authorization.approvals
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._approvals.unspent(approvals, case.now))
            if case.requirement.rules is not None:
                await self._decide(case, held)
        receipt = await self._journal.allowed(self._judged(case))
        wallet_id = _wallet_of(case.request)
        return Granted(
            actor=case.actor,
            request=case.request,
            now=case.now,
            evidence=case.evidence,
            permit=None
            if wallet_id is None
            else grant(
                environment=self._environment.id, operation=case.request.kind, wallet_id=wallet_id
            ),
            opened=case.opened,
            signing=case.signing,
            receipt=receipt,
        )

    async def _verify(self, case: _Case, record: UserRecord) -> None:
        """Evidence and approvals verify, and suffice, but for the code of a second factor."""
        step_up = self._environment.step_up.get(case.request.kind, [])
        case.evidence = verify_first(
            record,
            case.authorization,
            case.action.hash,
            requirement=case.requirement,
            relying_party=self._environment.relying_party,
        )
        require_factors(
            record,
            case.evidence,
            requirement=case.requirement,
            step_up=step_up,
            second=None if case.authorization is None else case.authorization.second,
        )
        if case.authorization is not None and case.authorization.approvals:
            case.approvers = await self._approvals.verify(
                case.request, case.action, case.authorization.approvals, case.now
            )
        if case.requirement.administrators:
            self._approvals.require_quorum(case.approvers)

    async def _require_owner(self, case: _Case) -> None:
        """The wallet, or the layer, is the user's.

        :raises CosignerError: ``not_owner``, ``wallet_unknown``.
        """
        match case.request:
            case m.Sign(wallet_id=wallet_id) | m.SignEcdsa(wallet_id=wallet_id) | m.HandOver(wallet_id=wallet_id):
                await self._wallets.require_owner(case.actor, wallet_id)
            case m.SetPolicy(layer=layer, subject=subject) if layer != "environment":
                await self._require_sight(case.actor, layer, subject)
                self._rulebook.check(case.request)

    async def _require_sight(self, actor: Actor, layer: str, subject: str) -> None:
        """Who may see a layer: the environment's, every user; an account's, its user; a wallet's and its signers', the wallet's owner."""
        match layer, subject.split(":"):
            case "environment", [""]:
                return
            case "account", [user_id] if user_id == actor.user_id:
                return
            case ("wallet", [wallet_id]) | ("signer", [wallet_id, _]):
                await self._wallets.require_owner(actor, wallet_id)
                return
        raise CosignerError("not_owner", "This layer is not yours.", culprit=Culprit.CLIENT)

    async def _examine(self, case: _Case, request: m.Sign | m.SignEcdsa) -> None:
        """Open the wallet's record, and work out from the payload what would be signed."""
        if isinstance(request, m.SignEcdsa):
            signing.require_ecdsa(case.session)
        case.opened = await self._vault.open(request.wallet_id)
        case.opened.require_epoch(request.epoch)
        case.signing = await compute(signing.examine, case.opened, request)

    async def _spend_second_factor(self, case: _Case) -> None:
        """A code that came along is verified, whether it was asked for or not."""
        second = None if case.authorization is None else case.authorization.second
        if second is not None:
            await self._second_factors.spend(case.actor.user_id, second, case.now)
            case.evidence = case.evidence.plus("totp")
        vouched = case.evidence.vouched
        if vouched is not None and vouched.sign_count:
            await self._directory.change(
                case.actor.user_id,
                lambda record: record.count_signature(vouched.credential_id, vouched.sign_count),
            )

    async def _decide(self, case: _Case, held: AsyncExitStack) -> None:
        """Ask the rules; count what they count."""
        wallet_id = _wallet_of(case.request)
        about = wallet_id if not isinstance(case.request, m.BeginDkg) else None
        case.rules = await self._rulebook.in_force(case.actor.user_id, about)
        at = case.now // 1000
        judged = JudgedAction(
            operation=str(case.requirement.rules),
            at=at,
            chain=_chain_of(case),
            signer=case.actor.kind,
            factors=case.evidence.factors,
            approvals=case.approvers,
        )
        ledger = None
        if case.signing is not None and about is not None and case.rules.counted:
            ledger = await held.enter_async_context(
                self._ledgers.of(case.rules, case.actor.user_id, about)
            )
        decision = decide(judged, _summary(case.signing), case.rules.policy, ledger.used if ledger else NOTHING_USED)
        case.decision = decision
        if isinstance(decision, Deny):
            raise _refusal(decision)
        if ledger is not None:
            await ledger.charge(decision.charges, at)

    async def _denied(self, case: _Case, error: CosignerError | ThresholdError | PayloadError) -> Exception:
        """The refusal, once it is in the log."""
        receipt = await self._journal.denied(self._judged(case), error.code)
        if isinstance(error, CosignerError):
            return Denied(error, receipt)
        return error

    def _judged(self, case: _Case) -> Judged:
        return Judged(
            actor=case.actor,
            action=case.action,
            authorization=case.authorization,
            factors=case.evidence.factors,
            approvers=case.approvers,
            task=None if case.signing is None else case.signing.task,
            rules=case.rules.hash,
            decision=case.decision,
        )


def _wallet_of(request: Message) -> str | None:
    """The wallet whose share a request is going to use."""
    match request:
        case m.Sign() | m.SignEcdsa() | m.BeginDkg() | m.HandOver():
            return request.wallet_id
        case _:
            return None


def _chain_of(case: _Case) -> str:
    """The chain as rules name it; empty where an action is about none."""
    if isinstance(case.request, m.BeginDkg):
        return _CHAINS.get(case.request.chain, "")
    return "" if case.opened is None else _CHAINS[case.opened.wallet.chain]


def _summary(signed: Signing | None) -> Summary | None:
    """What the payload does, in the words of rules."""
    if signed is None:
        return None
    wallet = signed.opened.wallet
    address = solana_address(wallet.public_key) if wallet.chain == "solana" else ""
    return summary_of(signed.kind, signed.task.details, wallet=address, network=wallet.network)


def _refusal(decision: Deny) -> CosignerError:
    """A denial as the client gets it: the reason in a sentence or two. The whole tree stands in the log."""
    code = decision.code if decision.code in {"factor_required", "approval_required"} else "policy_denied"
    reason = " ".join(headline(decision))
    return CosignerError(code, reason[:_MAX_REASON], culprit=Culprit.CLIENT)
