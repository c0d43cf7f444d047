"""Measure an enclave image file: what an enclave started from it will have in PCR0, PCR1, PCR2 and PCR8.

The format is that of aws-nitro-enclaves-image-format (`src/defs/mod.rs`, version 4), all integers big endian:

    header   548 bytes: ".eif", u16 version, u16 flags (bit 0: arm64), u64 default memory, u64 default CPUs,
             u16 reserved, u16 number of sections, 32 u64 offsets, 32 u64 sizes, u32 unused, u32 CRC-32
    section  12 bytes: u16 type, u16 flags, u64 size; then the content

AWS's own reader walks through the file and ignores the table of offsets; QEMU's follows the table. An image
for which the two would differ has two measurements, so here it has none: sections lie one behind the other in
the order of the table, without gap or overlap, up to the last byte of the file, and kernel, command line and
ramdisks come in the order in which they are measured. That also means one pass: the file is read once, in
pieces, and may be a pipe.

Headers and metadata are not measured (only covered by the CRC, which anybody can recompute): nothing that they
say is vouched for by an attestation document.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from attestation.eif_errors import EifError
from attestation.eif_signature import ImageSigner, verify_signature
from attestation.strict_json import FileError, parse_object

__all__ = ["EifError", "ImageSigner", "Measurements", "measure"]

HEADER_BYTES: Final = 548
SECTION_HEADER_BYTES: Final = 12
MAX_SECTIONS: Final = 32
VERSION: Final = 4
KERNEL, CMDLINE, RAMDISK, SIGNATURE, METADATA = 1, 2, 3, 4, 5
_NAMES: Final = {KERNEL: "kernel", CMDLINE: "cmdline", RAMDISK: "ramdisk", SIGNATURE: "signature", METADATA: "metadata"}  # fmt: skip
_SIZES: Final = {  # least and most bytes of content; only the signature's limit is AWS's own
    KERNEL: (1, 1 << 30),
    CMDLINE: (0, 1 << 16),
    RAMDISK: (1, 1 << 36),
    SIGNATURE: (1, 32768),
    METADATA: (2, 1 << 18),
}
_FLAG_ARM64: Final = 1
_CHUNK: Final = 1 << 20
_HEADER: Final = Struct(">HHQQHH32Q32QI")  # without magic and CRC
_SECTION: Final = Struct(">HHQ")
_ZEROS: Final = bytes(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What an image measures to, and what else its file says.

    `pcrs`: 0, 1 and 2, and 8 if the image is signed; 48 bytes each. `signer`: of a signed image; its signature
    over PCR0 has been verified. `cmdline` is measured. Not measured, so anybody may have changed them:
    `architecture` ("x86_64" or "arm64"), `default_memory` (bytes), `default_cpus`, `metadata` (JSON).
    `sections`: type name and content size in bytes, in file order. `size`: of the file, in bytes.
    """

    pcrs: Mapping[int, bytes]
    signer: ImageSigner | None
    cmdline: bytes
    architecture: str
    default_memory: int
    default_cpus: int
    metadata: Mapping[str, Any]
    sections: tuple[tuple[str, int], ...]
    size: int


def measure(file: BinaryIO) -> Measurements:
    """Read one image from `file` to its end (never seeking, in pieces of 1 MiB) and measure it.

    Raises EifError, and whatever `file.read` raises.
    """
    reader = _Reader(file)
    header = _read_header(reader)
    sections = _Sections()
    for size in header.sizes:
        sections.read(reader, size)
    reader.expect_end()
    sections.expect_complete()
    if reader.crc != header.crc:
        raise EifError("crc_mismatch", f"CRC-32 is {reader.crc:08x}, the header says {header.crc:08x}")
    pcrs = sections.pcrs()
    signer = None
    if SIGNATURE in sections.kept:
        signer = verify_signature(sections.kept[SIGNATURE], pcr0=pcrs[0])
        pcrs[8] = _extended(hashlib.sha384(signer.certificate))
    return Measurements(
        pcrs=MappingProxyType(pcrs),
        signer=signer,
        cmdline=_cmdline(sections.kept[CMDLINE]),
        architecture="arm64" if header.flags & _FLAG_ARM64 else "x86_64",
        default_memory=header.default_memory,
        default_cpus=header.default_cpus,
        metadata=_metadata(sections.kept[METADATA]),
        sections=tuple(zip((_NAMES[kind] for kind in sections.kinds), header.sizes, strict=True)),
        size=reader.position,
    )


class _Sections:
    """The sections read so far: large ones went into the hashes, small ones are kept."""

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.kept: dict[int, bytes] = {}
        self._image = hashlib.sha384()  # PCR0: kernel, command line, all ramdisks
        self._bootstrap = self._image  # PCR1: kernel, command line, first ramdisk
        self._application = hashlib.sha384()  # PCR2: all other ramdisks

    def read(self, reader: _Reader, size: int) -> None:
        kind = _read_section_header(reader, size)
        _check_order(self.kinds, kind)
        if kind == RAMDISK and RAMDISK in self.kinds:
            reader.feed(size, self._image, self._application)
        elif kind == RAMDISK:
            reader.feed(size, self._image)
            self._bootstrap = self._image.copy()  # PCR1 measures what PCR0 begins with
        elif kind == KERNEL:
            reader.feed(size, self._image)
        else:
            self.kept[kind] = reader.read(size)
            if kind == CMDLINE:
                self._image.update(self.kept[kind])
        self.kinds.append(kind)

    def expect_complete(self) -> None:
        for kind in (KERNEL, CMDLINE, RAMDISK, METADATA):
            if kind not in self.kinds:
                raise EifError("section_missing", f"no {_NAMES[kind]} section")

    def pcrs(self) -> dict[int, bytes]:
        return {0: _extended(self._image), 1: _extended(self._bootstrap), 2: _extended(self._application)}


