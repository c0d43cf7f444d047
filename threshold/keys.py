"""Key shares and the keys that seal them (``docs/spec/seal.md``).

A share leaves the native module only sealed: AES-256-GCM under a key of the record's own, derived from a
:class:`SealingKey`, with the caller's associated data bound in. Opening checks the share against its own public data.
"""

from __future__ import annotations

from ._native import KeyShare, SealingKey

__all__ = ["KeyShare", "SealingKey"]
