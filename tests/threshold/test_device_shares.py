"""Whole keys and shares on the user's own device: dealt out, combined, handed over in clear; and passcodes."""

from __future__ import annotations

import hmac
import json

import pytest
from coincurve import PublicKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.threshold.ceremonies import CONTEXT, SIGNING, SUITES, generate, sign
from tests.threshold.test_device import refused, scalar_of
from tests.threshold.test_sealing import open_by_hand
from threshold import KeyShare, SealingKey, Suite, ThresholdError, import_receive
from threshold.device import Passcode, SecretKey

BYTEORDER = {suite: "little" if suite is Suite.FROST_ED25519 else "big" for suite in SUITES}
PHRASE = b"abandon " * 11 + b"about"
SALT = bytes(range(16))
COST = (64, 1, 1)
KEY = SealingKey.from_data_key(bytes([1]) * 32)

scalars = st.integers(1, 2**252 - 1)


def wallet(key: SecretKey, t: int = 2, n: int = 3) -> dict[int, KeyShare]:
    """The user's device keeps every share but the enclave's, 2."""
    own = [i for i in range(1, n + 1) if i != 2]
    device, confirmations, message1, messages2 = key.deal(t, n, own, CONTEXT)
    enclave, confirmation = import_receive(key.suite, [2], t, n, CONTEXT, message1, messages2)
    return device.confirm(confirmation) | enclave.confirm(confirmations)


