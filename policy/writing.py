"""The one form of a policy: a policy file itself, with everything spelled in one way. Reading it gives the same policy again."""

from __future__ import annotations

import hashlib
from typing import Final, TypeVar

from . import text
from .fields import written_time
from .reading_rules import DAYS, default_payloads
from .rules import FACTORS, LIFETIME, Constraint, Hours, Layer, Limit, Policy, Rule, Scalar, TypedDataPattern

T = TypeVar("T", int, str)

_LABEL: Final = b"cosigner/policy/v1"
_LAYER_LABEL: Final = b"cosigner/policy-layer/v1"


def policy_bytes(policy: Policy) -> bytes:
    """The canonical form: what is sealed, hashed and read again."""
    members: dict[str, object] = {layer.name: _layer(layer) for layer in policy.layers}
    return text.write({"version": 1} | members)


def policy_hash(policy: Policy) -> bytes:
    """32 bytes that name this policy, for receipts: SHA-256 of a label and :func:`policy_bytes`."""
    return hashlib.sha256(_LABEL + policy_bytes(policy)).digest()


def layer_bytes(layer: Layer) -> bytes:
    """The canonical form of one layer, as :func:`policy.parse_layer` reads it."""
    return text.write({"version": 1, "layer": layer.name, **_layer(layer)})


def layer_hash(layer: Layer) -> bytes:
    """32 bytes that name this layer, for the action that changes it: SHA-256 of a label and :func:`layer_bytes`."""
    return hashlib.sha256(_LAYER_LABEL + layer_bytes(layer)).digest()


def _layer(layer: Layer) -> dict[str, object]:
    found: dict[str, object] = {"rules": [rule_members(rule) for rule in layer.rules]}
    assets = {
        name: {
            "chain": asset.chain,
            "token": asset.token,
            "decimals": asset.decimals,
            **({} if asset.chain_id is None else {"chainId": asset.chain_id}),
        }
        for name, asset in layer.assets.items()
    }
    if assets:
        found["assets"] = assets
    if layer.optional:
        found["optionalLayers"] = sorted(layer.optional)
    return found


def rule_members(rule: Rule) -> dict[str, object]:
    """A rule as JSON values; what sets no condition is left out."""
    members: dict[str, object] = {
        "name": rule.name,
        "ruleType": "allow" if rule.allow else "deny",
        "ruleId": rule.rule_id,
        "chain": rule.chain,
        "payloads": _payloads(rule),
        "chainIds": _sorted(rule.chain_ids),
        "networks": _sorted(rule.networks),
        "addresses": _sorted(rule.addresses),
        "contracts": _sorted(rule.contracts),
        "functionName": None if rule.function is None else rule.function.signature,
        "argumentConstraints": [_constraint(entry) for entry in rule.constraints] or None,
        "valueLimits": [_limit(limit) for limit in rule.limits] or None,
        "blind": sorted(rule.blind) or None,
        "typedData": [_pattern(pattern) for pattern in rule.typed_data] or None,
        "notBefore": None if rule.not_before is None else written_time(rule.not_before),
        "notAfter": None if rule.not_after is None else written_time(rule.not_after),
        "hours": [_hours(hours) for hours in rule.hours] or None,
        "requires": _requirements(rule) or None,
        "operationRestrictions": _restrictions(rule) or None,
        "operations": None if rule.operations == {"sign"} else sorted(rule.operations),
        "cautious": None if rule.cautious else False,
        "modifiableBySigner": True if rule.modifiable_by_signer else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _payloads(rule: Rule) -> list[str] | None:
    usual = default_payloads(allow=rule.allow, typed=bool(rule.typed_data))
    return None if rule.payloads == usual else _sorted(rule.payloads)


def _sorted(values: frozenset[T] | None) -> list[T] | None:
    return None if values is None else sorted(values)


def _limit(limit: Limit) -> dict[str, object]:
    members: dict[str, object] = {"asset": limit.asset.name}
    if limit.max_per_call is not None:
        members["maxPerCall"] = limit.asset.written(limit.max_per_call)
    if limit.total is not None:
        members["totalLimit"] = limit.asset.written(limit.total)
    if limit.window != LIFETIME:
        members["window"] = f"{limit.window}s"
    return members


def _constraint(constraint: Constraint) -> dict[str, object]:
    values = [written_value(value) for value in constraint.values]
    index, *path = constraint.path
    return {
        "index": index,
        "operator": constraint.operator,
        "value": values if constraint.operator in {"in", "notIn"} else values[0],
        **({"path": path} if path else {}),
    }


def written_value(value: Scalar) -> bool | str:
    """An argument's value as rules write it: numbers in decimal, bytes in hexadecimal."""
    match value:
        case bool() | str():
            return value
        case bytes():
            return "0x" + value.hex()
        case _:
            return str(value)


def _pattern(pattern: TypedDataPattern) -> dict[str, object]:
    members = {
        "primaryType": pattern.primary_type,
        "name": pattern.name,
        "version": pattern.version,
        "chainId": pattern.chain_id,
        "verifyingContract": pattern.verifying_contract,
    }
    return {name: value for name, value in members.items() if value is not None}


def _hours(hours: Hours) -> dict[str, object]:
    members: dict[str, object] = {"from": _clock(hours.start), "until": _clock(hours.until)}
    if len(hours.days) < len(DAYS):
        members["days"] = [DAYS[day] for day in sorted(hours.days)]
    return members


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _requirements(rule: Rule) -> dict[str, object]:
    members: dict[str, object] = {}
    if rule.factors:
        members["factors"] = [factor for factor in FACTORS if factor in rule.factors]
    if rule.approvals is not None:
        members["approvals"] = {"count": rule.approvals.count, "of": list(rule.approvals.of)}
    return members


def _restrictions(rule: Rule) -> dict[str, bool]:
    restrictions = {
        "blockExport": rule.block_export,
        "blockRevocation": rule.block_revocation,
        "blockClientSigning": rule.block_client_signing,
    }
    return {name: True for name, blocked in restrictions.items() if blocked}
