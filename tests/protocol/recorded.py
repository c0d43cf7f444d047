"""One handshake and its first records, with every secret known: ``recorded.json``. ``python -m tests.protocol.recorded`` records anew,
which is right only when the format was changed on purpose (and its version with it).
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from protocol import channel
from tests.protocol.reference import PrivateKey

FILE = Path(__file__).with_name("recorded.json")


@dataclass(frozen=True)
class Recorded:
    """Seeds are 64 bytes (ML-KEM) followed by 32 (X25519)."""

    channel_key_seeds: bytes
    client_key_seeds: bytes
    client_random: bytes
    enclave_random: bytes
    session_id: bytes
    lifetime: int
    environment: str
    hello: bytes
    answer: bytes
    transcript: bytes
    requests: list[bytes]
    replies: list[bytes]

    @classmethod
    def load(cls) -> Recorded:
        raw = json.loads(FILE.read_text())
        return cls(**{name: _from_hex(name, value) for name, value in raw.items()})

    def save(self) -> None:
        FILE.write_text(
            json.dumps({name: _to_hex(value) for name, value in asdict(self).items()}, indent=1) + "\n"
        )


_KeyPair = channel._KeyPair  # the real one: the functions below replace the name in its module
REQUESTS, REPLIES = [b"first request", b"", bytes(range(256))], [b"first reply", b"\x00", b"z" * 100]


def private_key(seeds: bytes) -> PrivateKey:
    return PrivateKey(seeds[:64], seeds[64:])


def key_pair(seeds: bytes) -> _KeyPair:
    """The product's key pair, from known seeds."""
    known = private_key(seeds)
    pair = _KeyPair()
    pair._private = MLKEM768X25519PrivateKey(known.mlkem, known.x25519)
    pair.public_bytes = known.public_bytes  # type: ignore[misc]
    return pair


def channel_key(seeds: bytes) -> channel.ChannelKey:
    """An enclave whose channel key has known seeds."""
    with mock.patch.object(channel, "_KeyPair", return_value=key_pair(seeds)):
        return channel.ChannelKey()


def client(public_key: bytes, environment: str, seeds: bytes, random: bytes) -> channel.ClientHandshake:
    """A client whose ephemeral key and random bytes are known. Its hello still differs from run to run."""
    with (
        mock.patch.object(channel, "_KeyPair", return_value=key_pair(seeds)),
        mock.patch.object(channel.os, "urandom", return_value=random),
    ):
        return channel.ClientHandshake(public_key, environment)


def record() -> Recorded:
    channel_seeds, client_seeds = secrets.token_bytes(96), secrets.token_bytes(96)
    client_random, enclave_random = secrets.token_bytes(32), secrets.token_bytes(32)
    session_id = secrets.token_bytes(16)
    enclave_key = channel_key(channel_seeds)
    handshake = client(enclave_key.public_bytes, "sandbox", client_seeds, client_random)
    received = enclave_key.open_hello(handshake.hello)
    with mock.patch.object(channel.os, "urandom", return_value=enclave_random):
        enclave_end, answer = received.answer(session_id, 3600)
    client_end = handshake.finish(answer)
    return Recorded(
        channel_key_seeds=channel_seeds,
        client_key_seeds=client_seeds,
        client_random=client_random,
        enclave_random=enclave_random,
        session_id=session_id,
        lifetime=3600,
        environment="sandbox",
        hello=handshake.hello,
        answer=answer,
        transcript=client_end.transcript,
        requests=[client_end.seal(text) for text in REQUESTS],
        replies=[enclave_end.seal(text) for text in REPLIES],
    )


def _to_hex(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case list():
            return [_to_hex(entry) for entry in value]
    return value


def _from_hex(name: str, value: object) -> object:
    match value:
        case str() if name != "environment":
            return bytes.fromhex(value)
        case list():
            return [_from_hex(name, entry) for entry in value]
    return value


if __name__ == "__main__":
    assert os.environ.get("CI") is None, "a recording belongs into the repository, not into a build"
    record().save()
