"""Import, export, deletion and listing at the enclave's own door."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cosigner.cli import entries as cli_entries
from enclave import statuses
from enclave.manifest import LifecycleRules, Manifest
from protocol import accounts as a
from protocol import lifecycle as life
from protocol import messages as m
from protocol import wallets as w
from protocol.binding import import_context
from protocol.chains import CHAINS
from protocol.envelope import cbor
from tests.attacks.test_rules import decisions, entries
from tests.support.door import Refused, User, service_account
from tests.support.lives import back_up, handover, reshare, signs
from tests.support.manifests import EVERYTHING, environment, layer
from tests.support.spies import watch
from tests.support.world import ENVIRONMENT, MANIFEST, Host, run
from threshold import SealingKey
from threshold.device import SecretKey

SEED = bytes(range(32))


async def logged_in(manifest: Manifest = MANIFEST) -> tuple[Host, User]:
    host = Host(manifest=manifest)
    await host.start_enclave()
    return host, await User.log_in(host)


async def refused(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.code


async def read(user: User, wallet_id: str) -> m.WalletReply:
    return await user.door.call(m.GetWallet(wallet_id=wallet_id), m.WalletReply)


# --- import ------------------------------------------------------------------------------------------------------------------


def secret(chain: str) -> SecretKey:
    return (
        SecretKey.from_ed25519_seed(SEED)
        if chain == "solana"
        else SecretKey.from_bytes(CHAINS[chain].suite, SEED)
    )


def dealt(user: User, key: SecretKey, *, chain: str = "solana", parties: int = 2, **changes: Any):
    """A request to import a key, and the state whose shares are the client's."""
    facts = {
        "wallet_id": str(uuid.uuid4()),
        "suite": CHAINS[chain].suite,
        "chain": chain,
        "network": CHAINS[chain].networks[0],
    }
    context = import_context(transcript=user.door.transcript, environment=ENVIRONMENT, **facts)
    others = [party for party in range(1, parties + 1) if party != 2]
    state, confirmations, message1, messages2 = key.deal(2, parties, others, context)
    members = {
        "threshold": 2,
        "parties": parties,
        "legacy_wallet_id": "",
        "message1": message1,
        "message2": messages2[2],
        "confirmations": [confirmations[party] for party in others],
    }
    return state, life.ImportWallet(**(facts | members | changes))


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("chain", sorted(CHAINS))
def test_an_imported_key_is_a_wallet_with_the_same_public_key(chain, parties):
    async def scenario():
        _, user = await logged_in()
        key = secret(chain)
        state, request = dealt(user, key, chain=chain, parties=parties, legacy_wallet_id="tee-17")
        reply = await user.door.call(request, m.WalletReply)
        assert reply.wallet.public_key == key.public_key
        assert (reply.wallet.epoch, reply.wallet.parties) == (1, parties)
        assert (reply.status.imported, reply.status.legacy_wallet_id) == (True, "tee-17")
        shares = state.confirm({2: reply.confirmation})
        assert sorted(shares) == [party for party in (1, 3) if party <= parties]
        if chain == "solana":
            owner = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
            assert reply.wallet.public_key == owner
            user.shares[reply.wallet.wallet_id] = shares[1]
            user.wallets[reply.wallet.wallet_id] = reply.wallet
            await signs(user, reply.wallet)
            await user.add_passkey()
            await handover(user, reply.wallet.wallet_id).run()
            await signs(user, user.wallets[reply.wallet.wallet_id])

    run(scenario)


