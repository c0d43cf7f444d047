"""Who a session speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UserKind = Literal["user", "service"]


@dataclass(frozen=True, slots=True)
class Actor:
    """A user whose session key this enclave has verified.

    :ivar session_key: P-256, compressed, 33 bytes: what the session rests on. When it is revoked, the session ends.
    :ivar expires_at_ms: when the session key expires, milliseconds since 1970.
    :ivar factors: what was verified so far: the session key. A request's own evidence comes on top.
    """

    user_id: str
    kind: UserKind
    session_key: bytes
    expires_at_ms: int
    factors: frozenset[str] = frozenset({"session_key"})
