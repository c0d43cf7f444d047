"""Reasons for people and for programs: the whole tree of a decision, and the one sentence that matters."""

from __future__ import annotations

from typing import Any, Final

from .assets import BUILT_IN, Coin
from .decisions import Allow, Decision
from .fields import written_time
from .judgements import ALLOWS, BLOCKS, DENIES, DOES_NOT_APPLY, NEEDS, Finding, LayerVerdict, RuleVerdict
from .phrases import condition, hours_in_words, rate_in_words, window_in_words
from .rules import Approvals, Constraint, Hours, Limit, RateLimit, Rule
from .spelling import written_value

_MOST: Final = 3  # elements of a list that are written out
_LONGEST: Final = 160

_DECISIONS: Final = {
    "summary_missing": "There is nothing to decide on: no payload was given.",
    "wrong_chain": "The payload is of another chain than the wallet.",
    "layer_absent": "There are no rules of this layer, and the environment does not make it optional.",
    "no_rule_allows": "No rule allows it.",
    "denied_by_rule": "A deny rule applies.",
    "operation_blocked": "A rule blocks this operation.",
    "factor_required": "Another factor is required.",
    "approval_required": "Approvals are required.",
}
_MARKS: Final = {ALLOWS: "+", NEEDS: "?", DENIES: "!", BLOCKS: "!", DOES_NOT_APPLY: "-"}
_OUTCOMES: Final = {
    ALLOWS: "allows it",
    NEEDS: "would allow it, but",
    DENIES: "denies it",
    BLOCKS: "blocks it",
    DOES_NOT_APPLY: "does not apply",
}
_RULE_FIELDS: Final = {"addresses", "contracts", "blind"}


def tree(decision: Decision) -> dict[str, Any]:
    """The decision as JSON values. Codes and fields are stable; texts are for people."""
    if isinstance(decision, Allow):
        return {
            "decision": "allow",
            "charges": [
                {**charge.key._asdict(), "amount": str(charge.amount)} for charge in decision.charges
            ],
            "layers": [_layer_tree(layer) for layer in decision.layers],
        }
    finding, rule = decision.finding, decision.rule
    return {
        "decision": "deny",
        "code": decision.code,
        "message": _DECISIONS[decision.code],
        "layer": None if decision.layer is None else decision.layer.layer,
        "rule": None if rule is None else rule.rule.key,
        "finding": None if finding is None or rule is None else _finding_tree(rule.rule, finding),
        "missing": {
            "factors": list(decision.missing_factors),
            "approvals": [
                {"count": wanted.count, "of": list(wanted.of)} for wanted in decision.missing_approvals
            ],
        },
        "layers": [_layer_tree(layer) for layer in decision.layers],
    }


def lines(decision: Decision) -> list[str]:
    """The decision for a terminal: the outcome, then every layer and every rule."""
    return [*headline(decision), "", *(line for layer in decision.layers for line in _layer_lines(layer))]


def headline(decision: Decision) -> list[str]:
    """The outcome and what decided it."""
    if isinstance(decision, Allow):
        return ["ALLOW"]
    found = [f"DENY  {_DECISIONS[decision.code]} [{decision.code}]"]
    rule, finding = decision.rule, decision.finding
    if decision.layer is not None:
        found.append(f"layer  {decision.layer.layer}")
    if rule is not None:
        closest = " (the closest)" if decision.code == "no_rule_allows" else ""
        found.append(f"rule   {rule.rule.key}{closest}")
    if rule is not None and finding is not None:
        found += [
            f"field  {finding.field}: {condition(finding.code)} [{finding.code}]",
            f"limit  {limit_text(rule.rule, finding) or '-'}",
            f"asked  {asked_text(finding) or '-'}",
        ]
    found += [f"needs  factor {name}" for name in decision.missing_factors]
    found += [f"needs  {wanted.count} of {', '.join(wanted.of)}" for wanted in decision.missing_approvals]
    return found


def _layer_lines(layer: LayerVerdict) -> list[str]:
    found = [f"{layer.layer}: {'passes' if layer.passed else 'fails'} [{layer.code}]"]
    for verdict in layer.rules:
        found += _rule_lines(verdict)
    return found


