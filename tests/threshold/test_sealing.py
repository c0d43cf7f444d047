"""Sealing: the record opens under its key and context, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.threshold.ceremonies import SUITES, Run, generate, sign
from threshold import KeyShare, SealingKey, Suite, ThresholdError, verify_signature

DATA_KEY = bytes(range(1, 33))
KEY = SealingKey.from_data_key(DATA_KEY)
AAD = b"environment, wallet, party, suite, epoch"
LENGTHS = {Suite.FROST_ED25519: 240, Suite.FROST_SECP256K1_TR: 243, Suite.ECDSA_SECP256K1: 243}


def open_by_hand(record: bytes, associated_data: bytes, data_key: bytes = DATA_KEY) -> bytes:
    """``docs/spec/seal.md`` in another library: HKDF (RFC 5869) from ``hmac``, AES-GCM from ``cryptography``."""
    salt, nonce, ciphertext = record[8:40], record[40:52], record[52:]
    pseudorandom = hmac.digest(salt, data_key, "sha256")
    key = hmac.digest(pseudorandom, b"cosigner/seal/v1\x01", "sha256")
    return AESGCM(key).decrypt(nonce, ciphertext, record[:52] + associated_data)


def code(caught: pytest.ExceptionInfo[ThresholdError]) -> str:
    return caught.value.code


@pytest.fixture(scope="module")
def shares() -> dict[Suite, KeyShare]:
    return {suite: generate(suite)[2] for suite in SUITES}


@pytest.mark.parametrize("suite", SUITES)
def test_a_sealed_share_opens_as_it_was(shares: dict[Suite, KeyShare], suite: Suite) -> None:
    share = shares[suite]
    record = KEY.seal_share(share, AAD)
    assert record[:8] == b"COSHARE\x01"
    assert len(record) == LENGTHS[suite]
    opened = KEY.open_share(record, AAD)
    for name in (
        "suite",
        "identifier",
        "min_signers",
        "max_signers",
        "epoch",
        "group_public_key",
        "chain_code",
    ):
        assert getattr(opened, name) == getattr(share, name)
    assert opened.verifying_shares == share.verifying_shares


def test_an_opened_share_signs() -> None:
    shares = generate(Suite.FROST_ED25519)
    opened = {i: KEY.open_share(KEY.seal_share(share, AAD), AAD) for i, share in shares.items()}
    (signature,) = sign({1: opened[1], 2: shares[2]}, [b"message"])
    verify_signature(Suite.FROST_ED25519, shares[1].group_public_key, b"message", signature)


def test_the_format_is_the_documented_one(shares: dict[Suite, KeyShare]) -> None:
    share = shares[Suite.FROST_ED25519]
    plaintext = open_by_hand(KEY.seal_share(share, AAD), AAD)
    assert plaintext[:12] == bytes([1, 1, 0, 2, 0, 2, 0, 2, 0, 0, 0, 1])
    assert plaintext[12:44] == share.chain_code
    assert plaintext[44:76] == share.group_public_key
    assert plaintext[76:140] == share.verifying_shares[1] + share.verifying_shares[2]
    assert len(plaintext) == 172
    assert open_by_hand(KEY.seal_bytes(b"payload", b""), b"") == b"payload"
    with pytest.raises(InvalidTag):
        open_by_hand(KEY.seal_bytes(b"payload", b""), b"x")


def test_a_record_made_by_another_implementation_opens() -> None:
    header = b"COBYTES\x01" + bytes(range(44))
    pseudorandom = hmac.digest(header[8:40], DATA_KEY, "sha256")
    key = hmac.digest(pseudorandom, b"cosigner/seal/v1\x01", "sha256")
    record = header + AESGCM(key).encrypt(header[40:], b"payload", header + AAD)
    assert KEY.open_bytes(record, AAD) == b"payload"


@pytest.mark.parametrize("suite", SUITES)
def test_share_bytes_are_nowhere_in_the_clear(shares: dict[Suite, KeyShare], suite: Suite) -> None:
    share = shares[suite]
    record = KEY.seal_share(share, AAD)
    scalar = open_by_hand(record, AAD)[-32:]
    # Little or big endian, the scalar must not be found in anything that Python can see.
    public = b"".join([record, share.group_public_key, share.chain_code, *share.verifying_shares.values()])
    visible = [public, repr(share).encode(), str(share).encode()]
    for secret in (scalar, scalar[::-1]):
        pieces = [secret[at : at + 6] for at in range(27)]
        assert not any(piece in text or piece.hex().encode() in text for piece in pieces for text in visible)


def test_any_flipped_bit_is_refused(shares: dict[Suite, KeyShare]) -> None:
    for record, opener in (
        (KEY.seal_share(shares[Suite.FROST_ED25519], AAD), KEY.open_share),
        (KEY.seal_bytes(b"plaintext", AAD), KEY.open_bytes),
    ):
        for at in range(len(record)):
            changed = bytearray(record)
            changed[at] ^= 1 << at % 8
            with pytest.raises(ThresholdError) as caught:
                opener(bytes(changed), AAD)
            assert code(caught) == ("record_malformed" if at < 8 else "record_not_authentic")


def test_wrong_context_key_and_length_are_refused(shares: dict[Suite, KeyShare]) -> None:
    record = KEY.seal_share(shares[Suite.FROST_SECP256K1_TR], AAD)
    for wrong in (b"", AAD[:-1], AAD + b"\0", AAD[::-1]):
        with pytest.raises(ThresholdError) as caught:
            KEY.open_share(record, wrong)
        assert code(caught) == "record_not_authentic"
    with pytest.raises(ThresholdError) as caught:
        SealingKey.from_data_key(bytes([1]) * 32).open_share(record, AAD)
    assert code(caught) == "record_not_authentic"
    for length in range(len(record)):
        with pytest.raises(ThresholdError):
            KEY.open_share(record[:length], AAD)
    for longer in (record + b"\0", record + record, b"\0" + record):
        with pytest.raises(ThresholdError):
            KEY.open_share(longer, AAD)


def test_kinds_of_records_do_not_mix(shares: dict[Suite, KeyShare]) -> None:
    with pytest.raises(ThresholdError) as caught:
        KEY.open_bytes(KEY.seal_share(shares[Suite.FROST_ED25519], AAD), AAD)
    assert code(caught) == "record_malformed"
    with pytest.raises(ThresholdError) as caught:
        KEY.open_share(KEY.seal_bytes(b"plaintext", AAD), AAD)
    assert code(caught) == "record_malformed"


@pytest.mark.parametrize("suite", SUITES)
def test_an_unconfirmed_share_waits_sealed(suite: Suite) -> None:
    """After a crash the confirmations still release the share, and nothing else does."""
    run = Run(suite).to_round3()
    state = run.round3[1]
    record = KEY.seal_unconfirmed(state, AAD)
    assert record[:8] == b"COUNCNF\x01"
    assert len(record) == LENGTHS[suite] + 32
    assert state.group_public_key == run.round3[2].group_public_key
    reopened = KEY.open_unconfirmed(record, AAD)
    assert repr(reopened) == "<DkgRound3>"
    with pytest.raises(ThresholdError) as caught:
        reopened.confirm({2: run.confirmations[1]})
    assert code(caught) == "confirmation_mismatch"
    with pytest.raises(ThresholdError) as caught:
        reopened.confirm({2: run.confirmations[2]})
    assert code(caught) == "state_consumed"
    again = KEY.open_unconfirmed(record, AAD).confirm({2: run.confirmations[2]})
    direct = state.confirm({2: run.confirmations[2]})
    assert again.verifying_shares == direct.verifying_shares
    with pytest.raises(ThresholdError) as caught:
        KEY.seal_unconfirmed(state, AAD)
    assert code(caught) == "state_consumed"
    with pytest.raises(ThresholdError) as caught:
        state.group_public_key  # noqa: B018 - a property that raises
    assert code(caught) == "state_consumed"


def test_an_unconfirmed_share_is_no_share() -> None:
    run = Run(Suite.FROST_ED25519).to_round3()
    record = KEY.seal_unconfirmed(run.round3[1], AAD)
    share = KEY.seal_share(generate(Suite.FROST_ED25519)[1], AAD)
    for opener, wrong in (
        (KEY.open_share, record),
        (KEY.open_bytes, record),
        (KEY.open_unconfirmed, share),
        (KEY.open_unconfirmed, KEY.seal_bytes(b"x" * 204, AAD)),
    ):
        with pytest.raises(ThresholdError) as caught:
            opener(wrong, AAD)
        assert code(caught) == "record_malformed"
    for at in range(len(record)):
        changed = bytearray(record)
        changed[at] ^= 0x80
        with pytest.raises(ThresholdError) as caught:
            KEY.open_unconfirmed(bytes(changed), AAD)
        assert code(caught) == ("record_malformed" if at < 8 else "record_not_authentic")
    with pytest.raises(ThresholdError) as caught:
        KEY.open_unconfirmed(record, b"")
    assert code(caught) == "record_not_authentic"


def seal_by_hand(plaintext: bytes) -> bytes:
    header = b"COSHARE\x01" + bytes(44)
    key = hmac.digest(hmac.digest(bytes(32), DATA_KEY, "sha256"), b"cosigner/seal/v1\x01", "sha256")
    return header + AESGCM(key).encrypt(bytes(12), plaintext, header + AAD)


def test_authentic_nonsense_is_refused(shares: dict[Suite, KeyShare]) -> None:
    """Whoever holds the data key can seal anything: the share must still agree with its public data."""
    plaintext = open_by_hand(KEY.seal_share(shares[Suite.FROST_ED25519], AAD), AAD)
    assert KEY.open_share(seal_by_hand(plaintext), AAD).identifier == 2
    for wrong in (b"", plaintext[:-1], plaintext + b"\0", b"\2" + plaintext[1:], b"\1\4" + plaintext[2:]):
        with pytest.raises(ThresholdError) as caught:
            KEY.open_share(seal_by_hand(wrong), AAD)
        assert code(caught) == "record_malformed"
    other = open_by_hand(KEY.seal_share(generate(Suite.FROST_ED25519)[2], AAD), AAD)
    for wrong in (
        plaintext[:-32] + other[-32:],
        plaintext[:-32] + bytes(32),
        plaintext[:44] + other[44:76] + plaintext[76:],
        plaintext[:2] + b"\0\1" + plaintext[4:],
        plaintext[:76] + plaintext[108:140] + plaintext[76:108] + plaintext[140:],
    ):
        with pytest.raises(ThresholdError) as caught:
            KEY.open_share(seal_by_hand(wrong), AAD)
        assert code(caught) == "share_inconsistent"


@given(plaintext=st.binary(max_size=300), aad=st.binary(max_size=100))
def test_bytes_round_trip(plaintext: bytes, aad: bytes) -> None:
    record = KEY.seal_bytes(plaintext, aad)
    assert len(record) == len(plaintext) + 68
    assert KEY.open_bytes(record, aad) == plaintext
    assert KEY.seal_bytes(plaintext, aad) != record


@given(record=st.binary(max_size=300))
def test_rubbish_is_refused(record: bytes) -> None:
    for start in (b"", b"COSHARE\x01", b"COBYTES\x01"):
        for opener in (KEY.open_share, KEY.open_bytes):
            with pytest.raises(ThresholdError) as caught:
                opener(start + record, b"")
            assert code(caught) in {"record_malformed", "record_not_authentic"}


def test_lengths_are_bounded() -> None:
    longest = KEY.seal_bytes(bytes(1 << 20), bytes(1 << 16))
    assert len(KEY.open_bytes(longest, bytes(1 << 16))) == 1 << 20
    for plaintext, aad in ((bytes((1 << 20) + 1), b""), (b"", bytes((1 << 16) + 1))):
        with pytest.raises(ThresholdError) as caught:
            KEY.seal_bytes(plaintext, aad)
        assert code(caught) == "invalid_parameter"


def test_data_keys_may_be_wiped_by_their_owner() -> None:
    mutable = bytearray(DATA_KEY)
    key = SealingKey.from_data_key(mutable)
    view = SealingKey.from_data_key(memoryview(mutable))
    mutable[:] = bytes(32)
    record = KEY.seal_bytes(b"x", b"")
    assert key.open_bytes(record, b"") == view.open_bytes(record, b"") == b"x"
    for bad in (b"", bytes(31), bytes(32), bytes([1]) * 33, memoryview(bytes(64))[::2]):
        with pytest.raises((ThresholdError, BufferError)):
            SealingKey.from_data_key(bad)
    with pytest.raises(TypeError):
        SealingKey.from_data_key("x" * 32)  # type: ignore[arg-type]


def test_passphrases_give_argon2id_keys() -> None:
    """The derived key is known from another implementation: argon2-cffi's ``hash_secret_raw``, version 19."""
    derived = bytes.fromhex("588718e4962a0dbad85c0a1609d282bc5b5ba3a39dd2cf67e31b4e6f1897fb9c")
    key = SealingKey.from_passphrase(b"correct horse", b"sixteen byte slt", 64, 1, 1)
    assert SealingKey.from_data_key(derived).open_bytes(key.seal_bytes(b"x", AAD), AAD) == b"x"
    for passphrase, salt, cost in (
        (b"correct hors", b"sixteen byte slt", (64, 1, 1)),
        (b"correct horse", b"sixteen byte slT", (64, 1, 1)),
        (b"correct horse", b"sixteen byte slt", (65, 1, 1)),
        (b"correct horse", b"sixteen byte slt", (64, 2, 1)),
        (b"correct horse", b"sixteen byte slt", (64, 1, 2)),
    ):
        with pytest.raises(ThresholdError) as caught:
            SealingKey.from_passphrase(passphrase, salt, *cost).open_bytes(key.seal_bytes(b"x", AAD), AAD)
        assert code(caught) == "record_not_authentic"


