"""The conditions of a rule, each a function of rule and case.

What is not seen is neither met nor unmet but unknown. An allow rule needs every condition met, for everything that the payload does;
a cautious deny rule applies unless a condition is unmet, and one thing that the payload does is enough. So whatever is unknown ends in
denial, and a rule of either type reads as it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import facts as f
from .action import Action
from .associated import associated_account
from .calldata import CalldataError, decode_call
from .constraints import broken
from .facts import Facts, Party
from .judgements import NO, UNKNOWN, YES, Finding
from .rules import SIGNED, Limit, RateLimit, Rule, TypedDataPattern
from .usage import Key, Usage


@dataclass(slots=True)
class Case:
    """What rules are compared with.

    :ivar facts: ``None`` for operations without a payload.
    """

    action: Action
    facts: Facts | None
    usage: Usage
    layer: str


def validity(rule: Rule, at: int) -> Finding | None:
    """``notBefore``, ``notAfter``: when the rule exists at all."""
    if rule.not_before is not None and at < rule.not_before:
        return Finding(NO, "notBefore", "rule_not_yet_valid", rule.not_before, at)
    if rule.not_after is not None and at >= rule.not_after:
        return Finding(NO, "notAfter", "rule_expired", rule.not_after, at)
    return None


def hours(rule: Rule, at: int) -> Finding | None:
    """``hours``, UTC. 1970 began on a Thursday."""
    day, minute = (at // 86400 + 3) % 7, at % 86400 // 60
    if any(day in entry.days and entry.start <= minute < entry.until for entry in rule.hours):
        return None
    return Finding(NO, "hours", "outside_hours", rule.hours, at)


def _chain_ids(rule: Rule, facts: Facts) -> Finding | None:
    """``chainIds``. A message is good on every chain, so none of them is its own."""
    if facts.chain_id is None:
        return Finding(UNKNOWN, "chainIds", "chain_id_unknown", rule.chain_ids)
    if rule.chain_ids is not None and facts.chain_id in rule.chain_ids:
        return None
    return Finding(NO, "chainIds", "chain_id_not_listed", rule.chain_ids, facts.chain_id)


def _networks(rule: Rule, facts: Facts) -> Finding | None:
    """``networks``."""
    if facts.network is None:
        return Finding(UNKNOWN, "networks", "network_unknown", rule.networks)
    if rule.networks is not None and facts.network in rule.networks:
        return None
    return Finding(NO, "networks", "network_not_listed", rule.networks, facts.network)


def _addresses(rule: Rule, facts: Facts) -> Finding | None:
    return _addresses_allowed(rule, facts) if rule.allow else _addresses_denied(rule, facts)


def _addresses_allowed(rule: Rule, facts: Facts) -> Finding | None:
    """``addresses`` and ``contracts`` of an allow rule: whoever receives and whatever is called must be named."""
    field = "addresses" if rule.addresses is not None else "contracts"
    names = rule.addresses or frozenset()
    contracts = rule.contracts or frozenset()
    for callee in facts.callees:
        if callee not in names and callee not in contracts and not _is_limited_token(rule, facts, callee):
            return Finding(NO, field, "contract_not_listed", None, callee)
    if rule.function is None:
        for party in facts.recipients:
            if not (_is_named(party, names, facts) if rule.addresses is not None else party.via in contracts):
                return Finding(NO, field, "address_not_listed", None, party.address)
    if not facts.callees and not facts.recipients:
        if facts.unknown_parties:
            return Finding(UNKNOWN, field, "address_unknown", None, facts.unknown_parties)
        if rule.addresses is None:
            return Finding(NO, field, "contract_not_listed", None, "no contract")
    return None


def _addresses_denied(rule: Rule, facts: Facts) -> Finding:
    """``addresses`` of a deny rule: one that is named is enough."""
    names = rule.addresses or frozenset()
    for party in facts.recipients:
        if _is_named(party, names, facts):
            return Finding(YES, "addresses", "address_denied", None, party.address)
    if facts.callees or facts.others or facts.programs:
        named = [name for name in (*facts.callees, *facts.others, *facts.programs) if name in names]
        named += _hidden_in_calldata(names, facts)
        if named:
            return Finding(YES, "addresses", "address_denied", None, min(named))
    if facts.unknown_parties:
        return Finding(UNKNOWN, "addresses", "address_unknown", None, facts.unknown_parties)
    return Finding(NO, "addresses", "address_not_listed", None, _first_party(facts))


def _contracts_denied(rule: Rule, facts: Facts) -> Finding:
    """``contracts`` of a deny rule: one that is called is enough."""
    called = [*facts.callees, *sorted(facts.programs)]
    named = [other for other in called if rule.contracts is not None and other in rule.contracts]
    if named:
        return Finding(YES, "contracts", "contract_denied", None, named[0])
    if facts.unknown_parties and not called:
        return Finding(UNKNOWN, "contracts", "address_unknown", None, facts.unknown_parties)
    return Finding(NO, "contracts", "contract_not_listed", None, called[0] if called else "no contract")


def _is_named(party: Party, names: frozenset[str], facts: Facts) -> bool:
    """Whether an address, or for a token account its owner, is listed."""
    if party.address in names or facts.owners.get(party.address) in names:
        return True
    if not party.mint or party.program is None:
        return False
    return any(associated_account(name, party.mint, party.program) == party.address for name in names)


def _is_limited_token(rule: Rule, facts: Facts, callee: str) -> bool:
    """The contract of a token that the rule limits is named by the limit; only transfers and approvals of it are."""
    return (
        rule.addresses is not None
        and f.CALL not in facts.blind
        and any(
            limit.asset.token == callee and limit.asset.chain_id in {None, facts.chain_id}
            for limit in rule.limits
        )
    )


def _hidden_in_calldata(names: frozenset[str], facts: Facts) -> list[str]:
    """Addresses that stand anywhere in calldata that is not understood, aligned or not."""
    if facts.call is None or f.CALL not in facts.blind:
        return []
    digits = facts.call[1].hex()
    return [name for name in sorted(names) if name[2:] in digits]


def _first_party(facts: Facts) -> str | None:
    if facts.recipients:
        return facts.recipients[0].address
    return facts.callees[0] if facts.callees else None


def _call(rule: Rule, facts: Facts) -> Finding | None:
    """``functionName`` and ``argumentConstraints``."""
    function = rule.function
    if function is None:
        return None
    if facts.call is None:
        verdict = UNKNOWN if facts.payload == f.RAW_DIGEST else NO
        return Finding(verdict, "functionName", "not_a_call", function.signature)
    data = facts.call[1]
    if data[:4] != function.selector:
        return Finding(NO, "functionName", "other_function", function.signature, data[:4])
    try:
        arguments = decode_call(function, data)
    except CalldataError as error:
        return Finding(UNKNOWN, "functionName", "calldata_unclear", function.signature, str(error))
    for constraint in rule.constraints:
        value = broken(constraint, function, arguments, every=rule.allow)
        if value is not None:
            return Finding(NO, "argumentConstraints", "argument_not_allowed", constraint, value[0])
    return (
        None if rule.allow else Finding(YES, "functionName", "function_denied", function.signature, data[:4])
    )


def _typed_data(rule: Rule, facts: Facts) -> Finding | None:
    """``typedData``: one of the patterns."""
    data = facts.typed_data
    if data is None:
        verdict = UNKNOWN if facts.payload == f.RAW_DIGEST else NO
        return Finding(verdict, "typedData", "not_typed_data")
    verdicts = {_matches(pattern, facts) for pattern in rule.typed_data}
    asked = (data.primary_type, data.name, data.chain_id, data.verifying_contract)
    if YES in verdicts:
        return None if rule.allow else Finding(YES, "typedData", "typed_data_denied", None, asked)
    return Finding(UNKNOWN if UNKNOWN in verdicts else NO, "typedData", "typed_data_not_listed", None, asked)


def _matches(pattern: TypedDataPattern, facts: Facts) -> str:
    """A member that the domain does not have is unknown."""
    data = facts.typed_data
    if data is None or pattern.primary_type != data.primary_type:
        return NO
    pairs = (
        (pattern.name, data.name),
        (pattern.version, data.version),
        (pattern.chain_id, data.chain_id),
        (pattern.verifying_contract, data.verifying_contract),
    )
    compared = [(wanted, found) for wanted, found in pairs if wanted is not None]
    if any(found is not None and wanted != found for wanted, found in compared):
        return NO
    return UNKNOWN if any(found is None for _, found in compared) else YES


def blind(rule: Rule, facts: Facts) -> Finding | None:
    """``blind``: of an allow rule, nothing else may be unseen; of a deny rule, one of it is enough."""
    if rule.allow:
        for code, about in facts.blind.items():
            if code not in rule.blind and not _is_explained(rule, facts, code):
                return Finding(NO, "blind", "blind_not_allowed", None, (code, about))
        return None
    if not rule.blind:
        return None
    for code, about in facts.blind.items():
        if code in rule.blind:
            return Finding(YES, "blind", "blind_denied", None, (code, about))
    verdict = UNKNOWN if facts.payload == f.RAW_DIGEST else NO
    return Finding(verdict, "blind", "nothing_blind")


def _is_explained(rule: Rule, facts: Facts, code: str) -> bool:
    """Whether the rule says in another way what it lets happen unseen: by function, or by naming what is called.

    A rule with limits does not by naming alone: whoever is called could move what the limits do not see.
    """
    match code:
        case f.CALL if rule.function is not None:
            return True
        case f.CALL | f.INSTRUCTION if not rule.limits:
            names = (rule.addresses or frozenset()) | (rule.contracts or frozenset())
            return bool(names) and all(callee in names for callee in facts.callees)
        case _:
            return False


def limits(rule: Rule, facts: Facts, case: Case) -> Finding | None:
    """``valueLimit`` and ``valueLimits``: an allow rule needs all kept, a deny rule applies where one is exceeded."""
    for limit in rule.limits:
        if (exceeded := _exceeded(rule, limit, case, facts)) is not None:
            return exceeded
    return _uncovered(rule, facts) if rule.allow else _not_exceeded(rule, facts)


def _exceeded(rule: Rule, limit: Limit, case: Case, facts: Facts) -> Finding | None:
    amount, _ = _covered(limit, facts)
    if not amount:
        return None
    verdict = NO if rule.allow else YES
    if limit.max_per_call is not None and amount > limit.max_per_call:
        return Finding(verdict, "valueLimit.maxPerCall", "per_call_limit_exceeded", limit, (amount, 0))
    if limit.total is None:
        return None
    used = case.usage.used(Key(case.layer, rule.key, limit.asset.name, limit.window), case.action.at)
    if used + amount > limit.total:
        return Finding(verdict, "valueLimit.totalLimit", "total_limit_exceeded", limit, (amount, used))
    return None


def moved(limit: Limit, facts: Facts) -> int:
    """How much of the limit's asset can leave."""
    return _covered(limit, facts)[0]


