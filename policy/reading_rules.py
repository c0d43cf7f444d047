"""One rule of a policy file: the product's shape, and what is added here. Contradictions are refused, never resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from . import fields
from .abi import Function, function, function_of_abi
from .addresses import BTC, CHAINS, EVM, normal
from .assets import Asset
from .errors import PolicyError
from .facts import BLIND, PAYLOADS, TRANSACTION, TYPED_DATA
from .fields import Members
from .reading_constraints import read_constraints
from .reading_limits import read_limits, read_rate
from .rules import (
    FACTORS,
    OPERATIONS,
    Approvals,
    Hours,
    Rule,
    TypedDataPattern,
)
from .spelling import DAYS, sorted_hours, sorted_patterns

MAX_ADDRESSES: Final = 256
MAX_CHAIN_IDS: Final = 64
MAX_PATTERNS: Final = 64
MAX_HOURS: Final = 16
MAX_APPROVERS: Final = 32
MAX_ABI: Final = 2048
NETWORKS: Final = ("mainnet", "testnet", "signet", "regtest")

_ABOUT_PAYLOADS: Final = (
    "address", "addresses", "contracts", "chainId", "chainIds", "networks", "functionName", "valueLimit",
    "valueLimits", "rateLimit", "blind", "typedData", "payloads",
)  # fmt: skip
_RESTRICTION: Final = frozenset(
    {
        "name",
        "ruleId",
        "ruleType",
        "chain",
        "operationRestrictions",
        "modifiableBySigner",
        "notBefore",
        "notAfter",
    }
)
_ABOUT_TRANSACTIONS: Final = ("functionName", "valueLimit", "valueLimits")
_CLOCK: Final = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))")


def read_rule(entry: Any, assets: Mapping[str, Asset], field: str) -> Rule:  # noqa: ANN401  (JSON)
    """Read a rule.

    :raises PolicyError: see the specification, "Codes".
    """
    members = Members(entry, field)
    name = fields.name(members.take("name", str), members.path("name"))
    rule_id = members.optional("ruleId", str)
    if rule_id is not None:
        fields.identifier(rule_id, members.path("ruleId"))
    chain_ids = _chain_ids(members)
    chain = _chain(members, chain_ids)
    function, constraints = _function(members, chain)
    allow = (
        fields.choice(members.take("ruleType", str), ("allow", "deny"), members.path("ruleType")) == "allow"
    )
    typed_data = _typed_data(members)
    rule = Rule(
        key=rule_id or name,
        name=name,
        rule_id=rule_id,
        allow=allow,
        operations=members.names("operations", OPERATIONS) or default_operations(entry),
        chain=chain,
        chain_ids=chain_ids,
        payloads=members.names("payloads", PAYLOADS) or default_payloads(allow=allow, typed=bool(typed_data)),
        networks=members.names("networks", NETWORKS),
        addresses=_addresses(members, chain),
        contracts=_contracts(members, chain),
        function=function,
        constraints=constraints,
        limits=read_limits(members, assets, chain),
        rate=read_rate(members),
        blind=members.names("blind", BLIND) or frozenset(),
        typed_data=typed_data,
        **_times(members),
        **_requirements(members),
        **_restrictions(members),
        cautious=members.optional("cautious", bool) is not False,
        modifiable_by_signer=members.optional("modifiableBySigner", bool) or False,
    )
    members.end()
    _check(rule, entry, field)
    return rule


def default_operations(entry: Mapping[str, object]) -> frozenset[str]:
    """What a rule is about that does not say so: signing; but nothing if all that it has are restrictions.

    Otherwise a rule that somebody wrote to block exports would allow, or deny, every signature as well.
    """
    restrictions = entry.get("operationRestrictions")
    restricts = isinstance(restrictions, dict) and any(value is True for value in restrictions.values())
    bare = restricts and entry.keys() <= _RESTRICTION
    return frozenset() if bare else frozenset({"sign"})


def default_payloads(*, allow: bool, typed: bool) -> frozenset[str] | None:
    """Which kinds of payload a rule is about that does not say so: a deny rule about all."""
    if not allow:
        return None
    return frozenset({TYPED_DATA if typed else TRANSACTION})


def _check(rule: Rule, entry: Mapping[str, object], field: str) -> None:
    """Refuse rules that say two things at once."""
    payload = [name for name in _ABOUT_PAYLOADS if name in entry]
    countable = [name for name in _ABOUT_TRANSACTIONS if name in entry]
    typed = bool(rule.typed_data)
    ends_first = rule.not_after is not None and (rule.not_before or 0) >= rule.not_after
    for contradiction, name, message in (
        (
            rule.operations != {"sign"} and bool(payload),
            "".join(payload[:1]),
            "Only signing has a payload; give the other operations a rule of their own.",
        ),
        (
            rule.networks is not None and rule.chain != BTC,
            "networks",
            "Only Bitcoin rules have networks; EVM chains have chainIds, and Solana messages name no network.",
        ),
        (typed and rule.chain not in {None, EVM}, "typedData", "Typed data is EVM's."),
        (
            typed and rule.payloads not in {None, frozenset({TYPED_DATA})},
            "payloads",
            "typedData is about typed data.",
        ),
        (
            rule.payloads not in {None, frozenset({TRANSACTION})} and bool(countable),
            "".join(countable[:1]),
            "Only a transaction has this; give the other payloads a rule of their own.",
        ),
        (
            bool(rule.blind) and rule.payloads is not None and TRANSACTION not in rule.payloads,
            "blind",
            "Only transactions are signed blind; other payloads are named in payloads.",
        ),
        (
            not rule.allow and bool(rule.factors or rule.approvals),
            "requires",
            "A deny rule requires nothing; put it into the allow rules.",
        ),
        (
            not rule.allow and rule.rate is not None,
            "rateLimit",
            "A deny rule has no rate; put it into the allow rules.",
        ),
        (rule.allow and "cautious" in entry, "cautious", "Allow rules are always cautious."),
        (ends_first, "notAfter", "The rule ends before it begins."),
    ):
        if contradiction:
            raise PolicyError("policy_conflict", message, f"{field}.{name}")
    for limit in rule.limits:
        _check_limit(rule, limit.asset, f"{field}.valueLimit")


def _check_limit(rule: Rule, asset: Asset, field: str) -> None:
    if rule.chain not in {None, asset.chain}:
        raise PolicyError("policy_conflict", f"{asset.name} is no asset of {rule.chain}.", field)
    if rule.chain_ids is not None and asset.chain_id is not None and asset.chain_id not in rule.chain_ids:
        raise PolicyError(
            "policy_conflict", f"{asset.name} is on chain {asset.chain_id}, which is not of this rule.", field
        )


def _chain(members: Members, chain_ids: frozenset[int] | None) -> str | None:
    text = members.optional("chain", str)
    found = None if text is None else fields.chain(text, members.path("chain"))
    if chain_ids is not None and found not in {None, EVM}:
        raise PolicyError("policy_conflict", "Only EVM chains have chain ids.", members.path("chainIds"))
    return EVM if chain_ids is not None else found


def _chain_ids(members: Members) -> frozenset[int] | None:
    """``chainIds``, or the product's older ``chainId``."""
    single = members.optional("chainId", int)
    several = members.list("chainIds", MAX_CHAIN_IDS)
    if single is not None and several is not None:
        raise PolicyError("policy_conflict", "Either chainId or chainIds.", members.path("chainId"))
    entries = [single] if single is not None else several
    if entries is None:
        return None
    where = members.path("chainIds")
    return fields.distinct(
        [fields.chain_id(entry, f"{where}[{i}]") for i, entry in enumerate(entries)], where
    )


