"""JWTs of trusted issuers (RFC 7519, RFC 8725): read strictly here, the signature verified by ``joserfc``.

The order is that of RFC 8725. What the token says about itself chooses nothing but an entry among the pinned issuers and their keys, and the
key alone says which algorithm it verifies. A token that names or brings a key is refused, not ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from attestation import strict_json
from protocol.envelope.errors import CosignerError, Culprit

from . import base64url
from .refusals import jwt_invalid

if TYPE_CHECKING:
    from .jwks import IssuerKeys, VerificationKey

MAX_TOKEN: Final = 8192
MAX_SUBJECT: Final = 256
SKEW_S: Final = 30  # how much an issuer's clock may be ahead of ours
_MAX_TIME: Final = 1 << 43  # seconds; larger ones are no times
_SEGMENTS: Final = 3
_TYPES: Final = frozenset({"jwt", "at+jwt"})  # RFC 7519 §5.1, RFC 9068 §2.1
# What brings or names a key, changes what is signed, or must be understood: RFC 7515 §4.1, RFC 7797 §3.
_REFUSED_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"})


@dataclass(frozen=True, slots=True)
class VerifiedLogin:
    """A user whom an issuer vouches for.

    :ivar login_id: how the login is called: SHA-256(issuer || 0 || subject), hex.
    :ivar issued_at_ms: milliseconds since 1970.
    :ivar credential: which of the user's credentials at the issuer was used, where the issuer says so
        (``last_verified_credential_id``).
    """

    issuer: str
    subject: str
    login_id: str
    issued_at_ms: int
    expires_at_ms: int
    credential: str | None


def verify(token: str, issuers: Sequence[IssuerKeys], *, now_ms: int) -> VerifiedLogin:
    """Verify a JWT for one of ``issuers``.

    :raises CosignerError: ``jwt_invalid``, ``jwt_expired``, ``issuer_unknown``.
    """
    parsed = parse(token)
    keys = next((keys for keys in issuers if keys.issuer.issuer == parsed.issuer), None)
    if keys is None:
        raise CosignerError(
            "issuer_unknown", "The JWT is of an issuer that is not trusted here.", culprit=Culprit.CLIENT
        )
    key = keys.find(parsed.kid)
    if key is None:
        raise jwt_invalid("The JWT is signed by a key that its issuer does not have.")
    if parsed.algorithm != key.algorithm:
        raise jwt_invalid("The JWT's algorithm is not that of the key that it names.")
    _verify_signature(token, key)
    return _login(parsed.claims, keys, now_ms)


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """A token that is well-formed, and not yet believed in anything.

    :ivar issuer: ``iss``. :ivar kid: of the header.
    """

    algorithm: str
    kid: str
    issuer: str
    claims: Mapping[str, Any]


def parse(token: str) -> ParsedToken:
    """Read a compact JWS (RFC 7515 §7.1) of two JSON objects.

    :raises CosignerError: ``jwt_invalid``.
    """
    if len(token) > MAX_TOKEN:
        raise jwt_invalid(f"The JWT is longer than {MAX_TOKEN} characters.")
    segments = token.split(".")
    if len(segments) != _SEGMENTS:
        raise jwt_invalid("The JWT has not three parts.")
    try:
        header, claims = (
            strict_json.parse_object(base64url.decode(segment), max_bytes=MAX_TOKEN)
            for segment in segments[:2]
        )
        base64url.decode(segments[2])
    except ValueError as error:
        raise jwt_invalid(f"The JWT is malformed: {error}.") from None
    if not _REFUSED_HEADERS.isdisjoint(header):
        raise jwt_invalid("The JWT's header brings or names a key, or asks for what is not done here.")
    if "typ" in header and not (type(header["typ"]) is str and header["typ"].lower() in _TYPES):
        raise jwt_invalid("The token is not of a type that logs in.")
    return ParsedToken(_text(header, "alg"), _text(header, "kid"), _text(claims, "iss"), claims)


def _verify_signature(token: str, key: VerificationKey) -> None:
    try:
        jws.deserialize_compact(token, _jwk(key), registry=_OnlyAlgorithm(key.algorithm))
    except (JoseError, ValueError) as error:
        raise jwt_invalid(f"The JWT's signature does not hold ({type(error).__name__}).") from None


class _OnlyAlgorithm(jws.JWSRegistry):
    """``joserfc`` with one algorithm, and no warning that EdDSA is called Ed25519 now (RFC 9864)."""

    def __init__(self, name: str) -> None:
        super().__init__(algorithms=[name], strict_check_header=False)
        self._name = name

    def get_alg(self, name: str) -> Any:  # noqa: ANN401  (its type is not public)
        if name != self._name:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


def _jwk(key: VerificationKey) -> RSAKey | ECKey | OKPKey:
    """As ``joserfc`` wants it: of a type that no HMAC would take for its secret."""
    match key.key:
        case rsa.RSAPublicKey():
            return RSAKey.import_key(key.key)
        case ec.EllipticCurvePublicKey():
            return ECKey.import_key(key.key)
        case _:
            return OKPKey.import_key(key.key)


# --- claims ----------------------------------------------------------------------------------------------------------------


def _login(claims: Mapping[str, Any], keys: IssuerKeys, now_ms: int) -> VerifiedLogin:
    """RFC 7519 §4.1, and what the issuer's entry in the manifest asks for."""
    issuer = keys.issuer
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    not_before = _time(claims, "nbf") if "nbf" in claims else issued
    if now_ms >= expires * 1000:
        raise CosignerError("jwt_expired", "The JWT has expired.", culprit=Culprit.CLIENT)
    if now_ms < (max(not_before, issued) - SKEW_S) * 1000:
        raise jwt_invalid("The JWT is not valid yet.")
    if not set(_audiences(claims)) & set(issuer.audiences):
        raise jwt_invalid("The JWT is for another audience.")
    if issuer.environment and claims.get("environment_id") != issuer.environment:
        raise jwt_invalid("The JWT is for another environment.")
    scopes = _scopes(claims)
    if not scopes.issuperset(issuer.scopes):
        raise jwt_invalid("The JWT lacks a scope.")
    if not scopes.isdisjoint(issuer.forbidden_scopes):
        raise jwt_invalid("The JWT has a scope with which nobody logs in: the login is not complete.")
    subject = _text(claims, "sub")
    if len(subject) > MAX_SUBJECT or any(ord(character) < ord(" ") for character in subject):
        raise jwt_invalid("The JWT's subject is too long, or has control characters.")
    used = claims.get("last_verified_credential_id")
    return VerifiedLogin(
        issuer=issuer.issuer,
        subject=subject,
        login_id=hashlib.sha256(f"{issuer.issuer}\0{subject}".encode()).hexdigest(),
        issued_at_ms=issued * 1000,
        expires_at_ms=expires * 1000,
        credential=used if type(used) is str and 0 < len(used) <= MAX_SUBJECT else None,
    )


def _time(claims: Mapping[str, Any], name: str) -> int:
    """A NumericDate (RFC 7519 §2), in whole seconds."""
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < _MAX_TIME:
        raise jwt_invalid(f"The JWT has no {name} in whole seconds.")
    return value


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    """RFC 7519 §4.1.3: one, or a list."""
    value = claims.get("aud")
    listed: list[Any] = value if type(value) is list else [value]
    if not all(type(one) is str for one in listed):
        raise jwt_invalid("The JWT has no audience.")
    return listed


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """``scope``, separated by spaces (RFC 8693 §4.2) or as a list, and ``scopes``, as some issuers call the list."""
    found: set[str] = set()
    for name in ("scope", "scopes"):
        value = claims.get(name, [])
        listed = value.split(" ") if type(value) is str else value
        if type(listed) is not list or not all(type(one) is str for one in listed):
            raise jwt_invalid("The JWT's scopes are not text.")
        found.update(listed)
    return found


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if type(value) is not str or not value:
        raise jwt_invalid(f"The JWT has no {name}.")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can write half of a surrogate pair
        raise jwt_invalid(f"The JWT's {name} is not Unicode text.") from None
    return value
