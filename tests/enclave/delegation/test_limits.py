"""What a delegate may sign: what the user approved, tightened and never loosened, counted for each delegate by itself."""

from __future__ import annotations

import asyncio
import json
import typing
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.authorization.delegates import signer_rules
from enclave.delegation import record
from policy import Action, Allow, Policy, SolanaInstruction, SolanaTransaction, Usage, decide, parse_layer
from protocol import delegation as d
from protocol import messages as m
from protocol.envelope.errors import CosignerError
from protocol.envelope.messages import Done
from protocol.wallets import WalletInfo
from tests.support.delegating import (
    ALLOWS_DELEGATION,
    ANY_PAYLOAD,
    Approval,
    delegated,
    payment,
    started,
    terms,
)
from tests.support.door import User, now_ms
from tests.support.manifests import layer
from tests.support.refusals import refuses
from tests.support.requests import SHARE_SET_ID, WALLET_ID
from tests.support.world import run

HOUR = 3_600_000
UNIT = 1_000_000  # lamports; amounts in these tests are in units
FEES = 50_000  # lamports; what a limit leaves for fees, which count, too


def spending(
    *, per_call: int | None = None, total: int | None = None, name: str = "pay", **more: typing.Any
) -> bytes:
    """Rules that allow payments within limits."""
    limit: dict[str, typing.Any] = {"asset": "SOL"}
    if per_call is not None:
        limit["maxPerCall"] = _sol(per_call)
    if total is not None:
        limit["totalLimit"] = _sol(total)
        limit["window"] = "24h"
    rule = {"name": name, "ruleType": "allow", "chain": "SVM", "valueLimit": limit} | more
    return layer(rule, name="signer").encode()


def pay(wallet: WalletInfo, units: int) -> m.SolanaPayload:
    return payment(wallet, units * UNIT)


async def user_signs(user: User, wallet_id: str, units: int) -> None:
    """By the user's own share, of the epoch that the delegation made."""
    wallet = user.wallets[wallet_id]
    _, request = user.sign_request(wallet_id, pay(wallet, units))
    await user.door.call(msgspec.structs.replace(request, epoch=wallet.epoch), m.Signed)


def _sol(units: int) -> str:
    return f"{(units * UNIT + FEES) / 10**9:.9f}"


async def tighten(
    door: typing.Any, delegate: typing.Any, rules: bytes, *, expires_at: int, **call: typing.Any
) -> None:
    request = d.TightenDelegation(delegate.wallet.wallet_id, delegate.wallet.share_set_id, rules, expires_at)
    authorize = call.pop("authorize", None)
    evidence = None if authorize is None else authorize(request)
    await door.call(request, Done, authorization=evidence)


# --- what was approved --------------------------------------------------------------------------------------------------------


def test_within_the_approved_limits_a_delegate_signs_and_beyond_them_it_does_not():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=spending(per_call=10, total=15))
        await delegate.sign(pay(delegate.wallet, 10))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 11)))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 6)))
        await delegate.sign(pay(delegate.wallet, 5))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 1)))

    run(scenario)


def test_totals_survive_a_restart():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=spending(total=15))
        await delegate.sign(pay(delegate.wallet, 10))
        await host.start_enclave()
        await delegate.log_in()
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 10)))

    run(scenario)


def test_each_delegate_is_counted_by_itself_and_apart_from_the_user():
    async def scenario():
        host = await started()
        user, one = await delegated(host, rules=spending(total=10))
        other = await Approval.of(user, one.wallet.wallet_id, rules=spending(total=10)).run()
        await other.log_in()
        await one.sign(pay(one.wallet, 10))
        await refuses("policy_denied", one.sign(pay(one.wallet, 1)))
        await other.sign(pay(one.wallet, 10))

    run(scenario)


def test_two_sessions_at_once_do_not_spend_one_allowance_twice():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=spending(total=15))
        twins = [replace(delegate) for _ in range(4)]
        for twin in twins:
            await twin.log_in()
        results = await asyncio.gather(
            *(twin.sign(pay(twin.wallet, 10)) for twin in twins), return_exceptions=True
        )
        assert sum(isinstance(result, bytes) for result in results) == 1
        codes = {result.code for result in results if isinstance(result, CosignerError)}
        assert codes == {"policy_denied"}

    run(scenario)


