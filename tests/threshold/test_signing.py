"""FROST signatures, verified by unrelated libraries; every argument checked; nonces used once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from coincurve import PublicKeyXOnly
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from embit import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.threshold.ceremonies import SIGNING, generate, sign
from threshold import (
    KeyShare,
    Suite,
    ThresholdError,
    frost_begin,
    frost_respond,
    verify_signature,
)

ED, TR = Suite.FROST_ED25519, Suite.FROST_SECP256K1_TR
DIGESTS = [bytes([k]) * 32 for k in range(3)]
TWEAKS: list[bytes | None] = [None, b"", b"\7" * 32]


@pytest.fixture(scope="module")
def ed() -> dict[int, KeyShare]:
    return generate(ED, 2, 3)


@pytest.fixture(scope="module")
def tr() -> dict[int, KeyShare]:
    return generate(TR, 2, 3)


def output_key(group_key: bytes, tweak: bytes | None) -> bytes:
    """The x-only key that verifies, computed by embit (BIP-341)."""
    internal = ec.PublicKey.parse(group_key)
    key = internal if tweak is None else internal.taproot_tweak(tweak)
    xonly = key.xonly()
    assert isinstance(xonly, bytes)
    return xonly


def code(caught: pytest.ExceptionInfo[ThresholdError]) -> tuple[str, int | str | None]:
    return caught.value.code, caught.value.culprit


@pytest.mark.parametrize(
    ("t", "n", "signers"),
    [
        (2, 2, [1, 2]),
        (2, 2, [2, 1]),
        (2, 3, [1, 3]),
        (2, 3, [3, 2, 1]),
        (3, 5, [5, 1, 3]),
        (3, 5, [1, 2, 3, 4, 5]),
    ],
)
def test_ed25519_signatures_satisfy_cryptography(t: int, n: int, signers: list[int]) -> None:
    shares = generate(ED, t, n)
    messages = [b"", b"message", bytes(65_536)]
    public = Ed25519PublicKey.from_public_bytes(shares[1].group_public_key)
    for message, signature in zip(messages, sign(shares, messages, None, signers), strict=True):
        public.verify(signature, message)
        verify_signature(ED, shares[1].group_public_key, message, signature)
        with pytest.raises(InvalidSignature):
            public.verify(signature, message + b"x")


@pytest.mark.parametrize(
    ("t", "n", "signers"), [(2, 2, [1, 2]), (2, 3, [3, 1]), (2, 3, [1, 2, 3]), (3, 5, [5, 1, 3])]
)
def test_taproot_signatures_satisfy_libsecp256k1(t: int, n: int, signers: list[int]) -> None:
    shares = generate(TR, t, n)
    group_key = shares[1].group_public_key
    for digest, tweak, signature in zip(DIGESTS, TWEAKS, sign(shares, DIGESTS, TWEAKS, signers), strict=True):
        assert PublicKeyXOnly(output_key(group_key, tweak)).verify(signature, digest)
        verify_signature(TR, group_key, digest, signature, tweak)
        verify_signature(TR, group_key[1:], digest, signature, tweak)
        for other in TWEAKS:
            if other != tweak:
                with pytest.raises(ThresholdError) as caught:
                    verify_signature(TR, group_key, digest, signature, other)
                assert code(caught) == ("signature_invalid", None)


def test_every_parity_signs() -> None:
    """Group keys with odd and with even y, whatever R turns out to be."""
    prefixes = set()
    for _ in range(40):
        shares = generate(TR)
        group_key = shares[1].group_public_key
        prefixes.add(group_key[0])
        (signature,) = sign(shares, [DIGESTS[1]], [b""])
        assert PublicKeyXOnly(output_key(group_key, b"")).verify(signature, DIGESTS[1])
    assert prefixes == {2, 3}


def test_a_full_batch_signs(ed: dict[int, KeyShare]) -> None:
    messages = [bytes([k]) for k in range(256)]
    signatures = sign(ed, messages)
    assert len(set(signatures)) == 256
    for message, signature in zip(messages, signatures, strict=True):
        verify_signature(ED, ed[1].group_public_key, message, signature)


def test_lengths_are_those_of_the_specification(ed: dict[int, KeyShare], tr: dict[int, KeyShare]) -> None:
    for shares, commitments_length in ((ed, 64), (tr, 66)):
        _, commitments = frost_begin(shares[1], 2)
        theirs, answers = frost_respond(shares[2], DIGESTS[:2], {1: commitments})
        assert {len(item) for item in commitments + theirs} == {commitments_length}
        assert {len(answer) for answer in answers} == {32}
        assert len(set(commitments + theirs)) == 4


def test_the_responder_never_repeats_a_nonce(ed: dict[int, KeyShare]) -> None:
    _, commitments = frost_begin(ed[1], 1)
    answers = [frost_respond(ed[2], [b"m"], {1: commitments}) for _ in range(50)]
    assert len({theirs[0][:32] for theirs, _ in answers} | {theirs[0][32:] for theirs, _ in answers}) == 100
    assert len({shares[0] for _, shares in answers}) == 50


def test_nonces_are_used_once_even_when_the_call_fails(ed: dict[int, KeyShare]) -> None:
    nonces, commitments = frost_begin(ed[1], 1)
    response = frost_respond(ed[2], [b"m"], {1: commitments})
    assert len(nonces) == 1
    with pytest.raises(ThresholdError) as caught:
        nonces.finish(ed[1], [b"m"], {})
    assert code(caught) == ("wrong_signer_count", "caller")
    attempts: list[Callable[[], object]] = [
        lambda: nonces.finish(ed[1], [b"m"], {2: response}),
        lambda: nonces.sign(ed[1], [b"m"], {2: response[0]}),
    ]
    for attempt in attempts:
        with pytest.raises(ThresholdError) as caught:
            attempt()
        assert code(caught) == ("state_consumed", "caller")
    assert repr(nonces) == "<SigningNonces for 1 (consumed)>"


@pytest.mark.parametrize("suite", SIGNING)
def test_a_bad_peer_share_names_its_signer(suite: Suite) -> None:
    shares = generate(suite, 2, 3)
    tweaks: list[bytes | None] | None = [b"", b""] if suite is TR else None
    for entry in (0, 1):
        nonces, commitments = frost_begin(shares[1], 2)
        theirs, answers = frost_respond(shares[3], DIGESTS[:2], {1: commitments}, tweaks)
        changed = bytearray(answers[entry])
        changed[16] ^= 1
        answers[entry] = bytes(changed)
        with pytest.raises(ThresholdError) as caught:
            nonces.finish(shares[1], DIGESTS[:2], {3: (theirs, answers)}, tweaks)
        assert code(caught) == ("invalid_signature_share", 3)
        assert caught.value.reaction == "abort"


@pytest.mark.parametrize("suite", SIGNING)
def test_a_response_to_something_else_is_refused(suite: Suite) -> None:
    """Another message, other commitments, another tweak, replayed answers: none of them verifies."""
    shares = generate(suite)

    def finish(respond: Callable[[list[bytes]], tuple[list[bytes], list[bytes]]]) -> None:
        nonces, commitments = frost_begin(shares[1], 1)
        with pytest.raises(ThresholdError) as caught:
            nonces.finish(shares[1], [DIGESTS[0]], {2: respond(commitments)})
        assert code(caught) == ("invalid_signature_share", 2)

    _, old = frost_begin(shares[1], 1)
    replayed = frost_respond(shares[2], [DIGESTS[0]], {1: old})
    finish(lambda commitments: frost_respond(shares[2], [DIGESTS[1]], {1: commitments}))
    finish(lambda _: replayed)
    finish(lambda commitments: (replayed[0], frost_respond(shares[2], [DIGESTS[0]], {1: commitments})[1]))
    if suite is TR:
        finish(lambda commitments: frost_respond(shares[2], [DIGESTS[0]], {1: commitments}, [b""]))


def test_every_argument_of_a_response_is_checked(ed: dict[int, KeyShare], tr: dict[int, KeyShare]) -> None:
    _, good = frost_begin(ed[1], 1)
    _, good_tr = frost_begin(tr[1], 1)
    identity = b"\1" + bytes(31)
    small_order = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
    cases: list[
        tuple[tuple[str, int | str], KeyShare, list[bytes], dict[int, list[bytes]], list[bytes | None] | None]
    ] = [
        (("invalid_parameter", "caller"), ed[2], [], {1: []}, None),
        (("invalid_parameter", "caller"), ed[2], [b"m"] * 257, {1: good * 257}, None),
        (("message_length", "caller"), ed[2], [bytes(65_537)], {1: good}, None),
        (("message_length", "caller"), tr[2], [bytes(31)], {1: good_tr}, None),
        (("message_length", "caller"), tr[2], [bytes(33)], {1: good_tr}, None),
        (("count_mismatch", "caller"), ed[2], [b"m"], {1: good}, []),
        (("count_mismatch", "caller"), ed[2], [b"m"], {1: good}, [None, None]),
        (("invalid_tweak", "caller"), ed[2], [b"m"], {1: good}, [b""]),
        (("invalid_tweak", "caller"), tr[2], [bytes(32)], {1: good_tr}, [b"x" * 31]),
        (("wrong_signer_count", "caller"), ed[2], [b"m"], {}, None),
        (("unexpected_sender", "caller"), ed[2], [b"m"], {2: good}, None),
        (("unexpected_sender", "caller"), ed[2], [b"m"], {1: good, 4: good}, None),
        (("unexpected_sender", "caller"), ed[2], [b"m"], {0: good}, None),
        (("count_mismatch", 1), ed[2], [b"m"], {1: good + good}, None),
        (("count_mismatch", 1), ed[2], [b"m"], {1: []}, None),
        (("invalid_commitment", 1), ed[2], [b"m"], {1: [good[0][:-1]]}, None),
        (("invalid_commitment", 1), ed[2], [b"m"], {1: [good[0] + b"\0"]}, None),
        (("invalid_commitment", 1), ed[2], [b"m"], {1: [identity + good[0][32:]]}, None),
        (("invalid_commitment", 1), ed[2], [b"m"], {1: [good[0][:32] + identity]}, None),
        (("invalid_commitment", 1), ed[2], [b"m"], {1: [small_order + good[0][32:]]}, None),
        (("invalid_commitment", 1), ed[2], [b"m"], {1: [b"\xff" * 64]}, None),
        (("invalid_commitment", 1), ed[2], [b"m"], {1: good_tr}, None),
        (("invalid_commitment", 1), tr[2], [bytes(32)], {1: [bytes(66)]}, None),
    ]
    for expected, share, messages, peers, tweaks in cases:
        with pytest.raises(ThresholdError) as caught:
            frost_respond(share, messages, peers, tweaks)
        assert code(caught) == expected


def test_every_argument_of_finishing_is_checked(ed: dict[int, KeyShare], tr: dict[int, KeyShare]) -> None:
    other = generate(ED, 2, 3)

    def finish(
        expected: tuple[str, int | str],
        share: KeyShare,
        messages: list[bytes],
        change: Callable[[list[bytes], list[bytes]], tuple[list[bytes], list[bytes]]] = lambda c, a: (c, a),
    ) -> None:
        nonces, commitments = frost_begin(ed[1], 1)
        response = frost_respond(ed[2], [b"m"], {1: commitments})
        with pytest.raises(ThresholdError) as caught:
            nonces.finish(share, messages, {2: change(*response)})
        assert code(caught) == expected

    finish(("wrong_share", "caller"), ed[2], [b"m"])
    finish(("wrong_share", "caller"), other[1], [b"m"])
    finish(("wrong_share", "caller"), tr[1], [b"m"])
    finish(("count_mismatch", "caller"), ed[1], [b"m", b"m"])
    finish(("count_mismatch", "caller"), ed[1], [])
    finish(("count_mismatch", 2), ed[1], [b"m"], lambda c, _: (c, []))
    finish(("count_mismatch", 2), ed[1], [b"m"], lambda c, a: (c + c, a))
    finish(("malformed_message", 2), ed[1], [b"m"], lambda c, a: (c, [a[0] + b"\0"]))
    finish(("malformed_message", 2), ed[1], [b"m"], lambda c, _: (c, [b"\xff" * 32]))
    finish(("invalid_commitment", 2), ed[1], [b"m"], lambda c, a: ([c[0][:32] + b"\1" + bytes(31)], a))
    finish(("invalid_signature_share", 2), ed[1], [b"n"])


def test_counts_are_bounded(ed: dict[int, KeyShare]) -> None:
    for count in (0, 257, -1, 2**70):
        with pytest.raises(ThresholdError) as caught:
            frost_begin(ed[1], count)
        assert code(caught) == ("invalid_parameter", "caller")


def test_ecdsa_shares_do_not_sign() -> None:
    shares = generate(Suite.ECDSA_SECP256K1)
    for attempt in (
        lambda: frost_begin(shares[1], 1),
        lambda: frost_respond(shares[1], [bytes(32)], {2: [bytes(66)]}),
        lambda: verify_signature(Suite.ECDSA_SECP256K1, shares[1].group_public_key, bytes(32), bytes(64)),
    ):
        with pytest.raises(ThresholdError) as caught:
            attempt()
        assert code(caught) == ("suite_cannot_sign", "caller")


def test_fewer_signers_than_the_threshold_cannot_sign() -> None:
    shares = generate(ED, 3, 5)
    nonces, commitments = frost_begin(shares[1], 1)
    for attempt in (
        lambda: frost_respond(shares[2], [b"m"], {1: commitments}),
        lambda: nonces.sign(shares[1], [b"m"], {2: commitments}),
    ):
        with pytest.raises(ThresholdError) as caught:
            attempt()
        assert code(caught) == ("wrong_signer_count", "caller")


@given(commitments=st.binary(max_size=80), answer=st.binary(max_size=40))
def test_hostile_responses_are_refused(commitments: bytes, answer: bytes) -> None:
    for suite in SIGNING:
        share = _shares()[suite][1]
        nonces, _ = frost_begin(share, 1)
        with pytest.raises(ThresholdError) as caught:
            nonces.finish(share, [DIGESTS[0]], {2: ([commitments], [answer])})
        assert caught.value.culprit == 2
        with pytest.raises(ThresholdError) as caught:
            frost_respond(share, [DIGESTS[0]], {2: [commitments]})
        assert code(caught) == ("invalid_commitment", 2)


_share_cache: dict[Suite, dict[int, KeyShare]] = {}


def _shares() -> dict[Suite, dict[int, KeyShare]]:
    if not _share_cache:
        _share_cache.update({suite: generate(suite) for suite in SIGNING})
    return _share_cache
