"""The delegations of an environment's wallets, and users' refusals of them, in sealed records.

Each delegation is a record of its own, which alone says how it stands. A wallet's index only lists which there are; it is written first, so
that no delegation is ever missing from it. What leaves the index when there are too many is over, and its record stays as a tombstone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from enclave.records import RecordConflictError
from protocol.actions import Milliseconds
from protocol.delegation import MAX_DELEGATIONS
from protocol.envelope.errors import CosignerError, Culprit
from protocol.wallets import WalletId

from .record import Delegation, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from enclave.records import Records, Versioned
    from protocol.envelope.messages import OutboxEvent

DELEGATIONS: Final = "delegations"
SIGNATURES: Final = "delegation-signatures"
DENIALS: Final = "delegation-denials"
MAX_LISTED: Final = 4 * MAX_DELEGATIONS
_ATTEMPTS: Final = 4


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which delegations a wallet has or had, oldest first."""

    version: Annotated[int, Meta(ge=1, le=1)]
    share_sets: Annotated[tuple[WalletId, ...], Meta(max_length=MAX_LISTED)]


class Denial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a user has said no to delegated access, and when they last said anything."""

    version: Annotated[int, Meta(ge=1, le=1)]
    denied: bool
    at: Milliseconds


class Signatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many requests of a delegate to sign were allowed."""

    version: Annotated[int, Meta(ge=1, le=1)]
    count: Annotated[int, Meta(ge=1, lt=1 << 53)]


class Book:
    """Reads and writes them. Every method raises what :class:`enclave.records.Records` raises."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def find(self, wallet_id: str, share_set_id: str) -> Delegation | None:
        """One delegation, whatever its state."""
        found = await self._read(wallet_id, share_set_id)
        return None if found is None else found.value

    async def require(self, wallet_id: str, share_set_id: str) -> Delegation:
        """One delegation, whatever its state.

        :raises CosignerError: ``delegation_unknown``.
        """
        found = await self.find(wallet_id, share_set_id)
        if found is None:
            raise unknown()
        return found

    async def of(self, wallet_id: str) -> list[Delegation]:
        """A wallet's, in any state, oldest first."""
        listed = await self._records.read(DELEGATIONS, wallet_id, Listed)
        found = []
        for share_set_id in () if listed is None else listed.value.share_sets:
            one = await self.find(wallet_id, share_set_id)
            if one is not None:  # the enclave may have died between the index and the record
                found.append(one)
        return found

    async def add(self, one: Delegation, *, now: int) -> None:
        """A new one. What is over makes room in the index.

        :raises CosignerError: ``too_many_delegations``; ``delegation_exists``: the id was used before.
        """
        wallet_id, share_set_id = one.wallet_id, one.share_set_id
        async with self._records.lock(DELEGATIONS, wallet_id):
            await self._list(wallet_id, share_set_id, now)
            try:
                await self._records.write(DELEGATIONS, f"{wallet_id}/{share_set_id}", one, expected=0)
            except RecordConflictError:
                raise CosignerError(
                    "delegation_exists",
                    "This share set's id was used before; choose a fresh one.",
                    culprit=Culprit.CLIENT,
                ) from None

    async def change(
        self,
        wallet_id: str,
        share_set_id: str,
        transition: Callable[[Delegation], Delegation],
        event: Callable[[Delegation], OutboxEvent | None] | None = None,
    ) -> Delegation:
        """Apply a transition, again if somebody else was first. One that changes nothing writes nothing, and tells nobody.

        :param event: what developers are told of the outcome.
        :raises CosignerError: ``delegation_unknown``; whatever the transition raises.
        """
        async with self._records.lock(DELEGATIONS, f"{wallet_id}/{share_set_id}"):
            for attempt in range(_ATTEMPTS):
                found = await self._read(wallet_id, share_set_id)
                if found is None:
                    raise unknown()
                after = transition(found.value)
                if after == found.value:
                    return after
                try:
                    await self._records.write(
                        DELEGATIONS,
                        f"{wallet_id}/{share_set_id}",
                        after,
                        expected=found.revision,
                        event=None if event is None else event(after),
                    )
                except RecordConflictError:
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    return after
        raise AssertionError

    async def count_signature(self, one: Delegation, event: OutboxEvent | None) -> None:
        """Count a signature, so that it can be told of in a durable write. Where nobody is told, nothing is written."""
        if event is None:
            return
        key = f"{one.wallet_id}/{one.share_set_id}"
        async with self._records.lock(SIGNATURES, key):
            for attempt in range(_ATTEMPTS):
                found = await self._records.read(SIGNATURES, key, Signatures)
                count = 1 if found is None else found.value.count + 1
                revision = 0 if found is None else found.revision
                try:
                    await self._records.write(
                        SIGNATURES, key, Signatures(version=1, count=count), expected=revision, event=event
                    )
                except RecordConflictError:
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    return

    async def denied(self, user_id: str) -> bool:
        """Whether the user has said no."""
        found = await self._records.read(DENIALS, user_id, Denial)
        return found is not None and found.value.denied

    async def deny(self, user_id: str, *, denied: bool, now: int) -> None:
        """Remember that the user says no, or takes it back."""
        async with self._records.lock(DENIALS, user_id):
            found = await self._records.read(DENIALS, user_id, Denial)
            if (found is not None and found.value.denied) == denied:
                return
            revision = 0 if found is None else found.revision
            await self._records.write(
                DENIALS, user_id, Denial(version=1, denied=denied, at=now), expected=revision
            )

    async def _list(self, wallet_id: str, share_set_id: str, now: int) -> None:
        listed = await self._records.read(DELEGATIONS, wallet_id, Listed)
        known = () if listed is None else listed.value.share_sets
        if share_set_id in known:
            return
        found = {one.share_set_id: one for one in await self.of(wallet_id)}
        living = [name for name, one in found.items() if one.lives(now)]
        if len(living) >= MAX_DELEGATIONS:
            raise CosignerError(
                "too_many_delegations",
                f"A wallet has at most {MAX_DELEGATIONS} delegations at a time; revoke one first.",
                culprit=Culprit.CLIENT,
            )
        over = [name for name in known if name not in living]
        gone = set(over[: max(0, len(known) + 1 - MAX_LISTED)])
        kept = tuple(name for name in known if name not in gone)
        await self._records.write(
            DELEGATIONS,
            wallet_id,
            Listed(version=1, share_sets=(*kept, share_set_id)),
            expected=0 if listed is None else listed.revision,
        )

    async def _read(self, wallet_id: str, share_set_id: str) -> Versioned[Delegation] | None:
        return await self._records.read(DELEGATIONS, f"{wallet_id}/{share_set_id}", Delegation)
