"""The interpreter lock is released while the native module computes, and one-shot states stay one-shot."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.threshold.ceremonies import generate, sign
from threshold import SealingKey, Suite, ThresholdError, frost_begin, frost_respond, verify_signature


def test_other_threads_run_while_a_call_computes() -> None:
    """Another thread takes steps between the start and the end of one slow call, which needs the lock to be free."""
    entered, finished = threading.Event(), threading.Event()

    def derive() -> None:
        entered.set()
        SealingKey.from_passphrase(b"passphrase", bytes(16), 65_536, 4, 1)
        finished.set()

    thread = threading.Thread(target=derive)
    thread.start()
    entered.wait()
    steps = 0
    while not finished.is_set():
        steps += 1
    thread.join()
    assert steps > 100


def test_shares_are_used_from_many_threads() -> None:
    shares = {suite: generate(suite) for suite in (Suite.FROST_ED25519, Suite.FROST_SECP256K1_TR)}

    def work(k: int) -> None:
        suite = Suite.FROST_ED25519 if k % 2 else Suite.FROST_SECP256K1_TR
        message = k.to_bytes(32, "big")
        tweak = None if k % 2 else b""
        (signature,) = sign(shares[suite], [message], [tweak])
        verify_signature(suite, shares[suite][1].group_public_key, message, signature, tweak)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))


def test_a_race_for_nonces_has_one_winner() -> None:
    shares = generate(Suite.FROST_ED25519)

    def race() -> list[str]:
        nonces, commitments = frost_begin(shares[1], 1)
        responses = [frost_respond(shares[2], [bytes([k])], {1: commitments}) for k in range(8)]
        start = threading.Barrier(8)

        def finish(k: int) -> str:
            start.wait()
            try:
                nonces.finish(shares[1], [bytes([k])], {2: responses[k]})
            except ThresholdError as error:
                return error.code
            return "signed"

        with ThreadPoolExecutor(8) as pool:
            return sorted(pool.map(finish, range(8)))

    for _ in range(20):
        assert race() == ["signed"] + ["state_consumed"] * 7
