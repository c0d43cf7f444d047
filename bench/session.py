"""Opening a session: the handshake on both sides."""

from __future__ import annotations

import os
from collections.abc import Iterator

from protocol.channel import Channel, ChannelKey, ClientHandshake

from .measure import Figure, Stopwatch, cpu_ms, split_cpu_ms


def open_session(key: ChannelKey, watch: Stopwatch) -> tuple[Channel, Channel, int, int]:
    with watch("client"):
        handshake = ClientHandshake(key.public_bytes, "sandbox")
    with watch("enclave"):
        enclave, answer = key.open_hello(handshake.hello).answer(os.urandom(16), 3600)
    with watch("client"):
        client = handshake.finish(answer)
    return client, enclave, len(handshake.hello), len(answer)


def figures() -> Iterator[Figure]:
    key = ChannelKey()

    def play() -> dict[str, float]:
        watch = Stopwatch()
        open_session(key, watch)
        return watch.seconds

    for party, milliseconds in split_cpu_ms(play, repeat=200).items():
        yield Figure("session opening", f"{party} CPU", milliseconds, "ms", 2.0)
    client, enclave, sent, received = open_session(key, Stopwatch())
    yield Figure("session opening", "bytes, both ways", sent + received, "B")

    def exchange() -> None:
        client.open(enclave.seal(enclave.open(client.seal(bytes(500)))))

    yield Figure(
        "record", "CPU of a request and its reply, 500 B each, both sides", cpu_ms(exchange, repeat=500), "ms"
    )
