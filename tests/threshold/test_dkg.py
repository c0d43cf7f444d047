"""Key generation: what it gives, and every attack on it by name."""

from __future__ import annotations

import pytest

from tests.threshold.ceremonies import SUITES, Run, generate
from threshold import Suite, ThresholdError, dkg_start

POINT = {Suite.FROST_ED25519: 32, Suite.FROST_SECP256K1_TR: 33, Suite.ECDSA_SECP256K1: 33}
PROOF = {Suite.FROST_ED25519: 64, Suite.FROST_SECP256K1_TR: 64, Suite.ECDSA_SECP256K1: 65}
POINTS = 41  # offset of the commitments in message 1: docs/spec/threshold.md


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def assert_blamed(caught: pytest.ExceptionInfo[ThresholdError], code: str, culprit: int | str | None) -> None:
    error = caught.value
    assert (error.code, error.culprit) == (code, culprit)
    assert error.reaction == ("retry" if culprit == "caller" else "abort")
    assert error.message
    assert str(error) == error.message


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("t", "n"), [(2, 2), (2, 3), (3, 5)])
def test_everybody_gets_a_share_of_one_key(suite: Suite, t: int, n: int) -> None:
    shares = generate(suite, t, n)
    assert sorted(shares) == list(range(1, n + 1))
    for i, share in shares.items():
        assert (share.suite, share.identifier, share.epoch) == (suite, i, 1)
        assert (share.min_signers, share.max_signers) == (t, n)
        assert len(share.group_public_key) == POINT[suite]
        assert share.group_public_key == shares[1].group_public_key
        assert share.chain_code == shares[1].chain_code
        assert len(share.chain_code) == 32
        assert share.verifying_shares == shares[1].verifying_shares
        assert sorted(share.verifying_shares) == list(range(1, n + 1))
        assert {len(point) for point in share.verifying_shares.values()} == {POINT[suite]}


@pytest.mark.parametrize("suite", SUITES)
def test_lengths_are_those_of_the_specification(suite: Suite) -> None:
    run = Run(suite, 3, 5).to_round3()
    assert {len(message) for message in run.messages1.values()} == {41 + 3 * POINT[suite] + PROOF[suite] + 32}
    assert {len(message) for outgoing in run.outgoing.values() for message in outgoing.values()} == {103}
    assert {len(confirmation) for confirmation in run.confirmations.values()} == {32}
    assert len(set(run.confirmations.values())) == 5


def test_two_runs_in_one_context_give_different_keys() -> None:
    one, two = (generate(Suite.FROST_ED25519)[1] for _ in range(2))
    assert one.group_public_key != two.group_public_key
    assert one.chain_code != two.chain_code


@pytest.mark.parametrize("suite", SUITES)
def test_a_message_of_another_context_is_refused(suite: Suite) -> None:
    run, other = Run(suite), Run(suite, context=bytes(32))
    with pytest.raises(ThresholdError) as caught:
        run.round1[1].advance({2: other.messages1[2]})
    assert_blamed(caught, "wrong_context", 2)


@pytest.mark.parametrize("suite", SUITES)
def test_an_equivocated_chain_code_is_refused(suite: Suite) -> None:
    """Participant 2 reveals something else than it committed to."""
    run = Run(suite).to_round2()
    message = run.messages2(1)[2]
    with pytest.raises(ThresholdError) as caught:
        run.round2[1].advance({2: flipped(message, 102)})
    assert_blamed(caught, "chain_code_mismatch", 2)


@pytest.mark.parametrize("suite", SUITES)
def test_equivocated_round_one_messages_are_found(suite: Suite) -> None:
    """Participant 3 commits to one chain code before 1 and to another before 2."""
    run = Run(suite, 2, 3)
    honest = run.messages1[3]
    one, _ = run.round1[1].advance({2: run.messages1[2], 3: honest})
    _, from_two = run.round1[2].advance({1: run.messages1[1], 3: flipped(honest, len(honest) - 1)})
    _, from_three = run.round1[3].advance({1: run.messages1[1], 2: run.messages1[2]})
    with pytest.raises(ThresholdError) as caught:
        one.advance({2: from_two[1], 3: from_three[1]})
    assert_blamed(caught, "transcript_mismatch", 2)


