"""The one place where errors become faults for the outside; what is not foreseen becomes ``internal_error`` without details."""

from __future__ import annotations

from typing import Final

from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.envelope.messages import Fault
from threshold import PayloadError, ThresholdError

from . import log
from .kms_errors import KmsError
from .nsm import NsmError

_MAX_MESSAGE: Final = 1024


def translate(error: Exception) -> Fault:
    """A fault for ``error``, with a stable code."""
    match error:
        case CosignerError():
            return Fault.of(error)
        case ThresholdError():
            return Fault(
                code=error.code,
                message=str(error)[:_MAX_MESSAGE],
                culprit=Culprit.ENCLAVE if error.code == "internal" else Culprit.CLIENT,
                reaction=Reaction(error.reaction),
            )
        case PayloadError():
            return Fault(
                code=error.code,
                message=str(error)[:_MAX_MESSAGE],
                culprit=Culprit.CLIENT,
                reaction=Reaction.ABORT,
            )
        case KmsError():
            return Fault(
                code=error.code,
                message=str(error)[:_MAX_MESSAGE],
                culprit=Culprit(error.culprit),
                reaction=Reaction(error.reaction),
            )
        case NsmError():
            return Fault(
                code=error.code,
                message=f"The Nitro Secure Module refused a request: {error}"[:_MAX_MESSAGE],
                culprit=Culprit.ENCLAVE,
                reaction=Reaction.RETRY,
            )
    log.event("internal_error", kind=type(error).__name__)
    return Fault(
        code="internal_error",
        message="The enclave failed in a way it did not foresee; nothing was signed.",
        culprit=Culprit.ENCLAVE,
        reaction=Reaction.RETRY,
    )
