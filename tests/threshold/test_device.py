"""Whole keys, in and out: the standards' own vectors, other libraries as judges, and what is refused.

BIP-39's vectors are those of its reference (passphrase ``TREZOR``); BIP-86 and RFC 8032 have theirs in their texts.
``embit``, ``eth_account``, ``solders``, ``coincurve`` and ``cryptography`` had no part in the code.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Callable

import pytest
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from embit import base58, bip32, bip39
from embit.ec import PrivateKey
from embit.networks import NETWORKS
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from tests.threshold.ceremonies import SUITES
from threshold import Suite, ThresholdError
from threshold.device import EXPORT_FORMATS, SecretKey
from threshold.payload import bitcoin_address, evm_address, solana_address

SECP256K1 = [Suite.FROST_SECP256K1_TR, Suite.ECDSA_SECP256K1]
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
PHRASE = b"abandon " * 11 + b"about"
BIP39 = {
    PHRASE: "xprv9s21ZrQH143K3h3fDYiay8mocZ3afhfULfb5GX8kCBdno77K4HiA15Tg23wpbeF1pLfs1c5SPmYHrEpTuuRhxMwvKDwqdKiGJS9XFKzUsAF",
    b"legal winner thank year wave sausage worth useful legal winner thank yellow": (
        "xprv9s21ZrQH143K2gA81bYFHqU68xz1cX2APaSq5tt6MFSLeXnCKV1RVUJt9FWNTbrrryem4ZckN8k4Ls1H6nwdvDTvnV7zEXs2HgPezuVccsq"
    ),
    b"void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space"
    b" point ten exist slush involve unfold": (
        "xprv9s21ZrQH143K39rnQJknpH1WEPFJrzmAqqasiDcVrNuk926oizzJDDQkdiTvNPr2FYDYzWgiMiC63YmfPAa2oPyNB23r2g7d1yiK6WpqaQS"
    ),
}
RFC_8032_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_8032_KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

seeds = st.binary(min_size=32, max_size=32)
scalars = st.integers(1, SECP256K1_ORDER - 1).map(lambda scalar: scalar.to_bytes(32, "big"))


def scalar_of(key: SecretKey) -> bytes:
    """The key itself, by way of an export."""
    form = "solana-expanded" if key.suite == Suite.FROST_ED25519 else "hex"
    return bytes.fromhex(key.export(form).decode())[:32]


def refused(call: Callable[..., object], *arguments: object) -> str:
    """The code of a refusal. It is the caller's to repair, and repeats nothing of what was given."""
    with pytest.raises(ThresholdError) as caught:
        call(*arguments)
    error = caught.value
    assert (error.culprit, error.reaction) == ("caller", "retry")
    for given_bytes in (argument for argument in arguments if isinstance(argument, bytes)):
        words = [word for word in given_bytes.decode("latin-1").split() if len(word) > 5]
        assert not any(word in repr(error) for word in words)
    return error.code


# --- phrases -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phrase", BIP39)
@pytest.mark.parametrize("suite", SECP256K1)
def test_phrases_lead_to_the_roots_of_bip39(phrase: bytes, suite: Suite) -> None:
    key = SecretKey.from_mnemonic(suite, phrase, b"TREZOR", "m")
    # BIP-32, "Serialization format": the chain code from byte 13 on, then a zero and the key.
    extended = base58.decode_check(BIP39[phrase])
    assert key.chain_code == extended[13:45]
    assert scalar_of(key) == extended[46:]


