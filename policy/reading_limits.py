"""Limits of a rule, of amounts and of how often: amounts are decimal strings, read exactly or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from . import fields
from .addresses import EVM, SVM, normal
from .assets import BUILT_IN, Asset
from .errors import PolicyError
from .fields import Members
from .rules import LIFETIME, Limit, RateLimit

MAX_LIMITS: Final = 16
MIN_WINDOW: Final = 60
MAX_WINDOW: Final = 366 * 86400
MAX_COUNT: Final = 1_000_000  # payloads
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,7})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_limits(members: Members, assets: Mapping[str, Asset], chain: str | None) -> tuple[Limit, ...]:
    """``valueLimit``, the product's one limit, or ``valueLimits``, several."""
    single = members.optional("valueLimit", dict)
    several = members.list("valueLimits", MAX_LIMITS)
    if single is not None and several is not None:
        raise PolicyError("policy_conflict", "Either valueLimit or valueLimits.", members.path("valueLimit"))
    entries = [(single, "valueLimit")] if single is not None else []
    entries += [(entry, f"valueLimits[{i}]") for i, entry in enumerate(several or [])]
    limits = [_limit(Members(entry, members.path(name)), assets, chain) for entry, name in entries]
    fields.distinct([(limit.asset.name, limit.window) for limit in limits], members.path("valueLimits"))
    return tuple(sorted(limits, key=lambda limit: (limit.asset.name, limit.window)))


def read_rate(members: Members) -> RateLimit | None:
    """``rateLimit``. What has no window is no rate."""
    value = members.optional("rateLimit", dict)
    if value is None:
        return None
    inner = Members(value, members.path("rateLimit"))
    count = inner.take("count", int)
    if not 1 <= count <= MAX_COUNT:
        raise PolicyError("policy_value", f"A count of 1 to {MAX_COUNT} is expected.", inner.path("count"))
    window = _window(inner.take("window", str), inner.path("window"))
    inner.end()
    return RateLimit(count, window)


def _limit(members: Members, assets: Mapping[str, Asset], chain: str | None) -> Limit:
    asset = _asset(members.take("asset", str), assets, chain, members.path("asset"))
    amounts = [
        None if (amount := members.optional(name, str)) is None else asset.read(amount, members.path(name))
        for name in ("maxPerCall", "totalLimit")
    ]
    window = members.optional("window", str)
    if amounts == [None, None]:
        raise PolicyError(
            "policy_missing_field", "A limit has maxPerCall, totalLimit or both.", members.path("maxPerCall")
        )
    if window is not None and amounts[1] is None:
        raise PolicyError("policy_conflict", "A window is that of a totalLimit.", members.path("window"))
    seconds = LIFETIME if window is None else _window(window, members.path("window"))
    members.end()
    return Limit(asset, amounts[0], amounts[1], seconds)


def _asset(name: str, assets: Mapping[str, Asset], chain: str | None, where: str) -> Asset:
    """An asset by its name, or a token by its address; amounts of the latter are in base units."""
    found = BUILT_IN.get(name) or assets.get(name)
    if found is not None:
        return found
    if chain not in {EVM, SVM}:
        raise PolicyError("policy_value", "There is no such asset; name it in the layer's assets.", where)
    token = normal(name, chain, where)
    if chain == EVM and int(token, 16) == 0:
        raise PolicyError(
            "policy_value", "The zero address is no token; the coin of EVM chains is ETH.", where
        )
    return Asset(token, chain, None, token, 0)


def _window(text: str, where: str) -> int:
    match = _WINDOW.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not MIN_WINDOW <= seconds <= MAX_WINDOW:
        raise PolicyError("policy_value", "A window such as 24h is expected, of a minute to 366 days.", where)
    return seconds
