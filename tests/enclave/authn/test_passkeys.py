"""Passkeys, step by step (WebAuthn level 3, §7.1 and §7.2). What is wrong is signed properly, so that no other check than the named one refuses it."""

from __future__ import annotations

import json
import os

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from enclave.authn import passkeys
from enclave.authn import webauthn_forms as forms
from protocol.envelope.errors import CosignerError, Culprit
from simulator.authenticator import Deviation, cose_key
from tests.enclave.authn.ceremonies import (
    CHALLENGE,
    ORIGIN,
    assertion,
    data_of,
    device,
    edited,
    key_of,
    known,
    register,
    registration,
    relying_party,
    resigned,
    verify_assertion,
    verify_registration,
    with_object,
)

UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
ALGORITHMS = ["ES256", "EdDSA", "RS256"]


def refused(what, *args, **kwargs):
    with pytest.raises(CosignerError) as caught:
        what(*args, **kwargs)
    assert caught.value.code == "evidence_invalid"
    assert caught.value.culprit is Culprit.CLIENT
    return caught.value.message


def refused_registration(but, reason, **changes):
    assert reason in refused(verify_registration, registration(device(**changes), but))


def refused_assertion(but, reason, **changes):
    authenticator = device(**changes)
    credential = register(authenticator)
    assert reason in refused(verify_assertion, assertion(authenticator, but), credential)
    assert verify_assertion(assertion(authenticator), credential) == 2  # otherwise it would do


# --- what is accepted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("attestation", ["none", "self", "certified"])
def test_a_registration_and_assertions_of_every_kind(algorithm, attestation):
    authenticator = device(algorithm, attestation=attestation, aaguid=b"sixteen bytes id")
    credential = register(authenticator)
    made = authenticator.credentials[credential.credential_id]
    assert credential.type == "passkey"
    assert credential.algorithm == {"ES256": "p256", "EdDSA": "ed25519", "RS256": "rsa"}[algorithm]
    assert credential.public_key == cose_key(made.algorithm, made.key)
    assert credential.attestation_format == ("none" if attestation == "none" else "packed")
    assert credential.aaguid == b"sixteen bytes id"
    assert (credential.sign_count, credential.discoverable) == (0, True)
    assert (credential.backup_eligible, credential.backed_up) == (False, False)
    for count in (1, 2):
        assert verify_assertion(assertion(authenticator), known(credential, sign_count=count - 1)) == count


def test_a_synchronized_passkey_without_a_counter():
    authenticator = device(backup=True, counts=False)
    credential = register(authenticator)
    assert (credential.backup_eligible, credential.backed_up) == (True, True)
    for _ in range(2):
        assert verify_assertion(assertion(authenticator), credential) == 0


def test_discoverable_is_what_the_client_says():
    new = device().create(CHALLENGE, rp_id="example.com", user_handle=b"u" * 16, discoverable=False)
    assert verify_registration(new).discoverable is False


# --- client data: §7.1 steps 5 to 11, §7.2 steps 8 to 14 ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["webauthn.get", "webauthn.create", "payment.get", "Webauthn.get", "", "webauthn.get "]
)
def test_step_type(kind):
    if kind != "webauthn.create":
        refused_registration(Deviation(members={"type": kind}), "not of webauthn.create")
    if kind != "webauthn.get":
        refused_assertion(Deviation(members={"type": kind}), "not of webauthn.get")


def test_step_challenge():
    authenticator = device()
    new = registration(authenticator)
    assert "another challenge" in refused(verify_registration, new, challenge=bytes(32))
    credential = verify_registration(new)
    made = assertion(authenticator)
    assert "another challenge" in refused(verify_assertion, made, credential, challenge=bytes(32))
    assert verify_assertion(made, credential) == 1


@pytest.mark.parametrize("challenge", ["", "AAEC", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="])
def test_a_challenge_in_another_encoding_or_cut_short(challenge):
    refused_assertion(Deviation(members={"challenge": challenge}), "")
    refused_registration(Deviation(members={"challenge": challenge}), "")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://APP.example.com",
        "https://sub.app.example.com",
        "https://app.example.com.evil.example",
        "null",
        "",
        "android:apk-key-hash:abc",
    ],
)
def test_step_origin_is_exact(origin):
    refused_registration(Deviation(members={"origin": origin}), "origin")
    refused_assertion(Deviation(members={"origin": origin}), "origin")