def test_addresses_are_those_of_everybodys_wallets() -> None:
    # BIP-86, "Test vectors": first receiving address.
    taproot = SecretKey.from_mnemonic(Suite.FROST_SECP256K1_TR, PHRASE, b"", "m/86'/0'/0'/0/0")
    assert taproot.public_key[1:].hex() == "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115"
    expected = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    assert bitcoin_address(taproot.public_key, "mainnet") == expected
    # The first account of the test networks that developers run.
    junk = b"test " * 11 + b"junk"
    ethereum = SecretKey.from_mnemonic(Suite.ECDSA_SECP256K1, junk, b"", "m/44'/60'/0'/0/0")
    assert evm_address(ethereum.public_key) == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    Account.enable_unaudited_hdwallet_features()
    account = Account.from_mnemonic(junk.decode(), account_path="m/44'/60'/0'/0/0")
    assert scalar_of(ethereum) == bytes(account.key)
    solana = SecretKey.from_mnemonic(Suite.FROST_ED25519, PHRASE, b"", "m/44'/501'/0'/0'")
    seed = bip39.mnemonic_to_seed(PHRASE.decode())
    keypair = Keypair.from_seed_and_derivation_path(seed, "m/44'/501'/0'/0'")
    assert solana_address(solana.public_key) == str(keypair.pubkey())


def slip10(seed: bytes, path: list[int]) -> tuple[bytes, bytes]:
    """SLIP-10 for ed25519, from its text: seed and chain code."""
    node = hmac.digest(b"ed25519 seed", seed, "sha512")
    for index in path:
        data = b"\0" + node[:32] + (index | 1 << 31).to_bytes(4, "big")
        node = hmac.digest(node[32:], data, "sha512")
    return node[:32], node[32:]


@given(
    entropy=st.sampled_from([16, 20, 24, 28, 32]).flatmap(
        lambda size: st.binary(min_size=size, max_size=size)
    ),
    passphrase=st.text(max_size=20),
    path=st.lists(
        st.tuples(st.integers(0, 2**31 - 1), st.sampled_from(["", "'", "h", "H"])), min_size=1, max_size=6
    ),
)
@settings(max_examples=40, deadline=None)
def test_other_libraries_find_the_same_key_below_a_phrase(
    entropy: bytes, passphrase: str, path: list[tuple[int, str]]
) -> None:
    phrase = bip39.mnemonic_from_bytes(entropy).encode()
    salt = "mnemonic" + unicodedata.normalize("NFKD", passphrase)
    seed = hashlib.pbkdf2_hmac("sha512", phrase, salt.encode(), 2048)
    text = "/".join(["m", *(f"{index}{mark}" for index, mark in path)])
    for suite in SECP256K1:
        key = SecretKey.from_mnemonic(suite, phrase, passphrase.encode(), text)
        node = bip32.HDKey.from_seed(seed).derive([index | (mark != "") << 31 for index, mark in path])
        assert (scalar_of(key), key.chain_code) == (node.secret, node.chain_code)
        assert key.public_key == node.get_public_key().sec()
    hardened = "/".join(["m", *(f"{index}'" for index, _ in path)])
    key = SecretKey.from_mnemonic(Suite.FROST_ED25519, phrase, passphrase.encode(), hardened)
    own_seed, chain_code = slip10(seed, [index for index, _ in path])
    assert key.chain_code == chain_code
    assert key.public_key == Ed25519PrivateKey.from_private_bytes(own_seed).public_key().public_bytes_raw()
    assert json.loads(key.export("solana-keypair")) == list(own_seed + key.public_key)


@pytest.mark.parametrize(
    ("phrase", "code"),
    [
        (b"", "invalid_phrase"),
        (b"abandon " * 11, "invalid_phrase"),
        (b"abandon " * 12, "phrase_checksum_mismatch"),
        (b"about " + b"abandon " * 11, "phrase_checksum_mismatch"),
        (b"abandon " * 10 + b"abandonn about", "invalid_phrase"),
        (b"Abandon " + b"abandon " * 10 + b"about", "invalid_phrase"),
        # The first word of the French list, twelve times.
        (b"abaisser " * 12, "invalid_phrase"),
        (b"abandon," * 11 + b"about", "invalid_phrase"),
        (b"\xff" * 64, "invalid_phrase"),
        (b"abandon " * 200, "invalid_phrase"),
    ],
)
@pytest.mark.parametrize("suite", SUITES)
def test_what_is_no_phrase_is_refused(suite: Suite, phrase: bytes, code: str) -> None:
    assert refused(SecretKey.from_mnemonic, suite, phrase, b"", "m") == code


