"""How much of a rolling total or of a rate is used: a value that the caller keeps. Nothing here does I/O or knows a clock.

Amounts are kept by time slots of a sixteenth of the window. A slot counts until the whole of it is older than the window, so that
within any window no more than the total passes; in exchange an amount can count a sixteenth longer than it must. Payloads that a rate
counts are kept in the same way, each as an amount of 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from . import fields, text
from .action import MAX_TIME
from .errors import PolicyError
from .rules import LAYERS, LIFETIME, Policy

SLOTS: Final = 16  # of a window
MAX_COUNTERS: Final = 4 * 24  # four layers, and what each may count
MAX_SLOTS: Final = 64  # of one counter, when read; charging leaves 18 at most
MAX_USAGE: Final = 1 << 19  # bytes
_VERSION: Final = 1
_DIGITS: Final = re.compile(r"[1-9][0-9]{0,89}")
_FOREVER: Final = 0  # the end of the slot of a total without a window


class Key(NamedTuple):
    """What one counter counts. A rule that gets another window begins to count anew.

    :ivar asset: its name, or :data:`policy.rules.SIGNED`.
    """

    layer: str
    rule: str
    asset: str
    window: int


class Charge(NamedTuple):
    """An amount, in base units, that an allowed action moves; of :data:`policy.rules.SIGNED`, payloads."""

    key: Key
    amount: int


@dataclass(frozen=True)
class Usage:
    """What was used, by counter: slots by the second at which they end, with their amounts.

    Immutable: :meth:`charge` and :meth:`expire` return another one. Two charges that start from the same value lose one of them:
    whoever keeps the value makes sure that decision, charge and storing happen one after another.
    """

    counters: Mapping[Key, Mapping[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    def used(self, key: Key, at: int) -> int:
        """What counts against a total at this time. Slots of the future count: a clock that went back frees nothing."""
        slots = self.counters.get(key)
        if not slots:
            return 0
        oldest = at - key.window
        return sum(
            amount
            for end, amount in slots.items()
            if end > oldest or end == _FOREVER or key.window == LIFETIME
        )

    def charge(self, charges: Iterable[Charge], at: int) -> Usage:
        """Add what an allowed action moves (:attr:`policy.Allow.charges`) at the time of the decision.

        :raises PolicyError: ``usage_full``: more counters than four layers can have; :meth:`retain` drops those of old rules.
        """
        counters = dict(self.counters)
        for key, amount in charges:
            if amount <= 0:
                continue
            end = _FOREVER if key.window == LIFETIME else _slot_end(key.window, at)
            slots = {
                known: used
                for known, used in counters.get(key, {}).items()
                if known == _FOREVER or known > at - key.window
            }
            slots[end] = slots.get(end, 0) + amount
            counters[key] = MappingProxyType(_bounded(slots))
        if len(counters) > MAX_COUNTERS:
            raise PolicyError("usage_full", f"At most {MAX_COUNTERS} totals are counted.")
        return Usage(MappingProxyType(counters))

    def expire(self, now: int) -> Usage:
        """Forget what no longer counts."""
        kept = {
            key: MappingProxyType(
                {end: used for end, used in slots.items() if end == _FOREVER or end > now - key.window}
            )
            for key, slots in self.counters.items()
        }
        return Usage(MappingProxyType({key: slots for key, slots in kept.items() if slots}))

    def retain(self, policy: Policy) -> Usage:
        """Forget counters that no rule of ``policy`` has."""
        known = {
            Key(layer.name, rule.key, asset, window)
            for layer in policy.layers
            for rule in layer.rules
            for asset, window in rule.counted
        }
        return Usage(MappingProxyType({key: slots for key, slots in self.counters.items() if key in known}))

    def of_layer(self, layer: str) -> Usage:
        """The part that one layer's rules count, which may be kept apart from the others."""
        return Usage(
            MappingProxyType({key: slots for key, slots in self.counters.items() if key.layer == layer})
        )

    @staticmethod
    def join(parts: Iterable[Usage]) -> Usage:
        """Parts of different layers as one."""
        return Usage(MappingProxyType({key: slots for part in parts for key, slots in part.counters.items()}))

    def encode(self) -> bytes:
        """The canonical form, to be sealed by whoever keeps it."""
        entries = [
            {
                "layer": key.layer,
                "rule": key.rule,
                "asset": key.asset,
                "window": key.window,
                "slots": [[end, str(slots[end])] for end in sorted(slots)],
            }
            for key, slots in sorted(self.counters.items())
            if slots
        ]
        return text.write({"version": _VERSION, "counters": entries})

    @staticmethod
    def decode(raw: bytes) -> Usage:
        """Read the canonical form, and no other.

        :raises PolicyError: ``usage_malformed``, ``usage_too_large``.
        """
        tree = text.read(raw, MAX_USAGE, "usage")
        try:
            members = fields.Members(tree, "")
            members.constant("version", _VERSION)
            counters = dict(_counter(entry) for entry in members.take("counters", list))
            members.end()
        except PolicyError as error:
            raise PolicyError("usage_malformed", error.message, error.field) from None
        usage = Usage(MappingProxyType(counters))
        if len(counters) > MAX_COUNTERS or usage.encode() != raw:
            raise PolicyError("usage_malformed", "The text is not in the form in which usage is written.")
        return usage


def _counter(entry: Any) -> tuple[Key, Mapping[int, int]]:  # noqa: ANN401  (JSON)
    members = fields.Members(entry, "counters")
    key = Key(
        fields.choice(members.take("layer", str), LAYERS, "layer"),
        members.take("rule", str),
        members.take("asset", str),
        members.take("window", int),
    )
    slots = members.take("slots", list)
    members.end()
    if not 0 < len(slots) <= MAX_SLOTS or key.window < 0:
        raise PolicyError("usage_malformed", "A counter has slots.", "slots")
    found: dict[int, int] = {}
    for slot in slots:
        match slot:
            case [end, str(digits)] if (
                type(end) is int and 0 <= end < 2 * MAX_TIME and _DIGITS.fullmatch(digits)
            ):
                found[end] = int(digits)
            case _:
                raise PolicyError("usage_malformed", "A slot is its end and an amount.", "slots")
    return key, MappingProxyType(found)


def _slot_end(window: int, at: int) -> int:
    width = max(window // SLOTS, 1)
    return (at // width + 1) * width


def _bounded(slots: dict[int, int]) -> dict[int, int]:
    """At most :data:`MAX_SLOTS`; beyond, which takes a clock that jumps, the oldest count as long as the next."""
    while len(slots) > MAX_SLOTS:
        oldest, following = sorted(slots)[:2]
        slots[following] += slots.pop(oldest)
    return slots
