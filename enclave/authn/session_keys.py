"""Proofs by session keys: P-256, made by the client, whose private half never leaves the device.

A session key vouches in two places: when it is registered (:func:`proof_digest`) and in every client hello afterwards
(:func:`protocol.channel.session_auth_digest`). In both it signs a 32-byte digest as the message of ECDSA with SHA-256.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec

from protocol.accounts import SESSION_KEY_LABEL

from . import keys
from .refusals import evidence_invalid


def proof_digest(transcript: bytes, session_key: bytes) -> bytes:
    """What proves the possession of a session key that is being registered, 32 bytes.

    :param transcript: of the channel that carries the registration, 32 bytes.
    :param session_key: compressed, 33 bytes.
    """
    return hashlib.sha256(SESSION_KEY_LABEL + transcript + session_key).digest()


def verify(session_key: bytes, digest: bytes, signature: bytes) -> None:
    """Check a session key's signature.

    :param session_key: compressed (SEC 1 §2.3.3), 33 bytes.
    :param signature: r and s, 64 bytes.
    :raises CosignerError: ``evidence_invalid``: no such key, or the signature does not hold.
    """
    keys.verify_with(_load(session_key), digest, signature)


@lru_cache(maxsize=4096)
def _load(session_key: bytes) -> ec.EllipticCurvePublicKey:
    if len(session_key) != 33 or session_key[0] not in (2, 3):  # noqa: PLR2004  (compressed)
        raise evidence_invalid("The session key is not a compressed point of P-256.")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), session_key)
    except ValueError:
        raise evidence_invalid("The session key is not a point of P-256.") from None
