"""Image files: measured as nitro.md says, and refused with a code when two readers could see two images."""

import hashlib
import io
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.eif import EifError, Measurements, measure
from attestation.eif_errors import EIF_CODES
from tests.attestation import images
from tests.attestation.images import (
    APP,
    BOOT,
    CMDLINE,
    CMDLINE_BYTES,
    DATA,
    KERNEL,
    KERNEL_BYTES,
    METADATA,
    METADATA_BYTES,
    PCR0,
    PCR1,
    PCR2,
    RAMDISK,
    SIGNATURE,
    certificate,
    cose,
    image,
    octets,
    pcr,
    sections,
    signature_section,
    signed_image,
    signed_payload,
    signing_key,
    string,
    text,
)  # fmt: skip

# What every enclave without an application ramdisk has in PCR2, as seen in the field.
EMPTY_PCR2 = (
    "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"
)


def measured(data: bytes) -> Measurements:
    return measure(io.BytesIO(data))


def test_an_image_is_measured() -> None:
    found = measured(image())
    assert found.pcrs == {0: PCR0, 1: PCR1, 2: PCR2}
    assert found.signer is None
    assert found.cmdline == CMDLINE_BYTES
    assert (found.architecture, found.default_memory, found.default_cpus) == ("x86_64", 512 << 20, 2)
    assert found.metadata["ImageName"] == "test"
    assert [kind for kind, _ in found.sections] == ["kernel", "cmdline", "metadata", "ramdisk", "ramdisk"]
    assert found.sections[0][1] == len(KERNEL_BYTES)
    assert found.size == len(image())
    with pytest.raises(TypeError):
        found.pcrs[0] = PCR1  # type: ignore[index]


def test_one_ramdisk_gives_the_known_constant_in_pcr2() -> None:
    found = measured(image(sections(ramdisks=[BOOT])))
    assert found.pcrs[2].hex() == EMPTY_PCR2
    assert found.pcrs[0] == found.pcrs[1] == PCR1


def test_every_further_ramdisk_belongs_to_the_application() -> None:
    found = measured(image(sections(ramdisks=[BOOT, APP, DATA])))
    assert found.pcrs == {
        0: pcr(KERNEL_BYTES, CMDLINE_BYTES, BOOT, APP, DATA),
        1: PCR1,
        2: pcr(APP, DATA),
    }


