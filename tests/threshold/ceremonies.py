"""Whole key generations and signatures, for the tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from threshold import KeyShare, Suite, dkg_start, frost_begin, frost_respond, reshare_join, reshare_start

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


class Resharing:
    """One resharing with everybody honest, stopped where a test wants to interfere.

    ``nodes`` says which dealers and which receivers each node is; without it everybody has a node of their own.
    """

    def __init__(
        self,
        old: dict[int, KeyShare],
        dealers: list[int],
        t: int,
        n: int,
        *,
        nodes: list[tuple[list[int], list[int]]] | None = None,
        context: bytes = CONTEXT,
    ) -> None:
        everybody = sorted({*dealers, *range(1, n + 1)})
        self.nodes = nodes or [([i] if i in dealers else [], [i] if i <= n else []) for i in everybody]
        self.round1 = []
        self.messages1: dict[int, bytes] = {}
        for deals, receives in self.nodes:
            if deals:
                shares = [old[i] for i in deals]
                state, messages = reshare_start(shares, dealers, receives, t, n, context)
                self.messages1 |= messages
            else:
                group = next(iter(old.values())).group
                state = reshare_join(group, dealers, receives, t, n, context)
            self.round1.append(state)

    def first_for(self, node: int) -> dict[int, bytes]:
        return {i: message for i, message in self.messages1.items() if i not in self.nodes[node][0]}

    def to_round2(self) -> Resharing:
        advanced = [state.advance(self.first_for(node)) for node, state in enumerate(self.round1)]
        self.round2 = [state for state, _ in advanced]
        self.messages2 = {pair: message for _, sent in advanced for pair, message in sent.items()}
        return self

    def second_for(self, node: int) -> dict[tuple[int, int], bytes]:
        receivers = self.nodes[node][1]
        return {pair: message for pair, message in self.messages2.items() if pair[1] in receivers}

    def to_round3(self) -> Resharing:
        self.to_round2()
        advanced = [state.advance(self.second_for(node)) for node, state in enumerate(self.round2)]
        self.round3 = [state for state, _ in advanced]
        self.confirmations = {i: sent for _, own in advanced for i, sent in own.items()}
        return self

    def confirmations_for(self, node: int) -> dict[int, bytes]:
        return {i: sent for i, sent in self.confirmations.items() if i not in self.nodes[node][1]}

    def shares(self) -> dict[int, KeyShare]:
        self.to_round3()
        confirmed = [state.confirm(self.confirmations_for(node)) for node, state in enumerate(self.round3)]
        return {i: share for shares in confirmed for i, share in sorted(shares.items())}


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
