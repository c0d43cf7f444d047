"""Whole key generations and signatures, for the tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from threshold import KeyShare, Suite, dkg_start, frost_begin, frost_respond

SUITES = list(Suite)
SIGNING = [suite for suite in Suite if suite.is_frost]
CONTEXT = bytes(range(32))

_VECTORS = Path(
    os.environ.get("CONFORMANCE_VECTORS", Path(__file__).parents[2] / ".." / "shared" / "vectors")
)


def vectors(name: str) -> str:
    """A file of the conformance vectors; where the folder is missing, the test skips (fails in CI)."""
    if not _VECTORS.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"no conformance vectors in {_VECTORS}")
    return (_VECTORS / name).read_text()


class Run:
    """One key generation with everybody honest, stopped where a test wants to interfere."""

    def __init__(self, suite: str, t: int = 2, n: int = 2, context: bytes = CONTEXT) -> None:
        self.everybody = range(1, n + 1)
        started = {i: dkg_start(suite, i, t, n, context) for i in self.everybody}
        self.round1 = {i: state for i, (state, _) in started.items()}
        self.messages1 = {i: message for i, (_, message) in started.items()}

    def from_peers(self, messages: dict[int, bytes], i: int) -> dict[int, bytes]:
        return {j: message for j, message in messages.items() if j != i}

    def to_round2(self) -> Run:
        advanced = {i: state.advance(self.from_peers(self.messages1, i)) for i, state in self.round1.items()}
        self.round2 = {i: state for i, (state, _) in advanced.items()}
        self.outgoing = {i: outgoing for i, (_, outgoing) in advanced.items()}
        return self

    def messages2(self, i: int) -> dict[int, bytes]:
        return {j: outgoing[i] for j, outgoing in self.outgoing.items() if j != i}

    def to_round3(self) -> Run:
        self.to_round2()
        advanced = {i: state.advance(self.messages2(i)) for i, state in self.round2.items()}
        self.round3 = {i: state for i, (state, _) in advanced.items()}
        self.confirmations = {i: confirmation for i, (_, confirmation) in advanced.items()}
        return self

    def shares(self) -> dict[int, KeyShare]:
        self.to_round3()
        return {i: state.confirm(self.from_peers(self.confirmations, i)) for i, state in self.round3.items()}


def generate(suite: str, t: int = 2, n: int = 2) -> dict[int, KeyShare]:
    return Run(suite, t, n).shares()


def sign(
    shares: dict[int, KeyShare],
    messages: list[bytes],
    tweaks: list[bytes | None] | None = None,
    signers: list[int] | None = None,
) -> list[bytes]:
    """The first signer initiates, the last responds, those between use the ordinary two rounds."""
    first, *between, last = signers or [1, 2]
    begun = {i: frost_begin(shares[i], len(messages)) for i in [first, *between]}
    commitments = {i: batch for i, (_, batch) in begun.items()}
    responses = {last: frost_respond(shares[last], messages, commitments, tweaks)}
    commitments[last] = responses[last][0]
    for i in between:
        peers = {j: batch for j, batch in commitments.items() if j != i}
        responses[i] = (commitments[i], begun[i][0].sign(shares[i], messages, peers, tweaks))
    return begun[first][0].finish(shares[first], messages, responses, tweaks)
