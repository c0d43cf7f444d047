"""Logins: what a JWT must be to be believed. PyJWT makes the tokens; what it would not make is made by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
import string

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from enclave.authn import jwt
from enclave.authn.jwks import IssuerKeys
from protocol.envelope.errors import CosignerError, Culprit
from tests.enclave.authn.tokens import CLAIMS, ISSUER, NOW_MS, NOW_S, b64, key_set, signer, trusted

HEADER = {"alg": "RS256", "kid": "one", "typ": "JWT"}
ALGORITHMS = [("RS256", "one"), ("ES256", "two"), ("EdDSA", "three")]


def verify(token, *, now_ms=NOW_MS, **changes):
    return jwt.verify(token, [IssuerKeys(trusted(**changes))], now_ms=now_ms)


def refused(token, code="jwt_invalid", **changes):
    with pytest.raises(CosignerError) as caught:
        verify(token, **changes)
    assert caught.value.code == code
    assert caught.value.culprit is Culprit.CLIENT
    return caught.value.message


def with_claims(**changes):
    claims = {**CLAIMS, **changes}
    return signer().token({name: value for name, value in claims.items() if value is not None})


def raw(header=None, payload=None):
    """A token of these bytes, properly signed."""
    header = json.dumps(HEADER).encode() if header is None else header
    payload = json.dumps(CLAIMS).encode() if payload is None else payload
    return signer().signed(header, payload)


# --- what is accepted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm, kid", ALGORITHMS)
def test_a_token_of_every_algorithm_logs_in(algorithm, kid):
    login = verify(signer(algorithm, kid).token())
    assert (login.issuer, login.subject) == (ISSUER, "alice")
    assert login.login_id == hashlib.sha256(b"https://issuer.example\0alice").hexdigest()
    assert (login.issued_at_ms, login.expires_at_ms) == ((NOW_S - 10) * 1000, (NOW_S + 600) * 1000)
    assert login.credential is None


@pytest.mark.parametrize("algorithm, kid", ALGORITHMS)
def test_the_stock_library_accepts_the_same_tokens(algorithm, kid):
    one = signer(algorithm, kid)
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = pyjwt.decode(
        one.token(), one.key.public_key(), [algorithm], audience="cosigner", options=options
    )
    assert claims == CLAIMS


def test_the_audience_may_be_a_list():
    assert verify(with_claims(aud=["other", "cosigner-2"])).subject == "alice"


def test_scopes_may_be_a_list_and_be_called_scopes():
    assert verify(with_claims(scope=["user:basic"])).subject == "alice"
    assert verify(with_claims(scope=None, scopes=["a", "user:basic"])).subject == "alice"


def test_a_token_without_nbf_and_one_without_typ_log_in():
    assert verify(with_claims(nbf=None)).subject == "alice"
    assert verify(raw(b'{"alg":"RS256","kid":"one"}')).subject == "alice"
    assert verify(signer().token(typ="at+jwt")).subject == "alice"


def test_the_credential_that_was_used_is_told():
    assert verify(with_claims(last_verified_credential_id="c-1")).credential == "c-1"
    assert verify(with_claims(last_verified_credential_id="c" * 256)).credential == "c" * 256
    for value in (5, "", "c" * 257, ["c-1"]):
        assert verify(with_claims(last_verified_credential_id=value)).credential is None


def test_no_environment_is_asked_for_where_the_manifest_names_none():
    assert verify(with_claims(environment_id=None), environment="").subject == "alice"


def test_one_login_of_two_issuers_is_two_logins():
    other = trusted(issuer="https://other.example", jwks=key_set(signer("ES256", "o")))
    issuers = [IssuerKeys(trusted()), IssuerKeys(other)]
    token = signer("ES256", "o").token({**CLAIMS, "iss": "https://other.example"})
    ours = jwt.verify(signer().token(), issuers, now_ms=NOW_MS)
    theirs = jwt.verify(token, issuers, now_ms=NOW_MS)
    assert ours.subject == theirs.subject
    assert ours.login_id != theirs.login_id


# --- algorithms and keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_the_algorithm_none_is_refused(name):
    header = b64(json.dumps({**HEADER, "alg": name}).encode())
    payload = b64(json.dumps(CLAIMS).encode())
    refused(f"{header}.{payload}.")
    refused(f"{header}.{payload}.{b64(b'x')}")


def test_hs256_with_the_public_key_for_its_secret_is_refused():
    public = signer().key.public_key()
    secrets = [
        public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
    ]
    secrets.append(json.dumps(signer().jwk).encode())
    for secret in secrets:
        signed = f"{b64(json.dumps({**HEADER, 'alg': 'HS256'}).encode())}.{b64(json.dumps(CLAIMS).encode())}"
        mac = hmac.new(secret, signed.encode(), "sha256").digest()
        refused(f"{signed}.{b64(mac)}")


@pytest.mark.parametrize(
    "algorithm", ["RS512", "PS256", "ES384", "ES256K", "Ed25519", "EdDSA", "ES256", "rs256"]
)
def test_an_algorithm_that_is_not_the_keys_own_is_refused(algorithm):
    message = refused(raw(json.dumps({**HEADER, "alg": algorithm}).encode()))
    assert "algorithm" in message


def test_a_key_of_an_algorithm_that_is_not_allowed_is_refused():
    allowed = {"algorithms": ["ES256"], "jwks": key_set(signer("ES256", "two"))}
    assert verify(signer("ES256", "two").token(), **allowed).subject == "alice"
    refused(signer().token(), **allowed)


def test_an_unknown_kid_is_refused():
    refused(signer("RS256", "unknown").token())
    refused(signer().token(kid="two"))  # of another key
    refused(raw(b'{"alg":"RS256"}'))
    refused(raw(b'{"alg":"RS256","kid":""}'))
    refused(raw(b'{"alg":"RS256","kid":["one"]}'))


def test_a_key_of_another_issuer_is_refused():
    other = trusted(issuer="https://other.example", jwks=key_set(signer("ES256", "o")))
    issuers = [IssuerKeys(trusted()), IssuerKeys(other)]
    for claims in (CLAIMS, {**CLAIMS, "iss": "https://other.example"}):
        foreign = signer("ES256", "o") if claims is CLAIMS else signer()
        with pytest.raises(CosignerError) as caught:
            jwt.verify(foreign.token(claims), issuers, now_ms=NOW_MS)
        assert caught.value.code == "jwt_invalid"


@pytest.mark.parametrize("algorithm, kid", ALGORITHMS)
def test_a_forged_signature_is_refused(algorithm, kid):
    head, payload, signature = signer(algorithm, kid).token().split(".")
    other = signer(algorithm, "another").token(kid=kid).split(".")[2]
    refused(f"{head}.{payload}.{other}")
    refused(f"{head}.{payload}.{signature[:-4]}")
    refused(f"{head}.{payload}.{b64(bytes(64))}")
    changed = b64(json.dumps({**CLAIMS, "sub": "mallory"}).encode())
    refused(f"{head}.{changed}.{signature}")


@pytest.mark.parametrize(
    "name, value",
    [
        ("jwk", {"kty": "RSA"}),
        ("jku", "https://issuer.example/keys"),
        ("x5u", "https://issuer.example/certificate"),
        ("x5c", ["AA=="]),
        ("crit", ["exp"]),
        ("crit", []),
        ("b64", False),
        ("zip", "DEF"),
        ("enc", "A128GCM"),
    ],
)
def test_a_header_that_brings_a_key_or_asks_for_more_is_refused(name, value):
    refused(raw(json.dumps({**HEADER, name: value}).encode()))


def test_a_token_with_its_own_key_inside_is_refused():
    mallory = signer("RS256", "mallory")
    header = {**HEADER, "kid": "mallory", "jwk": mallory.jwk}
    refused(mallory.signed(json.dumps(header).encode(), json.dumps(CLAIMS).encode()))


@pytest.mark.parametrize("kind", ["JWS", "logout+jwt", "dpop+jwt", "", 5, None])
def test_a_token_of_another_type_is_refused(kind):
    refused(raw(json.dumps({**HEADER, "typ": kind}).encode()))


# --- claims ----------------------------------------------------------------------------------------------------------------


def test_an_unknown_issuer_is_refused():
    refused(with_claims(iss="https://issuer.example/"), "issuer_unknown")
    refused(with_claims(iss="https://ISSUER.example"), "issuer_unknown")
    refused(with_claims(iss=None))


@pytest.mark.parametrize(
    "audience", ["other", "Cosigner", ["other"], [], None, [["cosigner"]], {"cosigner": 1}]
)
def test_another_audience_is_refused(audience):
    payload = {**CLAIMS, "aud": audience}
    refused(raw(payload=json.dumps({k: v for k, v in payload.items() if v is not None}).encode()))


@pytest.mark.parametrize("environment", ["production", "", None, ["sandbox"]])
def test_another_environment_is_refused(environment):
    refused(with_claims(environment_id=environment))


@pytest.mark.parametrize(
    "scope",
    [
        None,
        "",
        "openid",
        "user:basic2",
        "user",
        ["openid"],
        {"user:basic": 1},
        [["user:basic"]],
        ["user:basic", 5],
    ],
)
def test_a_missing_scope_is_refused(scope):
    refused(with_claims(scope=scope))


def test_a_forbidden_scope_is_refused():
    refused(with_claims(scope="user:basic requiresAdditionalAuth"))
    refused(with_claims(scope=["user:basic", "requiresAdditionalAuth"]))
    refused(with_claims(scopes=["requiresAdditionalAuth"]))


def test_an_expired_token_is_refused_from_the_second_on_that_it_names():
    token = signer().token()
    assert verify(token, now_ms=(NOW_S + 600) * 1000 - 1).subject == "alice"
    refused(token, "jwt_expired", now_ms=(NOW_S + 600) * 1000)


def test_a_token_that_is_not_yet_valid_is_refused():
    token = with_claims(nbf=NOW_S + 31)
    refused(token)
    assert verify(token, now_ms=NOW_MS + 1000).subject == "alice"  # 30 s are left for clocks


def test_a_token_issued_in_the_future_is_refused():
    token = with_claims(iat=NOW_S + 31, nbf=NOW_S)
    refused(token)
    assert verify(token, now_ms=NOW_MS + 1000).subject == "alice"


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1900000300", 1.9e9, True, -1, 1 << 60, [1], {}])
def test_a_time_that_is_no_whole_number_is_refused(name, value):
    refused(raw(payload=json.dumps({**CLAIMS, name: value}).encode()))


@pytest.mark.parametrize("name", ["exp", "iat", "sub"])
def test_a_missing_claim_is_refused(name):
    refused(with_claims(**{name: None}))


@pytest.mark.parametrize("subject", ["", "a" * 257, "a\0b", "a\nb", 5, ["alice"]])
def test_a_strange_subject_is_refused(subject):
    refused(raw(payload=json.dumps({**CLAIMS, "sub": subject}).encode()))


def test_a_subject_may_be_long_and_have_spaces():
    for subject in ("a" * 256, "auth0|a b", "é"):
        assert verify(with_claims(sub=subject)).subject == subject


def test_half_of_a_surrogate_pair_is_refused():
    refused(raw(payload=json.dumps(CLAIMS).replace('"alice"', '"\\ud800"').encode()))


# --- form ------------------------------------------------------------------------------------------------------------------


def test_an_oversized_token_is_refused():
    """Padded by a member of the claims, one character of the token at a time where base64url allows it."""
    sizes = set()
    for padding in range(5400, 5700):
        token = with_claims(padding="x" * padding)
        sizes.add(len(token))
        if len(token) > jwt.MAX_TOKEN:
            assert "longer" in refused(token)
            break
        if len(token) > jwt.MAX_TOKEN - 4:
            assert verify(token).subject == "alice"
    assert max(sizes) <= jwt.MAX_TOKEN + 2


def test_a_member_twice_is_refused():
    refused(raw(b'{"alg":"RS256","alg":"RS256","kid":"one"}'))
    payload = json.dumps(CLAIMS).encode()
    refused(raw(payload=payload[:-1] + b',"sub":"mallory"}'))
    refused(raw(payload=payload[:-1] + b',"other":{"a":1,"a":2}}'))


def test_deep_json_is_refused():
    payload = json.dumps(CLAIMS).encode()
    refused(raw(payload=payload[:-1] + b',"x":' + b"[" * 2000 + b"]" * 2000 + b"}"))
    refused(raw(b'{"alg":"RS256","kid":"one","x":' + b"[" * 100 + b"]" * 100 + b"}"))


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"\xff{}", b'{"iss":NaN}', b"{} {}", b"{", b"\xef\xbb\xbf{}"]
)
def test_what_is_no_json_object_is_refused(payload):
    refused(raw(payload=payload))
    refused(raw(header=payload))


def test_extra_and_missing_segments_are_refused():
    token = signer().token()
    head, payload, signature = token.split(".")
    for changed in ("", ".", "..", f"{token}.", f".{token}", f"{token}.{signature}", f"{head}.{payload}"):
        refused(changed)
    refused(f"{head}..{signature}")


def test_base64url_that_is_not_canonical_is_refused():
    head, payload, signature = signer().token().split(".")
    refused(f"{head}.{payload}.{signature}==")
    refused(f"{head}.{payload}.{signature[:10]} {signature[10:]}")
    refused(f"{head}.{payload}.{signature[:10]}\n{signature[10:]}")
    refused(f"{head}.{payload}=.{signature}")
    # 256 bytes leave four bits over in the last character: 15 others decode to the same bytes.
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = alphabet.index(signature[-1])
    assert last % 16 == 0
    refused(f"{head}.{payload}.{signature[:-1]}{alphabet[last + 1]}")
    other = signature.replace("-", "+").replace("_", "/")
    refused(f"{head}.{payload}.{other}" if other != signature else f"{head}.{payload}.+{signature}")


@given(
    st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", fullmatch=True)
)
def test_any_text_ends_in_our_own_refusal(text):
    with pytest.raises(CosignerError):
        verify(text)


@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "scopes"]),
        st.none() | st.integers() | st.text() | st.lists(st.text() | st.integers()),
    )
)
def test_any_signed_claims_end_in_a_login_or_our_own_refusal(changes):
    try:
        login = verify(raw(payload=json.dumps({**CLAIMS, **changes}).encode()))
    except CosignerError:
        return
    assert login.issuer == ISSUER
