"""What a signer may change of the rules that bind it: ``modifiableBySigner``."""

from __future__ import annotations

from .errors import PolicyError
from .rules import Layer, Rule


class ChangeRefusedError(PolicyError):
    """A change that is not the signer's to make. Code ``rule_not_modifiable``, or ``layer_not_modifiable``."""


def check_change_by_signer(before: Layer, after: Layer) -> None:
    """Whether a signer may replace a layer by another. Whoever administers the layer needs no such leave.

    A signer may replace a rule that says ``modifiableBySigner`` by another of the same id or name and the same type that says so too.
    It may not add, remove or rename rules, nor turn a deny rule into an allow rule, nor touch anything else of the layer.

    :raises ChangeRefusedError: otherwise; names the first rule, by key.
    """
    if before.name != after.name or before.optional != after.optional:
        raise ChangeRefusedError("layer_not_modifiable", "A signer changes rules, not the layer.")
    old, new = ({rule.key: rule for rule in layer.rules} for layer in (before, after))
    for key in sorted(old.keys() | new.keys()):
        one, other = old.get(key), new.get(key)
        if one == other:
            continue
        if one is None or other is None:
            raise ChangeRefusedError(
                "rule_not_modifiable", f"A signer neither adds nor removes rules: {key}."
            )
        if not _is_modifiable(one, other):
            raise ChangeRefusedError("rule_not_modifiable", f"Rule {key} is not the signer's to change.")


def _is_modifiable(one: Rule, other: Rule) -> bool:
    return one.modifiable_by_signer and other.modifiable_by_signer and one.allow == other.allow
