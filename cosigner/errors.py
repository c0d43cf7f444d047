"""The client's errors.

All are :class:`protocol.envelope.errors.CosignerError`: ``code`` (stable), ``message`` (for a person), ``culprit``, ``reaction``.

::

    CosignerError
    ├── ProtocolError        bytes of the wrong form
    ├── AttestationRefused   the enclave did not prove what it runs; nothing was sent to it
    ├── HostError            the host or the network failed, or answered nonsense
    ├── EnclaveRefused       the enclave answered, over the encrypted channel, that it will not do this
    ├── StoreError           the local share store
    └── LocationError        a place where backups lie (:mod:`cosigner.backups.locations`)

Beside them stand the native core's :class:`threshold.PayloadError` (the transaction was refused before anything was signed) and
:class:`threshold.ThresholdError` (a peer's bytes were), with ``code`` and ``message`` of the same form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.envelope.errors import CosignerError, Culprit, ProtocolError, Reaction
from protocol.envelope.messages import SignedEntry
from threshold import PayloadError, ThresholdError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AttestationRefused",
    "CosignerError",
    "EnclaveRefused",
    "HostError",
    "PayloadError",
    "ProtocolError",
    "StoreError",
    "ThresholdError",
]


class AttestationRefused(CosignerError):  # noqa: N818  (reads as what happened)
    """The attestation document does not satisfy the trust policy. The client fails closed: there is no fallback.

    :ivar step: the number and name of the failing step of ``attestation/README.md``.
    """

    def __init__(self, code: str, message: str, *, step: str, reaction: Reaction = Reaction.ABORT) -> None:
        super().__init__(code, message, culprit=Culprit.ENCLAVE, reaction=reaction)
        self.step = step


class HostError(CosignerError):
    """The host, or the way to it."""

    def __init__(
        self, code: str, message: str, *, culprit: Culprit = Culprit.HOST, reaction: Reaction = Reaction.RETRY
    ) -> None:
        super().__init__(code, message, culprit=culprit, reaction=reaction)


class EnclaveRefused(CosignerError):  # noqa: N818
    """A fault that the enclave sealed for this client.

    :ivar needs: with ``factor_required`` the factors, with ``approval_required`` the approvers that are missing.
    :ivar receipt: the log's entry of the denial, where there is one; not checked yet.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        culprit: Culprit,
        reaction: Reaction,
        receipt: SignedEntry | None = None,
        needs: Sequence[str] = (),
    ) -> None:
        super().__init__(code, message, culprit=culprit, reaction=reaction, needs=needs)
        self.receipt = receipt


class StoreError(CosignerError):
    """The local share store."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message, culprit=Culprit.CLIENT, reaction=Reaction.ABORT)
