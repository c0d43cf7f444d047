"""What a request asks for, for the log of decisions: everything that somebody needs to know later, nothing that is secret or can be guessed.

For signatures the payload itself says it (:mod:`threshold.tasks`). Bytes are named by their SHA-256.
"""

from __future__ import annotations

import hashlib
from typing import Final

from .accounts import (
    AddCredential,
    ChangeCredential,
    HandOver,
    KeyLogin,
    Login,
    NewKey,
    NewPasskey,
    NewServiceAccount,
    Recover,
    RemoveCredential,
    RevokeSessionKeys,
    SetPolicy,
    SetRecoveryKey,
    UnlinkLogin,
)
from .delegation import (
    BeginDelegation,
    CommitDelegation,
    DelegateLogin,
    DelegationSettings,
    DelegationTerms,
    DenyDelegation,
    DeveloperKey,
    FinishDelegation,
    RevokeDelegation,
    RevokeDelegationAsAdministrator,
    SetDelegationSettings,
    TightenDelegation,
)
from .envelope.messages import Message
from .lifecycle import (
    AbortReshare,
    BeginBackup,
    BeginReshare,
    CommitReshare,
    ConfirmBackup,
    ImportWallet,
    OpenBackup,
    RemoveBackup,
)
from .messages import BeginDkg
from .wallets import PasscodeSetup

_TOLD: Final[dict[type[Message], tuple[str, ...]]] = {
    BeginDkg: ("wallet_id", "suite", "chain", "network", "threshold", "parties"),
    BeginReshare: ("purpose", "epoch", "dealer", "threshold", "parties"),
    CommitReshare: ("epoch",),
    AbortReshare: ("epoch",),
    ImportWallet: ("wallet_id", "suite", "chain", "network", "threshold", "parties", "legacy_wallet_id"),
    BeginBackup: ("epoch", "party", "passcode"),
    ConfirmBackup: ("backup_id", "locations"),
    OpenBackup: ("backup_id",),
    RemoveBackup: ("backup_id",),
    Login: ("session_key", "lifetime"),
    KeyLogin: ("session_key", "lifetime"),
    RevokeSessionKeys: ("session_keys",),
    UnlinkLogin: ("login",),
    AddCredential: ("name", "credential"),
    ChangeCredential: ("credential_id", "name", "active"),
    RemoveCredential: ("credential_id",),
    SetRecoveryKey: ("algorithm", "public_key"),
    Recover: ("name", "credential", "session_key"),
    HandOver: ("user_id",),
    SetDelegationSettings: ("settings", "version", "new_secret"),
    BeginDelegation: ("epoch", "terms", "parties"),
    FinishDelegation: ("share_set_id",),
    CommitDelegation: ("share_set_id", "epoch"),
    RevokeDelegation: ("share_set_id",),
    RevokeDelegationAsAdministrator: ("share_set_id",),
    TightenDelegation: ("share_set_id", "rules", "expires_at"),
    DenyDelegation: ("denied",),
    DelegateLogin: ("share_set_id",),
    NewServiceAccount: ("name", "credential"),
    SetPolicy: ("expected", "content"),
}
"""What is told of a request. What does not stand here is not told: above all no token and no code."""
_AS_THEY_ARE: Final = frozenset(
    {"credential_id", "expected", "key_hash"}
)  # bytes that are public names themselves


def summary_of(request: Message) -> dict[str, object]:
    """JSON values; empty where the request's kind and subject say all there is, or all that may be said."""
    return {name: _told(name, getattr(request, name)) for name in _TOLD.get(type(request), ())}


def _told(name: str, value: object) -> object:
    match value:
        case bytes():
            return value.hex() if name in _AS_THEY_ARE else hashlib.sha256(value).hexdigest()
        case None | PasscodeSetup() if name == "passcode":
            return value is not None  # whether there is one; nothing that helps to guess it
        case list():
            return [_told(name, one) for one in value]
        case DelegationTerms() | DelegationSettings() | DeveloperKey():
            return {member: _told(member, getattr(value, member)) for member in value.__struct_fields__}
        case NewKey():
            return {
                "type": "key",
                "algorithm": value.algorithm,
                "public_key": _told("public_key", value.public_key),
            }
        case NewPasskey():
            return {
                "type": "passkey",
                "registration": _told("attestation_object", value.attestation_object),
            }
        case _:
            return value
