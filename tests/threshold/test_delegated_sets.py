"""The user's shares and a delegate's are points of two lines that meet at the key and nowhere else: they do not combine.

The lines are looked at twice: through the public points of real ceremonies, by arithmetic of the tests' own; and by signing with every mixture.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction

import pytest

from tests.threshold.ceremonies import SIGNING, SUITES, generate, sign
from tests.threshold.reference import GROUPS, Group, Point, multiply
from threshold import (
    KeyShare,
    ThresholdError,
    ecdsa_begin,
    ecdsa_respond,
    ecdsa_setup_begin,
    ecdsa_setup_respond,
    reshare_start,
)

DEVICE, ENCLAVE = 1, 2
SESSION = bytes(range(32))
Shares = dict[int, KeyShare]


def handed_over(old: Shares, context: bytes) -> Shares:
    """A new set of two, dealt by device and enclave, as in the ceremony of a delegation."""
    device, device1 = reshare_start([old[DEVICE]], [1, 2], [DEVICE], 2, 2, context)
    enclave, enclave1 = reshare_start([old[ENCLAVE]], [1, 2], [ENCLAVE], 2, 2, context)
    device2, to_enclave = device.advance(enclave1)
    enclave2, to_device = enclave.advance(device1)
    device3, confirmed = device2.advance(to_device)
    enclave3, confirmed_too = enclave2.advance(to_enclave)
    return device3.confirm(confirmed_too) | enclave3.confirm(confirmed)


@pytest.fixture(scope="module", params=SUITES)
def sets(request) -> dict[str, Shares]:
    """The user's set before, the user's set after, and the delegate's."""
    old = generate(request.param)
    return {
        "old": old,
        "own": handed_over(old, bytes(31) + b"\1"),
        "delegate": handed_over(old, bytes(31) + b"\2"),
    }


def mixtures() -> list[tuple[str, str]]:
    """Whose share of party 1, and whose of party 2; all that are not of one set."""
    return [(one, two) for one, two in itertools.product(("old", "own", "delegate"), repeat=2) if one != two]


def points(shares: Shares) -> tuple[Group, Point, Point]:
    share = shares[DEVICE]
    group = GROUPS[share.suite]
    first, second = (group.decode(share.verifying_shares[party]) for party in (DEVICE, ENCLAVE))
    return group, first, second


def at_zero(group: Group, first: Point, second: Point) -> bytes:
    """Interpolated at 0 from parties 1 and 2: 2 * V1 - V2."""
    return group.encode(group.add(multiply(group, 2, first), multiply(group, group.order - 1, second)))


def slope(group: Group, first: Point, second: Point) -> bytes:
    return group.encode(group.add(second, multiply(group, group.order - 1, first)))


def test_all_sets_are_of_one_key(sets):
    assert len({share.group_public_key for shares in sets.values() for share in shares.values()}) == 1
    assert {share.epoch for share in sets["own"].values()} == {2}
    assert {share.epoch for share in sets["delegate"].values()} == {2}


def test_each_set_interpolates_to_the_key_and_no_mixture_does(sets):
    key = sets["old"][DEVICE].group_public_key
    for shares in sets.values():
        assert at_zero(*points(shares)) == key
    for one, two in mixtures():
        group, first, _ = points(sets[one])
        _, _, second = points(sets[two])
        assert at_zero(group, first, second) != key


def test_the_lines_have_slopes_of_their_own_so_that_two_shares_of_two_sets_leave_the_key_free(sets):
    """A share of party i is key + i * slope. Which of them together determine the key is a matter of linear algebra: see below."""
    slopes = {name: slope(*points(shares)) for name, shares in sets.items()}
    assert len(set(slopes.values())) == len(slopes)


def _determined(coalition: Iterable[tuple[str, int]]) -> bool:
    """Whether shares determine the key: whether (1, 0, 0) is in the span of their rows over the unknowns key, own slope, delegate's slope."""
    rows = [
        [Fraction(1), Fraction(party if name == "own" else 0), Fraction(party if name == "delegate" else 0)]
        for name, party in coalition
    ]
    return _rank(rows) == _rank([*rows, [Fraction(1), Fraction(0), Fraction(0)]])


def _rank(rows: list[list[Fraction]]) -> int:
    rows, rank = [list(row) for row in rows], 0
    for column in range(3):
        pivot = next((row for row in rows[rank:] if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(rank, pivot)
        for row in rows[rank + 1 :]:
            factor = row[column] / pivot[column]
            row[:] = [value - factor * other for value, other in zip(row, pivot, strict=True)]
        rank += 1
    return rank


def test_only_two_shares_of_one_set_determine_the_key():
    everybody = [(name, party) for name in ("own", "delegate") for party in (DEVICE, ENCLAVE)]
    for size in range(5):
        for coalition in itertools.combinations(everybody, size):
            whole = any({(name, 1), (name, 2)} <= set(coalition) for name in ("own", "delegate"))
            assert _determined(coalition) == whole, coalition
    assert not _determined([("own", DEVICE), ("delegate", DEVICE)])  # user and developer together


def test_a_mixture_proves_nothing(sets):
    for one, two in mixtures():
        proof = sets[one][DEVICE].prove(SESSION)
        with pytest.raises(ThresholdError) as refused:
            sets[two][ENCLAVE].verify_proof(DEVICE, SESSION, proof)
        assert refused.value.code == "invalid_proof"


@pytest.mark.parametrize("suite", SIGNING)
def test_frost_signs_with_each_set_and_with_no_mixture(suite):
    old = generate(suite)
    sets = {"old": old, "own": handed_over(old, bytes(32)), "delegate": handed_over(old, bytes(31) + b"\2")}
    for shares in sets.values():
        assert len(sign(shares, [b"m" * 32])[0]) == 64
    for one, two in mixtures():
        with pytest.raises(ThresholdError) as refused:
            sign({DEVICE: sets[one][DEVICE], ENCLAVE: sets[two][ENCLAVE]}, [b"m" * 32])
        assert refused.value.code == "invalid_signature_share"


def test_ecdsa_signs_with_each_set_and_with_no_mixture():
    old = generate("ecdsa-secp256k1")
    sets = {"old": old, "own": handed_over(old, bytes(32)), "delegate": handed_over(old, bytes(31) + b"\2")}
    for shares in sets.values():
        assert len(_ecdsa(shares[DEVICE], shares[ENCLAVE])) == 64
    for one, two in mixtures():
        with pytest.raises(ThresholdError):
            _ecdsa(sets[one][DEVICE], sets[two][ENCLAVE])


def _ecdsa(device: KeyShare, enclave: KeyShare) -> bytes:
    setup, message = ecdsa_setup_begin()
    answering, answer = ecdsa_setup_respond(message)
    client, transfers, digest = setup.finish(answer, SESSION), answering.bind(SESSION), b"\7" * 32
    pending, message1 = ecdsa_begin(device, client, digest, [], ENCLAVE)
    return pending.finish(ecdsa_respond(enclave, transfers, message1, digest, [], DEVICE))[0]
