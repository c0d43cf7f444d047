"""Base64url without padding (RFC 4648 §5, RFC 7515 §2): one encoding for every value."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]*\Z")


def encode(raw: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes that ``text`` is the encoding of.

    :raises ValueError: another alphabet, padding, or bits left over that are not zero.
    """
    # Python's decoder skips what is not of the alphabet, and ignores bits left over.
    if not _ALPHABET.match(text):
        msg = "not base64url"
        raise ValueError(msg)
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        msg = "not base64url"
        raise ValueError(msg) from None
    if encode(raw) != text:
        msg = "not canonical base64url"
        raise ValueError(msg)
    return raw