def _addresses(members: Members, chain: str | None) -> frozenset[str] | None:
    """``addresses``, or the product's older ``address``."""
    single = members.optional("address", str)
    several = members.list("addresses", MAX_ADDRESSES)
    if single is not None and several is not None:
        raise PolicyError("policy_conflict", "Either address or addresses.", members.path("address"))
    return _normal([single] if single is not None else several, chain, members.path("addresses"))


def _contracts(members: Members, chain: str | None) -> frozenset[str] | None:
    if chain == BTC and "contracts" in members:
        raise PolicyError("policy_conflict", "Bitcoin has no contracts.", members.path("contracts"))
    return _normal(members.list("contracts", MAX_ADDRESSES), chain, members.path("contracts"))


def _normal(entries: list[Any] | None, chain: str | None, where: str) -> frozenset[str] | None:
    if entries is None:
        return None
    if chain is None:
        raise PolicyError("policy_conflict", f"Addresses are of a chain: {', '.join(CHAINS)}.", where)
    return fields.distinct([normal(entry, chain, f"{where}[{i}]") for i, entry in enumerate(entries)], where)


def _function(members: Members, chain: str | None) -> tuple[Function | None, tuple[Any, ...]]:
    name = members.optional("functionName", str)
    abi = members.list("contractAbi", MAX_ABI)
    constraints = members.list("argumentConstraints", MAX_PATTERNS)
    if name is None:
        for given, what in ((abi, "contractAbi"), (constraints, "argumentConstraints")):
            if given is not None:
                raise PolicyError(
                    "policy_conflict", "It is about a function: add functionName.", members.path(what)
                )
        return None, ()
    where = members.path("functionName")
    if chain != EVM:
        raise PolicyError("policy_conflict", "Functions are EVM's: add the chain.", where)
    if abi is not None:
        found = function_of_abi(abi, name, members.path("contractAbi"))
    elif "(" in name:
        found = function(name, where)
    else:
        raise PolicyError("policy_conflict", "Without contractAbi the full signature is needed.", where)
    return found, read_constraints(constraints or [], found, members.path("argumentConstraints"))