def often(count: int, window: str, **more: typing.Any) -> bytes:
    """Rules that allow so many payloads."""
    rate = {"count": count, "window": window}
    return layer({"name": "often", "ruleType": "allow", "rateLimit": rate} | more, name="signer").encode()


def test_a_delegate_signs_no_more_often_than_was_approved():
    async def scenario():
        host = await started()
        user, one = await delegated(host, rules=often(3, "10m"))
        await one.sign()
        await one.sign(pay(one.wallet, 5))
        await host.start_enclave()
        await one.log_in()
        await one.sign()
        error = await refuses("policy_denied", one.sign())
        assert "rate_limit_exceeded" in str(error)
        await user.reopen()
        await user_signs(user, one.wallet.wallet_id, 1)
        other = await Approval.of(user, one.wallet.wallet_id, rules=often(1, "10m")).run()
        await other.log_in()
        await other.sign()
        await refuses("policy_denied", other.sign())
        clock = host.enclave.clock
        now = clock.now_ms
        clock.now_ms = lambda: now() + HOUR // 5  # more than a window and a slot
        for _ in range(3):
            await one.sign()
        await refuses("policy_denied", one.sign())

    run(scenario)


def test_messages_count_against_a_delegates_rate_too():
    async def scenario():
        host = await started()
        rules = often(2, "24h", payloads=["message", "transaction"])
        _, delegate = await delegated(host, "ethereum", rules=rules)
        await delegate.sign_message(b"one")
        await delegate.sign_message(b"one")
        await refuses("policy_denied", delegate.sign_message(b"two"))

    run(scenario)


def test_two_sessions_at_once_do_not_share_the_last_of_a_rate():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=often(2, "1h"))
        twins = [replace(delegate) for _ in range(5)]
        for twin in twins:
            await twin.log_in()
        results = await asyncio.gather(*(twin.sign() for twin in twins), return_exceptions=True)
        assert sum(isinstance(result, bytes) for result in results) == 2
        assert {result.code for result in results if isinstance(result, CosignerError)} == {"policy_denied"}

    run(scenario)


def test_further_rules_make_a_rate_tighter_and_are_counted_by_themselves():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=often(3, "24h"))
        await delegate.sign()
        await tighten(delegate.door, delegate, often(1, "24h"), expires_at=now_ms() + HOUR // 2)
        await delegate.sign()
        await refuses("policy_denied", delegate.sign())

    run(scenario)


def test_the_wallets_own_limits_bind_user_and_delegates_together():
    async def scenario():
        bound = json.loads(spending(total=15, name="all of us"))["rules"][0]
        rest = {"name": "rest", "ruleType": "allow", "operations": ["create", "delegate", "credential"]}
        host = await started(policy=layer(bound, rest))
        user, delegate = await delegated(host, rules=spending(total=1000))
        await delegate.sign(pay(delegate.wallet, 10))
        await refuses("policy_denied", user_signs(user, delegate.wallet.wallet_id, 10))
        await user_signs(user, delegate.wallet.wallet_id, 5)
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 1)))

    run(scenario)


def test_what_the_environment_does_not_allow_no_user_can_approve():
    async def scenario():
        rest = {"name": "rest", "ruleType": "allow", "operations": ["create", "delegate", "credential"]}
        host = await started(policy=layer(rest))
        _, delegate = await delegated(host, rules=ANY_PAYLOAD)
        await refuses("policy_denied", delegate.sign())

    run(scenario)


def test_no_rules_are_no_leave():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=layer(name="signer").encode())
        await refuses("policy_denied", delegate.sign())

    run(scenario)


def test_a_delegation_ends_when_it_was_approved_to():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host)
        clock = host.enclave.clock
        now = clock.now_ms
        clock.now_ms = lambda: now() + HOUR + 1000
        await refuses("delegation_refused", delegate.sign())
        await refuses("delegation_refused", delegate.log_in())

    run(scenario)


