"""What settings of delegated access may say, and what may follow what: above all of the developer's keys.

A key is ``pending``, then ``active``, then ``revoked``; it may leave out steps and never goes back. What was revoked or taken away is
remembered by its hash, and is never active again: a share encrypted to it would be encrypted to whoever has stolen it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from enclave.authn import keys
from protocol.envelope.errors import CosignerError, Culprit
from protocol.hybrid import EncryptionKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocol.delegation import DelegationSettings, DeveloperKey

MAX_SPENT: Final = 512
_RANK: Final = {"pending": 0, "active": 1, "revoked": 2}


def fingerprint(public_key: bytes) -> bytes:
    """How a key is named: SHA-256 of its SubjectPublicKeyInfo, 32 bytes."""
    return hashlib.sha256(public_key).digest()


def check(settings: DelegationSettings) -> None:
    """What the form of settings alone does not say.

    :raises CosignerError: ``delegation_settings_refused``.
    """
    if not settings.app.isprintable() or settings.app != settings.app.strip():
        raise refused(
            "The app's name is what users are asked about: printable characters, and blanks only between them."
        )
    kids = {key.kid for key in settings.keys}
    different = {key.public_key for key in settings.keys}
    if not len(kids) == len(different) == len(settings.keys):
        raise refused("Two of the developer's keys have one name, or are one key.")
    for key in settings.keys:
        encryption_key(key)
    if sum(key.state == "active" for key in settings.keys) > 1:
        raise refused("Only one of the developer's keys is active at a time.")
    if settings.endpoint:
        _check_endpoint(settings.endpoint)
    if settings.requires_delegation and not settings.enabled:
        raise refused("Delegated access cannot be required and not enabled.")
    if settings.enabled and (settings.active_key() is None or not settings.endpoint):
        raise refused(
            "To be enabled, delegated access needs the developer's endpoint and one active key: without them no share reaches the app."
        )


def encryption_key(key: DeveloperKey) -> EncryptionKey:
    """A key, to encrypt with.

    :raises CosignerError: ``delegation_settings_refused``: it is not one that is encrypted to.
    """
    try:
        found = keys.load("rsa", key.public_key)
        if not isinstance(found, RSAPublicKey):
            raise TypeError
        return EncryptionKey(found, key.kid)
    except CosignerError as error:
        raise refused(f"The developer's key {key.kid}: {error.message}") from None


def check_change(before: DelegationSettings, after: DelegationSettings, spent: Iterable[bytes]) -> None:
    """Whether settings may follow others. Both have been checked by themselves.

    :param spent: fingerprints of keys that were revoked or taken away before.
    :raises CosignerError: ``delegation_settings_refused``.
    """
    known = {key.kid: key for key in before.keys}
    gone = set(spent)
    for key in after.keys:
        old = known.get(key.kid)
        if old is not None and old.public_key != key.public_key:
            raise refused(f"The name {key.kid} is another key's; give the new key a name of its own.")
        if old is not None and _RANK[key.state] < _RANK[old.state]:
            raise refused(f"The key {key.kid} was {old.state}; it cannot become {key.state} again.")
        if key.state != "revoked" and fingerprint(key.public_key) in gone:
            raise refused(f"The key {key.kid} was revoked or taken away before; make a new one.")


def spent_after(
    before: DelegationSettings, after: DelegationSettings, spent: Iterable[bytes]
) -> tuple[bytes, ...]:
    """The fingerprints that are never to be active again, once ``after`` is in force.

    :raises CosignerError: ``delegation_settings_refused``: they are too many to be remembered.
    """
    kept = {key.public_key for key in after.keys if key.state != "revoked"}
    gone = {
        fingerprint(key.public_key)
        for key in (*before.keys, *after.keys)
        if key.public_key not in kept or key.state == "revoked"
    }
    found = tuple(sorted({*spent, *gone}))
    if len(found) > MAX_SPENT:
        raise refused(
            "Too many of the developer's keys were revoked; delegated access needs another environment."
        )
    return found


def _check_endpoint(endpoint: str) -> None:
    """The host judges where it connects to; here is said only what an address of a receiver is.

    :raises CosignerError: ``delegation_settings_refused``.
    """
    try:
        url = urlsplit(endpoint)
        host, _ = url.hostname, url.port
    except ValueError:
        host, url = None, urlsplit("")
    if not host or url.username is not None or url.password is not None or "#" in endpoint:
        raise refused(
            "The developer's endpoint is a URL with a host, without a user's name and without a fragment."
        )


def refused(message: str) -> CosignerError:
    """Settings that are not put in force; nothing was changed."""
    return CosignerError("delegation_settings_refused", message, culprit=Culprit.CLIENT)
