"""Share sets' ids are chosen by clients. One that names somebody else, or somebody else's delegation, reaches nothing of theirs."""

from __future__ import annotations

from enclave.sessions import MAX_OF_USER
from host.webhooks.events import read
from protocol import delegation as d
from protocol.envelope.messages import Done
from tests.support.delegating import (
    CREATED,
    REVOKED,
    Approval,
    Delegate,
    configure,
    delegated,
    events,
    started,
    user_with_wallet,
)
from tests.support.door import User
from tests.support.manifests import layer
from tests.support.world import Host, run


async def borrower(host: Host, share_set_id: str, *, log_in: bool = True) -> tuple[User, Delegate]:
    """Another user, who has chosen this id for a delegation of their own wallet."""
    user, wallet_id = await user_with_wallet(host)
    delegate = await Approval.of(user, wallet_id, share_set_id=share_set_id).run()
    if log_in:
        await delegate.log_in()
    return user, delegate


def test_attack_revoking_a_delegation_of_the_same_id_shuts_nobody_elses_delegate_out():
    async def scenario():
        host = await started()
        _, victim = await delegated(host)
        _, attacker = await borrower(host, victim.wallet.share_set_id)
        await attacker.revoke()
        await victim.sign()
        await victim.log_in()
        await victim.sign()

    run(scenario)


def test_attack_a_delegation_of_the_same_id_swallows_nobody_elses_webhooks():
    """The host keeps an event's id once, and sends no ``created`` of what it believes revoked."""

    async def scenario():
        host = await started()
        user, victim = await delegated(host)
        _, attacker = await borrower(host, victim.wallet.share_set_id)
        await attacker.revoke()
        revocation = d.RevokeDelegation(victim.wallet.wallet_id, victim.wallet.share_set_id)
        await user.door.call(revocation, Done)
        for name in (CREATED, REVOKED):
            told = [read(event, now=0).event for event in events(host, name)]
            assert len(told) == 2
            assert len({event.subject for event in told}) == 2

    run(scenario)


def test_attack_a_delegation_named_as_a_user_ends_none_of_their_sessions():
    async def scenario():
        host = await started()
        victim, _ = await user_with_wallet(host)
        await configure(victim)
        _, attacker = await borrower(host, victim.user_id)
        for _ in range(MAX_OF_USER):
            await attacker.log_in()
        await victim.door.call(d.GetDelegationSettings(), d.DelegationSettingsReply)

    run(scenario)


def test_attack_a_delegation_named_as_its_user_is_counted_apart_from_them():
    """Totals that both kept in one record would be dropped as those of other rules, each time the other one signs."""

    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        limit = {"asset": "SOL", "totalLimit": "1", "window": "24h"}
        rules = layer(
            {"name": "pay", "ruleType": "allow", "chain": "SVM", "valueLimit": limit}, name="signer"
        ).encode()
        approval = Approval.of(user, wallet_id, share_set_id=user.user_id, rules=rules)
        delegate = await approval.run()
        await delegate.log_in()
        await delegate.sign()
        totals = [key for key in host.storage.records if "/usage/" in key]
        assert totals
        assert f"environments/sandbox/usage/signers/{wallet_id}/{user.user_id}" not in totals

    run(scenario)


def test_attack_a_delegation_named_as_a_user_shares_no_replies_with_them():
    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        delegate = await Approval.of(user, wallet_id, share_set_id=user.user_id).run()
        await delegate.log_in()
        _, request = delegate.sign_request()
        await delegate.door.call(request, key=bytes(16))
        await user.door.call(d.DenyDelegation(denied=True), Done, key=bytes(16))

    run(scenario)