def test_an_import_is_to_be_refreshed_at_once_and_says_where_it_came_from_for_ever():
    async def scenario():
        _, user = await logged_in()
        state, request = dealt(user, secret("solana"), legacy_wallet_id="tee-17")
        reply = await user.door.call(request, m.WalletReply)
        assert reply.status.refresh_due == reply.status.epoch_since
        user.shares[reply.wallet.wallet_id] = state.confirm({2: reply.confirmation})[1]
        user.wallets[reply.wallet.wallet_id] = reply.wallet
        after = await handover(user, reply.wallet.wallet_id).run()
        assert after.status.refresh_due is None
        assert (after.status.imported, after.status.legacy_wallet_id) == (True, "tee-17")

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"confirmations": [bytes(32)]}, "confirmation_mismatch"),
        ({"confirmations": [bytes(32)] * 2}, "parties_wrong_count"),
        ({"message2": bytes(71)}, "wrong_kind"),
        ({"network": "testnet"}, "network_unsupported"),
        ({"chain": "bitcoin", "network": "mainnet"}, "chain_unsupported"),
        ({"threshold": 1}, "party_set_unsupported"),
        ({"parties": 6}, "party_set_unsupported"),
        ({"wallet_id": "0f8fad5b-d9cb-469f-a165-70867728950e"}, "wrong_context"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_attack_an_import_whose_parts_do_not_fit(changes, code):
    async def scenario():
        host, user = await logged_in()
        _, request = dealt(user, secret("solana"))
        assert await refused(user.door.call(msgspec.structs.replace(request, **changes))) == code
        assert not [key for key in host.storage.records if "/wallets/" in key or "/owners/" in key]

    run(scenario)


def test_attack_an_import_of_a_key_whose_shares_do_not_match():
    """The dealing of one key with the share of another; and each part of it with a bit flipped."""

    async def scenario():
        host, user = await logged_in()
        _, request = dealt(user, secret("solana"))
        wallet_id = {"wallet_id": request.wallet_id}
        context = import_context(
            transcript=user.door.transcript,
            environment=ENVIRONMENT,
            suite=request.suite,
            chain=request.chain,
            network=request.network,
            **wallet_id,
        )
        other = SecretKey.from_ed25519_seed(bytes(32)[:-1] + b"\x01")
        _, confirmations, message1, messages2 = other.deal(2, 2, [1], context)
        for parts in (
            {"message2": messages2[2]},
            {"message1": message1},
            {"confirmations": [confirmations[1]]},
            {"message1": message1, "message2": messages2[2]},
        ):
            await refused(user.door.call(msgspec.structs.replace(request, **parts)))
        for name in ("message1", "message2"):
            whole = getattr(request, name)
            for place in range(0, len(whole), 9):
                bad = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
                await refused(user.door.call(msgspec.structs.replace(request, **{name: bad})))
        assert not [key for key in host.storage.records if "/wallets/" in key or "/owners/" in key]
        await user.door.call(request, m.WalletReply)
        assert await refused(user.door.call(request)) == "wallet_exists"

    run(scenario)


def test_attack_an_import_in_the_place_of_somebodys_wallet():
    async def scenario():
        host, user = await logged_in()
        wallet = await user.create()
        thief = await User.log_in(host)
        facts = {"suite": wallet.suite, "chain": wallet.chain, "network": wallet.network}
        for who in (thief, user):
            context = import_context(
                transcript=who.door.transcript, environment=ENVIRONMENT, wallet_id=wallet.wallet_id, **facts
            )
            _, confirmations, message1, messages2 = secret("solana").deal(2, 2, [1], context)
            request = life.ImportWallet(
                wallet_id=wallet.wallet_id,
                **facts,
                threshold=2,
                parties=2,
                legacy_wallet_id="",
                message1=message1,
                message2=messages2[2],
                confirmations=[confirmations[1]],
            )
            assert await refused(who.door.call(request)) == "wallet_exists"
        await signs(user, wallet)

    run(scenario)


def test_a_user_who_has_a_passkey_imports_with_it_alone():
    async def scenario():
        _, user = await logged_in()
        await user.add_passkey()
        _, request = dealt(user, secret("solana"))
        assert await refused(user.door.call(request)) == "factor_required"
        await user.door.call(request, m.WalletReply, authorization=user.authorize(request))

    run(scenario)


# --- export ------------------------------------------------------------------------------------------------------------------


def exporting(wallet: m.WalletInfo, **changes: Any) -> life.ExportShare:
    members = {"wallet_id": wallet.wallet_id, "epoch": wallet.epoch, "wrapping_key": os.urandom(32)}
    return life.ExportShare(**(members | changes))


def test_an_exported_share_and_the_devices_make_the_key_and_the_wallet_stays():
    async def scenario():
        _, user = await logged_in()
        await user.add_passkey()
        wallet = await user.create()
        await reshare(user, wallet.wallet_id, 3)
        wallet = user.wallets[wallet.wallet_id]
        request = exporting(wallet)
        reply = await user.door.call(request, life.ExportedShare, authorization=user.authorize(request))
        assert reply.wallet == wallet
        key = SealingKey.from_data_key(request.wrapping_key)
        share = key.open_share(reply.sealed, cbor.encode(reply.wallet))
        assert (share.identifier, share.epoch) == (2, 2)
        whole = SecretKey.combine([user.shares[wallet.wallet_id], share])
        assert whole.public_key == wallet.public_key
        await signs(user, wallet)

    run(scenario)


@pytest.mark.parametrize("has_passkey", [True, False])
def test_attack_an_export_by_the_session_key_alone(has_passkey):
    """With a passkey it must vouch; without any credential there is nothing that could."""

    async def scenario():
        host, user = await logged_in()
        if has_passkey:
            await user.add_passkey()
        wallet = await user.create()
        spy = watch(host)
        assert await refused(user.door.call(exporting(wallet))) == "factor_required"
        assert spy.released == 0

    run(scenario)


def test_attack_an_export_by_the_passkeys_word_for_something_else():
    """For another export, another wallet, an older session, or for a signature."""

    async def scenario():
        host, user = await logged_in()
        await user.add_passkey()
        wallet, other = await user.create(), await user.create()
        request = exporting(wallet)
        given = [
            user.authorize(exporting(wallet)),
            user.authorize(exporting(other)),
            user.authorize(life.DeleteWallet(wallet_id=wallet.wallet_id)),
        ]
        here = user.authorize(request)
        spy = watch(host)
        for authorization in given:
            assert await refused(user.door.call(request, authorization=authorization)) == "evidence_invalid"
        await user.reopen()
        assert await refused(user.door.call(request, authorization=here)) == "evidence_invalid"
        fresh = user.authorize(request)
        await user.door.call(request, authorization=fresh)
        assert await refused(user.door.call(request, authorization=fresh)) == "action_replayed"
        assert spy.released == 1

    run(scenario)


def test_attack_an_export_that_rules_block():
    async def scenario():
        blocking = {
            "name": "no exports",
            "ruleType": "allow",
            "operations": ["create", "export", "credential"],
            "operationRestrictions": {"blockExport": True},
        }
        blocked = environment(policy=layer(*EVERYTHING, blocking))
        host, user = await logged_in(Manifest(version=1, environments=[blocked], kms=MANIFEST.kms))
        await user.add_passkey()
        wallet = await user.create()
        spy = watch(host)
        request = exporting(wallet)
        authorization = user.authorize(request)
        assert await refused(user.door.call(request, authorization=authorization)) == "policy_denied"
        assert spy.released == 0

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "code"), [({"epoch": 2}, "epoch_stale"), ({"wrapping_key": bytes(32)}, "invalid_parameter")]
)
def test_attack_an_export_of_another_epoch_or_under_no_key(changes, code):
    async def scenario():
        host, user = await logged_in()
        await user.add_passkey()
        wallet = await user.create()
        spy = watch(host)
        request = exporting(wallet, **changes)
        authorization = user.authorize(request)
        assert await refused(user.door.call(request, authorization=authorization)) == code
        assert spy.released == 0

    run(scenario)