@given(at=st.integers(0, 11), word=st.sampled_from(bip39.WORDLIST))
def test_a_wrong_word_is_noticed_as_often_as_the_checksum_can(at: int, word: str) -> None:
    words = PHRASE.decode().split()
    words[at] = word
    phrase = " ".join(words)
    if bip39.mnemonic_is_valid(phrase):
        SecretKey.from_mnemonic(Suite.ECDSA_SECP256K1, phrase.encode(), b"", "m")
    else:
        code = refused(SecretKey.from_mnemonic, Suite.ECDSA_SECP256K1, phrase.encode(), b"", "m")
        assert code == "phrase_checksum_mismatch"


@pytest.mark.parametrize(
    "path", ["", "m/", "44'/60'", "m/-1", "m/01", "m/2147483648", "m/0''", "m/0/0x1", "m" + "/0" * 17, "m/٣"]
)
@pytest.mark.parametrize("suite", SUITES)
def test_paths_are_exact(suite: Suite, path: str) -> None:
    assert refused(SecretKey.from_mnemonic, suite, PHRASE, b"", path) == "invalid_path"


def test_ed25519_has_hardened_paths_only() -> None:
    for path in ("m/44'/501'/0", "m/0"):
        assert refused(SecretKey.from_mnemonic, Suite.FROST_ED25519, PHRASE, b"", path) == "invalid_path"


def test_passphrases_are_bounded_text() -> None:
    for passphrase in (b"\xff", b"x" * 1025):
        code = refused(SecretKey.from_mnemonic, Suite.ECDSA_SECP256K1, PHRASE, passphrase, "m")
        assert code == "invalid_parameter"


# --- keys --------------------------------------------------------------------------------------------------------------------


@given(scalars)
def test_a_scalar_has_the_public_key_that_other_libraries_say(scalar: bytes) -> None:
    for suite in SECP256K1:
        key = SecretKey.from_bytes(suite, scalar)
        assert key.public_key == PublicKey.from_valid_secret(scalar).format()
        assert (key.suite, key.export("hex")) == (suite, scalar.hex().encode())
    assert evm_address(key.public_key) == Account.from_key(bytes.fromhex(key.export("hex").decode())).address


@pytest.mark.parametrize("suite", SUITES)
def test_scalars_are_below_the_order_and_not_zero(suite: Suite) -> None:
    ed25519 = suite is Suite.FROST_ED25519
    order, byteorder = (ED25519_ORDER, "little") if ed25519 else (SECP256K1_ORDER, "big")
    for scalar in (0, order, order + 1, 2**256 - 1):
        assert refused(SecretKey.from_bytes, suite, scalar.to_bytes(32, byteorder)) == "invalid_secret_key"
    for length in (0, 31, 33, 64):
        assert refused(SecretKey.from_bytes, suite, b"\1" * length) == "invalid_secret_key"
    for scalar in (1, order - 1):
        key = SecretKey.from_bytes(suite, scalar.to_bytes(32, byteorder))
        assert scalar_of(key) == scalar.to_bytes(32, byteorder)


@given(scalars)
def test_a_chain_code_follows_from_the_key_and_not_from_its_public_half(scalar: bytes) -> None:
    """``docs/spec/threshold.md``, "Chain codes": a tagged hash of suite and scalar."""
    for suite, tag in zip(SECP256K1, (2, 3), strict=True):
        label = b"cosigner/device/v1/chain-code"
        expected = hashlib.sha256(bytes([len(label)]) + label + bytes([tag]) + scalar).digest()
        assert SecretKey.from_bytes(suite, scalar).chain_code == expected


@given(seeds)
def test_a_seed_gives_the_key_of_rfc_8032(seed: bytes) -> None:
    key = SecretKey.from_ed25519_seed(seed)
    assert key.public_key == Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    # Scalar and prefix are the halves of SHA-512; the scalar clamped, and reduced for the export.
    hashed = bytearray(hashlib.sha512(seed).digest())
    hashed[0] &= 248
    hashed[31] = hashed[31] & 63 | 64
    scalar = int.from_bytes(hashed[:32], "little") % ED25519_ORDER
    expected = scalar.to_bytes(32, "little") + hashed[32:]
    assert key.export("solana-expanded") == expected.hex().encode()
    bare = SecretKey.from_bytes(Suite.FROST_ED25519, expected[:32])
    assert bare.public_key == key.public_key


