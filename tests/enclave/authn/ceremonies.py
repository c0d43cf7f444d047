"""Registrations and assertions by virtual authenticators, for a relying party of the tests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import cbor2
import msgspec

from enclave.authn import passkeys
from enclave.authn.credentials import NewCredential
from enclave.manifest import RelyingParty
from protocol.accounts import NewPasskey
from protocol.actions import PasskeyAssertion
from simulator.authenticator import HONEST, Authenticator, Deviation, sign

RP_ID = "example.com"
ORIGIN = "https://app.example.com"
CHALLENGE = bytes(range(32))
USER = b"user handle 1234"


def relying_party(**changes: Any) -> RelyingParty:
    fields = {
        "rp_id": RP_ID,
        "origins": ["https://example.com", ORIGIN],
        "user_verification": "required",
        "attestation": "any",
    }
    return RelyingParty(**{**fields, **changes})


def device(algorithm: str = "ES256", **changes: Any) -> Authenticator:
    return Authenticator(ORIGIN, [algorithm], **changes)


def registration(authenticator: Authenticator, but: Deviation = HONEST) -> NewPasskey:
    return authenticator.create(CHALLENGE, rp_id=RP_ID, user_handle=USER, but=but)


def register(authenticator: Authenticator, **changes: Any) -> NewCredential:
    return verify_registration(registration(authenticator), **changes)


def verify_registration(new: NewPasskey, *, challenge: bytes = CHALLENGE, **changes: Any) -> NewCredential:
    return passkeys.verify_registration(new, challenge=challenge, relying_party=relying_party(**changes))


def assertion(authenticator: Authenticator, but: Deviation = HONEST) -> PasskeyAssertion:
    return authenticator.get(CHALLENGE, rp_id=RP_ID, but=but)


def verify_assertion(
    made: PasskeyAssertion, credential: NewCredential, *, challenge: bytes = CHALLENGE, **changes: Any
) -> int:
    return passkeys.verify_assertion(
        made, challenge=challenge, credential=credential, relying_party=relying_party(**changes)
    )


def known(credential: NewCredential, **changes: Any) -> NewCredential:
    return replace(credential, **changes)


def edited(new: NewPasskey, **members: Any) -> NewPasskey:
    """With other members of the attestation object."""
    parsed = {**cbor2.loads(new.attestation_object), **members}
    return with_object(new, cbor2.dumps(parsed))


def with_object(new: NewPasskey, attestation_object: bytes) -> NewPasskey:
    return msgspec.structs.replace(new, attestation_object=attestation_object)


def data_of(new: NewPasskey) -> bytes:
    return cbor2.loads(new.attestation_object)["authData"]


def key_of(new: NewPasskey) -> tuple[bytes, bytes]:
    """Authenticator data before the public key, and the key."""
    data = data_of(new)
    length = int.from_bytes(data[53:55], "big")
    return data[: 55 + length], data[55 + length :]


def resigned(authenticator: Authenticator, made: PasskeyAssertion, **members: bytes) -> PasskeyAssertion:
    """With other bytes, under a signature that holds."""
    made = msgspec.structs.replace(made, **members)
    signed = made.authenticator_data + hashlib.sha256(made.client_data_json).digest()
    key = authenticator.credentials[made.credential_id].key
    return msgspec.structs.replace(made, signature=sign(key, signed))
