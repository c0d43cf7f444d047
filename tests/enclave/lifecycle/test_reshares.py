"""New shares of the same key, at the enclave's own door."""

from __future__ import annotations

import json

import msgspec
import pytest
from solders.pubkey import Pubkey

from enclave.manifest import Manifest
from protocol import accounts as a
from protocol import lifecycle as life
from protocol import messages as m
from tests.attacks.test_rules import decisions
from tests.support.door import Refused, User, service_account
from tests.support.lives import handover, other_device, reshare, signs
from tests.support.manifests import EVERYTHING, environment, layer
from tests.support.spies import watch
from tests.support.world import MANIFEST, Host, run, solana_message
from threshold import ThresholdError


async def with_wallet(chain: str = "solana", *, passkey: bool = False) -> tuple[Host, User, m.WalletInfo]:
    host = Host()
    await host.start_enclave()
    user = await User.log_in(host)
    if passkey:
        await user.add_passkey()
    return host, user, await user.create(chain)


def address(wallet: m.WalletInfo) -> str:
    return str(Pubkey.from_bytes(wallet.public_key))


async def refused(call) -> str:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.code


@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_a_refresh_leaves_the_key_and_makes_the_next_epoch(chain):
    async def scenario():
        _, user, wallet = await with_wallet(chain)
        before = user.shares[wallet.wallet_id]
        done = handover(user, wallet.wallet_id)
        reply = await done.run()
        assert (reply.wallet.epoch, reply.wallet.public_key) == (2, wallet.public_key)
        assert (reply.wallet.threshold, reply.wallet.parties) == (2, 2)
        after = user.shares[wallet.wallet_id]
        assert after.verifying_shares != before.verifying_shares
        assert after.chain_code == before.chain_code
        if chain == "solana":
            await signs(user, reply.wallet)

    run(scenario)


def test_from_2_of_2_to_2_of_3_and_back_and_each_of_the_clients_shares_signs_with_the_enclaves():
    async def scenario():
        _, user, wallet = await with_wallet()
        done = await reshare(user, wallet.wallet_id, 3)
        wallet = user.wallets[wallet.wallet_id]
        assert (wallet.epoch, wallet.threshold, wallet.parties) == (2, 2, 3)
        for party in (1, 3):
            await signs(other_device(user, done.shares[party], wallet), wallet)
        back = await reshare(user, wallet.wallet_id, 2)
        assert (back.stored.wallet.epoch, back.stored.wallet.parties) == (3, 2)
        await signs(user, user.wallets[wallet.wallet_id])

    run(scenario)