def test_attack_an_export_by_somebody_else():
    async def scenario():
        host, user = await logged_in()
        wallet = await user.create()
        thief = await User.log_in(host)
        await thief.add_passkey()
        request = exporting(wallet)
        assert await refused(thief.door.call(request, authorization=thief.authorize(request))) == "not_owner"

    run(scenario)


def test_import_export_and_deletion_stand_in_the_log():
    async def scenario():
        host, user = await logged_in()
        await user.add_passkey()
        _, begin = dealt(user, secret("solana"), legacy_wallet_id="tee-17")
        reply = await user.door.call(begin, m.WalletReply, authorization=user.authorize(begin))
        for request in (exporting(reply.wallet), life.DeleteWallet(wallet_id=reply.wallet.wallet_id)):
            await user.door.call(request, authorization=user.authorize(request))
        told = {entry.action.operation: entry for entry in decisions(host)}
        summary = json.loads(told["wallet_import"].summary)
        assert (summary["legacy_wallet_id"], summary["wallet_id"]) == ("tee-17", reply.wallet.wallet_id)
        for operation in ("wallet_export", "wallet_delete"):
            entry = told[operation]
            assert (entry.epoch, entry.action.subject, entry.allowed) == (1, reply.wallet.wallet_id, True)
            assert entry.evidence[0].kind == "passkey"
        assert begin.message2 not in b"".join(value for _, _, value in host.storage.history)
        shown = [line.strip() for entry in entries(host) for line in cli_entries.lines(entry)]
        assert any("allowed  wallet_import" in line for line in shown)
        assert any("legacy_wallet_id tee-17" in line for line in shown)
        assert any(f"allowed  wallet_export {reply.wallet.wallet_id}" in line for line in shown)

    run(scenario)


def test_a_handover_reads_well_in_the_log():
    """As ``cosigner audit log show`` has it."""

    async def scenario():
        host, user = await logged_in()
        await reshare(user, (await user.create()).wallet_id, 3)
        shown = [line.strip() for entry in entries(host) for line in cli_entries.lines(entry)]
        assert "dealer 1, epoch 1, parties 3, purpose reshare, threshold 2" in shown
        assert any("allowed  reshare_commit" in line for line in shown)

    run(scenario)


