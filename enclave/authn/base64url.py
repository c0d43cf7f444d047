"""Base64url without padding, as :mod:`protocol.base64url` has it."""

from __future__ import annotations

from protocol.base64url import decode, encode

__all__ = ["decode", "encode"]
