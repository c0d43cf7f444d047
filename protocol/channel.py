"""The encrypted channel between a client and the enclave (``docs/spec/channel.md``).

One round trip opens it. The client seals its hello to the channel key that attestation vouches for (HPKE, RFC 9180, base mode, KEM
MLKEM768-X25519); inside travels a fresh HPKE public key of its own, to which the enclave seals its answer. Both sides contribute
32 random bytes, so that neither alone fixes the session keys, and a channel key that leaks later opens no past session: the
answer's half was sealed to the client's ephemeral key. Records are AES-256-GCM, one key per direction, in strict order.

The functions here take bytes and return bytes; sockets and clocks are the caller's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Never

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from .accounts import SESSION_AUTH_LABEL, SessionAuth
from .envelope import cbor
from .envelope.errors import Culprit, ProtocolError, Reaction
from .envelope.limits import MAX_HELLO, MAX_RECORD, SESSION_ID_LENGTH
from .names import EnvironmentId

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNEL_KEY_LENGTH: Final = (
    1184 + 32
)  # ML-KEM-768 encapsulation key (FIPS 203) followed by an X25519 public key
KEY_ID_LENGTH: Final = 8
RANDOM_LENGTH: Final = 32
CONFIRMATION_LENGTH: Final = 32
MAX_RECORDS: Final = (
    1 << 32
)  # per direction; far below the bound of SP 800-38D for one key with counter nonces
RECORD_OVERHEAD: Final = 8 + 16

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LABEL_HELLO: Final = b"cosigner/channel/v1/client hello"
_LABEL_ANSWER: Final = b"cosigner/channel/v1/enclave hello"
_LABEL_TRANSCRIPT: Final = b"cosigner/channel/v1/transcript"
_LABEL_SECRETS: Final = b"cosigner/channel/v1/secrets"
_LABEL_CONFIRM: Final = b"cosigner/channel/v1/confirm"
_LABEL_RECORD: Final = b"cosigner/channel/v1/record"
_TO_ENCLAVE: Final = b"\x01"
_TO_CLIENT: Final = b"\x02"
_COUNTER: Final = struct.Struct(">Q")

_Random = Annotated[bytes, Meta(min_length=RANDOM_LENGTH, max_length=RANDOM_LENGTH)]
_PublicKey = Annotated[bytes, Meta(min_length=CHANNEL_KEY_LENGTH, max_length=CHANNEL_KEY_LENGTH)]
_Setup = Annotated[bytes, Meta(min_length=1, max_length=16384)]  # exact lengths: docs/spec/ecdsa.md


class ClientHello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the client seals to the channel key. ``repr`` shows no secret.

    :ivar ecdsa_setup: the client's base oblivious transfers; present when the session is to sign ``ecdsa-secp256k1``.
    :ivar auth: whose session this is; absent, it is nobody's.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    environment: EnvironmentId
    client_key: _PublicKey
    client_random: _Random
    ecdsa_setup: _Setup | None = None
    auth: SessionAuth | None = None

    def __repr__(self) -> str:
        return f"<ClientHello {self.environment}>"


class EnclaveHello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the enclave seals to the client's ephemeral key. ``repr`` shows no secret.

    :ivar ecdsa_answer: the enclave's answer to the client's base oblivious transfers; present when those were.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    session_id: Annotated[bytes, Meta(min_length=SESSION_ID_LENGTH, max_length=SESSION_ID_LENGTH)]
    enclave_random: _Random
    lifetime: Annotated[int, Meta(ge=1, le=86400)]  # seconds until the enclave forgets the session
    ecdsa_answer: _Setup | None = None

    def __repr__(self) -> str:
        return f"<EnclaveHello {self.session_id.hex()}>"


def channel_key_hash(public_key: bytes) -> bytes:
    """SHA-256 of the 1,216-byte channel public key, as it stands in an attestation document's ``user_data``."""
    return hashlib.sha256(public_key).digest()


@dataclass(frozen=True)
class HelloBinding:
    """What a session key vouches for: one hello, to one channel key, of one client.

    :ivar key_hash: SHA-256 of the channel key, 32 bytes.
    """

    key_hash: bytes
    environment: str
    client_key: bytes
    client_random: bytes


