"""The specification's second implementation gives the recorded transcripts of the first."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from coincurve import PublicKey

from tests.threshold.ecdsa_reference import (
    Draws,
    Key,
    Setup,
    encode,
    gadget,
    one_way_map,
    scalar,
    setup,
    sign,
)

RECORDED = json.loads(
    (Path(__file__).parents[2] / "native/core/src/ecdsa/tests/recorded.json").read_text(encoding="utf-8")
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def draws() -> tuple[Draws, Draws]:
    return (
        Draws(bytes.fromhex(RECORDED["client_chacha20_key"])),
        Draws(bytes.fromhex(RECORDED["enclave_chacha20_key"])),
    )


@pytest.fixture(scope="module")
def session(draws: tuple[Draws, Draws]) -> Setup:
    return setup(*draws, bytes.fromhex(RECORDED["session_context"]))


def test_the_one_way_map_is_that_of_rfc_9496() -> None:
    """Appendix A.3 of the RFC: the hash of this label."""
    label = b"Ristretto is traditionally a short shot of espresso coffee"
    expected = "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
    assert encode(one_way_map(hashlib.sha512(label).digest())).hex() == expected


def test_the_setup_is_the_recorded_one(session: Setup) -> None:
    recorded = RECORDED["setup"]
    assert sha256(session.message) == recorded["sha256_message"]
    assert sha256(session.answer) == recorded["sha256_answer"]
    assert session.delta.hex() == recorded["delta"]
    assert session.binding.hex() == recorded["binding"]
    assert session.chosen[0].hex() == recorded["first_bound_seed"]
    assert sha256(b"".join(session.chosen)) == recorded["sha256_bound_seeds"]
    delta = int.from_bytes(session.delta, "little")
    for i, (pair, chosen) in enumerate(zip(session.pairs, session.chosen, strict=True)):
        assert pair[delta >> i & 1] == chosen
        assert pair[1 - (delta >> i & 1)] != chosen


def test_the_signatures_are_the_recorded_ones(session: Setup, draws: tuple[Draws, Draws]) -> None:
    group = RECORDED["group"]
    key = Key(
        group["t"],
        group["n"],
        group["epoch"],
        bytes.fromhex(group["public_key"]),
        bytes.fromhex(group["chain_code"]),
        [int(share, 16) for share in group["shares"]],
    )
    assert len(RECORDED["signatures"]) == 3
    for index, recorded in enumerate(RECORDED["signatures"]):
        digest = bytes.fromhex(recorded["digest"])
        parties = (recorded["client"], recorded["enclave"])
        signed = sign(
            session,
            key,
            index=index,
            digest=digest,
            path=recorded["path"],
            parties=parties,
            draws=draws,
        )
        assert signed.context.hex() == recorded["intermediate"]["context"]
        assert signed.transcript.hex() == recorded["intermediate"]["transcript"]
        assert scalar(signed.beta0).hex() == recorded["intermediate"]["beta0"]
        gadget0 = b"".join(scalar(value) for value in gadget(signed.context, 0))
        assert sha256(gadget0) == recorded["intermediate"]["sha256_gadget0"]
        assert signed.message1[:107].hex() == recorded["message1_head"]
        assert sha256(signed.message1[107:15_467]) == recorded["sha256_columns"]
        assert signed.message1[15_467:].hex() == recorded["message1_check"]
        assert sha256(signed.message1) == recorded["sha256_message1"]
        assert signed.message2[:131].hex() == recorded["message2_head"]
        assert sha256(signed.message2[131:40_067]) == recorded["sha256_tau0"]
        assert sha256(signed.message2[40_067:66_691]) == recorded["sha256_tau1"]
        assert signed.message2[66_691:].hex() == recorded["message2_rest"]
        assert sha256(signed.message2) == recorded["sha256_message2"]
        assert signed.signature.hex() == recorded["signature"]
        assert signed.recovery_id == recorded["recovery_id"]
        assert signed.public_key.hex() == recorded["public_key"]
        raw = signed.signature + bytes([signed.recovery_id])
        assert PublicKey.from_signature_and_message(raw, digest, hasher=None).format() == signed.public_key