def test_step_origin_is_one_of_a_list():
    for origin in ("https://example.com", ORIGIN):
        but = Deviation(members={"origin": origin})
        credential = verify_registration(registration(device(), but))
        assert credential.type == "passkey"
    refused(verify_registration, registration(device()), origins=["https://example.com"])


def test_step_cross_origin():
    refused_registration(Deviation(members={"crossOrigin": True}), "another site's page")
    refused_assertion(Deviation(members={"crossOrigin": True}), "another site's page")
    for value in (1, 0, "false", None, []):
        refused_assertion(Deviation(members={"crossOrigin": value}), "crossOrigin")


def test_step_top_origin():
    for origin in (ORIGIN, "https://evil.example", ""):
        refused_registration(Deviation(members={"topOrigin": origin}), "another site's page")
        refused_assertion(Deviation(members={"topOrigin": origin}), "another site's page")
    refused_assertion(Deviation(members={"topOrigin": None}), "topOrigin")


@pytest.mark.parametrize("name", ["type", "challenge", "origin"])
def test_client_data_without_a_member(name):
    members = {"type": "webauthn.get", "challenge": "AAEC", "origin": ORIGIN}
    del members[name]
    refused_assertion(Deviation(client_data=json.dumps(members).encode()), name)


def test_client_data_with_a_member_twice():
    challenge = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    text = f'{{"type":"webauthn.get","challenge":"AAEC","challenge":"{challenge}","origin":"{ORIGIN}"}}'
    refused_assertion(Deviation(client_data=text.encode()), "twice")


@pytest.mark.parametrize(
    "raw",
    [
        b" ",
        b"[]",
        b"{",
        b"null",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
        b"{}{}",
        b'{"x":NaN}',
    ],
)
def test_client_data_that_is_no_object(raw):
    refused_assertion(Deviation(client_data=raw), "client data is malformed")
    refused_registration(Deviation(client_data=raw), "client data is malformed")


def test_unknown_members_of_client_data_are_ignored():
    members = {"other_keys_can_be_added_here": "do not compare", "tokenBinding": {"status": "supported"}}
    but = Deviation(members=members)
    authenticator = device()
    credential = verify_registration(registration(authenticator, but))
    assert verify_assertion(assertion(authenticator, but), credential) == 1


# --- authenticator data: §7.1 steps 14 to 19, §7.2 steps 15 to 19 -------------------------------------------------------------


@pytest.mark.parametrize("rp_id", ["evil.example", "app.example.com", "example.com.", ""])
def test_step_relying_party(rp_id):
    refused_registration(Deviation(rp_id=rp_id), "another relying party")
    refused_assertion(Deviation(rp_id=rp_id), "another relying party")


def test_step_user_present():
    refused_registration(Deviation(flags=UP), "did not see")
    refused_assertion(Deviation(flags=UP), "did not see")


def test_step_user_verified_as_the_policy_says():
    refused_registration(Deviation(flags=UV), "did not verify")
    refused_assertion(Deviation(flags=UV), "did not verify")
    authenticator = device(verifies_user=False)
    credential = register(authenticator, user_verification="preferred")
    assert verify_assertion(assertion(authenticator), credential, user_verification="preferred") == 1
    refused(verify_assertion, assertion(authenticator), credential)


def test_step_backed_up_needs_eligible():
    refused_registration(Deviation(flags=BS), "backed up")
    refused_assertion(Deviation(flags=BS), "backed up")


def test_step_backup_eligibility_never_changes():
    refused_assertion(Deviation(flags=BE), "eligibility changed")
    refused_assertion(Deviation(flags=BE | BS), "eligibility changed", backup=True)


def test_a_synchronized_passkey_may_stop_being_backed_up():
    authenticator = device(backup=True)
    credential = register(authenticator)
    assert verify_assertion(assertion(authenticator, Deviation(flags=BS)), credential) == 1


def test_an_assertion_that_brings_a_credential():
    authenticator = device()
    new = registration(authenticator)
    credential = verify_registration(new)
    attested = data_of(new)[37:]
    refused_assertion(Deviation(flags=AT, after=attested), "brings a credential")
    made = resigned(
        authenticator, assertion(authenticator), authenticator_data=data_of(new)[:36] + b"\x09" + attested
    )
    assert "brings a credential" in refused(verify_assertion, made, credential)


