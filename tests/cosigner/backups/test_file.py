"""A folder in which others may have been: links, pipes, folders, torn writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosigner.backups.locations import MAX_BACKUP
from cosigner.backups.locations import file as module
from cosigner.backups.locations.file import FileLocation
from protocol.envelope.errors import Reaction
from tests.cosigner.backups.places import refused, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir(mode=0o700)
    return made


def test_files_and_folder_are_their_owners_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "backups"
    before = os.umask(0)
    try:
        for blob in (b"x", b"y"):
            run(FileLocation(path).put("a", blob))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o700
    (file,) = path.iterdir()
    assert (file.name, file.stat().st_mode & 0o777, file.read_bytes()) == ("a.backup", 0o600, b"y")


def test_a_link_in_place_of_a_backup_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Neither to read what it points to, nor to overwrite it."""
    other = tmp_path / "other"
    other.write_bytes(b"somebody else's")
    (path / "a.backup").symlink_to(other)
    location = FileLocation(path)
    assert refused(location.get("a")).code == "location_refused"
    assert run(location.names()) == []
    run(location.put("a", b"mine"))
    assert (other.read_bytes(), run(location.get("a"))) == (b"somebody else's", b"mine")
    assert not (path / "a.backup").is_symlink()


def test_a_link_in_place_of_the_folder_is_not_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    location = FileLocation(link)
    for work in (location.put("a", b"x"), location.get("a"), location.delete("a"), location.names()):
        assert refused(work).code == "location_refused"
    assert list(path.iterdir()) == []


def test_deleting_a_link_leaves_what_it_points_to(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"somebody else's")
    (path / "a.backup").symlink_to(other)
    run(FileLocation(path).delete("a"))
    assert other.exists()
    assert list(path.iterdir()) == []


def test_what_is_no_file_is_no_backup_and_nobody_waits_for_it(path: Path) -> None:
    os.mkfifo(path / "pipe.backup")
    (path / "folder.backup").mkdir()
    (path / "empty.backup").touch()
    location = FileLocation(path)
    for name in ("pipe", "folder", "empty"):
        assert refused(location.get(name)).code == "location_refused"
    assert run(location.names()) == ["empty"]
    assert refused(location.delete("folder")).code == "location_refused"


def test_an_oversized_file_is_not_read(path: Path) -> None:
    with (path / "a.backup").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    assert refused(FileLocation(path).get("a")).code == "backup_too_large"
    (path / "a.backup").write_bytes(bytes(MAX_BACKUP))
    assert run(FileLocation(path).get("a")) == bytes(MAX_BACKUP)


def test_a_folder_that_others_can_write_is_refused(path: Path) -> None:
    path.chmod(0o770)
    for work in (FileLocation(path).put("a", b"x"), FileLocation(path).get("a")):
        assert refused(work).code == "location_refused"
    path.chmod(0o755)
    run(FileLocation(path).put("a", b"x"))


def test_other_files_of_the_folder_are_left_alone(path: Path) -> None:
    for name in (".a.backup.0123", "A.backup", "notes.txt", ".backup", "é.backup"):
        (path / name).write_bytes(b"x")
    run(FileLocation(path).put("a", b"x"))
    assert run(FileLocation(path).names()) == ["a"]
    assert len(list(path.iterdir())) == 6


def test_a_folder_that_is_not_there_is_empty_and_its_parent_is_not_made(tmp_path: Path) -> None:
    location = FileLocation(tmp_path / "no" / "backups")
    assert run(location.names()) == []
    run(location.delete("a"))
    assert refused(location.get("a")).code == "backup_missing"
    assert refused(location.put("a", b"x")).code == "location_unavailable"
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("step", ["open", "fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_backup_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    location = FileLocation(path)
    run(location.put("a", b"old"))
    real = getattr(os, step)

    def fail(*arguments: object, **named: object) -> object:
        if step != "open" or (isinstance(arguments[0], str) and arguments[0].startswith(".a.backup.")):
            raise OSError(28, "No space left on device")
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module.os, step, fail)
        error = refused(location.put("a", b"new"))
    assert (error.code, error.reaction) == ("location_unavailable", Reaction.RETRY)
    assert run(location.get("a")) == b"old"
    assert [file.name for file in path.iterdir()] == ["a.backup"]


def test_what_is_written_is_synced_before_it_gets_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    for step in ("fsync", "rename"):
        real = getattr(os, step)

        def noted(*arguments: object, step: str = step, real: object = real, **named: object) -> object:
            steps.append(step)
            return real(*arguments, **named)  # type: ignore[operator]

        monkeypatch.setattr(module.os, step, noted)
    run(FileLocation(path).put("a", b"x"))
    assert steps == ["fsync", "rename", "fsync"]
