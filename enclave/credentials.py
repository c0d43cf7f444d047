"""AWS credentials of the parent's role, handed in by the host. They buy KMS calls, not trust: KMS checks the attestation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.envelope.messages import AwsCredentials


class Credentials:
    """The newest credentials; replaced by the host before they expire."""

    def __init__(self) -> None:
        self._current: AwsCredentials | None = None

    def update(self, credentials: AwsCredentials) -> None:
        """Use these from the next KMS call on."""
        self._current = credentials

    def current(self) -> AwsCredentials:
        """The newest credentials.

        :raises LookupError: the host has handed in none yet.
        """
        if self._current is None:
            msg = "the host has handed in no credentials yet"
            raise LookupError(msg)
        return self._current
