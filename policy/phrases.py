"""Fixed texts: what a code means, and rules in words."""

from __future__ import annotations

from typing import Final

from .fields import written_time
from .rules import FACTORS, LIFETIME, Hours, Layer, Limit, Policy, RateLimit, Rule
from .spelling import DAYS, written_value
from .writing import policy_hash

_CONDITIONS: Final = {
    "rule_not_yet_valid": "the rule is not valid yet",
    "rule_expired": "the rule has expired",
    "outside_hours": "it is outside the rule's hours",
    "other_chain": "the wallet is of another chain",
    "other_operation": "the rule is about other operations",
    "other_payload": "the rule is about other kinds of payload",
    "chain_id_not_listed": "the chain is not listed",
    "chain_id_unknown": "what is signed is not bound to one chain",
    "network_not_listed": "the network is not listed",
    "network_unknown": "the network is not known",
    "address_not_listed": "an address is not listed",
    "address_unknown": "who else receives cannot be seen",
    "address_denied": "an address is listed",
    "contract_not_listed": "what is called is not listed",
    "contract_denied": "what is called is listed",
    "not_a_call": "no function is called",
    "other_function": "another function is called",
    "calldata_unclear": "the calldata is not the function's only encoding",
    "function_denied": "the function is called",
    "argument_not_allowed": "an argument does not keep the constraint",
    "not_typed_data": "it is no typed data",
    "typed_data_not_listed": "the typed data is not listed",
    "typed_data_denied": "the typed data is listed",
    "blind_not_allowed": "the rule does not let this be signed blind",
    "blind_denied": "the rule refuses this",
    "nothing_blind": "there is nothing of what the rule refuses",
    "per_call_limit_exceeded": "more moves than the limit of one call",
    "total_limit_exceeded": "more moves than the total leaves",
    "within_limits": "the limits are kept",
    "rate_limit_exceeded": "the rule has allowed as many as its rate lets it",
    "asset_not_limited": "an asset moves that the rule sets no limit for",
    "amount_unknown": "how much moves cannot be seen",
    "factor_required": "a factor is missing",
    "approval_required": "approvals are missing",
    "operation_blocked": "the operation is blocked",
}


def condition(code: str) -> str:
    """What a finding's code means."""
    return _CONDITIONS[code]


def window_in_words(window: int) -> str:
    """``in 24 h``, ``in all``."""
    if window == LIFETIME:
        return "in all"
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if window % seconds == 0 and (unit != "d" or window > seconds):
            return f"in {window // seconds} {unit}"
    return f"in {window} s"


def rate_in_words(rate: RateLimit) -> str:
    """``once in 1 h``, ``10 times in 24 h``."""
    often = "once" if rate.count == 1 else f"{rate.count} times"
    return f"{often} {window_in_words(rate.window)}"


def hours_in_words(hours: Hours) -> str:
    """``mon tue 09:00-17:00 UTC``."""
    days = "" if len(hours.days) == len(DAYS) else " ".join(DAYS[day] for day in sorted(hours.days)) + " "
    start, until = (f"{minutes // 60:02d}:{minutes % 60:02d}" for minutes in (hours.start, hours.until))
    return f"{days}{start}-{until} UTC"


def policy_in_words(policy: Policy) -> list[str]:
    """A policy for people, with its hash."""
    found = [f"policy  {policy_hash(policy).hex()}"]
    for layer in policy.layers:
        found += ["", *layer_in_words(layer)]
    return found


def layer_in_words(layer: Layer) -> list[str]:
    """One layer for people."""
    found = [f"{layer.name}: {len(layer.rules)} rule{'s' if len(layer.rules) != 1 else ''}"]
    if layer.name == "environment":
        others = ", ".join(sorted(layer.optional)) or "none"
        found.append(f"  layers that may be absent: {others}")
    if not any(rule.allow for rule in layer.rules):
        found.append("  No rule allows anything, so this layer denies everything.")
    for rule in layer.rules:
        name = rule.name if rule.rule_id is None else f"{rule.name} ({rule.rule_id})"
        found.append(f"  {'ALLOW' if rule.allow else 'DENY '} {name}")
        found += [f"        {line}" for line in rule_in_words(rule)]
    return found


