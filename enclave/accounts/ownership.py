"""Whose a wallet is. Written before the wallet's share, and asked before anything is done with it.

A wallet that a service account makes is *custodial*: that account's key acts. Handed over it is *delegated*: its end user's, and nobody
can take it back. A wallet that a user makes is delegated from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from enclave.records import RecordConflictError, nothing_more
from protocol.accounts import UserId
from protocol.actions import Hash, Milliseconds
from protocol.envelope.errors import CosignerError, Culprit, Reaction

from .directory import USERS
from .holdings import Holdings, is_kept_always
from .user import UserRecord, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enclave.actors import Actor
    from enclave.records import Records, Versioned

WALLETS: Final = "owners"
Custody = Literal["custodial", "delegated"]


class HandedOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a wallet changed hands."""

    at: Milliseconds
    from_user: UserId
    to_user: UserId


class WalletRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose a wallet is.

    :ivar owner_link: the newest link of the owner's lineage when the wallet became theirs. A record of the owner without it is refused for
        this wallet ever after: a host that rolls the owner back to before has to do without the wallet.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    wallet_id: UserId  # a UUID, too
    owner: UserId
    owner_link: Hash | None
    custody: Custody
    created_at: Milliseconds
    history: Annotated[tuple[HandedOver, ...], Meta(max_length=1)]

    @property
    def creator(self) -> str:
        """Who had the wallet first. The wallet's share names them too, under its seal."""
        return self.history[0].from_user if self.history else self.owner


def hand_over(record: WalletRecord, *, actor: str, recipient: UserRecord, now_ms: int) -> WalletRecord:
    """A custodial wallet becomes a user's. There is no way back.

    :raises CosignerError: ``not_owner``, ``hand_over_final``, ``hand_over_refused`` (to a service account).
    """
    if record.owner != actor:
        raise _not_owner()
    if record.custody != "custodial":
        raise refusal("hand_over_final", "This wallet is its user's; it cannot be handed over again.")
    if recipient.kind != "user":
        raise refusal("hand_over_refused", "A wallet is handed over to a user, not to a service account.")
    return replace(
        record,
        owner=recipient.user_id,
        owner_link=_newest_link(recipient),
        custody="delegated",
        history=(HandedOver(at=now_ms, from_user=record.owner, to_user=recipient.user_id),),
    )


class Wallets:
    """Who owns the wallets of one environment."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.holdings = Holdings(records)

    async def claim(
        self,
        actor: Actor,
        wallet_id: str,
        *,
        now_ms: int,
        is_kept: Callable[[str], Awaitable[bool]] = is_kept_always,
    ) -> WalletRecord:
        """A new wallet is this user's; custodial, if that is a service account. To be called before its share is stored; the same user may claim it again after a crash.

        :param is_kept: as for :meth:`.holdings.Holdings.add`.
        :raises CosignerError: ``wallet_exists``: it is somebody else's; ``user_unknown``, ``too_many_wallets``, and as
            :meth:`Records.write`.
        """
        async with self._records.lock(WALLETS, wallet_id):
            owner = await self._user(actor.user_id)
            found = await self._read(wallet_id)
            if found is not None:
                if found.value.owner != actor.user_id:
                    raise refusal("wallet_exists", "A wallet with this id exists already.")
                return found.value
            await self.holdings.add(actor.user_id, wallet_id, is_kept)
            record = WalletRecord(
                version=1,
                wallet_id=wallet_id,
                owner=actor.user_id,
                owner_link=_newest_link(owner),
                custody="custodial" if owner.kind == "service" else "delegated",
                created_at=now_ms,
                history=(),
            )
            await self._write(record, expected=0)
            return record

    async def find(self, wallet_id: str) -> WalletRecord | None:
        """The wallet's record, whoever asks."""
        found = await self._read(wallet_id)
        return None if found is None else found.value

    async def require_owner(self, actor: Actor, wallet_id: str) -> WalletRecord:
        """The wallet's record, if it is this user's. Who asks for another's is not told whether it exists.

        :raises CosignerError: ``not_owner``; ``epoch_stale``: the owner's record is from before the wallet became theirs.
        """
        found = await self._read(wallet_id)
        if found is None or found.value.owner != actor.user_id:
            raise _not_owner()
        link = found.value.owner_link
        if link is not None and link not in (await self._user(actor.user_id)).lineage:
            raise CosignerError(
                "epoch_stale",
                "The host's storage serves an older state of the wallet's owner than it must have.",
                culprit=Culprit.STORAGE,
                reaction=Reaction.RETRY,
            )
        return found.value

    async def hand_over(
        self,
        actor: Actor,
        wallet_id: str,
        recipient: str,
        *,
        now_ms: int,
        require: Callable[[], Awaitable[object]] = nothing_more,
    ) -> WalletRecord:
        """Give a custodial wallet to its end user.

        :param require: raises if whoever asks may do it no longer; asked right before the write.
        :raises CosignerError: as :func:`hand_over`; ``user_unknown``, ``user_conflict``.
        """
        async with self._records.lock(WALLETS, wallet_id):
            found = await self._read(wallet_id)
            if found is None:
                raise _not_owner()
            changed = hand_over(
                found.value, actor=actor.user_id, recipient=await self._user(recipient), now_ms=now_ms
            )
            await require()
            await self.holdings.add(recipient, wallet_id)
            await require()
            await self._write(changed, expected=found.revision)
            await self.holdings.remove(actor.user_id, wallet_id)
            return changed

    async def _read(self, wallet_id: str) -> Versioned[WalletRecord] | None:
        return await self._records.read(WALLETS, wallet_id, WalletRecord)

    async def _write(self, record: WalletRecord, *, expected: int) -> None:
        try:
            await self._records.write(WALLETS, record.wallet_id, record, expected=expected)
        except RecordConflictError:
            raise CosignerError(
                "user_conflict",
                "This wallet's owner was changed at the same moment; try again.",
                culprit=Culprit.STORAGE,
                reaction=Reaction.RETRY,
            ) from None

    async def _user(self, user_id: str) -> UserRecord:
        found = await self._records.read(USERS, user_id, UserRecord)
        if found is None:
            raise refusal("user_unknown", "There is no such user.")
        return found.value


def _newest_link(owner: UserRecord) -> bytes | None:
    return owner.lineage[-1] if owner.lineage else None


def _not_owner() -> CosignerError:
    return refusal("not_owner", "This wallet is not this user's.")