def _extended(content: hashlib._Hash) -> bytes:
    """A PCR that was extended once: SHA-384 of its 48 zeros and the SHA-384 of the content."""
    return hashlib.sha384(_ZEROS + content.digest()).digest()


class _Reader:
    """The file, front to back; counts the bytes, and takes the CRC of all but the CRC itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = 0
        self.crc = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, all of them kept in memory: the caller has bounded `size`."""
        pieces = []
        while size > 0:
            piece = self._file.read(min(size, _CHUNK))
            if not piece:
                raise EifError("truncated", f"the file ends after {self.position} bytes")
            pieces.append(piece)
            size -= len(piece)
            self.position += len(piece)
        whole = b"".join(pieces)
        self.crc = zlib.crc32(whole, self.crc)
        return whole

    def feed(self, size: int, *hashers: hashlib._Hash) -> None:
        """Pass `size` bytes to every hasher, a piece at a time."""
        while size > 0:
            piece = self.read(min(size, _CHUNK))
            size -= len(piece)
            for hasher in hashers:
                hasher.update(piece)

    def expect_end(self) -> None:
        if self._file.read(1):
            raise EifError("trailing_bytes", f"bytes follow the last section, which ends at {self.position}")


@dataclass(frozen=True, slots=True)
class _Header:
    flags: int
    default_memory: int
    default_cpus: int
    sizes: tuple[int, ...]
    crc: int


def _read_header(reader: _Reader) -> _Header:
    first = reader.read(4)
    if first != b".eif":
        raise EifError("magic", "the file does not begin with .eif")
    rest = reader.read(HEADER_BYTES - 8)
    crc_before = reader.crc
    crc = int.from_bytes(reader.read(4), "big")
    reader.crc = crc_before
    fields = _HEADER.unpack(rest)
    version, flags, default_memory, default_cpus, reserved, count = fields[:6]
    offsets, sizes, unused = fields[6 : 6 + MAX_SECTIONS], fields[6 + MAX_SECTIONS : -1], fields[-1]
    if version != VERSION:
        raise EifError("version", f"version {version} of the format; known is {VERSION}")
    if flags & ~_FLAG_ARM64 or reserved or unused:
        raise EifError("header_malformed", "unknown flags, or reserved fields that are not zero")
    if not 0 < count <= MAX_SECTIONS:
        raise EifError("header_malformed", f"{count} sections; allowed are 1 to {MAX_SECTIONS}")
    if any(offsets[count:]) or any(sizes[count:]):
        raise EifError("header_malformed", f"the table goes on behind its {count} sections")
    expected = HEADER_BYTES
    for number in range(count):
        if offsets[number] != expected:
            raise EifError("layout", f"section {number} begins at {offsets[number]}, not at {expected}")
        expected += SECTION_HEADER_BYTES + sizes[number]
    return _Header(flags, default_memory, default_cpus, sizes[:count], crc)


def _read_section_header(reader: _Reader, expected_size: int) -> int:
    """The type of the section that begins here."""
    kind: int
    kind, flags, size = _SECTION.unpack(reader.read(SECTION_HEADER_BYTES))
    if kind not in _NAMES:
        raise EifError("section_malformed", f"a section has the unknown type {kind}")
    if flags:
        raise EifError("section_malformed", f"the {_NAMES[kind]} section has flags")
    if size != expected_size:
        raise EifError(
            "section_malformed", f"the {_NAMES[kind]} section has {size} bytes, not {expected_size}"
        )
    least, most = _SIZES[kind]
    if not least <= size <= most:
        raise EifError(
            "section_size", f"the {_NAMES[kind]} section has {size} bytes; allowed are {least} to {most}"
        )
    return kind


def _check_order(before: list[int], kind: int) -> None:
    if kind != RAMDISK and kind in before:
        raise EifError("section_repeated", f"a second {_NAMES[kind]} section")
    # Types 1 to 3 are numbered in the order of measurement; signature and metadata may stand anywhere.
    if kind <= RAMDISK and any(kind < other <= RAMDISK for other in before):
        raise EifError("section_order", f"the {_NAMES[kind]} comes too late to be measured in order")


def _cmdline(raw: bytes) -> bytes:
    if b"\0" in raw:  # the kernel would not see what is behind it
        raise EifError("cmdline_malformed", "the command line contains a zero byte")
    return raw


def _metadata(raw: bytes) -> Mapping[str, Any]:
    try:
        return MappingProxyType(parse_object(raw, max_bytes=len(raw)))
    except FileError as error:
        raise EifError("metadata_malformed", f"the metadata is {error.message}") from error
