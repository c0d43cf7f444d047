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
