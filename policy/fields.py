"""Members of JSON objects, taken one by one; what is left over at the end is unknown and refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from .addresses import BTC, EVM, SVM
from .errors import PolicyError

T = TypeVar("T")

SYMBOL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,63}")
MAX_NAME: Final = 128
_CHAINS: Final = {"EVM": EVM, "SVM": SVM, "SOL": SVM, "BTC": BTC}
_TIME_FORM: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_TYPE_NAMES: Final = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
    bool: "true or false",
}


class Members:
    """The members of one object.

    :raises PolicyError: ``policy_value`` if ``value`` is no object.
    """

    def __init__(self, value: Any, field: str) -> None:  # noqa: ANN401  (JSON)
        if not isinstance(value, dict):
            raise PolicyError("policy_value", "An object is expected.", field)
        self._left = dict(value)
        self._field = field

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def path(self, name: str) -> str:
        """Where a member stands."""
        return f"{self._field}.{name}" if self._field else name

    def take(self, name: str, kind: type[T]) -> T:
        """A member that must be there.

        :raises PolicyError: ``policy_missing_field``, ``policy_value``.
        """
        if name not in self._left:
            raise PolicyError("policy_missing_field", "The field is missing.", self.path(name))
        value = self._left.pop(name)
        if type(value) is not kind:
            raise PolicyError(
                "policy_value", f"{_TYPE_NAMES[kind].capitalize()} is expected.", self.path(name)
            )
        return value

    def any(self, name: str) -> Any:  # noqa: ANN401  (JSON)
        """A member of any type, or ``None``."""
        return self._left.pop(name, None)

    def optional(self, name: str, kind: type[T]) -> T | None:
        """A member that may be absent, but not ``null``."""
        return self.take(name, kind) if name in self._left else None

    def list(self, name: str, most: int) -> list[Any] | None:
        """A list of 1 to ``most`` elements (``rules`` may be empty), or ``None`` where it is absent.

        An empty list is refused: it could be read as "any" and as "none".
        """
        entries: list[Any] | None = self.optional(name, list)
        if entries is None:
            return None
        if not entries and name != "rules":
            raise PolicyError(
                "policy_value", "An empty list says neither any nor none; leave it out.", self.path(name)
            )
        if len(entries) > most:
            raise PolicyError(
                "policy_too_large", f"At most {most} are read; these are {len(entries)}.", self.path(name)
            )
        return entries

    def names(self, name: str, known: Sequence[str]) -> frozenset[str] | None:
        """A list of distinct words out of ``known``."""
        entries = self.list(name, len(known))
        if entries is None:
            return None
        words = [choice(entry, known, self.path(f"{name}[{i}]")) for i, entry in enumerate(entries)]
        return distinct(words, self.path(name))

    def constant(self, name: str, value: int) -> None:
        """A member with one legal value."""
        if self.take(name, int) != value:
            raise PolicyError("policy_value", f"Only {value} is known.", self.path(name))

    def end(self) -> None:
        """Refuse what nobody asked for.

        :raises PolicyError: ``policy_unknown_field``.
        """
        for name in self._left:
            raise PolicyError("policy_unknown_field", "There is no such field.", self.path(str(name)[:80]))


def choice(value: Any, known: Sequence[str], field: str) -> str:  # noqa: ANN401  (JSON)
    """One word out of ``known``."""
    if not isinstance(value, str) or value not in known:
        raise PolicyError("policy_value", f"One of these is expected: {', '.join(known)}.", field)
    return value


def distinct(values: Sequence[Any], field: str) -> frozenset[Any]:
    """A set, refusing what stands twice."""
    found = frozenset(values)
    if len(found) != len(values):
        raise PolicyError("policy_conflict", "Something stands twice in the list.", field)
    return found


def chain(value: str, field: str) -> str:
    """``EVM``, ``SVM`` (also written ``SOL``) or ``BTC``."""
    return _CHAINS[choice(value, tuple(_CHAINS), field)]


def chain_id(value: Any, field: str) -> int:  # noqa: ANN401  (JSON)
    """A chain id of 1 or more."""
    if type(value) is not int or value < 1:
        raise PolicyError("policy_value", "A chain id of 1 or more is expected.", field)
    return value


def name(value: str, field: str) -> str:
    """A name for people: printable, 1 to 128 characters, no space at its ends."""
    if not 0 < len(value) <= MAX_NAME or not value.isprintable() or value != value.strip():
        raise PolicyError("policy_value", f"A name has 1 to {MAX_NAME} printable characters.", field)
    return value


def identifier(value: Any, field: str) -> str:  # noqa: ANN401  (JSON)
    """An id of a rule or a credential."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise PolicyError("policy_value", "An id of 1 to 64 letters, digits and _.:@- is expected.", field)
    return value


def time(value: str, field: str) -> int:
    """``2026-01-31T12:00:00Z`` as seconds since 1970."""
    try:
        if not _TIME_FORM.fullmatch(value):
            raise ValueError
        seconds = int(datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise PolicyError("policy_value", "A time such as 2026-01-31T12:00:00Z is expected.", field) from None
    if seconds < 0:
        raise PolicyError("policy_value", "A time after 1970 is expected.", field)
    return seconds


def written_time(seconds: int) -> str:
    """The form that :func:`time` reads."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
