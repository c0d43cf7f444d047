"""What an authenticator app needs (RFC 6238): SHA-1, 6 digits, 30 seconds."""

from __future__ import annotations

import base64
from urllib.parse import quote


def secret_text(secret: bytes) -> str:
    """The secret as people type it into an app: base 32 without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, *, account: str, issuer: str) -> str:
    """The text of the QR code that apps read (Google Authenticator's Key URI Format)."""
    label = quote(f"{issuer}:{account}", safe=":")
    return f"otpauth://totp/{label}?secret={secret_text(secret)}&issuer={quote(issuer)}&algorithm=SHA1&digits=6&period=30"
