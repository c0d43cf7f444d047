"""Why a webhook is not acted upon."""

from __future__ import annotations

from protocol.envelope.errors import CosignerError, Culprit, Reaction


class WebhookRefused(CosignerError):  # noqa: N818  (reads as what happened)
    """A webhook that does not prove where it comes from, or does not say what one must. Answer 401 or 400 and do nothing.

    Codes: ``signature_missing``, ``signature_malformed``, ``signature_wrong``, ``signature_stale``; ``webhook_too_large``,
    ``webhook_malformed``, ``delegation_mismatch``, ``delegation_unopened``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message, culprit=Culprit.NETWORK, reaction=Reaction.ABORT)

    @property
    def status(self) -> int:
        """The HTTP status to answer."""
        if self.code == "webhook_too_large":
            return 413
        return 401 if self.code.startswith("signature_") else 400
