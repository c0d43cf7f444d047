"""Requests about delegated access: an app signs for its user, within limits, until revoked (``docs/spec/delegation.md``)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .accounts import Label, UserId
from .actions import Hash, Milliseconds, SignedApproval
from .envelope.messages import Epoch, Message
from .hybrid import Envelope
from .lifecycle import Confirmations, Messages, Proofs
from .wallets import CeremonyBytes, PartyId, ShareProof, WalletId, WalletInfo

MAX_DELEGATIONS = 16  # of one wallet, at a time
MAX_RULES = 16 << 10

ShareSetId = WalletId
KeyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
RsaKey = Annotated[
    bytes, Meta(min_length=256, max_length=1024)
]  # DER SubjectPublicKeyInfo, 2048 to 4096 bits
Endpoint = Annotated[str, Meta(max_length=512, pattern=r"^(https?://[\x21-\x7e]+)?\Z")]
ApiKey = Annotated[str, Meta(pattern=r"^dyn_[A-Za-z0-9_-]{43}\Z")]  # 32 random bytes, base64url
Rules = Annotated[
    bytes, Meta(min_length=2, max_length=MAX_RULES)
]  # a policy's layer "signer", canonical JSON


# --- the environment's settings ---------------------------------------------------------------------------------------------


class DeveloperKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What delegates' shares are encrypted to.

    :ivar state: only the ``active`` one, of which there is at most one, is encrypted to.
    """

    kid: KeyId
    public_key: RsaKey
    state: Literal["pending", "active", "revoked"]


class DelegationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment's, in the manifest or set by its administrators.

    :ivar app: the developer's app, as users are asked about it.
    :ivar endpoint: where webhooks go, HTTPS (``http`` in mock mode alone); empty: nowhere.
    """

    enabled: bool
    prompt_users_on_sign_in: bool
    requires_delegation: bool
    app: Label
    endpoint: Endpoint
    keys: Annotated[list[DeveloperKey], Meta(max_length=16)]

    def active_key(self) -> DeveloperKey | None:
        return next((key for key in self.keys if key.state == "active"), None)


class GetDelegationSettings(Message, frozen=True, tag="delegation_settings_get"):
    pass


class DelegationSettingsReply(Message, frozen=True, tag="delegation_settings"):
    """:ivar version: how often administrators replaced them; 0: those of the manifest.

    :ivar approvals: of the administrators who set them, over the intent of :class:`SetDelegationSettings` with these settings.
    :ivar denied: whether this user has said no.
    """

    settings: DelegationSettings
    version: Annotated[int, Meta(ge=0, lt=1 << 32)]
    approvals: Annotated[list[SignedApproval], Meta(max_length=16)]
    denied: bool


class SetDelegationSettings(Message, frozen=True, tag="delegation_settings_set"):
    """Only by a quorum of administrators.

    :ivar version: the newest one known.
    :ivar new_secret: whether the webhook secret shall be made anew. It is made anyway when there is none.
    """

    settings: DelegationSettings
    version: Annotated[int, Meta(ge=0, lt=1 << 32)]
    new_secret: bool


class DelegationConfigured(Message, frozen=True, tag="delegation_configured"):
    """:ivar webhook_secret: handed over this once; empty: as before."""

    version: Annotated[int, Meta(ge=0, lt=1 << 32)]
    webhook_id: WalletId
    webhook_secret: Annotated[str, Meta(pattern=r"^(whsec_[A-Za-z0-9+/=_-]{16,128})?\Z")]


class PingWebhook(Message, frozen=True, tag="delegation_ping"):
    """Only by a quorum of administrators: send ``ping`` to the endpoint."""


# --- a wallet's delegations -------------------------------------------------------------------------------------------------


class DelegationTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user approves.

    :ivar share_set_id: of the delegate's share set; names the delegation.
    :ivar app: must be the settings'.
    :ivar rules: what the delegate may sign; the policy's layer ``signer``.
    :ivar expires_at: after which it signs nothing more.
    :ivar kid: the developer's key that the share and the wallet's API key are encrypted to.
    :ivar key_hash: SHA-256 of that key, as the client has seen it.
    """

    share_set_id: ShareSetId
    app: Label
    rules: Rules
    expires_at: Milliseconds
    kid: KeyId
    key_hash: Hash


