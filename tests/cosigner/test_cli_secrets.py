"""Secrets on their way in and out of the command, and what is shown of a wallet's life."""

from __future__ import annotations

import argparse
import getpass
import io
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from cosigner.cli import describe, secrets
from cosigner.errors import CosignerError
from cosigner.store import StoredWallet
from cosigner.wallets import Wallet
from protocol.wallets import BackupInfo, PasscodeSetup, WalletEntry, WalletInfo, WalletStatus
from tests.cosigner.test_offline import three

HOUR = 3_600_000
SETUP = PasscodeSetup(salt=bytes(16), memory_kib=65536, iterations=3, parallelism=4)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_a_terminal(patch: pytest.MonkeyPatch, *typed: str) -> None:
    answers = iter(typed)
    patch.setattr(getpass, "getpass", lambda _: next(answers))
    patch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in typed)))


def nobody_there(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "stdin", io.StringIO())


def refused(code: str, caught: pytest.ExceptionInfo[CosignerError]) -> None:
    assert caught.value.code == code


# --- secrets -----------------------------------------------------------------------------------------------------------------------


def test_a_secret_comes_from_a_file_as_it_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content, expected in ((b"s\xc3\xa4cret \n", b"s\xc3\xa4cret "), (b"a\r\n", b"a"), (b" a", b" a")):
        path.write_bytes(content)
        assert secrets.secret(path, "passcode", "--passcode-file") == expected
    path.write_bytes(b"\n")
    with pytest.raises(CosignerError) as caught:
        secrets.secret(path, "passcode", "--passcode-file")
    refused("input_missing", caught)


def test_a_new_secret_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, "one", "one")
    assert secrets.secret(None, "passcode", "--passcode-file", new=True) == b"one"
    at_a_terminal(monkeypatch, "one", "two")
    with pytest.raises(CosignerError) as caught:
        secrets.secret(None, "passcode", "--passcode-file", new=True)
    refused("passphrase_mismatch", caught)
    at_a_terminal(monkeypatch, "one")
    assert secrets.secret(None, "passcode", "--passcode-file") == b"one"


def test_where_nobody_can_be_asked_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_there(monkeypatch)
    with pytest.raises(CosignerError) as caught:
        secrets.secret(None, "passcode", "--passcode-file")
    refused("input_missing", caught)
    assert "--passcode-file" in caught.value.message


def test_what_cannot_be_undone_takes_the_words_or_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = argparse.Namespace(yes_i_understand=False)
    at_a_terminal(monkeypatch, "delete the wallet")
    secrets.confirm(asked, "delete the wallet", ["It is gone then."])
    for typed in ("yes", "", "delete"):
        at_a_terminal(monkeypatch, typed)
        with pytest.raises(CosignerError) as caught:
            secrets.confirm(asked, "delete the wallet", ["It is gone then."])
        refused("confirmation_missing", caught)
    nobody_there(monkeypatch)
    with pytest.raises(CosignerError) as caught:
        secrets.confirm(asked, "delete the wallet", ["It is gone then."])
    assert "It is gone then." in caught.value.message
    secrets.confirm(argparse.Namespace(yes_i_understand=True), "delete the wallet", [])


def test_a_secret_is_written_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secrets.require_new(path)
    secrets.write_secret(path, b"secret")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"secret", 0o600)
    for again in (lambda: secrets.write_secret(path, b"x"), lambda: secrets.require_new(path)):
        with pytest.raises(CosignerError) as caught:
            again()
        refused("output_exists", caught)
    assert path.read_bytes() == b"secret"
    with pytest.raises(CosignerError) as caught:
        secrets.require_new(tmp_path / "nowhere" / "key")
    refused("output_unwritable", caught)


def test_wiping_overwrites_before_it_removes(tmp_path: Path) -> None:
    path, link = tmp_path / "key", tmp_path / "other name"
    path.write_bytes(b"secret")
    link.hardlink_to(path)
    secrets.wipe(path)
    assert not path.exists()
    assert link.read_bytes() == bytes(6)
    with pytest.raises(CosignerError) as caught:
        secrets.wipe(path)
    refused("output_unwritable", caught)


