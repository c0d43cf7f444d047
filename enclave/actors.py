"""Who a session speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UserKind = Literal["user", "service"]


@dataclass(frozen=True, slots=True)
class Delegated:
    """The one delegation that a delegate's session is for."""

    wallet_id: str
    share_set_id: str

    @property
    def session_key(self) -> bytes:
        """What stands in the place of a session key: when the delegation is revoked, what rests on this ends."""
        return self.share_set_id.encode()

    @property
    def principal(self) -> str:
        """As :attr:`Actor.principal`. Clients choose share sets' ids: one may be another wallet's, too, or a user's id."""
        return f"delegate:{self.wallet_id}/{self.share_set_id}"


@dataclass(frozen=True, slots=True)
class Actor:
    """A user whose session key this enclave has verified; or a delegate, whose API key and share it has.

    :ivar user_id: of a delegate: the user whose wallet it is.
    :ivar session_key: P-256, compressed, 33 bytes: what the session rests on. When it is revoked, the session ends.
    :ivar expires_at_ms: when the session key, or the delegation, expires, milliseconds since 1970.
    :ivar factors: what was verified so far: the session key. A request's own evidence comes on top. Of a delegate: none.
    :ivar delegation: ``None``: this is a user.
    """

    user_id: str
    kind: UserKind | Literal["delegate"]
    session_key: bytes
    expires_at_ms: int
    factors: frozenset[str] = frozenset({"session_key"})
    delegation: Delegated | None = None

    @property
    def principal(self) -> str:
        """Under which sessions, replies, burns and denials are kept: a delegate shares none of them with its user."""
        return self.user_id if self.delegation is None else self.delegation.principal


def delegate(user_id: str, delegation: Delegated, *, expires_at_ms: int) -> Actor:
    """A delegate whose API key and share were verified."""
    return Actor(
        user_id=user_id,
        kind="delegate",
        session_key=delegation.session_key,
        expires_at_ms=expires_at_ms,
        factors=frozenset(),
        delegation=delegation,
    )
