"""A policy as it is decided on: layers of rules. :mod:`policy.reading` makes it from a file, :mod:`policy.writing` writes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from .abi import AbiType, Function
from .assets import Asset

LAYERS: Final = ("environment", "account", "wallet", "signer")
OPERATIONS: Final = (
    "sign", "create", "export", "delegate", "revoke", "refresh", "reshare", "policy", "credential",
)  # fmt: skip
FACTORS: Final = ("session_key", "passkey", "signing_key", "totp")
SIGNERS: Final = ("user", "delegate", "service")
OPERATORS: Final = (
    "equal", "notEqual", "greater", "less", "greaterEqual", "lessEqual", "in", "notIn",
)  # fmt: skip
LIFETIME: Final = 0  # the window of a total that never expires
SIGNED: Final = "#signed"  # stands for an asset where payloads are counted; no asset's name begins so

LayerName: TypeAlias = Literal["environment", "account", "wallet", "signer"]
Scalar: TypeAlias = bool | int | str | bytes


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on one asset.

    :ivar max_per_call: base units that one payload may move; ``None``: as many as the total allows.
    :ivar total: base units within ``window``; ``None``: no total.
    :ivar window: seconds, or :data:`LIFETIME`.
    """

    asset: Asset
    max_per_call: int | None
    total: int | None
    window: int


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many payloads a rule allows within ``window`` seconds, of whatever kind."""

    count: int
    window: int


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on one argument of a call.

    :ivar path: the argument's index, then indexes into tuples.
    :ivar leaf: the type that values are compared as; an array in between stands for all its elements.
    :ivar values: one, or several for ``in`` and ``notIn``.
    """

    path: tuple[int, ...]
    leaf: AbiType
    operator: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class TypedDataPattern:
    """Typed data that a rule names. What is ``None`` is not compared."""

    primary_type: str
    name: str | None
    version: str | None
    chain_id: int | None
    verifying_contract: str | None


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of some days of the week, UTC. Monday is 0; minutes count from midnight, ``until`` is not included."""

    days: frozenset[int]
    start: int
    until: int


@dataclass(frozen=True, slots=True)
class Approvals:
    """``count`` of the credentials ``of`` must have approved this very action."""

    count: int
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``None`` and empty collections set no condition, but for ``blind``.

    :ivar key: the rule's id, or its name where it has none; unique within the layer.
    :ivar operations: what it is about; none if it only restricts.
    :ivar payloads: kinds of payload (:data:`policy.facts.PAYLOADS`); ``None``: all, of deny rules only.
    :ivar blind: what an allow rule may sign unseen, and what a deny rule refuses (:data:`policy.facts.BLIND`).
    :ivar conditions: names of those conditions on payloads that only some rules set.
    :ivar cautious: whether a deny rule also refuses what it cannot see.
    """

    key: str
    name: str
    rule_id: str | None
    allow: bool
    operations: frozenset[str] = frozenset({"sign"})
    chain: str | None = None
    payloads: frozenset[str] | None = None
    chain_ids: frozenset[int] | None = None
    networks: frozenset[str] | None = None
    addresses: frozenset[str] | None = None
    contracts: frozenset[str] | None = None
    function: Function | None = None
    constraints: tuple[Constraint, ...] = ()
    limits: tuple[Limit, ...] = ()
    rate: RateLimit | None = None
    blind: frozenset[str] = frozenset()
    typed_data: tuple[TypedDataPattern, ...] = ()
    not_before: int | None = None
    not_after: int | None = None
    hours: tuple[Hours, ...] = ()
    factors: tuple[str, ...] = ()
    approvals: Approvals | None = None
    block_export: bool = False
    block_revocation: bool = False
    block_client_signing: bool = False
    cautious: bool = True
    modifiable_by_signer: bool = False
    conditions: tuple[str, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Note which conditions are set, so that a decision does not look at the others."""
        is_set = {
            "chainIds": self.chain_ids is not None,
            "networks": self.networks is not None,
            "addresses": self.addresses is not None or (self.allow and self.contracts is not None),
            "contracts": self.contracts is not None and not self.allow,
            "functionName": self.function is not None,
            "typedData": bool(self.typed_data),
        }
        object.__setattr__(self, "conditions", tuple(name for name, present in is_set.items() if present))

    @property
    def counted(self) -> tuple[tuple[str, int], ...]:
        """What is counted over time: names of assets, or :data:`SIGNED`, each with its window."""
        totals = tuple((limit.asset.name, limit.window) for limit in self.limits if limit.total is not None)
        return totals if self.rate is None else (*totals, (SIGNED, self.rate.window))


@dataclass(frozen=True, slots=True)
class Layer:
    """The rules of one layer, sorted by key.

    :ivar assets: the tokens that its rules name.
    :ivar optional: which of the other layers need not exist; of the environment's layer only.
    """

    name: LayerName
    rules: tuple[Rule, ...]
    assets: MappingProxyType[str, Asset] = field(default_factory=lambda: MappingProxyType({}))
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """The layers that apply to an action. A layer that is absent is not in ``layers``."""

    layers: tuple[Layer, ...]

    @staticmethod
    def of(layers: Iterable[Layer]) -> Policy:
        """A policy of layers that are kept apart; the order in which they are given means nothing.

        :raises ValueError: two layers of one name.
        """
        found = sorted(layers, key=lambda layer: LAYERS.index(layer.name))
        if len({layer.name for layer in found}) != len(found):
            msg = "a policy has each layer once"
            raise ValueError(msg)
        return Policy(tuple(found))

    def layer(self, name: str) -> Layer | None:
        """The layer of this name."""
        return next((layer for layer in self.layers if layer.name == name), None)
