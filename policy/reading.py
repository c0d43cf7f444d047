"""From a policy file to a :class:`~policy.rules.Policy`. What is not understood is refused with its place."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, cast

from . import fields, text
from .addresses import CHAINS, EVM, SVM, normal
from .assets import BUILT_IN, Asset
from .errors import PolicyError
from .fields import Members
from .reading_rules import read_rule
from .rules import LAYERS, Layer, LayerName, Policy, Rule
from .writing import layer_bytes

MAX_POLICY: Final = 1 << 20  # bytes of a file
MAX_LAYER: Final = (
    60 << 10
)  # bytes of a layer's canonical form, so that it fits a stored record with its seal
MAX_RULES: Final = 256  # of a layer
MAX_ASSETS: Final = 64
MAX_TOTALS: Final = 24  # of a layer: limits that are counted over time, rates among them
_VERSION: Final = 1


def parse(raw: bytes) -> Policy:
    """Read a policy: an object of ``version`` and the layers.

    :raises PolicyError: see the specification, "Codes".
    """
    members = Members(text.read(raw, MAX_POLICY, "policy"), "")
    members.constant("version", _VERSION)
    layers = tuple(
        _layer(name, Members(members.take(name, dict), name)) for name in LAYERS if name in members
    )
    members.end()
    if not layers or layers[0].name != LAYERS[0]:
        raise PolicyError("policy_missing_field", "The environment's layer is never absent.", LAYERS[0])
    return Policy(layers)


def parse_layer(raw: bytes) -> Layer:
    """Read one layer in its canonical form, and in no other: what is stored and what actions carry.

    :raises PolicyError: ``policy_not_canonical``; otherwise see the specification, "Codes".
    """
    layer = read_layer(raw)
    if layer_bytes(layer) != raw:
        raise PolicyError("policy_not_canonical", "The layer is not in its canonical form.")
    return layer


def read_layer(raw: bytes) -> Layer:
    """Read one layer as a person may have written it; nothing but its form is less strict than of :func:`parse_layer`.

    :raises PolicyError: see the specification, "Codes".
    """
    members = Members(text.read(raw, MAX_LAYER, "policy"), "")
    members.constant("version", _VERSION)
    name = fields.choice(members.take("layer", str), LAYERS, "layer")
    return _layer(cast("LayerName", name), members)


def _layer(name: LayerName, members: Members) -> Layer:
    assets = _assets(members)
    entries = members.list("rules", MAX_RULES)
    rules = sorted(
        (read_rule(entry, assets, members.path(f"rules[{i}]")) for i, entry in enumerate(entries or [])),
        key=lambda rule: rule.key,
    )
    if entries is None:
        raise PolicyError("policy_missing_field", "A layer has rules.", members.path("rules"))
    optional: frozenset[str] = frozenset()
    if name == LAYERS[0]:
        optional = members.names("optionalLayers", LAYERS[1:]) or frozenset()
    members.end()
    _check(name, rules)
    used = {limit.asset.name for rule in rules for limit in rule.limits}
    named = {symbol: asset for symbol, asset in assets.items() if symbol in used}
    layer = Layer(name, tuple(rules), MappingProxyType(named), optional)
    if (size := len(layer_bytes(layer))) > MAX_LAYER:
        raise PolicyError(
            "policy_too_large", f"The layer takes {size} bytes; at most {MAX_LAYER} are kept.", name
        )
    return layer


def _check(name: str, rules: list[Rule]) -> None:
    keys = [rule.key for rule in rules]
    for key, following in pairwise(keys):
        if key == following:
            raise PolicyError(
                "policy_conflict", f"Two rules of this layer have the id or name {key!r}.", f"{name}.rules"
            )
    totals = sum(len(rule.counted) for rule in rules)
    if totals > MAX_TOTALS:
        raise PolicyError(
            "policy_too_large",
            f"A layer counts at most {MAX_TOTALS} totals and rates; this one has {totals}.",
            f"{name}.rules",
        )


def _assets(members: Members) -> dict[str, Asset]:
    """The layer's own names for tokens."""
    declared = members.optional("assets", dict) or {}
    if len(declared) > MAX_ASSETS:
        raise PolicyError(
            "policy_too_large", f"A layer names at most {MAX_ASSETS} assets.", members.path("assets")
        )
    return {name: _asset(name, entry, members.path(f"assets.{name}")) for name, entry in declared.items()}


def _asset(name: str, entry: Any, field: str) -> Asset:  # noqa: ANN401  (JSON)
    if not fields.SYMBOL.fullmatch(name) or name in BUILT_IN:
        raise PolicyError(
            "policy_value",
            "An asset's name has 1 to 32 letters, digits, points or dashes, and is new.",
            field,
        )
    members = Members(entry, field)
    chain = fields.chain(members.take("chain", str), members.path("chain"))
    if chain not in {EVM, SVM}:
        raise PolicyError("policy_value", f"There are no tokens on {CHAINS[2]}.", members.path("chain"))
    chain_id = members.optional("chainId", int)
    if (chain == EVM) != (chain_id is not None):
        raise PolicyError(
            "policy_conflict", "An EVM token has one chain id, another has none.", members.path("chainId")
        )
    if chain_id is not None:
        fields.chain_id(chain_id, members.path("chainId"))
    token = normal(members.take("token", str), chain, members.path("token"))
    decimals = members.take("decimals", int)
    if not 0 <= decimals <= 77:  # noqa: PLR2004  (digits of 256 bits)
        raise PolicyError("policy_value", "A token has 0 to 77 decimals.", members.path("decimals"))
    members.end()
    return Asset(name, chain, chain_id, token, decimals)
