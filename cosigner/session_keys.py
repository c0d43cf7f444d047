"""Session keys: what tells the enclave whose session this is. P-256, made on this device; the private half never leaves it.

A session key vouches in two places: when it is registered (``proof``), and in every client hello afterwards (``auth``);
``docs/spec/authorization.md`` §1. In both it signs a 32-byte digest as the message of ECDSA with SHA-256.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Never, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.accounts import SESSION_KEY_LABEL, SessionAuth
from protocol.channel import session_auth_digest

if TYPE_CHECKING:
    from protocol.channel import HelloBinding

_CURVE: Final = ec.SECP256R1()
_SCALAR: Final = 32


class SessionKey:
    """A key pair. ``repr`` shows the public half only.

    :ivar public: compressed (SEC 1 §2.3.3), 33 bytes.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self.public: Final = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    @classmethod
    def generate(cls) -> Self:
        """A fresh one."""
        return cls(ec.generate_private_key(_CURVE))

    @classmethod
    def from_scalar(cls, scalar: bytes) -> Self:
        """The key that :meth:`scalar` was taken from.

        :raises ValueError: these are not 32 bytes of a scalar.
        """
        if len(scalar) != _SCALAR:
            msg = "a P-256 scalar has 32 bytes"
            raise ValueError(msg)
        return cls(ec.derive_private_key(int.from_bytes(scalar, "big"), _CURVE))

    def scalar(self) -> bytes:
        """The secret, 32 bytes: for sealing, and for nothing else."""
        return self._private.private_numbers().private_value.to_bytes(_SCALAR, "big")

    def sign(self, digest: bytes) -> bytes:
        """Raw r and s, 64 bytes."""
        r, s = decode_dss_signature(self._private.sign(digest, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_SCALAR, "big") + s.to_bytes(_SCALAR, "big")

    def __repr__(self) -> str:
        return f"<SessionKey {self.public.hex()}>"

    def __reduce__(self) -> Never:
        msg = "a session key is not copied or pickled"
        raise TypeError(msg)


@dataclass(frozen=True)
class RegisteredKey:
    """A session key that the enclave has registered for a user.

    :ivar registered_at, expires_at: milliseconds since 1970; the first by this device's clock, the second by the enclave's.
    """

    user_id: str
    key: SessionKey
    registered_at: int
    expires_at: int

    def expired(self, *, within: float = 0.0) -> bool:
        """Whether it ends within so many seconds, by this device's clock."""
        return now_ms() + within * 1000 >= self.expires_at

    @property
    def worn(self) -> bool:
        """Whether less than a fifth of its life is left: time to renew it, where that takes no person."""
        return now_ms() > self.expires_at - (self.expires_at - self.registered_at) // 5

    def authenticate(self, binding: HelloBinding) -> SessionAuth:
        """The evidence in a client hello."""
        issued_at = now_ms()
        digest = session_auth_digest(
            binding, user_id=self.user_id, session_key=self.key.public, issued_at=issued_at
        )
        return SessionAuth(
            user_id=self.user_id,
            session_key=self.key.public,
            issued_at=issued_at,
            signature=self.key.sign(digest),
        )


def proof_digest(transcript: bytes, session_key: bytes) -> bytes:
    """What proves the possession of a session key that is being registered, 32 bytes.

    :param transcript: of the channel that carries the registration.
    :param session_key: the new one's public half.
    """
    return hashlib.sha256(SESSION_KEY_LABEL + transcript + session_key).digest()


def now_ms() -> int:
    """This device's clock, milliseconds since 1970."""
    return time.time_ns() // 1_000_000
