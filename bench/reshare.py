"""Resharing by itself: a refresh, a backup share, a recovery, per party, as client and enclave do them in two round trips."""

from __future__ import annotations

import os
from collections.abc import Iterator

from threshold import KeyShare, reshare_join, reshare_start

from .core import CLIENT, ENCLAVE, generate
from .measure import Figure, Stopwatch, cpu_ms, split_cpu_ms

SUITES = ("frost-ed25519", "frost-secp256k1-tr", "ecdsa-secp256k1")
BACKUP = 3


def reshare(
    old: dict[int, KeyShare], client_deals: int, client_receives: list[int], watch: Stopwatch
) -> tuple[dict[int, KeyShare], int]:
    """The client deals with one share and receives for some parties, the enclave is party 2; returns the new shares and the
    bytes of the protocol, both ways.
    """
    dealers, n = sorted([client_deals, ENCLAVE]), len(client_receives) + 1
    context = os.urandom(32)
    with watch("client"):
        client1, from_client1 = reshare_start([old[client_deals]], dealers, client_receives, 2, n, context)
    with watch("enclave"):
        enclave1, from_enclave1 = reshare_start([old[ENCLAVE]], dealers, [ENCLAVE], 2, n, context)
        enclave2, from_enclave2 = enclave1.advance(from_client1)
    with watch("client"):
        client2, from_client2 = client1.advance(from_enclave1)
        client3, confirmed_by_client = client2.advance(from_enclave2)
    with watch("enclave"):
        enclave3, confirmed_by_enclave = enclave2.advance(from_client2)
        shares = enclave3.confirm(confirmed_by_client)
    with watch("client"):
        shares |= client3.confirm(confirmed_by_enclave)
    sent = (
        from_client1,
        from_enclave1,
        from_client2,
        from_enclave2,
        confirmed_by_client,
        confirmed_by_enclave,
    )
    return shares, sum(len(message) for messages in sent for message in messages.values())


def figures() -> Iterator[Figure]:
    for suite in SUITES:
        client, enclave, _, _ = generate(suite, Stopwatch())
        two = {CLIENT: client, ENCLAVE: enclave}
        three, _ = reshare(two, CLIENT, [CLIENT, BACKUP], Stopwatch())
        for what, old, deals, receives in (
            ("refresh 2-of-2", two, CLIENT, [CLIENT]),
            ("reshare 2-of-2 to 2-of-3", two, CLIENT, [CLIENT, BACKUP]),
            ("recovery in 2-of-3", three, BACKUP, [CLIENT, BACKUP]),
        ):

            def play(
                old: dict[int, KeyShare] = old, deals: int = deals, receives: list[int] = receives
            ) -> dict[str, float]:
                watch = Stopwatch()
                reshare(old, deals, receives, watch)
                return watch.seconds

            stage = f"{what}, {suite}"
            for party, milliseconds in split_cpu_ms(play, repeat=60).items():
                yield Figure(stage, f"{party} CPU", milliseconds, "ms", 10)
            yield Figure(stage, "bytes, both ways", reshare(old, deals, receives, Stopwatch())[1], "B")
        context = os.urandom(32)
        proof = client.prove(context)
        stage = f"proof of a share, {suite}"
        yield Figure(stage, "making CPU", cpu_ms(lambda c=client, x=context: c.prove(x), repeat=100), "ms")
        verifying = cpu_ms(lambda e=enclave, x=context, p=proof: e.verify_proof(CLIENT, x, p), repeat=100)
        yield Figure(stage, "verifying CPU", verifying, "ms")
        joining = cpu_ms(
            lambda g=client.group: reshare_join(g, [CLIENT, ENCLAVE], [], 2, 2, bytes(32)), repeat=100
        )
        yield Figure(f"group of two, {suite}", "reading CPU", joining, "ms")
