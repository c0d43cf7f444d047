"""Backups at the enclave's own door: whose key it is, what proves one, what a guess costs, and what waits for one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from msgspec.structs import replace

from enclave.accounts.factors import FIRST_LOCK_MS, FREE_ATTEMPTS, FREE_ATTEMPTS_COLD
from enclave.manifest import LifecycleRules, Manifest
from protocol import accounts as a
from protocol import lifecycle as life
from protocol import messages as m
from protocol.envelope.errors import CosignerError, Culprit, Reaction
from protocol.wallets import MAX_BACKUPS
from tests.attacks.test_rules import decisions
from tests.enclave.lifecycle.devices import Died
from tests.support.door import Refused, User, service_account
from tests.support.lives import PASSCODE, back_up, confirm_request, handover, other_device, reshare, signs
from tests.support.manifests import environment
from tests.support.world import MANIFEST, Host, run

RIGHT, WRONG = bytes([1]) * 32, bytes([2]) * 32
REQUIRED = Manifest(
    version=1,
    environments=[environment(lifecycle=LifecycleRules(max_epoch_age_s=0, backup="required"))],
    kms=MANIFEST.kms,
)


async def with_wallet(manifest: Manifest = MANIFEST) -> tuple[Host, User, m.WalletInfo]:
    host = Host(manifest=manifest)
    await host.start_enclave()
    user = await User.log_in(host)
    return host, user, await user.create()


async def refused(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.code


async def status(user: User, wallet: m.WalletInfo) -> Any:
    return (await user.door.call(m.GetWallet(wallet_id=wallet.wallet_id), m.WalletReply)).status


def opening(wallet: m.WalletInfo, key: life.BackupKey, proof: bytes | None = None) -> life.OpenBackup:
    return life.OpenBackup(wallet_id=wallet.wallet_id, backup_id=key.backup_id, passcode_proof=proof)


# --- keys ------------------------------------------------------------------------------------------------------------------


def test_a_backups_key_is_given_again_to_who_made_it_after_a_restart_too():
    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id)
        assert await user.door.call(opening(wallet, key), life.BackupKey) == key
        await host.start_enclave()
        await user.reopen()
        assert await user.door.call(opening(wallet, key), life.BackupKey) == key

    run(scenario)


def test_every_backup_has_a_key_and_a_place_of_its_own():
    async def scenario():
        _, user, wallet = await with_wallet()
        other = await user.create()
        keys = [await back_up(user, wallet_id) for wallet_id in (wallet.wallet_id,) * 3 + (other.wallet_id,)]
        for facts in zip(*((key.backup_id, key.key, key.locator) for key in keys), strict=True):
            assert len(set(facts)) == len(keys)
        assert not {key.key.hex() for key in keys} & {key.locator for key in keys}

    run(scenario)


def test_the_host_is_told_the_hash_of_the_place_and_never_the_key():
    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id)
        slot = f"environments/sandbox/backups/{hashlib.sha256(bytes.fromhex(key.locator)).hexdigest()}"
        assert host.storage.records[slot] == (1, b"\x00")
        stored = b"".join(name.encode() + value for name, _, value in host.storage.history)
        for secret in (key.key, key.key.hex().encode(), key.locator.encode()):
            assert secret not in stored

    run(scenario)


def test_attack_another_user_opens_confirms_or_removes_a_backup():
    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id)
        thief = await User.log_in(host)
        for request in (
            opening(wallet, key),
            confirm_request(wallet.wallet_id, key.backup_id, user.shares[wallet.wallet_id]),
            life.RemoveBackup(wallet_id=wallet.wallet_id, backup_id=key.backup_id),
            life.BeginBackup(
                wallet_id=wallet.wallet_id, epoch=1, party=1, passcode=None, passcode_proof=None
            ),
        ):
            assert await refused(thief.door.call(request)) == "not_owner"
        own = await thief.create()  # nor by naming it beside a wallet of their own
        assert await refused(thief.door.call(opening(own, key))) == "backup_unknown"

    run(scenario)


def test_after_a_hand_over_backups_of_the_former_owner_are_nobodys():
    async def scenario():
        _, user, _ = await with_wallet()
        desk = await service_account(user)
        wallet = await desk.create()
        key = await back_up(desk, wallet.wallet_id)
        assert (await status(desk, wallet)).backed_up
        over = a.HandOver(wallet_id=wallet.wallet_id, user_id=user.user_id)
        await desk.door.call(over, authorization=desk.authorize(over, by="key"))
        asked = opening(wallet, key)
        with_key = desk.authorize(asked, by="key")
        assert await refused(desk.door.call(asked, authorization=with_key)) == "not_owner"
        assert await refused(user.door.call(asked)) == "backup_unknown"
        found = await status(user, wallet)
        assert (found.backed_up, found.backups) == (False, [])

    run(scenario)


def test_attack_a_session_alone_opens_or_removes_no_backup_of_a_user_who_has_a_passkey():
    async def scenario():
        _, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id)
        await user.add_passkey()
        for request in (
            opening(wallet, key),
            life.RemoveBackup(wallet_id=wallet.wallet_id, backup_id=key.backup_id),
        ):
            assert await refused(user.door.call(request)) == "factor_required"
            await user.door.call(request, authorization=user.authorize(request))

    run(scenario)


def test_a_removed_backup_is_never_opened_again():
    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id)
        gone = life.RemoveBackup(wallet_id=wallet.wallet_id, backup_id=key.backup_id)
        reply = await user.door.call(gone, m.WalletReply)
        assert (reply.status.backups, reply.status.backed_up) == ([], False)
        for _ in range(2):
            assert await refused(user.door.call(opening(wallet, key))) == "backup_unknown"
            assert await refused(user.door.call(gone)) == "backup_unknown"
            await host.start_enclave()
            await user.reopen()

    run(scenario)


# --- proofs ------------------------------------------------------------------------------------------------------------------


def test_a_backup_counts_once_it_is_proved():
    async def scenario():
        _, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id, prove=False)
        before = await status(user, wallet)
        assert (before.backed_up, before.backups[0].proved_at) == (False, None)
        request = confirm_request(wallet.wallet_id, key.backup_id, user.shares[wallet.wallet_id])
        after = (await user.door.call(request, m.WalletReply)).status
        assert after.backed_up
        (info,) = after.backups
        assert (info.backup_id, info.epoch, info.party) == (key.backup_id, 1, 1)
        assert info.locations == ["service"]
        assert info.proved_at >= info.created_at

    run(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        {"backup_id": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        {"epoch": 2},
        {"party": 3},
        {"wallet_id": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        {"environment": "live"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_attack_a_proof_over_something_else_proves_no_backup(wrong):
    async def scenario():
        _, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id, prove=False)
        share = user.shares[wallet.wallet_id]
        request = confirm_request(wallet.wallet_id, key.backup_id, share, **wrong)
        assert await refused(user.door.call(request)) == "invalid_proof"
        assert not (await status(user, wallet)).backed_up

    run(scenario)


def test_attack_a_backup_is_proved_by_the_share_of_another_party_or_epoch():
    async def scenario():
        _, user, wallet = await with_wallet()
        old = user.shares[wallet.wallet_id]
        done = await reshare(user, wallet.wallet_id, 3)
        key = await back_up(user, wallet.wallet_id, prove=False)
        for share in (done.shares[3], old):
            request = confirm_request(wallet.wallet_id, key.backup_id, share, epoch=2, party=1)
            assert await refused(user.door.call(request)) == "invalid_proof"

    run(scenario)


def test_a_backup_of_an_epoch_that_is_gone_cannot_be_proved_and_does_not_count():
    async def scenario():
        _, user, wallet = await with_wallet()
        old = user.shares[wallet.wallet_id]
        proved = await back_up(user, wallet.wallet_id)
        late = await back_up(user, wallet.wallet_id, prove=False)
        await handover(user, wallet.wallet_id).run()
        request = confirm_request(wallet.wallet_id, late.backup_id, old)
        assert await refused(user.door.call(request)) == "epoch_superseded"
        found = await status(user, wallet)
        assert not found.backed_up
        assert [info.backup_id for info in found.backups] == [proved.backup_id, late.backup_id]

    run(scenario)


@pytest.mark.parametrize(
    ("party", "epoch", "code"),
    [
        (2, 1, "party_refused"),
        (3, 1, "party_refused"),
        (1, 2, "epoch_stale"),
    ],
)
def test_attack_a_backup_of_what_there_is_not(party, epoch, code):
    async def scenario():
        _, user, wallet = await with_wallet()
        request = life.BeginBackup(
            wallet_id=wallet.wallet_id, epoch=epoch, party=party, passcode=None, passcode_proof=None
        )
        assert await refused(user.door.call(request)) == code
        for passcode, proof in ((PASSCODE, None), (None, RIGHT)):
            half = replace(request, party=1, epoch=1, passcode=passcode, passcode_proof=proof)
            assert await refused(user.door.call(half)) == "passcode_wrong"

    run(scenario)


def test_the_backup_share_is_backed_up_too_but_does_not_stand_in_for_the_users():
    async def scenario():
        _, user, wallet = await with_wallet()
        done = await reshare(user, wallet.wallet_id, 3)
        await back_up(user, wallet.wallet_id, done.shares[3])
        found = await status(user, wallet)
        assert (found.backed_up, found.backups[0].party) == (False, 3)

    run(scenario)


# --- passcodes ---------------------------------------------------------------------------------------------------------------


async def guess(user: User, wallet: m.WalletInfo, key: life.BackupKey, proof: bytes) -> str:
    try:
        await user.door.call(opening(wallet, key, proof), life.BackupKey)
    except Refused as caught:
        return caught.code
    return "opened"


def test_a_passcode_opens_a_wrong_one_does_not_and_the_fifth_wrong_one_locks():
    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id, passcode_proof=RIGHT)
        assert await guess(user, wallet, key, RIGHT) == "opened"  # and this enclave has seen a right one
        for _ in range(FREE_ATTEMPTS):
            assert await guess(user, wallet, key, WRONG) == "passcode_wrong"
        assert await guess(user, wallet, key, RIGHT) == "factor_locked"
        assert host.enclave is not None
        clock = host.enclave.environments.in_service("sandbox")._rooms.lifecycle._backups._clock
        real = clock.now_ms
        try:
            clock.now_ms = lambda: real() + FIRST_LOCK_MS - 5_000
            assert await guess(user, wallet, key, RIGHT) == "factor_locked"
            clock.now_ms = lambda: real() + FIRST_LOCK_MS + 5_000
            assert await guess(user, wallet, key, RIGHT) == "opened"
        finally:
            clock.now_ms = real

    run(scenario)


def test_attack_a_host_that_restarts_the_enclave_over_an_old_count_gets_fewer_guesses_each_time():
    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id, passcode_proof=RIGHT)
        before = dict(host.storage.records)
        for _ in range(3):
            host.storage.records = dict(before)
            await host.start_enclave()
            await user.reopen()
            tried = [await guess(user, wallet, key, WRONG) for _ in range(FREE_ATTEMPTS_COLD + 1)]
            assert tried == ["passcode_wrong"] * FREE_ATTEMPTS_COLD + ["factor_locked"]

    run(scenario)


@pytest.mark.parametrize("fault", ["fails", "dies", "after"])
def test_attack_a_host_that_drops_the_count_learns_nothing_of_the_guess(fault):
    """The attempt is stored before it is compared: without the host's word for it, a right passcode does not open either."""

    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id, passcode_proof=RIGHT)
        name = f"environments/sandbox/backups/{wallet.wallet_id}"

        def drop(where: str) -> None:
            if where == name:
                raise (
                    Died()
                    if fault == "dies"
                    else CosignerError(
                        "storage_unavailable", "lost", culprit=Culprit.STORAGE, reaction=Reaction.RETRY
                    )
                )

        setattr(host.storage, "after_put" if fault == "after" else "before_put", drop)
        for proof in (RIGHT, WRONG):
            with pytest.raises((Refused, Died)) as caught:
                await user.door.call(opening(wallet, key, proof), life.BackupKey)
            if fault == "dies":
                await host.start_enclave()
                await user.reopen()
            else:
                assert caught.value.code == "storage_unavailable"
        host.storage.before_put = host.storage.after_put = lambda where: None
        expected = (
            "factor_locked" if fault == "after" else "opened"
        )  # what was stored counts, answered or not
        assert await guess(user, wallet, key, RIGHT) == expected

    run(scenario)


