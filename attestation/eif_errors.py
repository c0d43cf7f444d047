"""The exception of the image file reader, and the table of its codes."""

from __future__ import annotations

from typing import Final

EIF_CODES: Final[dict[str, str]] = {
    "truncated": "the file ends before the image does",
    "magic": "the file does not begin with .eif",
    "version": "not version 4 of the format",
    "header_malformed": "unknown flags, reserved fields in use, or an impossible number of sections",
    "layout": "sections do not lie one behind the other, in the order of the header's table",
    "section_malformed": "a section of unknown type or with flags, or of another size than the header says",
    "section_size": "a section is empty or longer than its kind may be",
    "section_order": "kernel, command line and ramdisks are not in the order in which they are measured",
    "section_repeated": "two kernels, command lines, signatures or metadata sections",
    "section_missing": "no kernel, command line, ramdisk or metadata",
    "trailing_bytes": "bytes follow the last section",
    "crc_mismatch": "the CRC-32 of the header is not that of the file",
    "cmdline_malformed": "the kernel's command line contains a zero byte",
    "metadata_malformed": "the metadata is not one strict JSON object",
    "signature_malformed": "the signature section is not one canonical PCR signature",
    "signature_certificate": "the signing certificate is not one X.509 certificate in PEM",
    "signature_algorithm": "not ECDSA with the P-256, P-384 or P-521 key of the certificate and its own hash",
    "signature_invalid": "the image is signed for another PCR0, or not by its certificate",
}


class EifError(Exception):
    """An image file that cannot be measured, or must not be relied on.

    `code` is a key of `EIF_CODES`, stable; `message` one line for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        if code not in EIF_CODES:
            raise ValueError(code)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
