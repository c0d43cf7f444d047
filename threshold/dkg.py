"""Distributed key generation, t-of-n, in three messages (``docs/spec/threshold.md``, "Key generation").

Each participant: :func:`dkg_start`, broadcast message 1; :meth:`DkgRound1.advance`, send each peer its message 2 over
a confidential channel; :meth:`DkgRound2.advance`, broadcast the confirmation; :meth:`DkgRound3.confirm`, which alone
releases the :class:`~threshold.keys.KeyShare`. All channels must authenticate the sender.

A confirmation names its sender: those of two participants differ, and an echo of one's own is refused.
"""

from __future__ import annotations

from ._native import DkgRound1, DkgRound2, DkgRound3, dkg_start

__all__ = ["DkgRound1", "DkgRound2", "DkgRound3", "dkg_start"]
