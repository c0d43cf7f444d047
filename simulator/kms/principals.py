"""Who a principal's ARN stands for (IAM User Guide, «AWS JSON policy elements: Principal»)."""

from __future__ import annotations

import re
from typing import Final

_ROOT: Final = re.compile(r"arn:aws:iam::(\d{12}):root")
_SESSION: Final = re.compile(r"arn:aws:sts::(\d{12}):assumed-role/([\w+=,.@-]+)/[\w+=,.@-]+")
_ROLE: Final = re.compile(r"arn:aws:iam::(\d{12}):role/(?:.*/)?([\w+=,.@-]+)")
_ACCOUNT: Final = re.compile(r"arn:aws:(?:iam|sts)::(\d{12}):")


def account_of(principal: str) -> str:
    """The account of a principal's ARN. ValueError when it names none."""
    match = _ACCOUNT.match(principal)
    if match is None:
        raise ValueError("not the ARN of an IAM or STS principal")
    return match[1]


def stands_for(named: str, caller: str) -> bool:
    """Does the ARN or account `named` include the `caller` (ARN of a user or of a role's session)?

    A user or session stands for itself, a role for all of its sessions, an account (its id, or its root) for all of
    its principals. There are no wildcards: `*` is the concern of policies.
    """
    if named == caller:
        return True
    root = _ROOT.fullmatch(named)
    if root is not None or re.fullmatch(r"\d{12}", named):
        return (root[1] if root else named) == account_of(caller)
    role, session = _ROLE.fullmatch(named), _SESSION.fullmatch(caller)
    return role is not None and session is not None and role.groups() == session.groups()


def role_of(caller: str) -> str:
    """What `aws:PrincipalArn` says: the role of a session (without a path, which the session's ARN lacks), else itself."""
    session = _SESSION.fullmatch(caller)
    return f"arn:aws:iam::{session[1]}:role/{session[2]}" if session else caller
