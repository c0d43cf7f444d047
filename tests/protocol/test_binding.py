"""What binds attestation, channel and ceremonies together, and the table of chains."""

import hashlib
import itertools
import re
import typing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.binding import MAX_USER_DATA, AttestedKeys, KeyPolicy, dkg_context
from protocol.chains import CHAINS, ECDSA_SUITE, chain_for, default_network
from protocol.channel import ChannelKey, channel_key_hash
from protocol.envelope.errors import Culprit, ProtocolError
from tests.protocol.deterministic import encode
from threshold import Suite
from threshold.payload import bitcoin_address

RECEIPT_KEY = bytes(range(32))
FIELDS: dict[str, object] = {
    "version": 1,
    "channel_key": bytes(32),
    "key_policy": "pinned",
    "receipt_key": RECEIPT_KEY,
}

# --- user_data -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_policy", ["unjudged", "pinned", "editable"])
def test_attested_keys_come_back_and_have_one_encoding(key_policy: KeyPolicy) -> None:
    key = ChannelKey()
    keys = AttestedKeys(version=1, channel_key=key.hash, key_policy=key_policy, receipt_key=RECEIPT_KEY)
    expected = {
        "version": 1,
        "channel_key": hashlib.sha256(key.public_bytes).digest(),
        "key_policy": key_policy,
        "receipt_key": RECEIPT_KEY,
    }
    assert keys.encode() == encode(expected)
    assert AttestedKeys.decode(keys.encode()) == keys
    assert keys.channel_key == channel_key_hash(key.public_bytes)
    assert len(keys.encode()) <= MAX_USER_DATA


