"""The native core by itself: key generation, signing, sealing, per party."""

from __future__ import annotations

import os
from collections.abc import Iterator

from threshold import KeyShare, SealingKey, dkg_start, frost_begin, frost_respond

from .measure import Figure, Stopwatch, cpu_ms, split_cpu_ms

SUITES = ("frost-ed25519", "frost-secp256k1-tr")
CLIENT, ENCLAVE = 1, 2


def generate(suite: str, watch: Stopwatch) -> tuple[KeyShare, KeyShare, int, int]:
    """Run a 2-of-2 key generation; returns both shares, and the bytes sent by the client and by the enclave."""
    context = os.urandom(32)
    with watch("client"):
        client1, from_client1 = dkg_start(suite, CLIENT, 2, 2, context)
    with watch("enclave"):
        enclave1, from_enclave1 = dkg_start(suite, ENCLAVE, 2, 2, context)
        enclave2, from_enclave2 = enclave1.advance({CLIENT: from_client1})
    with watch("client"):
        client2, from_client2 = client1.advance({ENCLAVE: from_enclave1})
        client3, confirmed_by_client = client2.advance({ENCLAVE: from_enclave2[CLIENT]})
    with watch("enclave"):
        enclave3, confirmed_by_enclave = enclave2.advance({CLIENT: from_client2[ENCLAVE]})
        enclave = enclave3.confirm({CLIENT: confirmed_by_client})
    with watch("client"):
        client = client3.confirm({ENCLAVE: confirmed_by_enclave})
    sent = len(from_client1) + len(from_client2[ENCLAVE]) + len(confirmed_by_client)
    received = len(from_enclave1) + len(from_enclave2[CLIENT]) + len(confirmed_by_enclave)
    return client, enclave, sent, received


def sign(suite: str, client: KeyShare, enclave: KeyShare, watch: Stopwatch) -> tuple[int, int]:
    """Sign one message; returns the bytes of the protocol sent by the client and by the enclave."""
    messages, tweaks = ([os.urandom(150)], None) if suite == "frost-ed25519" else ([os.urandom(32)], [b""])
    with watch("client"):
        nonces, commitments = frost_begin(client, 1)
    with watch("enclave"):
        theirs, shares = frost_respond(enclave, messages, {CLIENT: commitments}, tweaks)
    with watch("client"):
        nonces.finish(client, messages, {ENCLAVE: (theirs, shares)}, tweaks)
    return len(commitments[0]), len(theirs[0]) + len(shares[0])


def figures() -> Iterator[Figure]:
    for suite in SUITES:

        def play_dkg(suite: str = suite) -> dict[str, float]:
            watch = Stopwatch()
            generate(suite, watch)
            return watch.seconds

        for party, milliseconds in split_cpu_ms(play_dkg, repeat=100).items():
            yield Figure(f"DKG 2-of-2, {suite}", f"{party} CPU", milliseconds, "ms")
        client, enclave, sent, received = generate(suite, Stopwatch())
        yield Figure(f"DKG 2-of-2, {suite}", "bytes, both ways", sent + received, "B")

        def play_sign(
            suite: str = suite, client: KeyShare = client, enclave: KeyShare = enclave
        ) -> dict[str, float]:
            watch = Stopwatch()
            sign(suite, client, enclave, watch)
            return watch.seconds

        for party, milliseconds in split_cpu_ms(play_sign, repeat=400).items():
            yield Figure(f"signature, {suite}", f"{party} CPU", milliseconds, "ms", 0.25)
        sent, received = sign(suite, client, enclave, Stopwatch())
        yield Figure(f"signature, {suite}", "bytes, both ways", sent + received, "B")

        key = SealingKey.from_data_key(bytearray(os.urandom(32)))
        record = key.seal_share(enclave, b"header")
        yield Figure(
            f"sealed share, {suite}",
            "opening CPU",
            cpu_ms(lambda key=key, record=record: key.open_share(record, b"header"), repeat=100),
            "ms",
        )
        yield Figure(f"sealed share, {suite}", "record", len(record), "B")
