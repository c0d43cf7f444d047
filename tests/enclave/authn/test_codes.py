"""One-time codes: how people may write them, and how the enclave compares them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.authn import codes
from protocol import crockford
from protocol.actions import DeviceCode, RecoveryCode
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit

FORM = re.compile(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}\Z")


def refused(text, kept):
    with pytest.raises(CosignerError) as caught:
        codes.find(text, kept)
    assert caught.value.code == "evidence_invalid"


def test_a_code_is_found_among_others_and_only_there():
    made = [codes.make() for _ in range(10)]
    kept = [one for _, one in made]
    for place, (text, _) in enumerate(made):
        assert codes.find(text, kept) == place
        refused(text, [one for other, one in enumerate(kept) if other != place])
    refused(made[0][0], [])


def test_a_code_has_80_random_bits_and_its_hash_a_salt_of_its_own():
    made = [codes.make() for _ in range(100)]
    assert len({text for text, _ in made}) == 100
    assert len({kept[: codes.SALT_LENGTH] for _, kept in made}) == 100
    assert {len(kept) for _, kept in made} == {codes.HASH_LENGTH}
    assert {len(crockford.decode(text)) * 8 for text, _ in made} == {80}


def test_what_is_kept_does_not_hold_the_code():
    text, kept = codes.make()
    assert crockford.decode(text) not in kept
    assert text.encode() not in kept


def test_messages_carry_codes_as_they_are_made():
    text, _ = codes.make()
    for kind in (DeviceCode, RecoveryCode):
        assert cbor.decode(cbor.encode(kind(code=text)), kind, culprit=Culprit.CLIENT).code == text


@pytest.mark.parametrize(
    "written",
    [
        "01AB-CDEF-GHJK-MNPQ",
        "01ab-cdef-ghjk-mnpq",
        "oLab cdef ghjk mnpq",
        "OIABCDEFGHJKMNPQ",
        " 0lAB--CDEF GHJK-MNPQ\n",
    ],
)
def test_ways_to_write_one_code(written):
    assert crockford.normalize(written) == "01AB-CDEF-GHJK-MNPQ"
    raw = crockford.decode("01AB-CDEF-GHJK-MNPQ")
    salt = bytes(16)
    assert codes.matches(written, salt + codes._hash(salt, raw))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "01AB-CDEF-GHJK-MNP",
        "01AB-CDEF-GHJK-MNPQR",
        "U1AB-CDEF-GHJK-MNPQ",
        "01AB_CDEF-GHJK-MNPQ",
        "ı1AB-CDEF-GHJK-MNPQ",
        "０1AB-CDEF-GHJK-MNPQ",
    ],
)
def test_what_is_no_code(written):
    with pytest.raises(ValueError):
        crockford.decode(written)
    assert not codes.matches(written, codes.make()[1])


def test_known_values():
    """Crockford's base 32 is the number in base 32, most significant first."""
    assert crockford.encode(bytes(10)) == "0000-0000-0000-0000"
    assert crockford.encode(b"\xff" * 10) == "ZZZZ-ZZZZ-ZZZZ-ZZZZ"
    assert crockford.encode((32).to_bytes(10, "big")) == "0000-0000-0000-0010"
    with pytest.raises(ValueError):
        crockford.encode(bytes(9))


@given(st.binary(min_size=10, max_size=10))
def test_encoding_and_back(raw):
    text = crockford.encode(raw)
    assert FORM.match(text)
    assert crockford.decode(text) == raw
    assert crockford.normalize(text.lower().replace("-", "")) == text


@given(st.text(max_size=40))
def test_any_text_is_a_code_or_refused(text):
    try:
        normal = crockford.normalize(text)
    except ValueError:
        return
    assert FORM.match(normal)
    assert crockford.normalize(normal) == normal