# --- deletion ----------------------------------------------------------------------------------------------------------------


def test_a_deleted_wallet_is_a_tombstone():
    async def scenario():
        host, user = await logged_in()
        wallet = await user.create()
        await back_up(user, wallet.wallet_id)
        gone = life.DeleteWallet(wallet_id=wallet.wallet_id)
        reply = await user.door.call(gone, m.WalletReply)
        assert (reply.wallet, reply.confirmation) == (wallet, bytes(32))
        assert (reply.status.state, reply.status.backups) == ("retired", [])
        assert (reply.status.refresh_due, reply.status.pending) == (None, None)
        for _ in range(2):
            assert await user.door.call(gone, m.WalletReply) == reply  # asked again: the same
            assert await read(user, wallet.wallet_id) == reply
            await host.start_enclave()
            await user.reopen()

    run(scenario)


def test_a_deleted_wallet_does_nothing_any_more():
    async def scenario():
        host, user = await logged_in()
        await user.add_passkey()
        wallet = await user.create()
        key = await back_up(user, wallet.wallet_id)
        waiting = handover(user, wallet.wallet_id)
        await waiting.begin()
        await waiting.store()
        commit = waiting.commit_request()
        _, sign = user.sign_request(wallet.wallet_id, m.SolanaPayload(message=b"message"))
        gone = life.DeleteWallet(wallet_id=wallet.wallet_id)
        await user.door.call(gone, authorization=user.authorize(gone))
        spy = watch(host)
        wallet_id, backup_id = wallet.wallet_id, key.backup_id
        for request in (
            sign,
            commit,
            exporting(wallet),
            handover(user, wallet_id).begin_request(),
            handover(user, wallet_id, "recover").begin_request(),
            waiting.finish,
            life.AbortReshare(wallet_id=wallet_id, epoch=2),
            life.BeginBackup(wallet_id=wallet_id, epoch=1, party=1, passcode=None, passcode_proof=None),
            life.OpenBackup(wallet_id=wallet_id, backup_id=backup_id, passcode_proof=None),
            life.ConfirmBackup(wallet_id=wallet_id, backup_id=backup_id, locations=["file"], proof=bytes(64)),
            life.RemoveBackup(wallet_id=wallet_id, backup_id=backup_id),
            a.HandOver(wallet_id=wallet_id, user_id=user.user_id),
        ):
            evidence = None if isinstance(request, life.FinishReshare) else user.authorize(request)
            assert await refused(user.door.call(request, authorization=evidence)) == "wallet_retired", request
        assert (spy.released, spy.created, spy.changed) == (0, [], [])
        with pytest.raises(Refused) as caught:  # nor is its id used again
            await user.create(wallet_id=wallet_id)
        assert caught.value.code == "wallet_exists"

    run(scenario)


@pytest.mark.parametrize("who", ["somebody else", "a thief of the session"])
def test_attack_a_deletion_by_who_must_not(who):
    async def scenario():
        host, user = await logged_in()
        await user.add_passkey()
        wallet = await user.create()
        asker = await User.log_in(host) if who == "somebody else" else user
        expected = "not_owner" if who == "somebody else" else "factor_required"
        gone = life.DeleteWallet(wallet_id=wallet.wallet_id)
        assert await refused(asker.door.call(gone)) == expected
        await signs(user, wallet)

    run(scenario)


# --- listing -----------------------------------------------------------------------------------------------------------------


async def listed(user: User) -> list[w.WalletEntry]:
    return (await user.door.call(life.ListWallets(), life.WalletList)).wallets


def test_a_user_sees_their_own_wallets_oldest_first_and_retired_ones_too():
    async def scenario():
        host, user = await logged_in()
        other = await User.log_in(host)
        assert await listed(user) == []
        mine = [await user.create(chain) for chain in ("solana", "bitcoin", "ethereum")]
        await other.create()
        await handover(user, mine[0].wallet_id).run()
        await user.door.call(life.DeleteWallet(wallet_id=mine[1].wallet_id))
        entries = await listed(user)
        assert [entry.wallet.wallet_id for entry in entries] == [wallet.wallet_id for wallet in mine]
        assert [entry.wallet.epoch for entry in entries] == [2, 1, 1]
        assert [entry.status.state for entry in entries] == ["active", "retired", "active"]
        for entry in entries:
            reply = await read(user, entry.wallet.wallet_id)
            assert (entry.wallet, entry.status, entry.confirmation) == (
                reply.wallet,
                reply.status,
                reply.confirmation,
            )

    run(scenario)


