"""The error vocabulary that crosses process boundaries.

Every error answers three questions: what happened (``code``), who caused it (``culprit``) and what the caller should do now
(``reaction``). Codes are stable; messages are for people and never carry secrets.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Culprit(StrEnum):
    """Who caused an error, as far as the reporter can prove it."""

    CLIENT = "client"
    ENCLAVE = "enclave"
    HOST = "host"
    STORAGE = "storage"
    KMS = "kms"
    NETWORK = "network"


class Reaction(StrEnum):
    """What the receiver of an error should do."""

    RETRY = "retry"  # the same request may succeed later; a new session may be needed
    ABORT = "abort"  # give this request up; nothing was changed
    BURN = "burn"  # the session (or the process) is dead; never use it again


class CosignerError(Exception):
    """An error with a stable code.

    :param code: stable snake_case identifier, at most 64 characters.
    :param message: one sentence for a person; says what to do next where that is known.
    :param needs: for programs: with ``factor_required`` the factors, with ``approval_required`` the approvers that are missing.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        culprit: Culprit,
        reaction: Reaction = Reaction.ABORT,
        needs: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.culprit = culprit
        self.reaction = reaction
        self.needs = tuple(needs)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class ProtocolError(CosignerError):
    """Bytes that do not have the form that the specification gives them."""
