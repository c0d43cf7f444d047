"""Imports, deletions and backups that are cut short at any write; and changes that meet."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable

import pytest

from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope.errors import CosignerError
from tests.enclave.lifecycle.devices import Device, device
from tests.enclave.lifecycle.test_ways_in_and_out import dealt, secret
from tests.support.door import Refused
from tests.support.lives import back_up, confirm_request, handover, signs
from tests.support.world import Host, run


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_that_is_cut_short_is_finished_when_it_is_asked_for_again(when):
    ended = []

    async def scenario(number: int) -> None:
        one = await device()
        wallet_id = one.wallet.wallet_id
        key = await back_up(one.user, wallet_id)
        gone = life.DeleteWallet(wallet_id=wallet_id)
        one.die_at(number, when)
        ended.append(await one.survive(one.user.door.call(gone)))
        one.let_live()
        reply = await one.read()
        if reply.status.state != "retired":
            await one.signs()
        reply = await one.user.door.call(gone, m.WalletReply)
        assert (reply.status.state, reply.status.backups) == ("retired", [])
        opening = life.OpenBackup(wallet_id=wallet_id, backup_id=key.backup_id, passcode_proof=None)
        with pytest.raises(Refused) as refused:
            await one.user.door.call(opening)
        assert refused.value.code == "wallet_retired"

    for number in itertools.count():
        run(lambda number=number: scenario(number))
        if ended[-1]:
            break
    assert len(ended) > 3  # the entry, the tombstone and the backups, at least


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_import_that_is_cut_short_happened_or_can_be_made_again(when):
    ended = []

    async def scenario(number: int) -> None:
        one = await device()
        user = one.user
        state, request = dealt(user, secret("solana"))
        one.die_at(number, when)
        ended.append(await one.survive(user.door.call(request)))
        one.let_live()
        try:
            reply = await user.door.call(m.GetWallet(wallet_id=request.wallet_id), m.WalletReply)
        except Refused as refused:
            assert refused.code == "wallet_unknown"  # noqa: PT017
            state, request = dealt(user, secret("solana"))
            reply = await user.door.call(request, m.WalletReply)
        user.shares[request.wallet_id] = state.confirm({2: reply.confirmation})[1]
        user.wallets[request.wallet_id] = reply.wallet
        await signs(user, reply.wallet)
        listed = (await user.door.call(life.ListWallets(), life.WalletList)).wallets
        assert [entry.wallet for entry in listed] == [one.wallet, reply.wallet]

    for number in itertools.count():
        run(lambda number=number: scenario(number))
        if ended[-1]:
            break
    assert len(ended) > 4  # the entry, the list, the owner, the share


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_backup_that_is_cut_short_is_begun_again(when):
    ended = []

    async def scenario(number: int) -> None:
        one = await device()
        wallet_id = one.wallet.wallet_id
        one.die_at(number, when)
        ended.append(await one.survive(back_up(one.user, wallet_id)))
        one.let_live()
        key = await back_up(one.user, wallet_id)
        status = (await one.read()).status
        assert status.backed_up
        assert key.backup_id in [info.backup_id for info in status.backups if info.proved_at is not None]

    for number in itertools.count():
        run(lambda number=number: scenario(number))
        if ended[-1]:
            break
    assert len(ended) > 4


# --- changes that meet -----------------------------------------------------------------------------------------------------


async def outcomes(*calls: Awaitable[object]) -> list[str]:
    found = await asyncio.gather(*calls, return_exceptions=True)
    unexpected = [
        one for one in found if isinstance(one, BaseException) and not isinstance(one, CosignerError)
    ]
    assert not unexpected
    return sorted(one.code if isinstance(one, CosignerError) else "done" for one in found)


async def second_session(one: Device) -> Device:
    """The same device in another session, at the same enclave."""
    other = Device.__new__(Device)
    other.__dict__ |= one.__dict__
    other.user = type(one.user)(**vars(one.user))
    await other.user.reopen()
    return other


def test_two_handovers_that_finish_at_once_leave_one_pending_epoch():
    async def scenario() -> None:
        one = await device()
        first = handover(one.user, one.wallet.wallet_id)
        await first.begin()
        other = await second_session(one)
        second = handover(other.user, one.wallet.wallet_id)
        await second.begin()
        assert await outcomes(first.store(), second.store()) in (
            ["done", "record_conflict"],
            ["done", "reshare_pending"],
        )
        winner = first if first.stored else second
        await winner.commit()
        await signs(winner.user, winner.stored.wallet)

    run(scenario)


def test_a_commit_and_an_abort_at_once_are_one_of_them():
    async def scenario() -> None:
        one = await device()
        done = handover(one.user, one.wallet.wallet_id)
        await done.begin()
        await done.store()
        other = await second_session(one)
        abort = life.AbortReshare(wallet_id=one.wallet.wallet_id, epoch=2)
        codes = await outcomes(done.user.door.call(done.commit_request()), other.user.door.call(abort))
        assert codes in (
            ["done", "record_conflict"],
            ["done", "reshare_committed"],
            ["done", "reshare_unknown"],
        )
        epoch = (await one.read()).wallet.epoch
        if epoch == 2:
            done.keep()
        await signs(done.user, (await one.read()).wallet)

    run(scenario)


def test_a_deletion_and_a_commit_at_once_end_in_a_tombstone_or_leave_the_wallet():
    async def scenario() -> None:
        one = await device()
        done = handover(one.user, one.wallet.wallet_id)
        await done.begin()
        await done.store()
        other = await second_session(one)
        gone = life.DeleteWallet(wallet_id=one.wallet.wallet_id)
        await outcomes(other.user.door.call(gone), done.user.door.call(done.commit_request()))
        reply = await one.read()
        if reply.status.state != "retired":
            done.keep()
            await signs(done.user, reply.wallet)
            reply = await one.user.door.call(gone, m.WalletReply)
        assert reply.status.state == "retired"

    run(scenario)


def test_two_enclaves_over_one_storage_make_one_pending_epoch():
    async def scenario() -> None:
        one = await device()
        first = handover(one.user, one.wallet.wallet_id)
        await first.begin()
        other_host = Host(storage=one.host.storage, kms=one.host.kms)
        await other_host.start_enclave()
        other = await second_session(one)
        other.user.host = other_host
        await other.user.reopen()
        second = handover(other.user, one.wallet.wallet_id)
        await second.begin()
        assert await outcomes(first.store(), second.store()) in (
            ["done", "record_conflict"],
            ["done", "reshare_pending"],
        )
        winner = first if first.stored else second
        await winner.commit()
        for user in (one.user, other.user):  # each enclave sees the other's write
            user.shares, user.wallets = winner.user.shares, winner.user.wallets
            await signs(user, winner.stored.wallet)

    run(scenario)


def test_backups_that_are_begun_and_proved_at_once_are_all_there():
    async def scenario() -> None:
        one = await device()
        doors = [await second_session(one) for _ in range(8)]
        keys = await asyncio.gather(
            *(back_up(each.user, one.wallet.wallet_id, prove=False) for each in doors)
        )
        status = (await one.read()).status
        assert {info.backup_id for info in status.backups} == {key.backup_id for key in keys}
        share = one.user.shares[one.wallet.wallet_id]
        await asyncio.gather(
            *(
                each.user.door.call(confirm_request(one.wallet.wallet_id, key.backup_id, share))
                for each, key in zip(doors, keys, strict=True)
            )
        )
        assert all(info.proved_at is not None for info in (await one.read()).status.backups)

    run(scenario)