def test_a_wallet_that_was_handed_over_changes_lists():
    async def scenario():
        _, user = await logged_in()
        desk = await service_account(user)
        wallet, kept = await desk.create(), await desk.create()
        over = a.HandOver(wallet_id=wallet.wallet_id, user_id=user.user_id)
        await desk.door.call(over, authorization=desk.authorize(over, by="key"))
        (moved,), (left,) = await listed(user), await listed(desk)
        assert (moved.wallet, moved.status.custody) == (wallet, "delegated")
        assert (left.wallet, left.status.custody) == (kept, "custodial")

    run(scenario)


def test_a_listing_of_many_wallets_with_many_backups_fits_a_record():
    async def scenario():
        _, user = await logged_in()
        wallet = await user.create()
        keys = [await back_up(user, wallet.wallet_id) for _ in range(w.MAX_BACKUPS)]
        (entry,) = await listed(user)
        newest = [key.backup_id for key in keys[-statuses.LISTED_BACKUPS :]]
        assert [info.backup_id for info in entry.status.backups] == newest
        assert len((await read(user, wallet.wallet_id)).status.backups) == w.MAX_BACKUPS
        widest = msgspec.structs.replace(
            entry,
            status=msgspec.structs.replace(
                entry.status,
                legacy_wallet_id="x" * 128,
                pending=(1 << 32) - 1,
                refresh_due=1 << 53,
                backups=[
                    w.BackupInfo(
                        backup_id=info.backup_id,
                        epoch=(1 << 32) - 1,
                        party=255,
                        passcode=w.PasscodeSetup(
                            salt=bytes(16), memory_kib=1 << 20, iterations=16, parallelism=16
                        ),
                        created_at=1 << 53,
                        proved_at=1 << 53,
                        locations=["x" * 32] * 8,
                    )
                    for info in entry.status.backups
                ],
            ),
        )
        answer = cbor.encode(m.Answer(life.WalletList([widest] * w.MAX_WALLETS)))
        assert len(answer) < (1 << 20) - 8192

    run(scenario)


def test_there_is_room_for_so_many_wallets_and_what_is_none_makes_room(monkeypatch):
    monkeypatch.setattr("enclave.accounts.holdings.MAX_WALLETS", 3)

    async def scenario():
        host, user = await logged_in()
        mine = [await user.create() for _ in range(3)]
        with pytest.raises(Refused) as caught:
            await user.create()
        assert caught.value.code == "too_many_wallets"
        assert len(await listed(user)) == 3
        await user.door.call(life.DeleteWallet(wallet_id=mine[1].wallet_id))
        mine.append(await user.create())
        assert [entry.wallet for entry in await listed(user)] == [mine[0], mine[2], mine[3]]
        assert (await read(user, mine[1].wallet_id)).status.state == "retired"  # it is still there

        def fail(key: str) -> None:
            if "/wallets/" in key:
                raise ConnectionError

        await user.door.call(life.DeleteWallet(wallet_id=mine[0].wallet_id))
        host.storage.before_put = fail  # a key generation that never ends leaves an id behind
        with pytest.raises(Refused):
            await user.create()
        host.storage.before_put = lambda key: None
        with pytest.raises(Refused) as caught:  # which may be of a ceremony that is still under way
            await user.create()
        assert caught.value.code == "too_many_wallets"
        monkeypatch.setattr(statuses, "_NOT_YET_MS", 0)
        await user.create()
        assert len(await listed(user)) == 3

    run(scenario)


def test_a_wallet_from_before_listings_is_listed_once_it_was_read():
    async def scenario():
        host, user = await logged_in()
        wallet = await user.create()
        host.storage.records.pop(f"environments/sandbox/holdings/{user.user_id}")
        await host.start_enclave()
        await user.reopen()
        assert await listed(user) == []
        await read(user, wallet.wallet_id)
        assert [entry.wallet for entry in await listed(user)] == [wallet]

    run(scenario)


# --- age ---------------------------------------------------------------------------------------------------------------------


def test_a_refresh_is_due_when_the_environment_says_so():
    async def scenario():
        aging = environment(lifecycle=LifecycleRules(max_epoch_age_s=3600, backup="optional"))
        _, user = await logged_in(Manifest(version=1, environments=[aging], kms=MANIFEST.kms))
        wallet = await user.create()
        first = (await read(user, wallet.wallet_id)).status
        assert first.refresh_due == first.epoch_since + 3_600_000
        after = (await handover(user, wallet.wallet_id).run()).status
        assert after.epoch_since >= first.epoch_since
        assert after.refresh_due == after.epoch_since + 3_600_000

    run(scenario)
