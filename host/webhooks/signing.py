"""What proves to a receiver that a body comes from a holder of the webhook's secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
SIGNATURE_HEADER: Final = "x-dynamic-signature-256"


def headers(secret: str, body: bytes, *, message_id: str, seconds: int) -> dict[str, str]:
    """The signature headers of one attempt.

    Dynamic's covers the body alone, under the whole secret. Those of Standard Webhooks (its specification, "Signature scheme") cover id
    and time as well, so that a receiver can refuse replays; they need the bytes that the secret is the base64 of, and are left out when
    it is none.

    :param seconds: when the attempt is made, since 1970.
    """
    found = {SIGNATURE_HEADER: f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"}
    key = standard_key(secret)
    if key is not None:
        signed = b"%s.%d.%s" % (message_id.encode(), seconds, body)
        signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        found |= {
            "webhook-id": message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": f"v1,{signature}",
        }
    return found


def standard_key(secret: str) -> bytes | None:
    """The HMAC key of Standard Webhooks, ``None`` if the secret is not ``whsec_`` and base64."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return None
