"""What may become of a delegation, whatever is asked of it in whichever order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.delegation import record
from protocol.delegation import DelegationTerms
from protocol.envelope.errors import CosignerError
from protocol.hybrid import Envelope
from protocol.wallets import WalletInfo
from tests.support.manifests import layer
from tests.support.requests import SHARE_SET_ID, USER_ID, WALLET_ID

END = 100
RULES = [layer(name="signer").encode(), layer({"name": "any", "ruleType": "allow"}, name="signer").encode()]
ENVELOPE = Envelope(alg="HYBRID-RSA-AES-256", iv="AAAA", ct="AAAA", tag="AAAA", ek="AAAA", kid="key-1")
WALLET = WalletInfo(
    wallet_id=WALLET_ID,
    share_set_id=SHARE_SET_ID,
    suite="frost-ed25519",
    chain="solana",
    network="",
    epoch=2,
    threshold=2,
    parties=2,
    public_key=bytes(32),
)
STEPS = st.one_of(
    st.tuples(st.just("activate")),
    st.tuples(st.just("revoke"), st.sampled_from(["user", "delegate", "administrator"])),
    st.tuples(st.just("tighten"), st.sampled_from(RULES), st.integers(0, 2 * END), st.booleans()),
)


def waiting() -> record.Delegation:
    terms = DelegationTerms(SHARE_SET_ID, "App", RULES[1], END, "key-1", bytes(32))
    shares = (WALLET, bytes(32))
    return record.begun(USER_ID, terms, approved_by=None, delegate=shares, own=shares, now=0)


def apply(one: record.Delegation, step: tuple[Any, ...], now: int) -> record.Delegation:
    match step:
        case ("activate",):
            return record.activate(one, api_key_hash=bytes(32), encrypted_api_key=ENVELOPE, now=now)
        case ("revoke", by):
            return record.revoke(one, by, now)
        case (_, rules, expires_at, by_delegate):
            return record.tighten(one, rules, expires_at, by_delegate=by_delegate, now=now)


@given(st.lists(st.tuples(STEPS, st.integers(0, 30)), max_size=12))
def test_a_delegation_goes_forward_only(asked):
    one, now = waiting(), 0
    for step, passed in asked:
        now += passed
        before = one
        try:
            one = apply(one, step, now)
        except CosignerError:
            assert one is before
        ranks = ["waiting", "active", "revoked"]
        assert ranks.index(one.state) >= ranks.index(before.state)
        assert (one.terms, one.wallet, one.user_id) == (before.terms, before.wallet, before.user_id)
        assert one.expires_at <= before.expires_at
        assert before.state != "revoked" or one == before
        assert before.lives(now) or not one.lives(now) or step == ("activate",)
        assert not one.lives(now) or now < END


@pytest.mark.parametrize("by", ["user", "delegate", "administrator"])
def test_a_second_revocation_changes_nothing_of_the_first(by):
    first = record.revoke(waiting(), "user", 1)
    assert record.revoke(first, by, 2) == first
    assert (first.revoked_by, first.revoked_at) == ("user", 1)


def test_what_is_over_is_not_activated():
    for one, now in ((record.revoke(waiting(), "user", 1), 2), (waiting(), END)):
        with pytest.raises(CosignerError) as refused:
            apply(one, ("activate",), now)
        assert refused.value.code == "delegation_refused"


def test_it_is_activated_once():
    active = apply(waiting(), ("activate",), 1)
    with pytest.raises(CosignerError) as refused:
        apply(active, ("activate",), 2)
    assert refused.value.code == "delegation_unknown"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "revoked"},
        {"revoked_at": 1},
        {"revoked_by": "user"},
        {"state": "active"},
        {"state": "revoked", "revoked_at": 1},
    ],
)
def test_a_record_that_contradicts_itself_cannot_be_made(changes):
    with pytest.raises(ValueError, match="delegation"):
        msgspec.structs.replace(waiting(), **changes)
