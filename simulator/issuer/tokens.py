"""Tokens, as a stock issuer makes them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from joserfc import jwt
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    from simulator.issuer.keys import KeyRing

SCOPES: Final = ("user:basic",)
LIFETIME_S: Final = 600
MAX_LIFETIME_S: Final = 86400
_MEMBERS: Final = frozenset({"sub", "scopes", "audience", "environment_id", "lifetime", "claims"})


class TokenError(ValueError):
    """A request for a token that is none."""


@dataclass(frozen=True)
class TokenMaker:
    """Signs with the newest key of ``keys``.

    :ivar audiences: of tokens for which none is asked.
    :ivar environment: the claim ``environment_id``; empty: without it.
    :ivar clock: seconds since 1970.
    """

    keys: KeyRing
    issuer: str
    audiences: Sequence[str]
    environment: str = ""
    clock: Callable[[], float] = time.time

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What ``POST /token`` answers.

        :raises TokenError: not a request for a token.
        """
        subject, lifetime = request.get("sub"), request.get("lifetime", LIFETIME_S)
        scopes, claims = request.get("scopes", list(SCOPES)), request.get("claims", {})
        if not request.keys() <= _MEMBERS:
            raise TokenError(f"a request has no member but {', '.join(sorted(_MEMBERS))}")
        if not isinstance(subject, str) or not subject:
            raise TokenError("sub is whom the token is for")
        if type(lifetime) is not int or not -MAX_LIFETIME_S <= lifetime <= MAX_LIFETIME_S:
            raise TokenError("lifetime is a number of seconds, at most a day")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise TokenError("scopes is a list")
        if not isinstance(claims, dict):
            raise TokenError("claims is an object")
        issued = int(self.clock())
        audience = request.get("audience", list(self.audiences))
        environment = request.get("environment_id", self.environment)
        members = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "iat": issued,
            "nbf": issued,
            "exp": issued + lifetime,
            "jti": secrets.token_urlsafe(12),
            "scope": " ".join(scopes),
            **({"environment_id": environment} if environment else {}),
            **claims,
        }
        key = self.keys.signing
        token = jwt.encode({"alg": "RS256", "kid": key.kid}, members, RSAKey.import_key(key.private))
        return {"token": token, "kid": key.kid, "expires_at": members["exp"]}