def test_attack_a_backup_with_a_known_passcode_does_not_wipe_the_count_of_another():
    async def scenario():
        _, user, wallet = await with_wallet()
        target = await back_up(user, wallet.wallet_id, passcode_proof=RIGHT)
        own = await back_up(user, wallet.wallet_id, passcode_proof=WRONG)
        outcomes = []
        for _ in range(4):
            outcomes.append(await guess(user, wallet, target, WRONG))
            assert await guess(user, wallet, own, WRONG) == "opened"
        assert outcomes == ["passcode_wrong"] * FREE_ATTEMPTS_COLD + ["factor_locked"] * 2

    run(scenario)


def test_a_passcode_that_is_missing_or_not_asked_for_is_refused_and_not_counted():
    async def scenario():
        _, user, wallet = await with_wallet()
        with_it = await back_up(user, wallet.wallet_id, passcode_proof=RIGHT)
        without = await back_up(user, wallet.wallet_id)
        for _ in range(2 * FREE_ATTEMPTS):
            assert await refused(user.door.call(opening(wallet, with_it))) == "passcode_wrong"
            assert await refused(user.door.call(opening(wallet, without, RIGHT))) == "passcode_wrong"
        assert await guess(user, wallet, with_it, RIGHT) == "opened"

    run(scenario)


