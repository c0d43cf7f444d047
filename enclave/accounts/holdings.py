"""Which wallets a user has: ids only. Whose a wallet is, its own record says (:mod:`.ownership`); this one makes them findable.

An id is written here before the wallet is the user's, and taken out after it has become somebody else's. So none is ever missing; one too
many is left out of a listing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from enclave.records import RecordConflictError
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.wallets import MAX_WALLETS, WalletId

from .user import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enclave.records import Records

KIND: Final = "holdings"
_ATTEMPTS: Final = 4


class Holding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user's wallets, oldest first."""

    version: Annotated[int, Meta(ge=1, le=1)]
    wallets: Annotated[tuple[WalletId, ...], Meta(max_length=MAX_WALLETS)]


NOTHING: Final = Holding(version=1, wallets=())


async def is_kept_always(_: str) -> bool:
    """For whoever does not know better."""
    return True


class Holdings:
    """The wallets of one environment's users."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def of(self, user_id: str) -> tuple[str, ...]:
        """Ids of the user's wallets, oldest first; some may be another's by now, or have no share."""
        found = await self._records.read(KIND, user_id, Holding)
        return () if found is None else found.value.wallets

    async def add(
        self, user_id: str, wallet_id: str, is_kept: Callable[[str], Awaitable[bool]] = is_kept_always
    ) -> None:
        """A wallet is going to be this user's.

        :param is_kept: whether an id must stay when there is no room for another: not one of a wallet that is retired, another's, or never
            came to be.
        :raises CosignerError: ``too_many_wallets``, ``user_conflict``, and those of records.
        """

        async def added(wallets: tuple[str, ...]) -> tuple[str, ...]:
            if wallet_id in wallets:
                return wallets
            if len(wallets) >= MAX_WALLETS:
                wallets = tuple([known for known in wallets if await is_kept(known)])
            if len(wallets) >= MAX_WALLETS:
                raise refusal(
                    "too_many_wallets",
                    f"A user has at most {MAX_WALLETS} wallets here; delete one that you no longer use.",
                )
            return (*wallets, wallet_id)

        await self._change(user_id, added)

    async def remove(self, user_id: str, wallet_id: str) -> None:
        """A wallet is no longer this user's.

        :raises CosignerError: ``user_conflict``, and those of records.
        """

        async def without(wallets: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(known for known in wallets if known != wallet_id)

        await self._change(user_id, without)

    async def _change(
        self, user_id: str, transition: Callable[[tuple[str, ...]], Awaitable[tuple[str, ...]]]
    ) -> None:
        async with self._records.lock(KIND, user_id):
            for _ in range(_ATTEMPTS):
                found = await self._records.read(KIND, user_id, Holding)
                before, revision = (NOTHING, 0) if found is None else (found.value, found.revision)
                wallets = await transition(before.wallets)
                if wallets == before.wallets:
                    return
                try:
                    await self._records.write(
                        KIND, user_id, Holding(version=1, wallets=wallets), expected=revision
                    )
                except RecordConflictError:
                    continue
                return
        raise CosignerError(
            "user_conflict",
            "The user's wallets were changed at the same moment; try again.",
            culprit=Culprit.STORAGE,
            reaction=Reaction.RETRY,
        )