def session_auth_digest(binding: HelloBinding, *, user_id: str, session_key: bytes, issued_at: int) -> bytes:
    """The 32 bytes that a session key signs inside a client hello (``docs/spec/channel.md`` §2).

    :param session_key: P-256, compressed, 33 bytes.
    :param issued_at: milliseconds since 1970 by the client's clock.
    """
    signed = [
        user_id,
        session_key,
        issued_at,
        binding.key_hash,
        binding.environment,
        binding.client_key,
        binding.client_random,
    ]
    return hashlib.sha256(SESSION_AUTH_LABEL + cbor.encode(signed)).digest()


class _KeyPair:
    """An HPKE key pair for MLKEM768-X25519."""

    __slots__ = ("_private", "public_bytes")

    def __init__(self) -> None:
        mlkem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self._private = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public_bytes: Final = (
            mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        )

    def open(self, ciphertext: bytes, info: bytes) -> bytes:
        return _SUITE.decrypt(ciphertext, self._private, info=info)


def _public_key(raw: bytes) -> MLKEM768X25519PublicKey:
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(raw[:-32]), X25519PublicKey.from_public_bytes(raw[-32:])
    )


# --- client ----------------------------------------------------------------------------------------------------------------


class _NotCopied:
    """Refuses to be copied or pickled: a copy would be a second user of keys that are good for one."""

    __slots__ = ()

    def __reduce__(self) -> Never:
        msg = f"{type(self).__name__} cannot be copied or pickled"
        raise TypeError(msg)


class ClientHandshake(_NotCopied):
    """The client's side of the handshake; good for one session.

    :param channel_key: 1,216 bytes whose hash a verified attestation document carries.
    :param environment: the environment to work in.
    :param ecdsa_setup: base oblivious transfers to send along (:func:`threshold.ecdsa.ecdsa_setup_begin`).
    :param authenticate: makes the evidence that this is a user's session, for this very hello; without it the session is nobody's.
    :ivar ecdsa_answer: once finished, the enclave's answer to them.
    """

    def __init__(
        self,
        channel_key: bytes,
        environment: str,
        ecdsa_setup: bytes | None = None,
        authenticate: Callable[[HelloBinding], SessionAuth] | None = None,
    ) -> None:
        if len(channel_key) != CHANNEL_KEY_LENGTH:
            raise _hello_rejected(Culprit.ENCLAVE)
        self._ephemeral: _KeyPair | None = _KeyPair()
        self._random = os.urandom(RANDOM_LENGTH)
        self._key_hash = channel_key_hash(channel_key)
        binding = HelloBinding(self._key_hash, environment, self._ephemeral.public_bytes, self._random)
        plaintext = cbor.encode(
            ClientHello(
                version=1,
                environment=environment,
                client_key=self._ephemeral.public_bytes,
                client_random=self._random,
                ecdsa_setup=ecdsa_setup,
                auth=None if authenticate is None else authenticate(binding),
            )
        )
        self._asked_for_ecdsa = ecdsa_setup is not None
        self.ecdsa_answer: bytes | None = None
        try:
            sealed = _SUITE.encrypt(plaintext, _public_key(channel_key), info=_LABEL_HELLO + self._key_hash)
        except ValueError:
            raise _hello_rejected(Culprit.ENCLAVE) from None
        self.hello: Final = self._key_hash[:KEY_ID_LENGTH] + sealed

    def finish(self, answer: bytes) -> Channel:
        """Open the enclave's hello and derive the session keys.

        :raises ProtocolError: ``hello_rejected``: not an answer of the attested enclave to this very hello.
        :raises RuntimeError: called twice.
        """
        ephemeral, self._ephemeral = self._ephemeral, None
        if ephemeral is None:
            msg = "a handshake can be finished once"
            raise RuntimeError(msg)
        if not CONFIRMATION_LENGTH < len(answer) <= MAX_HELLO:
            raise _hello_rejected(Culprit.HOST)
        sealed, confirmation = answer[:-CONFIRMATION_LENGTH], answer[-CONFIRMATION_LENGTH:]
        try:
            plaintext = ephemeral.open(sealed, _answer_info(self.hello))
        except (InvalidTag, ValueError):
            raise _hello_rejected(Culprit.HOST) from None
        hello = cbor.decode(plaintext, EnclaveHello, limit=MAX_HELLO, culprit=Culprit.ENCLAVE)
        secrets = _Secrets(
            key_hash=self._key_hash,
            hello=self.hello,
            sealed_answer=sealed,
            client_random=self._random,
            enclave_random=hello.enclave_random,
        )
        if not hmac.compare_digest(secrets.confirmation, confirmation):
            raise _hello_rejected(Culprit.HOST)
        if (hello.ecdsa_answer is not None) != self._asked_for_ecdsa:
            raise _hello_rejected(Culprit.ENCLAVE)
        self.ecdsa_answer = hello.ecdsa_answer
        return secrets.channel(hello.session_id, hello.lifetime, client=True)


