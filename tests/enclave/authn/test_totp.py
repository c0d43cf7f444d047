"""Time-based codes, by the vectors of RFC 6238 and RFC 4226."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.authn import totp
from protocol.envelope.errors import CosignerError, Culprit

SECRET = b"12345678901234567890"
AT_MS = 1_111_111_109_000
STEP = AT_MS // 30_000

# RFC 6238, appendix B, SHA-1: the last six of the eight digits, as the truncation is modulo a power of ten.
RFC_6238 = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
# RFC 4226, appendix D
RFC_4226 = [
    "755224",
    "287082",
    "359152",
    "969429",
    "338314",
    "254676",
    "287922",
    "162583",
    "399871",
    "520489",
]


def refused(code, *, at_ms=AT_MS, last_step=-1, secret=SECRET):
    with pytest.raises(CosignerError) as caught:
        totp.verify(secret, code, at_ms=at_ms, last_step=last_step)
    assert caught.value.code == "evidence_invalid"
    assert caught.value.culprit is Culprit.CLIENT


@pytest.mark.parametrize("seconds, code", RFC_6238)
def test_vectors_of_rfc_6238(seconds, code):
    assert totp.verify(SECRET, code[2:], at_ms=seconds * 1000, last_step=-1) == seconds // 30


def test_vectors_of_rfc_4226():
    assert [totp.code_of(SECRET, step) for step in range(10)] == RFC_4226


@pytest.mark.parametrize("drift, accepted", [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_of_drift_to_either_side(drift, accepted):
    code = totp.code_of(SECRET, STEP + drift)
    if accepted:
        assert totp.verify(SECRET, code, at_ms=AT_MS, last_step=-1) == STEP + drift
    else:
        refused(code)


def test_a_code_works_once_and_so_does_no_earlier_one():
    code = totp.code_of(SECRET, STEP)
    used = totp.verify(SECRET, code, at_ms=AT_MS, last_step=STEP - 1)
    assert used == STEP
    refused(code, last_step=used)
    refused(totp.code_of(SECRET, STEP - 1), last_step=used)
    assert totp.verify(SECRET, totp.code_of(SECRET, STEP + 1), at_ms=AT_MS, last_step=used) == STEP + 1


def test_a_code_that_two_steps_share_is_used_up_for_both(monkeypatch):
    monkeypatch.setattr(totp, "code_of", lambda *_: "111111")
    used = totp.verify(SECRET, "111111", at_ms=AT_MS, last_step=-1)
    assert used == STEP + 1
    refused("111111", last_step=used)


def test_all_candidates_are_compared_whatever_the_code(monkeypatch):
    compared = []
    real = totp.hmac.compare_digest
    monkeypatch.setattr(totp.hmac, "compare_digest", lambda *pair: compared.append(pair) or real(*pair))
    totp.verify(SECRET, totp.code_of(SECRET, STEP - 1), at_ms=AT_MS, last_step=-1)
    assert len(compared) == 3
    refused("000000")
    refused(totp.code_of(SECRET, STEP), last_step=STEP + 5)
    assert len(compared) == 9


@pytest.mark.parametrize("code", ["", "08180", "0081804", "O81804", "٠٨١٨٠٤", "081804 ", "\ud800"])
def test_a_code_in_another_form_is_refused(code):
    assert totp.code_of(SECRET, STEP) == "081804"
    refused(code)


def test_another_secret_is_refused():
    refused("081804", secret=bytes(20))


def test_the_first_steps_of_time():
    assert totp.verify(SECRET, "755224", at_ms=0, last_step=-1) == 0
    refused("755224", at_ms=0, last_step=0)


def test_secrets_are_random_and_of_20_bytes():
    made = {totp.new_secret() for _ in range(10)}
    assert len(made) == 10
    assert {len(secret) for secret in made} == {20}


@given(st.binary(min_size=20, max_size=20), st.integers(0, 1 << 45), st.integers(-1, 1))
def test_a_code_of_now_is_accepted_with_any_secret(secret, at_ms, drift):
    step = max(at_ms // 30_000 + drift, 0)
    found = totp.verify(secret, totp.code_of(secret, step), at_ms=at_ms, last_step=-1)
    assert abs(found - at_ms // 30_000) <= 1
