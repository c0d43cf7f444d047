"""What version 2 of the vault wrote opens for ever: ``data/shares-v2.json`` holds share sets of every state, a wallet's backups, a user's wallets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from enclave.accounts.holdings import Holdings
from enclave.accounts.user import Lockout
from enclave.authorization.permits import grant
from enclave.backups import book as rules
from enclave.backups import keys
from enclave.backups.book import BackupBook
from enclave.records import Records
from enclave.vault import OpenedWallet, Vault
from protocol.envelope.errors import CosignerError
from tests.support.world import MemoryStorage
from threshold import KeyShare, SealingKey, frost_begin, frost_respond

DATA = json.loads((Path(__file__).parents[1] / "data/shares-v2.json").read_text())
RECORDS = {(record["state"], record["chain"]): record for record in DATA["records"]}
KEY = SealingKey.from_data_key(bytes.fromhex(DATA["data_key"]))
FIRST = DATA["records"][0]["wallet_id"]


def storage() -> MemoryStorage:
    kept = MemoryStorage()
    for record in DATA["records"]:
        kept.records[record["key"]] = (record["epoch"], bytes.fromhex(record["value"]))
    for kind, record in DATA["kept"].items():
        name = f"environments/sandbox/{kind}/{record['key']}"
        kept.records[name] = (record["epoch"], bytes.fromhex(record["value"]))
    return kept


def records() -> Records:
    return Records(environment="sandbox", key_arn=DATA["key_arn"], sealing_key=KEY, storage=storage())


def vault() -> Vault:
    return Vault(environment="sandbox", key_arn=DATA["key_arn"], sealing_key=KEY, storage=storage())


def permit(wallet_id: str) -> Any:
    return grant(environment="sandbox", operation="sign", wallet_id=wallet_id, uses=2)


def client_shares(record: dict[str, Any], epoch: int) -> dict[int, KeyShare]:
    sealed = record["client_shares"][str(epoch)]
    return {int(party): KEY.open_share(bytes.fromhex(share), b"fixture") for party, share in sealed.items()}


def sign(opened: OpenedWallet, share: KeyShare) -> None:
    """Raises unless the two make a signature."""
    nonces, commitments = frost_begin(share, 1)
    answer = frost_respond(
        opened.release(permit(opened.wallet.wallet_id)), [bytes(32)], {share.identifier: commitments}
    )
    nonces.finish(share, [bytes(32)], {2: answer})


@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_an_active_share_set_opens_and_signs(chain: str) -> None:
    record = RECORDS["active", chain]
    opened = asyncio.run(vault().open(record["wallet_id"]))
    assert (opened.wallet.public_key.hex(), opened.confirmation.hex()) == (
        record["public_key"],
        record["confirmation"],
    )
    assert (opened.creator, opened.revision, opened.current.made_at) == (
        DATA["creator"],
        1,
        1_800_000_000_000,
    )
    assert (opened.header.imported, opened.header.legacy_wallet_id) == (
        (True, "tee-42") if chain == "bitcoin" else (False, "")
    )
    if chain != "ethereum":
        sign(opened, client_shares(record, 1)[1])


def test_a_pending_epoch_opens_beside_the_active_one_and_is_committed() -> None:
    record = RECORDS["pending", "solana"]

    async def scenario() -> None:
        kept = vault()
        opened = await kept.open(record["wallet_id"])
        assert opened.pending is not None
        assert (opened.wallet.epoch, opened.pending.wallet.epoch, opened.pending.wallet.parties) == (1, 2, 3)
        sign(opened, client_shares(record, 1)[1])
        done = await kept.commit(permit(record["wallet_id"]), opened)
        for share in client_shares(record, 2).values():
            sign(done, share)

    asyncio.run(scenario())


def test_a_share_set_that_is_all_new_waits() -> None:
    opened = asyncio.run(vault().open(RECORDS["waiting", "solana"]["wallet_id"]))
    with pytest.raises(CosignerError) as caught:
        opened.require_live()
    assert caught.value.code == "reshare_pending"


def test_a_tombstone_stays_one() -> None:
    record = RECORDS["tombstone", "solana"]
    opened = asyncio.run(vault().open(record["wallet_id"]))
    assert (opened.retired, opened.header.retired_at) == (True, 1_800_000_000_002)
    assert opened.wallet.public_key.hex() == record["public_key"]


def test_a_wallets_backups_and_their_keys_are_what_they_were() -> None:
    found = asyncio.run(records().read("backups", FIRST, BackupBook))
    assert found is not None
    proved, begun = found.value.backups
    opened = asyncio.run(vault().open(FIRST))
    assert rules.backed_up(found.value, DATA["creator"], opened.current)
    assert (proved.locations, proved.lockout) == (
        ("service", "s3"),
        Lockout(attempts=1, locks=2, until=1_800_000_000_005),
    )
    assert proved.verifier == rules.verifier_of(bytes(32))
    assert (begun.passcode, begun.proved_at) == (None, None)
    assert keys.key_of(KEY, "sandbox", FIRST, proved).hex() == DATA["backup_key"]
    assert keys.locator_of(KEY, "sandbox", FIRST, proved) == DATA["locator"]


def test_a_users_wallets_are_listed_in_their_order() -> None:
    held = asyncio.run(Holdings(records()).of(DATA["creator"]))
    assert list(held) == [record["wallet_id"] for record in DATA["records"]]
