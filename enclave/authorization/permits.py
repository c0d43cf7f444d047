"""Permits: what a ceremony must hand to the vault. One permit is good for one use of one wallet's share.

Only this package makes them, after every check has passed and what must be durable is stored. A permit is a capability, not a flag:
code that has none cannot reach a share, whatever path led to it.
"""

from __future__ import annotations

from typing import Final, Never

_MADE_HERE: Final = object()


class PermitError(RuntimeError):
    """A permit that is spent, or is for something else. That is a mistake in this enclave, never a client's."""


class Permit:
    """Leave to use one wallet's share once.

    :ivar operation: the kind of the request that was authorized.
    """

    __slots__ = ("_unspent", "environment", "operation", "wallet_id")

    def __init__(self, made: object, *, environment: str, operation: str, wallet_id: str) -> None:
        if made is not _MADE_HERE:
            msg = "permits are made by enclave.authorization alone"
            raise PermitError(msg)
        self.environment = environment
        self.operation = operation
        self.wallet_id = wallet_id
        self._unspent = True

    def spend(self, *, environment: str, wallet_id: str) -> None:
        """Use it up.

        :raises PermitError: it was used before, or is for another wallet.
        """
        if not self._unspent:
            msg = "this permit was used before"
            raise PermitError(msg)
        self._unspent = False
        if (environment, wallet_id) != (self.environment, self.wallet_id):
            msg = "this permit is for another wallet"
            raise PermitError(msg)

    def __repr__(self) -> str:
        return f"<Permit {self.operation} {self.wallet_id}>"

    def __reduce__(self) -> Never:
        msg = "a permit cannot be copied or pickled"
        raise PermitError(msg)


def grant(*, environment: str, operation: str, wallet_id: str) -> Permit:
    """Make a permit. To be called by :mod:`enclave.authorization.gate` and nobody else (``tests/enclave/authorization/test_permits.py``)."""
    return Permit(_MADE_HERE, environment=environment, operation=operation, wallet_id=wallet_id)