@pytest.mark.parametrize("suite", SUITES)
def test_a_wrong_confirmation_is_refused(suite: Suite) -> None:
    for wrong in (lambda c: flipped(c, 31), lambda c: c[:-1], lambda c: c + b"\0", lambda _: b""):
        run = Run(suite).to_round3()
        with pytest.raises(ThresholdError) as caught:
            run.round3[1].confirm({2: wrong(run.confirmations[2])})
        assert_blamed(caught, "confirmation_mismatch", 2)


def test_an_echo_of_the_own_confirmation_is_refused() -> None:
    run = Run(Suite.FROST_ED25519).to_round3()
    with pytest.raises(ThresholdError) as caught:
        run.round3[1].confirm({2: run.confirmations[1]})
    assert_blamed(caught, "confirmation_mismatch", 2)


@pytest.mark.parametrize("suite", SUITES)
def test_a_bad_proof_of_knowledge_is_refused(suite: Suite) -> None:
    """A constant term that the sender did not make: the attack that fixes the group key."""
    run, other = Run(suite), Run(suite)
    start, end = POINTS, POINTS + POINT[suite]
    forged = run.messages1[2][:start] + other.messages1[2][start:end] + run.messages1[2][end:]
    with pytest.raises(ThresholdError) as caught:
        run.round1[1].advance({2: forged})
    assert_blamed(caught, "invalid_proof", 2)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("points", [0, 1, 3, 64])
def test_too_many_or_too_few_commitments_are_refused(suite: Suite, points: int) -> None:
    """With one coefficient more, more signers would be needed than agreed (ZcashFoundation/frost, issue 600)."""
    run = Run(suite)
    message = run.messages1[2]
    end = POINTS + 2 * POINT[suite]
    wrong = message[:POINTS] + message[POINTS : POINTS + POINT[suite]] * points + message[end:]
    with pytest.raises(ThresholdError) as caught:
        run.round1[1].advance({2: wrong})
    assert_blamed(caught, "wrong_commitment_count", 2)


@pytest.mark.parametrize("suite", SUITES)
def test_a_bad_sub_share_is_refused(suite: Suite) -> None:
    run = Run(suite).to_round2()
    with pytest.raises(ThresholdError) as caught:
        run.round2[1].advance({2: flipped(run.messages2(1)[2], 39 + 16)})
    assert_blamed(caught, "invalid_sub_share", 2)


@pytest.mark.parametrize("suite", SUITES)
def test_swapped_senders_are_refused(suite: Suite) -> None:
    run = Run(suite, 2, 3)
    with pytest.raises(ThresholdError) as caught:
        run.round1[1].advance({2: run.messages1[3], 3: run.messages1[2]})
    assert_blamed(caught, "wrong_sender", 2)
    run = Run(suite, 2, 3).to_round2()
    messages = run.messages2(1)
    with pytest.raises(ThresholdError) as caught:
        run.round2[1].advance({2: messages[3], 3: messages[2]})
    assert_blamed(caught, "wrong_sender", 2)


@pytest.mark.parametrize("suite", SUITES)
def test_the_own_message_replayed_is_refused(suite: Suite) -> None:
    run = Run(suite)
    with pytest.raises(ThresholdError) as caught:
        run.round1[1].advance({2: run.messages1[1]})
    assert_blamed(caught, "wrong_sender", 2)
    run = Run(suite).to_round2()
    with pytest.raises(ThresholdError) as caught:
        run.round2[1].advance({2: run.outgoing[1][2]})
    assert_blamed(caught, "wrong_sender", 2)


def test_a_message_for_somebody_else_is_refused() -> None:
    run = Run(Suite.FROST_ED25519, 2, 3).to_round2()
    with pytest.raises(ThresholdError) as caught:
        run.round2[1].advance({2: run.outgoing[2][3], 3: run.outgoing[3][1]})
    assert_blamed(caught, "wrong_receiver", 2)