def test_a_registration_without_a_credential():
    new = registration(device())
    data = data_of(new)
    stripped = data[:32] + bytes([data[32] & ~AT]) + data[33:37]
    assert "no credential" in refused(verify_registration, edited(new, authData=stripped))


def test_extensions_are_ignored():
    but = Deviation(flags=ED, after=cbor2.dumps({"credProtect": 2, "hmac-secret": True, "x": {"y": [1]}}))
    authenticator = device()
    credential = verify_registration(registration(authenticator, but))
    assert verify_assertion(assertion(authenticator, but), credential) == 1


@pytest.mark.parametrize(
    "extensions",
    [
        b"",
        b"\x80",
        b"\x01",
        b"\xa1\x61a",
        b"\xbf\xff",
        b"\xa2\x61a\x01\x61a\x01",
        b"\xa0\x00",
        b"\xa1\x61a\xc0\x60",
    ],
)
def test_extensions_that_are_no_map(extensions):
    refused_assertion(Deviation(flags=ED, after=extensions), "malformed")
    refused_registration(Deviation(flags=ED, after=extensions), "malformed")


def test_bytes_after_the_authenticator_data():
    refused_assertion(Deviation(after=b"\0"), "something follows")
    refused_registration(Deviation(after=b"\0"), "something follows")


# --- sign count: §7.2 step 22 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known_count, count, accepted",
    [
        (0, 1, True),
        (5, 6, True),
        (5, 600, True),
        (5, 5, False),
        (5, 4, False),
        (5, 0, False),
        (0, 0, True),
        (1, (1 << 32) - 1, True),
    ],
)
def test_step_sign_count(known_count, count, accepted):
    authenticator = device()
    credential = known(register(authenticator), sign_count=known_count)
    made = assertion(authenticator, Deviation(sign_count=count))
    if accepted:
        assert verify_assertion(made, credential) == count
    else:
        assert "counter" in refused(verify_assertion, made, credential)


def test_a_copied_device_is_noticed_when_both_are_used():
    authenticator = device()
    credential = register(authenticator)
    first, second = assertion(authenticator), assertion(authenticator)
    credential = known(credential, sign_count=verify_assertion(second, credential))
    refused(verify_assertion, first, credential)


