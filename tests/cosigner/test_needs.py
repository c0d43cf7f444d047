"""The client brings what the enclave says that it needs, whatever words it says that in."""

from __future__ import annotations

from typing import Any

import pytest

from cosigner.actions import _Attempt
from cosigner.errors import EnclaveRefused
from protocol.accounts import MakeDeviceCode
from protocol.envelope.errors import Culprit, Reaction


class Everything:
    """Evidence of every kind at hand."""

    passkeys = signing_key = second_factor = object()
    beforehand: frozenset[str] = frozenset()


class Sender:
    environment = "sandbox"

    def __init__(self, **without: None) -> None:
        self.evidence: Any = Everything()
        for name, value in without.items():
            setattr(self.evidence, name, value)


def attempt(**without: None) -> _Attempt:
    return _Attempt(Sender(**without), None, MakeDeviceCode(), {}, None)  # type: ignore[arg-type]


def refusal(*needs: str, message: str = "No.") -> EnclaveRefused:
    return EnclaveRefused(
        "factor_required", message, culprit=Culprit.CLIENT, reaction=Reaction.ABORT, needs=needs
    )


@pytest.mark.parametrize(
    ("needs", "brought"),
    [
        (["passkey"], {"passkey"}),
        (["signing_key"], {"signing_key"}),
        (["passkey", "signing_key"], {"passkey"}),  # one action carries one of them
        (["totp"], {"totp"}),
        (["passkey", "totp"], {"passkey", "totp"}),
    ],
)
def test_what_is_needed_is_brought(needs, brought):
    assert attempt().more(refusal(*needs), frozenset()) == brought


@pytest.mark.parametrize("message", ["No.", "This needs a passkey, a signing_key, or totp, a second factor."])
def test_where_nothing_is_needed_nothing_is_brought_whatever_the_words(message):
    assert attempt().more(refusal(message=message), frozenset()) == frozenset()


def test_where_what_is_needed_is_not_at_hand_something_else_is_tried_and_then_nothing():
    asked = attempt(passkeys=None, second_factor=None)
    assert asked.more(refusal("passkey"), frozenset()) == {"signing_key"}
    assert asked.more(refusal("passkey"), frozenset({"signing_key"})) == frozenset()
