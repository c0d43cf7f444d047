"""Where the host keeps encrypted backups: slots that the enclave opens in the host's storage (``docs/spec/backups.md``).

To the host a backup is ciphertext in a slot. Who knows the slot's locator may fill, read and empty it; the store holds the locator's hash
only, so that who reads the store cannot do so over HTTP.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

EMPTY: Final = b"\x00"  # the value of a slot without a backup; the enclave opens one with it, at epoch 1
LOCATOR_LENGTH: Final = 32  # bytes; over HTTP in lower-case hexadecimal
MIN_BACKUP: Final = len(EMPTY) + 1  # bytes, so that none looks like an empty slot
_LOCATOR: Final = re.compile(rf"[0-9a-f]{{{2 * LOCATOR_LENGTH}}}\Z")
_ENVIRONMENT: Final = re.compile(
    r"[a-z0-9][a-z0-9-]{0,62}\Z"
)  # protocol.names, which the host must not import


def is_locator(text: str) -> bool:
    """Whether ``text`` is a locator as HTTP has it: 64 lower-case hexadecimal digits."""
    return _LOCATOR.match(text) is not None


def is_environment(text: str) -> bool:
    """Whether ``text`` has the form of an environment's name."""
    return _ENVIRONMENT.match(text) is not None


def slot_key(environment: str, locator: str) -> str:
    """The storage key of a slot: below the environment, the SHA-256 of the locator's 32 bytes.

    :raises ValueError: one of the two has another form.
    """
    if not (is_environment(environment) and is_locator(locator)):
        msg = "neither the name of an environment nor a locator looks like that"
        raise ValueError(msg)
    return f"environments/{environment}/backups/{hashlib.sha256(bytes.fromhex(locator)).hexdigest()}"
