"""What somebody wants to do, with the evidence that was checked before. Time comes in here; nothing else knows a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .rules import FACTORS, OPERATIONS, SIGNERS

MAX_TIME: Final = 253402300800  # the year 10000


@dataclass(frozen=True, slots=True)
class Action:
    """An operation on one wallet.

    :ivar at: seconds since 1970, UTC.
    :ivar signer: whose share signs with the enclave's: the end user's device, a delegate's server, a service account.
    :ivar chain: the wallet's chain, ``EVM``, ``SVM`` or ``BTC``.
    :ivar factors: what was verified for this very action.
    :ivar approvals: ids of the credentials that approved this very action.
    :raises ValueError: a word that is not known, or a time that is none.
    """

    operation: str
    at: int
    chain: str
    signer: str = "user"
    factors: frozenset[str] = frozenset()
    approvals: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS or self.signer not in SIGNERS or not self.factors <= set(FACTORS):
            msg = "no such operation, signer or factor"
            raise ValueError(msg)
        if not 0 <= self.at < MAX_TIME:
            msg = "no such time"
            raise ValueError(msg)
