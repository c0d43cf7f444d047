"""Verification: conformance vectors, hostile keys and signatures."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.threshold.ceremonies import SIGNING, generate, sign, vectors
from threshold import Suite, ThresholdError, verify_signature

ED, TR = Suite.FROST_ED25519, Suite.FROST_SECP256K1_TR
DIGEST = bytes(32)


def code(caught: pytest.ExceptionInfo[ThresholdError]) -> tuple[str, int | str | None]:
    return caught.value.code, caught.value.culprit


def test_bip340_vectors() -> None:
    counts = {"TRUE": 0, "FALSE": 0}
    for row in csv.DictReader(io.StringIO(vectors("bip340-test-vectors.csv"))):
        key, message, signature = (
            bytes.fromhex(row[name]) for name in ("public key", "message", "signature")
        )
        counts[row["verification result"]] += 1
        if row["verification result"] == "TRUE":
            verify_signature(TR, key, message, signature)
        else:
            with pytest.raises(ThresholdError) as caught:
                verify_signature(TR, key, message, signature)
            assert caught.value.code in {"signature_invalid", "invalid_public_key"}
    assert counts == {"TRUE": 9, "FALSE": 10}


def test_wycheproof_ed25519() -> None:
    """Verification is cofactorless over canonical points of prime order. No valid Wycheproof signature needs more,
    and every invalid one is refused."""
    document = json.loads(vectors("wycheproof-ed25519_test.json"))
    counts = {"valid": 0, "invalid": 0}
    for group in document["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            counts[case["result"]] += 1
            arguments = (ED, key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            if case["result"] == "valid":
                verify_signature(*arguments)
            else:
                with pytest.raises(ThresholdError) as caught:
                    verify_signature(*arguments)
                assert caught.value.code == "signature_invalid"
    assert sum(counts.values()) == document["numberOfTests"]
    assert counts == WYCHEPROOF_COUNTS


WYCHEPROOF_COUNTS = {"valid": 88, "invalid": 63}


@pytest.mark.parametrize(
    ("suite", "key"),
    [
        (ED, b""),
        (ED, bytes(31)),
        (ED, b"\1" + bytes(31)),
        (ED, b"\xff" * 32),
        (TR, bytes(33)),
        (TR, b"\2" + b"\xff" * 32),
        (TR, bytes(32)),
        (TR, bytes(65)),
    ],
)
def test_bad_public_keys_are_refused(suite: Suite, key: bytes) -> None:
    with pytest.raises(ThresholdError) as caught:
        verify_signature(suite, key, bytes(32), bytes(64))
    assert code(caught) == ("invalid_public_key", "caller")


@given(at=st.integers(0, 63), bit=st.integers(0, 7))
def test_a_changed_signature_is_refused(at: int, bit: int) -> None:
    for suite, (key, signature) in _signed().items():
        changed = bytearray(signature)
        changed[at] ^= 1 << bit
        with pytest.raises(ThresholdError) as caught:
            verify_signature(suite, key, DIGEST, bytes(changed))
        assert code(caught) == ("signature_invalid", None)


_cache: dict[Suite, tuple[bytes, bytes]] = {}


def _signed() -> dict[Suite, tuple[bytes, bytes]]:
    if not _cache:
        for suite in SIGNING:
            shares = generate(suite)
            _cache[suite] = (shares[1].group_public_key, sign(shares, [DIGEST])[0])
    return _cache
