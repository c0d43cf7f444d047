"""Approvals: what somebody else authorizes beforehand (``docs/spec/authorization.md`` §6).

Whoever approves computes the intent from the payload or change itself, so that nobody has to believe what a request is said to be about.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from protocol.actions import SignedApproval
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit, ProtocolError
from protocol.intents import approval_of
from protocol.messages import EvmMessagePayload, EvmTransactionPayload, EvmTypedDataPayload, Sign, SignEcdsa

from .session_keys import now_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.actions import Approval, KeySignature, PasskeyAssertion
    from protocol.messages import EvmPayload, Payload, Request

    from .evidence import KeyProvider

DEFAULT_LIFETIME: Final = 86400  # seconds; the enclave accepts 7 days at most
_MAX_FILE: Final = 16384
_ANY: Final = b"\x00"  # in the place of what belongs to one attempt and is not approved


def signing_request(
    wallet_id: str, payload: Payload | EvmPayload, path: Sequence[int] = ()
) -> Sign | SignEcdsa:
    """The request to sign ``payload`` as somebody will make it: what belongs to their attempt is filled with anything."""
    if isinstance(payload, EvmTransactionPayload | EvmMessagePayload | EvmTypedDataPayload):
        return SignEcdsa(wallet_id=wallet_id, epoch=1, payload=payload, path=list(path), message1=_ANY)
    return Sign(wallet_id=wallet_id, epoch=1, payload=payload, path=list(path), commitments=[_ANY])


def draft(
    request: Request, *, environment: str, subject: str, lifetime: float = DEFAULT_LIFETIME
) -> Approval:
    """What is to be signed so that somebody may make ``request``, once, within ``lifetime`` seconds.

    :param subject: what the request is about: :func:`protocol.intents.subject_of` for whoever will ask.
    """
    return approval_of(
        request,
        environment=environment,
        subject=subject,
        nonce=os.urandom(16),
        expires_at=now_ms() + int(lifetime * 1000),
    )


def signed(approval: Approval, approver: str, evidence: PasskeyAssertion | KeySignature) -> SignedApproval:
    """An approval with the signature over its hash.

    :param approver: ``user:ID`` or ``administrator:NAME``.
    """
    return SignedApproval(
        approver=approver, nonce=approval.nonce, expires_at=approval.expires_at, evidence=evidence
    )


def by_administrator(approval: Approval, name: str, key: KeyProvider) -> SignedApproval:
    """Signed by a key that the manifest names."""
    return signed(approval, f"administrator:{name}", key.evidence(approval.hash))


def encode(approval: SignedApproval) -> bytes:
    """As a file that can be handed over."""
    return cbor.encode(approval)


def decode(raw: bytes) -> SignedApproval:
    """Read such a file.

    :raises CosignerError: ``approval_malformed``.
    """
    try:
        return cbor.decode(raw, SignedApproval, limit=_MAX_FILE, culprit=Culprit.CLIENT)
    except ProtocolError:
        raise CosignerError(
            "approval_malformed",
            "This is not an approval as `cosigner approve` writes it.",
            culprit=Culprit.CLIENT,
        ) from None
