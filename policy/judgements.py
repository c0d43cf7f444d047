"""Findings: what a condition says about an action. Raw values here; :mod:`policy.rendering` makes text of them."""

from __future__ import annotations

from typing import Final, NamedTuple

from .rules import Rule

YES: Final = "yes"
NO: Final = "no"
UNKNOWN: Final = "unknown"

ALLOWS: Final = "allows"
NEEDS: Final = "needs"  # would allow, if a factor or an approval were there
DENIES: Final = "denies"
BLOCKS: Final = "blocks"  # restricts the operation, whatever else it says
DOES_NOT_APPLY: Final = "does_not_apply"


class Finding(NamedTuple):
    """What one condition of a rule says.

    :ivar verdict: :data:`YES`, :data:`NO` or :data:`UNKNOWN`: it cannot be seen.
    :ivar field: the rule's field.
    :ivar code: stable; why it is not met or, for deny rules, why it is.
    :ivar limit: what the rule has, as a value of the rule.
    :ivar asked: what the action has.
    """

    verdict: str
    field: str
    code: str
    limit: object = None
    asked: object = None


class RuleVerdict(NamedTuple):
    """What a rule says.

    :ivar outcome: :data:`ALLOWS`, :data:`NEEDS`, :data:`DENIES`, :data:`BLOCKS` or :data:`DOES_NOT_APPLY`.
    :ivar findings: of an allow rule what is not met; of a deny rule that denies what is met or unknown, else what is not.
    """

    rule: Rule
    outcome: str
    findings: tuple[Finding, ...]


class LayerVerdict(NamedTuple):
    """What a layer says.

    :ivar code: ``passed``, ``absent``, ``layer_absent``, ``no_rule_allows``, ``denied_by_rule``, ``operation_blocked``,
        ``factor_required``, ``approval_required``.
    :ivar decisive: the rule that denies; where none allows, the one that comes closest.
    """

    layer: str
    passed: bool
    code: str
    decisive: RuleVerdict | None
    rules: tuple[RuleVerdict, ...]
