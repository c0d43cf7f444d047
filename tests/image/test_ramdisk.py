"""Ramdisks: what is in them, and that nothing else is."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.errors import ImageError
from image.ramdisk import CharacterDevice, Directory, File, Symlink, pack
from tests.image.trees import unpack

TREE = {
    "init": File(b"\x7fELF", executable=True),
    "etc/motd": File(b"hello"),
    "etc/empty": File(b""),
    "link": Symlink("etc/motd"),
    "dev/null": CharacterDevice(1, 3),
    "proc": Directory(),
}
SEGMENT = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=8
).filter(lambda text: text not in {".", "..", "TRAILER!!!"})


def test_every_entry_is_there_once_behind_its_directory():
    records = unpack(pack(TREE))
    assert list(records) == ["dev", "dev/null", "etc", "etc/empty", "etc/motd", "init", "link", "proc"]
    assert [record.inode for record in records.values()] == list(range(1, 9))
    assert {(record.uid, record.gid, record.time, record.links) for record in records.values()} == {
        (0, 0, 0, 1)
    }
    assert records["init"].mode == stat.S_IFREG | 0o755
    assert records["etc/motd"].mode == stat.S_IFREG | 0o644
    assert records["etc/motd"].content == b"hello"
    assert records["link"].mode == stat.S_IFLNK | 0o777
    assert records["link"].content == b"etc/motd"
    assert records["dev/null"].mode == stat.S_IFCHR | 0o600
    assert records["dev/null"].device == (1, 3)
    assert records["proc"].mode == stat.S_IFDIR | 0o755


def test_ramdisks_can_be_put_behind_one_another():
    """The boot loader does, and the kernel finds an archive only at a multiple of four."""
    assert len(pack(TREE)) % 512 == 0
    assert len(pack({"a": File(b"1")})) % 512 == 0


@given(st.dictionaries(SEGMENT, st.binary(max_size=40), min_size=1), st.randoms())
def test_the_order_of_a_tree_does_not_matter(contents, random):
    names = list(contents)
    random.shuffle(names)
    tree = {f"d/{name}": File(contents[name]) for name in contents}
    shuffled = {f"d/{name}": File(contents[name]) for name in names}
    archive = pack(tree)
    assert archive == pack(shuffled)
    records = unpack(archive)
    assert {name: record.content for name, record in records.items() if name != "d"} == {
        f"d/{name}": content for name, content in contents.items()
    }
    encoded = [name.encode() for name in records]
    assert encoded == sorted(encoded)


@given(st.dictionaries(SEGMENT, st.tuples(st.binary(max_size=8), st.booleans()), min_size=2))
def test_two_trees_never_share_an_archive(contents):
    tree = {name: File(*node) for name, node in contents.items()}
    archives = {pack(tree)}
    for name, (content, executable) in contents.items():
        archives.add(pack(tree | {name: File(content + b"\0", executable)}))
        archives.add(pack(tree | {name: File(content, not executable)}))
        archives.add(pack({other: node for other, node in tree.items() if other != name}))
    assert len(archives) == 1 + 3 * len(contents)


def test_names_need_not_be_text():
    (name,) = unpack(pack({b"\xff\xfe".decode("utf-8", "surrogateescape"): File(b"")}))
    assert name.encode("utf-8", "surrogateescape") == b"\xff\xfe"


@pytest.mark.parametrize(
    "path", ["", "/", "/init", "a//b", "a/", "./a", "a/./b", "..", "a/../b", "a\0b", "TRAILER!!!"]
)
def test_paths_are_plain(path):
    with pytest.raises(ImageError, match="plain relative path"):
        pack({path: File(b"")})


@pytest.mark.parametrize("node", [File(b""), Symlink("/"), CharacterDevice(1, 3)])
def test_nothing_lies_below_what_is_no_directory(node):
    """Below a link it would be written wherever that leads."""
    with pytest.raises(ImageError, match="no directory"):
        pack({"a": node, "a/b/c": File(b"")})
