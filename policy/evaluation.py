"""The decision: a pure function of action, summary, policy and usage. It never raises, reads no clock and does no I/O.

Every layer must pass. A layer passes if one of its allow rules allows the whole payload and none of its deny rules applies. So rules
only ever narrow what other layers allow, their order means nothing, and no rule at all is a denial.
"""

from __future__ import annotations

from . import conditions
from .action import Action
from .conditions import Case, moved
from .decisions import Allow, Decision, Deny
from .effects import facts_of
from .facts import Facts
from .judgements import (
    ALLOWS,
    BLOCKS,
    DENIES,
    DOES_NOT_APPLY,
    NEEDS,
    NO,
    UNKNOWN,
    YES,
    Finding,
    LayerVerdict,
    RuleVerdict,
)
from .rules import LAYERS, Policy, Rule
from .summary import Summary
from .usage import Charge, Key, Usage

_REQUIREMENTS = frozenset({"factor_required", "approval_required"})


def decide(action: Action, summary: Summary | None, rules: Policy, usage: Usage) -> Decision:
    """Whether an action may happen, and why.

    :param summary: what is signed; ``None`` for operations other than ``sign``.
    :param rules: the layers that apply to this wallet and this signer.
    :param usage: what was used of rolling totals; after an :class:`Allow` the caller charges it with its charges.
    """
    if action.operation == "sign":
        if summary is None:
            return Deny("summary_missing", ())
        facts = facts_of(summary)
        if facts.chain != action.chain:
            return Deny("wrong_chain", ())
    else:
        facts = None
    environment = rules.layer(LAYERS[0])
    optional = frozenset() if environment is None else environment.optional
    verdicts = []
    charges: list[Charge] = []
    for name in LAYERS:
        layer = rules.layer(name)
        if layer is None:
            passed = name in optional
            verdicts.append(LayerVerdict(name, passed, "absent" if passed else "layer_absent", None, ()))
            continue
        case = Case(action, facts, usage, name)
        judged = tuple([judge(rule, case) for rule in layer.rules])
        verdict = _layer(name, judged)
        verdicts.append(verdict)
        if verdict.passed and facts is not None:
            charges += _charges(judged, facts, name)
    layers = tuple(verdicts)
    failing = [verdict for verdict in layers if not verdict.passed]
    if not failing:
        return Allow(layers, tuple(charges))
    hard = [verdict for verdict in failing if verdict.code not in _REQUIREMENTS]
    # What an approval cannot change is said first: asking for one would be in vain.
    if hard:
        return Deny(hard[0].code, layers)
    codes = {verdict.code for verdict in failing}
    return Deny("factor_required" if "factor_required" in codes else "approval_required", layers)


def judge(rule: Rule, case: Case) -> RuleVerdict:
    """What one rule says of a case."""
    action = case.action
    if (invalid := conditions.validity(rule, action.at)) is not None:
        return RuleVerdict(rule, DOES_NOT_APPLY, (invalid,))
    if rule.chain is not None and rule.chain != action.chain:
        return RuleVerdict(
            rule, DOES_NOT_APPLY, (Finding(NO, "chain", "other_chain", rule.chain, action.chain),)
        )
    if (blocked := _blocked(rule, action)) is not None:
        return RuleVerdict(rule, BLOCKS, (blocked,))
    if action.operation not in rule.operations:
        finding = Finding(NO, "operations", "other_operation", rule.operations, action.operation)
        return RuleVerdict(rule, DOES_NOT_APPLY, (finding,))
    findings = _findings(rule, case)
    return _allow(rule, action, findings) if rule.allow else _deny(rule, findings)


def _blocked(rule: Rule, action: Action) -> Finding | None:
    """``operationRestrictions``: they hold whatever else the rule says, and in allow rules too."""
    name = ""
    if rule.block_export and action.operation == "export":
        name = "blockExport"
    elif rule.block_revocation and action.operation == "revoke":
        name = "blockRevocation"
    elif rule.block_client_signing and action.operation == "sign" and action.signer == "user":
        name = "blockClientSigning"
    else:
        return None
    return Finding(YES, f"operationRestrictions.{name}", "operation_blocked", True, action.operation)  # noqa: FBT003


