"""A host that serves old records of a wallet's shares, at every point of its life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from enclave.vault import StoredShareSet
from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit, Reaction
from tests.support.door import Door, Refused, User
from tests.support.lives import Handover, handover, signs
from tests.support.world import Host, run


class Story:
    """A user with a wallet, and every state that the host was ever given of its record."""

    async def begin(self) -> Story:
        self.host = Host()
        await self.host.start_enclave()
        self.user = await User.log_in(self.host)
        self.wallet = await self.user.create()
        return self

    @property
    def key(self) -> str:
        return f"environments/sandbox/wallets/{self.wallet.wallet_id}/{self.wallet.wallet_id}"

    @property
    def states(self) -> list[tuple[int, bytes]]:
        return [(epoch, value) for key, epoch, value in self.host.storage.history if key == self.key]

    def serve(self, state: tuple[int, bytes]) -> None:
        self.host.storage.records[self.key] = state

    async def restart(self) -> None:
        await self.host.start_enclave()
        await self.user.reopen()

    async def waiting(self) -> Handover:
        done = handover(self.user, self.wallet.wallet_id)
        await done.begin()
        await done.store()
        return done

    async def refused(self, call: Awaitable[object]) -> tuple[str, Culprit]:
        with pytest.raises(Refused) as caught:
            await call
        return caught.value.code, caught.value.culprit

    async def read(self) -> m.WalletReply:
        return await self.user.door.call(m.GetWallet(wallet_id=self.wallet.wallet_id), m.WalletReply)


STALE = ("epoch_stale", Culprit.STORAGE)


async def aborted(story: Story) -> None:
    await story.waiting()
    await story.user.door.call(life.AbortReshare(wallet_id=story.wallet.wallet_id, epoch=2))


async def committed(story: Story) -> None:
    await (await story.waiting()).commit()


async def twice(story: Story) -> None:
    await committed(story)
    await committed(story)


async def retired(story: Story) -> None:
    await committed(story)
    await story.user.door.call(life.DeleteWallet(wallet_id=story.wallet.wallet_id))


@pytest.mark.parametrize("life_so_far", [Story.waiting, aborted, committed, twice, retired])
def test_attack_an_older_record_while_the_enclave_lives(life_so_far: Callable[[Story], Awaitable[object]]):
    """Every state but the newest: the one before the pending epoch, the pending one of an aborted ceremony, what a tombstone replaced."""

    async def scenario() -> None:
        story = await Story().begin()
        await life_so_far(story)
        states = story.states
        assert len(states) > 1
        for old in states[:-1]:
            story.serve(old)
            assert await story.refused(story.read()) == STALE
        story.host.storage.lies[story.key] = None  # gone altogether
        assert await story.refused(story.read()) == STALE
        del story.host.storage.lies[story.key]
        story.serve(states[-1])
        await story.read()

    run(scenario)


def test_attack_a_record_of_the_same_revision_from_another_life():
    """The host lets two enclaves write the same revision, and serves each the other's."""

    async def scenario() -> None:
        story = await Story().begin()
        (first,) = story.states
        await story.waiting()
        one = story.states[-1]
        await story.restart()
        story.serve(first)
        await story.waiting()
        assert story.states[-1] != one
        story.serve(one)
        assert (await story.refused(story.read()))[0] == "record_forked"

    run(scenario)


def test_attack_the_pending_share_of_an_aborted_ceremony_beside_a_newer_record():
    """Neither the share alone nor header and share together fit what came later."""

    async def scenario() -> None:
        story = await Story().begin()
        await aborted(story)
        waiting, now = (
            cbor.decode(value, StoredShareSet, culprit=Culprit.STORAGE) for _, value in story.states[1:]
        )
        assert waiting.pending is not None
        assert now.header.pending is None
        forged_header = replace(now.header, pending=waiting.header.pending)
        for forged in (
            replace(now, pending=waiting.pending),
            replace(now, header=forged_header, pending=waiting.pending),
            replace(waiting, header=forged_header),
            replace(waiting, active=now.active),
        ):
            story.serve((3, cbor.encode(forged)))
            await story.restart()  # which has seen nothing
            assert await story.refused(story.read()) == ("sealed_record_rejected", Culprit.STORAGE)

    run(scenario)


