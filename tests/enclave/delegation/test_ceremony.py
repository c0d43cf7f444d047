"""A delegation from the user's approval to the delegate's signature, at the enclave's own door."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import typing

import msgspec
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from enclave import realm
from enclave.manifest import LifecycleRules
from protocol import accounts as a
from protocol import delegation as d
from protocol import hybrid
from protocol import messages as m
from protocol.envelope.errors import CosignerError
from protocol.envelope.messages import Done, SignedEntry
from protocol.lifecycle import AbortReshare, DeleteWallet, RemoveBackup
from protocol.receipts import open_entry
from tests.support.delegating import (
    CREATED,
    ENDPOINT,
    SIGNATURE,
    Approval,
    configure,
    data_of,
    delegated,
    developer_key,
    events,
    key,
    payment,
    public_der,
    settings,
    started,
    user_with_wallet,
)
from tests.support.door import User, now_ms, service_account
from tests.support.lives import back_up, handover, reshare
from tests.support.manifests import layer
from tests.support.refusals import refuses
from tests.support.spies import watch
from tests.support.world import Host, run, verify_solana
from threshold import ecdsa_begin
from threshold.payload import evm_address, evm_message_digest, solana_address

DELEGATIONS = "environments/sandbox/delegations/"


async def ready(host: Host | None = None, **changes: typing.Any) -> tuple[Host, User, str]:
    """A user with a wallet, and settings that allow delegated access."""
    host = await started(host, **changes)
    user, wallet_id = await user_with_wallet(host)
    await configure(user)
    return host, user, wallet_id


async def listed(user: User, wallet_id: str) -> list[d.DelegationInfo]:
    return (await user.door.call(d.ListDelegations(wallet_id), d.Delegations)).delegations


async def user_signs(user: User, wallet_id: str) -> None:
    wallet = user.wallets[wallet_id]
    nonces, request = user.sign_request(wallet_id, payment(wallet))
    request = msgspec.structs.replace(request, epoch=wallet.epoch)
    signed = await user.door.call(request, m.Signed)
    (signature,) = nonces.finish(
        user.shares[wallet_id], signed.digests, {2: (signed.commitments, signed.shares)}, None
    )
    verify_solana(payment(wallet).message, signature, solana_address(wallet.public_key))


# --- all of it --------------------------------------------------------------------------------------------------------------


def test_a_delegate_signs_for_solana_and_so_does_the_user_with_a_new_share():
    async def scenario():
        host, user, wallet_id = await ready()
        old = user.wallets[wallet_id]
        delegate = await Approval.of(user, wallet_id).run()
        assert (await delegate.log_in()).user_id == user.user_id
        payload = payment(delegate.wallet)
        verify_solana(payload.message, await delegate.sign(payload), solana_address(old.public_key))
        await user_signs(user, wallet_id)
        assert user.wallets[wallet_id] == msgspec.structs.replace(old, epoch=2)
        assert delegate.wallet == msgspec.structs.replace(
            old, epoch=2, share_set_id=delegate.wallet.share_set_id
        )

    run(scenario)


def test_a_delegate_signs_for_ethereum():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host, "ethereum")
        signature = await delegate.sign_message(b"on a schedule")
        signer = Account.recover_message(encode_defunct(b"on a schedule"), signature=signature)
        assert signer == evm_address(delegate.wallet.public_key)

    run(scenario)


def test_bitcoin_is_not_delegated():
    async def scenario():
        host = await started()
        user, wallet_id = await user_with_wallet(host, "bitcoin")
        await configure(user)
        await refuses("chain_unsupported", Approval.of(user, wallet_id).begin())

    run(scenario)


def test_the_users_old_share_signs_nothing_more():
    async def scenario():
        host, user, wallet_id = await ready()
        old_share, old = user.shares[wallet_id], user.wallets[wallet_id]
        await Approval.of(user, wallet_id).run()
        user.shares[wallet_id] = old_share
        _, request = user.sign_request(wallet_id, payment(old))
        await refuses("epoch_superseded", user.door.call(request))
        nonces, request = user.sign_request(wallet_id, payment(old))
        signed = await user.door.call(msgspec.structs.replace(request, epoch=2), m.Signed)
        with pytest.raises(Exception, match="share"):
            nonces.finish(old_share, signed.digests, {2: (signed.commitments, signed.shares)}, None)

    run(scenario)


def test_what_the_developer_gets_is_what_the_product_sends():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        delegate = await approval.run()
        (event,) = events(host, CREATED)
        assert (event.endpoint, event.environment) == (ENDPOINT, "sandbox")
        data = data_of(event)
        assert (data["chain"], data["walletId"], data["userId"]) == ("SVM", wallet_id, user.user_id)
        assert data["publicKey"] == solana_address(delegate.wallet.public_key)
        assert data["shareSetId"] == approval.terms.share_set_id
        share = developer_key().decrypt(hybrid.parse(data["encryptedDelegatedShare"]))
        assert json.loads(share)["walletId"] == wallet_id
        api_key = developer_key().decrypt(hybrid.parse(data["encryptedWalletApiKey"])).decode()
        assert api_key == delegate.api_key
        assert api_key.startswith("dyn_")
        assert len(api_key) == 47

    run(scenario)


def test_the_enclaves_receipt_comes_along():
    async def scenario():
        host, user, wallet_id = await ready()
        await Approval.of(user, wallet_id).run()
        receipt = data_of(events(host, CREATED)[0])["receipt"]
        entry = open_entry(
            SignedEntry(
                entry=base64.b64decode(receipt["entry"]), signature=base64.b64decode(receipt["signature"])
            )
        )
        assert entry.body.action.operation == "delegation_commit"
        assert entry.body.action.subject == wallet_id

    run(scenario)


def test_the_api_key_stands_nowhere_but_encrypted():
    async def scenario():
        host, user, wallet_id = await ready()
        delegate = await Approval.of(user, wallet_id).run()
        await delegate.log_in()
        key = delegate.api_key.encode()
        everything = [value for _, value in host.storage.records.values()]
        everything += [entry.entry for chain in host.storage.log.values() for entry in chain]
        everything += [event.data for event in host.storage.events.values()]
        assert not any(key in value for value in everything)

    run(scenario)


def test_signatures_are_told_to_the_developer():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host)
        payload = payment(delegate.wallet)
        await delegate.sign(payload)
        await delegate.sign(payload)
        first, second = events(host, SIGNATURE)
        assert first.event_id != second.event_id
        data = data_of(first)
        assert (data["walletId"], data["shareSetId"]) == (
            delegate.wallet.wallet_id,
            delegate.wallet.share_set_id,
        )
        assert (data["chain"], data["digests"]) == ("SVM", [payload.message.hex()])
        assert abs(data["at"] - now_ms()) < 60_000

    run(scenario)


def test_a_signature_that_cannot_be_told_is_not_given():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host)

        def refuse(key: str) -> None:
            if "delegation-signatures" in key:
                raise CosignerError("storage_unavailable", "no", culprit="storage")

        host.storage.before_put = refuse
        await refuses("storage_unavailable", delegate.sign())
        host.storage.before_put = lambda key: None
        await delegate.sign()

    run(scenario)


def test_attack_a_failed_check_ends_the_session_also_where_the_signature_cannot_be_told(monkeypatch):
    """A delegate probes the transfers, and a host that helps it lets the other write fail first."""

    async def scenario():
        host = await started()
        _, delegate = await delegated(host, "ethereum")
        digest = evm_message_digest(b"gm")["digest"]
        _, message1 = ecdsa_begin(delegate.share, delegate.door.ecdsa, digest, [], 2)
        spoilt = message1[:3000] + bytes([message1[3000] ^ 1]) + message1[3001:]
        request = m.SignEcdsa(
            wallet_id=delegate.wallet.wallet_id,
            epoch=delegate.wallet.epoch,
            payload=m.EvmMessagePayload(b"gm", None),
            path=[],
            message1=spoilt,
        )

        refused, real = asyncio.Event(), realm.signing.sign_ecdsa

        def refuse(key: str) -> None:
            if "delegation-signatures" in key:
                refused.set()
                raise CosignerError("storage_unavailable", "no", culprit="storage")

        async def later(*arguments: typing.Any) -> m.EcdsaSigned:
            await refused.wait()
            await asyncio.sleep(0.01)
            return await real(*arguments)

        host.storage.before_put = refuse
        monkeypatch.setattr(realm.signing, "sign_ecdsa", later)
        await refuses("session_unknown", delegate.door.call(request))
        await refuses("session_unknown", delegate.door.call(m.GetWallet(delegate.wallet.wallet_id)))
        assert host.enclave.server._burns.total == 1

    run(scenario)


def test_a_delegate_sees_its_own_share_set_and_nothing_of_the_users():
    async def scenario():
        host = await started()
        _, delegate = await delegated(host)
        reply = await delegate.door.call(m.GetWallet(delegate.wallet.wallet_id), m.WalletReply)
        assert reply.wallet == delegate.wallet
        assert (reply.status.backups, reply.status.backed_up) == ([], False)

    run(scenario)


# --- approval ---------------------------------------------------------------------------------------------------------------


def test_without_the_users_credential_nothing_is_approved():
    async def scenario():
        host, user, wallet_id = await ready()
        spy = watch(host)
        records = dict(host.storage.records)
        await refuses("factor_required", Approval.of(user, wallet_id).begin(authorize=lambda request: None))
        assert not spy.released
        assert host.storage.records == records
        assert not events(host, CREATED)

    run(scenario)


def test_an_approval_of_other_terms_approves_nothing():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        other = msgspec.structs.replace(approval.terms, expires_at=approval.terms.expires_at + 1)

        def authorize(request: d.BeginDelegation) -> typing.Any:
            return user.authorize(msgspec.structs.replace(request, terms=other))

        await refuses("evidence_invalid", approval.begin(authorize=authorize))

    run(scenario)


def test_rules_can_forbid_delegation():
    async def scenario():
        rest = {"name": "rest", "ruleType": "allow", "operations": ["create", "credential"]}
        host = await started(policy=layer(rest))
        user, wallet_id = await user_with_wallet(host)
        await configure(user)
        await refuses("policy_denied", Approval.of(user, wallet_id).begin())

    run(scenario)


BAD_TERMS: dict[str, tuple[str, dict[str, typing.Any]]] = {
    "another app": ("terms_refused", {"app": "Somebody else's"}),
    "over before it begins": ("terms_refused", {"expires_at": 1}),
    "a key of another name": ("developer_key_refused", {"kid": "key-2"}),
    "a key that a host put in its place": (
        "developer_key_refused",
        {"key_hash": hashlib.sha256(public_der(2)).digest()},
    ),
}


@pytest.mark.parametrize("name", BAD_TERMS)
def test_terms_that_the_settings_do_not_know_are_refused(name):
    async def scenario():
        host, user, wallet_id = await ready()
        code, changes = BAD_TERMS[name]
        await refuses(code, Approval.of(user, wallet_id, **changes).begin())

    run(scenario)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("party_set_unsupported", {"parties": 3}),
        ("party_set_unsupported", {"threshold": 3}),
        ("party_refused", {"dealer": 2}),
        ("epoch_stale", {"epoch": 2}),
    ],
)
def test_other_parties_than_the_users_are_another_request(code, changes):
    async def scenario():
        host, user, wallet_id = await ready()
        await refuses(code, Approval.of(user, wallet_id).begin(**changes))

    run(scenario)


def test_denial_is_remembered_until_the_user_approves():
    async def scenario():
        host, user, wallet_id = await ready()

        async def denied() -> bool:
            reply = await user.door.call(d.GetDelegationSettings(), d.DelegationSettingsReply)
            return reply.denied

        await user.door.call(d.DenyDelegation(denied=True), Done)
        await host.start_enclave()
        await user.reopen()
        assert await denied()
        await user.door.call(d.DenyDelegation(denied=False), Done)
        assert not await denied()
        await user.door.call(d.DenyDelegation(denied=True), Done)
        other = await User.log_in(host)
        reply = await other.door.call(d.GetDelegationSettings(), d.DelegationSettingsReply)
        assert not reply.denied
        await Approval.of(user, wallet_id).run()
        assert not await denied()

    run(scenario)


# --- the steps --------------------------------------------------------------------------------------------------------------


def test_nothing_counts_before_the_commit():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await user_signs(user, wallet_id)
        await approval.finish()
        await user_signs(user, wallet_id)
        assert await listed(user, wallet_id) == []
        assert not events(host, CREATED)
        await approval.commit()
        assert [found.terms for found in await listed(user, wallet_id)] == [approval.terms]
        await user_signs(user, wallet_id)

    run(scenario)


def test_a_commit_is_answered_alike_and_done_once():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        request = approval.commit_request()
        first = await approval.commit(request)
        records = dict(host.storage.records)
        assert await approval.commit(request) == first
        await host.start_enclave()
        await user.reopen()
        assert await approval.commit(request) == first
        assert host.storage.records == records
        assert len(events(host, CREATED)) == 1
        delegate = approval.delegate()
        await delegate.log_in()
        await delegate.sign()

    run(scenario)


BAD_COMMITS: dict[str, tuple[str, typing.Callable[[Approval], dict[str, typing.Any]]]] = {
    "without the user's share": ("invalid_proof", lambda _: {"proofs": [bytes(64)]}),
    "without the delegate's share": ("invalid_proof", lambda _: {"delegate_proof": bytes(64)}),
    "with the shares the other way round": (
        "invalid_proof",
        lambda approval: {
            "proofs": [approval.commit_request().delegate_proof],
            "delegate_proof": approval.commit_request().proofs[0],
        },
    ),
    "of the old epoch": ("invalid_proof", lambda _: {"epoch": 1}),
    "of an epoch that is not there yet": ("epoch_stale", lambda _: {"epoch": 3}),
    "of another delegation": (
        "delegation_unknown",
        lambda _: {"share_set_id": "2b1f8c3e-7c7e-4d2a-9d5b-3b6a1f0c9e11"},
    ),
    "with an envelope that is none": (
        "envelope_malformed",
        lambda approval: {
            "encrypted_share": msgspec.structs.replace(
                approval.commit_request().encrypted_share, ct="\N{SNOWMAN}" * 20_000
            )
        },
    ),
    "encrypted to another key": (
        "developer_key_refused",
        lambda _: {"encrypted_share": developer_key(2).public("key-2").encrypt(b"{}")},
    ),
}


@pytest.mark.parametrize("name", BAD_COMMITS)
def test_a_commit_that_is_not_right_commits_nothing(name):
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        code, changes = BAD_COMMITS[name]
        await refuses(code, user.door.call(approval.commit_request(**changes(approval))))
        assert await listed(user, wallet_id) == []
        assert not events(host, CREATED)
        await user_signs(user, wallet_id)
        await approval.commit()

    run(scenario)


def test_another_user_commits_nothing():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        other = await User.log_in(host)
        await refuses("not_owner", other.door.call(approval.commit_request()))

    run(scenario)


@pytest.mark.parametrize("when", ["before finish", "before commit"])
@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("developer_key_refused", settings(key(1, "revoked"), key(2))),
        ("delegation_disabled", settings(key(1), enabled=False)),
    ],
    ids=["key revoked", "disabled"],
)
def test_what_administrators_take_back_in_between_is_not_committed(when, code, wanted):
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        if when == "before finish":
            await configure(user, wanted, version=1)
        await approval.finish()
        if when == "before commit":
            await configure(user, wanted, version=1)
        await refuses(code, user.door.call(approval.commit_request()))
        assert not events(host, CREATED)
        assert await listed(user, wallet_id) == []
        await user_signs(user, wallet_id)

    run(scenario)


def test_an_approval_does_not_outlive_the_credential_that_vouched():
    async def scenario():
        host, user, wallet_id = await ready()
        stolen = user.passkey_id
        await user.add_key()
        for when in ("finish", "commit"):
            approval = Approval.of(user, wallet_id)
            await approval.begin()
            if when == "commit":
                await approval.finish()
            request = a.ChangeCredential(credential_id=stolen, name=None, active=False)
            await user.door.call(request, authorization=user.authorize(request, by="key"))
            step = approval.finish() if when == "finish" else user.door.call(approval.commit_request())
            await refuses("credential_inactive", step)
            request = a.ChangeCredential(credential_id=stolen, name=None, active=True)
            await user.door.call(request, authorization=user.authorize(request, by="key"))
        assert not events(host, CREATED)

    run(scenario)


def test_what_expires_before_it_is_committed_is_not():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id, expires_at=now_ms() + 60_000)
        await approval.begin()
        await approval.finish()
        clock = host.enclave.clock
        now = clock.now_ms
        clock.now_ms = lambda: now() + 61_000
        await refuses("delegation_refused", user.door.call(approval.commit_request()))

    run(scenario)


def test_a_delegation_whose_shares_were_aborted_is_not_committed_with_those_of_the_next():
    async def scenario():
        host, user, wallet_id = await ready()
        one, other = Approval.of(user, wallet_id), Approval.of(user, wallet_id)
        await one.begin()
        await one.finish()
        await refuses("reshare_pending", other.begin())
        await user.door.call(AbortReshare(wallet_id, 2), m.WalletReply)
        await refuses("reshare_unknown", user.door.call(one.commit_request()))
        await other.begin()
        await other.finish()
        assert other.stored.wallet == one.stored.wallet
        mixed = one.commit_request(proofs=other.commit_request().proofs)
        await refuses("delegation_refused", user.door.call(mixed))
        await other.commit()
        assert len(await listed(user, wallet_id)) == 1

    run(scenario)


def test_a_delegation_whose_shares_were_aborted_is_not_committed_with_those_of_a_refresh():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        await approval.finish()
        await user.door.call(AbortReshare(wallet_id, 2), m.WalletReply)
        refresh = handover(user, wallet_id)
        await refresh.begin()
        await refresh.store()
        mixed = approval.commit_request(proofs=refresh.commit_request().proofs)
        await refuses("reshare_unknown", user.door.call(mixed))
        await refresh.commit()
        await refuses("reshare_unknown", user.door.call(mixed))
        assert not events(host, CREATED)
        await user_signs(user, wallet_id)

    run(scenario)


def test_a_ceremony_is_of_no_use_once_the_wallet_has_moved_on():
    async def scenario():
        host, user, wallet_id = await ready()
        approval, first = Approval.of(user, wallet_id), user.door
        await approval.begin()
        await user.reopen()
        await handover(user, wallet_id).run()
        user.door = first
        await refuses("epoch_superseded", approval.finish())
        await user_signs(user, wallet_id)
        assert not any(key.startswith(DELEGATIONS) for key in host.storage.records)

    run(scenario)


def test_a_wallet_that_changed_hands_is_not_delegated_by_whoever_had_it():
    async def scenario():
        host = await started()
        user = await User.log_in(host)
        await configure(user)
        desk = await service_account(user)
        wallet_id = (await desk.create()).wallet_id
        approval = Approval.of(desk, wallet_id)
        await approval.begin(authorize=lambda request: desk.authorize(request, by="key"))
        await approval.finish()
        request = a.HandOver(wallet_id=wallet_id, user_id=user.user_id)
        await desk.door.call(request, Done, authorization=desk.authorize(request, by="key"))
        await refuses("not_owner", desk.door.call(approval.commit_request()))
        await refuses("delegation_unknown", user.door.call(approval.commit_request()))
        assert not events(host, CREATED)

    run(scenario)


def test_where_backups_are_required_a_delegation_waits_for_one():
    async def scenario():
        rules = LifecycleRules(max_epoch_age_s=0, backup="required")
        host, user, wallet_id = await ready(lifecycle=rules)
        approval = Approval.of(user, wallet_id)
        await refuses("backup_required", approval.begin())
        await back_up(user, wallet_id)
        await approval.begin()
        await approval.finish()
        await refuses("backup_required", user.door.call(approval.commit_request()))
        assert not events(host, CREATED)
        backup = await back_up(user, wallet_id, approval.share)
        await approval.commit()
        delegate = approval.delegate()
        await delegate.log_in()
        request = RemoveBackup(wallet_id=wallet_id, backup_id=backup.backup_id)
        await user.door.call(request, authorization=user.authorize(request))
        await refuses("backup_required", user_signs(user, wallet_id))
        await delegate.sign()  # its share set is another, which no backup of the user's is about

    run(scenario)


def test_what_waited_and_was_given_up_is_destroyed():
    async def scenario():
        host, user, wallet_id = await ready()
        one, other = Approval.of(user, wallet_id), Approval.of(user, wallet_id)
        await one.begin()
        await one.finish()
        await user.door.call(AbortReshare(wallet_id, 2), m.WalletReply)
        await other.begin()
        await other.finish()
        vault = host.enclave.environments.in_service("sandbox")._rooms.vault
        assert (await vault.open(wallet_id, one.terms.share_set_id)).retired
        assert not (await vault.open(wallet_id, other.terms.share_set_id)).retired

    run(scenario)


def test_where_the_device_receives_as_many_shares_as_make_the_key_an_approval_needs_what_an_export_needs():
    async def scenario():
        host, user, wallet_id = await ready()
        await reshare(user, wallet_id, 3)
        delegate = await Approval.of(user, wallet_id).run()
        await delegate.log_in()
        await delegate.sign()
        assert (user.wallets[wallet_id].parties, delegate.wallet.parties) == (3, 2)
        rest = {"name": "rest", "ruleType": "allow", "operations": ["delegate", "reshare"]}
        stingy = await started(Host(storage=host.storage, kms=host.kms), policy=layer(rest))
        user.host = stingy
        await user.reopen()
        await refuses("policy_denied", Approval.of(user, wallet_id).begin())
        assert len(events(host, CREATED)) == 1

    run(scenario)


def test_a_share_sets_id_is_used_once():
    async def scenario():
        host, user, wallet_id = await ready()
        delegate = await Approval.of(user, wallet_id).run()
        again = Approval.of(user, wallet_id, share_set_id=delegate.wallet.share_set_id)
        await again.begin()
        await refuses("delegation_exists", again.finish())
        own = Approval.of(user, wallet_id, share_set_id=wallet_id)
        await refuses("delegation_exists", own.begin())
        await user_signs(user, wallet_id)

    run(scenario)


def test_a_ceremony_is_finished_once_and_where_it_began():
    async def scenario():
        host, user, wallet_id = await ready()
        approval = Approval.of(user, wallet_id)
        await approval.begin()
        begun = user.door
        await user.reopen()
        with pytest.raises(CosignerError, match="ceremony"):
            await approval.finish()
        user.door = begun
        await approval.begin()
        await approval.finish()
        request = d.FinishDelegation(
            wallet_id, approval.terms.share_set_id, b"2", [bytes(32)], b"2", bytes(32)
        )
        await refuses("ceremony_unknown", user.door.call(request))

    run(scenario)


def test_a_later_refresh_of_the_users_leaves_the_delegate_as_it_is():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        wallet_id = delegate.wallet.wallet_id
        other = await Approval.of(user, wallet_id).run()  # another delegation reshares the user's set, too
        assert user.wallets[wallet_id].epoch == 3
        await delegate.sign()
        await other.log_in()
        await other.sign()
        assert delegate.wallet.epoch == 2
        await user_signs(user, wallet_id)

    run(scenario)


def test_a_wallet_has_so_many_delegations_and_revoked_ones_make_room(monkeypatch):
    async def scenario():
        monkeypatch.setattr("enclave.delegation.book.MAX_DELEGATIONS", 2)
        monkeypatch.setattr("enclave.delegation.book.MAX_LISTED", 3)
        host, user, wallet_id = await ready()
        made = [await Approval.of(user, wallet_id).run() for _ in range(2)]
        third = Approval.of(user, wallet_id)
        await third.begin()
        await refuses("too_many_delegations", third.finish())
        for _ in range(3):
            gone = made.pop(0)
            await user.door.call(d.RevokeDelegation(wallet_id, gone.wallet.share_set_id), Done)
            made.append(await Approval.of(user, wallet_id).run())
            living = [one for one in await listed(user, wallet_id) if not one.revoked_by]
            assert {one.terms.share_set_id for one in living} == {one.wallet.share_set_id for one in made}
            assert len(await listed(user, wallet_id)) <= 3
        again = Approval.of(user, wallet_id, share_set_id=gone.wallet.share_set_id)
        await user.door.call(d.RevokeDelegation(wallet_id, made[0].wallet.share_set_id), Done)
        await again.begin()
        await refuses("delegation_exists", again.finish())

    run(scenario)


def test_deleting_a_wallet_revokes_its_delegations():
    async def scenario():
        host = await started()
        user, delegate = await delegated(host)
        request = DeleteWallet(delegate.wallet.wallet_id)
        await user.door.call(request, m.WalletReply, authorization=user.authorize(request))
        await refuses("session_unknown", delegate.sign())
        await refuses("delegation_refused", delegate.log_in())
        (event,) = events(host, "wallet.delegation.revoked")
        assert data_of(event)["shareSetId"] == delegate.wallet.share_set_id

    run(scenario)
