"""From a request to what is authorized and approved. Both sides run this code on the request itself (``docs/spec/authorization.md`` §3, §6)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from .accounts import AddCredential, NewServiceAccount, SetPolicy
from .actions import Action, Approval
from .delegation import BeginDelegation, PingWebhook, SetDelegationSettings
from .envelope import cbor
from .lifecycle import BeginBackup, BeginReshare, ExportShare, ImportWallet, OpenBackup
from .messages import BeginDkg, Sign, SignEcdsa

if TYPE_CHECKING:
    from .envelope.messages import Message

_INTENT_LABEL: Final = b"cosigner/intent/v1"
_OF_THE_ATTEMPT: Final[dict[type[Message], frozenset[str]]] = {
    Sign: frozenset({"epoch", "commitments", "party"}),
    SignEcdsa: frozenset({"epoch", "message1", "party"}),
    BeginDkg: frozenset({"wallet_id", "message1"}),
    BeginReshare: frozenset({"epoch", "message1"}),
    ImportWallet: frozenset({"wallet_id", "message1", "message2", "confirmations"}),
    ExportShare: frozenset({"epoch", "wrapping_key"}),
    BeginBackup: frozenset({"epoch", "passcode", "passcode_proof"}),
    OpenBackup: frozenset({"passcode_proof"}),
    BeginDelegation: frozenset({"epoch", "message1", "delegate_message1"}),
    SetDelegationSettings: frozenset({"version", "new_secret"}),
    AddCredential: frozenset({"challenge"}),
    NewServiceAccount: frozenset({"challenge", "credential"}),
}
"""Fields that differ when the same thing is asked for again. Whoever approves beforehand cannot know them."""


def body_of(request: Message) -> bytes:
    """SHA-256 of the request's canonical encoding: the action's ``body``."""
    return hashlib.sha256(cbor.encode(request)).digest()


def subject_of(request: Message, user_id: str) -> str:
    """What a request is about: a wallet, a policy layer (``LAYER`` or ``LAYER:SUBJECT``), or else the user who asks.

    :param user_id: the user whose session it is.
    """
    match request:
        case BeginDkg() | ImportWallet() | NewServiceAccount() | SetDelegationSettings() | PingWebhook():
            return ""
        case SetPolicy(layer=layer, subject=subject):
            return f"{layer}:{subject}" if subject else layer
        case _:
            return getattr(request, "wallet_id", user_id)


def intent_of(request: Message) -> bytes:
    """What is approved of a request: everything but what belongs to one attempt. 32 bytes.

    A service account is approved by name, algorithm and public key.
    """
    members = msgspec.to_builtins(request, builtin_types=(bytes,))
    for name in _OF_THE_ATTEMPT.get(type(request), ()):
        members.pop(name, None)
    if isinstance(request, NewServiceAccount):
        members |= {"algorithm": request.credential.algorithm, "public_key": request.credential.public_key}
    return hashlib.sha256(_INTENT_LABEL + cbor.encode(members)).digest()


def action_of(
    request: Message, *, environment: str, session: bytes, user_id: str, nonce: bytes, expires_at: int
) -> Action:
    """The action of one request in one session.

    :param session: the channel's transcript, 32 bytes.
    :param nonce: 16 fresh bytes.
    :param expires_at: milliseconds since 1970.
    """
    return Action(
        version=1,
        environment=environment,
        session=session,
        operation=request.kind,
        subject=subject_of(request, user_id),
        body=body_of(request),
        nonce=nonce,
        expires_at=expires_at,
    )


def approval_of(
    request: Message, *, environment: str, subject: str, nonce: bytes, expires_at: int
) -> Approval:
    """What somebody approves of a request.

    :param subject: :func:`subject_of` the request, for the user who is going to ask.
    """
    return Approval(
        version=1,
        environment=environment,
        operation=request.kind,
        subject=subject,
        intent=intent_of(request),
        nonce=nonce,
        expires_at=expires_at,
    )
