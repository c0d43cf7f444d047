"""Users, credentials and codes for tests of their rules."""

from __future__ import annotations

import hashlib
import itertools
import os

import pytest

from enclave.accounts import credentials, factors, logins, session_keys
from enclave.accounts.user import Credential, Evidence, LinkedLogin, UserRecord, new_user
from enclave.authn import codes, totp
from protocol.envelope.errors import CosignerError, Culprit

NOW = 1_800_000_000_000  # milliseconds
MINUTE, DAY = 60_000, 86_400_000
USER_ID = "a0000000-0000-4000-8000-000000000000"
OTHER_ID = "b0000000-0000-4000-8000-000000000000"
LONGEST = 7 * DAY
SECRET = bytes(range(20))
HERE = bytes(range(32))  # the transcript of a session
_numbers = itertools.count(1)


def key(number: int) -> bytes:
    """A session key, as far as a record can tell."""
    return b"\x02" + hashlib.sha256(b"%d" % number).digest()


def login(number: int = 0) -> LinkedLogin:
    return LinkedLogin(
        login_id=hashlib.sha256(b"login %d" % number).hexdigest(),
        issuer="https://issuer.example",
        linked_at=NOW,
    )


def credential(
    number: int, *, type_: str = "passkey", active: bool = True, sign_count: int = 0, **changed
) -> Credential:
    fields = {
        "credential_id": hashlib.sha256(b"credential %d" % number).digest(),
        "type": type_,
        "name": f"device {number}",
        "algorithm": "p256",
        "public_key": bytes(77),
        "sign_count": sign_count,
        "active": active,
        "created_at": NOW,
        "discoverable": True,
        "backup_eligible": False,
        "backed_up": False,
        "attestation_format": "none",
        "aaguid": bytes(16),
    }
    return Credential(**(fields | changed))


def by(one: Credential, *, second: bool = False) -> Evidence:
    """That a credential vouched, and perhaps a code did."""
    return Evidence(credential=one.credential_id, second_factor=second)


SECOND = Evidence(second_factor=True)


def add(record: UserRecord, one: Credential, evidence: Evidence, *, link: bytes | None = None) -> UserRecord:
    """Another credential; a first one begins a lineage of its own."""
    return credentials.add(record, one, evidence, link=link or os.urandom(32))


def user(*held: Credential, kind: str = "user", keys: int = 0, linked: int = 1) -> UserRecord:
    """A user with these credentials, some session keys and some logins."""
    record = new_user(USER_ID, kind=kind, name="" if kind == "user" else "robot", now_ms=NOW)
    for number in range(linked if kind == "user" else 0):
        vouching = by(held[0]) if record.credentials else Evidence()
        record = logins.link(record, login(number), vouching)
    for number, one in enumerate(held):
        record = add(record, one, by(held[0]) if number else Evidence())
    for number in range(keys):
        record = register(record, number)
    return record


def register(
    record: UserRecord, number: int, *, now_ms: int = NOW, by_login: str | None = None, **kwargs
) -> UserRecord:
    arguments = {"lifetime_ms": DAY, "longest_ms": LONGEST} | kwargs
    return session_keys.register(
        record, key(number), login=by_login or login().login_id, now_ms=now_ms, **arguments
    )


def ten() -> tuple[list[str], list[bytes]]:
    made = [codes.make() for _ in range(10)]
    return [text for text, _ in made], [kept for _, kept in made]


def code_at(now_ms: int, *, secret: bytes = SECRET, drift: int = 0) -> str:
    return totp.code_of(secret, now_ms // totp.STEP_MS + drift)


def wrong_code(now_ms: int, *, secret: bytes = SECRET) -> str:
    right = {code_at(now_ms, secret=secret, drift=drift) for drift in (-1, 0, 1)}
    return next(code for code in map("{:06d}".format, itertools.count()) if code not in right)


def with_totp(
    record: UserRecord, vouching: Evidence | None = None, *, now_ms: int = NOW
) -> tuple[UserRecord, list[str]]:
    """TOTP in force since a minute ago, and the recovery codes."""
    texts, kept = ten()
    then = now_ms - MINUTE
    record = factors.begin_totp(record, SECRET, vouching or Evidence(), session=HERE, now_ms=then)
    return factors.confirm_totp(record, code_at(then), kept, session=HERE, now_ms=then), texts


def refused(code: str):
    """A client's request that is refused by this code."""
    return _Refused(code)


class _Refused:
    def __init__(self, code):
        self._code, self._raises = code, pytest.raises(CosignerError)

    def __enter__(self):
        self._caught = self._raises.__enter__()
        return self._caught

    def __exit__(self, *error):
        swallowed = self._raises.__exit__(*error)
        assert self._caught.value.code == self._code
        assert self._caught.value.culprit is Culprit.CLIENT
        return swallowed
