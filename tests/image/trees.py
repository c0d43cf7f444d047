"""Trees of files to build images from, and a second implementation of what comes out."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

FILES = {
    "usr/bin/python3": (b"\x7fELF python" * 100, 0o755),
    "opt/cosigner/enclave/__main__.py": (b"print('enclave')\n", 0o644),
    "opt/cosigner/enclave/empty.py": (b"", 0o644),
    "usr/lib/odd name ü.so": (b"1", 0o644),
    "usr/lib/three": (b"123", 0o600),
}
LINKS = {"bin": "usr/bin", "lib/loader": "../usr/lib/three"}
OF_DOCKER = {
    ".dockerenv": b"",
    "etc/hosts": b"127.0.0.1 localhost\n",
    "etc/hostname": b"f00d\n",
    "etc/resolv.conf": b"nameserver 192.0.2.1\n",
    "dev/console": b"",
    "dev/shm/x": b"x",
    "run/pid": b"1",
    "tmp/left": b"over",
    "proc/version": b"Linux",
}


def bzimage(version: bytes = b"6.12.1-test (builder@host) #1") -> bytes:
    """Something with the header of an x86 kernel (Documentation/arch/x86/boot.rst)."""
    kernel = bytearray(os.urandom(4096) if version == b"random" else bytes(range(256)) * 16)
    kernel[0x202:0x206] = b"HdrS"
    kernel[0x20E:0x210] = struct.pack("<H", 0x300)
    kernel[0x500 : 0x500 + len(version) + 1] = version + b"\0"
    return bytes(kernel)


def directory(root: Path, *, backwards: bool = False, time: int = 1_000_000_000, umask: int = 0o022) -> Path:
    """The tree as a directory, made in one order or the other."""
    root.mkdir()
    names = sorted(FILES | LINKS, reverse=backwards)
    previous = os.umask(umask)
    try:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in LINKS:
                path.symlink_to(LINKS[name])
            else:
                path.write_bytes(FILES[name][0])
                path.chmod(FILES[name][1] & ~umask)
    finally:
        os.umask(previous)
    for path in (root, *root.rglob("*")):
        os.utime(path, (time, time), follow_symlinks=False)
    return root


def tar(path: Path, *, backwards: bool = False, owner: int = 0, time: int = 0, docker: bool = True) -> Path:
    """The tree as `docker export` writes it."""
    members: list[tuple[tarfile.TarInfo, bytes]] = []
    contents = {name: content for name, (content, _) in FILES.items()} | (OF_DOCKER if docker else {})
    parents = {
        str(parent) for name in (*contents, *LINKS) for parent in Path(name).parents if str(parent) != "."
    }
    for name in parents - {"bin"}:
        info = tarfile.TarInfo(name + "/")
        info.type, info.mode = tarfile.DIRTYPE, 0o2775
        members.append((info, b""))
    for name, content in contents.items():
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), FILES.get(name, (b"", 0o644))[1]
        members.append((info, content))
    for name, target in LINKS.items() | ({("etc/mtab", "/proc/mounts")} if docker else set()):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        members.append((info, b""))
    members.sort(key=lambda member: member[0].name, reverse=backwards)
    with tarfile.open(path, "w") as archive:
        for info, content in members:
            info.mtime, info.uid, info.gid = time, owner, owner
            archive.addfile(info, io.BytesIO(content))
    return path


@dataclass(frozen=True)
class Record:
    """One entry of a cpio archive, as the kernel's init/initramfs.c reads it."""

    inode: int
    mode: int
    uid: int
    gid: int
    links: int
    time: int
    device: tuple[int, int]
    content: bytes


def unpack(archive: bytes) -> dict[str, Record]:
    """Every entry by name, in archive order."""
    records: dict[str, Record] = {}
    position = 0
    while True:
        assert archive[position : position + 6] == b"070701"
        (inode, mode, uid, gid, links, time, size, major, minor, *device, name_size, check) = (
            int(archive[position + 6 + 8 * field : position + 14 + 8 * field], 16) for field in range(13)
        )
        assert major == minor == check == 0
        start = position + 110
        assert archive[start + name_size - 1] == 0
        name = archive[start : start + name_size - 1].decode("utf-8", "surrogateescape")
        body = start + name_size + -(start + name_size) % 4
        assert not archive[start + name_size : body].strip(b"\0")
        position = body + size + -(body + size) % 4
        if name == "TRAILER!!!":
            assert not archive[position:].strip(b"\0")
            return records
        assert name not in records
        records[name] = Record(
            inode, mode, uid, gid, links, time, (device[0], device[1]), archive[body : body + size]
        )


def sections(eif: bytes) -> list[tuple[int, bytes]]:
    """Type and content of every section, by the header's table; the CRC is checked."""
    magic, version, flags, _, _, _, count = struct.unpack_from(">4sHHQQHH", eif)
    assert (magic, version, flags) == (b".eif", 4, 0)
    offsets = struct.unpack_from(">32Q", eif, 28)
    sizes = struct.unpack_from(">32Q", eif, 284)
    assert struct.unpack_from(">I", eif, 544)[0] == zlib.crc32(eif[:544] + eif[548:])
    found = []
    for offset, size in zip(offsets[:count], sizes[:count], strict=True):
        kind, section_flags, section_size = struct.unpack_from(">HHQ", eif, offset)
        assert (section_flags, section_size) == (0, size)
        found.append((kind, eif[offset + 12 : offset + 12 + size]))
    return found


def pcr(*contents: bytes) -> str:
    """SHA384(48 zero bytes, SHA384(contents)), in hexadecimal."""
    return hashlib.sha384(bytes(48) + hashlib.sha384(b"".join(contents)).digest()).hexdigest()
