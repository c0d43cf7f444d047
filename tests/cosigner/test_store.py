"""The share store: opens with its passphrase alone, notices every change, and survives a crash at any step."""

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cosigner.errors import StoreError
from cosigner.store import ShareFile, ShareStore, StoreFile
from cosigner.store import formats as store_formats
from cosigner.store.files import write
from protocol.envelope import cbor
from protocol.envelope.errors import Culprit
from tests.cosigner.ceremonies import Ceremony, ceremony
from tests.cosigner.crashes import crash_at, steps_of
from tests.cosigner.world import open_store
from threshold import SealingKey, ThresholdError, frost_begin, frost_respond, verify_signature

PASSPHRASE = b"correct horse battery staple"


class CheapKdf:
    """Argon2id with next to no memory in place of the stored parameters, so that the suite stays fast."""

    @staticmethod
    def from_passphrase(passphrase: bytes, salt: bytes, *_: int) -> SealingKey:
        return SealingKey.from_passphrase(passphrase, salt, 8, 1, 1)


@pytest.fixture(autouse=True)
def cheap_kdf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_formats, "SealingKey", CheapKdf)


def refused(code: str, action: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        action()
    assert caught.value.code == code
    assert caught.value.culprit is Culprit.CLIENT
    return caught.value


def active(store: ShareStore, made: Ceremony | None = None) -> Ceremony:
    """A wallet whose share is in the store."""
    made = made or ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    store.activate(made.wallet.wallet_id, made.confirmations)
    return made


def signs(store: ShareStore, made: Ceremony) -> None:
    """The stored share makes a signature together with the enclave's."""
    share, stored = store.load(made.wallet.wallet_id)
    assert stored.info == made.wallet
    nonces, commitments = frost_begin(share, 1)
    theirs = frost_respond(made.enclave_share, [b"message"], {1: commitments})
    (signature,) = nonces.finish(share, [b"message"], {2: theirs})
    verify_signature(made.wallet.suite, made.wallet.public_key, b"message", signature)


# --- the passphrase ----------------------------------------------------------------------------------------------------------------


def test_a_store_opens_again_with_its_passphrase_and_its_wallet_signs(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "shares"
    assert not ShareStore.exists(directory)
    made = active(ShareStore.create(directory, PASSPHRASE))
    assert ShareStore.exists(directory)
    signs(ShareStore.unlock(directory, PASSPHRASE), made)


@pytest.mark.parametrize(
    "wrong", [b"Correct horse battery staple", PASSPHRASE + b" ", PASSPHRASE + b"\x00", b"x"]
)
def test_another_passphrase_is_refused(tmp_path: Path, wrong: bytes) -> None:
    ShareStore.create(tmp_path, PASSPHRASE)
    error = refused("passphrase_wrong", lambda: ShareStore.unlock(tmp_path, wrong))
    assert wrong.decode() not in str(error)


def test_an_empty_passphrase_makes_no_store(tmp_path: Path) -> None:
    refused("passphrase_length", lambda: ShareStore.create(tmp_path / "s", b""))
    assert not (tmp_path / "s").exists()


def test_a_store_is_not_made_twice(tmp_path: Path) -> None:
    made = active(ShareStore.create(tmp_path, PASSPHRASE))
    refused("store_exists", lambda: ShareStore.create(tmp_path, b"another"))
    signs(ShareStore.unlock(tmp_path, PASSPHRASE), made)


def test_a_store_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    error = refused("store_missing", lambda: ShareStore.unlock(tmp_path / "absent", PASSPHRASE))
    assert "cosigner wallet create" in error.message


def test_two_stores_with_one_passphrase_have_different_keys(tmp_path: Path) -> None:
    first, second = (ShareStore.create(tmp_path / name, PASSPHRASE) for name in "ab")
    made = active(first)
    name = f"{made.wallet.wallet_id}.share"
    shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    refused("share_rejected", lambda: second.load(made.wallet.wallet_id))


def test_the_parameters_are_those_of_rfc_9106_and_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    ShareStore.create(tmp_path, PASSPHRASE)
    parsed = cbor.decode((tmp_path / "store.cbor").read_bytes(), StoreFile, culprit=Culprit.CLIENT)
    kdf = parsed.kdf
    assert (kdf.algorithm, kdf.memory_kib, kdf.iterations, kdf.parallelism) == ("argon2id", 65536, 3, 4)
    assert len(kdf.salt) == 16
    assert any(kdf.salt)


@pytest.mark.parametrize(
    "change",
    [
        {"memory_kib": (19 << 10) - 1},
        {"memory_kib": (1 << 20) + 1},
        {"iterations": 0},
        {"iterations": 17},
        {"parallelism": 0},
        {"parallelism": 17},
        {"algorithm": "argon2i"},
        {"algorithm": "scrypt"},
        {"salt": bytes(15)},
        {"more": 1},
    ],
    ids=str,
)
def test_weakened_or_absurd_parameters_are_refused_before_they_cost_anything(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    ShareStore.create(tmp_path, PASSPHRASE)
    path = tmp_path / "store.cbor"
    tree = msgspec.to_builtins(
        cbor.decode(path.read_bytes(), StoreFile, culprit=Culprit.CLIENT), builtin_types=(bytes,)
    )
    tree["kdf"] |= change
    path.write_bytes(cbor.encode(tree))
    refused("store_malformed", lambda: ShareStore.unlock(tmp_path, PASSPHRASE))


# --- damage ------------------------------------------------------------------------------------------------------------------------


def damages(content: bytes) -> list[bytes]:
    """The content with a byte changed all over it, cut short in several places, lengthened, and emptied."""
    flipped = [
        content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
        for at in range(len(content))
        for bit in (0x01, 0x80)
    ]
    cut = [content[:at] for at in range(0, len(content), 7)]
    return [*flipped, *cut, content + b"\x00", bytes(len(content)), b"\xff" * 100_000]


def test_a_wallets_file_altered_anywhere_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = active(store)
    path = tmp_path / f"{made.wallet.wallet_id}.share"
    content = path.read_bytes()
    for damaged in damages(content):
        path.write_bytes(damaged)
        with pytest.raises(StoreError) as caught:
            store.load(made.wallet.wallet_id)
        assert caught.value.code in {"store_malformed", "share_rejected"}
    path.write_bytes(content)
    signs(store, made)


def test_a_pending_file_altered_anywhere_is_refused_and_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    path = tmp_path / f"{made.wallet.wallet_id}.pending"
    content = path.read_bytes()
    for damaged in damages(content):
        path.write_bytes(damaged)
        with pytest.raises(StoreError) as caught:
            store.activate(made.wallet.wallet_id, made.confirmations)
        assert caught.value.code in {"store_malformed", "share_rejected"}
        assert path.read_bytes() == damaged
    path.write_bytes(content)
    store.activate(made.wallet.wallet_id, made.confirmations)
    signs(store, made)


def test_the_stores_file_altered_anywhere_is_refused(tmp_path: Path) -> None:
    ShareStore.create(tmp_path, PASSPHRASE)
    path = tmp_path / "store.cbor"
    content = path.read_bytes()
    for damaged in damages(content):
        path.write_bytes(damaged)
        with pytest.raises(StoreError) as caught:
            ShareStore.unlock(tmp_path, PASSPHRASE)
        assert caught.value.code in {"store_malformed", "passphrase_wrong"}
    path.write_bytes(content)
    ShareStore.unlock(tmp_path, PASSPHRASE)


def test_swapped_wallet_files_are_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first, second = active(store), active(store)
    paths = [tmp_path / f"{made.wallet.wallet_id}.share" for made in (first, second)]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
    for made in (first, second):
        refused("share_rejected", lambda made=made: store.load(made.wallet.wallet_id))


def test_a_seal_under_another_header_is_refused(tmp_path: Path) -> None:
    """Somebody relabels a wallet: other network, other address, same seal."""
    store = open_store(tmp_path)
    made = active(store)
    path = tmp_path / f"{made.wallet.wallet_id}.share"
    parsed = cbor.decode(path.read_bytes(), ShareFile, culprit=Culprit.CLIENT)
    header = parsed.header
    for forged in (
        msgspec.structs.replace(header, environment="production"),
        msgspec.structs.replace(header, party=2),
        msgspec.structs.replace(header, wallet=msgspec.structs.replace(header.wallet, network="testnet")),
        msgspec.structs.replace(header, wallet=msgspec.structs.replace(header.wallet, epoch=2)),
        msgspec.structs.replace(header, wallet=msgspec.structs.replace(header.wallet, public_key=bytes(32))),
    ):
        path.write_bytes(cbor.encode(ShareFile(header=forged, sealed=parsed.sealed)))
        refused("share_rejected", lambda: store.load(made.wallet.wallet_id))


def test_a_pending_share_does_not_pass_for_an_active_one(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    pending = tmp_path / f"{made.wallet.wallet_id}.pending"
    shutil.copy(pending, pending.with_suffix(".share"))
    refused("share_rejected", lambda: store.load(made.wallet.wallet_id))


def test_an_active_share_does_not_pass_for_a_pending_one(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = active(store)
    share = tmp_path / f"{made.wallet.wallet_id}.share"
    shutil.copy(share, share.with_suffix(".pending"))
    refused("share_rejected", lambda: store.activate(made.wallet.wallet_id, made.confirmations))


def test_a_wallet_that_is_not_there_is_missing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for action in (
        lambda: store.load("0f8fad5b-d9cb-469f-a165-70867728950e"),
        lambda: store.pending("0f8fad5b-d9cb-469f-a165-70867728950e"),
        lambda: store.activate("0f8fad5b-d9cb-469f-a165-70867728950e", {2: bytes(32)}),
        lambda: store.load("../shares/x"),
    ):
        refused("wallet_missing", action)


# --- the way from pending to active ------------------------------------------------------------------------------------------------


def test_a_pending_wallet_is_listed_as_such_and_does_not_sign(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    (listed,) = ShareStore.wallets(tmp_path)
    assert (listed.environment, listed.info, listed.pending) == ("sandbox", made.wallet, True)
    assert store.pending(made.wallet.wallet_id) == listed
    refused("wallet_missing", lambda: store.load(made.wallet.wallet_id))


@pytest.mark.parametrize("confirmations", [{2: bytes(32)}, {2: b""}, {1: bytes(32)}, {}])
def test_a_wrong_confirmation_activates_nothing_and_keeps_the_pending_share(
    tmp_path: Path, confirmations: dict[int, bytes]
) -> None:
    store = open_store(tmp_path)
    made = ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    with pytest.raises(ThresholdError):
        store.activate(made.wallet.wallet_id, confirmations)
    assert [entry.pending for entry in ShareStore.wallets(tmp_path)] == [True]
    store.activate(made.wallet.wallet_id, made.confirmations)
    signs(store, made)


def test_a_discarded_pending_wallet_is_gone_and_may_be_discarded_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    for _ in range(2):
        store.discard_pending(made.wallet.wallet_id)
        assert ShareStore.wallets(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_where_both_files_are_the_share_counts(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    pending = tmp_path / f"{made.wallet.wallet_id}.pending"
    content = pending.read_bytes()
    store.activate(made.wallet.wallet_id, made.confirmations)
    assert not pending.exists()
    pending.write_bytes(content)
    assert [entry.pending for entry in ShareStore.wallets(tmp_path)] == [False]
    signs(store, made)
    store.activate(made.wallet.wallet_id, made.confirmations)  # once more does no harm
    assert not pending.exists()
    signs(store, made)


def test_wallets_are_listed_without_a_passphrase_in_a_fixed_order(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = [active(store, ceremony(chain)) for chain in ("solana", "bitcoin", "solana")]
    listed = ShareStore.wallets(tmp_path)
    assert [entry.info.wallet_id for entry in listed] == sorted(each.wallet.wallet_id for each in made)
    assert ShareStore.wallets(tmp_path / "absent") == []


# --- files -------------------------------------------------------------------------------------------------------------------------


def test_everything_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        directory = tmp_path / "shares"
        store = ShareStore.create(directory, PASSPHRASE)
        active(store)
        pending = ceremony()
        store.save_pending("sandbox", pending.state, pending.wallet)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.suffix for path in directory.iterdir()} == {".cbor", ".share", ".pending"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_nothing_but_the_files_themselves_is_left_behind(tmp_path: Path) -> None:
    store = ShareStore.create(tmp_path, PASSPHRASE)
    made = active(store)
    assert {path.name for path in tmp_path.iterdir()} == {"store.cbor", f"{made.wallet.wallet_id}.share"}


def test_no_share_and_no_passphrase_is_in_any_file(tmp_path: Path) -> None:
    store = ShareStore.create(tmp_path, PASSPHRASE)
    active(store)
    assert all(PASSPHRASE not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["open", "fsync", "rename"])
def test_a_failing_disk_is_said_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = open_store(tmp_path)
    kept = active(store)
    made = ceremony()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        error = refused("store_unwritable", lambda: store.save_pending("sandbox", made.state, made.wallet))
    assert "No space left on device" in error.message
    assert [entry.info for entry in ShareStore.wallets(tmp_path)] == [kept.wallet]
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".share"]
    signs(store, kept)


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused("store_unwritable", lambda: ShareStore.create(tmp_path / "file" / "shares", PASSPHRASE))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "store.cbor").mkdir()
    refused("store_unreadable", lambda: ShareStore.unlock(tmp_path, PASSPHRASE))


# --- crashes -----------------------------------------------------------------------------------------------------------------------


def both_sides(count: int) -> list[tuple[int, bool]]:
    return [(step, after) for step in range(count) for after in (False, True)]


def test_a_crash_while_a_store_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    count = steps_of(lambda: ShareStore.create(tmp_path / "count", PASSPHRASE))
    assert count >= 5
    for number, (step, after) in enumerate(both_sides(count)):
        directory = tmp_path / str(number)
        assert crash_at(step, lambda d=directory: ShareStore.create(d, PASSPHRASE), after=after)
        store = ShareStore.unlock if ShareStore.exists(directory) else ShareStore.create
        made = active(store(directory, PASSPHRASE))
        signs(ShareStore.unlock(directory, PASSPHRASE), made)


def test_a_crash_while_a_pending_share_is_saved_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    made = ceremony()
    count = steps_of(lambda: open_store(tmp_path).save_pending("sandbox", made.state, made.wallet))
    assert count >= 4
    found = set()
    for step, after in both_sides(count):
        store, made = open_store(tmp_path), ceremony()
        assert crash_at(
            step, lambda m=made, s=store: s.save_pending("sandbox", m.state, m.wallet), after=after
        )
        listed = {entry.info.wallet_id for entry in ShareStore.wallets(tmp_path)}
        found.add(made.wallet.wallet_id in listed)
        if made.wallet.wallet_id in listed:
            store.activate(made.wallet.wallet_id, made.confirmations)
            signs(store, made)
    assert found == {True, False}


def test_a_crash_at_any_step_of_the_activation_loses_nothing(tmp_path: Path) -> None:
    """The enclave has its share by then: from here on one of the two files must always open."""
    store, made = open_store(tmp_path), ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    count = steps_of(lambda: store.activate(made.wallet.wallet_id, made.confirmations))
    assert count >= 7
    states = set()
    for step, after in both_sides(count):
        store, made = open_store(tmp_path), ceremony()
        wallet_id = made.wallet.wallet_id
        store.save_pending("sandbox", made.state, made.wallet)
        assert crash_at(
            step, lambda s=store, m=made: s.activate(m.wallet.wallet_id, m.confirmations), after=after
        )
        (listed,) = [entry for entry in ShareStore.wallets(tmp_path) if entry.info.wallet_id == wallet_id]
        states.add(listed.pending)
        store = open_store(tmp_path)
        if listed.pending:
            store.activate(wallet_id, made.confirmations)
        signs(store, made)
    assert states == {True, False}


def test_a_crash_while_a_pending_share_is_discarded_may_be_repeated(tmp_path: Path) -> None:
    store, made = open_store(tmp_path), ceremony()
    store.save_pending("sandbox", made.state, made.wallet)
    count = steps_of(lambda: store.discard_pending(made.wallet.wallet_id))
    for step, after in both_sides(count):
        store.save_pending("sandbox", made.state, made.wallet)
        assert crash_at(step, lambda: store.discard_pending(made.wallet.wallet_id), after=after)
        store.discard_pending(made.wallet.wallet_id)
        assert ShareStore.wallets(tmp_path) == []


def test_the_harness_really_pulls_the_plug(tmp_path: Path) -> None:
    def careless() -> None:
        path = tmp_path / "file"
        path.write_bytes(b"")
        try:
            path.rename(tmp_path / "other")
        finally:
            path.unlink()

    assert crash_at(0, careless)
    assert (tmp_path / "file").exists()
    assert not crash_at(99, (tmp_path / "file").unlink)


def test_what_is_written_is_synced_before_it_gets_its_name_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, made = open_store(tmp_path), ceremony()
    log: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        log.append("sync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def renamed(source: Any, target: Any) -> None:
        log.append("rename")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "rename", renamed)
        store.save_pending("sandbox", made.state, made.wallet)
        store.activate(made.wallet.wallet_id, made.confirmations)
    written = ["sync file", "rename", "sync directory"]
    assert log == [*written, *written, "sync directory"]


@pytest.mark.parametrize("length", [0, 1025])
def test_passphrases_out_of_bounds_are_refused_by_name(tmp_path: Path, length: int) -> None:
    ShareStore.create(tmp_path / "made", b"ok")
    refused("passphrase_length", lambda: ShareStore.unlock(tmp_path / "made", b"x" * length))
    refused("passphrase_length", lambda: ShareStore.create(tmp_path / "new", b"x" * length))


def test_of_two_that_create_one_store_at_once_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second derives its key before the first has written; it must not replace what the first will seal under."""
    first = ShareStore.create(tmp_path, b"first")
    with monkeypatch.context() as patch:
        patch.setattr(ShareStore, "exists", staticmethod(lambda _: False))
        refused("store_exists", lambda: ShareStore.create(tmp_path, b"second"))
    ShareStore.unlock(tmp_path, b"first")
    assert first
    assert [path.name for path in tmp_path.iterdir()] == ["store.cbor"]


def test_a_store_without_its_parameters_is_not_made_anew_over_its_shares(tmp_path: Path) -> None:
    active(open_store(tmp_path))
    refused("store_incomplete", lambda: ShareStore.create(tmp_path, b"new"))


def test_one_damaged_file_does_not_hide_the_other_wallets(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    active(store)
    (tmp_path / "0f8fad5b-d9cb-469f-a165-70867728950e.share").write_bytes(b"junk")
    assert len(ShareStore.wallets(tmp_path)) == 1


def test_two_that_write_one_file_at_once_both_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls of one program run in threads: each has written, and not yet renamed, when the other does."""
    both, real = threading.Barrier(2), os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            both.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    contents = [b"one" * 100, b"other"]
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(write, tmp_path / "file", content) for content in contents]:
            done.result()
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
