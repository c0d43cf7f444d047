"""Trusted issuers for the tests here, and JWTs as PyJWT makes them, or by hand where it would not."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from enclave.manifest import TrustedIssuer

NOW_S = 1_900_000_000
NOW_MS = NOW_S * 1000
ISSUER = "https://issuer.example"

_JWK = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


@dataclass(frozen=True)
class Signer:
    """A key of an issuer."""

    kid: str
    algorithm: str
    key: Any

    @property
    def jwk(self) -> dict[str, Any]:
        public = json.loads(_JWK[self.algorithm].to_jwk(self.key.public_key()))
        public.pop("key_ops", None)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def token(self, claims: dict[str, Any] | None = None, **header: Any) -> str:
        return pyjwt.encode(
            claims or CLAIMS, self.key, algorithm=self.algorithm, headers={"kid": self.kid, **header}
        )

    def signed(self, header: bytes, payload: bytes) -> str:
        """Any two parts, signed as if they were a JWT's."""
        signed = f"{b64(header)}.{b64(payload)}"
        algorithm = pyjwt.get_algorithm_by_name(self.algorithm)
        return f"{signed}.{b64(algorithm.sign(signed.encode(), self.key))}"


def signer(algorithm: str = "RS256", kid: str = "one") -> Signer:
    return _signer(algorithm, kid)


@cache
def _signer(algorithm: str, kid: str) -> Signer:
    keys = {
        "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": Ed25519PrivateKey.generate,
    }
    return Signer(kid, algorithm, keys[algorithm]())


CLAIMS = {
    "iss": ISSUER,
    "sub": "alice",
    "aud": "cosigner",
    "iat": NOW_S - 10,
    "nbf": NOW_S - 10,
    "exp": NOW_S + 600,
    "scope": "user:basic openid",
    "environment_id": "sandbox",
}


def key_set(*signers: Signer | dict[str, Any]) -> str:
    return json.dumps({"keys": [one if isinstance(one, dict) else one.jwk for one in signers]})


def trusted(**changes: Any) -> TrustedIssuer:
    fields = {
        "issuer": ISSUER,
        "audiences": ["cosigner", "cosigner-2"],
        "environment": "sandbox",
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "jwks": key_set(signer("RS256", "one"), signer("ES256", "two"), signer("EdDSA", "three")),
        "url": "",
        "ca_pem": "",
        "grace_s": 3600,
        "scopes": ["user:basic"],
        "forbidden_scopes": ["requiresAdditionalAuth"],
    }
    return TrustedIssuer(**{**fields, **changes})


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