@pytest.mark.parametrize(
    ("passphrase", "salt", "cost"),
    [
        (b"", bytes(16), (64, 1, 1)),
        (bytes(1025), bytes(16), (64, 1, 1)),
        (b"p", bytes(15), (64, 1, 1)),
        (b"p", bytes(16), (7, 1, 1)),
        (b"p", bytes(16), (2**20 + 1, 1, 1)),
        (b"p", bytes(16), (2**40, 1, 1)),
        (b"p", bytes(16), (64, 0, 1)),
        (b"p", bytes(16), (64, 17, 1)),
        (b"p", bytes(16), (64, -1, 1)),
        (b"p", bytes(16), (64, 1, 0)),
        (b"p", bytes(16), (64, 1, 9)),
    ],
)
def test_passphrase_parameters_are_bounded(
    passphrase: bytes, salt: bytes, cost: tuple[int, int, int]
) -> None:
    with pytest.raises(ThresholdError) as caught:
        SealingKey.from_passphrase(passphrase, salt, *cost)
    assert code(caught) == "invalid_parameter"


def test_salts_and_nonces_are_fresh() -> None:
    headers = {KEY.seal_bytes(b"x", b"")[8:52] for _ in range(200)}
    assert len(headers) == 200
    assert len({hashlib.sha256(header[:32]).digest() for header in headers}) == 200


def test_a_backup_key_is_hkdf_under_a_label_of_its_own() -> None:
    pseudorandom = hmac.digest(bytes(32), DATA_KEY, "sha256")
    expected = hmac.digest(pseudorandom, b"cosigner/backup-key/v1" + b"wallet" + b"\x01", "sha256")
    assert KEY.backup_key(b"wallet") == expected
    assert KEY.backup_key(b"Wallet") != expected
    assert SealingKey.from_data_key(bytes([7]) * 32).backup_key(b"wallet") != expected
    assert len(KEY.backup_key(b"")) == 32
    with pytest.raises(ThresholdError) as caught:
        KEY.backup_key(bytes(65537))
    assert code(caught) == "invalid_parameter"
