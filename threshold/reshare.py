"""Resharing: the same key in the hands of a new group (``docs/spec/threshold.md``, "Resharing").

Refresh, other parties, another threshold, recovery and delegation are this one protocol. The *dealers* are exactly t members
of the old group; the *receivers* are the members of the new one. A node may deal with several shares and receive for several
members. With a share :func:`reshare_start`, without one :func:`reshare_join`; then :meth:`ReshareRound1.advance`, which gives
secret messages from each own dealer to each receiver elsewhere; :meth:`ReshareRound2.advance`, which gives confirmations for
everybody; and :meth:`ReshareRound3.confirm`, which alone releases the new shares, at the next epoch. All channels must
authenticate the sender.

:func:`import_receive` takes a key that a trusted dealer, the user's own device, has dealt out.
"""

from __future__ import annotations

from ._native import (
    ReshareRound1,
    ReshareRound2,
    ReshareRound3,
    import_receive,
    reshare_join,
    reshare_start,
)

__all__ = [
    "ReshareRound1",
    "ReshareRound2",
    "ReshareRound3",
    "import_receive",
    "reshare_join",
    "reshare_start",
]