def _covered(limit: Limit, facts: Facts) -> tuple[int, Finding | None]:
    """How much of the limit's asset can leave, and what to say if another coin can as well."""
    asset = limit.asset
    # The same few assets are asked for by rule after rule.
    key = (asset.chain, asset.token, asset.chain_id)
    found = facts.covered.get(key)
    if found is None:
        amount = sum(amount for coin, amount in facts.amounts.items() if asset.covers(coin))
        found = facts.covered[key] = (amount, _first_uncovered((limit,), facts))
    return found


def _first_uncovered(limits: tuple[Limit, ...], facts: Facts) -> Finding | None:
    for coin, amount in facts.amounts.items():
        if not any(limit.asset.covers(coin) for limit in limits):
            return Finding(NO, "valueLimit.asset", "asset_not_limited", None, (coin, amount))
    return None


def _uncovered(rule: Rule, facts: Facts) -> Finding | None:
    """A rule that limits one asset says what may move: what it does not name must stay."""
    found = _covered(rule.limits[0], facts)[1]
    if found is not None and len(rule.limits) > 1:
        found = _first_uncovered(rule.limits, facts)
    if found is not None:
        return found
    for code in facts.unknown_amounts:
        if code not in rule.blind and not (code == f.CALL and rule.function is not None):
            return Finding(UNKNOWN, "valueLimit", "amount_unknown", None, code)
    return None


def _not_exceeded(rule: Rule, facts: Facts) -> Finding:
    for code, what in facts.unknown_amounts.items():
        if what == f.EVERYTHING or any(limit.asset.token is not None for limit in rule.limits):
            return Finding(UNKNOWN, "valueLimit", "amount_unknown", None, code)
    return Finding(NO, "valueLimit", "within_limits")


def often(rule: Rule, rate: RateLimit, case: Case) -> Finding | None:
    """``rateLimit``: one payload more must be within it."""
    used = case.usage.used(Key(case.layer, rule.key, SIGNED, rate.window), case.action.at)
    if used < rate.count:
        return None
    return Finding(NO, "rateLimit", "rate_limit_exceeded", rate, used)


# By field of the rule, in the order in which findings are reported.
ON_PAYLOADS: Final[dict[str, Callable[[Rule, Facts], Finding | None]]] = {
    "chainIds": _chain_ids,
    "networks": _networks,
    "addresses": _addresses,
    "contracts": _contracts_denied,
    "functionName": _call,
    "typedData": _typed_data,
}