# --- tightened ----------------------------------------------------------------------------------------------------------------


def test_a_delegate_binds_itself_and_cannot_undo_it():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=spending(per_call=100))
        end = now_ms() + HOUR // 2
        await tighten(delegate.door, delegate, spending(per_call=10), expires_at=end)
        await delegate.sign(pay(delegate.wallet, 10))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 11)))
        for rules, expires_at in (
            (spending(per_call=100), end),
            (spending(per_call=9), end),
            (spending(per_call=10), end + 1),
        ):
            await refuses(
                "delegation_not_tighter", tighten(delegate.door, delegate, rules, expires_at=expires_at)
            )
        await tighten(delegate.door, delegate, spending(per_call=10), expires_at=end - 1000)
        await host.start_enclave()
        await delegate.log_in()
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 11)))

    run(scenario)


def test_rules_that_say_more_than_was_approved_allow_nothing_more():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=spending(per_call=10))
        end = now_ms() + HOUR // 2
        await tighten(delegate.door, delegate, ANY_PAYLOAD, expires_at=end)
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 11)))
        await delegate.sign(pay(delegate.wallet, 10))

    run(scenario)


def test_the_owner_replaces_further_rules_but_not_the_approved_ones():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host, rules=spending(per_call=100))
        end = now_ms() + HOUR // 2
        asked = {"expires_at": end, "authorize": user.authorize}
        await tighten(user.door, delegate, spending(per_call=10), **asked)
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 50)))
        await tighten(user.door, delegate, spending(per_call=1000), **asked)
        await delegate.sign(pay(delegate.wallet, 50))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 101)))
        listed = await user.door.call(d.ListDelegations(delegate.wallet.wallet_id), d.Delegations)
        (found,) = listed.delegations
        assert (found.tightened, found.expires_at) == (spending(per_call=1000), end)
        assert found.terms.rules == spending(per_call=100)

    run(scenario)


def test_tightening_is_the_owners_with_their_credential():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        end = now_ms() + HOUR // 2
        await refuses("factor_required", tighten(user.door, delegate, ANY_PAYLOAD, expires_at=end))

    run(scenario)


@pytest.mark.parametrize("rules", [b"{}", b"[]", ANY_PAYLOAD + b" ", layer(ALLOWS_DELEGATION[0]).encode()])
def test_rules_that_are_no_layer_signer_are_refused_wherever_they_come(rules):
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        await refuses("policy_invalid", tighten(delegate.door, delegate, rules, expires_at=now_ms()))
        await refuses("policy_invalid", Approval.of(user, delegate.wallet.wallet_id, rules=rules).begin())

    run(scenario)


def test_totals_of_further_rules_are_counted_apart_from_the_approved_ones():
    """Both layers have a rule of the same name, whose totals must not be mixed up."""

    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=spending(total=30))
        await delegate.sign(pay(delegate.wallet, 10))
        await tighten(delegate.door, delegate, spending(total=15), expires_at=now_ms() + HOUR // 2)
        await delegate.sign(pay(delegate.wallet, 10))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 10)))
        await delegate.sign(pay(delegate.wallet, 5))
        used = {
            key.removeprefix(f"environments/sandbox/usage/delegates/{delegate.wallet.wallet_id}/")
            for key in host.storage.records
            if "/usage/delegates/" in key
        }
        share_set_id = delegate.wallet.share_set_id
        assert used == {share_set_id, f"{share_set_id}/tightened"}

    run(scenario)


def test_further_rules_count_beside_what_the_environment_counts():
    async def scenario():
        bound = json.loads(spending(total=25, name="all of us"))["rules"][0]
        rest = {"name": "rest", "ruleType": "allow", "operations": ["create", "delegate", "credential"]}
        host = await started(policy=layer(bound, rest))
        _, delegate = await delegated(host, rules=spending(total=1000))
        await tighten(delegate.door, delegate, spending(total=15), expires_at=now_ms() + HOUR // 2)
        await delegate.sign(pay(delegate.wallet, 10))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 10)))
        await delegate.sign(pay(delegate.wallet, 5))

    run(scenario)