def _findings(rule: Rule, case: Case) -> list[Finding]:
    """What the conditions say; those that are met and have nothing to say are left out."""
    found: list[Finding | None] = []
    if rule.hours:
        found.append(conditions.hours(rule, case.action.at))
    facts = case.facts
    if facts is not None:
        found.append(conditions.payloads(rule, facts))
        if rule.chain_ids is not None:
            found.append(conditions.chain_ids(rule, facts))
        if rule.networks is not None:
            found.append(conditions.networks(rule, facts))
        _parties(rule, facts, found)
        if rule.function is not None:
            found.append(conditions.call(rule, facts))
        if rule.typed_data:
            found.append(conditions.typed_data(rule, facts))
        if rule.blind or (rule.allow and facts.blind):
            found.append(conditions.blind(rule, facts))
        if rule.limits:
            found.append(conditions.limits(rule, case, facts))
    return [finding for finding in found if finding is not None]


def _parties(rule: Rule, facts: Facts, found: list[Finding | None]) -> None:
    if rule.addresses is None and rule.contracts is None:
        return
    if rule.allow:
        found.append(conditions.addresses_allowed(rule, facts))
        return
    if rule.addresses is not None:
        found.append(conditions.addresses_denied(rule, facts))
    if rule.contracts is not None:
        found.append(conditions.contracts_denied(rule, facts))


def _allow(rule: Rule, action: Action, findings: list[Finding]) -> RuleVerdict:
    if findings:
        return RuleVerdict(rule, DOES_NOT_APPLY, tuple(findings))
    missing = tuple(factor for factor in rule.factors if factor not in action.factors)
    if missing:
        findings.append(Finding(NO, "requires.factors", "factor_required", rule.factors, missing))
    if (wanted := rule.approvals) is not None:
        given = tuple(name for name in wanted.of if name in action.approvals)
        if len(given) < wanted.count:
            findings.append(Finding(NO, "requires.approvals", "approval_required", wanted, given))
    return RuleVerdict(rule, NEEDS if findings else ALLOWS, tuple(findings))


def _deny(rule: Rule, findings: list[Finding]) -> RuleVerdict:
    against = tuple(
        finding
        for finding in findings
        if finding.verdict == NO or (finding.verdict == UNKNOWN and not rule.cautious)
    )
    if against:
        return RuleVerdict(rule, DOES_NOT_APPLY, against)
    # What surprises comes first: what could not be seen, then limits rather than what leads to them.
    telling = sorted(reversed(findings), key=lambda finding: finding.verdict != UNKNOWN)
    return RuleVerdict(rule, DENIES, tuple(telling))


def _layer(name: str, judged: tuple[RuleVerdict, ...]) -> LayerVerdict:
    allows, needs, blocks, denies = False, [], None, None
    for verdict in judged:
        outcome = verdict.outcome
        if outcome == ALLOWS:
            allows = True
        elif outcome == NEEDS:
            needs.append(verdict)
        elif outcome == BLOCKS:
            blocks = blocks or verdict
        elif outcome == DENIES:
            denies = denies or verdict
    if blocks is not None:
        return LayerVerdict(name, False, "operation_blocked", blocks, judged)  # noqa: FBT003
    if denies is not None:
        return LayerVerdict(name, False, "denied_by_rule", denies, judged)  # noqa: FBT003
    if allows:
        return LayerVerdict(name, True, "passed", None, judged)  # noqa: FBT003
    if needs:
        nearest = min(needs, key=lambda verdict: len(verdict.findings))
        return LayerVerdict(name, False, nearest.findings[0].code, nearest, judged)  # noqa: FBT003
    candidates = [verdict for verdict in judged if verdict.rule.allow]
    closest = min(candidates, key=_distance, default=None)
    return LayerVerdict(name, False, "no_rule_allows", closest, judged)  # noqa: FBT003


# A rule of another chain or operation is further away than one whose limit is exceeded.
_FAR = frozenset(
    {"chain", "operations", "notBefore", "notAfter", "chainIds", "networks", "functionName", "payloads"}
)


def _distance(verdict: RuleVerdict) -> tuple[int, int]:
    return sum(finding.field in _FAR for finding in verdict.findings), len(verdict.findings)


def _charges(judged: tuple[RuleVerdict, ...], facts: Facts, layer: str) -> list[Charge]:
    """What counts against totals: of the rules that allowed it, and of the deny rules that would deny beyond their total."""
    charges: list[Charge] = []
    for rule, outcome, findings in judged:
        if not rule.limits:
            continue
        within = not rule.allow and all(finding.field.startswith("valueLimit") for finding in findings)
        if outcome == ALLOWS or (outcome == DOES_NOT_APPLY and within):
            charges += [
                Charge(Key(layer, rule.key, limit.asset.name, limit.window), amount)
                for limit in rule.limits
                if limit.total is not None and (amount := moved(limit, facts))
            ]
    return charges
