"""What binds the layers together: attestation to channel keys, ceremonies to the channel and the wallet."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from .envelope import cbor
from .envelope.errors import Culprit

MAX_USER_DATA: Final = 512  # bytes; what the NSM accepts for certain (nsm-api issue 52)
KeyPolicy = Literal["unjudged", "pinned", "editable"]
_DKG_CONTEXT: Final = b"cosigner/dkg-context/v1"


class AttestedKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``user_data`` in the enclave's attestation documents.

    :ivar channel_key: SHA-256 of the channel public key.
    :ivar key_policy: what the enclave found the policies of its KMS keys to be: ``unjudged`` while it serves no environment;
        ``pinned`` if they release data keys to this very measurement alone and nobody may change that; else ``editable``. It
        speaks of all environments of the manifest together, and of those not yet judged as of the worst that the manifest allows.
    :ivar receipt_key: the Ed25519 public key that signs this enclave's log of decisions, made at its boot.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    channel_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    key_policy: KeyPolicy
    receipt_key: Annotated[bytes, Meta(min_length=32, max_length=32)]

    def encode(self) -> bytes:
        return cbor.encode(self)

    @classmethod
    def decode(cls, user_data: bytes) -> AttestedKeys:
        """Parse ``user_data``.

        :raises ProtocolError: ``message_malformed``, ``message_too_large``.
        """
        return cbor.decode(user_data, cls, limit=MAX_USER_DATA, culprit=Culprit.ENCLAVE)


def dkg_context(
    *, transcript: bytes, environment: str, wallet_id: str, suite: str, chain: str, network: str
) -> bytes:
    """The 32-byte context of a key generation: this channel, this wallet, nothing else.

    Every part is preceded by its length, so that no two different contexts have the same bytes.
    """
    digest = hashlib.sha256(_DKG_CONTEXT)
    for part in (transcript, *(text.encode() for text in (environment, wallet_id, suite, chain, network))):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def _context(label: bytes, *parts: bytes | str | int) -> bytes:
    """SHA-256 over a label and parts, each preceded by its length; numbers have 4 bytes."""
    digest = hashlib.sha256(label)
    for part in parts:
        raw = (
            part.to_bytes(4, "big")
            if isinstance(part, int)
            else part.encode()
            if isinstance(part, str)
            else part
        )
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.digest()


def reshare_context(
    *,
    transcript: bytes,
    environment: str,
    wallet_id: str,
    share_set_id: str,
    purpose: str,
    epoch: int,
) -> bytes:
    """The 32-byte context of a handover of shares: this channel, this wallet, this share set to be.

    :param purpose: that of :class:`protocol.lifecycle.BeginReshare`, or ``delegate``.
    :param epoch: of the new shares. Dealers, threshold and parties are bound by the ceremony itself.
    """
    return _context(
        b"cosigner/reshare-context/v1", transcript, environment, wallet_id, share_set_id, purpose, epoch
    )


def import_context(
    *, transcript: bytes, environment: str, wallet_id: str, suite: str, chain: str, network: str
) -> bytes:
    """The 32-byte context of an import."""
    return _context(b"cosigner/import-context/v1", transcript, environment, wallet_id, suite, chain, network)


def commit_context(
    *, environment: str, wallet_id: str, share_set_id: str, epoch: int, confirmation: bytes
) -> bytes:
    """What a proof of possession of new shares is made over, so that it commits these and no others.

    :param confirmation: the enclave's, of the ceremony that made them.
    """
    return _context(b"cosigner/commit-context/v1", environment, wallet_id, share_set_id, epoch, confirmation)


def backup_context(*, environment: str, wallet_id: str, backup_id: str, epoch: int, party: int) -> bytes:
    """What the proof that a backup is readable is made over, and what its passcode is bound to."""
    return _context(b"cosigner/backup-context/v1", environment, wallet_id, backup_id, epoch, party)


def delegate_context(*, transcript: bytes, environment: str, wallet_id: str, share_set_id: str) -> bytes:
    """What a delegate proves possession of its share over when it opens a session."""
    return _context(b"cosigner/delegate-context/v1", transcript, environment, wallet_id, share_set_id)
