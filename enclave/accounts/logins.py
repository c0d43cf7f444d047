"""Which verified logins are a user's. Any of them logs in; the last one stays."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from protocol.accounts import MAX_LOGINS

from .session_keys import drop
from .user import Evidence, LinkedLogin, UserRecord, refusal, require_strength

_SECOND: Final = 1000  # milliseconds


def require_fresh_token(record: UserRecord, issued_at_ms: int) -> None:
    """Refuse a JWT that was issued before the user ended all sessions, or recovered. JWTs know whole seconds only.

    :raises CosignerError: ``jwt_expired``.
    """
    if issued_at_ms < record.tokens_not_before // _SECOND * _SECOND:
        raise refusal("jwt_expired", "This token is from before the user ended all sessions; log in again.")


def has(record: UserRecord, login_id: str) -> bool:
    """Whether the login is this user's, as far as the record says; see :mod:`.directory` for the other half."""
    return any(login.login_id == login_id for login in record.logins)


def link(record: UserRecord, login: LinkedLogin, evidence: Evidence) -> UserRecord:
    """Another login becomes one of this user's. Linking one again changes nothing.

    :raises CosignerError: ``factor_required``, ``login_limit``, ``login_refused`` (service accounts have none).
    """
    require_strength(record, evidence)
    if record.kind == "service":
        raise refusal("login_refused", "A service account has keys, not logins.")
    if has(record, login.login_id):
        return record
    if len(record.logins) >= MAX_LOGINS:
        raise refusal("login_limit", f"A user has at most {MAX_LOGINS} logins; unlink one first.")
    return replace(record, logins=(*record.logins, login))


def unlink(record: UserRecord, login_id: str, evidence: Evidence) -> UserRecord:
    """Take a login away, and with it the session keys that it registered.

    :raises CosignerError: ``factor_required``, ``login_unknown``, ``last_login``.
    """
    require_strength(record, evidence)
    if not has(record, login_id):
        raise refusal("login_unknown", "The user has no such login.")
    left = tuple(login for login in record.logins if login.login_id != login_id)
    if not left:
        raise refusal("last_login", "The last login cannot be taken away; link another one first.")
    keys = [key.session_key for key in record.session_keys if key.login == login_id]
    return drop(replace(record, logins=left), keys)
