"""Virtual authenticators as an application's WebAuthn client."""

from __future__ import annotations

from cosigner.evidence import Asked
from protocol.accounts import CredentialChallenge, NewPasskey
from protocol.actions import PasskeyAssertion
from simulator.authenticator import Authenticator


class VirtualPasskeys:
    """One device. It implements :class:`cosigner.evidence.PasskeyProvider`.

    :ivar asked: what its user was asked to authorize.
    """

    def __init__(self, origin: str, rp_id: str) -> None:
        self.device = Authenticator(origin)
        self._rp_id = rp_id
        self.asked: list[Asked] = []

    async def create(self, options: CredentialChallenge, name: str) -> NewPasskey:
        assert name
        assert options.rp_id == self._rp_id
        return self.device.create(
            options.challenge,
            rp_id=options.rp_id,
            user_handle=options.user_handle,
            exclude=options.exclude,
        )

    async def get(self, challenge: bytes, asked: Asked) -> PasskeyAssertion:
        self.asked.append(asked)
        assert challenge == asked.action.hash
        allow = [one for one in asked.allow if one in self.device.credentials]
        return self.device.get(challenge, rp_id=self._rp_id, allow=allow)