@pytest.mark.parametrize(
    "user_data",
    [
        b"",
        b"\x00",
        bytes(32),
        encode({**FIELDS, "version": 2}),
        encode({**FIELDS, "channel_key": bytes(31)}),
        encode({**FIELDS, "channel_key": "0" * 32}),
        encode({**FIELDS, "receipt_key": bytes(31)}),
        encode({**FIELDS, "receipt_key": bytes(33)}),
        encode({name: value for name, value in FIELDS.items() if name != "receipt_key"}),
        encode({**FIELDS, "key_policy": "open"}),
        encode({**FIELDS, "key_policy": ""}),
        encode({**FIELDS, "key_policy": None}),
        encode({**FIELDS, "key_policy": "Pinned"}),
        encode({name: value for name, value in FIELDS.items() if name != "key_policy"}),
        encode({name: value for name, value in FIELDS.items() if name != "channel_key"}),
        encode({**FIELDS, "more": 1}),
        encode(FIELDS) + b"\x00",
    ],
)
def test_user_data_of_another_form_is_refused_and_blamed_on_the_enclave(user_data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        AttestedKeys.decode(user_data)
    assert (caught.value.code, caught.value.culprit) == ("message_malformed", Culprit.ENCLAVE)


def test_user_data_above_the_limit_is_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        AttestedKeys.decode(bytes(MAX_USER_DATA + 1))
    assert caught.value.code == "message_too_large"


def test_the_example_of_the_specification_is_what_the_code_makes() -> None:
    text = (Path(__file__).parents[2] / "docs/spec/attestation.md").read_text()
    (found,) = re.findall(r"^```hex user_data\n([0-9a-f\n]+)^```$", text, re.MULTILINE)
    channel_key = hashlib.sha256(bytes(range(256)) * 4 + bytes(192)).digest()
    keys = AttestedKeys(version=1, channel_key=channel_key, key_policy="pinned", receipt_key=RECEIPT_KEY)
    assert keys.encode() == bytes.fromhex(found)


# --- the context of a key generation ---------------------------------------------------------------------------------------------

Parts = tuple[bytes, str, str, str, str, str]


def context(parts: Parts) -> bytes:
    names = ("transcript", "environment", "wallet_id", "suite", "chain", "network")
    return dkg_context(**dict(zip(names, parts, strict=True)))  # type: ignore[arg-type]


def reference(parts: Parts) -> bytes:
    """Written from the specification: label, then every part after its length in four big-endian bytes."""
    text = b"cosigner/dkg-context/v1"
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        text += len(raw).to_bytes(4, "big") + raw
    return hashlib.sha256(text).digest()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
contexts = st.tuples(st.binary(max_size=40), texts, texts, texts, texts, texts)


@given(contexts)
def test_the_context_is_what_the_specification_says(parts: Parts) -> None:
    assert context(parts) == reference(parts)
    assert len(context(parts)) == 32


@given(contexts, contexts)
def test_different_parts_give_different_contexts(first: Parts, second: Parts) -> None:
    assert (context(first) == context(second)) == (first == second)


def test_moving_characters_between_neighbouring_parts_changes_the_context() -> None:
    text = "abcdefgh"
    splits = [
        (text[:a].encode(), text[a:b], text[b:c], text[c:d], text[d:e], text[e:])
        for a, b, c, d, e in itertools.combinations_with_replacement(range(len(text) + 1), 5)
    ]
    found = {context(split) for split in splits}
    assert len(found) == len(splits) == 1287
    assert all(
        b"".join(p if isinstance(p, bytes) else p.encode() for p in split) == text.encode()
        for split in splits
    )


def test_a_part_that_looks_like_a_length_and_a_part_does_not_collide() -> None:
    one = (b"", "a\x00\x00\x00\x01b", "", "", "", "")
    other = (b"", "a", "b", "", "", "")
    assert context(one) != context(other)


# --- chains ----------------------------------------------------------------------------------------------------------------------


def test_every_chain_has_a_suite() -> None:
    assert set(CHAINS) == {"solana", "bitcoin", "ethereum"}
    assert {chain.suite for chain in CHAINS.values()} == set(Suite)
    for name, chain in CHAINS.items():
        assert chain.name == name
        assert Suite(chain.suite).is_frost == (chain.suite != ECDSA_SUITE)
        assert default_network(name) == chain.networks[0]
        for network in chain.networks:
            assert chain_for(name, network) is chain
            assert chain_for(name, network, suite=chain.suite) is chain


def test_the_networks_of_bitcoin_are_those_that_have_addresses() -> None:
    generator = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    prefixes = {network: bitcoin_address(generator, network)[:3] for network in CHAINS["bitcoin"].networks}
    assert prefixes == {"mainnet": "bc1", "testnet": "tb1", "signet": "tb1", "regtest": "bcr"}


@pytest.mark.parametrize("name", ["", "Solana", "evm", "solana ", "solana\x00"])
def test_another_chain_is_refused_with_those_that_are_known(name: str) -> None:
    for action in (lambda: chain_for(name, ""), lambda: default_network(name)):
        with pytest.raises(ProtocolError, match="solana, bitcoin, ethereum") as caught:
            typing.cast("typing.Callable[[], object]", action)()
        assert (caught.value.code, caught.value.culprit) == ("chain_unsupported", Culprit.CLIENT)


@pytest.mark.parametrize(
    ("name", "network"),
    [("solana", "mainnet"), ("bitcoin", ""), ("bitcoin", "Mainnet"), ("ethereum", "mainnet")],
)
def test_another_network_is_refused_with_those_that_are_known(name: str, network: str) -> None:
    with pytest.raises(ProtocolError, match="known: '") as caught:
        chain_for(name, network)
    assert (caught.value.code, caught.value.culprit) == ("network_unsupported", Culprit.CLIENT)


@pytest.mark.parametrize(("name", "network"), [("solana", ""), ("bitcoin", "mainnet")])
@pytest.mark.parametrize("suite", ["", "frost-ed448", "ecdsa-secp256k1"])
def test_a_suite_that_is_not_the_chains_is_refused(name: str, network: str, suite: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        chain_for(name, network, suite=suite)
    assert caught.value.code == "chain_unsupported"


def test_the_suite_of_one_chain_does_not_serve_another() -> None:
    with pytest.raises(ProtocolError):
        chain_for("solana", "", suite=CHAINS["bitcoin"].suite)
