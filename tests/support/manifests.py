"""Environments for tests: one issuer with a pinned key, a relying party, administrators, and rules that allow everything."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enclave.manifest import (
    Administrator,
    Environment,
    LifecycleRules,
    RecoveryRules,
    RelyingParty,
    TrustedIssuer,
)
from policy import layer_bytes, parse
from policy.facts import BLIND, MESSAGE, TRANSACTION, TYPED_DATA, VALIDATOR_MESSAGE


def fixed(name: str) -> Ed25519PrivateKey:
    """The same key in every run: manifests are compared by their bytes."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


ISSUER = "https://login.example/sandbox"
AUDIENCE = "https://app.example"
ORIGIN = "https://app.example"
RP_ID = "app.example"
ISSUER_KEY = fixed("issuer")
KID = "tests-1"
ADMINISTRATORS = {name: fixed(name) for name in ("ada", "bea", "cyn")}
EVERYTHING = (
    {
        "name": "every payload",
        "ruleType": "allow",
        "operations": ["sign"],
        "payloads": [TRANSACTION, MESSAGE, VALIDATOR_MESSAGE, TYPED_DATA],
        "blind": list(BLIND),
    },
    {
        "name": "every operation",
        "ruleType": "allow",
        "operations": [
            "create",
            "refresh",
            "reshare",
            "export",
            "delegate",
            "revoke",
            "policy",
            "credential",
        ],
    },
)


def layer(*rules: dict[str, Any], name: str = "environment", **members: Any) -> str:
    """A layer of these rules, in its canonical form. The other layers may be absent."""
    more = {"optionalLayers": ["account", "wallet", "signer"]} if name == "environment" else {}
    whole = {"version": 1, "environment": {"rules": []}, name: {"rules": list(rules), **more, **members}}
    found = parse(json.dumps(whole).encode()).layer(name)
    assert found is not None
    return layer_bytes(found).decode()


def spki(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def environment(name: str = "sandbox", **changes: Any) -> Environment:
    """An environment whose rules allow everything, unless ``changes`` say otherwise."""
    members: dict[str, Any] = {
        "id": name,
        "kms_key_arn": f"arn:aws:kms:us-east-1:111122223333:key/{name}",
        "key_policy": "pinned",
        "issuers": [issuer()],
        "relying_party": RelyingParty(
            rp_id=RP_ID, origins=[ORIGIN], user_verification="required", attestation="none"
        ),
        "administrators": [
            Administrator(name=who, algorithm="ed25519", public_key=spki(key))
            for who, key in ADMINISTRATORS.items()
        ],
        "quorum": 2,
        "session_lifetime_s": 86400,
        "step_up": {},
        "policy": layer(*EVERYTHING),
        "recovery": RecoveryRules(time_lock_s=0, gate=None),
        "lifecycle": LifecycleRules(max_epoch_age_s=0, backup="optional"),
        "delegation": None,
    }
    return Environment(**(members | changes))


def issuer(**changes: Any) -> TrustedIssuer:
    """The tests' issuer; its key is pinned."""
    members: dict[str, Any] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "environment": "",
        "algorithms": ["EdDSA"],
        "jwks": json.dumps({"keys": [jwk()]}),
        "url": "",
        "ca_pem": "",
        "grace_s": 0,
        "scopes": ["user:basic"],
        "forbidden_scopes": ["requiresAdditionalAuth"],
    }
    return TrustedIssuer(**(members | changes))


def jwk() -> dict[str, str]:
    x = base64.urlsafe_b64encode(ISSUER_KEY.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": KID, "alg": "EdDSA", "use": "sig", "x": x}


def token(subject: str, **claims: Any) -> str:
    """A JWT of the tests' issuer, by a library that had no part in the enclave's."""
    now = int(time.time())
    members = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": now - 1,
        "nbf": now - 1,
        "exp": now + 300,
        "scope": "user:basic",
    } | claims
    return pyjwt.encode(
        {name: value for name, value in members.items() if value is not None},
        ISSUER_KEY,
        algorithm="EdDSA",
        headers={"kid": KID},
    )
