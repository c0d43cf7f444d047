"""Does a webhook come from a holder of its secret, and is it new? Over the bytes as they came, before anything is parsed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from .errors import WebhookRefused

MAX_BODY: Final = 256 << 10
SIGNATURE_HEADER: Final = "x-dynamic-signature-256"
_DYNAMIC: Final = re.compile(rb"sha256=([0-9a-f]{64})\Z")
_TIME: Final = re.compile(r"[0-9]{1,12}\Z", re.ASCII)
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}\Z")
_MAX_SIGNATURES: Final = 8

Headers = Mapping[str, str]


def verify(
    secret: str | Sequence[str],
    headers: Headers,
    raw_body: bytes,
    *,
    tolerance: float | None,
    now: float | None = None,
) -> None:
    """Check a webhook's signatures.

    :param secret: the webhook's, ``whsec_…`` included; while a secret is replaced, the new one and the old one.
    :param headers: the request's, by name in any case.
    :param raw_body: exactly the bytes that came.
    :param tolerance: how many seconds old, or early, the message may be by the Standard Webhooks headers, which must then be there: within
        that window the inbox recognises replays. ``None``: not asked; Dynamic's own webhooks do not carry a signed time.
    :param now: seconds since 1970; the machine's clock by default.
    :raises WebhookRefused: ``webhook_too_large``, ``signature_missing``, ``signature_malformed``, ``signature_wrong``, ``signature_stale``.
    """
    if len(raw_body) > MAX_BODY:
        raise WebhookRefused("webhook_too_large", f"The body has more than {MAX_BODY} bytes.")
    secrets = [secret] if isinstance(secret, str) else list(secret)
    named = _by_name(headers)
    signature = _DYNAMIC.match(_required(named, SIGNATURE_HEADER).encode("utf-8", "replace"))
    if signature is None:
        raise WebhookRefused(
            "signature_malformed", f"{SIGNATURE_HEADER} is not sha256= and 64 hexadecimal digits."
        )
    given = bytes.fromhex(signature[1].decode())
    if not _is_one_of(given, [hmac.digest(each.encode(), raw_body, hashlib.sha256) for each in secrets]):
        raise _wrong()
    if tolerance is not None:
        _check_time(secrets, named, raw_body, tolerance, time.time() if now is None else now)


def _check_time(
    secrets: Sequence[str], named: Headers, raw_body: bytes, tolerance: float, now: float
) -> None:
    """The headers of Standard Webhooks: ``v1`` signatures over id, time and body."""
    message_id, moment = _required(named, "webhook-id"), _required(named, "webhook-timestamp")
    if not _ID.match(message_id) or not _TIME.match(moment):
        raise WebhookRefused("signature_malformed", "webhook-id or webhook-timestamp is not of its form.")
    signed = f"{message_id}.{moment}.".encode() + raw_body
    expected = [
        hmac.digest(key, signed, hashlib.sha256) for key in map(_standard_key, secrets) if key is not None
    ]
    candidates = _required(named, "webhook-signature").split(" ")[:_MAX_SIGNATURES]
    matching = [_is_one_of(_decoded(candidate), expected) for candidate in candidates]
    if not any(matching):
        raise _wrong()
    if abs(now - int(moment)) > tolerance:
        raise WebhookRefused(
            "signature_stale",
            "The message was signed too long ago, or the clocks differ: it may be a replay.",
        )


def _is_one_of(given: bytes, expected: Sequence[bytes]) -> bool:
    """In a time that does not tell which, or how much of it fits (RFC 2104 verifiers compare in constant time)."""
    found = False
    for each in expected:
        found |= hmac.compare_digest(given, each)
    return found


def _decoded(candidate: str) -> bytes:
    version, _, text = candidate.partition(",")
    try:
        return base64.b64decode(text, validate=True) if version == "v1" else b""
    except (binascii.Error, ValueError):
        return b""


def _standard_key(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None


def _by_name(headers: Headers) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in headers.items():
        if named.setdefault(name.lower(), value) != value:
            raise WebhookRefused("signature_malformed", f"The header {name.lower()} stands there twice.")
    return named


def _required(named: Headers, name: str) -> str:
    if name not in named:
        raise WebhookRefused("signature_missing", f"The header {name} is missing.")
    return named[name]


def _wrong() -> WebhookRefused:
    return WebhookRefused(
        "signature_wrong",
        "The signature is not of these bytes under this secret: somebody else sent or changed it.",
    )
