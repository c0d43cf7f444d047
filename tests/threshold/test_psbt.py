"""PSBTs built by ``embit``: what is reported, the digests, the finished transaction, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from coincurve import PublicKeyXOnly
from embit import ec, script
from embit.networks import NETWORKS
from embit.psbt import PSBT
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput
from hypothesis import given
from hypothesis import strategies as st

from tests.threshold.ceremonies import generate, sign
from threshold import KeyShare, PayloadError, Suite
from threshold.payload import bitcoin_address, psbt_finalize, psbt_inspect

EMBIT_NETWORKS = {"mainnet": "main", "testnet": "test", "signet": "signet", "regtest": "regtest"}
ROOT = bytes([5]) * 32
STRANGER = ec.PrivateKey(bytes([2]) * 32).get_public_key()


@pytest.fixture(scope="module")
def shares() -> dict[int, KeyShare]:
    return generate(Suite.FROST_SECP256K1_TR)


def group_key(shares: dict[int, KeyShare]) -> bytes:
    return shares[1].group_public_key


def p2tr(public_key: bytes, root: bytes = b"") -> script.Script:
    return script.Script(b"\x51\x20" + ec.PublicKey.parse(public_key).taproot_tweak(root).xonly())


def payment(
    public_key: bytes, *, ours: int = 1, strangers: int = 0, amount: int = 100_000, fee: int = 500
) -> PSBT:
    """Spends ``ours`` outputs of the wallet and others; pays a stranger and gives the change back."""
    count = ours + strangers
    spent = [
        TransactionOutput(amount, p2tr(public_key) if k < ours else script.p2tr(STRANGER))
        for k in range(count)
    ]
    inputs = [TransactionInput(bytes([k + 1]) * 32, k, sequence=0xFFFFFFFD) for k in range(count)]
    outputs = [
        TransactionOutput(30_000, script.p2wpkh(STRANGER)),
        TransactionOutput(count * amount - 30_000 - fee, p2tr(public_key)),
    ]
    psbt = PSBT(Transaction(vin=inputs, vout=outputs, locktime=800_000))
    for scope, utxo in zip(psbt.inputs, spent, strict=True):
        scope.witness_utxo = utxo
    return psbt


def refused(psbt: bytes, public_key: bytes) -> tuple[str, str | None]:
    with pytest.raises(PayloadError) as caught:
        psbt_inspect(psbt, public_key, "regtest")
    return caught.value.code, caught.value.field


@pytest.mark.parametrize("network", EMBIT_NETWORKS)
def test_addresses_are_those_of_embit(shares: dict[int, KeyShare], network: str) -> None:
    key = group_key(shares)
    expected = p2tr(key).address(NETWORKS[EMBIT_NETWORKS[network]])
    assert bitcoin_address(key, network) == bitcoin_address(key[1:], network) == expected
    assert script.p2tr(ec.PublicKey.parse(key)).address(NETWORKS[EMBIT_NETWORKS[network]]) == expected


def test_the_address_of_bip86() -> None:
    """BIP-86, test vectors: first receiving address of the account."""
    internal = bytes.fromhex("cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115")
    assert (
        bitcoin_address(internal, "mainnet")
        == "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    )


def test_bad_keys_and_networks_are_refused(shares: dict[int, KeyShare]) -> None:
    for key, network, code in (
        (bytes(32), "regtest", "invalid_public_key"),
        (b"\xff" * 32, "regtest", "invalid_public_key"),
        (b"\x04" + bytes(32), "regtest", "invalid_public_key"),
        (bytes(31), "regtest", "invalid_public_key"),
        (group_key(shares), "bitcoin", "unknown_network"),
    ):
        with pytest.raises(PayloadError) as caught:
            bitcoin_address(key, network)
        assert caught.value.code == code


@pytest.mark.parametrize("sighash", [None, SIGHASH.DEFAULT, SIGHASH.ALL])
def test_a_payment_is_reported_signed_and_finished(shares: dict[int, KeyShare], sighash: int | None) -> None:
    key = group_key(shares)
    psbt = payment(key, ours=2)
    for scope in psbt.inputs:
        scope.sighash_type = sighash
        scope.taproot_internal_key = ec.PublicKey.parse(key)
    raw = psbt.serialize()
    summary = psbt_inspect(raw, key, "regtest")
    assert summary["txid"] == psbt.tx.txid().hex()
    assert (summary["fee"], summary["lock_time"], summary["version"]) == (500, 800_000, 2)
    assert [(i["index"], i["txid"], i["vout"], i["amount"], i["ours"]) for i in summary["inputs"]] == [
        (0, (b"\1" * 32).hex(), 0, 100_000, True),
        (1, (b"\2" * 32).hex(), 1, 100_000, True),
    ]
    pay, change = summary["outputs"]
    regtest = NETWORKS["regtest"]
    assert (pay["address"], pay["amount"], pay["ours"]) == (
        script.p2wpkh(STRANGER).address(regtest),
        30_000,
        False,
    )
    assert (change["address"], change["amount"], change["ours"]) == (
        bitcoin_address(key, "regtest"),
        169_500,
        True,
    )
    digests = [i["sighash"] or b"" for i in summary["inputs"]]
    # The same digests by embit.
    assert digests == [
        psbt.tx.sighash_taproot(
            k,
            [scope.utxo.script_pubkey for scope in psbt.inputs],
            [scope.utxo.value for scope in psbt.inputs],
            sighash or SIGHASH.DEFAULT,
        )
        for k in range(2)
    ]
    assert {i["sighash_type"] for i in summary["inputs"]} == {sighash or 0}
    assert {i["tweak"] for i in summary["inputs"]} == {b""}
    signatures = sign(shares, digests, [i["tweak"] for i in summary["inputs"]])
    output_key = PublicKeyXOnly(p2tr(key).data[2:])
    assert all(output_key.verify(*pair) for pair in zip(signatures, digests, strict=True))

    finished = psbt_finalize(raw, dict(enumerate(signatures)))
    assert finished["transaction"] is not None
    transaction = Transaction.parse(finished["transaction"])
    assert transaction.txid() == psbt.tx.txid()
    suffix = b"\1" if sighash == SIGHASH.ALL else b""
    assert [i.witness.items for i in transaction.vin] == [[s + suffix] for s in signatures]
    done = PSBT.parse(finished["psbt"])
    assert [scope.final_scriptwitness.items for scope in done.inputs] == [[s + suffix] for s in signatures]
    assert all(scope.sighash_type is None for scope in done.inputs)


def test_other_wallets_inputs_are_left_alone(shares: dict[int, KeyShare]) -> None:
    key = group_key(shares)
    psbt = payment(key, ours=1, strangers=1)
    psbt.inputs[1].sighash_type = SIGHASH.NONE  # theirs to decide
    raw = psbt.serialize()
    ours, theirs = psbt_inspect(raw, key, "regtest")["inputs"]
    assert ours["ours"]
    assert not theirs["ours"]
    assert [theirs[name] for name in ("sighash", "sighash_type", "tweak")] == [None] * 3
    (signature,) = sign(shares, [ours["sighash"] or b""], [b""])
    finished = psbt_finalize(raw, {0: signature})
    assert finished["transaction"] is None
    again = PSBT.parse(finished["psbt"])
    assert again.inputs[1].serialize() == psbt.inputs[1].serialize()
    with pytest.raises(PayloadError) as caught:
        psbt_finalize(raw, {1: signature})
    assert (caught.value.code, caught.value.field) == ("psbt_sighash_type", "inputs[1]")
    psbt.inputs[1].sighash_type = None
    with pytest.raises(PayloadError) as caught:
        psbt_finalize(psbt.serialize(), {1: signature})
    assert (caught.value.code, caught.value.field) == ("psbt_signature_invalid", "inputs[1]")


def test_a_script_tree_is_signed_under_its_root(shares: dict[int, KeyShare]) -> None:
    key = group_key(shares)
    psbt = payment(key)
    psbt.inputs[0].witness_utxo = TransactionOutput(100_000, p2tr(key, ROOT))
    assert refused(psbt.serialize(), key)[0] == "psbt_no_input_of_wallet"
    psbt.inputs[0].taproot_internal_key = ec.PublicKey.parse(key)
    psbt.inputs[0].taproot_merkle_root = ROOT
    raw = psbt.serialize()
    (entry,) = psbt_inspect(raw, key, "regtest")["inputs"]
    assert (entry["ours"], entry["tweak"]) == (True, ROOT)
    (signature,) = sign(shares, [entry["sighash"] or b""], [ROOT])
    assert psbt_finalize(raw, {0: signature})["transaction"] is not None


def set_amount(psbt: PSBT, value: int) -> None:
    psbt.inputs[0].witness_utxo = TransactionOutput(value, psbt.inputs[0].witness_utxo.script_pubkey)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("psbt_missing_utxo", lambda p: setattr(p.inputs[1], "witness_utxo", None)),
        ("psbt_overspend", lambda p: set_amount(p, 1)),
        ("psbt_amount", lambda p: set_amount(p, 21 * 10**14 + 1)),
        ("psbt_amount", lambda p: set_amount(p, 2**64 - 1)),
        ("psbt_sighash_type", lambda p: setattr(p.inputs[0], "sighash_type", SIGHASH.NONE)),
        ("psbt_sighash_type", lambda p: setattr(p.inputs[0], "sighash_type", SIGHASH.SINGLE)),
        (
            "psbt_sighash_type",
            lambda p: setattr(p.inputs[0], "sighash_type", SIGHASH.ALL | SIGHASH.ANYONECANPAY),
        ),
        ("psbt_field_conflict", lambda p: setattr(p.inputs[0], "taproot_internal_key", STRANGER)),
        ("psbt_field_conflict", lambda p: setattr(p.inputs[0], "taproot_merkle_root", ROOT)),
        (
            "psbt_no_input_of_wallet",
            lambda p: setattr(p.inputs[0], "witness_utxo", TransactionOutput(100_000, script.p2tr(STRANGER))),
        ),
    ],
)
def test_every_rule_has_its_code(
    shares: dict[int, KeyShare], code: str, change: Callable[[PSBT], None]
) -> None:
    psbt = payment(group_key(shares), ours=1, strangers=1)
    change(psbt)
    assert refused(psbt.serialize(), group_key(shares))[0] == code


def test_an_output_spent_twice_is_refused(shares: dict[int, KeyShare]) -> None:
    psbt = payment(group_key(shares), ours=2)
    psbt.inputs[1].txid, psbt.inputs[1].vout = psbt.inputs[0].txid, psbt.inputs[0].vout
    assert refused(psbt.serialize(), group_key(shares)) == ("psbt_duplicate_input", "inputs[1]")


def test_previous_transactions_must_agree(shares: dict[int, KeyShare]) -> None:
    """The amount is what the fee hides in: a previous transaction, where given, decides."""
    key = group_key(shares)
    previous = Transaction(
        vin=[TransactionInput(bytes([9]) * 32, 0)], vout=[TransactionOutput(100_000, p2tr(key))]
    )
    psbt = payment(key)
    psbt.inputs[0].txid, psbt.inputs[0].vout = previous.txid(), 0
    psbt.inputs[0].non_witness_utxo = previous
    assert psbt_inspect(psbt.serialize(), key, "regtest")["fee"] == 500
    set_amount(psbt, 99_999)
    assert refused(psbt.serialize(), key) == ("psbt_utxo_mismatch", "inputs[0]")
    set_amount(psbt, 100_000)
    psbt.inputs[0].vout = 1
    assert refused(psbt.serialize(), key) == ("psbt_utxo_mismatch", "inputs[0]")
    psbt.inputs[0].txid, psbt.inputs[0].vout = bytes([3]) * 32, 0
    assert refused(psbt.serialize(), key) == ("psbt_utxo_mismatch", "inputs[0]")


def test_a_signed_input_is_not_signed_again(shares: dict[int, KeyShare]) -> None:
    key = group_key(shares)
    raw = payment(key).serialize()
    digest = psbt_inspect(raw, key, "regtest")["inputs"][0]["sighash"] or b""
    (signature,) = sign(shares, [digest], [b""])
    done = psbt_finalize(raw, {0: signature})["psbt"]
    assert refused(done, key) == ("psbt_already_signed", "inputs[0]")
    with pytest.raises(PayloadError) as caught:
        psbt_finalize(done, {0: signature})
    assert caught.value.code == "psbt_already_signed"
    assert psbt_finalize(done, {})["transaction"] is not None


def test_signatures_are_verified_before_they_are_put_in(shares: dict[int, KeyShare]) -> None:
    key = group_key(shares)
    raw = payment(key).serialize()
    digest = psbt_inspect(raw, key, "regtest")["inputs"][0]["sighash"] or b""
    untweaked, tweaked = (sign(shares, [digest], [tweak])[0] for tweak in (None, b""))
    for index, signature, code in (
        (0, untweaked, "psbt_signature_invalid"),
        (0, tweaked[:-1], "psbt_signature_invalid"),
        (0, tweaked + b"\1", "psbt_signature_invalid"),
        (1, tweaked, "psbt_unexpected_signature"),
        (2**40, tweaked, "psbt_unexpected_signature"),
    ):
        with pytest.raises(PayloadError) as caught:
            psbt_finalize(raw, {index: signature})
        assert caught.value.code == code


def test_bytes_around_and_between_are_refused(shares: dict[int, KeyShare]) -> None:
    key = group_key(shares)
    raw = payment(key).serialize()
    for longer in (raw + b"\0", raw + raw, b"\0" + raw, raw + b"\1\0\0"):
        assert refused(longer, key)[0] in {"psbt_malformed", "psbt_not_canonical"}
    for length in range(len(raw)):
        assert refused(raw[:length], key)[0].startswith("psbt_")
    assert refused(b"psbt\xff" + bytes(512 * 1024), key)[0] == "psbt_too_large"


def test_version_2_is_refused(shares: dict[int, KeyShare]) -> None:
    psbt = payment(group_key(shares))
    psbt.version = 2
    psbt.inputs[0].sequence = 0
    assert refused(psbt.serialize(), group_key(shares))[0] == "psbt_version_unsupported"


def test_unknown_entries_survive(shares: dict[int, KeyShare]) -> None:
    key = group_key(shares)
    psbt = payment(key)
    # New dicts: embit's scopes share one default.
    psbt.inputs[0].unknown = {b"\xfc\x05other\x01": b"value"}
    psbt.unknown = {b"\xf0": b"global"}
    raw = psbt.serialize()
    digest = psbt_inspect(raw, key, "regtest")["inputs"][0]["sighash"] or b""
    (signature,) = sign(shares, [digest], [b""])
    done = PSBT.parse(psbt_finalize(raw, {0: signature})["psbt"])
    assert done.inputs[0].unknown == {b"\xfc\x05other\x01": b"value"}
    assert done.unknown == {b"\xf0": b"global"}


_KEY = bytes.fromhex("02") + STRANGER.xonly()
_VALID = payment(_KEY, ours=2).serialize()


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=3)), min_size=1, max_size=3
    ),
    cut=st.integers(0, 3),
)
def test_changed_psbts_are_refused_or_mean_what_they_say(changes: list[tuple[int, bytes]], cut: int) -> None:
    """Whatever is accepted, embit reads the same: the same transaction, the same amounts."""
    changed = bytearray(_VALID)
    for at, replacement in changes:
        changed[at % len(_VALID) : at % len(_VALID) + cut] = replacement
    try:
        summary = psbt_inspect(bytes(changed), _KEY, "regtest")
    except PayloadError:
        return
    independent = PSBT.parse(bytes(changed))
    assert summary["txid"] == independent.tx.txid().hex()
    assert [i["amount"] for i in summary["inputs"]] == [scope.utxo.value for scope in independent.inputs]
    assert [o["script"] for o in summary["outputs"]] == [o.script_pubkey.data for o in independent.tx.vout]


@given(psbt=st.binary(max_size=400), magic=st.sampled_from([b"", b"psbt\xff", b"psbt\xff\x01\x00"]))
def test_rubbish_is_refused(psbt: bytes, magic: bytes) -> None:
    for operation in (lambda raw: psbt_inspect(raw, _KEY, "regtest"), lambda raw: psbt_finalize(raw, {})):
        with pytest.raises(PayloadError) as caught:
            operation(magic + psbt)
        assert caught.value.code.startswith("psbt_")
