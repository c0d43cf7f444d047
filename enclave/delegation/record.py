"""One delegation: what the user approved, how it stands, and what may become of it. Pure: a record in, a record out.

==========  =====================================================================================================
``waiting``  both ceremonies are done and nothing is committed: nobody signs with it
``active``   the delegate signs, until ``expires_at``
``revoked``  for good: no transition leaves it, and its share set's id is never used again
==========  =====================================================================================================
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from policy import PolicyError, parse_layer
from protocol.accounts import UserId
from protocol.actions import CredentialId, Hash, Milliseconds
from protocol.delegation import MAX_RULES, DelegationInfo, DelegationTerms
from protocol.envelope.errors import CosignerError, Culprit
from protocol.hybrid import Envelope
from protocol.wallets import WalletInfo

RevokedBy = Literal["user", "delegate", "administrator"]
NO_RULES: Final = b""


class Delegation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As sealed, under the wallet's id and the share set's.

    :ivar user_id: whose wallet it was when they approved this. If the wallet becomes another's, nothing is signed any more.
    :ivar approved_by: the credential that vouched for the approval, if the user had any: until the commit it must stay active.
    :ivar wallet: the delegate's share set.
    :ivar confirmation: the enclave's, of the ceremony that made that set.
    :ivar own: the user's share set, as the same ceremonies leave it; both are committed together.
    :ivar own_confirmation: the enclave's, of the ceremony that made that one: shares of the same epoch from elsewhere do not commit this.
    :ivar tightened: further rules, which hold beside those of the terms; empty: none.
    :ivar expires_at: that of the terms, or earlier.
    :ivar created_at: when it was committed; while it waits, when it was begun.
    :ivar api_key_hash: SHA-256 of the wallet's API key, once there is one. The key itself is kept nowhere.
    :ivar encrypted_api_key: as the developer got it.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    user_id: UserId
    approved_by: CredentialId | None
    state: Literal["waiting", "active", "revoked"]
    terms: DelegationTerms
    wallet: WalletInfo
    confirmation: Hash
    own: WalletInfo
    own_confirmation: Hash
    tightened: Annotated[bytes, Meta(max_length=MAX_RULES)]
    expires_at: Milliseconds
    created_at: Milliseconds
    revoked_at: Milliseconds | None
    revoked_by: Literal["", "user", "delegate", "administrator"]
    api_key_hash: Hash | None
    encrypted_api_key: Envelope | None

    def __post_init__(self) -> None:
        if (self.state == "revoked") != (self.revoked_at is not None) or (self.state == "revoked") != bool(
            self.revoked_by
        ):
            msg = "a revoked delegation says when and by whom, and no other does"
            raise ValueError(msg)
        if self.state == "active" and self.api_key_hash is None:
            msg = "an active delegation has a key"
            raise ValueError(msg)

    @property
    def wallet_id(self) -> str:
        """The wallet's."""
        return self.wallet.wallet_id

    @property
    def share_set_id(self) -> str:
        """Names the delegation."""
        return self.wallet.share_set_id

    def lives(self, now: int) -> bool:
        """Whether the delegate may sign now."""
        return self.state == "active" and now < self.expires_at


def check_rules(rules: bytes) -> None:
    """That a delegate's rules are a layer ``signer``.

    :raises CosignerError: ``policy_invalid``.
    """
    try:
        layer = parse_layer(rules)
    except PolicyError as error:
        raise CosignerError("policy_invalid", str(error)[:1000], culprit=Culprit.CLIENT) from None
    if layer.name != "signer":
        raise CosignerError(
            "policy_invalid",
            f"What a delegate may sign is a layer of signer, not of {layer.name}.",
            culprit=Culprit.CLIENT,
        )


def begun(
    user_id: str,
    terms: DelegationTerms,
    *,
    approved_by: bytes | None,
    delegate: tuple[WalletInfo, bytes],
    own: tuple[WalletInfo, bytes],
    now: int,
) -> Delegation:
    """A delegation whose shares exist and wait.

    :param delegate: its share set, and the enclave's confirmation of that. :param own: the user's, likewise.
    """
    return Delegation(
        version=1,
        user_id=user_id,
        approved_by=approved_by,
        state="waiting",
        terms=terms,
        wallet=delegate[0],
        confirmation=delegate[1],
        own=own[0],
        own_confirmation=own[1],
        tightened=NO_RULES,
        expires_at=terms.expires_at,
        created_at=now,
        revoked_at=None,
        revoked_by="",
        api_key_hash=None,
        encrypted_api_key=None,
    )


def activate(one: Delegation, *, api_key_hash: bytes, encrypted_api_key: Envelope, now: int) -> Delegation:
    """The delegation counts from now on.

    :raises CosignerError: ``delegation_refused``: it was revoked or has expired; ``delegation_unknown``: it counts already, and the caller
        should have seen that.
    """
    require_not_over(one, now)
    if one.state != "waiting":
        raise unknown()
    return replace(
        one,
        state="active",
        created_at=now,
        api_key_hash=api_key_hash,
        encrypted_api_key=encrypted_api_key,
    )


def revoke(one: Delegation, by: RevokedBy, now: int) -> Delegation:
    """The end. What was revoked before stays as it was."""
    if one.state == "revoked":
        return one
    return replace(one, state="revoked", revoked_at=now, revoked_by=by)


def tighten(one: Delegation, rules: bytes, expires_at: int, *, by_delegate: bool, now: int) -> Delegation:
    """Further rules, and an earlier end. The approved rules stay, and both must allow what is signed: so nothing is ever loosened beyond
    what was approved, whatever these rules say. The user may replace further rules by others; a delegate may only set the first.

    :raises CosignerError: ``policy_invalid``; ``delegation_not_tighter``; ``delegation_refused``: it is over.
    """
    check_rules(rules)
    require_live(one, now)
    if expires_at > one.expires_at:
        raise _not_tighter("It ends when it ends; another end must be an earlier one.")
    if by_delegate and one.tightened not in {NO_RULES, rules}:
        raise _not_tighter("There are further rules already; only the wallet's owner replaces them.")
    return replace(one, tightened=rules, expires_at=expires_at)


def require_live(one: Delegation, now: int) -> None:
    """That the delegate may act now.

    :raises CosignerError: ``delegation_refused``.
    """
    require_not_over(one, now)
    if not one.lives(now):
        raise refused("The delegation was never committed.")


def require_not_over(one: Delegation, now: int) -> None:
    """That the delegation has neither been revoked nor expired.

    :raises CosignerError: ``delegation_refused``.
    """
    if one.state == "revoked":
        raise refused(f"The delegation was revoked by the {one.revoked_by}; it is over.")
    if now >= one.expires_at:
        raise refused("The delegation has expired; the user has to approve another one.")


def info(one: Delegation) -> DelegationInfo:
    """What owner and delegate are told."""
    return DelegationInfo(
        wallet_id=one.wallet_id,
        terms=one.terms,
        tightened=one.tightened,
        expires_at=one.expires_at,
        created_at=one.created_at,
        revoked_at=one.revoked_at,
        revoked_by=one.revoked_by,
    )


def refused(message: str) -> CosignerError:
    """A delegation that is of no use, or a delegate who is not one."""
    return CosignerError("delegation_refused", message, culprit=Culprit.CLIENT)


def unknown() -> CosignerError:
    """No such delegation."""
    return CosignerError("delegation_unknown", "The wallet has no such delegation.", culprit=Culprit.CLIENT)


def _not_tighter(message: str) -> CosignerError:
    return CosignerError("delegation_not_tighter", message, culprit=Culprit.CLIENT)