def _typed_data(members: Members) -> tuple[TypedDataPattern, ...]:
    found = [
        _pattern(Members(entry, members.path(f"typedData[{i}]")))
        for i, entry in enumerate(members.list("typedData", MAX_PATTERNS) or [])
    ]
    fields.distinct(found, members.path("typedData"))
    return sorted_patterns(found)


def _pattern(members: Members) -> TypedDataPattern:
    chain_id = members.optional("chainId", int)
    contract = members.optional("verifyingContract", str)
    pattern = TypedDataPattern(
        primary_type=fields.name(members.take("primaryType", str), members.path("primaryType")),
        name=members.optional("name", str),
        version=members.optional("version", str),
        chain_id=None if chain_id is None else fields.chain_id(chain_id, members.path("chainId")),
        verifying_contract=None
        if contract is None
        else normal(contract, EVM, members.path("verifyingContract")),
    )
    members.end()
    return pattern


def _times(members: Members) -> dict[str, Any]:
    def moment(name: str) -> int | None:
        value = members.optional(name, str)
        return None if value is None else fields.time(value, members.path(name))

    hours = [
        _hours(Members(entry, members.path(f"hours[{i}]")))
        for i, entry in enumerate(members.list("hours", MAX_HOURS) or [])
    ]
    fields.distinct(hours, members.path("hours"))
    return {
        "not_before": moment("notBefore"),
        "not_after": moment("notAfter"),
        "hours": sorted_hours(hours),
    }


def _hours(members: Members) -> Hours:
    days = members.names("days", DAYS)
    start, until = (_clock(members.take(name, str), members.path(name)) for name in ("from", "until"))
    if start >= until:
        raise PolicyError(
            "policy_conflict", "Hours end after they begin, on the same day.", members.path("until")
        )
    members.end()
    indexes = range(len(DAYS)) if days is None else [DAYS.index(day) for day in days]
    return Hours(frozenset(indexes), start, until)


def _clock(text: str, where: str) -> int:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise PolicyError("policy_value", "An hour such as 09:30 is expected, UTC.", where)
    return int(match[1] or match[3]) * 60 + int(match[2] or match[4])


def _requirements(members: Members) -> dict[str, Any]:
    value = members.optional("requires", dict)
    if value is None:
        return {}
    inner = Members(value, members.path("requires"))
    factors = inner.names("factors", FACTORS) or frozenset()
    wanted = inner.optional("approvals", dict)
    inner.end()
    if not factors and wanted is None:
        raise PolicyError(
            "policy_value", "Factors, approvals or both are expected.", members.path("requires")
        )
    approvals = None if wanted is None else _approvals(Members(wanted, inner.path("approvals")))
    return {"factors": tuple(factor for factor in FACTORS if factor in factors), "approvals": approvals}


def _approvals(members: Members) -> Approvals:
    entries = members.list("of", MAX_APPROVERS)
    if entries is None:
        raise PolicyError("policy_missing_field", "The field is missing.", members.path("of"))
    names = [fields.identifier(entry, members.path(f"of[{i}]")) for i, entry in enumerate(entries)]
    of = fields.distinct(names, members.path("of"))
    count = members.take("count", int)
    if not 1 <= count <= len(of):
        raise PolicyError("policy_value", f"1 to {len(of)} of these can approve.", members.path("count"))
    members.end()
    return Approvals(count, tuple(sorted(of)))


def _restrictions(members: Members) -> dict[str, Any]:
    value = members.optional("operationRestrictions", dict)
    inner = Members({} if value is None else value, members.path("operationRestrictions"))
    found = {
        ours: inner.optional(theirs, bool) or False
        for theirs, ours in (
            ("blockExport", "block_export"),
            ("blockRevocation", "block_revocation"),
            ("blockClientSigning", "block_client_signing"),
        )
    }
    inner.end()
    return found
