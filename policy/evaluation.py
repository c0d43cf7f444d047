"""The decision: a pure function of action, summary, policy and usage. It never raises, reads no clock and does no I/O.

Every layer must pass. A layer passes if one of its allow rules allows the whole payload and none of its deny rules applies. So rules
only ever narrow what other layers allow, their order means nothing, and no rule at all is a denial.
"""

from __future__ import annotations

from .action import Action
from .conditions import ON_PAYLOADS, Case, blind, hours, limits, moved, often, validity
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
from .rules import LAYERS, SIGNED, Policy, Rule
from .summary import Summary
from .usage import Charge, Key, Usage

_REQUIREMENTS = frozenset({"factor_required", "approval_required"})


def decide(action: Action, summary: Summary | None, rules: Policy, usage: Usage) -> Decision:
    """Whether an action may happen, and why.

    :param summary: what is signed; ``None`` for operations other than ``sign``.
    :param rules: the layers that apply to this wallet and this signer.
    :param usage: what was used of rolling totals and rates; after an :class:`Allow` the caller charges it with its charges.
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
    if rule.not_before is not None or rule.not_after is not None:
        invalid = validity(rule, action.at)
        if invalid is not None:
            return RuleVerdict(rule, DOES_NOT_APPLY, (invalid,))
    if rule.chain is not None and rule.chain != action.chain:
        return RuleVerdict(
            rule, DOES_NOT_APPLY, (Finding(NO, "chain", "other_chain", rule.chain, action.chain),)
        )
    if rule.block_export or rule.block_revocation or rule.block_client_signing:
        blocked = _blocked(rule, action)
        if blocked is not None:
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
    found = []
    if rule.hours and (finding := hours(rule, case.action.at)) is not None:
        found.append(finding)
    facts = case.facts
    if facts is None:  # reading refuses conditions on payloads in rules for other operations than signing
        return found
    if rule.payloads is not None and facts.payload not in rule.payloads:
        found.append(Finding(NO, "payloads", "other_payload", rule.payloads, facts.payload))
    for name in rule.conditions:
        finding = ON_PAYLOADS[name](rule, facts)
        if finding is not None:
            found.append(finding)
    if (facts.blind or rule.blind) and (finding := blind(rule, facts)) is not None:
        found.append(finding)
    if rule.limits and (finding := limits(rule, facts, case)) is not None:
        found.append(finding)
    if rule.rate is not None and (finding := often(rule, rule.rate, case)) is not None:
        found.append(finding)
    return found


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
    against = [
        finding
        for finding in findings
        if finding.verdict == NO or (finding.verdict == UNKNOWN and not rule.cautious)
    ]
    if against:
        return RuleVerdict(rule, DOES_NOT_APPLY, tuple(against))
    # What surprises comes first: what could not be seen, then limits rather than what leads to them.
    findings.reverse()
    findings.sort(key=lambda finding: finding.verdict != UNKNOWN)
    return RuleVerdict(rule, DENIES, tuple(findings))


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


# How far a rule is from allowing: one whose limit is exceeded is nearer than one about another chain.
_NEAR = {
    "per_call_limit_exceeded": 1,
    "total_limit_exceeded": 1,
    "rate_limit_exceeded": 1,
    "address_not_listed": 2,
    "argument_not_allowed": 2,
}
_FAR = frozenset({"chain", "operations", "payloads", "chainIds", "networks", "functionName", "typedData"})


def _distance(verdict: RuleVerdict) -> int:
    return sum(10 if finding.field in _FAR else _NEAR.get(finding.code, 4) for finding in verdict.findings)


def _charges(judged: tuple[RuleVerdict, ...], facts: Facts, layer: str) -> list[Charge]:
    """What counts against totals and rates: of the rules that allowed it, and of the deny rules that would deny beyond their total."""
    charges: list[Charge] = []
    for rule, outcome, findings in judged:
        if rule.rate is not None and outcome == ALLOWS:
            charges.append(Charge(Key(layer, rule.key, SIGNED, rule.rate.window), 1))
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
