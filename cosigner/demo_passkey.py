"""A passkey in memory, for ``cosigner demo``: what a security key and its browser do together, as far as the demo needs it.

It protects nothing: the key lies in this process. An application gives the client a real WebAuthn client in its place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING, Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from protocol.accounts import NewPasskey
from protocol.actions import PasskeyAssertion

if TYPE_CHECKING:
    from protocol.accounts import CredentialChallenge

    from .evidence import Asked

_UP: Final = 0x01  # somebody touched it (WebAuthn level 3, §6.1)
_UV: Final = 0x04  # and was verified, by PIN or body
_AT: Final = 0x40  # a new credential follows


class DemoPasskey:
    """One ES256 passkey. It implements :class:`cosigner.evidence.PasskeyProvider`.

    :param origin: the page that asks.
    :ivar asked: what it was asked to authorize, so that the demo can show it.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._rp_id = ""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._id = os.urandom(32)
        self._count = 0
        self.asked: list[Asked] = []

    async def create(self, options: CredentialChallenge, name: str) -> NewPasskey:  # noqa: ARG002  (it has one)
        """Register it (§6.3.2), without an attestation statement (§8.7)."""
        self._rp_id = options.rp_id
        numbers = self._key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})  # RFC 9053 §7.1, in the order of CTAP2
        attested = bytes(16) + len(self._id).to_bytes(2, "big") + self._id + cose
        data = self._header(_UP | _UV | _AT) + attested
        return NewPasskey(
            client_data_json=self._client_data("webauthn.create", options.challenge),
            attestation_object=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
            discoverable=True,
        )

    async def get(self, challenge: bytes, asked: Asked) -> PasskeyAssertion:
        """Vouch for an action (§6.3.3)."""
        self.asked.append(asked)
        self._count += 1
        client_data = self._client_data("webauthn.get", challenge)
        data = self._header(_UP | _UV)
        signed = data + hashlib.sha256(client_data).digest()
        return PasskeyAssertion(
            credential_id=self._id,
            client_data_json=client_data,
            authenticator_data=data,
            signature=self._key.sign(signed, ec.ECDSA(hashes.SHA256())),
        )

    def _header(self, flags: int) -> bytes:
        return hashlib.sha256(self._rp_id.encode()).digest() + bytes([flags]) + self._count.to_bytes(4, "big")

    def _client_data(self, kind: str, challenge: bytes) -> bytes:
        text = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        return json.dumps(
            {"type": kind, "challenge": text, "origin": self._origin, "crossOrigin": False}
        ).encode()
