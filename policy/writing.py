"""The one form of a policy: a policy file itself, with everything spelled in one way. Reading it gives the same policy again."""

from __future__ import annotations

import hashlib
from typing import Final, TypeVar

from . import text
from .fields import written_time
from .reading_rules import default_operations, default_payloads
from .rules import FACTORS, LIFETIME, Layer, Limit, Policy, RateLimit, Rule
from .spelling import constraint_members, hours_members, pattern_members

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
        "argumentConstraints": [constraint_members(entry) for entry in rule.constraints] or None,
        "valueLimits": [_limit(limit) for limit in rule.limits] or None,
        "rateLimit": None if rule.rate is None else _rate(rule.rate),
        "blind": sorted(rule.blind) or None,
        "typedData": [pattern_members(pattern) for pattern in rule.typed_data] or None,
        "notBefore": None if rule.not_before is None else written_time(rule.not_before),
        "notAfter": None if rule.not_after is None else written_time(rule.not_after),
        "hours": [hours_members(hours) for hours in rule.hours] or None,
        "requires": _requirements(rule) or None,
        "operationRestrictions": _restrictions(rule) or None,
        "cautious": None if rule.cautious else False,
        "modifiableBySigner": True if rule.modifiable_by_signer else None,
    }
    found = {name: value for name, value in members.items() if value is not None}
    if rule.operations != default_operations(found):
        found["operations"] = sorted(rule.operations)
    return found


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


def _rate(rate: RateLimit) -> dict[str, object]:
    return {"count": rate.count, "window": f"{rate.window}s"}


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
