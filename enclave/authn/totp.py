"""Time-based one-time passwords (RFC 6238): HMAC-SHA-1, steps of 30 seconds from 1970, six digits."""

from __future__ import annotations

import hmac
import os
from typing import Final

from .refusals import evidence_invalid

SECRET_LENGTH: Final = 20  # RFC 4226 §4, R6
STEP_MS: Final = 30_000
_DRIFT: Final = 1  # steps to either side (RFC 6238 §5.2)
_DIGITS: Final = 6


def new_secret() -> bytes:
    """20 random bytes."""
    return os.urandom(SECRET_LENGTH)


def verify(secret: bytes, code: str, *, at_ms: int, last_step: int) -> int:
    """The step that the code is of. The caller keeps it as the next ``last_step``: no code of it or before it works again.

    :param at_ms: now, milliseconds since 1970.
    :param last_step: of the last code that was accepted; -1 before the first.
    :raises CosignerError: ``evidence_invalid``: a wrong code, or one that was used.
    """
    now = at_ms // STEP_MS
    found = -1
    # All candidates, always: the time that it takes tells nothing. Of two steps with the same code the later one counts.
    given = code.encode(errors="replace")
    for step in range(max(now - _DRIFT, 0), now + _DRIFT + 1):
        right = hmac.compare_digest(code_of(secret, step).encode(), given)
        if right and step > last_step:
            found = step
    if found < 0:
        raise evidence_invalid("The code is wrong, or was used before.")
    return found


def code_of(secret: bytes, step: int) -> str:
    """HOTP with the step for its counter (RFC 4226 §5.3): six digits."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}d}"