def rule_in_words(rule: Rule) -> list[str]:
    """The conditions of a rule, one for each line."""
    found = [f"operations: {', '.join(sorted(rule.operations)) or 'none, it only restricts'}"]
    ids = "" if rule.chain_ids is None else f", chain ids {_list(rule.chain_ids)}"
    networks = "" if rule.networks is None else f", {_list(rule.networks)}"
    found.append(f"chain: {rule.chain or 'any'}{ids}{networks}")
    if rule.payloads is not None:
        found.append(f"payloads: {_list(rule.payloads)}")
    found += _parties(rule)
    found += [f"{'at most' if rule.allow else 'if more than'} {line}" for line in _limits(rule.limits)]
    if rule.allow and rule.limits:
        found.append("no other asset may move; fees count")
    if rule.rate is not None:
        found.append(f"at most {rate_in_words(rule.rate)}")
    if rule.blind:
        found.append(f"{'may be signed blind' if rule.allow else 'if it has any of'}: {_list(rule.blind)}")
    return found + _times_and_requirements(rule)


def _parties(rule: Rule) -> list[str]:
    """Who receives, what is called, and with which arguments."""
    found = []
    if rule.addresses is not None:
        found.append(
            f"addresses: {'only to' if rule.allow else 'if it names any of'} {_list(rule.addresses)}"
        )
    if rule.contracts is not None:
        found.append(f"contracts: {'only' if rule.allow else 'any of'} {_list(rule.contracts)}")
    if rule.function is not None:
        found.append(f"function: {rule.function.signature}")
    if _trusts_callees(rule):
        found.append("any call of these, also one that is not understood")
    for constraint in rule.constraints:
        path = ".".join(str(step) for step in constraint.path)
        values = ", ".join(_plain(written_value(value)) for value in constraint.values)
        found.append(f"argument {path} ({constraint.leaf.text}): {constraint.operator} {values}")
    for pattern in rule.typed_data:
        parts = [pattern.name, pattern.version, pattern.chain_id, pattern.verifying_contract]
        of = ", ".join(_plain(part) for part in parts if part is not None) or "any domain"
        found.append(f"typed data: {pattern.primary_type} of {of}")
    return found


def _plain(value: object) -> str:
    """Text as it is, unless a terminal would not show it so."""
    text = str(value)
    return text if text.isprintable() else repr(text)


def _trusts_callees(rule: Rule) -> bool:
    """Whether naming is enough for a call that is not understood (specification, §4.2)."""
    named = rule.addresses is not None or rule.contracts is not None
    return rule.allow and named and not rule.limits and rule.function is None and rule.chain in {"EVM", "SVM"}


def _limits(limits: tuple[Limit, ...]) -> list[str]:
    found = []
    for limit in limits:
        if limit.max_per_call is not None:
            found.append(f"{limit.asset.shown(limit.max_per_call)} in one call")
        if limit.total is not None:
            found.append(f"{limit.asset.shown(limit.total)} {window_in_words(limit.window)}")
    return found


def _times_and_requirements(rule: Rule) -> list[str]:
    found = []
    if rule.not_before is not None:
        found.append(f"from {written_time(rule.not_before)}")
    if rule.not_after is not None:
        found.append(f"until {written_time(rule.not_after)}")
    found += [f"hours: {hours_in_words(hours)}" for hours in rule.hours]
    if rule.factors:
        found.append(f"requires: {', '.join(factor for factor in FACTORS if factor in rule.factors)}")
    if rule.approvals is not None:
        found.append(f"requires: approval by {rule.approvals.count} of {', '.join(rule.approvals.of)}")
    for blocked, what in (
        (rule.block_export, "export"),
        (rule.block_revocation, "revocation"),
        (rule.block_client_signing, "signing by the user's own device"),
    ):
        if blocked:
            found.append(f"blocks {what}")
    if not rule.cautious:
        found.append("does not apply to what cannot be seen")
    if rule.modifiable_by_signer:
        found.append("the signer may change it")
    return found


def _list(values: frozenset[str] | frozenset[int]) -> str:
    return ", ".join(str(value) for value in sorted(values, key=lambda value: (len(str(value)), str(value))))
