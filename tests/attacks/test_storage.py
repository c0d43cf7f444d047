"""What a host can do with its storage: withhold records. It cannot swap, alter or roll them back unnoticed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cosigner import EnclaveRefused
from enclave.vault import StoredShareSet
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from protocol.envelope.messages import Found
from tests.support.world import OTHER_ENVIRONMENT, Host, client, run, solana_message
from threshold import SealingKey, ThresholdError


def key_of(wallet, environment="sandbox"):
    return f"environments/{environment}/wallets/{wallet.wallet_id}/{wallet.wallet_id}"


async def two_wallets(tmp_path, chains=("solana", "solana")):
    host = Host()
    await host.start_enclave()
    user = client(host, tmp_path)
    return host, user, [await user.create_wallet(chain) for chain in chains]


def vault_of(host: Host):
    return host.enclave.environments.in_service("sandbox")._rooms.vault


async def refusal(user, wallet):
    with pytest.raises(EnclaveRefused) as refused:
        await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))
    return refused.value


def decoded(value: bytes) -> StoredShareSet:
    return cbor.decode(value, StoredShareSet, culprit=Culprit.STORAGE)


async def read_again(host, user, wallet):
    """By the next enclave, which has seen no record of this wallet."""
    await host.start_enclave()
    with pytest.raises(EnclaveRefused) as refused:
        await user.enclave_wallet(wallet.wallet_id)
    return refused.value


def test_swapped_records_of_two_wallets_are_refused(tmp_path):
    async def scenario():
        host, user, (first, second) = await two_wallets(tmp_path)
        records = host.storage.records
        records[key_of(first)], records[key_of(second)] = records[key_of(second)], records[key_of(first)]
        for wallet in (first, second):
            error = await refusal(user, wallet)
            assert (error.code, error.culprit) == ("sealed_record_rejected", Culprit.STORAGE)

    run(scenario)


def test_a_share_sealed_for_another_wallet_under_this_wallets_header_is_refused(tmp_path):
    async def scenario():
        host, user, (first, second) = await two_wallets(tmp_path)
        mine, other = (decoded(host.storage.records[key_of(wallet)][1]) for wallet in (first, second))
        forged = replace(mine, active=other.active)
        host.storage.records[key_of(first)] = (1, cbor.encode(forged))
        assert (await refusal(user, first)).code == "sealed_record_rejected"

    run(scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"environment": OTHER_ENVIRONMENT},
        {"party": 1},
        {"key_arn": "arn:aws:kms:us-east-1:111122223333:key/other"},
        {"creator": "11111111-1111-4111-8111-111111111111"},
        {"revision": 2},
        {"imported": True},
        {"legacy_wallet_id": "another"},
        {"retired_at": 1},
        {"share_set_id": "00000000-0000-4000-8000-000000000000"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_record_whose_header_was_edited_is_refused(tmp_path, change):
    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path)
        stored = decoded(host.storage.records[key_of(wallet)][1])
        forged = replace(stored, header=replace(stored.header, **change))
        host.storage.records[key_of(wallet)] = (1, cbor.encode(forged))
        assert (await read_again(host, user, wallet)).code == "sealed_record_rejected"

    run(scenario)


def test_an_active_share_under_a_header_that_has_it_wait_is_refused(tmp_path):
    """Neither in its own place nor in that of what waits: the place is sealed, too."""

    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path)
        stored = decoded(host.storage.records[key_of(wallet)][1])
        header = replace(stored.header, active=None, pending=stored.header.active)
        for shares in ({}, {"active": None, "pending": stored.active}):
            forged = replace(stored, header=header, **shares)
            host.storage.records[key_of(wallet)] = (1, cbor.encode(forged))
            assert (await read_again(host, user, wallet)).code == "sealed_record_rejected"

    run(scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2},
        {"chain": "bitcoin"},
        {"network": "testnet"},
        {"suite": "frost-secp256k1-tr"},
        {"public_key": bytes(32)},
        {"threshold": 1},
        {"parties": 3},
        {"share_set_id": "00000000-0000-4000-8000-000000000000"},
        {"confirmation": bytes(32)},
        {"made_at": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_record_whose_wallet_facts_were_edited_is_refused(tmp_path, change):
    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path)
        stored = decoded(host.storage.records[key_of(wallet)][1])
        facts = stored.header.active
        if change.keys() <= {"confirmation", "made_at"}:
            forged_facts = replace(facts, **change)
        else:
            forged_facts = replace(facts, wallet=replace(facts.wallet, **change))
        forged = replace(stored, header=replace(stored.header, active=forged_facts))
        host.storage.records[key_of(wallet)] = (1, cbor.encode(forged))
        assert (await read_again(host, user, wallet)).code == "sealed_record_rejected"

    run(scenario)


def test_a_record_of_which_any_byte_was_altered_is_refused(tmp_path):
    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path)
        epoch, value = host.storage.records[key_of(wallet)]
        await host.start_enclave()
        for position in range(0, len(value), 7):
            altered = value[:position] + bytes([value[position] ^ 0x20]) + value[position + 1 :]
            host.storage.records[key_of(wallet)] = (epoch, altered)
            with pytest.raises(EnclaveRefused) as refused:
                await user.enclave_wallet(wallet.wallet_id)
            assert refused.value.code in {"sealed_record_rejected", "message_malformed"}
            assert refused.value.culprit is Culprit.STORAGE
        host.storage.records[key_of(wallet)] = (epoch, value)
        assert await user.enclave_wallet(wallet.wallet_id) == wallet

    run(scenario)


def test_a_record_of_another_environment_is_refused(tmp_path):
    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path / "sandbox")
        live = client(host, tmp_path / "live", environment=OTHER_ENVIRONMENT)
        other = await live.create_wallet("solana")
        host.storage.records[key_of(wallet)] = host.storage.records[key_of(other, OTHER_ENVIRONMENT)]
        with pytest.raises(EnclaveRefused) as refused:
            await user.enclave_wallet(wallet.wallet_id)
        assert refused.value.code == "sealed_record_rejected"

    run(scenario)


def test_a_record_that_vanished_is_reported_as_rolled_back(tmp_path):
    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path)
        host.storage.lies[key_of(wallet)] = None
        error = await refusal(user, wallet)
        assert (error.code, error.culprit) == ("epoch_stale", Culprit.STORAGE)

    run(scenario)


def test_a_client_that_is_behind_is_told_so(tmp_path):
    async def scenario():
        host, _, (wallet, _) = await two_wallets(tmp_path)
        with pytest.raises(Exception) as refused:
            (await vault_of(host).open(wallet.wallet_id)).require_epoch(0)
        assert refused.value.code == "epoch_superseded"

    run(scenario)


def test_a_data_key_record_of_another_environment_is_refused(tmp_path):
    async def scenario():
        host, _, _ = await two_wallets(tmp_path)
        host.storage.records["environments/sandbox/data-key"] = host.storage.records[
            "environments/live/data-key"
        ]
        with pytest.raises(Exception) as refused:
            await host.start_enclave()
        assert refused.value.code == "wrapped_key_rejected"
        with pytest.raises(CosignerError) as unserved:
            host.enclave.environments.in_service("sandbox")
        assert unserved.value.code == "environment_unavailable"
        host.enclave.environments.in_service("live")  # whose record was left alone

    run(scenario)


def test_a_host_that_hides_the_data_key_gets_an_enclave_that_opens_no_old_wallet(tmp_path):
    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path)
        del host.storage.records["environments/sandbox/data-key"]
        await host.start_enclave()
        with pytest.raises(CosignerError) as refused:  # not even who the user is can be read
            await user.sign_solana(wallet.wallet_id, solana_message(wallet.address))
        assert refused.value.code == "sealed_record_rejected"
        with pytest.raises(CosignerError) as rejected:
            await vault_of(host).open(wallet.wallet_id)
        assert rejected.value.code == "sealed_record_rejected"

    run(scenario)


def test_two_enclaves_at_genesis_end_with_one_data_key(tmp_path):
    async def scenario():
        host = Host()
        first = await host.start_enclave()
        # The second enclave reads storage before the first has written, and loses the race at the put.
        key = "environments/sandbox/data-key"
        record = host.storage.records.pop(key)

        def first_was_here_already(put_key: str) -> None:
            if put_key == key:
                host.storage.records[key] = record

        host.storage.before_put = first_was_here_already
        second = await host.start_enclave()
        host.storage.before_put = lambda put_key: None
        assert host.storage.records[key] == record
        user = client(host, tmp_path)
        wallet = await user.create_wallet("solana")
        rooms = first.environments.in_service("sandbox")._rooms
        assert second is host.enclave
        assert (await rooms.vault.open(wallet.wallet_id)).wallet.public_key == wallet.public_key

    run(scenario)


def test_no_stored_record_opens_under_another_data_key(tmp_path):
    async def scenario():
        host, _, wallets = await two_wallets(tmp_path, ("solana", "bitcoin"))
        chosen_by_the_host = SealingKey.from_data_key(bytearray(range(32)))
        for wallet in wallets:
            stored = decoded(host.storage.records[key_of(wallet)][1])
            with pytest.raises(ThresholdError) as refused:
                chosen_by_the_host.open_share(stored.active, cbor.encode([stored.header, "active"]))
            assert refused.value.code == "record_not_authentic"

    run(scenario)


def test_a_lie_about_the_epoch_beside_the_record_changes_nothing(tmp_path):
    async def scenario():
        host, user, (wallet, _) = await two_wallets(tmp_path)
        _, value = host.storage.records[key_of(wallet)]
        host.storage.lies[key_of(wallet)] = Found(epoch=9, value=value)
        assert (await user.enclave_wallet(wallet.wallet_id)).epoch == 1

    run(scenario)