class BeginDelegation(Message, frozen=True, tag="delegation_begin"):
    """Two resharings of one key at once: a new set for the user, and a set of its own for the delegate (2-of-2 with the enclave).

    :ivar dealer: as in :class:`protocol.lifecycle.BeginReshare`; ``parties`` of the user's new set.
    :ivar message1: of the user's new set. :ivar delegate_message1: of the delegate's.
    """

    wallet_id: WalletId
    epoch: Epoch
    terms: DelegationTerms
    dealer: PartyId
    threshold: PartyId
    parties: PartyId
    message1: CeremonyBytes
    delegate_message1: CeremonyBytes


class DelegationBegun(Message, frozen=True, tag="delegation_begun"):
    message1: CeremonyBytes
    messages2: Messages
    delegate_message1: CeremonyBytes
    delegate_message2: CeremonyBytes


class FinishDelegation(Message, frozen=True, tag="delegation_finish"):
    wallet_id: WalletId
    share_set_id: ShareSetId
    message2: CeremonyBytes
    confirmations: Confirmations
    delegate_message2: CeremonyBytes
    delegate_confirmation: Hash


class DelegationStored(Message, frozen=True, tag="delegation_stored"):
    """:ivar wallet: the user's, as it will be. :ivar delegate: the delegate's set, as it will be."""

    wallet: WalletInfo
    confirmation: Hash
    delegate: WalletInfo
    delegate_confirmation: Hash


class CommitDelegation(Message, frozen=True, tag="delegation_commit"):
    """The client holds its new shares and has encrypted the delegate's: from the reply on both sets count, and the developer is told.

    :ivar epoch: the new one of the user's set. :ivar proofs: as in :class:`protocol.lifecycle.CommitReshare`.
    :ivar delegate_proof: of possession of the delegate's share.
    :ivar encrypted_share: to the developer: JSON with the delegate's share.
    """

    wallet_id: WalletId
    share_set_id: ShareSetId
    epoch: Epoch
    proofs: Proofs
    delegate_proof: ShareProof
    encrypted_share: Envelope


class DelegationInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:ivar tightened: rules that hold beside the approved ones; empty: none.

    :ivar revoked_by: ``user``, ``delegate`` or ``administrator``; empty: it is not revoked.
    """

    wallet_id: WalletId
    terms: DelegationTerms
    tightened: Annotated[bytes, Meta(max_length=MAX_RULES)]
    expires_at: Milliseconds
    created_at: Milliseconds
    revoked_at: Milliseconds | None
    revoked_by: Literal["", "user", "delegate", "administrator"]


class ListDelegations(Message, frozen=True, tag="delegation_list"):
    wallet_id: WalletId


class Delegations(Message, frozen=True, tag="delegations"):
    delegations: Annotated[list[DelegationInfo], Meta(max_length=4 * MAX_DELEGATIONS)]


class RevokeDelegation(Message, frozen=True, tag="delegation_revoke"):
    """By the wallet's owner, or by the delegate itself, in its own session."""

    wallet_id: WalletId
    share_set_id: ShareSetId


class RevokeDelegationAsAdministrator(Message, frozen=True, tag="delegation_revoke_admin"):
    """Only by a quorum of administrators."""

    wallet_id: WalletId
    share_set_id: ShareSetId


class TightenDelegation(Message, frozen=True, tag="delegation_tighten"):
    """Further limits, by owner or delegate: they hold beside the approved ones, so that nothing is ever loosened by them.

    :ivar rules: in the place of earlier further limits, if the owner asks; a delegate may only set what is not set yet.
    :ivar expires_at: not later than now stands.
    """

    wallet_id: WalletId
    share_set_id: ShareSetId
    rules: Rules
    expires_at: Milliseconds


class DenyDelegation(Message, frozen=True, tag="delegation_deny"):
    """The user does not want it. Remembered until they approve one; ``denied`` false takes it back."""

    denied: bool


class DelegateLogin(Message, frozen=True, tag="delegate_login"):
    """A delegate's server opens its session: it knows the wallet's API key, and holds the share.

    :ivar proof: of possession of the delegate's share, over :func:`protocol.binding.delegate_context` of this session.
    """

    wallet_id: WalletId
    share_set_id: ShareSetId
    api_key: ApiKey
    proof: ShareProof


class DelegateLoggedIn(Message, frozen=True, tag="delegate_logged_in"):
    user_id: UserId
    wallet: WalletInfo
    expires_at: Milliseconds
