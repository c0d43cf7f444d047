"""What lies in an image, and what a container of it does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
ENCLAVE = os.environ.get("COSIGNER_ENCLAVE_IMAGE", "cosigner-enclave")
SIMULATOR = os.environ.get("COSIGNER_SIMULATOR_IMAGE", "cosigner-simulator")
HOST = os.environ.get("COSIGNER_HOST_IMAGE", "cosigner-host")
PYTHON = ("/usr/bin/python3", "-I", "-B")

# Docker makes these in every container, whatever the image holds.
_OF_DOCKER = {
    ".dockerenv",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "dev/console",
    "dev/pts",
    "dev/shm",
}


@dataclass(frozen=True)
class Entry:
    """One path. ``content`` is the digest of a file, the target of a link."""

    kind: str
    mode: int
    owner: tuple[int, int]
    size: int
    content: str
    head: bytes


def docker(*arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done


@cache
def configuration(image: str) -> dict:
    return json.loads(docker("image", "inspect", image).stdout)[0]["Config"]


@cache
def files(image: str) -> dict[str, Entry]:
    """Every path of an image's file system, without Docker's own."""
    container = docker("create", image, "none").stdout.strip()
    try:
        with (
            subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as archive,
        ):
            found = {
                name: _entry(archive, member) for member in archive if (name := _name(member)) is not None
            }
    finally:
        docker("rm", container)
    if not any(name.startswith("etc/") for name in found):
        found.pop("etc", None)  # made for Docker's own files
    return found


def _name(member: tarfile.TarInfo) -> str | None:
    name = member.name.removeprefix("./").rstrip("/")
    return None if name in _OF_DOCKER or name == "" else name


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    data = b""
    if member.isreg():
        data = archive.extractfile(member).read()
        content = hashlib.sha256(data).hexdigest()
    else:
        content = member.linkname
    kind = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link"}.get(
        member.type, "other"
    )
    return Entry(kind, member.mode, (member.uid, member.gid), member.size, content, data[:4])


def python(image: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a container without network, as the image's own user."""
    run = ["run", "--rm", "--network=none", "--read-only", f"--entrypoint={PYTHON[0]}", *arguments, image]
    return docker(*run, *PYTHON[1:], "-c", code, check=False)
