"""Requests and replies inside the encrypted channel (``docs/spec/wire.md`` §5). One record carries one message."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from .envelope.messages import Done, Epoch, Fault, Message

MAX_ENTRIES: Final = 256  # signatures made by one request (inputs of one PSBT)
MAX_PAYLOAD: Final = 512 << 10

WalletId = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
]  # a lower-case UUID of version 4 (RFC 9562)
SuiteName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
ChainName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
NetworkName = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{0,32}\Z")
]  # empty where the chain's addresses have none
PartyId = Annotated[int, Meta(ge=1, le=255)]
CeremonyBytes = Annotated[bytes, Meta(min_length=1, max_length=16384)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=33)]
Commitment = Annotated[bytes, Meta(min_length=1, max_length=128)]
SignatureShare = Annotated[bytes, Meta(min_length=1, max_length=64)]

CLIENT_PARTY: Final = 1  # the user's device in a user/enclave share set
ENCLAVE_PARTY: Final = 2


class WalletInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public facts of a wallet, the same on both sides.

    :ivar share_set_id: the set of shares over the wallet's key; the first set carries the wallet's id.
    """

    wallet_id: WalletId
    share_set_id: WalletId
    suite: SuiteName
    chain: ChainName
    network: NetworkName
    epoch: Epoch
    threshold: PartyId
    parties: PartyId
    public_key: PublicKey


class BeginDkg(Message, frozen=True, tag="dkg_begin"):
    """First message of distributed key generation. The client picks a fresh wallet id."""

    wallet_id: WalletId
    suite: SuiteName
    chain: ChainName
    network: NetworkName
    threshold: PartyId
    parties: PartyId
    message1: CeremonyBytes


class DkgBegun(Message, frozen=True, tag="dkg_begun"):
    """The enclave's first and second message."""

    message1: CeremonyBytes
    message2: CeremonyBytes


class FinishDkg(Message, frozen=True, tag="dkg_finish"):
    """The client's second message, and its confirmation of the public transcript."""

    wallet_id: WalletId
    message2: CeremonyBytes
    confirmation: Hash


class GetWallet(Message, frozen=True, tag="wallet_get"):
    wallet_id: WalletId


class WalletReply(Message, frozen=True, tag="wallet"):
    """A wallet as the enclave has it stored.

    :ivar confirmation: the enclave's confirmation of the transcript of the ceremony that made this epoch's shares.
    """

    wallet: WalletInfo
    confirmation: Hash


class SolanaPayload(Message, frozen=True, tag="solana_message"):
    """A serialized Solana message (legacy or version 0), without signatures."""

    message: Annotated[bytes, Meta(min_length=1, max_length=1232)]

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.message


class PsbtPayload(Message, frozen=True, tag="psbt"):
    """A PSBT of version 0 (BIP-174, BIP-371)."""

    psbt: Annotated[bytes, Meta(min_length=1, max_length=MAX_PAYLOAD)]

    @property
    def content(self) -> bytes:
        """The payload's bytes."""
        return self.psbt


Payload = SolanaPayload | PsbtPayload


class Sign(Message, frozen=True, tag="sign"):
    """Ask for the enclave's signature shares.

    :ivar epoch: the newest epoch the client knows; the enclave refuses any other.
    :ivar commitments: the client's FROST nonce commitments, one for each signature, in the payload's order.
    """

    wallet_id: WalletId
    epoch: Epoch
    payload: Payload
    commitments: Annotated[list[Commitment], Meta(min_length=1, max_length=MAX_ENTRIES)]


class Signed(Message, frozen=True, tag="signed"):
    """The enclave's commitments and signature shares, and what it understood of the payload.

    :ivar digests: exactly the bytes each signature covers, as the enclave computed them.
    :ivar summary: for people and for policy; JSON-like.
    """

    commitments: Annotated[list[Commitment], Meta(min_length=1, max_length=MAX_ENTRIES)]
    shares: Annotated[list[SignatureShare], Meta(min_length=1, max_length=MAX_ENTRIES)]
    digests: Annotated[list[bytes], Meta(min_length=1, max_length=MAX_ENTRIES)]
    summary: dict[str, object]


class Close(Message, frozen=True, tag="close"):
    """Forget this session."""


Request = BeginDkg | FinishDkg | GetWallet | Sign | Close
Reply = DkgBegun | WalletReply | Signed | Done | Fault


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request as it stands in a record."""

    request: Request


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reply as it stands in a record."""

    reply: Reply