# --- enclave ---------------------------------------------------------------------------------------------------------------


class ChannelKey(_NotCopied):
    """The enclave's channel key, made at boot and rotated; lives in memory only."""

    def __init__(self) -> None:
        self._pair = _KeyPair()
        self.public_bytes: Final = self._pair.public_bytes
        self.hash: Final = channel_key_hash(self.public_bytes)
        self.key_id: Final = self.hash[:KEY_ID_LENGTH]

    def open_hello(self, hello: bytes) -> ReceivedHello:
        """Open a client hello that names this key.

        :raises ProtocolError: ``hello_rejected``, or ``message_malformed`` for a sealed hello of another form.
        """
        if len(hello) > MAX_HELLO or hello[:KEY_ID_LENGTH] != self.key_id:
            raise _hello_rejected(Culprit.CLIENT)
        try:
            plaintext = self._pair.open(hello[KEY_ID_LENGTH:], _LABEL_HELLO + self.hash)
        except (InvalidTag, ValueError):
            raise _hello_rejected(Culprit.CLIENT) from None
        payload = cbor.decode(plaintext, ClientHello, limit=MAX_HELLO, culprit=Culprit.CLIENT)
        return ReceivedHello(self.hash, hello, payload)


class ReceivedHello(_NotCopied):
    """An opened client hello that waits for its answer."""

    def __init__(self, key_hash: bytes, raw: bytes, payload: ClientHello) -> None:
        self._key_hash = key_hash
        self._raw = raw
        self._payload = payload
        self.environment: Final = payload.environment
        self.ecdsa_setup: Final = payload.ecdsa_setup
        self.auth: Final = payload.auth

    @property
    def binding(self) -> HelloBinding:
        """What :attr:`auth` must be about."""
        payload = self._payload
        return HelloBinding(self._key_hash, payload.environment, payload.client_key, payload.client_random)

    def answer(
        self, session_id: bytes, lifetime: int, ecdsa_answer: bytes | None = None
    ) -> tuple[Channel, bytes]:
        """Make the session.

        :param session_id: 16 random bytes.
        :param lifetime: seconds after which the session will be forgotten.
        :param ecdsa_answer: the answer to ``ecdsa_setup``, when there was one.
        :returns: the enclave's end of the channel and the enclave hello to send.
        :raises ProtocolError: ``hello_rejected`` when the client's ephemeral key is not valid.
        """
        enclave_random = os.urandom(RANDOM_LENGTH)
        plaintext = cbor.encode(
            EnclaveHello(
                version=1,
                session_id=session_id,
                enclave_random=enclave_random,
                lifetime=lifetime,
                ecdsa_answer=ecdsa_answer,
            )
        )
        try:
            sealed = _SUITE.encrypt(
                plaintext, _public_key(self._payload.client_key), info=_answer_info(self._raw)
            )
        except ValueError:
            raise _hello_rejected(Culprit.CLIENT) from None
        secrets = _Secrets(
            key_hash=self._key_hash,
            hello=self._raw,
            sealed_answer=sealed,
            client_random=self._payload.client_random,
            enclave_random=enclave_random,
        )
        return secrets.channel(session_id, lifetime, client=False), sealed + secrets.confirmation


# --- keys and records ------------------------------------------------------------------------------------------------------


class _Secrets:
    """The key schedule (``docs/spec/channel.md`` §4): HKDF-SHA256 (RFC 5869) salted with the transcript."""

    def __init__(
        self,
        *,
        key_hash: bytes,
        hello: bytes,
        sealed_answer: bytes,
        client_random: bytes,
        enclave_random: bytes,
    ) -> None:
        self.transcript: Final = hashlib.sha256(
            _LABEL_TRANSCRIPT
            + key_hash
            + hashlib.sha256(hello).digest()
            + hashlib.sha256(sealed_answer).digest()
        ).digest()
        material = HKDF(hashes.SHA256(), 120, salt=self.transcript, info=_LABEL_SECRETS).derive(
            client_random + enclave_random
        )
        self._to_enclave = (material[:32], material[32:44])
        self._to_client = (material[44:76], material[76:88])
        self.confirmation: Final = hmac.digest(material[88:120], _LABEL_CONFIRM + self.transcript, "sha256")

    def channel(self, session_id: bytes, lifetime: int, *, client: bool) -> Channel:
        outgoing, incoming = (
            ((self._to_enclave, _TO_ENCLAVE), (self._to_client, _TO_CLIENT))
            if client
            else ((self._to_client, _TO_CLIENT), (self._to_enclave, _TO_ENCLAVE))
        )
        return Channel(
            session_id=session_id,
            transcript=self.transcript,
            lifetime=lifetime,
            outgoing=_Direction(*outgoing[0], session_id + outgoing[1]),
            incoming=_Direction(*incoming[0], session_id + incoming[1]),
        )


