"""Whose a wallet is: claimed once, handed over once."""

from __future__ import annotations

import asyncio

import pytest

from enclave.accounts.directory import Directory
from enclave.accounts.ownership import WALLETS, HandedOver, WalletRecord, Wallets, hand_over
from enclave.accounts.user import NO_EVIDENCE, new_user
from enclave.actors import Actor
from protocol.envelope.errors import CosignerError
from tests.enclave.accounts.hostile import Died, HostileStorage, records, unavailable
from tests.enclave.accounts.users import NOW, OTHER_ID, USER_ID, add, credential, refused

WALLET = "d0000000-0000-4000-8000-000000000000"


def record(custody="custodial", owner=USER_ID):
    return WalletRecord(
        version=1,
        wallet_id=WALLET,
        owner=owner,
        owner_link=None,
        custody=custody,
        created_at=NOW,
        history=(),
    )


def recipient(kind="user"):
    return new_user(OTHER_ID, kind=kind, name="", now_ms=NOW)


def handed(wallet, actor=USER_ID, to=None):
    return hand_over(wallet, actor=actor, recipient=to or recipient(), now_ms=NOW + 1)


def test_a_custodial_wallet_becomes_its_users_and_says_whose_it_was():
    to = add(recipient(), credential(1), NO_EVIDENCE)
    after = handed(record(), to=to)
    assert (after.owner, after.custody, after.owner_link) == (OTHER_ID, "delegated", to.lineage[0])
    assert after.history == (HandedOver(at=NOW + 1, from_user=USER_ID, to_user=OTHER_ID),)


def test_a_delegated_wallet_cannot_be_handed_over_by_anybody():
    with refused("hand_over_final"):
        handed(record("delegated"))
    with refused("hand_over_final"):
        handed(handed(record()), actor=OTHER_ID)


def test_only_the_owner_hands_over():
    with refused("not_owner"):
        handed(record(), actor=OTHER_ID)
    with refused("not_owner"):
        handed(handed(record()), actor=USER_ID)


def test_a_wallet_is_not_handed_over_to_a_service_account():
    with refused("hand_over_refused"):
        handed(record(), to=recipient("service"))


class World:
    async def begin(self):
        self.storage = HostileStorage()
        self.restart()
        self.user, self.other, self.robot = [await self.actor(kind) for kind in ("user", "user", "service")]
        return self

    def restart(self):
        store = records(self.storage)
        self.directory, self.wallets = Directory(store), Wallets(store)

    async def actor(self, kind):
        user = await self.directory.create(kind, name="", now_ms=NOW, complete=lambda new: new)
        return Actor(user_id=user.user_id, kind=kind, session_key=bytes(33), expires_at_ms=NOW)


def in_world(scenario):
    def test():
        async def run():
            await scenario(await World().begin())

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@in_world
async def test_wallets_of_users_are_delegated_and_wallets_of_service_accounts_custodial(world):
    for actor, custody in ((world.user, "delegated"), (world.robot, "custodial")):
        wallet_id = actor.user_id
        await world.wallets.claim(actor, wallet_id, now_ms=NOW)
        world.restart()
        found = await world.wallets.require_owner(actor, wallet_id)
        assert (found.owner, found.custody) == (actor.user_id, custody)


@in_world
async def test_nobody_else_has_the_wallet_and_nobody_is_told_whether_there_is_one(world):
    await world.wallets.claim(world.user, WALLET, now_ms=NOW)
    messages = set()
    for actor, wallet_id in ((world.other, WALLET), (world.robot, WALLET), (world.other, OTHER_ID)):
        with refused("not_owner") as caught:
            await world.wallets.require_owner(actor, wallet_id)
        messages.add(caught.value.message)
    assert len(messages) == 1


@in_world
async def test_a_wallet_that_is_somebodys_cannot_be_claimed(world):
    await world.wallets.claim(world.user, WALLET, now_ms=NOW)
    with refused("wallet_exists"):
        await world.wallets.claim(world.other, WALLET, now_ms=NOW)


@in_world
async def test_the_owner_may_claim_again_after_a_crash_and_changes_nothing_by_it(world):
    first = await world.wallets.claim(world.user, WALLET, now_ms=NOW)
    world.restart()
    puts = world.storage.puts
    assert await world.wallets.claim(world.user, WALLET, now_ms=NOW + 9) == first
    assert world.storage.puts == puts


@in_world
async def test_of_many_who_claim_one_wallet_at_once_one_gets_it(world):
    for rooms in ([world.wallets] * 2, [Wallets(records(world.storage)) for _ in range(2)]):
        wallet_id = (await world.actor("user")).user_id
        results = await asyncio.gather(
            rooms[0].claim(world.user, wallet_id, now_ms=NOW),
            rooms[1].claim(world.other, wallet_id, now_ms=NOW),
            return_exceptions=True,
        )
        assert sum(isinstance(one, WalletRecord) for one in results) == 1
        assert {one.code for one in results if isinstance(one, CosignerError)} <= {
            "wallet_exists",
            "user_conflict",
        }


@in_world
async def test_somebody_who_is_not_there_owns_nothing(world):
    ghost = Actor(user_id=USER_ID, kind="user", session_key=bytes(33), expires_at_ms=NOW)
    with refused("user_unknown"):
        await world.wallets.claim(ghost, WALLET, now_ms=NOW)
    assert f"environments/sandbox/{WALLETS}/{WALLET}" not in world.storage.records


@pytest.mark.parametrize(
    "fault", [("before", Died), ("after", Died), ("before", unavailable()), ("after", unavailable())]
)
@pytest.mark.parametrize(
    ("change", "write"), [("claim", 0), ("claim", 1), ("hand over", 0), ("hand over", 1), ("hand over", 2)]
)
def test_a_change_of_ownership_that_is_cut_short_happened_or_did_not(change, write, fault):
    """The second write is the one that counts. Before it the new owner's list names the wallet; after it the old owner's does no more."""

    async def scenario():
        world = await World().begin()
        if change == "hand over":
            await world.wallets.claim(world.robot, WALLET, now_ms=NOW)
        world.storage.faults = [None] * write + [fault]
        with pytest.raises((Died, CosignerError)):
            if change == "claim":
                await world.wallets.claim(world.user, WALLET, now_ms=NOW)
            else:
                await world.wallets.hand_over(world.robot, WALLET, world.user.user_id, now_ms=NOW)
        world.restart()
        happened = write == 2 or (write, fault[0]) == (1, "after")
        if happened:
            assert WALLET in await world.wallets.holdings.of(world.user.user_id)
            assert await world.wallets.require_owner(world.user, WALLET)
            return
        with refused("not_owner"):
            await world.wallets.require_owner(world.user, WALLET)
        if change == "hand over":
            assert await world.wallets.require_owner(world.robot, WALLET)
            assert WALLET in await world.wallets.holdings.of(world.robot.user_id)

    asyncio.run(scenario())


@in_world
async def test_two_hand_overs_at_once_are_one(world):
    await world.wallets.claim(world.robot, WALLET, now_ms=NOW)
    results = await asyncio.gather(
        *(
            world.wallets.hand_over(world.robot, WALLET, user.user_id, now_ms=NOW)
            for user in (world.user, world.other)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(one, WalletRecord) for one in results) == 1
    assert [one.code for one in results if isinstance(one, CosignerError)] == ["not_owner"]
