"""The refusals that several verifiers share."""

from __future__ import annotations

from protocol.envelope.errors import CosignerError, Culprit


def evidence_invalid(message: str) -> CosignerError:
    """Evidence that does not prove what it should. The message names the check, never a value that was expected."""
    return CosignerError("evidence_invalid", message, culprit=Culprit.CLIENT)


def jwt_invalid(message: str) -> CosignerError:
    """A JWT that is not one, or not one for us."""
    return CosignerError("jwt_invalid", message, culprit=Culprit.CLIENT)
