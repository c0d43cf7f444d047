"""Images that differ from the one under test in files of the application, and therefore in PCR0 and PCR2."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from attestation.eif import measure
from image.eif import CMDLINE, KERNEL, METADATA, RAMDISK, Image
from image.layout import ROOT
from image.ramdisk import File, pack

_HEADER: Final = 548  # bytes; each section has a header of 12
_SECTION: Final = 12
_KINDS: Final = {"kernel": KERNEL, "cmdline": CMDLINE, "ramdisk": RAMDISK, "metadata": METADATA}
PROGRAM: Final = "opt/cosigner/enclave/__main__.py"
PROBES: Final = Path(__file__).parent / "probes"


def with_files(eif: Path, files: dict[str, bytes], output: Path) -> dict[int, bytes]:
    """Write an image with these files added to the application, or in the place of its own; returns its PCR0, 1 and 2.

    They are a third ramdisk: the kernel unpacks ramdisks one over the other. Paths are those of the running enclave, without
    the leading slash.
    """
    raw = eif.read_bytes()
    parts: dict[int, list[bytes]] = {kind: [] for kind in _KINDS.values()}
    offset = _HEADER
    for kind, size in measure(io.BytesIO(raw)).sections:
        offset += _SECTION
        parts[_KINDS[kind]].append(raw[offset : offset + size])
        offset += size
    (kernel,), (cmdline,) = parts[KERNEL], parts[CMDLINE]
    overlay = pack({f"{ROOT}/{path}": File(content) for path, content in files.items()})
    image = Image(
        kernel=kernel, cmdline=cmdline.decode(), ramdisks=[*parts[RAMDISK], overlay], version="variant"
    )
    output.write_bytes(image.encode())
    return image.pcrs()


def with_program(eif: Path, name: str, output: Path) -> dict[int, bytes]:
    """Write an image in which PID 1 starts ``probes/name`` where it starts the enclave; returns its PCR0, 1 and 2.

    Python prefers the compiled form of the program, which is replaced by nothing, so that it reads the source.
    """
    compiled = PROGRAM.replace("__main__.py", "__pycache__/__main__.cpython-311.pyc")
    return with_files(eif, {PROGRAM: (PROBES / name).read_bytes(), compiled: b""}, output)