# --- room --------------------------------------------------------------------------------------------------------------------


def test_there_is_room_for_sixteen_and_what_is_worth_least_makes_room():
    async def scenario():
        _, user, wallet = await with_wallet()
        stale = await back_up(user, wallet.wallet_id)
        await handover(user, wallet.wallet_id).run()
        proved = [await back_up(user, wallet.wallet_id) for _ in range(MAX_BACKUPS - 3)]
        unproved = [await back_up(user, wallet.wallet_id, prove=False) for _ in range(2)]

        async def kept() -> list[str]:
            return [info.backup_id for info in (await status(user, wallet)).backups]

        assert await kept() == [key.backup_id for key in (stale, *proved, *unproved)]
        more = [await back_up(user, wallet.wallet_id)]
        assert await kept() == [key.backup_id for key in (*proved, *unproved, *more)]
        more += [await back_up(user, wallet.wallet_id) for _ in range(2)]
        assert await kept() == [key.backup_id for key in (*proved, *more)]
        assert await refused(back_up(user, wallet.wallet_id)) == "too_many_backups"
        gone = life.RemoveBackup(wallet_id=wallet.wallet_id, backup_id=proved[0].backup_id)
        await user.door.call(gone)
        await back_up(user, wallet.wallet_id)

    run(scenario)