def test_rfc_8032s_first_vector() -> None:
    assert SecretKey.from_ed25519_seed(RFC_8032_SEED).public_key == RFC_8032_KEY
    for length in (0, 31, 33, 64):
        assert refused(SecretKey.from_ed25519_seed, b"\1" * length) == "invalid_secret_key"


# --- WIF ---------------------------------------------------------------------------------------------------------------------


@given(scalars, st.sampled_from([("mainnet", "main"), ("testnet", "test")]))
def test_wif_is_what_other_libraries_write_and_read(scalar: bytes, network: tuple[str, str]) -> None:
    own, other = network
    key = SecretKey.from_bytes(Suite.FROST_SECP256K1_TR, scalar)
    text = PrivateKey(scalar).wif(NETWORKS[other])
    assert key.export(f"wif:{own}").decode() == text
    again, named = SecretKey.from_wif(text.encode())
    assert (again.suite, named, scalar_of(again)) == (Suite.FROST_SECP256K1_TR, own, scalar)


def test_wif_is_checked() -> None:
    # The Bitcoin wiki's example ("Wallet import format"), for a compressed key and for an uncompressed one.
    text = b"KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617"
    key, network = SecretKey.from_wif(b"\n " + text + b" \n")
    assert (key.export("wif:mainnet"), network) == (text, "mainnet")
    uncompressed = b"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ"
    assert refused(SecretKey.from_wif, uncompressed) == "unsupported_key"
    assert refused(SecretKey.from_wif, text[:20] + b"z" + text[21:]) == "key_checksum_mismatch"
    scalar = bytes.fromhex(key.export("hex").decode())
    for payload, code in [
        (b"\xb0" + scalar + b"\1", "unsupported_key"),  # Litecoin's
        (b"\x80" + scalar + b"\2", "invalid_secret_key"),
        (b"\x80" + scalar[:30] + b"\1", "invalid_secret_key"),
        (b"\x80" + scalar + b"\1\1", "invalid_secret_key"),
        (b"\x80" + bytes(32) + b"\1", "invalid_secret_key"),
        (b"\x80" + SECP256K1_ORDER.to_bytes(32, "big") + b"\1", "invalid_secret_key"),
        (b"", "invalid_secret_key"),
    ]:
        assert refused(SecretKey.from_wif, base58.encode_check(payload).encode()) == code
    # BIP-38 and extended keys are no WIF.
    for other in (
        b"",
        b"1" * 52,
        b"6PRVWUbkzzsbcVac2qwfssoUJAN1Xhrg6bNk8J7Nzm5H7kxEbn2Nh2ZoGg",
        b"0" * 52,
        b"\xff" * 52,
    ):
        assert refused(SecretKey.from_wif, other) in {"invalid_secret_key", "key_checksum_mismatch"}


# --- Solana ------------------------------------------------------------------------------------------------------------------


@given(seeds)
def test_solana_key_pairs_are_those_of_solanas_library(seed: bytes) -> None:
    pair = Keypair.from_seed(seed)
    for text in (
        pair.to_json().encode(),
        str(pair).encode(),
        json.dumps(list(bytes(pair)), indent=1).encode(),
    ):
        key = SecretKey.from_solana_keypair(text)
        assert key.public_key == bytes(pair.pubkey())
        assert Keypair.from_json(key.export("solana-keypair").decode()) == pair


