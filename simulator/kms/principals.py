"""Who a principal's ARN stands for (IAM User Guide, «AWS JSON policy elements: Principal»)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_ACCOUNT_ID: Final = re.compile(r"[0-9]{12}")
_USER: Final = re.compile(r"arn:aws:iam::([0-9]{12}):user/(?:[A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]+")
_ROOT: Final = re.compile(r"arn:aws:iam::([0-9]{12}):root")
_SESSION: Final = re.compile(
    r"arn:aws:sts::([0-9]{12}):assumed-role/([A-Za-z0-9_+=,.@-]+)/[A-Za-z0-9_+=,.@-]+"
)
_ROLE: Final = re.compile(r"arn:aws:iam::([0-9]{12}):role/(?:[A-Za-z0-9_+=,.@-]+/)*([A-Za-z0-9_+=,.@-]+)")
_ACCOUNT: Final = re.compile(r"arn:aws:(?:iam|sts)::([0-9]{12}):")


def is_principal(text: str) -> bool:
    """The forms that can be named: an account's id or root, a user, a role, a role's session. Without wildcards."""
    return any(form.fullmatch(text) for form in (_ACCOUNT_ID, _ROOT, _USER, _ROLE, _SESSION))


def is_caller(text: str) -> bool:
    """The forms that can sign a request: roles do it through sessions."""
    return any(form.fullmatch(text) for form in (_ROOT, _USER, _SESSION))


def names_whole_chain(named: Iterable[str], caller: str, account: str) -> bool:
    """Are the caller, its role if it is a session, and its account each among those named?"""
    names = {_without_path(name) for name in named}
    return {caller, role_of(caller)} <= names and bool(names & {account, f"arn:aws:iam::{account}:root"})


def account_of(principal: str) -> str:
    """The account of a principal's ARN. ValueError when it names none."""
    match = _ACCOUNT.match(principal)
    if match is None:
        raise ValueError("not the ARN of an IAM or STS principal")
    return match[1]


def stands_for(named: str, caller: str, account: str) -> bool:
    """Does the ARN or account `named` include the `caller` (ARN of a user or of a role's session) of this account?

    A user or session stands for itself, a role for all of its sessions, an account (its id, or its root) for all of
    its principals. There are no wildcards: `*` is the concern of policies.
    """
    if named == caller:
        return True
    root = _ROOT.fullmatch(named)
    if root is not None or _ACCOUNT_ID.fullmatch(named):
        return (root[1] if root else named) == account
    role, session = _ROLE.fullmatch(named), _SESSION.fullmatch(caller)
    return role is not None and session is not None and role.groups() == session.groups()


def _without_path(name: str) -> str:
    role = _ROLE.fullmatch(name)
    return f"arn:aws:iam::{role[1]}:role/{role[2]}" if role else name


def role_of(caller: str) -> str:
    """What `aws:PrincipalArn` says: the role of a session (without a path, which the session's ARN lacks), else itself."""
    session = _SESSION.fullmatch(caller)
    return f"arn:aws:iam::{session[1]}:role/{session[2]}" if session else caller
