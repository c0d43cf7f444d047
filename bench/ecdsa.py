"""ECDSA by itself: session set-up with base oblivious transfers, and signatures, per party and per stage."""

from __future__ import annotations

import os
from collections.abc import Iterator

from threshold import (
    EcdsaClientOt,
    EcdsaEnclaveOt,
    ecdsa_begin,
    ecdsa_respond,
    ecdsa_setup_begin,
    ecdsa_setup_respond,
)

from .core import CLIENT, ENCLAVE, generate
from .measure import Figure, Stopwatch, split_cpu_ms

SUITE = "ecdsa-secp256k1"


def set_up(watch: Stopwatch) -> tuple[EcdsaClientOt, EcdsaEnclaveOt, int]:
    """Base oblivious transfers; returns both ends, and the bytes both ways."""
    context = os.urandom(32)
    with watch("client"):
        setup, offer = ecdsa_setup_begin()
    with watch("enclave"):
        answered, answer = ecdsa_setup_respond(offer)
        enclave = answered.bind(context)
    with watch("client"):
        client = setup.finish(answer, context)
    return client, enclave, len(offer) + len(answer)


def figures() -> Iterator[Figure]:
    def play_set_up() -> dict[str, float]:
        watch = Stopwatch()
        set_up(watch)
        return watch.seconds

    stage = "session set-up, ecdsa"
    for party, milliseconds in split_cpu_ms(play_set_up, repeat=30).items():
        yield Figure(stage, f"{party} CPU, base transfers", milliseconds, "ms", 15)
    client_ot, enclave_ot, size = set_up(Stopwatch())
    yield Figure(stage, "bytes, both ways", size, "B")

    client, enclave, _, _ = generate(SUITE, Stopwatch())
    digest = os.urandom(32)
    sizes = [0, 0]

    def play_sign() -> dict[str, float]:
        watch = Stopwatch()
        with watch("client CPU: begin"):
            pending, message1 = ecdsa_begin(client, client_ot, digest, [], ENCLAVE)
        with watch("enclave CPU"):
            message2 = ecdsa_respond(enclave, enclave_ot, message1, digest, [], CLIENT)
        with watch("client CPU: finish, verified"):
            pending.finish(message2)
        sizes[:] = [len(message1), len(message2)]
        watch.seconds["client CPU"] = (
            watch.seconds["client CPU: begin"] + watch.seconds["client CPU: finish, verified"]
        )
        return watch.seconds

    for what, milliseconds in split_cpu_ms(play_sign, repeat=300).items():
        yield Figure(
            f"signature, {SUITE}",
            what,
            milliseconds,
            "ms",
            0.6 if what in {"client CPU", "enclave CPU"} else None,
        )
    yield Figure(f"signature, {SUITE}", "bytes, both ways", sum(sizes), "B", 85_000)