def test_attack_the_pending_share_is_dropped_from_the_record():
    async def scenario() -> None:
        story = await Story().begin()
        done = await story.waiting()
        before, stored = (
            cbor.decode(value, StoredShareSet, culprit=Culprit.STORAGE) for _, value in story.states
        )
        assert stored.header.pending is not None
        for forged in (
            replace(stored, pending=None),
            replace(stored, pending=None, header=replace(stored.header, pending=None)),
            replace(stored, header=before.header),
            replace(stored, active=stored.pending, pending=stored.active),
            replace(stored, active=stored.pending),
        ):
            story.serve((2, cbor.encode(forged)))
            await story.restart()
            assert await story.refused(story.read()) == ("sealed_record_rejected", Culprit.STORAGE)
        story.serve(story.states[-1])
        await story.restart()
        await done.commit()
        await signs(story.user, done.stored.wallet)

    run(scenario)


def test_attack_a_tombstone_is_forged_or_opened_up_again():
    async def scenario() -> None:
        story = await Story().begin()
        await story.user.door.call(life.DeleteWallet(wallet_id=story.wallet.wallet_id))
        live, dead = (
            cbor.decode(value, StoredShareSet, culprit=Culprit.STORAGE) for _, value in story.states
        )
        for forged in (
            replace(dead, tombstone=None),
            replace(dead, header=replace(dead.header, retired_at=None)),
            replace(dead, header=replace(dead.header, retired_at=None), tombstone=None, active=live.active),
            replace(live, header=replace(live.header, retired_at=1), active=None, tombstone=dead.tombstone),
            replace(dead, header=replace(dead.header, revision=3)),
        ):
            story.serve((2, cbor.encode(forged)))
            await story.restart()
            assert await story.refused(story.read()) == ("sealed_record_rejected", Culprit.STORAGE)

    run(scenario)


# --- across a restart: what a client that knows better still notices -------------------------------------------------------


def test_a_client_that_knows_the_new_epoch_is_told_when_storage_serves_the_old_one():
    async def scenario() -> None:
        story = await Story().begin()
        done = await story.waiting()
        await done.commit()
        before, waiting, _ = story.states
        for state in (before, waiting):
            story.serve(state)
            await story.restart()
            with pytest.raises(Refused) as caught:
                await signs(story.user, done.stored.wallet)
            assert (caught.value.code, caught.value.culprit) == STALE
            assert caught.value.reaction is Reaction.RETRY
            assert await story.refused(handover(story.user, story.wallet.wallet_id).begin()) == STALE
        # What waits there is exactly what the client committed: it does so again, and nothing is lost.
        assert (await done.commit()).wallet.epoch == 2
        await signs(story.user, done.stored.wallet)

    run(scenario)


def test_what_is_committed_after_a_rollback_is_what_the_client_holds_and_nothing_else():
    async def scenario() -> None:
        story = await Story().begin()
        old = await story.waiting()
        await story.user.door.call(life.AbortReshare(wallet_id=story.wallet.wallet_id, epoch=2))
        new = await story.waiting()
        await new.commit()
        story.serve(story.states[1])  # where the aborted epoch waits
        await story.restart()
        assert (await story.refused(story.user.door.call(new.commit_request())))[0] == "invalid_proof"
        assert old.stored.confirmation != new.stored.confirmation
        story.serve(story.states[-1])
        await story.restart()
        await signs(story.user, new.stored.wallet)

    run(scenario)


def test_what_a_host_gains_by_rolling_back_across_a_restart_is_an_old_share_of_the_users():
    """``docs/limitations.md``: with the old record *and* the old share of the device, the old epoch signs again. Neither does alone."""

    async def scenario() -> None:
        story = await Story().begin()
        stolen = story.user.shares[story.wallet.wallet_id]
        await committed(story)
        story.serve(story.states[0])
        await story.restart()
        story.user.shares[story.wallet.wallet_id] = stolen
        await signs(story.user, story.wallet)

    run(scenario)


def test_attack_a_host_that_acknowledges_both_of_two_changes_at_once():
    """A commit and an abort of the same epoch, sent together: were both answered as done, the device would drop the share of the epoch that goes on."""

    async def scenario() -> None:
        story = await Story().begin()
        waiting = await story.waiting()
        identity = story.user.session_key.auth(story.user.user_id)
        other = await Door.open(story.host, authenticate=identity)
        storage, both = story.host.storage, asyncio.Barrier(2)
        honest = storage.put

        async def put(key: str, value: bytes, **more: Any) -> None:
            if key != story.key:
                return await honest(key, value, **more)
            await both.wait()  # and is acknowledged, whatever was there

        storage.put = put
        abort = life.AbortReshare(wallet_id=story.wallet.wallet_id, epoch=2)
        answers = await asyncio.gather(
            story.user.door.call(waiting.commit_request()), other.call(abort), return_exceptions=True
        )
        (refused,) = [one for one in answers if isinstance(one, Refused)]
        assert (refused.code, refused.culprit) == ("record_forked", Culprit.STORAGE)

    run(scenario)