# --- what is shown -----------------------------------------------------------------------------------------------------------------


def status(**changes: object) -> WalletStatus:
    fresh = WalletStatus(
        state="active",
        custody="delegated",
        epoch_since=HOUR,
        refresh_due=None,
        pending=None,
        backed_up=False,
        backups=[],
        imported=False,
        legacy_wallet_id="",
    )
    return replace(fresh, **changes)


def infos() -> list[WalletInfo]:
    ids = [f"0f8fad5b-d9cb-469f-a165-70867728950{digit}" for digit in "abc"]
    return [replace(three("solana")[0], wallet_id=one, share_set_id=one) for one in ids]


def test_a_listing_says_what_is_here_what_is_old_and_what_is_elsewhere() -> None:
    here, old, away = infos()
    entries = [
        StoredWallet("sandbox", here, pending=False),
        StoredWallet("sandbox", old, pending=False, renewing=False),
    ]
    known = [
        WalletEntry(here, status(backed_up=True, refresh_due=2 * HOUR), bytes(32)),
        WalletEntry(replace(old, epoch=4), status(), bytes(32)),
        WalletEntry(away, status(), bytes(32)),
    ]
    data, lines = describe.wallet_table(entries, known)
    found = {one["wallet_id"]: one for one in data["wallets"]}  # type: ignore[attr-defined]
    assert [found[one.wallet_id]["status"] for one in (here, old, away)] == [
        "active",
        "outdated",
        "elsewhere",
    ]
    assert found[here.wallet_id]["refresh_due"] == "1970-01-01T02:00:00Z"
    assert ("backup" in lines[0], "refresh due" in lines[0]) == (True, True)
    by_wallet = {line[:36]: line for line in lines}
    assert " yes " in by_wallet[here.wallet_id]
    assert "recover" in by_wallet[old.wallet_id]
    assert "recover" in by_wallet[away.wallet_id]


def test_without_the_enclave_a_listing_has_neither_backups_nor_dates() -> None:
    here, renewing, pending = infos()
    data, lines = describe.wallet_table(
        [
            StoredWallet("sandbox", here, pending=False),
            StoredWallet("sandbox", renewing, pending=False, renewing=True),
            StoredWallet("sandbox", pending, pending=True),
        ]
    )
    assert [one["status"] for one in data["wallets"]] == ["active", "renewing", "pending"]  # type: ignore[attr-defined]
    assert "backup" not in lines[0]
    assert Wallet.of(pending).address not in "\n".join(lines)
    assert any("--resume" in line for line in lines[-3:])


def test_a_wallet_that_lacks_a_backup_or_a_refresh_says_what_to_do() -> None:
    _, lines = describe.wallet_status(status(refresh_due=1))
    assert "cosigner wallet backup" in "\n".join(lines)
    assert "cosigner wallet refresh" in "\n".join(lines)
    _, lines = describe.wallet_status(status(state="unbacked"))
    assert "UNBACKED" in "\n".join(lines)
    _, lines = describe.wallet_status(status(imported=True, legacy_wallet_id="tee-42", backed_up=True))
    assert "tee-42" in "\n".join(lines)


def test_backups_are_shown_with_what_they_are_worth() -> None:
    info = three("solana")[0]

    def backup(last: str, **changes: object) -> BackupInfo:
        one = BackupInfo(f"5a0c8d4e-7d1f-4b57-9d5c-0d9a3f6f2b1{last}", 1, 1, SETUP, HOUR, HOUR, ["service"])
        return replace(one, **changes)

    backups = [backup("1"), backup("2", epoch=2, passcode=None), backup("3", proved_at=None, locations=[])]
    data, lines = describe.backups(Wallet.of(info), status(backups=backups))
    assert [one["restores"] for one in data["backups"]] == [True, False, False]  # type: ignore[attr-defined]
    assert [
        word in line for word, line in zip(("good", "worthless", "unproved"), lines[1:], strict=True)
    ] == [True] * 3
    _, lines = describe.backups(Wallet.of(info), status())
    assert "cosigner wallet backup" in lines[0]
