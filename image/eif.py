"""The enclave image file, as aws-nitro-enclaves-image-format writes it (version 4, x86_64): header, kernel, command line, metadata,
ramdisks. `attestation.eif` reads and measures it; nothing is shared with that reader, so that each checks the other.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .errors import ImageError

KERNEL, CMDLINE, RAMDISK, METADATA = 1, 2, 3, 5
_VERSION: Final = 4
_X86_64: Final = 0  # flags
_SLOTS: Final = 32
_HEADER: Final = struct.Struct(">4sHHQQHH32Q32QI")  # followed by the CRC
_SECTION: Final = struct.Struct(">HHQ")
_MAX_CMDLINE: Final = 2047  # COMMAND_LINE_SIZE of x86, less the final zero byte

# Hints for whoever starts the image without saying how; not measured.
_DEFAULT_MEMORY: Final = 1 << 30
_DEFAULT_CPUS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The contents of an image.

    :ivar ramdisks: the first boots (PCR1), the others are the application (PCR2).
    :ivar version: of the product; goes into the metadata, which is not measured.
    """

    kernel: bytes
    cmdline: str
    ramdisks: Sequence[bytes]
    version: str

    def encode(self) -> bytes:
        """The file.

        :raises ImageError: the command line is not what a kernel takes, or a part is empty.
        """
        sections = [
            (KERNEL, self.kernel),
            (CMDLINE, _checked(self.cmdline)),
            (METADATA, self._metadata()),
            *((RAMDISK, ramdisk) for ramdisk in self.ramdisks),
        ]
        if not self.kernel or not self.ramdisks or not all(self.ramdisks):
            raise ImageError("an image has a kernel and ramdisks, none of them empty")
        offsets, sizes = [0] * _SLOTS, [0] * _SLOTS
        body = bytearray()
        for slot, (kind, content) in enumerate(sections):
            offsets[slot] = _HEADER.size + 4 + len(body)
            sizes[slot] = len(content)
            body += _SECTION.pack(kind, 0, len(content)) + content
        header = _HEADER.pack(
            b".eif", _VERSION, _X86_64, _DEFAULT_MEMORY, _DEFAULT_CPUS, 0, len(sections), *offsets, *sizes, 0
        )  # fmt: skip
        return header + struct.pack(">I", zlib.crc32(body, zlib.crc32(header))) + bytes(body)

    def pcrs(self) -> dict[int, bytes]:
        """PCR0, 1 and 2 of an enclave that runs this image: SHA384(48 zeros ‖ SHA384(contents))."""
        cmdline = self.cmdline.encode()
        return {
            0: _extended(self.kernel, cmdline, *self.ramdisks),
            1: _extended(self.kernel, cmdline, self.ramdisks[0]),
            2: _extended(*self.ramdisks[1:]),
        }

    def _metadata(self) -> bytes:
        """The fields that `nitro-cli describe-eif` shows (`EifIdentityInfo`). No clock: the image is the same whenever it is built."""
        fields = {
            "ImageName": "cosigner",
            "ImageVersion": self.version,
            "BuildMetadata": {
                "BuildTime": "1970-01-01T00:00:00Z",
                "BuildTool": "cosigner image",
                "BuildToolVersion": self.version,
                "OperatingSystem": "Linux",
                "KernelVersion": _kernel_version(self.kernel),
            },
            "DockerInfo": {},
            "CustomMetadata": {},
        }
        return json.dumps(fields, separators=(",", ":")).encode()


def _extended(*contents: bytes) -> bytes:
    digest = hashlib.sha384()
    for content in contents:
        digest.update(content)
    return hashlib.sha384(bytes(48) + digest.digest()).digest()


def _checked(cmdline: str) -> bytes:
    if not re.fullmatch(r"[!-~]+( [!-~]+)*", cmdline) or len(cmdline) > _MAX_CMDLINE:
        raise ImageError(
            f"the command line is not words of printable ASCII with single spaces, at most {_MAX_CMDLINE} characters"
        )
    return cmdline.encode()


def _kernel_version(kernel: bytes) -> str:
    """From the header of a bzImage (Linux, Documentation/arch/x86/boot.rst: `HdrS` at 0x202, offset of the string at 0x20E)."""
    if kernel[0x202:0x206] != b"HdrS":
        raise ImageError("the kernel is not an x86 bzImage")
    start = 0x200 + int.from_bytes(kernel[0x20E:0x210], "little")
    found = re.match(rb"[0-9A-Za-z._+~-]{1,64}", kernel[start : start + 64])
    return found[0].decode() if found else "unknown"