def test_what_further_rules_deny_charges_nobody():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, rules=spending(total=20))
        await tighten(delegate.door, delegate, spending(per_call=5), expires_at=now_ms() + HOUR // 2)
        for _ in range(3):
            await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 10)))
        for _ in range(4):
            await delegate.sign(pay(delegate.wallet, 5))
        await refuses("policy_denied", delegate.sign(pay(delegate.wallet, 5)))

    run(scenario)


# --- never loosened: any rules, any payment -------------------------------------------------------------------------------------

ADDRESSES = ("4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi", "8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR")
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


@st.composite
def rules(draw: typing.Any) -> bytes:
    """A layer with up to three rules about payments."""
    found = []
    for number in range(draw(st.integers(0, 3))):
        rule: dict[str, typing.Any] = {
            "name": f"rule {number}",
            "ruleType": draw(st.sampled_from(["allow", "allow", "deny"])),
            "chain": "SVM",
        }
        if draw(st.booleans()):
            rule["addresses"] = [draw(st.sampled_from(ADDRESSES))]
        if draw(st.booleans()):
            amount = draw(st.integers(1, 30))
            rule["valueLimit"] = {"asset": "SOL", "maxPerCall": _sol(amount)}
        found.append(rule)
    return layer(*found, name="signer").encode()


@st.composite
def tightenings(draw: typing.Any) -> list[tuple[bytes, int, bool]]:
    """Rules, an end, and whether the delegate asks."""
    return draw(st.lists(st.tuples(rules(), st.integers(1, 200), st.booleans()), max_size=4))


@given(rules(), tightenings(), st.sampled_from(ADDRESSES), st.integers(1, 40))
def test_whatever_is_allowed_after_any_tightening_was_approved(approved, asked, address, amount):
    one = record.begun(
        WALLET_ID,
        msgspec.structs.replace(terms(WALLET, rules=approved), expires_at=100),
        approved_by=None,
        delegate=(WALLET, bytes(32)),
        own=(WALLET, bytes(32)),
        now=0,
    )
    one = msgspec.structs.replace(one, state="active", api_key_hash=bytes(32))
    refusals = []
    for wanted, expires_at, by_delegate in asked:
        before = one
        try:
            one = record.tighten(one, wanted, expires_at, by_delegate=by_delegate, now=0)
        except CosignerError as error:
            refusals.append((error.code, expires_at > before.expires_at or by_delegate))
        assert one.terms == before.terms
        assert one.expires_at <= before.expires_at <= one.terms.expires_at
        if by_delegate and before.tightened:
            assert one.tightened == before.tightened
    assert set(refusals) <= {("delegation_not_tighter", True)}
    allowed = all(_allows(signer.content, address, amount) for signer in signer_rules(one))
    if allowed:
        assert _allows(approved, address, amount)
        assert not one.tightened or _allows(one.tightened, address, amount)


def _allows(content: bytes, address: str, units: int) -> bool:
    environment = parse_layer(layer(ALLOWS_DELEGATION[0]).encode())
    data = (2).to_bytes(4, "little") + (units * UNIT).to_bytes(8, "little")  # SystemInstruction::Transfer
    transfer = SolanaInstruction("11111111111111111111111111111111", (ADDRESSES[0], address), data)
    summary = SolanaTransaction(ADDRESSES[0], ADDRESSES[0], 1, (transfer,))
    action = Action(operation="sign", at=1, chain="SVM", signer="delegate")
    optional = replace(environment, optional=frozenset({"account", "wallet"}))
    decision = decide(action, summary, Policy((optional, parse_layer(content))), Usage())
    return isinstance(decision, Allow)


def test_the_property_above_meets_payments_that_are_allowed_and_such_that_are_not():
    assert _allows(spending(per_call=10), ADDRESSES[1], 10)
    assert not _allows(spending(per_call=10), ADDRESSES[1], 11)