def _rule_lines(verdict: RuleVerdict) -> list[str]:
    rule = verdict.rule
    name = rule.name if rule.rule_id is None else f"{rule.name} ({rule.rule_id})"
    kind = "allow" if rule.allow else "deny"
    found = [f"  {_MARKS[verdict.outcome]} {kind} {name!r} {_OUTCOMES[verdict.outcome]}"]
    for finding in verdict.findings:
        details = [
            f"{label} {text}"
            for label, text in (("limit", limit_text(rule, finding)), ("asked", asked_text(finding)))
            if text
        ]
        suffix = f" ({'; '.join(details)})" if details else ""
        found.append(f"      {finding.field}: {condition(finding.code)}{suffix} [{finding.code}]")
    return found


def _layer_tree(layer: LayerVerdict) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "passed": layer.passed,
        "code": layer.code,
        "rules": [
            {
                "rule": verdict.rule.key,
                "name": verdict.rule.name,
                "ruleType": "allow" if verdict.rule.allow else "deny",
                "outcome": verdict.outcome,
                "findings": [_finding_tree(verdict.rule, finding) for finding in verdict.findings],
            }
            for verdict in layer.rules
        ],
    }


def _finding_tree(rule: Rule, finding: Finding) -> dict[str, Any]:
    return {
        "field": finding.field,
        "verdict": finding.verdict,
        "code": finding.code,
        "message": condition(finding.code),
        "limit": limit_text(rule, finding),
        "asked": asked_text(finding),
    }


def limit_text(rule: Rule, finding: Finding) -> str:
    """What the rule has."""
    limit = finding.limit
    if limit is None and finding.field in _RULE_FIELDS:
        limit = getattr(rule, finding.field)
    if isinstance(limit, Limit):
        if finding.field.endswith("maxPerCall"):
            return "" if limit.max_per_call is None else limit.asset.shown(limit.max_per_call)
        total = "" if limit.total is None else limit.asset.shown(limit.total)
        return f"{total} {window_in_words(limit.window)}"
    if isinstance(limit, RateLimit):
        return rate_in_words(limit)
    if finding.code in {"rule_not_yet_valid", "rule_expired"} and isinstance(limit, int):
        return written_time(limit)
    return shown(limit)


def asked_text(finding: Finding) -> str:
    """What the action has."""
    asked = finding.asked
    if isinstance(finding.limit, Limit):
        match asked:
            case (int(amount), int(used)):
                before = f", with {finding.limit.asset.shown(used)} used" if used else ""
                return f"{finding.limit.asset.shown(amount)}{before}"
    if finding.code == "rate_limit_exceeded":
        return f"once more, with {asked} used"
    if finding.code == "factor_required":
        return f"without {shown(asked)}"
    if finding.code == "approval_required":
        return f"approved by {shown(asked) or 'none'}"
    match asked:
        case (Coin() as coin, int(amount)):
            return _coin_text(coin, amount)
        case int() if finding.code in {"rule_not_yet_valid", "rule_expired", "outside_hours"}:
            return written_time(asked)
    return shown(asked)


def _coin_text(coin: Coin, amount: int) -> str:
    where = "" if coin.chain_id is None else f" on chain {coin.chain_id}"
    if coin.token is not None:
        return f"{amount} base units of {coin.token}{where}"
    asset = next(asset for asset in BUILT_IN.values() if asset.chain == coin.chain)
    return f"{asset.shown(amount)}{where}"


def shown(value: object) -> str:
    """A value of a rule or an action as text of bounded length."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case bytes():
            return _cut("0x" + value.hex())
        case Approvals():
            return f"{value.count} of {', '.join(value.of)}"
        case Constraint():
            path = ".".join(str(step) for step in value.path)
            return f"argument {path} {value.operator} {shown([written_value(v) for v in value.values])}"
        case Hours():
            return hours_in_words(value)
        case frozenset():
            return shown(sorted(value))
        case list() | tuple():
            texts = [shown(element) for element in value[:_MOST] if element is not None]
            more = f" and {len(value) - _MOST} more" if len(value) > _MOST else ""
            return ", ".join(texts) + more
        case str():
            return _cut(value) if value.isprintable() else _cut(repr(value))
        case _:
            return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
