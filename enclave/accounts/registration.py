"""Registering credentials: a challenge that is good once, in one session, and what answers it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from enclave.authn import keys, passkeys
from enclave.authn.refusals import evidence_invalid
from protocol.accounts import NewKey, NewPasskey

from . import credentials
from .user import Credential, refusal

if TYPE_CHECKING:
    from enclave.manifest import RelyingParty

CHALLENGE_MS: Final = 300_000


class Challenges(Protocol):
    """Challenges of one session: each is good once, until it expires."""

    def add(self, value: bytes, *, until: int, now: int) -> bool:
        """Remember one. ``False``: there is no room."""

    def take(self, value: bytes, *, now: int) -> bool:
        """Use one up. ``False``: it is not known, was used, or has expired."""


@dataclass(frozen=True, slots=True)
class Asking:
    """The session that a request comes in.

    :ivar transcript: of its channel, 32 bytes.
    """

    transcript: bytes
    challenges: Challenges


def give_challenge(session: Asking, *, now_ms: int) -> bytes:
    """A new challenge, 32 bytes.

    :raises CosignerError: ``challenge_limit``.
    """
    challenge = os.urandom(32)
    if not session.challenges.add(challenge, until=now_ms + CHALLENGE_MS, now=now_ms):
        raise refusal(
            "challenge_limit", "This session has too many challenges that were not used; wait a little."
        )
    return challenge


def verify(
    session: Asking,
    challenge: bytes,
    new: NewPasskey | NewKey,
    *,
    name: str,
    relying_party: RelyingParty | None,
    now_ms: int,
) -> Credential:
    """Use the challenge up, and verify what answers it.

    :raises CosignerError: ``evidence_invalid``; ``credential_refused``: the environment has no passkeys.
    """
    if not session.challenges.take(challenge, now=now_ms):
        raise evidence_invalid("The challenge is not of this session, was used, or has expired.")
    if isinstance(new, NewKey):
        verified = keys.verify_new_key(new, challenge=challenge)
    elif relying_party is None:
        raise refusal("credential_refused", "This environment has no passkeys; register a key.")
    else:
        verified = passkeys.verify_registration(new, challenge=challenge, relying_party=relying_party)
    return credentials.of_registration(verified, name=name, now_ms=now_ms)
