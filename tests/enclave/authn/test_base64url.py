"""Base64url: one encoding for every value."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.authn import base64url


@given(st.binary(max_size=100))
def test_encoding_and_back(raw):
    text = base64url.encode(raw)
    assert text == base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert base64url.decode(text) == raw


@pytest.mark.parametrize(
    "text", ["A", "AB", "AAB", "AA==", "AA=", "A+A", "A/A", "AA\n", " AA", "ÄA", "AAAA\0", "="]
)
def test_another_encoding_is_refused(text):
    with pytest.raises(ValueError):
        base64url.decode(text)


@given(st.text(alphabet="ABCDwxyz0189-_+/= \n", max_size=12))
def test_whatever_decodes_encodes_to_the_same_text(text):
    try:
        raw = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(raw) == text
