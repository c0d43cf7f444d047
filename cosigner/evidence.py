"""What an application gives the client so that it can vouch for actions: passkeys, keys, codes, approvals (``docs/spec/authorization.md`` §4).

Nothing here decides anything. The enclave says what it needs, and the person or the key is asked for exactly that.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypedDict

from protocol import crockford
from protocol.actions import RecoveryCode, TotpCode
from protocol.envelope.errors import CosignerError, Culprit

if TYPE_CHECKING:
    from protocol.accounts import CredentialChallenge, NewKey, NewPasskey
    from protocol.actions import Action, Approval, KeySignature, PasskeyAssertion, SignedApproval
    from protocol.messages import Request

_TOTP_DIGITS = 6


@dataclass(frozen=True)
class Asked:
    """What somebody is asked to authorize; an application shows it to its user.

    :ivar action: the canonical action, or the approval of somebody else's; its hash is what is signed.
    :ivar request: what the action does, in full.
    :ivar allow: ids of the user's active credentials of the kind that is asked for; empty: any discoverable one.
    """

    action: Action | Approval
    request: Request
    allow: Sequence[bytes]


class PasskeyProvider(Protocol):
    """A WebAuthn client: a browser, a platform's API, a security key's library."""

    async def create(self, options: CredentialChallenge, name: str) -> NewPasskey:
        """``navigator.credentials.create`` with this challenge, relying party and user handle.

        :param name: what the user calls the new credential.
        """

    async def get(self, challenge: bytes, asked: Asked) -> PasskeyAssertion:
        """``navigator.credentials.get`` with ``challenge``, which is the action's hash, 32 bytes."""


class KeyProvider(Protocol):
    """A raw key: :class:`cosigner.keys.SigningKey`, or one in hardware."""

    def evidence(self, digest: bytes) -> KeySignature:
        """A signature over 32 bytes."""

    def registration(self, challenge: bytes) -> NewKey:
        """What registers the key."""


SecondFactor = Callable[[], str | Awaitable[str]]
"""Asks the user for a code: six digits from their authenticator app, or a recovery code."""


class Given(TypedDict, total=False):
    """Evidence for one call.

    :ivar mfa_token: a TOTP code or a recovery code.
    :ivar approvals: what others have approved beforehand.
    """

    mfa_token: str
    approvals: Sequence[SignedApproval]


@dataclass(frozen=True)
class Evidence:
    """Who can vouch for this client's actions. What is missing here cannot be asked for.

    :ivar beforehand: operations (kinds of request) for which a passkey or key is asked at once, without waiting for the enclave to
        ask: it saves a round trip where it is known to be needed.
    """

    passkeys: PasskeyProvider | None = None
    signing_key: KeyProvider | None = None
    second_factor: SecondFactor | None = None
    beforehand: frozenset[str] = field(default_factory=frozenset)

    @property
    def has_first(self) -> bool:
        """Whether a credential of the user's can be asked."""
        return self.passkeys is not None or self.signing_key is not None

    async def code(self) -> TotpCode | RecoveryCode:
        """Ask the user for a code.

        :raises CosignerError: ``code_malformed``, ``factor_required``.
        """
        if self.second_factor is None:
            raise CosignerError(
                "factor_required", "This client has nobody to ask for a code.", culprit=Culprit.CLIENT
            )
        text = self.second_factor()
        return parse_code(await text if inspect.isawaitable(text) else text)


def parse_code(text: str) -> TotpCode | RecoveryCode:
    """A code as a person typed it.

    :raises CosignerError: ``code_malformed``.
    """
    digits = "".join(text.split())
    if len(digits) == _TOTP_DIGITS and digits.isascii() and digits.isdecimal():
        return TotpCode(digits)
    try:
        return RecoveryCode(crockford.normalize(text))
    except ValueError:
        raise CosignerError(
            "code_malformed",
            "This is neither a code of six digits nor a recovery code of four groups of four.",
            culprit=Culprit.CLIENT,
        ) from None
