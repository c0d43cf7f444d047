"""The parsers of who somebody is: logins, keys, passkeys, codes. ``targets.py`` imports this last, which registers them."""

from __future__ import annotations

import hashlib
import json
from functools import cache

import cbor2
from cryptography.hazmat.primitives import serialization

from enclave.authn import base64url, jwks, jwt, keys, session_keys
from enclave.authn import webauthn_forms as forms
from protocol import crockford
from protocol.envelope.errors import CosignerError
from tests.enclave.authn import ceremonies, test_keys, test_session_keys, tokens
from tests.fuzz.targets import target

_ALGORITHMS = (("RS256", "one"), ("ES256", "two"), ("EdDSA", "three"))


# --- logins ----------------------------------------------------------------------------------------------------------------


@cache
def _issuers() -> list[jwks.IssuerKeys]:
    return [jwks.IssuerKeys(tokens.trusted())]


@cache
def _tokens() -> list[bytes]:
    return [tokens.signer(algorithm, kid).token().encode() for algorithm, kid in _ALGORITHMS]


@target(CosignerError, seeds=_tokens)
def jwt_verify(data: bytes) -> None:
    text = data.decode("latin-1")
    jwt.verify(text, _issuers(), now_ms=tokens.NOW_MS)
    known = [token.decode().rpartition(".")[0] for token in _tokens()]
    assert text.rpartition(".")[0] in known, "a forged token"  # ECDSA's signature has a twin


@target(CosignerError, seeds=lambda: [json.dumps(tokens.CLAIMS).encode()])
def jwt_signed_claims(data: bytes) -> None:
    """Claims that a trusted issuer signed."""
    header = b'{"alg":"ES256","kid":"two"}'
    login = jwt.verify(tokens.signer("ES256", "two").signed(header, data), _issuers(), now_ms=tokens.NOW_MS)
    assert login.issuer == tokens.ISSUER
    assert login.expires_at_ms > tokens.NOW_MS


@target(CosignerError, seeds=lambda: [b'{"alg":"ES256","kid":"two","typ":"JWT"}'])
def jwt_signed_header(data: bytes) -> None:
    claims = json.dumps(tokens.CLAIMS).encode()
    jwt.verify(tokens.signer("ES256", "two").signed(data, claims), _issuers(), now_ms=tokens.NOW_MS)
    assert json.loads(data)["alg"] == "ES256"


@target(ValueError, seeds=lambda: [tokens.trusted().jwks.encode()])
def jwks_parse(data: bytes) -> None:
    for every in (False, True):
        found = jwks.parse_set(data, ["RS256", "ES256", "EdDSA"], every=every)
        assert found
        assert all(kid == key.kid for kid, key in found.items())


@target(ValueError, seeds=lambda: [b"AAEC", b"-_8"])
def base64url_decode(data: bytes) -> None:
    text = data.decode("latin-1")
    assert base64url.encode(base64url.decode(text)) == text


# --- keys and codes --------------------------------------------------------------------------------------------------------


@target(CosignerError, seeds=lambda: [test_keys.spki(key) for key in test_keys.PRIVATE.values()])
def key_load(data: bytes) -> None:
    """No bytes are keys of two algorithms, and whatever is a key has a name of its own."""
    accepted = []
    for algorithm in test_keys.ALGORITHMS:
        try:
            keys.load(algorithm, data)
        except CosignerError as error:
            refusal = error
        else:
            accepted.append(algorithm)
    if not accepted:
        raise refusal
    assert len(accepted) == 1
    assert keys.credential_id(data) == hashlib.sha256(data).digest()


@target(CosignerError, seeds=lambda: [test_session_keys.public()])
def session_key_load(data: bytes) -> None:
    compressed = serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    assert session_keys._load(data).public_bytes(*compressed) == data


@target(ValueError, seeds=lambda: [b"01AB-CDEF-GHJK-MNPQ", b"oiab cdef ghjk mnpq"])
def one_time_code(data: bytes) -> None:
    text = data.decode("latin-1")
    assert crockford.decode(crockford.normalize(text)) == crockford.decode(text)


# --- passkeys --------------------------------------------------------------------------------------------------------------


@cache
def _registrations() -> list[ceremonies.NewPasskey]:
    return [
        ceremonies.registration(ceremonies.device(algorithm, attestation=attestation))
        for algorithm in ("ES256", "EdDSA", "RS256")
        for attestation in ("none", "self", "certified")
    ]


@cache
def _device() -> ceremonies.Authenticator:
    return ceremonies.device("EdDSA")  # whose signatures have no twin


@cache
def _credential() -> ceremonies.NewCredential:
    return ceremonies.register(_device())


@cache
def _assertion() -> ceremonies.PasskeyAssertion:
    _credential()
    return ceremonies.assertion(_device())


@target(CosignerError, seeds=lambda: [new.client_data_json for new in _registrations()[:2]])
def webauthn_client_data(data: bytes) -> None:
    found = forms.client_data(data)
    assert json.loads(data)["origin"] == found.origin


@target(
    CosignerError, seeds=lambda: [_assertion().authenticator_data, *map(ceremonies.data_of, _registrations())]
)
def webauthn_authenticator_data(data: bytes) -> None:
    found = forms.authenticator_data(data)
    assert data.startswith(found.rp_id_hash)
    if found.attested is not None:
        assert forms.cose_key(found.attested.public_key.encoded) == found.attested.public_key


@target(CosignerError, seeds=lambda: [ceremonies.key_of(new)[1] for new in _registrations()])
def webauthn_cose_key(data: bytes) -> None:
    assert forms.cose_key(data).encoded == data
    assert cbor2.dumps(cbor2.loads(data)) == data


@target(CosignerError, seeds=lambda: [new.attestation_object for new in _registrations()])
def webauthn_registration(data: bytes) -> None:
    """Each object with the client data that belongs to it, or to the first."""
    (new,) = [one for one in _registrations() if one.attestation_object == data] or _registrations()[:1]
    credential = ceremonies.verify_registration(ceremonies.with_object(new, data))
    assert cbor2.loads(data)["fmt"] == credential.attestation_format


@target(CosignerError, seeds=lambda: [_assertion().authenticator_data])
def webauthn_assertion(data: bytes) -> None:
    made = ceremonies.resigned(_device(), _assertion(), authenticator_data=data)
    assert ceremonies.verify_assertion(made, _credential()) == int.from_bytes(data[33:37], "big")


@target(CosignerError, seeds=lambda: [_assertion().client_data_json])
def webauthn_signed_client_data(data: bytes) -> None:
    made = ceremonies.resigned(_device(), _assertion(), client_data_json=data)
    ceremonies.verify_assertion(made, _credential())
    members = json.loads(data)
    assert members["challenge"] == base64url.encode(ceremonies.CHALLENGE)
    assert members["origin"] in ceremonies.relying_party().origins


@target(CosignerError, seeds=lambda: [_assertion().signature])
def webauthn_signature(data: bytes) -> None:
    ceremonies.verify_assertion(
        ceremonies.msgspec.structs.replace(_assertion(), signature=data), _credential()
    )
    assert data == _assertion().signature, "a forged assertion"
