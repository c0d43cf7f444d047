"""Spending a code of a second factor: counted, acknowledged by storage, and only then looked at."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from protocol.actions import RecoveryCode, TotpCode

from . import factors

if TYPE_CHECKING:
    from .directory import Directory
    from .user import UserRecord

_REMEMBERED: Final = 100_000


class SecondFactors:
    """The second factors of one environment's users."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._warm: OrderedDict[str, None] = OrderedDict()

    async def spend(self, user_id: str, code: TotpCode | RecoveryCode, now_ms: int) -> None:
        """Use a code up. When this returns it is void, durably.

        :raises CosignerError: ``evidence_invalid``, ``factor_locked``, ``factor_required``, and as :meth:`.Directory.change`; the attempt
            is counted in every case but the last two.
        """
        cold = user_id not in self._warm

        def use(record: UserRecord) -> UserRecord:
            if isinstance(code, TotpCode):
                return factors.use_totp(record, code.code, now_ms=now_ms)
            return factors.use_recovery_code(record, code.code)

        await self._directory.change(
            user_id, lambda record: factors.count_attempt(record, now_ms=now_ms, cold=cold)
        )
        await self._directory.change(user_id, use)
        self._warm[user_id] = None
        self._warm.move_to_end(user_id)
        if len(self._warm) > _REMEMBERED:
            self._warm.popitem(last=False)
