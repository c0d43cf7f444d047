"""One-time codes: for another device, and in place of TOTP. 80 bits; the enclave keeps salted hashes.

Nobody guesses 80 bits, so that a fast hash is enough, and the salt is for codes of several users at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Final

from protocol import crockford

from .refusals import evidence_invalid

SALT_LENGTH: Final = 16
HASH_LENGTH: Final = SALT_LENGTH + 32
_LABEL: Final = b"cosigner/one-time-code/v1"


def make() -> tuple[str, bytes]:
    """A new code: (what the user sees, ``XXXX-XXXX-XXXX-XXXX``; what is kept, salt and hash, 48 bytes)."""
    raw = os.urandom(crockford.CODE_BYTES)
    salt = os.urandom(SALT_LENGTH)
    return crockford.encode(raw), salt + _hash(salt, raw)


def matches(text: str, kept: bytes) -> bool:
    """Whether ``kept`` is of this code, in whatever way a person wrote it. In constant time for codes that are one."""
    try:
        raw = crockford.decode(text)
    except ValueError:
        return False
    salt, expected = kept[:SALT_LENGTH], kept[SALT_LENGTH:]
    return hmac.compare_digest(_hash(salt, raw), expected)


def find(text: str, kept: Sequence[bytes]) -> int:
    """Which of the kept hashes is of this code. The caller takes it away: a code works once.

    :raises CosignerError: ``evidence_invalid``: none.
    """
    places = [place for place, one in enumerate(kept) if matches(text, one)]  # all are compared, always
    if not places:
        raise evidence_invalid("The code is wrong, or was used before.")
    return places[0]


def _hash(salt: bytes, raw: bytes) -> bytes:
    return hashlib.sha256(_LABEL + salt + raw).digest()
