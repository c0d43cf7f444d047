"""What each request needs, on one screen. A request that is not in the table is refused.

The table says the least that is asked for. A manifest's ``step_up`` and the policy's ``requires`` only ever add to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from protocol import accounts as a
from protocol import delegation as d
from protocol import lifecycle as life
from protocol import messages as m
from protocol.receipts import GetLogHead

if TYPE_CHECKING:
    from protocol.envelope.messages import Message

Who = Literal["anybody", "user"]
Rules = Literal["sign", "create", "refresh", "reshare", "export", "delegate", "policy", "credential"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one type of request needs.

    :ivar who: ``anybody``: legal before a login; the request then brings its own evidence, or needs none.
    :ivar action: whether it changes state: it is then an action with a nonce, is judged, and leaves a receipt.
    :ivar rules: the operation as which the policy judges it; ``None``: no rules are asked.
    :ivar export: whether the policy judges it as an export, too.
    :ivar credential: whether one of the user's active credentials must vouch for it, as soon as the user has one.
    :ivar strong: whether a user without any credential cannot have it at all.
    :ivar device_code: whether a device code may stand in for that credential.
    :ivar administrators: whether the environment's administrators must approve it, in place of rules.
    :ivar delegate: whether a delegate may ask for it, of its own share set, in place of a user. ``credential`` then binds users alone.
    """

    who: Who = "user"
    action: bool = False
    rules: Rules | None = None
    export: bool = False
    credential: bool = False
    strong: bool = False
    device_code: bool = False
    administrators: bool = False
    delegate: bool = False


_OF_TWO: Final = 2  # parties: the device has one share, and the enclave the other
_READ: Final = Requirement()
_ADMINISTRATORS: Final = Requirement(action=True, administrators=True)
_OPEN: Final = Requirement(who="anybody")
_CREDENTIAL: Final = Requirement(action=True, rules="credential", credential=True)

REQUIREMENTS: Final[dict[type[Message], Requirement]] = {
    m.Close: Requirement(who="anybody", delegate=True),
    a.Login: _OPEN,  # a JWT vouches
    a.KeyLogin: _OPEN,  # the account's key vouches
    a.BeginCredential: _OPEN,  # a challenge; of use to nobody without what follows
    a.Recover: _OPEN,  # the recovery key vouches
    d.DelegateLogin: _OPEN,  # the wallet's API key and the share vouch
    m.GetWallet: Requirement(delegate=True),
    a.GetAccount: _READ,
    a.GetPolicy: _READ,
    GetLogHead: _OPEN,  # auditors are nobody's users; it says how many decisions there were
    a.ListSessionKeys: _READ,
    m.Sign: Requirement(action=True, rules="sign", delegate=True),
    m.SignEcdsa: Requirement(action=True, rules="sign", delegate=True),
    m.BeginDkg: Requirement(action=True, rules="create"),
    m.FinishDkg: _READ,  # completes what was authorized when it began, in the same session
    life.ListWallets: _READ,
    life.ImportWallet: Requirement(action=True, rules="create", credential=True),
    life.BeginReshare: Requirement(action=True, rules="reshare", credential=True),  # see REFRESH
    life.FinishReshare: _READ,  # completes what was authorized when it began, in the same session
    life.CommitReshare: Requirement(action=True),  # the new shares vouch
    life.AbortReshare: Requirement(action=True),  # what counts today goes on counting
    life.ExportShare: Requirement(action=True, rules="export", credential=True, strong=True),
    life.DeleteWallet: Requirement(action=True, credential=True),
    life.BeginBackup: Requirement(action=True),
    life.ConfirmBackup: Requirement(action=True),  # the share in the backup vouches
    life.OpenBackup: Requirement(action=True, rules="reshare", credential=True),  # whoever recovers reshares
    life.RemoveBackup: Requirement(action=True, credential=True),
    d.GetDelegationSettings: _READ,
    d.SetDelegationSettings: _ADMINISTRATORS,
    d.PingWebhook: _ADMINISTRATORS,
    d.BeginDelegation: Requirement(action=True, rules="delegate", credential=True),
    d.FinishDelegation: _READ,  # completes what was authorized when it began, in the same session
    d.CommitDelegation: Requirement(action=True),  # the new shares vouch
    d.ListDelegations: Requirement(delegate=True),
    d.RevokeDelegation: Requirement(
        action=True, delegate=True
    ),  # no rule may keep a user from shutting an app out
    d.RevokeDelegationAsAdministrator: _ADMINISTRATORS,
    d.TightenDelegation: Requirement(action=True, credential=True, delegate=True),
    d.DenyDelegation: Requirement(action=True),
    a.HandOver: Requirement(action=True, rules="delegate", credential=True),
    a.RevokeSessionKeys: Requirement(action=True),  # no rule may keep a user from shutting a thief out
    a.CancelRecovery: Requirement(action=True, credential=True),
    a.LinkLogin: _CREDENTIAL,
    a.UnlinkLogin: _CREDENTIAL,
    a.AddCredential: Requirement(action=True, rules="credential", credential=True, device_code=True),
    a.ChangeCredential: _CREDENTIAL,
    a.RemoveCredential: _CREDENTIAL,
    a.MakeDeviceCode: _CREDENTIAL,
    a.BeginTotp: _CREDENTIAL,
    a.ConfirmTotp: Requirement(
        action=True, rules="credential"
    ),  # its own code vouches, of what only that session saw
    a.NewRecoveryCodes: _CREDENTIAL,
    a.RemoveTotp: _CREDENTIAL,
    a.SetRecoveryKey: _CREDENTIAL,
    a.SetPolicy: Requirement(
        action=True, rules="policy", credential=True
    ),  # the environment's: administrators
    a.NewServiceAccount: _ADMINISTRATORS,
}
ENVIRONMENT_POLICY: Final = _ADMINISTRATORS
REFRESH: Final = Requirement(
    action=True, rules="refresh", credential=True
)  # the same parties get new shares; whoever refreshes has the only ones
ACTIONS: Final = frozenset(
    str(kind.__struct_config__.tag) for kind, requirement in REQUIREMENTS.items() if requirement.action
)
"""The kinds of request that a manifest's ``step_up`` can name."""


def requirement_of(request: Message) -> Requirement:
    """What a request needs.

    :raises KeyError: the request is not in the table; that is a mistake in this enclave, and ends in a refusal.
    """
    if isinstance(request, a.SetPolicy) and request.layer == "environment":
        return ENVIRONMENT_POLICY
    requirement = REQUIREMENTS[type(request)]
    if isinstance(request, life.BeginReshare) and request.purpose == "refresh":
        requirement = REFRESH
    if isinstance(request, life.BeginReshare | d.BeginDelegation) and request.parties > _OF_TWO:
        # The device receives as many shares as make the key: that is an export, whatever it is called.
        requirement = replace(requirement, export=True, credential=True, strong=True)
    return requirement
