"""Resharing through the Python face: the key stays, its shares change, and everything is the documented protocol.

Dishonest dealers, mutations of every byte and the algebra of the scalars are tested in the core
(``native/core/src/reshare/tests``); the oracle here is ``reshare_reference.py``, written from the document alone.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from coincurve import PublicKey, PublicKeyXOnly
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.threshold.ceremonies import CONTEXT, SUITES, Resharing, Run, generate, sign
from tests.threshold.reference import GROUPS
from tests.threshold.reshare_reference import (
    PublicGroup,
    import_onlooker,
    interpolate,
    lagrange,
    reshare_onlooker,
    tagged,
    u16,
)
from tests.threshold.test_dkg import POINT, assert_blamed, flipped
from tests.threshold.test_ecdsa import Session
from tests.threshold.test_ecdsa import check as check_ecdsa
from threshold import (
    KeyShare,
    SealingKey,
    Suite,
    ThresholdError,
    import_receive,
    reshare_join,
    reshare_start,
)

KEY = SealingKey.from_data_key(bytes(range(1, 33)))
PROOF = {Suite.FROST_ED25519: 64, Suite.FROST_SECP256K1_TR: 64, Suite.ECDSA_SECP256K1: 65}
WALLET = [([1], [1, 3]), ([2], [2])]  # the device has 1 and the backup 3, the enclave has 2
RECORDED = Path(__file__).parents[2] / "native/core/src/reshare/tests/recorded.json"


def check_group(old: KeyShare, new: dict[int, KeyShare], t: int, n: int) -> None:
    """Same key, next epoch; the verifying shares of every quorum interpolate to the key, and of no fewer."""
    group = GROUPS[old.suite]
    assert sorted(new) == list(range(1, n + 1))
    for i, share in new.items():
        assert (share.suite, share.identifier, share.epoch) == (old.suite, i, old.epoch + 1)
        assert (share.min_signers, share.max_signers) == (t, n)
        assert share.group_public_key == old.group_public_key
        assert share.chain_code == old.chain_code
        assert share.verifying_shares == new[1].verifying_shares
        assert share.group == new[1].group
    points = new[1].verifying_shares
    for quorum in itertools.combinations(points, t):
        assert interpolate(group, points, list(quorum)) == old.group_public_key
    assert interpolate(group, points, list(points)[: t - 1]) != old.group_public_key
    assert set(points.values()).isdisjoint(old.verifying_shares.values())


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    ("old", "dealers", "new"),
    [
        ((2, 2), [1, 2], (2, 2)),
        ((2, 2), [1, 2], (2, 3)),
        ((2, 3), [2, 3], (2, 3)),
        ((2, 3), [1, 2], (2, 2)),
        ((3, 5), [1, 4, 5], (2, 3)),
        ((2, 3), [1, 3], (3, 4)),
    ],
)
def test_a_resharing_is_the_documented_one(
    suite: Suite, old: tuple[int, int], dealers: list[int], new: tuple[int, int]
) -> None:
    shares = generate(suite, *old)
    run = Resharing(shares, dealers, *new)
    reshared = run.shares()
    before = PublicGroup.parse(shares[1].group)
    assert before.encode() == shares[1].group
    expected = reshare_onlooker(
        before, dealers, new, CONTEXT, messages1=run.messages1, messages2=run.messages2
    )
    assert run.confirmations == expected.confirmations
    assert {share.group for share in reshared.values()} == {expected.group.encode()}
    check_group(shares[1], reshared, *new)


def test_a_wallet_goes_through_its_life() -> None:
    """2-of-2, a backup share, the device lost and replaced by means of the backup, the backup given up."""
    for suite in SUITES:
        shares = generate(suite)
        backed_up = Resharing(shares, [1, 2], 2, 3, nodes=WALLET).shares()
        check_group(shares[1], backed_up, 2, 3)
        recovered = Resharing(backed_up, [2, 3], 2, 3, nodes=[([2], [2]), ([3], [1, 3])]).shares()
        check_group(backed_up[1], recovered, 2, 3)
        without = Resharing(recovered, [1, 2], 2, 2).shares()
        check_group(recovered[1], without, 2, 2)
        assert without[2].epoch == 4


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_group_hands_over_to_any_other(data: st.DataObject) -> None:
    suite = data.draw(st.sampled_from(SUITES))
    t, new_t = data.draw(st.integers(2, 3)), data.draw(st.integers(2, 3))
    n, new_n = data.draw(st.integers(t, 4)), data.draw(st.integers(new_t, 4))
    dealers = sorted(data.draw(st.permutations(range(1, n + 1)))[:t])
    homes = data.draw(st.lists(st.integers(0, 2), min_size=new_n, max_size=new_n))
    nodes = [
        ([i for i in dealers if i % 3 == home], [j for j in range(1, new_n + 1) if homes[j - 1] == home])
        for home in range(3)
    ]
    nodes = [(deals, receives) for deals, receives in nodes if deals or receives]
    shares = generate(suite, t, n)
    check_group(shares[1], Resharing(shares, dealers, new_t, new_n, nodes=nodes).shares(), new_t, new_n)


def test_every_pair_signs_solana() -> None:
    old = generate(Suite.FROST_ED25519)
    new = Resharing(old, [1, 2], 2, 3, nodes=WALLET).shares()
    key = Ed25519PublicKey.from_public_bytes(old[1].group_public_key)
    for signers in ([1, 2], [3, 2], [1, 3]):
        (signature,) = sign(new, [b"message"], signers=signers)
        key.verify(signature, b"message")
        with pytest.raises(InvalidSignature):
            key.verify(signature, b"messagE")


def test_every_pair_signs_taproot() -> None:
    old = generate(Suite.FROST_SECP256K1_TR)
    new = Resharing(old, [1, 2], 2, 3, nodes=WALLET).shares()
    digest = bytes(range(32))
    for signers in ([1, 2], [3, 2], [1, 3]):
        (signature,) = sign(new, [digest], signers=signers)
        assert PublicKeyXOnly(old[1].group_public_key[1:]).verify(signature, digest)


def test_every_pair_signs_ecdsa() -> None:
    old = generate(Suite.ECDSA_SECP256K1)
    new = Resharing(old, [1, 2], 2, 3, nodes=WALLET).shares()
    session, digest = Session(), bytes(range(32))
    for signers in ((1, 2), (3, 2), (1, 3)):
        for path in ([], [0, 5]):
            signature = session.sign(new, digest, path, signers)
            check_ecdsa(signature, digest)
            derived = session.sign(old, digest, path)[2]
            assert signature[2] == derived
    assert session.sign(new, digest)[2] == PublicKey(old[1].group_public_key).format()


@pytest.mark.parametrize("suite", [Suite.FROST_ED25519, Suite.FROST_SECP256K1_TR])
def test_shares_of_two_epochs_do_not_sign(suite: Suite) -> None:
    old = generate(suite, 2, 3)
    new = Resharing(old, [1, 2], 2, 3).shares()
    other = Resharing(old, [1, 2], 2, 3).shares()
    for mixed in ({1: old[1], 2: new[2]}, {1: new[1], 2: old[2]}, {1: other[1], 2: new[2]}):
        with pytest.raises(ThresholdError) as caught:
            sign(mixed, [bytes(32)])
        assert_blamed(caught, "invalid_signature_share", 2)


def test_shares_of_two_epochs_do_not_sign_ecdsa() -> None:
    old = generate(Suite.ECDSA_SECP256K1)
    new = Resharing(old, [1, 2], 2, 2).shares()
    session = Session()
    for mixed in ({1: old[1], 2: new[2]}, {1: new[1], 2: old[2]}):
        with pytest.raises(ThresholdError) as caught:
            session.sign(mixed)
        assert caught.value.code == "wrong_context"
    assert session.alive == (True, True)


def test_states_are_used_once() -> None:
    run = Resharing(generate(Suite.FROST_ED25519), [1, 2], 2, 3, nodes=WALLET)
    run.shares()
    for again in (
        lambda: run.round1[0].advance(run.first_for(0)),
        lambda: run.round2[0].advance(run.second_for(0)),
        lambda: run.round3[0].confirm(run.confirmations_for(0)),
        lambda: run.round3[0].epoch,
        lambda: KEY.seal_reshare(run.round3[0], b""),
    ):
        with pytest.raises(ThresholdError) as caught:
            again()
        assert_blamed(caught, "state_consumed", "caller")


def test_a_state_is_gone_when_its_step_failed() -> None:
    run = Resharing(generate(Suite.FROST_ED25519), [1, 2], 2, 2)
    with pytest.raises(ThresholdError) as caught:
        run.round1[0].advance({})
    assert_blamed(caught, "missing_message", "caller")
    with pytest.raises(ThresholdError) as caught:
        run.round1[0].advance(run.first_for(0))
    assert_blamed(caught, "state_consumed", "caller")


@pytest.mark.parametrize("suite", SUITES)
def test_messages_have_their_documented_lengths(suite: Suite) -> None:
    run = Resharing(generate(suite), [1, 2], 3, 5).to_round3()
    assert {len(message) for message in run.messages1.values()} == {41 + 3 * POINT[suite]}
    assert {len(message) for message in run.messages2.values()} == {71}
    assert {len(sent) for sent in run.confirmations.values()} == {32}
    assert len(set(run.confirmations.values())) == 5


@pytest.mark.parametrize("suite", SUITES)
def test_refusals_name_the_dealer(suite: Suite) -> None:
    old = generate(suite)
    other = Resharing(generate(suite), [1, 2], 2, 2).messages1[2]

    def first(change: bytes) -> None:
        Resharing(old, [1, 2], 2, 2).round1[0].advance({2: change})

    honest = Resharing(old, [1, 2], 2, 2).messages1[2]
    moved = honest[:41] + other[41:]
    for change, code in (
        (flipped(honest, 1), "wrong_kind"),
        (flipped(honest, 9), "wrong_context"),
        (moved, "wrong_constant_term"),
        (honest[: -POINT[suite]], "wrong_commitment_count"),
        (honest + b"\0", "malformed_message"),
        (other, "wrong_context"),
    ):
        with pytest.raises(ThresholdError) as caught:
            first(change)
        assert_blamed(caught, code, 2)
    run = Resharing(old, [1, 2], 2, 2).to_round2()
    with pytest.raises(ThresholdError) as caught:
        run.round2[0].advance({(2, 1): flipped(run.messages2[2, 1], 50)})
    assert_blamed(caught, "invalid_sub_share", 2)
    run = Resharing(old, [1, 2], 2, 2).to_round3()
    with pytest.raises(ThresholdError) as caught:
        run.round3[0].confirm({2: run.confirmations[1]})
    assert_blamed(caught, "confirmation_mismatch", 2)


def test_messages_of_key_generation_are_not_taken() -> None:
    suite = Suite.FROST_ED25519
    run = Run(suite)
    with pytest.raises(ThresholdError) as caught:
        Resharing(generate(suite), [1, 2], 2, 2).round1[0].advance({2: run.messages1[2]})
    assert_blamed(caught, "wrong_kind", 2)


def test_arguments_are_checked() -> None:
    shares, other = generate(Suite.FROST_ED25519, 2, 3), generate(Suite.FROST_SECP256K1_TR, 2, 3)
    good = ([1, 2], [1], 2, 3, CONTEXT)
    for bad, code in (
        (([1, 2, 3], [1], 2, 3, CONTEXT), "invalid_parameter"),
        (([2, 1], [1], 2, 3, CONTEXT), "invalid_parameter"),
        (([1, 2], [4], 2, 3, CONTEXT), "invalid_parameter"),
        (([1, 2], [1], 1, 3, CONTEXT), "invalid_parameter"),
        (([1, 2], [1], 2, 65, CONTEXT), "invalid_parameter"),
        (([1, 2], [1], 2, 2**70, CONTEXT), "invalid_parameter"),
        (([1, 2], [-1], 2, 3, CONTEXT), "invalid_parameter"),
        (([1, 2], [1], 2, 3, CONTEXT[1:]), "invalid_parameter"),
    ):
        for begin in (lambda a: reshare_start([shares[1]], *a), lambda a: reshare_join(shares[1].group, *a)):
            with pytest.raises(ThresholdError) as caught:
                begin(bad)
            assert_blamed(caught, code, "caller")
    for wrong in ([shares[1], other[2]], [shares[1], generate(Suite.FROST_ED25519, 2, 3)[2]]):
        with pytest.raises(ThresholdError) as caught:
            reshare_start(wrong, *good)
        assert_blamed(caught, "shares_mismatch", "caller")
    for wrong in ([], [shares[3]], [shares[1], shares[1]]):
        with pytest.raises(ThresholdError) as caught:
            reshare_start(wrong, *good)
        assert_blamed(caught, "invalid_parameter", "caller")
    for group in (b"", shares[1].group[:-1], flipped(shares[1].group, 50)):
        with pytest.raises(ThresholdError) as caught:
            reshare_join(group, *good)
        assert_blamed(caught, "invalid_group", "caller")
    for call in (
        lambda: reshare_start([1], *good),  # type: ignore[list-item]
        lambda: reshare_start([shares[1]], ["1", 2], *good[1:]),  # type: ignore[list-item]
        lambda: reshare_start((shares[1],), *good),  # type: ignore[arg-type]
        lambda: Resharing(shares, [1, 2], 2, 2).to_round2().round2[0].advance({1: b""}),  # type: ignore[dict-item]
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("suite", SUITES)
def test_a_pending_state_survives_a_crash(suite: Suite) -> None:
    run = Resharing(generate(suite), [1, 2], 2, 3, nodes=WALLET).to_round3()
    record = KEY.seal_reshare(run.round3[0], b"header")
    assert record[:8] == b"CORESHR\x01"
    assert len(record) == 68 + 32 + 42 + 4 * POINT[suite] + 2 + 2 * 34
    for _ in range(2):
        state = KEY.open_reshare(record, b"header")
        assert (state.suite, state.epoch, state.min_signers, state.max_signers) == (suite, 2, 2, 3)
        assert state.receivers == [1, 3]
        assert state.group_public_key == run.round3[1].group_public_key
        assert sorted(state.confirm(run.confirmations_for(0))) == [1, 3]
    assert sorted(run.round3[0].confirm(run.confirmations_for(0))) == [1, 3]
    for opener in (KEY.open_share, KEY.open_unconfirmed, KEY.open_bytes):
        with pytest.raises(ThresholdError) as caught:
            opener(record, b"header")
        assert caught.value.code == "record_malformed"
    with pytest.raises(ThresholdError) as caught:
        KEY.open_reshare(KEY.seal_share(generate(suite)[1], b"header"), b"header")
    assert caught.value.code == "record_malformed"
    for wrong in (flipped(record, 60), flipped(record, len(record) - 1)):
        with pytest.raises(ThresholdError) as caught:
            KEY.open_reshare(wrong, b"header")
        assert caught.value.code == "record_not_authentic"


@pytest.mark.parametrize("suite", SUITES)
def test_a_share_can_be_proved(suite: Suite) -> None:
    old = generate(suite)
    new = Resharing(old, [1, 2], 2, 3, nodes=WALLET).shares()
    proof = new[1].prove(CONTEXT)
    assert len(proof) == PROOF[suite]
    new[2].verify_proof(1, CONTEXT, proof)
    for share, identifier, context, wrong in (
        (new[2], 3, CONTEXT, proof),
        (new[2], 1, bytes(32), proof),
        (old[2], 1, CONTEXT, proof),
        (new[2], 1, CONTEXT, old[1].prove(CONTEXT)),
        (new[2], 1, CONTEXT, flipped(proof, 40)),
        (new[2], 1, CONTEXT, proof[:-1]),
    ):
        with pytest.raises(ThresholdError) as caught:
            share.verify_proof(identifier, context, wrong)
        assert_blamed(caught, "invalid_proof", identifier)
    for identifier in (2, 0, 4):
        with pytest.raises(ThresholdError) as caught:
            new[2].verify_proof(identifier, CONTEXT, proof)
        assert_blamed(caught, "invalid_parameter", "caller")
    with pytest.raises(ThresholdError) as caught:
        new[2].prove(CONTEXT[1:])
    assert_blamed(caught, "invalid_parameter", "caller")


def test_a_proof_is_a_signature_that_other_libraries_verify() -> None:
    for suite in (Suite.FROST_ED25519, Suite.FROST_SECP256K1_TR):
        share = generate(suite)[2]
        statement = tagged("share/v1/proof", tagged("share/v1/group", share.group), u16(2), CONTEXT)
        proof, point = share.prove(CONTEXT), share.verifying_shares[2]
        if suite == Suite.FROST_ED25519:
            Ed25519PublicKey.from_public_bytes(point).verify(proof, statement)
        else:
            assert PublicKeyXOnly(point[1:]).verify(proof, statement)


def test_recorded_transcripts_are_the_documented_protocol() -> None:
    recorded = json.loads(RECORDED.read_text())
    context = bytes.fromhex(recorded["context"])
    for suite in SUITES:
        run = recorded[suite]["reshare"]
        old = PublicGroup.parse(bytes.fromhex(run["old_group"]))
        first = {i: bytes.fromhex(message) for i, message in enumerate(run["message1"], 1)}
        second = {
            (int(pair[0]), int(pair[-1])): bytes.fromhex(message) for pair, message in run["message2"].items()
        }
        result = reshare_onlooker(old, [1, 2], (2, 3), context, messages1=first, messages2=second)
        assert result.group.encode().hex() == run["new_group"]
        assert [sent.hex() for sent in result.confirmations.values()] == run["confirmations"]
        group, secrets = GROUPS[suite], run["new_shares"]
        pending = bytes.fromhex(run["device_pending"])
        shares = b"".join(u16(i) + bytes.fromhex(secrets[i - 1]) for i in (1, 3))
        assert pending[32:] == result.group.encode() + u16(2) + shares
        assert tagged("reshare/v1/confirmation", pending[:32], u16(1)).hex() == run["confirmations"][0]
        # Two polynomials through one point: the shares differ, the secret does not.
        for quorum in ([1, 2], [1, 3], [2, 3]):
            assert combined(suite, secrets, quorum) == combined(suite, run["old_shares"], [1, 2])
        assert combined(suite, [run["old_shares"][0], secrets[1]], [1, 2]) != combined(suite, secrets, [1, 2])

        imported = recorded[suite]["import"]
        message2 = {2: bytes.fromhex(imported["message2"])}
        result = import_onlooker(suite, (2, 2), context, bytes.fromhex(imported["message1"]), message2)
        assert result.group.encode().hex() == imported["group"]
        assert result.group.chain_code.hex() == imported["chain_code"]
        assert [sent.hex() for sent in result.confirmations.values()] == imported["confirmations"]
        assert combined(suite, imported["shares"], [1, 2]) == group.scalar(bytes.fromhex(imported["secret"]))
        # The enclave takes the recorded messages, and confirms what is recorded.
        state, own = import_receive(suite, [2], 2, 2, context, bytes.fromhex(imported["message1"]), message2)
        assert own[2].hex() == imported["confirmations"][1]
        share = state.confirm({1: bytes.fromhex(imported["confirmations"][0])})[2]
        assert (share.epoch, share.group.hex()) == (1, imported["group"])


def combined(suite: Suite, shares: list[str], quorum: list[int]) -> int:
    group = GROUPS[suite]
    parts = (lagrange(group, quorum, i) * group.scalar(bytes.fromhex(shares[i - 1])) for i in quorum)
    return sum(parts) % group.order


def test_refusals_of_an_import_name_nobody() -> None:
    recorded = json.loads(RECORDED.read_text())
    context = bytes.fromhex(recorded["context"])
    run = recorded[Suite.FROST_ED25519]["import"]
    message1, message2 = bytes.fromhex(run["message1"]), bytes.fromhex(run["message2"])

    def receive(first: bytes, second: bytes, ctx: bytes = context) -> None:
        import_receive(Suite.FROST_ED25519, [2], 2, 2, ctx, first, {2: second})

    for first, second, code in (
        (flipped(message1, 1), message2, "wrong_kind"),
        (flipped(message1, 41), message2, "transcript_mismatch"),
        (message1[:-32], message2, "wrong_commitment_count"),
        (message1, flipped(message2, 6), "wrong_receiver"),
        (message1, flipped(message2, 50), "invalid_sub_share"),
    ):
        with pytest.raises(ThresholdError) as caught:
            receive(first, second)
        assert (caught.value.code, caught.value.culprit, caught.value.reaction) == (code, None, "abort")
    with pytest.raises(ThresholdError) as caught:
        receive(message1, message2, bytes(32))
    assert caught.value.code == "wrong_context"
    for receivers, messages, code in (
        ([2], {}, "missing_message"),
        ([1], {2: message2}, "unexpected_sender"),
        ([3], {3: message2}, "invalid_parameter"),
    ):
        with pytest.raises(ThresholdError) as caught:
            import_receive(Suite.FROST_ED25519, receivers, 2, 2, context, message1, messages)
        assert_blamed(caught, code, "caller")
    with pytest.raises(ThresholdError) as caught:
        import_receive("frost", [2], 2, 2, context, message1, {2: message2})
    assert_blamed(caught, "unknown_suite", "caller")
