"""The environment's settings of delegated access, and why they are believed (``docs/spec/delegation.md`` §2).

They come from the attested enclave over the channel, so that no host can put a key of its own in their place. Settings of the manifest are
measured. Of others the administrators' approvals come along, and a client that knows the administrators' keys checks them again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from protocol.actions import KeySignature
from protocol.delegation import SetDelegationSettings
from protocol.envelope.errors import CosignerError, Culprit
from protocol.intents import approval_of, subject_of

from ..audit_log.evidence import EvidenceError, check_signature  # noqa: TID252

if TYPE_CHECKING:
    from protocol.actions import SignedApproval
    from protocol.delegation import DelegationSettings, DelegationSettingsReply

    from ..config import Administrators  # noqa: TID252


def check(reply: DelegationSettingsReply, environment: str, administrators: Administrators | None) -> None:
    """Check the administrators' approvals, if this client knows whose they must be.

    :raises CosignerError: ``settings_unapproved``.
    """
    if administrators is None or reply.version == 0:
        return
    keys = {key.name: key for key in administrators.keys}
    approved: set[str] = set()
    for given in reply.approvals:
        _, _, name = given.approver.partition("administrator:")
        key = keys.get(name)
        if key is None or not isinstance(given.evidence, KeySignature):
            continue
        public_key = _der(key.public_key)
        try:
            check_signature(
                key.algorithm,
                public_key,
                _digest(reply.settings, given, environment),
                given.evidence.signature,
            )
        except EvidenceError:
            continue
        approved.add(hashlib.sha256(public_key).hexdigest())
    if len(approved) < administrators.quorum:
        raise CosignerError(
            "settings_unapproved",
            f"Only {len(approved)} of the {administrators.quorum} administrators that this client asks for have signed these settings; "
            "nothing is encrypted to their key.",
            culprit=Culprit.ENCLAVE,
        )


def _digest(settings: DelegationSettings, given: SignedApproval, environment: str) -> bytes:
    request = SetDelegationSettings(settings, version=0, new_secret=False)
    approval = approval_of(
        request,
        environment=environment,
        subject=subject_of(request, ""),
        nonce=given.nonce,
        expires_at=given.expires_at,
    )
    return approval.hash


def _der(pem: str) -> bytes:
    try:
        return load_pem_public_key(pem.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        raise CosignerError(
            "config_invalid",
            "An administrator's key in the configuration is not a PEM key.",
            culprit=Culprit.CLIENT,
        ) from None