def test_messages_of_another_suite_round_or_size_are_refused() -> None:
    ed, tr = Run(Suite.FROST_ED25519), Run(Suite.FROST_SECP256K1_TR)
    with pytest.raises(ThresholdError) as caught:
        ed.round1[1].advance({2: tr.messages1[2]})
    assert_blamed(caught, "wrong_suite", 2)
    ed, bigger = Run(Suite.FROST_ED25519), Run(Suite.FROST_ED25519, 2, 3)
    with pytest.raises(ThresholdError) as caught:
        ed.round1[1].advance({2: bigger.messages1[2]})
    assert_blamed(caught, "wrong_parameters", 2)
    ed = Run(Suite.FROST_ED25519)
    later = Run(Suite.FROST_ED25519).to_round2()
    with pytest.raises(ThresholdError) as caught:
        ed.round1[1].advance({2: later.outgoing[2][1]})
    assert_blamed(caught, "wrong_kind", 2)


@pytest.mark.parametrize("senders", [[], [3], [1, 2], [2, 3, 4], [0, 2, 3], [2, 3, 65535]])
def test_the_senders_are_exactly_the_peers(senders: list[int]) -> None:
    run = Run(Suite.FROST_ED25519, 2, 3)
    with pytest.raises(ThresholdError) as caught:
        run.round1[1].advance({i: run.messages1.get(i, run.messages1[1]) for i in senders})
    expected = "missing_message" if set(senders) < {2, 3} else "unexpected_sender"
    assert_blamed(caught, expected, "caller")


def test_a_state_is_used_once_even_when_the_call_fails() -> None:
    run = Run(Suite.FROST_ED25519)
    with pytest.raises(ThresholdError):
        run.round1[1].advance({})
    with pytest.raises(ThresholdError) as caught:
        run.round1[1].advance({2: run.messages1[2]})
    assert_blamed(caught, "state_consumed", "caller")
    assert repr(run.round1[1]) == "<DkgRound1 (consumed)>"

    run = Run(Suite.FROST_ED25519).to_round3()
    for spent, argument in ((run.round1[1], run.messages1), (run.round2[1], run.messages2(1))):
        with pytest.raises(ThresholdError) as caught:
            spent.advance(argument)
        assert_blamed(caught, "state_consumed", "caller")
    run.round3[1].confirm({2: run.confirmations[2]})
    with pytest.raises(ThresholdError) as caught:
        run.round3[1].confirm({2: run.confirmations[2]})
    assert_blamed(caught, "state_consumed", "caller")


@pytest.mark.parametrize(
    ("identifier", "t", "n"),
    [
        (0, 2, 2),
        (3, 2, 2),
        (1, 1, 2),
        (1, 3, 2),
        (1, 2, 65),
        (1, 2, 1),
        (-1, 2, 2),
        (1, 2**70, 2),
        (65536, 2, 3),
    ],
)
def test_parameters_are_bounded(identifier: int, t: int, n: int) -> None:
    with pytest.raises(ThresholdError) as caught:
        dkg_start(Suite.FROST_ED25519, identifier, t, n, bytes(32))
    assert_blamed(caught, "invalid_parameter", "caller")


def test_suite_and_context_are_checked() -> None:
    with pytest.raises(ThresholdError) as caught:
        dkg_start("frost-p256", 1, 2, 2, bytes(32))
    assert_blamed(caught, "unknown_suite", "caller")
    for length in (0, 31, 33):
        with pytest.raises(ThresholdError) as caught:
            dkg_start(Suite.FROST_ED25519, 1, 2, 2, bytes(length))
        assert_blamed(caught, "invalid_parameter", "caller")


def test_wrong_types_are_type_errors() -> None:
    with pytest.raises(TypeError):
        dkg_start(Suite.FROST_ED25519, "1", 2, 2, bytes(32))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        dkg_start(Suite.FROST_ED25519, 1, 2, 2, "context")  # type: ignore[arg-type]
    run = Run(Suite.FROST_ED25519)
    with pytest.raises(TypeError):
        run.round1[1].advance({2: [1, 2, 3]})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        run.round1[2].advance({"1": run.messages1[1]})  # type: ignore[dict-item]
