"""Sealed shares in untrusted storage (``docs/spec/seal.md`` §3.2).

A stored record is a public header and sealed shares whose associated data is that header, so that a record is of use only for the
environment, wallet, share set, party and KMS key that it was made for, and only as a whole: shares of two records never make a third.

What comes out of the vault is an :class:`OpenedWallet`: its public facts are verified and free to read. Its share is handed out against
a :class:`~enclave.authorization.permits.Permit`, and a share goes in, takes the place of another, or is destroyed against one.
"""

from __future__ import annotations

from .forms import EpochFacts, ShareSetHeader, StoredShareSet
from .opened import OpenedWallet
from .vault import Vault
from .version1 import ShareHeader, StoredShare

__all__ = [
    "EpochFacts",
    "OpenedWallet",
    "ShareHeader",
    "ShareSetHeader",
    "StoredShare",
    "StoredShareSet",
    "Vault",
]