def test_headers_and_metadata_are_not_measured() -> None:
    other = sections()
    other[2] = (METADATA, b"{}")
    for same in (image(other), image(flags=1), image([*other[:2], *other[3:], other[2]])):
        assert measured(same).pcrs == {0: PCR0, 1: PCR1, 2: PCR2}
    assert measured(image(flags=1)).architecture == "arm64"


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_a_signed_image_has_pcr8(curve: str, tmp_path: Path) -> None:
    found = measured(signed_image(signature_section(curve=curve)))
    assert found.signer is not None
    assert found.signer.subject == "CN=image signer"
    assert found.pcrs[8] == pcr(found.signer.certificate)
    # openssl's fingerprint is what AWS documents for PCR8: SHA384(48 zeros, fingerprint).
    (tmp_path / "cert.der").write_bytes(found.signer.certificate)
    command = ["openssl", "x509", "-inform", "DER", "-in", "cert.der", "-noout", "-fingerprint", "-sha384"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    fingerprint = bytes.fromhex(shown.split("=")[1].replace(":", ""))
    assert hashlib.sha384(bytes(48) + fingerprint).digest() == found.pcrs[8]


def test_a_tagged_signature_and_windows_line_ends_are_read_as_well() -> None:
    signed = b"\xd2" + cose(signed_payload(PCR0), signing_key())
    pem = certificate(signing_key()).public_bytes(Encoding.PEM).replace(b"\n", b"\r\n")
    assert 8 in measured(signed_image(signature_section(signed=signed, pem=pem))).pcrs


def without(kind: int) -> list[images.Section]:
    return [section for section in sections() if section[0] != kind]


def replaced(kind: int, content: bytes) -> list[images.Section]:
    return [(found, content if found == kind else data) for found, data in sections()]


def moved_offset(offsets: list[int], sizes: list[int]) -> None:
    offsets[1] += 1


def overlapping(offsets: list[int], sizes: list[int]) -> None:
    offsets[4] = offsets[3]


def exchanged(offsets: list[int], sizes: list[int]) -> None:
    offsets[3], offsets[4] = offsets[4], offsets[3]
    sizes[3], sizes[4] = sizes[4], sizes[3]


def into_the_header(offsets: list[int], sizes: list[int]) -> None:
    offsets[0] = 4


def shortened(offsets: list[int], sizes: list[int]) -> None:
    offsets[5] = sizes[5] = 0


def behind_the_table(offsets: list[int], sizes: list[int]) -> None:
    sizes[5] = 1


def altered(which: int, **changes: int) -> Callable[[int, int, int], tuple[int, int, int]]:
    def alter(found: int, flags: int, size: int) -> tuple[int, int, int]:
        if found != which:
            return found, flags, size
        return changes.get("kind", found), changes.get("flags", flags), changes.get("size", size)

    return alter


RSA_KEY = rsa.generate_private_key(65537, 2048)
PEM = certificate(signing_key()).public_bytes(Encoding.PEM)
GOOD_COSE = cose(signed_payload(PCR0), signing_key())
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "truncated"),
    "only the magic": (lambda: b".eif", "truncated"),
    "header cut short": (lambda: image()[:547], "truncated"),
    "header alone": (lambda: image()[:548], "truncated"),
    "last byte missing": (lambda: image()[:-1], "truncated"),
    "cut inside a section header": (lambda: image()[: 548 + 6], "truncated"),
    "another magic": (lambda: image(magic=b".elf"), "magic"),
    "a document": (lambda: b"\x84\x44\xa1\x01\x38\x22" * 200, "magic"),
    "version 3": (lambda: image(version=3), "version"),
    "version 5": (lambda: image(version=5), "version"),
    "unknown flag": (lambda: image(flags=2), "header_malformed"),
    "reserved field": (lambda: image(reserved=1), "header_malformed"),
    "unused field": (lambda: image(unused=1), "header_malformed"),
    "no sections": (lambda: image(count=0), "header_malformed"),
    "33 sections": (lambda: image(count=33), "header_malformed"),
    "table longer than its count": (lambda: image(count=4), "header_malformed"),
    "a size behind the table": (lambda: image(table=behind_the_table), "header_malformed"),
    "gap between sections": (lambda: image(table=moved_offset), "layout"),
    "overlapping sections": (lambda: image(table=overlapping), "layout"),
    "table in another order than the file": (lambda: image(table=exchanged), "layout"),
    "section inside the header": (lambda: image(table=into_the_header), "layout"),
    "table shorter than the file": (lambda: image([*sections(), (RAMDISK, DATA)], count=5, table=shortened), "trailing_bytes"),
    "unknown section type": (lambda: image(section_header=altered(RAMDISK, kind=6)), "section_malformed"),
    "section type 0": (lambda: image(section_header=altered(METADATA, kind=0)), "section_malformed"),
    "section flags": (lambda: image(section_header=altered(KERNEL, flags=1)), "section_malformed"),
    "section size against the table": (lambda: image(section_header=altered(CMDLINE, size=1)), "section_malformed"),
    "ramdisk of 2^63 bytes": (lambda: image(sections(ramdisks=[BOOT]), table=lambda _, sizes: sizes.__setitem__(3, 2**63), section_header=altered(RAMDISK, size=2**63)), "section_size"),
    "empty kernel": (lambda: image(replaced(KERNEL, b"")), "section_size"),
    "empty ramdisk": (lambda: image(sections(ramdisks=[BOOT, b""])), "section_size"),
    "empty metadata": (lambda: image(replaced(METADATA, b"")), "section_size"),
    "command line of 64 KiB and a byte": (lambda: image(replaced(CMDLINE, b"a" * 65537)), "section_size"),
    "metadata of 256 KiB and a byte": (lambda: image(replaced(METADATA, b" " * (1 << 18) + b"{")), "section_size"),
    "signature of 32 KiB and a byte": (lambda: signed_image(bytes(32769)), "section_size"),
    "command line first": (lambda: image([sections()[1], sections()[0], *sections()[2:]]), "section_order"),
    "ramdisk before the command line": (lambda: image([sections()[0], *sections()[3:], *sections()[1:3]]), "section_order"),
    "kernel last": (lambda: image([*sections()[1:], sections()[0]]), "section_order"),
    "two kernels": (lambda: image([sections()[0], *sections()]), "section_repeated"),
    "two command lines": (lambda: image([*sections()[:2], *sections()[1:]]), "section_repeated"),
    "two metadata sections": (lambda: image([*sections(), sections()[2]]), "section_repeated"),
    "two signatures": (lambda: image([*sections(), *[(SIGNATURE, signature_section())] * 2]), "section_repeated"),
    "no kernel": (lambda: image(without(KERNEL)), "section_missing"),
    "no command line": (lambda: image(without(CMDLINE)), "section_missing"),
    "no ramdisk": (lambda: image(without(RAMDISK)), "section_missing"),
    "no metadata": (lambda: image(without(METADATA)), "section_missing"),
    "a byte behind": (lambda: image() + b"\0", "trailing_bytes"),
    "an image behind": (lambda: image() * 2, "trailing_bytes"),
    "CRC": (lambda: image(crc=lambda value: value ^ 1), "crc_mismatch"),
    "CRC zero": (lambda: image(crc=lambda _: 0), "crc_mismatch"),
    "altered ramdisk": (lambda: image()[:-1] + b"?", "crc_mismatch"),
    "zero byte in the command line": (lambda: image(replaced(CMDLINE, b"quiet\0init=/bin/sh")), "cmdline_malformed"),
    "metadata is a list": (lambda: image(replaced(METADATA, b"[1]")), "metadata_malformed"),
    "metadata is not JSON": (lambda: image(replaced(METADATA, b"{]")), "metadata_malformed"),
    "metadata with a key twice": (lambda: image(replaced(METADATA, b'{"a":1,"a":2}')), "metadata_malformed"),
    "metadata with NaN": (lambda: image(replaced(METADATA, b'{"a":NaN}')), "metadata_malformed"),
    "metadata nested deeply": (lambda: image(replaced(METADATA, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}")), "metadata_malformed"),
    "metadata in UTF-16": (lambda: image(replaced(METADATA, METADATA_BYTES.decode().encode("utf-16"))), "metadata_malformed"),
    "signature is no CBOR": (lambda: signed_image(b"\xff"), "signature_malformed"),
    "signature with trailing byte": (lambda: signed_image(signature_section() + b"\0"), "signature_malformed"),
    "no signature in the list": (lambda: signed_image(b"\x80"), "signature_malformed"),
    "two signatures in the list": (lambda: signed_image(b"\x82" + signature_section()[1:] * 2), "signature_malformed"),
    "bytes as byte strings": (lambda: signed_image(b"\x81\xa2" + text("signing_certificate") + string(PEM) + text("signature") + string(GOOD_COSE)), "signature_malformed"),
    "fields exchanged": (lambda: signed_image(b"\x81\xa2" + text("signature") + octets(GOOD_COSE) + text("signing_certificate") + octets(PEM)), "signature_malformed"),
    "a field more": (lambda: signed_image(b"\x81\xa3" + signature_section()[2:] + text("x") + b"\0"), "signature_malformed"),
    "number above 255": (lambda: signed_image(b"\x81\xa2" + text("signing_certificate") + b"\x81\x19\x01\x00" + text("signature") + octets(GOOD_COSE)), "signature_malformed"),
    "long integer": (lambda: signed_image(signature_section().replace(b"\x18\x2d\x18\x2d", b"\x19\x00\x2d\x18\x2d", 1)), "signature_malformed"),
    "a tag inside": (lambda: signed_image(b"\xc0" + signature_section()), "signature_malformed"),
    "signature is no COSE": (lambda: signed_image(signature_section(signed=b"\x80")), "signature_malformed"),
    "short signature": (lambda: signed_image(signature_section(signed=GOOD_COSE[:-98] + string(GOOD_COSE[-96:-1]))), "signature_malformed"),
    "unprotected header": (lambda: signed_image(signature_section(signed=GOOD_COSE.replace(b"\xa0", b"\xa1\x04\x40", 1))), "signature_malformed"),
    "no certificate": (lambda: signed_image(signature_section(pem=b"")), "signature_certificate"),
    "two certificates": (lambda: signed_image(signature_section(pem=PEM * 2)), "signature_certificate"),
    "garbage in PEM": (lambda: signed_image(signature_section(pem=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), "signature_certificate"),
    "a private key beside it": (lambda: signed_image(signature_section(pem=PEM + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")), "signature_certificate"),
    "RSA certificate": (lambda: signed_image(signature_section(pem=certificate(RSA_KEY).public_bytes(Encoding.PEM))), "signature_algorithm"),
    "another algorithm in the header": (lambda: signed_image(signature_section(signed=cose(signed_payload(PCR0), signing_key(), protected=b"\xa1\x01\x26"))), "signature_algorithm"),
    "key of another curve": (lambda: signed_image(signature_section(pem=certificate(signing_key("P-256")).public_bytes(Encoding.PEM))), "signature_algorithm"),
    "signature of another image": (lambda: signed_image(signature_section(PCR1)), "signature_invalid"),
    "signature over another PCR": (lambda: signed_image(signature_section(signed=cose(signed_payload(PCR0, index=1), signing_key()))), "signature_invalid"),
    "signed by a stranger": (lambda: signed_image(signature_section(signed=cose(signed_payload(PCR0), images.ec.generate_private_key(images.ec.SECP384R1())))), "signature_invalid"),
    "signature all zero": (lambda: signed_image(signature_section(signed=GOOD_COSE[:-96] + bytes(96))), "signature_invalid"),
    "signature taken to another image": (lambda: image([*sections(ramdisks=[BOOT, DATA]), (SIGNATURE, signature_section())]), "signature_invalid"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_refused_with_their_code(name: str) -> None:
    make, code = BAD[name]
    with pytest.raises(EifError) as caught:
        measured(make())
    assert caught.value.code == code
    assert str(caught.value) == f"{code}: {caught.value.message}"


def test_every_code_has_an_image() -> None:
    assert {code for _, code in BAD.values()} == EIF_CODES.keys()


class Slow(io.RawIOBase):
    """Gives at most seven bytes at a time and refuses to seek, like a pipe."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.largest = 0

    def read(self, size: int = -1) -> bytes:
        self.largest = max(self.largest, size)
        assert size >= 0
        return self._data.read(min(size, 4099))

    def seek(self, *_: object) -> int:
        raise OSError("not seekable")


def test_a_pipe_will_do_and_no_read_is_large() -> None:
    large = [(kind, data * 200 if kind == RAMDISK else data) for kind, data in sections()]
    pipe = Slow(image(large))
    found = measure(pipe)  # type: ignore[arg-type]
    assert found.pcrs[2] == pcr(APP * 200)
    assert pipe.largest <= 1 << 20


def test_a_promised_terabyte_is_not_allocated() -> None:
    content = image(
        sections(ramdisks=[BOOT]),
        table=lambda _, sizes: sizes.__setitem__(3, 1 << 36),
        section_header=altered(RAMDISK, size=1 << 36),
    )
    with pytest.raises(EifError, match="truncated"):
        measured(content)


IMAGE = signed_image()


@given(st.integers(0, len(IMAGE) * 8 - 1))
@settings(max_examples=300, deadline=None)
def test_no_single_bit_of_an_image_can_change(bit: int) -> None:
    changed = bytearray(IMAGE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EifError):
        measured(bytes(changed))


SMALL = image([(KERNEL, b"k"), (CMDLINE, b""), (METADATA, b"{}"), (RAMDISK, b"r")])


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
@settings(max_examples=600, deadline=None)
def test_what_is_accepted_under_a_right_crc_is_written_in_one_way(position: int, byte: int) -> None:
    changed = bytearray(SMALL)
    changed[position] = byte
    struct.pack_into(">I", changed, 544, zlib.crc32(bytes(changed[:544] + changed[548:])))
    try:
        found = measured(bytes(changed))
    except EifError:
        return
    # Only what is measured, or said not to be, may differ.
    free = {*range(6, 24), 548 + 12, len(SMALL) - 1}
    assert position in free or bytes(changed) == SMALL or 544 <= position < 548
    assert found.size == len(SMALL)


@given(st.binary(max_size=700))
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_in_an_eif_error(data: bytes) -> None:
    for raw in (data, b".eif" + data, IMAGE[:548] + data):
        with pytest.raises(EifError):
            measured(raw)
