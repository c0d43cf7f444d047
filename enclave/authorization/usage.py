"""How much of the rolling totals and rates is used: sealed, and stored before anything is signed.

The environment's, the wallet's and the signer's totals are kept for each wallet, the account's for each user. Reading, deciding and
storing happen under the locks of all that is counted, so that two requests at once cannot spend the same allowance.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from policy import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from enclave.records import Records
    from policy import Charge

    from .rulebook import RulesInForce

KIND: Final = "usage"
NOTHING_USED: Final = Usage()


class StoredUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is used of the totals of some layers, as sealed (``docs/spec/policy.md``)."""

    version: Annotated[int, Meta(ge=1, le=1)]
    usage: bytes


class _Part:
    """The layers that are counted in one record."""

    def __init__(self, key: str, layers: frozenset[str], usage: Usage, revision: int) -> None:
        self.key = key
        self.layers = layers
        self.usage = usage
        self.revision = revision


class Ledger:
    """What counts for one action, while its locks are held.

    :ivar used: of all layers together; the input of a decision.
    """

    def __init__(self, records: Records, rules: RulesInForce, parts: list[_Part]) -> None:
        self._records = records
        self._rules = rules
        self._parts = parts
        self.used = Usage.join(part.usage for part in parts) if parts else NOTHING_USED

    async def charge(self, charges: Iterable[Charge], at: int) -> None:
        """Count what an allowed action moves. When this returns, the host has acknowledged a durable write of it.

        :param at: seconds since 1970, as decided with.
        :raises PolicyError: ``usage_full``.
        :raises CosignerError: as :meth:`enclave.records.Records.write`.
        """
        charged = list(charges)
        for part in self._parts:
            mine = [charge for charge in charged if charge.key.layer in part.layers]
            if not mine:
                continue
            part.usage = part.usage.expire(at).retain(self._rules.policy).charge(mine, at)
            stored = StoredUsage(version=1, usage=part.usage.encode())
            part.revision = await self._records.write(KIND, part.key, stored, expected=part.revision)


class Ledgers:
    """The usage of one environment."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @asynccontextmanager
    async def of(
        self, rules: RulesInForce, counted: frozenset[str], user_id: str, wallet_id: str
    ) -> AsyncIterator[Ledger]:
        """What counts for an action with a user's wallet; nothing is read, or locked, where nothing is counted.

        :param counted: the layers that count this action.
        """
        who = f"delegates/{wallet_id}/{rules.signer}" if rules.signer else f"signers/{wallet_id}/{user_id}"
        scopes = [
            (f"wallets/{wallet_id}", counted & {"environment", "wallet"}),
            (who, counted & {"signer"}),
            (f"accounts/{user_id}", counted & {"account"}),
        ]
        async with AsyncExitStack() as locks:
            parts = []
            for key, layers in scopes:  # always in this order: nobody waits for one who waits for him
                if layers:
                    await locks.enter_async_context(self._records.lock(KIND, key))
                    parts.append(await self._read(key, layers))
            yield Ledger(self._records, rules, parts)

    async def _read(self, key: str, layers: frozenset[str]) -> _Part:
        found = await self._records.read(KIND, key, StoredUsage)
        if found is None:
            return _Part(key, layers, NOTHING_USED, 0)
        return _Part(key, layers, Usage.decode(found.value.usage), found.revision)
