"""Permits: what a ceremony must hand to the vault. One permit is good for the uses of one wallet's shares that one request makes: one, as a rule.

Only this package makes them, after every check has passed and what must be durable is stored. A permit is a capability, not a flag:
code that has none cannot reach a share, whatever path led to it.
"""

from __future__ import annotations

from typing import Final, Never

_MADE_HERE: Final = object()


class PermitError(RuntimeError):
    """A permit that is spent, or is for something else. That is a mistake in this enclave, never a client's."""


class Permit:
    """Leave to use one wallet's shares, as often as one request does.

    :ivar operation: the kind of the request that was authorized.
    """

    __slots__ = ("_left", "environment", "operation", "wallet_id")

    def __init__(
        self, made: object, *, environment: str, operation: str, wallet_id: str, uses: int = 1
    ) -> None:
        if made is not _MADE_HERE:
            msg = "permits are made by enclave.authorization alone"
            raise PermitError(msg)
        self.environment = environment
        self.operation = operation
        self.wallet_id = wallet_id
        self._left = uses

    def spend(self, *, environment: str, wallet_id: str) -> None:
        """Use it once. A wrong use takes away all that is left.

        :raises PermitError: it was used before, or is for another wallet.
        """
        if not self._left:
            msg = "this permit was used before"
            raise PermitError(msg)
        self._left -= 1
        if (environment, wallet_id) != (self.environment, self.wallet_id):
            self._left = 0
            msg = "this permit is for another wallet"
            raise PermitError(msg)

    def __repr__(self) -> str:
        return f"<Permit {self.operation} {self.wallet_id}>"

    def __reduce__(self) -> Never:
        msg = "a permit cannot be copied or pickled"
        raise PermitError(msg)


def grant(*, environment: str, operation: str, wallet_id: str, uses: int = 1) -> Permit:
    """Make a permit. To be called by :mod:`enclave.authorization.gate` and nobody else (``tests/enclave/authorization/test_permits.py``).

    :param uses: how often the request uses a share of the wallet: hands one out, takes one in, or changes which one counts.
    """
    return Permit(_MADE_HERE, environment=environment, operation=operation, wallet_id=wallet_id, uses=uses)