# --- where the environment wants one -----------------------------------------------------------------------------------------


def test_a_wallet_that_is_not_backed_up_does_not_sign_where_backups_are_required():
    async def scenario():
        _, user, wallet = await with_wallet(REQUIRED)
        assert (await status(user, wallet)).state == "unbacked"
        with pytest.raises(Refused) as caught:
            await signs(user, wallet)
        assert caught.value.code == "backup_required"
        key = await back_up(user, wallet.wallet_id, prove=False)
        with pytest.raises(Refused):
            await signs(user, wallet)
        await user.door.call(confirm_request(wallet.wallet_id, key.backup_id, user.shares[wallet.wallet_id]))
        assert (await status(user, wallet)).state == "active"
        await signs(user, wallet)

    run(scenario)


def test_new_shares_do_not_count_before_they_are_backed_up_where_backups_are_required():
    async def scenario():
        _, user, wallet = await with_wallet(REQUIRED)
        await user.add_passkey()
        await back_up(user, wallet.wallet_id)
        done = handover(user, wallet.wallet_id, "reshare", parties=3)
        await done.begin()
        await done.store()
        assert await refused(user.door.call(done.commit_request())) == "backup_required"
        await signs(user, wallet)  # the old epoch goes on signing
        await back_up(user, wallet.wallet_id, done.shares[3])  # not this one
        assert await refused(user.door.call(done.commit_request())) == "backup_required"
        await back_up(user, wallet.wallet_id, done.shares[1])
        await done.commit()
        await signs(user, done.stored.wallet)
        await signs(other_device(user, done.shares[3], done.stored.wallet), done.stored.wallet)
        assert (await status(user, wallet)).state == "active"

    run(scenario)


def test_a_wallet_whose_last_backup_is_removed_does_not_sign_where_backups_are_required():
    async def scenario():
        _, user, wallet = await with_wallet(REQUIRED)
        key = await back_up(user, wallet.wallet_id)
        await signs(user, wallet)
        await user.door.call(life.RemoveBackup(wallet_id=wallet.wallet_id, backup_id=key.backup_id))
        with pytest.raises(Refused) as caught:
            await signs(user, wallet)
        assert caught.value.code == "backup_required"

    run(scenario)


