"""Addresses against the libraries of their chains; a mistyped one is refused, since a deny rule would not see it."""

from __future__ import annotations

import pytest
from embit import base58 as embit_base58
from embit import bech32 as embit_bech32
from eth_utils import is_checksum_address, to_checksum_address
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from policy import PolicyError
from policy.addresses import base58, checksummed, normal, to_base58


def is_read(text: str, chain: str) -> bool:
    try:
        normal(text, chain, "address")
    except PolicyError as error:
        return error.code != "policy_value"
    return True


@given(st.binary(min_size=20, max_size=20))
def test_evm_addresses(raw):
    proper = to_checksum_address(raw)
    assert checksummed("0x" + raw.hex()) == proper
    for text in (proper, proper.lower(), "0x" + proper[2:].upper()):
        assert normal(text, "EVM", "") == "0x" + raw.hex()


@given(st.binary(min_size=20, max_size=20), st.integers(2, 41))
def test_a_wrong_case_is_a_wrong_checksum(raw, at):
    proper = to_checksum_address(raw)
    swapped = proper[:at] + proper[at].swapcase() + proper[at + 1 :]
    digits = swapped[2:]
    if swapped != proper and digits not in {digits.lower(), digits.upper()}:
        assert not is_checksum_address(swapped)
        assert not is_read(swapped, "EVM")


@given(st.binary(min_size=32, max_size=32))
def test_solana_addresses(raw):
    text = str(Pubkey(raw))
    assert normal(text, "SVM", "") == text
    assert base58(text) == raw
    assert to_base58(raw) == text
    assert not is_read("1" + text, "SVM")


@given(st.sampled_from(["bc", "tb", "bcrt"]), st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_segwit_addresses(human, version, program):
    text = embit_bech32.encode(human, version, program)
    if text is None:  # version 0 has 20 or 32 bytes
        return
    assert normal(text, "BTC", "") == text
    assert normal(text.upper(), "BTC", "") == text
    assert not is_read(text[:-1] + text[-1].upper(), "BTC") or text[-1].isdigit()


@given(st.binary(min_size=20, max_size=20), st.sampled_from([0, 5, 0x6F, 0xC4, 1]))
def test_base58_addresses(raw, version):
    text = embit_base58.encode_check(bytes([version]) + raw)
    assert is_read(text, "BTC") == (version != 1)


@given(
    st.sampled_from(
        [
            embit_bech32.encode("bc", 0, bytes(range(20))),
            embit_bech32.encode("bc", 1, bytes(range(32))),
            embit_base58.encode_check(b"\0" + bytes(range(20))),
        ]
    ),
    st.data(),
)
def test_a_typing_error_in_a_bitcoin_address_is_noticed(text, data):
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("023456789acdefghjklmnpqrstuvwxyz"))
    typed = text[:at] + letter + text[at + 1 :]
    if typed != text:
        assert not is_read(typed, "BTC")


@given(st.text(max_size=130), st.sampled_from(["EVM", "SVM", "BTC"]))
def test_text_is_refused_or_has_one_form(text, chain):
    try:
        form = normal(text, chain, "")
    except PolicyError:
        return
    assert normal(form, chain, "") == form


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("", "EVM"), ("0x", "EVM"), ("0X" + "a" * 40, "EVM"), ("a" * 40, "EVM"), ("0x" + "g" * 40, "EVM"), (5, "EVM"),
        ("", "SVM"), ("0" * 44, "SVM"), ("1" * 31, "SVM"), ("1" * 33, "SVM"), (None, "SVM"),
        ("", "BTC"), ("bc1", "BTC"), ("bc1qqqqqqq", "BTC"), ("1" * 25, "BTC"), ("ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9", "BTC"),
        # BIP-350's invalid vectors: bech32 for version 1, bech32m for version 0, version 17
        ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", "BTC"),
        ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "BTC"),
        ("bc1pw5dgrnzv", "BTC"), ("bc1gmk9yu", "BTC"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text, chain):
    assert not is_read(text, chain)
