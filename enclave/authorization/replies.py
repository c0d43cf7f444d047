"""Replies kept for a while, so that a client that lost one can ask again without anything happening twice.

In memory only. A restart forgets them: the client then makes the request anew, under the rules of its ceremony.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocol.envelope.errors import CosignerError, Culprit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_OF_USER: Final = 64
MAX_BYTES_OF_USER: Final = 4 << 20
MAX_BYTES: Final = 64 << 20


@dataclass(slots=True)
class _User:
    replies: OrderedDict[bytes, tuple[bytes, bytes]] = field(default_factory=OrderedDict)  # key: body, reply
    size: int = 0


@dataclass(slots=True)
class _Held:
    """A key in use, and by how many requests."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Slot:
    """One key of one user, held by one request at a time.

    :ivar reply: what was answered before; ``None``: nothing was.
    """

    def __init__(self, reply: bytes | None) -> None:
        self.reply = reply
        self.kept: bytes | None = None

    def keep(self, reply: bytes) -> None:
        """Give this reply again from now on."""
        self.kept = reply

    @property
    def answer(self) -> bytes:
        """What is answered: the reply of before, or the one of now."""
        answer = self.kept if self.reply is None else self.reply
        if answer is None:
            msg = "nothing was answered"
            raise RuntimeError(msg)
        return answer


class Replies:
    """Replies by user and idempotency key. The oldest of a user, and the user idle longest, make room."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._size = 0
        self._under_way: dict[tuple[str, bytes], _Held] = {}

    @asynccontextmanager
    async def slot(self, user_id: str, key: bytes, body: bytes) -> AsyncIterator[Slot]:
        """The reply to this very request, or the place to keep it. Waits for the same key under way in another session.

        :param body: SHA-256 of the request.
        :raises CosignerError: ``idempotency_conflict``: the key was used for another request.
        """
        held = self._under_way.setdefault((user_id, key), _Held())
        held.users += 1
        try:
            async with held.lock:
                slot = Slot(self._find(user_id, key, body))
                yield slot
                if slot.kept is not None:
                    self._keep(user_id, key, body, slot.kept)
        finally:
            held.users -= 1
            if not held.users:
                del self._under_way[user_id, key]

    def _find(self, user_id: str, key: bytes, body: bytes) -> bytes | None:
        user = self._users.get(user_id)
        known = None if user is None else user.replies.get(key)
        if known is None:
            return None
        if known[0] != body:
            raise CosignerError(
                "idempotency_conflict",
                "This idempotency key was used for another request.",
                culprit=Culprit.CLIENT,
            )
        return known[1]

    def _keep(self, user_id: str, key: bytes, body: bytes, reply: bytes) -> None:
        if len(reply) > MAX_BYTES_OF_USER:
            return
        user = self._users.setdefault(user_id, _User())
        self._users.move_to_end(user_id)
        user.replies[key] = (body, reply)
        user.size += len(reply)
        self._size += len(reply)
        while len(user.replies) > MAX_OF_USER or user.size > MAX_BYTES_OF_USER:
            _, (_, oldest) = user.replies.popitem(last=False)
            user.size -= len(oldest)
            self._size -= len(oldest)
        while self._size > MAX_BYTES:
            _, idle = self._users.popitem(last=False)
            self._size -= idle.size