def test_the_halves_of_a_key_pair_must_belong_together() -> None:
    mixed = RFC_8032_SEED + Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    for text in (json.dumps(list(mixed)), base58.encode(mixed)):
        assert refused(SecretKey.from_solana_keypair, text.encode()) == "public_key_mismatch"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda numbers: "",
        lambda numbers: "[]",
        lambda numbers: json.dumps(numbers[:-1]),
        lambda numbers: json.dumps([*numbers, 0]),
        lambda numbers: json.dumps([256, *numbers[1:]]),
        lambda numbers: json.dumps([-1, *numbers[1:]]),
        lambda numbers: json.dumps([1.0, *numbers[1:]]),
        lambda numbers: json.dumps(["1", *numbers[1:]]),
        lambda numbers: json.dumps([None, *numbers[1:]]),
        lambda numbers: json.dumps([numbers]),
        lambda numbers: json.dumps(numbers) + "]",
        lambda numbers: json.dumps(numbers)[:-1],
        lambda numbers: json.dumps(numbers).replace("[", "[0", 1),
        lambda numbers: json.dumps({"key": numbers}),
        lambda numbers: base58.encode(bytes(numbers))[:60],
        lambda numbers: base58.encode(bytes(numbers)) + "1",
        lambda numbers: bytes(numbers).hex(),
    ],
)
def test_key_pairs_are_exact(spoil: Callable[[list[int]], str]) -> None:
    text = spoil(list(RFC_8032_SEED + RFC_8032_KEY)).encode()
    assert refused(SecretKey.from_solana_keypair, text) == "invalid_secret_key"


# --- export ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_has_its_own_formats(suite: Suite) -> None:
    key = SecretKey.from_bytes(suite, b"\5" * 32)
    seeded = SecretKey.from_ed25519_seed(b"\5" * 32) if suite is Suite.FROST_ED25519 else key
    every = {form for forms in EXPORT_FORMATS.values() for form in forms}
    for form in every:
        if form in EXPORT_FORMATS[suite]:
            assert seeded.export(form).isascii()
        else:
            assert refused(seeded.export, form) == "export_unavailable"
    for form in ("", "HEX", "wif", "wif:regtest", "wif:Mainnet", "seed", "mnemonic"):
        assert refused(key.export, form) == "invalid_parameter"


def test_a_key_without_a_seed_has_no_key_pair() -> None:
    bare = SecretKey.from_bytes(Suite.FROST_ED25519, b"\5" * 32)
    assert refused(bare.export, "solana-keypair") == "export_unavailable"


@given(seeds)
def test_an_expanded_key_signs(seed: bytes) -> None:
    """RFC 8032 §5.1.6 from scalar and prefix, and an unrelated library verifies."""
    scalar = (int.from_bytes(seed, "little") % (ED25519_ORDER - 1) + 1).to_bytes(32, "little")
    key = SecretKey.from_bytes(Suite.FROST_ED25519, scalar)
    expanded = bytes.fromhex(key.export("solana-expanded").decode())
    a, prefix = int.from_bytes(expanded[:32], "little"), expanded[32:]
    assert prefix not in {scalar, bytes(32)}

    def hashed(*parts: bytes) -> int:
        return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ED25519_ORDER

    r = hashed(prefix, b"message")
    point = SecretKey.from_bytes(Suite.FROST_ED25519, r.to_bytes(32, "little")).public_key
    s = (r + hashed(point, key.public_key, b"message") * a) % ED25519_ORDER
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(point + s.to_bytes(32, "little"), b"message")


# --- what Python sees ----------------------------------------------------------------------------------------------------------


def test_secrets_come_in_any_buffer_and_are_copied() -> None:
    seed = bytearray(RFC_8032_SEED)
    key = SecretKey.from_ed25519_seed(seed)
    seed[:] = bytes(32)
    assert key.public_key == SecretKey.from_ed25519_seed(memoryview(RFC_8032_SEED)).public_key == RFC_8032_KEY
    for wrong in ("text", None, 7, [1, 2], memoryview(bytes(64)).cast("I")):
        with pytest.raises(TypeError):
            SecretKey.from_ed25519_seed(wrong)  # type: ignore[arg-type]
    phrase, passphrase = bytearray(PHRASE), bytearray(b"TREZOR")
    key = SecretKey.from_mnemonic(Suite.ECDSA_SECP256K1, phrase, passphrase, "m")
    assert key.chain_code == base58.decode_check(BIP39[PHRASE])[13:45]


def test_nothing_that_is_printed_holds_the_key() -> None:
    for suite in SUITES:
        key = SecretKey.from_mnemonic(suite, PHRASE, b"", "m/0'")
        assert repr(key) == str(key) == f"<SecretKey {suite}>"