# --- recovery ----------------------------------------------------------------------------------------------------------------


def test_a_recovery_ends_in_new_shares_and_the_lost_devices_is_worthless():
    async def scenario():
        _, user, wallet = await with_wallet()
        lost = user.shares[wallet.wallet_id]
        key = await back_up(user, wallet.wallet_id, passcode_proof=RIGHT)
        await user.reopen()  # another device, whose owner logged in
        assert await guess(user, wallet, key, RIGHT) == "opened"
        await handover(user, wallet.wallet_id, "recover", dealer=lost).run()
        await signs(user, user.wallets[wallet.wallet_id])
        thief = other_device(user, lost, wallet)
        with pytest.raises(Refused) as caught:
            await signs(thief, wallet)
        assert caught.value.code == "epoch_superseded"

    run(scenario)


def test_what_is_asked_about_backups_stands_in_the_log_without_anything_that_opens_one():
    async def scenario():
        host, user, wallet = await with_wallet()
        key = await back_up(user, wallet.wallet_id, passcode_proof=RIGHT)
        await guess(user, wallet, key, WRONG)
        await user.door.call(life.RemoveBackup(wallet_id=wallet.wallet_id, backup_id=key.backup_id))
        told = {
            entry.action.operation: json.loads(entry.summary)
            for entry in decisions(host)
            if entry.action.operation.startswith("backup_")
        }
        assert told == {
            "backup_begin": {"epoch": 1, "party": 1, "passcode": True},
            "backup_confirm": {"backup_id": key.backup_id, "locations": ["service"]},
            "backup_open": {"backup_id": key.backup_id},
            "backup_remove": {"backup_id": key.backup_id},
        }

    run(scenario)


# --- shares that were aborted ------------------------------------------------------------------------------------------------


async def aborted_with_backup(user: User, wallet: m.WalletInfo) -> life.BackupKey:
    """New shares are backed up, which is proved, and then given up."""
    first = handover(user, wallet.wallet_id)
    await first.begin()
    await first.store()
    key = await back_up(user, wallet.wallet_id, first.shares[1])
    await user.door.call(life.AbortReshare(wallet_id=wallet.wallet_id, epoch=wallet.epoch + 1))
    return key


def test_attack_a_backup_of_shares_that_were_aborted_stands_in_for_the_next_ones():
    async def scenario():
        _, user, wallet = await with_wallet(REQUIRED)
        await back_up(user, wallet.wallet_id)
        await aborted_with_backup(user, wallet)
        second = handover(user, wallet.wallet_id)
        await second.begin()
        await second.store()
        assert await refused(user.door.call(second.commit_request())) == "backup_required"
        good = await back_up(user, wallet.wallet_id, second.shares[1])
        await second.commit()
        found = await status(user, wallet)
        assert found.backed_up
        assert [one.backup_id for one in found.backups if one.epoch == 2] == [good.backup_id]
        await signs(user, user.wallets[wallet.wallet_id])

    run(scenario)


def test_a_backup_of_shares_that_were_aborted_is_none_of_the_wallets():
    async def scenario():
        _, user, wallet = await with_wallet()
        await aborted_with_backup(user, wallet)
        assert (await status(user, wallet)).backups == []
        await handover(user, wallet.wallet_id).run()
        found = await status(user, wallet)
        assert (found.backed_up, found.backups) == (False, [])

    run(scenario)


def test_a_backup_that_was_begun_for_shares_that_were_aborted_is_not_proved_by_the_next_ones():
    async def scenario():
        _, user, wallet = await with_wallet()
        first = handover(user, wallet.wallet_id)
        await first.begin()
        await first.store()
        key = await back_up(user, wallet.wallet_id, first.shares[1], prove=False)
        await user.door.call(life.AbortReshare(wallet_id=wallet.wallet_id, epoch=2))
        second = handover(user, wallet.wallet_id)
        await second.run()
        proof = confirm_request(wallet.wallet_id, key.backup_id, second.shares[1])
        assert await refused(user.door.call(proof)) == "backup_unknown"

    run(scenario)


def test_backups_of_shares_that_were_aborted_make_room():
    async def scenario():
        _, user, wallet = await with_wallet()
        for _ in range(MAX_BACKUPS + 1):
            await aborted_with_backup(user, wallet)
        assert (await status(user, wallet)).backups == []

    run(scenario)