# --- attacks: what a client, or whoever has a session of it, can send -----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"dealer": 2}, "party_refused"),
        ({"dealer": 3}, "party_refused"),
        ({"threshold": 1}, "party_set_unsupported"),
        ({"threshold": 3, "parties": 3}, "party_set_unsupported"),
        ({"parties": 3}, "purpose_refused"),
        ({"parties": 1}, "party_set_unsupported"),
        ({"parties": 6}, "party_set_unsupported"),
        ({"epoch": 2}, "epoch_stale"),
        ({"message1": b"nonsense"}, "wrong_kind"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_attack_a_refresh_that_would_be_something_else(changes, code):
    async def scenario():
        _, user, wallet = await with_wallet(passkey=True)
        assert await refused(handover(user, wallet.wallet_id).begin(**changes)) == code
        reply = await user.door.call(m.GetWallet(wallet_id=wallet.wallet_id), m.WalletReply)
        assert (reply.wallet, reply.status.pending) == (wallet, None)
        await signs(user, wallet)

    run(scenario)


def test_attack_a_refresh_of_three_parties_that_drops_one():
    async def scenario():
        _, user, wallet = await with_wallet()
        await reshare(user, wallet.wallet_id, 3)
        smaller = handover(user, wallet.wallet_id, parties=2)
        assert await refused(smaller.begin()) == "purpose_refused"

    run(scenario)


def test_attack_a_reshare_that_deals_with_the_backup_share_is_a_recovery():
    async def scenario():
        _, user, wallet = await with_wallet()
        done = await reshare(user, wallet.wallet_id, 3)
        for purpose in ("refresh", "reshare"):
            other = handover(user, wallet.wallet_id, purpose, dealer=done.shares[3])
            assert await refused(other.begin()) == "purpose_refused"
        recovery = handover(user, wallet.wallet_id, "recover", dealer=done.shares[3], parties=2)
        await recovery.run()
        await signs(user, user.wallets[wallet.wallet_id])

    run(scenario)


def test_attack_a_ceremony_is_finished_once_in_its_own_session_by_its_own_user():
    async def scenario():
        host, user, wallet = await with_wallet()
        first, begun_in = handover(user, wallet.wallet_id), user.door
        await first.begin()
        await user.reopen()
        assert await refused(first.store()) == "ceremony_unknown"
        user.door = begun_in
        await first.store()
        assert await refused(first.store()) == "ceremony_unknown"
        stranger = await User.log_in(host)
        assert await refused(stranger.door.call(first.finish)) == "not_owner"
        assert await refused(stranger.door.call(first.commit_request())) == "not_owner"

    run(scenario)


def test_attack_a_finish_of_a_handover_does_not_finish_a_key_generation():
    async def scenario():
        _, user, wallet = await with_wallet()
        done = handover(user, wallet.wallet_id)
        await done.begin()
        finish = m.FinishDkg(wallet_id=wallet.wallet_id, message2=b"message 2", confirmation=bytes(32))
        assert await refused(user.door.call(finish)) == "ceremony_unknown"
        assert await refused(done.store()) == "ceremony_unknown"  # a wrong end spends the state

    run(scenario)


def test_attack_messages_of_an_earlier_ceremony_are_worth_nothing_in_the_next():
    async def scenario():
        _, user, wallet = await with_wallet()
        old = handover(user, wallet.wallet_id)
        await old.begin()
        new = handover(user, wallet.wallet_id)
        await new.begin()
        replayed = new.finish
        new.finish = old.finish
        assert await refused(new.store()) == "transcript_mismatch"
        again = handover(user, wallet.wallet_id)
        await again.begin()
        again.finish = replayed
        assert await refused(again.store()) == "transcript_mismatch"
        await signs(user, wallet)

    run(scenario)


def test_attack_a_first_message_of_another_session_or_purpose():
    async def scenario():
        _, user, wallet = await with_wallet()
        elsewhere = handover(user, wallet.wallet_id).begin_request()
        await user.reopen()
        assert await refused(user.door.call(elsewhere)) == "wrong_context"
        recovery = handover(user, wallet.wallet_id, "recover").begin_request()
        as_refresh = msgspec.structs.replace(recovery, purpose="refresh")
        assert await refused(user.door.call(as_refresh)) == "wrong_context"

    run(scenario)


def test_attack_a_confirmation_of_another_transcript_or_too_few_of_them():
    async def scenario():
        _, user, wallet = await with_wallet()
        for confirmations, code in (
            ([bytes(32)], "confirmation_mismatch"),
            ([bytes(32)] * 2, "parties_wrong_count"),
        ):
            done = handover(user, wallet.wallet_id)
            finish = await done.begin()
            done.finish = msgspec.structs.replace(finish, confirmations=confirmations)
            assert await refused(done.store()) == code
        reply = await user.door.call(m.GetWallet(wallet_id=wallet.wallet_id), m.WalletReply)
        assert reply.status.pending is None

    run(scenario)


def test_attack_begin_while_another_waits():
    async def scenario():
        _, user, wallet = await with_wallet()
        parallel = handover(user, wallet.wallet_id)
        door = user.door
        await parallel.begin()
        await user.reopen()
        first = handover(user, wallet.wallet_id)
        await first.begin()
        await first.store()
        assert await refused(handover(user, wallet.wallet_id).begin()) == "reshare_pending"
        user.door = door  # and the one that was begun before cannot take the place of what waits
        assert await refused(parallel.store()) == "reshare_pending"
        await first.commit()
        await signs(user, user.wallets[wallet.wallet_id])

    run(scenario)


def test_attack_a_ceremony_begun_before_another_was_committed_is_of_an_epoch_that_is_gone():
    async def scenario():
        _, user, wallet = await with_wallet()
        parallel, door = handover(user, wallet.wallet_id), user.door
        await parallel.begin()
        await user.reopen()
        await handover(user, wallet.wallet_id).run()
        user.door = door
        assert await refused(parallel.store()) == "epoch_superseded"

    run(scenario)


async def stored(user, wallet_id):
    done = handover(user, wallet_id)
    await done.begin()
    await done.store()
    return done


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": 1},
        {"confirmation": bytes(32)},
        {"wallet_id": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        {"share_set_id": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        {"environment": "live"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_attack_a_proof_that_was_made_over_something_else(wrong):
    async def scenario():
        _, user, wallet = await with_wallet()
        done = await stored(user, wallet.wallet_id)
        assert await refused(user.door.call(done.commit_request(**wrong))) == "invalid_proof"
        await signs(user, wallet)
        await done.commit()

    run(scenario)


def test_attack_commit_with_the_old_share_or_with_that_of_another_wallet():
    async def scenario():
        _, user, wallet = await with_wallet()
        other = await user.create()
        done = await stored(user, wallet.wallet_id)
        for share in (user.shares[wallet.wallet_id], user.shares[other.wallet_id]):
            with_it = done.commit_request(shares={1: share})
            assert await refused(user.door.call(with_it)) == "invalid_proof"
        await done.commit()

    run(scenario)


def test_attack_commit_that_proves_one_party_of_two_or_one_twice():
    async def scenario():
        _, user, wallet = await with_wallet(passkey=True)
        done = handover(user, wallet.wallet_id, "reshare", parties=3)
        await done.begin()
        await done.store()
        request = done.commit_request()
        for proofs, code in (
            (request.proofs[:1], "parties_wrong_count"),
            ([*request.proofs, request.proofs[0]], "parties_wrong_count"),
            ([request.proofs[0]] * 2, "invalid_proof"),
            (request.proofs[::-1], "invalid_proof"),
        ):
            changed = msgspec.structs.replace(request, proofs=proofs)
            assert await refused(user.door.call(changed)) == code
        await done.commit()

    run(scenario)


def test_what_was_committed_is_answered_alike_and_only_to_who_proves_it():
    async def scenario():
        host, user, wallet = await with_wallet()
        done = await stored(user, wallet.wallet_id)
        request = done.commit_request()
        first = await done.commit()
        revisions = [epoch for key, epoch, _ in host.storage.history if "/wallets/" in key]
        await user.reopen()
        assert await user.door.call(request, m.WalletReply) == first
        assert [epoch for key, epoch, _ in host.storage.history if "/wallets/" in key] == revisions
        forged = msgspec.structs.replace(request, proofs=[bytes(64)])
        assert await refused(user.door.call(forged)) == "invalid_proof"

    run(scenario)


def test_attack_abort_then_commit_and_commit_then_abort():
    async def scenario():
        _, user, wallet = await with_wallet()
        done = await stored(user, wallet.wallet_id)
        abort = life.AbortReshare(wallet_id=wallet.wallet_id, epoch=2)
        for _ in range(2):  # harmless where nothing waits
            reply = await user.door.call(abort, m.WalletReply)
            assert (reply.wallet.epoch, reply.status.pending) == (1, None)
        assert await refused(user.door.call(done.commit_request())) == "reshare_unknown"
        await signs(user, wallet)
        await handover(user, wallet.wallet_id).run()
        assert await refused(user.door.call(abort)) == "reshare_committed"
        for epoch, code in ((1, "epoch_superseded"), (4, "epoch_stale")):
            other = life.AbortReshare(wallet_id=wallet.wallet_id, epoch=epoch)
            assert await refused(user.door.call(other)) == code
        await signs(user, user.wallets[wallet.wallet_id])

    run(scenario)


def test_an_aborted_epoch_is_made_again_by_other_shares():
    async def scenario():
        _, user, wallet = await with_wallet()
        first = await stored(user, wallet.wallet_id)
        await user.door.call(life.AbortReshare(wallet_id=wallet.wallet_id, epoch=2))
        second = await stored(user, wallet.wallet_id)
        assert await refused(user.door.call(first.commit_request())) == "invalid_proof"
        await second.commit()
        user.shares[wallet.wallet_id] = first.shares[1]
        with pytest.raises(ThresholdError):  # epoch 2, too; but not of the same shares
            await signs(user, second.stored.wallet)

    run(scenario)


def test_mixed_epochs_never_combine():
    async def scenario():
        _, user, wallet = await with_wallet()
        old = user.shares[wallet.wallet_id]
        done = await stored(user, wallet.wallet_id)
        ahead = other_device(user, done.shares[1], done.stored.wallet)
        with pytest.raises(Refused) as early:  # new share, enclave still at the old epoch
            await signs(ahead, done.stored.wallet)
        assert early.value.code == "epoch_stale"
        await done.commit()
        behind = other_device(user, old, wallet)
        with pytest.raises(Refused) as late:
            await signs(behind, wallet)
        assert late.value.code == "epoch_superseded"
        # And if the epoch is lied about, what comes out is no signature.
        nonces, request = behind.sign_request(
            wallet.wallet_id, m.SolanaPayload(message=solana_message(address(wallet)))
        )
        lying = msgspec.structs.replace(request, epoch=2)
        signed = await user.door.call(lying, m.Signed)
        with pytest.raises(ThresholdError):
            nonces.finish(old, signed.digests, {2: (signed.commitments, signed.shares)}, None)

    run(scenario)


@pytest.mark.parametrize("party", [2, 3, 255])
def test_attack_signing_as_the_enclave_or_as_nobody(party):
    async def scenario():
        host, user, wallet = await with_wallet()
        spy = watch(host)
        _, request = user.sign_request(
            wallet.wallet_id, m.SolanaPayload(message=solana_message(address(wallet)))
        )
        changed = msgspec.structs.replace(request, party=party)
        assert await refused(user.door.call(changed)) == "party_refused"
        assert spy.released == 0

    run(scenario)


@pytest.mark.parametrize("party", [2, 3])
def test_attack_an_ecdsa_signature_as_the_enclave_or_as_nobody(party):
    async def scenario():
        host = Host()
        await host.start_enclave()
        user = await User.log_in(host, ecdsa=True)
        wallet = await user.create("ethereum")
        payload = m.EvmMessagePayload(message=b"hello", validator=None)
        _, request = user.ecdsa_request(wallet.wallet_id, payload, bytes(32))
        changed = msgspec.structs.replace(request, party=party)
        assert await refused(user.door.call(changed)) == "party_refused"

    run(scenario)


# --- who may ---------------------------------------------------------------------------------------------------------------


def test_attack_a_thief_of_an_unlocked_device_makes_itself_the_only_one_with_a_share():
    """Where the user has a passkey: whoever renews the shares has the only ones that count, so it must vouch for every renewal."""

    async def scenario():
        _, user, wallet = await with_wallet()
        await user.add_passkey()
        for purpose, parties in (("refresh", 2), ("reshare", 3), ("reshare", 2), ("recover", 2)):
            asked = handover(user, wallet.wallet_id, purpose, parties=parties).begin_request()
            assert await refused(user.door.call(asked)) == "factor_required"
        await handover(user, wallet.wallet_id).run()
        await reshare(user, wallet.wallet_id, 3)
        again = handover(user, wallet.wallet_id).begin_request()  # of two shares for one device
        assert await refused(user.door.call(again)) == "factor_required"

    run(scenario)


def test_a_wallet_that_was_handed_over_is_not_refreshed_by_who_had_it():
    async def scenario():
        host, user, _ = await with_wallet()
        robot = await service_account(user)
        wallet = await robot.create()
        done = handover(robot, wallet.wallet_id)
        await done.begin(authorize=lambda request: robot.authorize(request, by="key"))
        over = a.HandOver(wallet_id=wallet.wallet_id, user_id=user.user_id)
        await robot.door.call(over, authorization=robot.authorize(over, by="key"))
        assert await refused(done.store()) == "not_owner"
        assert (
            host.storage.records[f"environments/sandbox/wallets/{wallet.wallet_id}/{wallet.wallet_id}"][0]
            == 1
        )

    run(scenario)


async def with_operations(*operations: str, **restrictions: bool) -> tuple[User, m.WalletInfo]:
    """A user with a passkey, where rules allow these operations beside creating."""
    rule = dict(EVERYTHING[1], operations=["create", "credential", *operations])
    if restrictions:
        rule["operationRestrictions"] = restrictions
    ruled = environment(policy=layer(EVERYTHING[0], rule))
    host = Host(manifest=Manifest(version=1, environments=[ruled], kms=MANIFEST.kms))
    await host.start_enclave()
    user = await User.log_in(host)
    await user.add_passkey()
    return user, await user.create()


@pytest.mark.parametrize("operation", ["refresh", "reshare"])
def test_rules_judge_each_handover_by_its_own_name(operation):
    async def scenario():
        user, wallet = await with_operations(operation, "export")
        for purpose, parties in (("refresh", 2), ("reshare", 3), ("recover", 2)):
            asked = handover(user, wallet.wallet_id, purpose, parties=parties)
            if (purpose == "refresh") == (operation == "refresh"):
                await asked.begin()
            else:
                assert await refused(asked.begin()) == "policy_denied"

    run(scenario)


@pytest.mark.parametrize(
    ("operations", "restrictions"),
    [(["refresh", "reshare"], {}), (["refresh", "reshare", "export"], {"blockExport": True})],
    ids=["exports are not allowed", "exports are blocked"],
)
def test_attack_a_device_that_receives_two_shares_where_it_must_not_export(operations, restrictions):
    """Two shares are the key. What gives them to one device is an export, whatever it is called."""

    async def scenario():
        user, wallet = await with_operations(*operations, **restrictions)
        for purpose in ("reshare", "recover"):
            asked = handover(user, wallet.wallet_id, purpose, parties=3)
            assert await refused(asked.begin()) == "policy_denied"
        await handover(user, wallet.wallet_id).run()  # one share for one device
        await handover(user, wallet.wallet_id, "recover", parties=2).run()

    run(scenario)


def test_attack_a_device_that_receives_two_shares_without_any_credential():
    async def scenario():
        host, user, wallet = await with_wallet()
        spy = watch(host)
        for purpose in ("reshare", "recover"):
            asked = handover(user, wallet.wallet_id, purpose, parties=3)
            assert await refused(asked.begin()) == "factor_required"
        assert spy.released == 0

    run(scenario)


def test_a_handover_stands_in_the_log_with_purpose_parties_and_epoch():
    async def scenario():
        host, user, wallet = await with_wallet()
        done = await reshare(user, wallet.wallet_id, 3)
        await user.door.call(life.AbortReshare(wallet_id=wallet.wallet_id, epoch=3))
        told = {
            entry.action.operation: (entry.epoch, json.loads(entry.summary))
            for entry in decisions(host)
            if entry.action.operation.startswith("reshare_")
        }
        assert told == {
            "reshare_begin": (
                1,
                {"purpose": "reshare", "epoch": 1, "dealer": 1, "threshold": 2, "parties": 3},
            ),
            "reshare_commit": (1, {"epoch": 2}),
            "reshare_abort": (2, {"epoch": 3}),
        }
        assert done.stored.wallet.epoch == 2

    run(scenario)
