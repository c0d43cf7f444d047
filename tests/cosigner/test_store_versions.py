"""Stores that earlier versions wrote open for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cosigner.store import ShareStore
from threshold import KeyShare, SealingKey, frost_begin, frost_respond, verify_signature

DATA = Path(__file__).parent / "data"
FACTS = json.loads((DATA / "store-v1" / "facts.json").read_text())
PASSPHRASE = b"a passphrase of version 1"
ENCLAVE_KEY = b"fixture of the enclave's shares."
USER = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def store(tmp_path: Path) -> ShareStore:
    shutil.copytree(DATA / "store-v1", tmp_path / "store")
    return ShareStore.unlock(tmp_path / "store", PASSPHRASE)


def enclave_share(wallet_id: str) -> KeyShare:
    """What the enclave had beside it, under a key of the fixture's own."""
    record = (DATA / "store-v1" / f"{wallet_id}.enclave").read_bytes()
    return SealingKey.from_data_key(ENCLAVE_KEY).open_share(record, b"fixture")


def test_the_store_of_version_1_lists_what_it_held(store: ShareStore) -> None:
    listed = {entry.info.wallet_id: entry for entry in ShareStore.wallets(store._directory)}
    assert {entry.info.chain for entry in listed.values() if not entry.pending} == {
        "solana",
        "bitcoin",
        "ethereum",
    }
    assert [name for name, entry in listed.items() if entry.pending] == [FACTS["pending"]["wallet_id"]]
    assert not any(entry.renewing for entry in listed.values())


@pytest.mark.parametrize("chain", ["solana", "bitcoin", "ethereum"])
def test_shares_of_version_1_open(store: ShareStore, chain: str) -> None:
    wallet_id, public_key = FACTS[chain]["wallet_id"], bytes.fromhex(FACTS[chain]["public_key"])
    share, stored = store.load(wallet_id)
    assert (stored.info.public_key, share.group_public_key) == (public_key, public_key)
    assert (stored.environment, share.epoch, store.newest(wallet_id)) == ("sandbox", 1, 1)


@pytest.mark.parametrize("chain", ["solana", "bitcoin"])
def test_shares_of_version_1_sign(store: ShareStore, chain: str) -> None:
    share, stored = store.load(FACTS[chain]["wallet_id"])
    nonces, commitments = frost_begin(share, 1)
    message = b"m" * 32
    answer = frost_respond(enclave_share(stored.info.wallet_id), [message], {1: commitments})
    (signature,) = nonces.finish(share, [message], {2: answer})
    verify_signature(share.suite, stored.info.public_key, message, signature)


def test_a_pending_share_of_version_1_becomes_one_that_signs(store: ShareStore) -> None:
    facts = FACTS["pending"]
    store.activate(facts["wallet_id"], {2: bytes.fromhex(facts["confirmation"])})
    share, stored = store.load(facts["wallet_id"])
    assert stored.info.public_key.hex() == facts["public_key"]
    nonces, commitments = frost_begin(share, 1)
    answer = frost_respond(enclave_share(facts["wallet_id"]), [b"message"], {1: commitments})
    (signature,) = nonces.finish(share, [b"message"], {2: answer})
    verify_signature(share.suite, stored.info.public_key, b"message", signature)


def test_a_session_key_of_version_1_opens(store: ShareStore) -> None:
    registered = store.session_key("sandbox", None)
    assert registered is not None
    assert (registered.user_id, registered.expires_at) == (USER, 1_800_000_000_000)


# --- renewals and imports ----------------------------------------------------------------------------------------------------------

RENEWALS = DATA / "store-v1-renewals"
RENEWED = json.loads((RENEWALS / "facts.json").read_text())


@pytest.fixture
def renewals(tmp_path: Path) -> ShareStore:
    shutil.copytree(RENEWALS, tmp_path / "store")
    return ShareStore.unlock(tmp_path / "store", PASSPHRASE)


def signs_with_the_enclaves(store: ShareStore, wallet_id: str) -> None:
    record = (RENEWALS / f"{wallet_id}.enclave").read_bytes()
    theirs = SealingKey.from_data_key(ENCLAVE_KEY).open_share(record, b"fixture")
    share, stored = store.load(wallet_id)
    nonces, commitments = frost_begin(share, 1)
    answer = frost_respond(theirs, [b"message"], {1: commitments})
    (signature,) = nonces.finish(share, [b"message"], {2: answer})
    verify_signature(share.suite, stored.info.public_key, b"message", signature)


@pytest.mark.parametrize(("kind", "parties"), [("next", 3), ("aside", 2)])
def test_what_version_1_had_decided_is_adopted(renewals: ShareStore, kind: str, parties: int) -> None:
    wallet_id = RENEWED[kind]["wallet_id"]
    decided = renewals.decided(wallet_id, kind)
    assert decided is not None
    assert (decided.wallet.epoch, decided.wallet.parties, len(decided.proofs)) == (2, parties, parties - 1)
    assert decided.wallet.public_key.hex() == RENEWED[kind]["public_key"]
    renewals.adopt(wallet_id, kind)
    signs_with_the_enclaves(renewals, wallet_id)


def test_the_newest_epoch_and_the_locators_of_version_1_are_known(renewals: ShareStore) -> None:
    wallet_id = RENEWED["adopted"]["wallet_id"]
    signs_with_the_enclaves(renewals, wallet_id)
    (renewals._directory / f"{wallet_id}.share").unlink()
    assert renewals.newest(wallet_id) == 2  # as its own file says
    assert renewals.locators("sandbox", wallet_id) == {"5a0c1e2f-0000-4000-8000-0000000000b1": "ab" * 32}


def test_a_pending_import_of_version_1_becomes_a_share_that_signs(renewals: ShareStore) -> None:
    facts = RENEWED["imported"]
    renewals.activate(facts["wallet_id"], {2: bytes.fromhex(facts["confirmation"])})
    signs_with_the_enclaves(renewals, facts["wallet_id"])
