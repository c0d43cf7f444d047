"""Backups of clients' shares: the enclave holds one half of what opens them, and counts who tries (``docs/spec/lifecycle.md`` §5).

The other half is a passcode, where the user has set one, and the ciphertext, which the enclave never sees.
"""

from __future__ import annotations

from .service import Backups

__all__ = ["Backups"]
