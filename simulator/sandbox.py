"""The environment of the mock stack: who logs in, what passkeys are for, who administers it, and what may be signed.

It is a manifest entry like any other, and shows what one looks like; whoever runs the stack holds all of its keys.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from enclave.manifest import (
    Administrator,
    Environment,
    LifecycleRules,
    RecoveryRules,
    RelyingParty,
    TrustedIssuer,
)
from policy import layer_bytes, parse
from policy.facts import BLIND
from simulator.issuer import HOST as ISSUER_HOST
from simulator.issuer import ISSUER
from simulator.issuer.server import AUDIENCE, JWKS_PATH
from simulator.pki import write_private

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT: Final = "sandbox"
ISSUER_PORT: Final = (
    443  # the port that enclave and manifest know; the host's tunnel leads it to the simulator
)
RP_ID: Final = "localhost"
ORIGIN: Final = "https://localhost"
ADMINISTRATOR: Final = "operator"
ADMINISTRATOR_KEY: Final = "administrator.pem"
SESSION_LIFETIME: Final = 7 * 86400  # seconds
_GRACE: Final = 3600

RULES: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "small payments in ether",
        "ruleType": "allow",
        "chain": "EVM",
        "valueLimit": {"asset": "ETH", "maxPerCall": "0.05", "totalLimit": "10", "window": "24h"},
    },
    *(
        {
            "name": f"larger payments in ether, with a {word}",
            "ruleType": "allow",
            "chain": "EVM",
            "valueLimit": {"asset": "ETH", "maxPerCall": "5"},
            "requires": {"factors": [factor]},
        }
        for factor, word in (("passkey", "passkey"), ("signing_key", "signing key"))
    ),
    {
        "name": "anything on a local chain",
        "ruleType": "allow",
        "chain": "EVM",
        "chainIds": [31337],
        "blind": [code for code in BLIND if code.startswith("evm.")],
    },
    {
        "name": "payments in SOL",
        "ruleType": "allow",
        "chain": "SVM",
        "valueLimit": {"asset": "SOL", "maxPerCall": "10"},
    },
    {
        "name": "payments in bitcoin",
        "ruleType": "allow",
        "chain": "BTC",
        "valueLimit": {"asset": "BTC", "maxPerCall": "0.1"},
    },
    {
        "name": "messages and typed data",
        "ruleType": "allow",
        "chain": "EVM",
        "payloads": ["message", "typedData"],
    },
    {
        "name": "texts of Solana wallets",
        "ruleType": "allow",
        "chain": "SVM",
        "payloads": ["message"],
    },
    {
        "name": "wallets, credentials, policy",
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


def environment(state: Path, key_arn: str, issuer_ca: str) -> Environment:
    """The manifest's entry.

    :param state: keeps the administrator's key.
    :param issuer_ca: TLS authority of the issuer, PEM.
    """
    return Environment(
        id=ENVIRONMENT,
        kms_key_arn=key_arn,
        key_policy="editable",
        issuers=[
            TrustedIssuer(
                issuer=ISSUER,
                audiences=[AUDIENCE],
                environment=ENVIRONMENT,
                algorithms=["RS256"],
                jwks="",
                url=f"https://{ISSUER_HOST}{JWKS_PATH}",
                ca_pem=issuer_ca,
                grace_s=_GRACE,
                scopes=["user:basic"],
                forbidden_scopes=["requiresAdditionalAuth"],
            )
        ],
        relying_party=RelyingParty(
            rp_id=RP_ID, origins=[ORIGIN], user_verification="required", attestation="self"
        ),
        administrators=[
            Administrator(name=ADMINISTRATOR, algorithm="ed25519", public_key=_administrator(state))
        ],
        quorum=1,
        session_lifetime_s=SESSION_LIFETIME,
        step_up={},
        policy=policy(),
        recovery=RecoveryRules(time_lock_s=0, gate=None),
        lifecycle=LifecycleRules(max_epoch_age_s=90 * 86400, backup="optional"),
        delegation=None,
    )


def policy() -> str:
    """The environment's layer, in its canonical form."""
    written = {
        "version": 1,
        "environment": {"optionalLayers": ["account", "wallet", "signer"], "rules": list(RULES)},
    }
    return b"".join(layer_bytes(layer) for layer in parse(json.dumps(written).encode()).layers).decode()


def administrator_pem(state: Path) -> str:
    """The administrator's public key, for clients that want to see its signatures themselves."""
    return _administrator_key(state).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _administrator(state: Path) -> bytes:
    return _administrator_key(state).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _administrator_key(state: Path) -> Ed25519PublicKey:
    """The public half of a key that is made at the first start."""
    file = state / ADMINISTRATOR_KEY
    if not file.exists():
        made = Ed25519PrivateKey.generate()
        write_private(file, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key = load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError
    return key.public_key()
