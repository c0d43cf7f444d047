"""Secrets are behind opaque handles: nothing prints, compares, copies or pickles them."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable

import pytest

import threshold
from tests.threshold.ceremonies import Resharing, Run, generate
from threshold import SealingKey, Suite, ThresholdError, frost_begin
from threshold.device import Passcode, SecretKey
from threshold.errors import PayloadError


@pytest.fixture(scope="module")
def handles() -> list[object]:
    run = Run(Suite.FROST_ED25519).to_round3()
    shares = generate(Suite.FROST_ED25519)
    share = shares[1]
    nonces, _ = frost_begin(share, 2)
    key = SealingKey.from_data_key(bytes([1]) * 32)
    fresh = Run(Suite.FROST_ED25519)
    resharing, begun = (Resharing(shares, [1, 2], 2, 2) for _ in range(2))
    resharing.to_round3()
    reshared = [begun.round1[0], resharing.round2[0], resharing.round3[0]]
    whole = SecretKey.from_ed25519_seed(bytes(32))
    passcode = Passcode(b"1234", bytes(16), 64, 1, 1)
    return [fresh.round1[1], run.round2[1], run.round3[1], share, key, nonces, *reshared, whole, passcode]


@pytest.mark.parametrize(
    "operation",
    [
        lambda h: operator.eq(h, h),
        lambda h: operator.ne(h, h),
        lambda h: h == None,  # noqa: E711
        lambda h: operator.lt(h, h),
        lambda h: operator.ge(h, h),
        hash,
        lambda h: {h},
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        lambda h: pickle.dumps(h, 0),
        lambda h: h.__reduce__(),
        lambda h: h.__reduce_ex__(4),
        lambda h: h.__getstate__(),
        vars,
        bytes,
        lambda h: type(h)(),
        lambda h: type("Sub", (type(h),), {}),
    ],
)
def test_handles_refuse_everything_that_doubles_or_reveals(
    handles: list[object], operation: Callable[[object], object]
) -> None:
    for handle in handles:
        with pytest.raises(TypeError):
            operation(handle)


def test_handles_have_no_attributes_to_set(handles: list[object]) -> None:
    for handle in handles:
        with pytest.raises(AttributeError):
            handle.note = 1  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            handle.identifier = 3  # type: ignore[attr-defined]


def test_what_is_printed_is_public(handles: list[object]) -> None:
    assert [repr(handle) for handle in handles] == [
        "<DkgRound1>",
        "<DkgRound2 (consumed)>",
        "<DkgRound3>",
        "<KeyShare frost-ed25519 2-of-2 #1 epoch 1>",
        "<SealingKey>",
        "<SigningNonces for 2>",
        "<ReshareRound1>",
        "<ReshareRound2 (consumed)>",
        "<ReshareRound3>",
        "<SecretKey frost-ed25519>",
        "<Passcode>",
    ]
    assert [str(handle) for handle in handles] == [repr(handle) for handle in handles]


def test_identity_still_works(handles: list[object]) -> None:
    assert len({id(handle) for handle in handles}) == len(handles)
    assert all(handle is not None for handle in handles)


def test_the_package_offers_what_it_says() -> None:
    assert all(hasattr(threshold, name) for name in threshold.__all__)
    assert {"reconstruct", "export", "signing_share"}.isdisjoint(dir(threshold._native))


def test_whole_keys_are_not_within_easy_reach() -> None:
    """Only who imports ``threshold.device`` by name has them."""
    assert {"SecretKey", "Passcode"}.isdisjoint(dir(threshold))


def test_errors_can_be_made_printed_and_pickled() -> None:
    error = ThresholdError("some_code", 2, "abort", "what happened")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.code, again.culprit, again.reaction, str(again)) == (
        "some_code",
        2,
        "abort",
        "what happened",
    )
    payload = pickle.loads(pickle.dumps(PayloadError("code", "text", "inputs[0]")))  # noqa: S301 - our own bytes
    assert (payload.code, payload.field, str(payload)) == ("code", "inputs[0]", "text (inputs[0])")
    assert str(PayloadError("code", "text")) == "text"