class _Direction:
    """One direction's key, base nonce and next counter."""

    __slots__ = ("_aead", "_base", "_context", "counter")

    def __init__(self, key: bytes, base: bytes, context: bytes) -> None:
        self._aead = AESGCM(key)
        self._base = int.from_bytes(base, "big")
        self._context = _LABEL_RECORD + context
        self.counter = 0

    def seal(self, plaintext: bytes) -> bytes:
        if self.counter >= MAX_RECORDS:
            raise ProtocolError(
                "channel_exhausted",
                "The session has sealed as many records as it may; open a new one.",
                culprit=Culprit.CLIENT,
                reaction=Reaction.BURN,
            )
        counter, self.counter = self.counter, self.counter + 1
        header = _COUNTER.pack(counter)
        return header + self._aead.encrypt(self._nonce(counter), plaintext, self._context + header)

    def open(self, record: bytes) -> bytes:
        header = record[: _COUNTER.size]
        if len(record) < RECORD_OVERHEAD or header != _COUNTER.pack(self.counter):
            raise _record_rejected()
        try:
            plaintext = self._aead.decrypt(
                self._nonce(self.counter), record[_COUNTER.size :], self._context + header
            )
        except InvalidTag:
            raise _record_rejected() from None
        self.counter += 1
        return plaintext

    def _nonce(self, counter: int) -> bytes:
        return (self._base ^ counter).to_bytes(12, "big")


class Channel(_NotCopied):
    """One end of an open channel. Not thread-safe: its owner orders the calls.

    :ivar session_id: 16 bytes.
    :ivar transcript: 32 bytes, the same on both sides; ceremonies bind to it.
    :ivar lifetime: seconds, from the handshake on.
    """

    __slots__ = ("_incoming", "_outgoing", "lifetime", "session_id", "transcript")

    def __init__(
        self,
        *,
        session_id: bytes,
        transcript: bytes,
        lifetime: int,
        outgoing: _Direction,
        incoming: _Direction,
    ) -> None:
        self.session_id = session_id
        self.transcript = transcript
        self.lifetime = lifetime
        self._outgoing = outgoing
        self._incoming = incoming

    def __repr__(self) -> str:
        return f"<Channel {self.session_id.hex()}>"

    def seal(self, plaintext: bytes) -> bytes:
        """Seal the next outgoing record: an 8-byte counter, then ciphertext and tag (24 bytes more than the plaintext).

        :raises ProtocolError: ``channel_exhausted`` after 2^32 records, ``message_too_large``.
        """
        if len(plaintext) + RECORD_OVERHEAD > MAX_RECORD:
            raise ProtocolError(
                "message_too_large",
                f"A record holds at most {MAX_RECORD - RECORD_OVERHEAD} bytes.",
                culprit=Culprit.CLIENT,
            )
        return self._outgoing.seal(plaintext)

    def open(self, record: bytes) -> bytes:
        """Open the next incoming record. A refused record changes nothing.

        :raises ProtocolError: ``record_rejected``: altered, replayed, reordered, or of another session.
        """
        return self._incoming.open(record)


def _answer_info(hello: bytes) -> bytes:
    return _LABEL_ANSWER + hashlib.sha256(hello).digest()


def _hello_rejected(culprit: Culprit) -> ProtocolError:
    return ProtocolError(
        "hello_rejected",
        "The handshake message was not made for this handshake, or was altered on the way.",
        culprit=culprit,
        reaction=Reaction.RETRY,
    )


def _record_rejected() -> ProtocolError:
    return ProtocolError(
        "record_rejected",
        "The record is not the next one of this session: it was altered, replayed, reordered, or belongs to another session.",
        culprit=Culprit.HOST,
        reaction=Reaction.RETRY,
    )
