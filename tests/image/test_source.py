"""From what Docker exports to what is measured."""

import io
import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from image.errors import ImageError
from image.ramdisk import Directory, File, Symlink, pack
from image.source import MOUNT_POINTS, read
from tests.image.trees import FILES, LINKS, OF_DOCKER, directory, tar


def archive(path: Path, *members: tarfile.TarInfo, content: bytes = b"") -> Path:
    with tarfile.open(path, "w") as written:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            written.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, *, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    return info


def test_the_image_is_all_there_and_nothing_of_docker(tmp_path):
    tree = read(tar(tmp_path / "rootfs.tar"))
    files = {name: node for name, node in tree.items() if isinstance(node, File)}
    assert files == {
        name: File(content, executable=mode & 0o100 != 0) for name, (content, mode) in FILES.items()
    }
    assert {name: node.target for name, node in tree.items() if isinstance(node, Symlink)} == LINKS
    assert all(tree[point] == Directory() for point in MOUNT_POINTS)
    assert not OF_DOCKER.keys() & tree.keys()


def test_order_owner_time_umask_and_kind_of_source_leave_no_trace(tmp_path):
    sources = [
        tar(tmp_path / "1.tar"),
        tar(tmp_path / "2.tar", backwards=True, owner=1000, time=1_700_000_000),
        tar(tmp_path / "3.tar", owner=7),
    ]
    assert len({pack(read(source)) for source in sources}) == 1
    places = [
        directory(tmp_path / "one"),
        directory(tmp_path / "two", backwards=True, time=1, umask=0o002),
        directory(tmp_path / "three", umask=0o077),
    ]
    assert len({pack(read(place)) for place in places}) == 1


def test_a_directory_and_its_archive_are_the_same_image(tmp_path):
    place = directory(tmp_path / "place")
    with tarfile.open(tmp_path / "place.tar", "w") as written:
        written.add(place, arcname=".")
    assert pack(read(place)) == pack(read(tmp_path / "place.tar"))


def test_names_of_one_file_become_files(tmp_path):
    """A copy that kept links and one that did not are the same image."""
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a").write_bytes(b"content")
    os.link(tmp_path / "linked/a", tmp_path / "linked/b")
    (tmp_path / "copied").mkdir()
    for name in "ab":
        (tmp_path / "copied" / name).write_bytes(b"content")
    with tarfile.open(tmp_path / "linked.tar", "w") as written:
        written.add(tmp_path / "linked", arcname=".")
        assert any(entry.islnk() for entry in written.getmembers())
    assert (
        pack(read(tmp_path / "linked"))
        == pack(read(tmp_path / "copied"))
        == pack(read(tmp_path / "linked.tar"))
    )


@pytest.mark.parametrize("bit", [stat.S_ISUID, stat.S_ISGID])
def test_programs_that_give_rights_are_refused(tmp_path, bit):
    with pytest.raises(ImageError, match="setuid"):
        read(archive(tmp_path / "x.tar", member("usr/bin/su", mode=0o755 | bit)))
    (tmp_path / "place").mkdir()
    (tmp_path / "place/su").write_bytes(b"")
    (tmp_path / "place/su").chmod(0o755 | bit)
    with pytest.raises(ImageError, match="setuid"):
        read(tmp_path / "place")


def test_a_directory_may_hand_down_its_group(tmp_path):
    """Debian has some; the bit does not reach the image."""
    tree = read(archive(tmp_path / "x.tar", member("var/mail", tarfile.DIRTYPE, mode=0o2775)))
    assert tree["var/mail"] == Directory()


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_pipes_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(ImageError, match="neither file, directory nor link"):
        read(archive(tmp_path / "x.tar", member("usr/thing", kind)))


def test_pipes_and_sockets_in_a_directory_are_refused(tmp_path):
    for name in ("pipe", "socket"):
        place = tmp_path / name
        place.mkdir()
        if name == "pipe":
            os.mkfifo(place / "thing")
        else:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(place / "thing"))
        with pytest.raises(ImageError, match="neither file, directory nor link"):
            read(place)


def test_what_docker_mounts_over_may_be_anything(tmp_path):
    tree = read(archive(tmp_path / "x.tar", member("dev/sda", tarfile.BLKTYPE), member("a")))
    assert tree["dev"] == Directory()
    assert "dev/sda" not in tree


def test_a_path_stands_once(tmp_path):
    with pytest.raises(ImageError, match="twice"):
        read(archive(tmp_path / "x.tar", member("a"), member("./a")))


@pytest.mark.parametrize("target", ["gone", "d", "s"])
def test_a_hard_link_names_a_file_that_was_there(tmp_path, target):
    source = archive(
        tmp_path / "x.tar",
        member("d", tarfile.DIRTYPE),
        member("s", tarfile.SYMTYPE, link="/etc/passwd"),
        member("link", tarfile.LNKTYPE, link=target),
    )
    with pytest.raises(ImageError, match="which is not there"):
        read(source)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../b"])
def test_paths_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(ImageError, match="plain relative path"):
        pack(read(archive(tmp_path / "x.tar", member(name))))


def test_what_is_no_tree_is_refused(tmp_path):
    (tmp_path / "text").write_text("no archive\n" * 100)
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "text", tmp_path / "empty", tmp_path / "gone"):
        with pytest.raises(ImageError):
            read(source)
