"""Passkeys: WebAuthn registrations and assertions (level 3, §7.1 and §7.2), step by step.

Every message is read twice. :mod:`.webauthn_forms` reads it strictly, and the steps are checked here, with the rules that are ours (no embedding in
other sites, three algorithms, the environment's policy). Then the ``webauthn`` library checks it all once more from the bytes, with the
signatures and attestation statements, which it alone judges (``docs/adr/0017-webauthn-library.md``). Both must accept.

Left to the caller: that the challenge is fresh and used once; that the credential's id is of this user (§7.2 steps 5, 6), or of nobody
(§7.1 step 26); keeping the new sign count (§7.2 step 24). There is no user handle to compare: whose credential it must be is known
beforehand.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    RegistrationCredential,
)

from . import base64url
from . import webauthn_forms as forms
from .credentials import NewCredential
from .refusals import evidence_invalid

if TYPE_CHECKING:
    from enclave.manifest import RelyingParty
    from protocol.accounts import NewPasskey
    from protocol.actions import PasskeyAssertion

    from .credentials import StoredPasskey

_CREATE: Final = "webauthn.create"
_GET: Final = "webauthn.get"
_ALGORITHMS: Final = [COSEAlgorithmIdentifier(identifier) for identifier in forms.ALGORITHMS]


def verify_registration(new: NewPasskey, *, challenge: bytes, relying_party: RelyingParty) -> NewCredential:
    """Verify a registration (§7.1; the steps before the fifth are the client's).

    :param challenge: what this enclave gave out for it, 32 bytes.
    :raises CosignerError: ``evidence_invalid``.
    """
    client = forms.client_data(new.client_data_json)  # steps 5, 6
    _check_client_data(client, _CREATE, challenge, relying_party)  # steps 7 to 11
    attestation = forms.attestation_object(new.attestation_object)  # step 13
    data = attestation.authenticator_data
    _check_authenticator_data(data, relying_party)  # steps 14 to 17; 18 and 19: no policy of ours asks
    if data.attested is None:
        raise evidence_invalid("The registration has no credential.")
    # Step 20, the algorithm, was checked when the key was read.
    _check_attestation_policy(attestation, relying_party)  # steps 21, 23, 24
    _judge_registration(new, data.attested.credential_id, challenge, relying_party)  # steps 12, 22
    # Step 25, the id's length, was checked when it was read; 26 is the caller's; 28: extensions are ignored.
    return NewCredential(  # step 27
        type="passkey",
        credential_id=data.attested.credential_id,
        algorithm=data.attested.public_key.algorithm,
        public_key=data.attested.public_key.encoded,
        sign_count=data.sign_count,
        discoverable=new.discoverable,
        backup_eligible=data.backup_eligible,
        backed_up=data.backed_up,
        attestation_format=attestation.format,
        aaguid=data.attested.aaguid,
    )


def verify_assertion(
    assertion: PasskeyAssertion, *, challenge: bytes, credential: StoredPasskey, relying_party: RelyingParty
) -> int:
    """Verify an assertion (§7.2; the steps before the fifth are the client's).

    :param challenge: what the assertion must be about: an action's hash, 32 bytes.
    :param credential: of the user whose action it is.
    :return: the new sign count, to be kept.
    :raises CosignerError: ``evidence_invalid``.
    """
    if assertion.credential_id != credential.credential_id:  # steps 5, 6
        raise evidence_invalid("The assertion is by another credential.")
    client = forms.client_data(assertion.client_data_json)  # steps 8, 9
    _check_client_data(client, _GET, challenge, relying_party)  # steps 10 to 14
    data = forms.authenticator_data(assertion.authenticator_data)
    _check_authenticator_data(data, relying_party)  # steps 15 to 18
    if data.attested is not None:  # §6.1: not in assertions
        raise evidence_invalid("The assertion brings a credential with it.")
    if data.backup_eligible != credential.backup_eligible:  # step 19
        raise evidence_invalid("The credential's backup eligibility changed.")
    _check_sign_count(data.sign_count, credential.sign_count)  # step 22
    _judge_assertion(assertion, challenge, credential, relying_party)  # steps 20, 21
    return data.sign_count  # step 23: extensions are ignored; 24 is the caller's


def _check_client_data(
    client: forms.ClientData, kind: str, challenge: bytes, relying_party: RelyingParty
) -> None:
    """§7.1 steps 7 to 11, §7.2 steps 10 to 14."""
    if client.type != kind:
        raise evidence_invalid(f"The client data is not of {kind}.")
    if not hmac.compare_digest(client.challenge, challenge):
        raise evidence_invalid("The client data is about another challenge.")
    if client.origin not in relying_party.origins:
        raise evidence_invalid("The client data is of an origin that the environment does not name.")
    # A page inside another site's page would let that site choose what the user thinks to approve (§13.4.2).
    if client.cross_origin or client.top_origin is not None:
        raise evidence_invalid("The passkey was used inside another site's page.")


def _check_authenticator_data(data: forms.AuthenticatorData, relying_party: RelyingParty) -> None:
    """§7.1 steps 14 to 17, §7.2 steps 15 to 18."""
    if data.rp_id_hash != hashlib.sha256(relying_party.rp_id.encode()).digest():
        raise evidence_invalid("The passkey is of another relying party.")
    if not data.user_present:
        raise evidence_invalid("The authenticator did not see the user.")
    if relying_party.user_verification == "required" and not data.user_verified:
        raise evidence_invalid("The authenticator did not verify the user.")
    if data.backed_up and not data.backup_eligible:
        raise evidence_invalid("A credential that cannot be backed up is backed up.")


def _check_attestation_policy(attestation: forms.AttestationObject, relying_party: RelyingParty) -> None:
    """§7.1 steps 21, 23, 24. There are no trust anchors: a certificate's signature must hold, but nobody is believed for it, and the
    credential counts as self-attested (step 24, note).
    """
    form, statement = attestation.format, attestation.statement
    match relying_party.attestation:
        case "none":
            accepted = form == "none"
        case "self":
            accepted = form == "none" or (form == "packed" and statement.keys() == {"alg", "sig"})
        case _:
            # Of the formats that the library knows, those of TPMs, Android, Apple and U2F stay unused: clients send them only to who
            # asks for attestation, and their parsers need not meet hostile input here.
            accepted = form in ("none", "packed")
    if not accepted:
        raise evidence_invalid("The attestation statement is of a kind that the environment does not accept.")


def _check_sign_count(new: int, known: int) -> None:
    """§7.2 step 22: an authenticator that counts never stands still; if it does, it may have been cloned."""
    if (new or known) and new <= known:
        raise evidence_invalid("The passkey's counter did not grow; it may have been copied.")


# --- the library -----------------------------------------------------------------------------------------------------------


def _judge_registration(
    new: NewPasskey, credential_id: bytes, challenge: bytes, relying_party: RelyingParty
) -> None:
    try:
        verified = verify_registration_response(
            credential=RegistrationCredential(
                id=base64url.encode(credential_id),
                raw_id=credential_id,
                response=AuthenticatorAttestationResponse(
                    client_data_json=new.client_data_json, attestation_object=new.attestation_object
                ),
            ),
            expected_challenge=challenge,
            expected_rp_id=relying_party.rp_id,
            expected_origin=list(relying_party.origins),
            require_user_verification=relying_party.user_verification == "required",
            supported_pub_key_algs=_ALGORITHMS,
        )
    except Exception as error:  # noqa: BLE001  (its parsers let KeyError, TypeError and others of pyasn1 and cryptography through)
        raise evidence_invalid(f"The registration does not hold ({type(error).__name__}).") from None
    if verified.credential_id != credential_id:
        raise evidence_invalid("The registration can be read in two ways.")


def _judge_assertion(
    assertion: PasskeyAssertion, challenge: bytes, credential: StoredPasskey, relying_party: RelyingParty
) -> None:
    forms.cose_key(credential.public_key)
    try:
        verify_authentication_response(
            credential=AuthenticationCredential(
                id=base64url.encode(assertion.credential_id),
                raw_id=assertion.credential_id,
                response=AuthenticatorAssertionResponse(
                    client_data_json=assertion.client_data_json,
                    authenticator_data=assertion.authenticator_data,
                    signature=assertion.signature,
                ),
            ),
            expected_challenge=challenge,
            expected_rp_id=relying_party.rp_id,
            expected_origin=list(relying_party.origins),
            credential_public_key=credential.public_key,
            credential_current_sign_count=credential.sign_count,
            require_user_verification=relying_party.user_verification == "required",
        )
    except Exception as error:  # noqa: BLE001  (as above)
        raise evidence_invalid(f"The assertion does not hold ({type(error).__name__}).") from None