@pytest.mark.parametrize("suite", SUITES)
@given(scalar=scalars, t=st.integers(2, 4), n=st.integers(2, 5), data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_key_that_was_imported_is_the_one_that_is_exported(
    suite: Suite, scalar: int, t: int, n: int, data: st.DataObject
) -> None:
    key = SecretKey.from_bytes(suite, scalar.to_bytes(32, BYTEORDER[suite]))
    n = max(n, t)
    shares = wallet(key, t, n)
    assert {share.group_public_key for share in shares.values()} == {key.public_key}
    assert {(share.epoch, share.chain_code) for share in shares.values()} == {(1, key.chain_code)}
    chosen = data.draw(st.lists(st.sampled_from(sorted(shares)), unique=True, min_size=t))
    combined = SecretKey.combine([shares[i] for i in chosen])
    assert scalar_of(combined) == scalar_of(key)
    assert (combined.suite, combined.public_key) == (suite, key.public_key)
    assert combined.chain_code == key.chain_code


@pytest.mark.parametrize("suite", SIGNING)
def test_shares_of_an_imported_key_sign_for_its_old_address(suite: Suite) -> None:
    path = "m/44'/501'/0'" if suite is Suite.FROST_ED25519 else "m/86'/0'/0'/0/0"
    key = SecretKey.from_mnemonic(suite, PHRASE, b"", path)
    shares = wallet(key)
    message = bytes(range(32))
    for signers in ([1, 2], [2, 3], [1, 3]):
        (signature,) = sign(shares, [message], signers=signers)
        if suite is Suite.FROST_ED25519:
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
        else:
            assert PublicKeyXOnly(key.public_key[1:]).verify(signature, message)


def test_a_combined_key_has_no_seed() -> None:
    """Shares are shares of the scalar. A wallet that wants a seed cannot take the export."""
    key = SecretKey.from_ed25519_seed(bytes(range(32)))
    assert json.loads(key.export("solana-keypair"))[:32] == list(range(32))
    combined = SecretKey.combine(list(wallet(key).values()))
    assert combined.public_key == key.public_key
    assert refused(combined.export, "solana-keypair") == "export_unavailable"
    assert combined.export("solana-expanded")[:64] == key.export("solana-expanded")[:64]


@pytest.mark.parametrize("suite", SUITES)
def test_a_generated_key_combines_to_what_its_shares_say(suite: Suite) -> None:
    """By Lagrange's formula over the bytes of ``docs/spec/threshold.md`` §3, and another library's public key."""
    shares = generate(suite, 2, 3)
    order = (
        2**252 + 27742317777372353535851937790883648493
        if suite is Suite.FROST_ED25519
        else 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    )
    one, three = (int.from_bytes(shares[i].encode()[-32:], BYTEORDER[suite]) for i in (1, 3))
    secret = (one * 3 - three) * pow(2, -1, order) % order
    combined = SecretKey.combine([shares[3], shares[1]])
    assert scalar_of(combined) == secret.to_bytes(32, BYTEORDER[suite])
    assert combined.public_key == shares[2].group_public_key
    if suite is not Suite.FROST_ED25519:
        assert PublicKey.from_valid_secret(secret.to_bytes(32, "big")).format() == combined.public_key


@pytest.mark.parametrize("suite", SUITES)
def test_only_enough_shares_of_one_group_combine(suite: Suite) -> None:
    shares, others = generate(suite, 3, 4), generate(suite, 3, 4)
    for few in ([], [1], [4, 2]):
        assert refused(SecretKey.combine, [shares[i] for i in few]) == "wrong_signer_count"
    assert refused(SecretKey.combine, [shares[1], shares[2], shares[2]]) == "invalid_parameter"
    assert refused(SecretKey.combine, [shares[1], shares[2], others[3]]) == "shares_mismatch"
    other_suite = generate(next(other for other in SUITES if other is not suite), 3, 4)
    assert refused(SecretKey.combine, [shares[1], shares[2], other_suite[3]]) == "shares_mismatch"
    # The same key dealt out twice: equal group keys, two polynomials.
    key = SecretKey.combine([shares[i] for i in (1, 2, 3)])
    first, second = wallet(key), wallet(key)
    assert first[1].group_public_key == second[2].group_public_key
    assert refused(SecretKey.combine, [first[1], second[2]]) == "shares_mismatch"
    for wrong in ([shares[1], None], ["share"], [shares[1].encode()]):
        with pytest.raises(TypeError):
            SecretKey.combine(wrong)  # type: ignore[arg-type]


def test_dealing_has_the_bounds_of_key_generation() -> None:
    key = SecretKey.from_ed25519_seed(bytes(32))
    for t, n, receivers, context in [
        (1, 2, [1], CONTEXT),
        (3, 2, [1], CONTEXT),
        (2, 65, [1], CONTEXT),
        (2, 2, [3], CONTEXT),
        (2, 2, [0], CONTEXT),
        (2, 2, [2, 1], CONTEXT),
        (2, 2, [1, 1], CONTEXT),
        (2, 2, [1], CONTEXT[:31]),
        (-1, 2, [1], CONTEXT),
        (2, 2**40, [1], CONTEXT),
    ]:
        assert refused(key.deal, t, n, receivers, context) == "invalid_parameter"


@pytest.mark.parametrize("suite", SUITES)
def test_a_share_in_clear_is_the_plaintext_of_a_sealed_one(suite: Suite) -> None:
    share = generate(suite)[1]
    clear = share.encode()
    assert open_by_hand(KEY.seal_share(share, b""), b"", bytes([1]) * 32) == clear
    for buffer in (clear, bytearray(clear), memoryview(clear)):
        again = KeyShare.decode(buffer)
        assert (again.encode(), repr(again)) == (clear, repr(share))
    for bad in (b"", clear[:-1], clear + b"\0", bytes(len(clear))):
        with pytest.raises(ThresholdError) as caught:
            KeyShare.decode(bad)
        assert caught.value.code == "record_malformed"
    with pytest.raises(ThresholdError) as caught:
        KeyShare.decode(clear[:-16] + bytes([clear[-16] ^ 1]) + clear[-15:])
    assert caught.value.code in {"share_inconsistent", "record_malformed"}
    assert clear[-32:].hex() not in repr(caught.value)


# --- passcodes ---------------------------------------------------------------------------------------------------------------


def hkdf(secret: bytes, label: bytes, context: bytes) -> bytes:
    """RFC 5869 with SHA-256, without a salt, for 32 bytes."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), label + context + b"\1", "sha256")


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=80), st.binary(min_size=32, max_size=32))
@settings(max_examples=25, deadline=None)
def test_proof_and_sealing_key_follow_from_the_passcode(
    passcode: bytes, context: bytes, backup_key: bytes
) -> None:
    """``docs/spec/threshold.md``, "Passcodes", in other libraries."""
    memory_kib, iterations, lanes = COST
    kdf = Argon2id(salt=SALT, length=32, iterations=iterations, lanes=lanes, memory_cost=memory_kib)
    stretched = kdf.derive(passcode)
    handle = Passcode(passcode, SALT, *COST)
    assert handle.proof(context) == hkdf(stretched, b"cosigner/passcode/v1/proof", context)
    if any(backup_key):
        sealed = handle.sealing_key(backup_key, context).seal_bytes(b"share", b"aad")
        key = hkdf(stretched + backup_key, b"cosigner/passcode/v1/seal", context)
        assert open_by_hand(sealed, b"aad", key) == b"share"


def test_a_backup_opens_with_both_halves_only() -> None:
    backup_key = bytes(range(1, 33))
    sealed = Passcode(b"314159", SALT, *COST).sealing_key(backup_key, b"wallet").seal_bytes(b"share", b"")
    attempts = {
        "another passcode": Passcode(b"314158", SALT, *COST).sealing_key(backup_key, b"wallet"),
        "another salt": Passcode(b"314159", SALT[::-1], *COST).sealing_key(backup_key, b"wallet"),
        "another cost": Passcode(b"314159", SALT, 64, 2, 1).sealing_key(backup_key, b"wallet"),
        "another backup key": Passcode(b"314159", SALT, *COST).sealing_key(backup_key[::-1], b"wallet"),
        "another backup": Passcode(b"314159", SALT, *COST).sealing_key(backup_key, b"other"),
        "no passcode": SealingKey.from_data_key(backup_key),
        "no backup key": SealingKey.from_passphrase(b"314159", SALT, *COST),
        "the proof": SealingKey.from_data_key(Passcode(b"314159", SALT, *COST).proof(b"wallet")),
    }
    for name, key in attempts.items():
        with pytest.raises(ThresholdError) as caught:
            key.open_bytes(sealed, b"")
        assert caught.value.code == "record_not_authentic", name
    same = Passcode(bytearray(b"314159"), SALT, *COST).sealing_key(bytearray(backup_key), b"wallet")
    assert same.open_bytes(sealed, b"") == b"share"


@pytest.mark.parametrize(
    ("passcode", "salt", "cost"),
    [
        (b"", SALT, COST),
        (b"1" * 1025, SALT, COST),
        (b"1234", SALT[:15], COST),
        (b"1234", SALT + b"\0", COST),
        (b"1234", SALT, (7, 1, 1)),
        (b"1234", SALT, (2**20 + 1, 1, 1)),
        (b"1234", SALT, (64, 0, 1)),
        (b"1234", SALT, (64, 17, 1)),
        (b"1234", SALT, (2**16, 1, 17)),
        (b"1234", SALT, (64, 1, 9)),
        (b"1234", SALT, (2**40, 1, 1)),
        (b"1234", SALT, (-1, 1, 1)),
    ],
)
def test_passcodes_have_the_bounds_of_passphrases(
    passcode: bytes, salt: bytes, cost: tuple[int, int, int]
) -> None:
    assert refused(Passcode, passcode, salt, *cost) == "invalid_parameter"
    assert refused(SealingKey.from_passphrase, passcode, salt, *cost) == "invalid_parameter"


def test_backup_keys_and_contexts_are_bounded() -> None:
    handle = Passcode(b"1234", SALT, *COST)
    for backup_key in (b"", b"\1" * 31, b"\1" * 33, bytes(32)):
        assert refused(handle.sealing_key, backup_key, b"") == "invalid_parameter"
    assert refused(handle.sealing_key, b"\1" * 32, bytes(1025)) == "invalid_parameter"
    assert refused(handle.proof, bytes(1025)) == "invalid_parameter"
    assert len(handle.proof(bytes(1024))) == 32
