"""The user's shares at rest: a directory of files, sealed under a passphrase (``docs/spec/seal.md`` §4).

``store.cbor`` holds Argon2id parameters (RFC 9106) and a check value. The files of wallets: :mod:`.shares`; of users: :mod:`.users`.
"""

from __future__ import annotations

from .formats import (
    KdfParameters,
    NextFile,
    NextHeader,
    SessionHeader,
    ShareFile,
    ShareHeader,
    StoredWallet,
    StoreFile,
)
from .share_store import ShareStore

__all__ = [
    "KdfParameters",
    "NextFile",
    "NextHeader",
    "SessionHeader",
    "ShareFile",
    "ShareHeader",
    "ShareStore",
    "StoreFile",
    "StoredWallet",
]
