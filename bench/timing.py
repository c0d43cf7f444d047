"""Timing statistics in the manner of dudect (Reparaz, Balasch, Verbauwhede, 2017): does time depend on the secret share?

Two classes of handles, alike but for their secrets: in one all hold the same share (opened again and again from one sealed record), in
the other each holds a share of its own. Their order is random. Welch's t says how sure one can be that the means differ; above 4.5 is
usually taken as a leak. Python and other processes add noise, so this is reported and gates nothing; ``make test-constant-time`` gates.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator

from threshold import KeyShare, SealingKey, ecdsa_begin, frost_begin, frost_respond

from .core import CLIENT, generate
from .ecdsa import SUITE as ECDSA
from .ecdsa import set_up
from .measure import Figure, Stopwatch

HANDLES = 48
SAMPLES = 1500  # for each class
KEPT = 0.9  # the slowest tenth is interrupts


def pools(suite: str) -> tuple[list[KeyShare], list[KeyShare]]:
    """Enclave shares: one secret many times, and as many secrets."""
    key = SealingKey.from_data_key(bytearray(os.urandom(32)))

    def fresh() -> bytes:
        return key.seal_share(generate(suite, Stopwatch())[1], b"")

    one = fresh()
    return (
        [key.open_share(one, b"") for _ in range(HANDLES)],
        [key.open_share(fresh(), b"") for _ in range(HANDLES)],
    )


def welch_t(suite: str, work: Callable[[KeyShare], object]) -> float:
    """|t| between the two classes, over CPU nanoseconds of ``work``."""
    same, different = pools(suite)
    for share in (*same, *different):
        work(share)
    samples: tuple[list[int], list[int]] = ([], [])
    order = [0, 1] * SAMPLES
    random.shuffle(order)
    for kind in order:
        share = random.choice((same, different)[kind])  # noqa: S311
        started = time.thread_time_ns()
        work(share)
        samples[kind].append(time.thread_time_ns() - started)
    limit = sorted([*samples[0], *samples[1]])[int(2 * SAMPLES * KEPT)]
    first, second = ([value for value in values if value <= limit] for values in samples)
    spread = statistics.variance(first) / len(first) + statistics.variance(second) / len(second)
    return abs(statistics.fmean(first) - statistics.fmean(second)) / spread**0.5


def figures() -> Iterator[Figure]:
    message = [os.urandom(32)]
    for suite, tweaks in (("frost-ed25519", None), ("frost-secp256k1-tr", [b""])):
        client = generate(suite, Stopwatch())[0]

        def answer(
            share: KeyShare, client: KeyShare = client, tweaks: list[bytes | None] | None = tweaks
        ) -> object:
            return frost_respond(share, message, {CLIENT: frost_begin(client, 1)[1]}, tweaks)

        yield Figure("timing, Welch's |t|", f"{suite}: frost_respond, by share", welch_t(suite, answer), "")

    digest = os.urandom(32)
    client_ot, _, _ = set_up(Stopwatch())
    yield Figure(
        "timing, Welch's |t|",
        f"{ECDSA}: ecdsa_begin, by share",
        welch_t(ECDSA, lambda share: ecdsa_begin(share, client_ot, digest, [], CLIENT)),
        "",
    )
