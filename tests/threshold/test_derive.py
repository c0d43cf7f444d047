"""Shares of keys below a Taproot key: the keys are embit's, and what their shares sign verifies under embit's output key."""

from __future__ import annotations

import itertools
import os

import pytest
from coincurve import PublicKeyXOnly
from embit import bip32
from embit.ec import PublicKey
from embit.script import p2tr

from tests.threshold.ceremonies import generate, sign
from threshold import (
    KeyShare,
    SealingKey,
    Suite,
    ThresholdError,
    derive_public_key,
    frost_begin,
    frost_respond,
    verify_signature,
)

TAPROOT = Suite.FROST_SECP256K1_TR
PATHS = [[], [0], [0, 5], [2**31 - 1], [86, 0, 0, 1, 7], list(range(16))]
DIGEST = b"\x0a" * 32


def below(shares: dict[int, KeyShare], path: list[int]) -> dict[int, KeyShare]:
    return {i: share.derive(path) for i, share in shares.items()}


def child(share: KeyShare, path: list[int]) -> bip32.HDKey:
    """The same by embit, of public data alone."""
    return bip32.HDKey(PublicKey.parse(share.group_public_key), share.chain_code).derive(path)


def output_key(public_key: bytes) -> bytes:
    """The 32 bytes that an output of BIP-86 pays to."""
    script: bytes = p2tr(PublicKey.parse(public_key)).data
    assert script[:2] == b"\x51\x20"
    return script[2:]


@pytest.fixture(scope="module")
def shares() -> dict[int, KeyShare]:
    return generate(TAPROOT, 2, 3)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_the_derived_share_is_of_the_key_and_chain_code_that_embit_derives(
    shares: dict[int, KeyShare], path: list[int]
) -> None:
    expected = child(shares[1], path)
    for i, share in below(shares, path).items():
        assert share.group_public_key == expected.key.sec()
        assert share.chain_code == expected.chain_code
        assert derive_public_key(shares[i].group_public_key, shares[i].chain_code, path) == expected.key.sec()
        described = (share.suite, share.identifier, share.min_signers, share.max_signers, share.epoch)
        assert described == (TAPROOT, i, 2, 3, shares[i].epoch)
        assert share.verifying_shares.keys() == {1, 2, 3}


def test_deriving_step_by_step_gives_the_same_share(shares: dict[int, KeyShare]) -> None:
    whole, steps = shares[1].derive([3, 1, 4]), shares[1].derive([3]).derive([1, 4])
    assert whole.group_public_key == steps.group_public_key
    assert whole.chain_code == steps.chain_code
    assert whole.verifying_shares == steps.verifying_shares


def test_the_parent_stays_as_it_was(shares: dict[int, KeyShare]) -> None:
    before = shares[1].group_public_key, shares[1].chain_code, shares[1].verifying_shares
    assert shares[1].derive([0]).group_public_key != before[0]
    assert (shares[1].group_public_key, shares[1].chain_code, shares[1].verifying_shares) == before
    (signature,) = sign(shares, [DIGEST], [b""])
    assert PublicKeyXOnly(output_key(before[0])).verify(signature, DIGEST)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_derived_shares_sign_for_the_output_key_of_the_derived_key(
    shares: dict[int, KeyShare], path: list[int]
) -> None:
    derived = below(shares, path)
    expected = PublicKeyXOnly(output_key(child(shares[1], path).key.sec()))
    for signers in itertools.permutations((1, 2, 3), 2):
        digest = os.urandom(32)
        (signature,) = sign(derived, [digest], [b""], list(signers))
        assert expected.verify(signature, digest)
        assert (
            not PublicKeyXOnly(output_key(shares[1].group_public_key)).verify(signature, digest) or not path
        )
        verify_signature(TAPROOT, derived[1].group_public_key, digest, signature, b"")


def test_parents_and_children_of_both_parities_sign() -> None:
    """The first byte of a compressed key; BIP-32 hashes it, BIP-340 ignores it."""
    missing = set(itertools.product((2, 3), (2, 3)))
    for _ in range(200):
        shares = generate(TAPROOT)
        for index in range(8):
            derived = below(shares, [index])
            parities = (shares[1].group_public_key[0], derived[1].group_public_key[0])
            if parities not in missing:
                continue
            missing.remove(parities)
            for tweak, key in (
                (b"", output_key(derived[1].group_public_key)),
                (None, derived[1].group_public_key[1:]),
            ):
                (signature,) = sign(derived, [DIGEST], [tweak])
                assert PublicKeyXOnly(key).verify(signature, DIGEST)
        if not missing:
            return
    raise AssertionError(missing)


def test_a_derived_share_survives_sealing(shares: dict[int, KeyShare]) -> None:
    key = SealingKey.from_data_key(b"k" * 32)
    derived = below(shares, [0, 5])
    opened = {i: key.open_share(key.seal_share(share, b""), b"") for i, share in derived.items()}
    assert opened[1].group_public_key == derived[1].group_public_key
    (signature,) = sign({1: opened[1], 2: derived[2]}, [DIGEST], [b""])
    assert PublicKeyXOnly(output_key(derived[1].group_public_key)).verify(signature, DIGEST)


def test_a_share_of_another_path_makes_no_signature(shares: dict[int, KeyShare]) -> None:
    ours, theirs = shares[1].derive([0]), shares[2].derive([1])
    nonces, commitments = frost_begin(ours, 1)
    answer = frost_respond(theirs, [DIGEST], {1: commitments}, [b""])
    with pytest.raises(ThresholdError) as caught:
        nonces.finish(ours, [DIGEST], {2: answer}, [b""])
    assert (caught.value.code, caught.value.culprit) == ("invalid_signature_share", 2)


def test_nonces_drawn_for_the_parent_are_not_used_for_a_child(shares: dict[int, KeyShare]) -> None:
    nonces, commitments = frost_begin(shares[1], 1)
    derived = below(shares, [0])
    answer = frost_respond(derived[2], [DIGEST], {1: commitments}, [b""])
    with pytest.raises(ThresholdError) as caught:
        nonces.finish(derived[1], [DIGEST], {2: answer}, [b""])
    assert caught.value.code == "wrong_share"


@pytest.mark.parametrize("suite", [suite for suite in Suite if suite is not TAPROOT])
@pytest.mark.parametrize("path", [[], [0], [2**31]])
def test_shares_of_other_suites_are_not_derived(suite: Suite, path: list[int]) -> None:
    with pytest.raises(ThresholdError) as caught:
        generate(suite)[1].derive(path)
    assert (caught.value.code, caught.value.culprit, caught.value.reaction) == (
        "wrong_suite",
        "caller",
        "retry",
    )


@pytest.mark.parametrize(
    "path", [[2**31], [0, 2**32 - 1], [2**32], [-1], list(range(17)), [0] * 10_000], ids=lambda p: str(p)[:20]
)
def test_paths_that_cannot_be_derived_are_refused(shares: dict[int, KeyShare], path: list[int]) -> None:
    with pytest.raises(ThresholdError) as caught:
        shares[1].derive(path)
    assert (caught.value.code, caught.value.culprit, caught.value.reaction) == (
        "invalid_path",
        "caller",
        "retry",
    )


@pytest.mark.parametrize("path", [(0,), "0", [b"0"], [0.0], [None], None])
def test_a_path_is_a_list_of_numbers(shares: dict[int, KeyShare], path: object) -> None:
    with pytest.raises(TypeError):
        shares[1].derive(path)  # type: ignore[arg-type]
