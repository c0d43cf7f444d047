"""The rules are asked, and what they count is stored, before anything is done."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from enclave.records import RecordConflictError
from policy import Action as JudgedAction
from policy import Deny, decide

from .asked import chain_of, refusal, summary, wallet_ruled
from .delegates import signer_rules

if TYPE_CHECKING:
    from policy import Charge

    from .cases import Case
    from .delegates import Delegates
    from .rulebook import Rulebook, SignerRules
    from .usage import Ledger, Ledgers

_ATTEMPTS: Final = 4


class Deciding:
    """Judges cases of one environment by the rules in force."""

    def __init__(self, rulebook: Rulebook, ledgers: Ledgers, delegates: Delegates) -> None:
        self._rulebook = rulebook
        self._ledgers = ledgers
        self._delegates = delegates

    async def decide(self, case: Case, operation: str) -> None:
        """Ask the rules, and store what they count. Who else counts meanwhile, in another enclave, makes this one ask again."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self._decide_once(case, operation)
            except RecordConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    async def _decide_once(self, case: Case, operation: str) -> None:
        """Everybody's rules allow it once; a delegate's further rules must allow it, too. Only then is anything charged."""
        user_id, wallet_id = case.actor.user_id, wallet_ruled(case.request)
        asked = JudgedAction(
            operation=operation,
            at=case.now // 1000,
            chain=chain_of(case.request, case.opened),
            signer=case.actor.kind,
            factors=case.evidence.factors,
            approvals=case.judged.approvers,
        )
        signers: list[SignerRules | None] = [None]
        if case.actor.delegation is not None:
            signers = list(signer_rules(await self._delegates.require(case.actor)))
        case.judged.policies = []
        charges: list[tuple[Ledger, tuple[Charge, ...]]] = []
        async with AsyncExitStack() as held:
            for signer in signers:
                rules = await self._rulebook.in_force(user_id, wallet_id, signer)
                case.judged.policies += [one for one in rules.versions if one not in case.judged.policies]
                counted = rules.counted if case.signing is not None and wallet_id is not None else frozenset()
                if charges:  # what all signers share was counted with the first
                    counted &= {"signer"}
                ledger = await held.enter_async_context(
                    self._ledgers.of(rules, counted, user_id, wallet_id or "")
                )
                decision = decide(asked, summary(case.signing), rules.policy, ledger.used)
                case.judged.rules = decision
                if isinstance(decision, Deny):
                    raise refusal(decision)
                charges.append((ledger, decision.charges))
            for ledger, charged in charges:
                await ledger.charge(charged, asked.at)
