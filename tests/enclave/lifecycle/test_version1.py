"""Records of shares that were written before wallets had epochs open, sign, and move on; ``data/shares-v1.json`` holds some."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from enclave.authorization.permits import grant
from enclave.vault import StoredShare, StoredShareSet, Vault
from protocol.binding import commit_context
from protocol.envelope import cbor
from protocol.envelope.errors import CosignerError, Culprit
from tests.support.world import MemoryStorage
from threshold import SealingKey, frost_begin, frost_respond, reshare_start

DATA = json.loads((Path(__file__).parents[1] / "data/shares-v1.json").read_text())
RECORDS = {record["chain"]: record for record in DATA["records"]}


def opening(record) -> tuple[Vault, MemoryStorage, str]:
    storage = MemoryStorage()
    storage.records[record["key"]] = (record["epoch"], bytes.fromhex(record["value"]))
    vault = Vault(
        environment="sandbox",
        key_arn=DATA["key_arn"],
        sealing_key=SealingKey.from_data_key(bytes.fromhex(DATA["data_key"])),
        storage=storage,
    )
    return vault, storage, record["key"].rsplit("/", 1)[1]


def client_share(record):
    key = SealingKey.from_data_key(bytes.fromhex(DATA["data_key"]))
    return key.open_share(bytes.fromhex(record["client_share"]), b"fixture")


def permit(wallet_id: str, uses: int = 1):
    return grant(environment="sandbox", operation="sign", wallet_id=wallet_id, uses=uses)


def test_there_is_a_record_of_each_suite():
    assert sorted(RECORDS) == ["bitcoin", "ethereum", "solana"]


@pytest.mark.parametrize("chain", sorted(RECORDS))
def test_a_record_of_version_1_opens_as_what_it_was(chain):
    record = RECORDS[chain]
    vault, _, wallet_id = opening(record)
    opened = asyncio.run(vault.open(wallet_id))
    assert opened.wallet.public_key.hex() == record["public_key"]
    assert opened.confirmation.hex() == record["confirmation"]
    assert (opened.creator, opened.revision, opened.pending) == (DATA["creator"], 1, None)
    assert (opened.wallet.epoch, opened.header.imported, opened.retired) == (1, False, False)


def test_its_share_signs_with_the_clients():
    record = RECORDS["solana"]
    vault, _, wallet_id = opening(record)
    share = asyncio.run(vault.open(wallet_id)).release(permit(wallet_id))
    nonces, commitments = frost_begin(client_share(record), 1)
    answer = frost_respond(share, [b"message"], {1: commitments})
    nonces.finish(client_share(record), [b"message"], {2: answer})  # verifies


@pytest.mark.parametrize("chain", sorted(RECORDS))
def test_its_next_change_is_written_as_version_2_and_conditionally(chain):
    record = RECORDS[chain]
    vault, storage, wallet_id = opening(record)
    context = bytes(range(32))
    client1, client_message = reshare_start([client_share(record)], [1, 2], [1], 2, 2, context)

    async def scenario():
        opened = await vault.open(wallet_id)
        use = permit(wallet_id, uses=4)
        enclave1, enclave_message = reshare_start([opened.release(use)], [1, 2], [2], 2, 2, context)
        client2, to_enclave = client1.advance({2: enclave_message[2]})
        enclave2, to_client = enclave1.advance({1: client_message[1]})
        client3, theirs = client2.advance({(2, 1): to_client[2, 1]})
        enclave3, ours = enclave2.advance({(1, 2): to_enclave[1, 2]})
        new = client3.confirm({2: ours[2]})[1]
        share = enclave3.confirm({1: theirs[1]})[2]
        wallet = replace(opened.wallet, epoch=2)
        waiting = await vault.keep_pending(use, opened, share, wallet, confirmation=ours[2], made_at=5)
        with pytest.raises(CosignerError) as late:  # at the revision of before
            await vault.retire(use, opened, now_ms=6)
        assert late.value.code == "record_conflict"
        proof_context = commit_context(
            environment="sandbox", wallet_id=wallet_id, share_set_id=wallet_id, epoch=2, confirmation=ours[2]
        )
        waiting.verify_proofs(2, proof_context, [(1, new.prove(proof_context))])
        done = await vault.commit(use, waiting)
        assert (done.wallet.epoch, done.revision, done.current.made_at) == (2, 3, 5)
        assert (await vault.open(wallet_id)).wallet == wallet

    asyncio.run(scenario())
    epoch, value = storage.records[record["key"]]
    assert epoch == 3
    assert cbor.decode(value, StoredShareSet, culprit=Culprit.STORAGE).header.version == 2


@pytest.mark.parametrize(
    "change",
    [{"creator": "11111111-1111-4111-8111-111111111111"}, {"confirmation": bytes(32)}, {"party": 1}],
    ids=lambda change: next(iter(change)),
)
def test_attack_an_edited_record_of_version_1(change):
    record = RECORDS["solana"]
    vault, storage, wallet_id = opening(record)
    stored = cbor.decode(bytes.fromhex(record["value"]), StoredShare, culprit=Culprit.STORAGE)
    forged = replace(stored, header=replace(stored.header, **change))
    storage.records[record["key"]] = (1, cbor.encode(forged))
    with pytest.raises(CosignerError) as refused:
        asyncio.run(vault.open(wallet_id))
    assert refused.value.code == "sealed_record_rejected"


def test_attack_a_sealed_share_of_version_1_in_a_record_of_version_2():
    record = RECORDS["solana"]
    vault, storage, wallet_id = opening(record)
    stored = cbor.decode(bytes.fromhex(record["value"]), StoredShare, culprit=Culprit.STORAGE)
    header = asyncio.run(vault.open(wallet_id)).header
    forged = StoredShareSet(header=header, active=stored.sealed, pending=None, tombstone=None)
    storage.records[record["key"]] = (1, cbor.encode(forged))
    vault, _, _ = opening(record | {"value": cbor.encode(forged).hex()})
    with pytest.raises(CosignerError) as refused:
        asyncio.run(vault.open(wallet_id))
    assert refused.value.code == "sealed_record_rejected"
