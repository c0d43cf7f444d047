"""The two outcomes. Either has the reasons of every layer and every rule; :mod:`policy.rendering` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .judgements import Finding, LayerVerdict, RuleVerdict
from .rules import Approvals
from .usage import Charge


@dataclass(frozen=True, slots=True)
class Allow:
    """The action may happen.

    :ivar charges: what to charge :class:`policy.Usage` with, before anything happens.
    """

    layers: tuple[LayerVerdict, ...]
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True)
class Deny:
    """The action must not happen.

    :ivar code: stable: that of the first layer that fails, but a missing factor or approval comes last; ``summary_missing`` and
        ``wrong_chain`` before any layer.
    """

    code: str
    layers: tuple[LayerVerdict, ...]

    @property
    def layer(self) -> LayerVerdict | None:
        """The layer that decided."""
        return next((layer for layer in self.layers if not layer.passed and layer.code == self.code), None)

    @property
    def rule(self) -> RuleVerdict | None:
        """The rule that denied; where no rule allowed, the one that came closest."""
        return None if self.layer is None else self.layer.decisive

    @property
    def finding(self) -> Finding | None:
        """The condition of that rule: field, limit and what was asked."""
        return self.rule.findings[0] if self.rule is not None and self.rule.findings else None

    @property
    def missing_factors(self) -> tuple[str, ...]:
        """With ``factor_required``: which, in all layers together."""
        found = [f.asked for f in self._unmet("requires.factors")]
        return tuple(dict.fromkeys(name for names in found if isinstance(names, tuple) for name in names))

    @property
    def missing_approvals(self) -> tuple[Approvals, ...]:
        """How many more approvals are needed, and of whom, for each layer that needs some."""
        found = []
        for finding in self._unmet("requires.approvals"):
            wanted, given = finding.limit, finding.asked
            if isinstance(wanted, Approvals) and isinstance(given, tuple):
                others = tuple(name for name in wanted.of if name not in given)
                found.append(Approvals(wanted.count - len(given), others))
        return tuple(found)

    def _unmet(self, field: str) -> list[Finding]:
        if self.code not in {"factor_required", "approval_required"}:
            return []
        decisive = [
            layer.decisive for layer in self.layers if not layer.passed and layer.decisive is not None
        ]
        return [finding for verdict in decisive for finding in verdict.findings if finding.field == field]


Decision: TypeAlias = Allow | Deny