# --- signatures and keys: §7.1 step 20, §7.2 steps 5, 6, 21 -----------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_step_signature(algorithm):
    authenticator, other = device(algorithm), device(algorithm)
    credential = register(authenticator)
    made = assertion(authenticator)
    register(other)
    foreign = msgspec.structs.replace(assertion(other), credential_id=credential.credential_id)
    assert "does not hold" in refused(verify_assertion, foreign, credential)
    for position in (0, len(made.signature) // 2, len(made.signature) - 1):
        broken = bytearray(made.signature)
        broken[position] ^= 1
        refused(verify_assertion, msgspec.structs.replace(made, signature=bytes(broken)), credential)
    for signature in (b"\0", made.signature + b"\0", made.signature[:-1], bytes(len(made.signature))):
        refused(verify_assertion, msgspec.structs.replace(made, signature=signature), credential)
    assert verify_assertion(made, credential) == 1


def test_data_that_was_not_signed():
    authenticator = device()
    credential = register(authenticator)
    made = assertion(authenticator)
    later = msgspec.structs.replace(made, authenticator_data=made.authenticator_data[:36] + b"\x09")
    assert "does not hold" in refused(verify_assertion, later, credential)
    spaced = msgspec.structs.replace(made, client_data_json=made.client_data_json + b" ")
    assert "does not hold" in refused(verify_assertion, spaced, credential)


def test_an_assertion_by_another_credential():
    authenticator = device()
    first, second = register(authenticator), register(authenticator)
    made = assertion(authenticator)  # by the newest
    assert "another credential" in refused(verify_assertion, made, first)
    assert verify_assertion(made, second) == 1


def test_another_key_under_the_same_id():
    authenticator = device()
    first, second = register(authenticator), register(authenticator)
    refused(verify_assertion, assertion(authenticator), known(second, public_key=first.public_key))


def test_step_algorithm_is_one_of_three():
    for identifier in (-35, -36, -37, -39, -47, -65535, -49, 7, 0):  # ES384 and others, RS1, ML-DSA
        new = registration(device())
        head, key = key_of(new)
        other = cbor2.dumps({**cbor2.loads(key), 3: identifier})
        assert "no algorithm that is allowed" in refused(
            verify_registration, edited(new, authData=head + other)
        )


P256 = {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)}
BAD_KEYS = {
    "off the curve": P256,
    "another curve": {**P256, -1: 2},
    "another kind": {**P256, 1: 1},
    "a boolean for a number": {**P256, -1: True},
    "a short coordinate": {**P256, -2: bytes(31)},
    "a compressed point": {**P256, -3: True},
    "without y": {name: value for name, value in P256.items() if name != -3},
    "a further member": {**P256, 2: b"kid"},
    "a private member": {**P256, -4: bytes(32)},
    "a text name": {**P256, "x": b""},
    "a weak RSA key": {1: 3, 3: -257, -1: b"\xff" * 128, -2: b"\x01\x00\x01"},
    "an RSA exponent of 3": {1: 3, 3: -257, -1: b"\xff" * 256, -2: b"\x03"},
    "an RSA modulus with a leading zero": {1: 3, 3: -257, -1: b"\0" + b"\xff" * 256, -2: b"\x01\x00\x01"},
    "an empty RSA exponent": {1: 3, 3: -257, -1: b"\xff" * 256, -2: b""},
    "an Ed25519 key of small order": {1: 1, 3: -8, -1: 6, -2: bytes(32)},
    "an Ed25519 key that is no point": {1: 1, 3: -8, -1: 6, -2: b"\x02" + bytes(31)},
    "Ed448": {1: 1, 3: -8, -1: 7, -2: bytes(57)},
    "a symmetric key": {1: 4, 3: -7, -1: bytes(32)},
    "no map": [1, 2],
    "U2F's own form": b"\x04" + bytes(64),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_public_key_that_is_not_acceptable(name):
    new = registration(device())
    head, _ = key_of(new)
    refused(verify_registration, edited(new, authData=head + cbor2.dumps(BAD_KEYS[name])))


def test_a_known_malformed_key_is_not_repaired():
    """py_webauthn mends ``A3 01 63 4F4B50 03 27 20 67 45643235353139`` by one byte; here it is no key."""
    new = registration(device("EdDSA"))
    head, _ = key_of(new)
    bad = bytes.fromhex("a301634f4b500327206745643235353139") + b"\x21\x58\x20" + bytes(32)
    refused(verify_registration, edited(new, authData=head + bad))


# --- attestation: §7.1 steps 13, 21 to 25 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy, accepted",
    [("none", {"none"}), ("self", {"none", "self"}), ("any", {"none", "self", "certified"})],
)
def test_step_attestation_policy(policy, accepted):
    for kind in ("none", "self", "certified"):
        new = registration(device(attestation=kind))
        if kind in accepted:
            assert verify_registration(new, attestation=policy).type == "passkey"
        else:
            assert "does not accept" in refused(verify_registration, new, attestation=policy)


@pytest.mark.parametrize(
    "form", ["android-safetynet", "android-key", "apple", "fido-u2f", "tpm", "Packed", "", "compound"]
)
def test_step_format_is_matched_exactly(form):
    assert "does not accept" in refused(verify_registration, edited(registration(device()), fmt=form))


def test_another_format_with_the_members_of_self_attestation_is_none():
    for form in ("android-key", "tpm", "Packed"):
        new = edited(registration(device(attestation="self")), fmt=form)
        assert "does not accept" in refused(verify_registration, new, attestation="self")


def test_step_statement_of_none_is_empty():
    refused(verify_registration, edited(registration(device()), attStmt={"sig": b"x", "alg": -7}))


@pytest.mark.parametrize("kind", ["self", "certified"])
def test_step_statement_signature(kind):
    authenticator = device(attestation=kind)
    new = registration(authenticator)
    statement = cbor2.loads(new.attestation_object)["attStmt"]
    broken = statement["sig"][:-1] + bytes([statement["sig"][-1] ^ 1])
    for changes in ({"sig": broken}, {"sig": b""}, {"alg": -257}, {"alg": "ES256"}, {"sig": None}):
        refused(verify_registration, edited(new, attStmt={**statement, **changes}))
    other = registration(authenticator)
    refused(verify_registration, edited(new, authData=data_of(other)))
    assert verify_registration(new).attestation_format == "packed"


