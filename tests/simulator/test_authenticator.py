"""The virtual authenticator, judged by two stock libraries that the enclave's own verifier has no part in: py_webauthn and python-fido2."""

from __future__ import annotations

import os

import pytest
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    AuthenticatorData,
    CollectedClientData,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    UserVerificationRequirement,
)
from fido2.webauthn import AuthenticationResponse as Fido2Assertion
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.structs import AuthenticationCredential, RegistrationCredential
from webauthn.helpers.structs import AuthenticatorAssertionResponse as DuoAssertion
from webauthn.helpers.structs import AuthenticatorAttestationResponse as DuoAttestation

from enclave.authn.base64url import encode as base64url
from simulator.authenticator import Authenticator, AuthenticatorError, Deviation

RP_ID = "example.com"
ORIGIN = "https://app.example.com"
USER = b"user handle 1234"
KINDS = [
    (algorithm, attestation)
    for algorithm in ("ES256", "EdDSA", "RS256")
    for attestation in ("none", "self", "certified")
]


def device(algorithm="ES256", **changes) -> Authenticator:
    return Authenticator(ORIGIN, [algorithm], **changes)


def create(authenticator, challenge=None, **options):
    return authenticator.create(challenge or os.urandom(32), rp_id=RP_ID, user_handle=USER, **options)


def credential_of(authenticator) -> bytes:
    return next(reversed(authenticator.credentials))


@pytest.mark.parametrize("algorithm, attestation", KINDS)
def test_py_webauthn_accepts_its_ceremonies(algorithm, attestation):
    authenticator = device(algorithm, attestation=attestation, aaguid=b"sixteen bytes id", backup=True)
    challenge = os.urandom(32)
    new = create(authenticator, challenge)
    credential_id = credential_of(authenticator)
    verified = verify_registration_response(
        credential=RegistrationCredential(
            id=base64url(credential_id),
            raw_id=credential_id,
            response=DuoAttestation(
                client_data_json=new.client_data_json, attestation_object=new.attestation_object
            ),
        ),
        expected_challenge=challenge,
        expected_rp_id=RP_ID,
        expected_origin=ORIGIN,
        require_user_verification=True,
    )
    assert verified.credential_id == credential_id
    assert verified.credential_backed_up
    for count in (1, 2, 3):
        challenge = os.urandom(32)
        made = authenticator.get(challenge, rp_id=RP_ID)
        found = verify_authentication_response(
            credential=AuthenticationCredential(
                id=base64url(credential_id),
                raw_id=credential_id,
                response=DuoAssertion(
                    client_data_json=made.client_data_json,
                    authenticator_data=made.authenticator_data,
                    signature=made.signature,
                ),
            ),
            expected_challenge=challenge,
            expected_rp_id=RP_ID,
            expected_origin=ORIGIN,
            credential_public_key=verified.credential_public_key,
            credential_current_sign_count=count - 1,
            require_user_verification=True,
        )
        assert found.new_sign_count == count


@pytest.mark.parametrize("algorithm, attestation", KINDS)
def test_python_fido2_accepts_its_ceremonies(algorithm, attestation):
    server = Fido2Server(
        PublicKeyCredentialRpEntity(name="Tests", id=RP_ID), verify_origin=lambda origin: origin == ORIGIN
    )
    authenticator = device(algorithm, attestation=attestation, aaguid=b"sixteen bytes id")
    user = PublicKeyCredentialUserEntity(name="alice", id=USER, display_name="Alice")
    required = UserVerificationRequirement.REQUIRED
    options, state = server.register_begin(user, user_verification=required)
    new = create(authenticator, options.public_key.challenge)
    registered = server.register_complete(
        state,
        RegistrationResponse(
            raw_id=credential_of(authenticator),
            response=AuthenticatorAttestationResponse(
                client_data=CollectedClientData(new.client_data_json),
                attestation_object=AttestationObject(new.attestation_object),
            ),
        ),
    )
    assert isinstance(registered.credential_data, AttestedCredentialData)
    credentials = [registered.credential_data]
    options, state = server.authenticate_begin(credentials, user_verification=required)
    made = authenticator.get(options.public_key.challenge, rp_id=RP_ID)
    server.authenticate_complete(
        state,
        credentials,
        Fido2Assertion(
            raw_id=made.credential_id,
            response=AuthenticatorAssertionResponse(
                client_data=CollectedClientData(made.client_data_json),
                authenticator_data=AuthenticatorData(made.authenticator_data),
                signature=made.signature,
            ),
        ),
    )


def test_a_device_chooses_the_first_common_algorithm():
    authenticator = Authenticator(ORIGIN, ["RS256", "EdDSA"])
    create(authenticator, algorithms=["ES256", "EdDSA"])
    assert authenticator.credentials[credential_of(authenticator)].algorithm == "EdDSA"
    with pytest.raises(AuthenticatorError, match="no common algorithm"):
        create(authenticator, algorithms=["ES256"])


def test_a_device_makes_no_second_credential_of_an_excluded_user():
    authenticator, other = device(), device()
    create(authenticator)
    exclude = [credential_of(authenticator)]
    with pytest.raises(AuthenticatorError, match="already"):
        create(authenticator, exclude=exclude)
    create(other, exclude=exclude)


def test_only_a_discoverable_credential_is_found_without_being_named():
    authenticator = device()
    create(authenticator, discoverable=False)
    hidden = credential_of(authenticator)
    with pytest.raises(AuthenticatorError, match="no such credential"):
        authenticator.get(bytes(32), rp_id=RP_ID)
    assert authenticator.get(bytes(32), rp_id=RP_ID, allow=[hidden]).credential_id == hidden
    create(authenticator)
    found = authenticator.get(bytes(32), rp_id=RP_ID).credential_id
    assert found == credential_of(authenticator)
    assert authenticator.user_handle(found) == USER


def test_a_device_does_not_mix_relying_parties_or_devices_up():
    authenticator, other = device(), device()
    create(authenticator)
    create(other)
    with pytest.raises(AuthenticatorError):
        authenticator.get(bytes(32), rp_id="evil.example")
    with pytest.raises(AuthenticatorError):
        authenticator.get(bytes(32), rp_id=RP_ID, allow=[credential_of(other)])


def test_counters_and_flags_are_as_the_device_is():
    def header(authenticator):
        create(authenticator)
        data = [authenticator.get(bytes(32), rp_id=RP_ID).authenticator_data for _ in range(2)]
        return data[1][32], int.from_bytes(data[1][33:], "big")

    assert header(device()) == (0x05, 2)
    assert header(device(counts=False)) == (0x05, 0)
    assert header(device(verifies_user=False)) == (0x01, 2)
    assert header(device(backup=True)) == (0x1D, 2)


def test_deviations_are_what_they_say():
    authenticator = device()
    create(authenticator)
    made = authenticator.get(bytes(32), rp_id=RP_ID, but=Deviation(flags=0x04, sign_count=77, after=b"x"))
    assert made.authenticator_data[32:] == b"\x01" + (77).to_bytes(4, "big") + b"x"
    assert (
        authenticator.get(bytes(32), rp_id=RP_ID, but=Deviation(client_data=b"{}")).client_data_json == b"{}"
    )