def test_a_statement_with_further_members_is_not_self_attestation():
    new = registration(device(attestation="self"))
    statement = cbor2.loads(new.attestation_object)["attStmt"]
    refused(verify_registration, edited(new, attStmt={**statement, "x5c": []}), attestation="self")
    refused(verify_registration, edited(new, attStmt={**statement, 1: 2}), attestation="self")


@pytest.mark.parametrize("certificates", [[b""], [b"\x30\x00"], ["text"], b"bytes", [[]], {}])
def test_a_statement_with_certificates_that_are_none(certificates):
    new = registration(device(attestation="certified"))
    statement = cbor2.loads(new.attestation_object)["attStmt"]
    refused(verify_registration, edited(new, attStmt={**statement, "x5c": certificates}))


def test_step_id_length():
    new = registration(device())
    data = data_of(new)
    _, key = key_of(new)
    for length, accepted in (
        (0, False),
        (15, False),
        (16, True),
        (1023, True),
        (1024, False),
        (65535, False),
    ):
        credential_id = os.urandom(length)
        changed = data[:53] + length.to_bytes(2, "big") + credential_id + key
        if accepted:
            assert verify_registration(edited(new, authData=changed)).credential_id == credential_id
        else:
            refused(verify_registration, edited(new, authData=changed))


def test_attested_data_that_is_cut_short():
    new = registration(device())
    data = data_of(new)
    for length in range(37, len(data)):
        refused(verify_registration, edited(new, authData=data[:length]))
    for length in range(37):
        refused(forms.authenticator_data, data[:length])


def test_an_attestation_object_in_another_encoding():
    new = registration(device())
    raw = new.attestation_object
    assert raw[0] == 0xA3
    other_forms = [
        raw + b"\0",
        raw[:-1],
        b"",
        b"\xbf" + raw[1:] + b"\xff",  # indefinite
        b"\xb8\x03" + raw[1:],  # the length in two bytes
        b"\xd9\xd9\xf7" + raw,  # a tag
        b"\xa4" + raw[1:] + b"\x63fmt\x64none",  # a member twice
        b"\xa4" + raw[1:] + b"\x62ep\xf5",  # a member more
        cbor2.dumps([1, 2, 3]),
        cbor2.dumps({"fmt": "none", "attStmt": {}}),
    ]
    for changed in other_forms:
        refused(verify_registration, with_object(new, changed))
    for changes in ({"fmt": 1}, {"attStmt": []}, {"attStmt": None}, {"authData": "text"}):
        refused(verify_registration, edited(new, **changes))


def test_the_librarys_answer_about_another_credential_is_refused(monkeypatch):
    """Both readers must see the same credential."""
    real = passkeys.verify_registration_response

    def other(**arguments):
        found = real(**arguments)
        found.credential_id = bytes(32)
        return found

    new = registration(device())
    monkeypatch.setattr(passkeys, "verify_registration_response", other)
    assert "two ways" in refused(verify_registration, new)


def test_what_the_library_raises_becomes_our_refusal(monkeypatch):
    def broken(**_):
        raise KeyError("from deep inside")

    authenticator = device()
    credential = register(authenticator)
    made = assertion(authenticator)
    monkeypatch.setattr(passkeys, "verify_registration_response", broken)
    monkeypatch.setattr(passkeys, "verify_authentication_response", broken)
    assert "deep inside" not in refused(verify_registration, registration(device()))
    assert "KeyError" in refused(verify_assertion, made, credential)


def test_a_key_that_a_stored_record_should_not_have():
    authenticator = device()
    credential = register(authenticator)
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  (the point)
    stored = cbor2.dumps(
        {1: 3, 3: -257, -1: weak.public_key().public_numbers().n.to_bytes(128, "big"), -2: b"\x01\x00\x01"}
    )
    made = assertion(authenticator)
    refused(verify_assertion, made, known(credential, public_key=stored))
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    refused(verify_assertion, made, known(credential, public_key=point))


def test_the_relying_party_of_these_tests_is_one_that_manifests_can_have():
    assert msgspec.convert(msgspec.to_builtins(relying_party()), type(relying_party())) == relying_party()
