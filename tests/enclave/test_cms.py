"""KMS's envelopes: every encoding that opens, every change that must not, and openssl as another writer."""

import contextlib
import hashlib
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.cms import EnvelopeError, decrypt
from simulator.kms.envelope import Encoding, encode, key_identifier, seal_for_recipient

KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
DATA_KEY = bytes(range(32))
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
SEALED = {encoding: seal_for_recipient(DATA_KEY, KEY.public_key(), encoding) for encoding in Encoding}


def refused(envelope: bytes, key: rsa.RSAPrivateKey = KEY) -> str:
    with pytest.raises(EnvelopeError) as caught:
        decrypt(envelope, key)
    return caught.value.code


def sealed_parts(
    plaintext: bytes = DATA_KEY, *, pad: bytes | None = None, wrap: bytes | None = None
) -> dict[str, bytes]:
    """The parts of an envelope, with a padding and a wrapped content key to choose."""
    content_key, iv = b"K" * 32, b"I" * 16
    count = 16 - len(plaintext) % 16
    encryptor = Cipher(algorithms.AES256(content_key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(plaintext + (bytes([count]) * count if pad is None else pad))
    return {
        "recipient": key_identifier(KEY.public_key()),
        "encrypted_key": KEY.public_key().encrypt(content_key if wrap is None else wrap, OAEP),
        "iv": iv,
        "ciphertext": ciphertext,
    }


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("size", [1, 15, 16, 32, 999, 1000, 1001, 4096])
def test_every_encoding_opens(encoding: Encoding, size: int) -> None:
    plaintext = bytes(range(256)) * 16
    envelope = seal_for_recipient(plaintext[:size], KEY.public_key(), encoding)
    assert decrypt(envelope, KEY) == plaintext[:size]


@pytest.mark.parametrize("bits", [3072, 4096])
def test_longer_keys_open(bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    assert decrypt(seal_for_recipient(DATA_KEY, key.public_key(), Encoding.CHUNKED), key) == DATA_KEY


def test_envelopes_have_the_sizes_and_the_form_of_those_seen_from_kms() -> None:
    chunked, primitive = SEALED[Encoding.CHUNKED], SEALED[Encoding.PRIMITIVE]
    for envelope in (chunked, primitive):
        assert envelope.startswith(
            bytes.fromhex("3080 06092a864886f70d010703 a080 3080 020102 3182016b 30820167")
        )
    assert len(chunked) == 493  # 48 bytes of ciphertext in one chunk
    assert chunked.endswith(bytes(10))  # five ends of contents
    assert primitive.endswith(bytes(8))
    assert len(primitive) == 489


@pytest.mark.parametrize("options", [[], ["-stream"], ["-indef"]])
def test_envelopes_of_openssl_open(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "recipient.pem").write_bytes(certificate(KEY).public_bytes(serialization.Encoding.PEM))
    (tmp_path / "plaintext").write_bytes(DATA_KEY)
    command = [
        "openssl", "cms", "-encrypt", "-binary", "-aes256", "-in", "plaintext", "-outform", "DER", *options,
        "-keyid", "-recip", "recipient.pem", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256",
        "-keyopt", "rsa_mgf1_md:sha256",
    ]  # fmt: skip
    envelope = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert decrypt(envelope, KEY) == DATA_KEY


@pytest.mark.parametrize("encoding", Encoding)
def test_openssl_opens_the_simulators_envelopes(tmp_path: Path, encoding: Encoding) -> None:
    pem = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "envelope").write_bytes(SEALED[encoding])
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-in", "envelope", "-inkey", "key.pem"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == DATA_KEY


@pytest.mark.parametrize("encoding", Encoding)
def test_asn1crypto_reads_the_same_parts(encoding: Encoding) -> None:
    enveloped = asn1_cms.ContentInfo.load(SEALED[encoding])["content"]
    assert enveloped["version"].native == "v2"
    (recipient,) = enveloped["recipient_infos"]
    assert recipient.chosen["rid"].chosen.native == key_identifier(KEY.public_key())
    algorithm = recipient.chosen["key_encryption_algorithm"]
    assert algorithm["algorithm"].native == "rsaes_oaep"
    assert algorithm["parameters"]["hash_algorithm"]["algorithm"].native == "sha256"
    assert (
        enveloped["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native
        == "aes256_cbc"
    )


@pytest.mark.parametrize("options", [["-aes128"], ["-aes-192-cbc"], ["-des3"]])
def test_other_ciphers_are_refused(tmp_path: Path, options: list[str]) -> None:
    assert refused(openssl_envelope(tmp_path, [*options, "-keyid", "-recip", "recipient.pem", *oaep("sha256", "sha256")])) == "envelope_algorithm"  # fmt: skip


@pytest.mark.parametrize("hash_names", [("sha1", "sha1"), ("sha384", "sha384"), ("sha256", "sha1")])
def test_other_oaep_parameters_are_refused(tmp_path: Path, hash_names: tuple[str, str]) -> None:
    envelope = openssl_envelope(
        tmp_path, ["-aes256", "-keyid", "-recip", "recipient.pem", *oaep(*hash_names)]
    )
    assert refused(envelope) == "envelope_algorithm"


def test_pkcs1_key_transport_is_refused(tmp_path: Path) -> None:
    assert refused(openssl_envelope(tmp_path, ["-aes256", "-keyid", "recipient.pem"])) == "envelope_algorithm"


def test_a_recipient_by_issuer_and_serial_number_is_refused(tmp_path: Path) -> None:
    envelope = openssl_envelope(tmp_path, ["-aes256", "-recip", "recipient.pem", *oaep("sha256", "sha256")])
    assert refused(envelope) in {"envelope_malformed", "envelope_algorithm"}


def test_two_recipients_are_refused(tmp_path: Path) -> None:
    one = ["-recip", "recipient.pem", *oaep("sha256", "sha256")]
    assert refused(openssl_envelope(tmp_path, ["-aes256", "-keyid", *one, *one])) == "envelope_malformed"


def test_an_envelope_for_another_key_is_refused() -> None:
    for encoding in Encoding:
        assert refused(SEALED[encoding], OTHER) == "envelope_recipient"


@pytest.mark.parametrize(
    "parts",
    [
        {"encrypted_key": b"\x01" * 256},  # no OAEP inside
        {"encrypted_key": KEY.public_key().encrypt(b"K" * 16, OAEP)},  # a key for AES-128
        {"encrypted_key": KEY.public_key().encrypt(b"", OAEP)},
        {"encrypted_key": KEY.public_key().encrypt(b"L" * 32, OAEP)},  # another content key
        {"encrypted_key": b"\xff" * 256},  # not below the modulus
        sealed_parts(pad=b"\x00" * 16),
        sealed_parts(pad=b"\x11" * 16),
        sealed_parts(pad=b"\x02" * 15 + b"\x03"),
        sealed_parts(b"", pad=b"\x10" * 16),  # empty content
    ],
)
def test_whatever_goes_wrong_with_the_private_key_looks_the_same(parts: dict[str, bytes]) -> None:
    envelope = encode(**{**sealed_parts(), **parts}, encoding=Encoding.CHUNKED)
    with pytest.raises(EnvelopeError) as caught:
        decrypt(envelope, KEY)
    assert str(caught.value) == "envelope_decryption: it does not open with this key"


@pytest.mark.parametrize(
    "parts",
    [
        {"recipient": b"short"},
        {"recipient": bytes(33)},
        {"iv": bytes(15)},
        {"iv": bytes(17)},
        {"ciphertext": b""},
        {"ciphertext": bytes(31)},
        {"encrypted_key": bytes(255)},
        {"encrypted_key": bytes(257)},
    ],
)
def test_parts_of_wrong_sizes_are_refused(parts: dict[str, bytes]) -> None:
    for encoding in Encoding:
        assert refused(encode(**{**sealed_parts(), **parts}, encoding=encoding)) == "envelope_malformed"


def test_sizes_are_bounded() -> None:
    assert refused(b"") == "envelope_malformed"
    assert (
        refused(seal_for_recipient(bytes(5800), KEY.public_key(), Encoding.PRIMITIVE)) == "envelope_malformed"
    )
    assert refused(b"\x30\x80" * 3072) == "envelope_malformed"


def tlv(tag: int, content: bytes, *, indefinite: bool = False) -> bytes:
    if indefinite:
        return bytes([tag, 0x80]) + content + b"\0\0"
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


def rebuilt(content: Callable[[bytes], bytes]) -> bytes:
    """An envelope with another form of the encrypted content."""
    parts = sealed_parts()
    whole = encode(**parts, encoding=Encoding.PRIMITIVE)
    return whole.replace(tlv(0x80, parts["ciphertext"]), content(parts["ciphertext"]))


@pytest.mark.parametrize(
    "content",
    [
        lambda c: tlv(0xA0, tlv(4, c[:16]) + tlv(4, c[16:]), indefinite=True),
        lambda c: tlv(0xA0, tlv(4, c[:7]) + tlv(4, b"") + tlv(4, c[7:]), indefinite=True),
        lambda c: tlv(0xA0, b"".join(tlv(4, c[i : i + 1]) for i in range(len(c))), indefinite=True),
        lambda c: tlv(0xA0, tlv(4, c)),  # constructed, of definite length
    ],
)
def test_chunks_may_be_cut_anywhere(content: Callable[[bytes], bytes]) -> None:
    assert decrypt(rebuilt(content), KEY) == DATA_KEY


@pytest.mark.parametrize(
    "content",
    [
        lambda c: tlv(0xA0, b"".join(tlv(4, b"") for _ in range(65)) + tlv(4, c), indefinite=True),
        lambda c: tlv(0xA0, tlv(0x24, tlv(4, c), indefinite=True), indefinite=True),  # nested chunks
        lambda c: tlv(0xA0, tlv(0x24, tlv(0x24, tlv(0x24, tlv(4, c)))), indefinite=True),
        lambda c: tlv(0xA0, tlv(5, c), indefinite=True),  # chunks of another type
        lambda c: tlv(0xA0, c, indefinite=True),  # explicit bytes
        lambda c: tlv(0xA0, b"", indefinite=True),
        lambda c: tlv(0x80, c) + tlv(0x80, c),
        lambda c: tlv(0x80, c) + tlv(0xA1, b""),  # attributes behind the content
        lambda c: tlv(0x81, c),
        lambda c: b"",  # no content
        lambda c: b"\x80\x80" + c + b"\0\0",  # primitive of indefinite length
        lambda c: b"\x80\x81\x30" + c,  # length not minimal
        lambda c: b"\x80\x82\x00\x30" + c,
        lambda c: b"\x80\x84\x00\x00\x00\x30" + c,
        lambda c: b"\x80\x89" + bytes(8) + b"\x30" + c,
        lambda c: b"\x80\xff" + c,
        lambda c: b"\x80\x31" + c,  # longer than what is there
        lambda c: b"\x9f\x00\x30" + c,  # tag in the long form
    ],
)
def test_other_forms_of_content_are_refused(content: Callable[[bytes], bytes]) -> None:
    assert refused(rebuilt(content)) == "envelope_malformed"


def test_attributes_and_originators_are_refused() -> None:
    whole = SEALED[Encoding.CHUNKED]
    assert refused(whole[:-6] + tlv(0xA1, b"") + whole[-6:]) == "envelope_malformed"
    assert refused(whole.replace(b"\x02\x01\x02\x31", b"\x02\x01\x02" + tlv(0xA0, b"") + b"\x31", 1)) == "envelope_malformed"  # fmt: skip


def test_other_versions_and_types_are_refused() -> None:
    for old, new in (
        (b"\x02\x01\x02\x31", b"\x02\x01\x00\x31"),
        (b"\x02\x01\x02\x80", b"\x02\x01\x00\x80"),
        (bytes.fromhex("2a864886f70d010703"), bytes.fromhex("2a864886f70d010702")),
        (bytes.fromhex("2a864886f70d010701"), bytes.fromhex("2a864886f70d010702")),
        (bytes.fromhex("60864801650304012a"), bytes.fromhex("60864801650304012e")),  # AES-256-GCM
    ):
        whole = SEALED[Encoding.PRIMITIVE]
        assert whole.count(old) == 1
        assert refused(whole.replace(old, new)) == "envelope_algorithm"


@pytest.mark.parametrize("encoding", Encoding)
def test_nothing_may_follow_and_nothing_may_be_missing(encoding: Encoding) -> None:
    whole = SEALED[encoding]
    assert refused(whole + b"\0") == "envelope_malformed"
    assert refused(whole + whole) == "envelope_malformed"
    for length in range(len(whole)):
        assert refused(whole[:length]) == "envelope_malformed"


@given(st.sampled_from(list(Encoding)), st.integers(0), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_changed_bytes_never_crash_the_parser(encoding: Encoding, position: int, change: int) -> None:
    # The content has no integrity: a change of the IV gives another plaintext (see the module's docstring).
    envelope = bytearray(SEALED[encoding])
    envelope[position % len(envelope)] ^= change
    with contextlib.suppress(EnvelopeError):
        decrypt(bytes(envelope), KEY)


@given(st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_an_envelope_error(envelope: bytes) -> None:
    refused(envelope)


@given(st.binary(max_size=80).map(lambda tail: b"\x30\x80" * 20 + tail) | st.binary(max_size=80).map(lambda tail: bytes.fromhex("308006092a864886f70d010703a080308002010231") + tail))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_deep_and_half_right_bytes_give_an_envelope_error(envelope: bytes) -> None:
    refused(envelope)


def certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """A certificate whose subject key identifier is what KMS would write."""
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "enclave")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectKeyIdentifier(hashlib.sha256(spki).digest()), critical=False)
        .sign(key, hashes.SHA256())
    )


def oaep(hash_name: str, mgf_hash_name: str) -> list[str]:
    return [
        "-keyopt", "rsa_padding_mode:oaep", "-keyopt", f"rsa_oaep_md:{hash_name}",
        "-keyopt", f"rsa_mgf1_md:{mgf_hash_name}",
    ]  # fmt: skip


def openssl_envelope(folder: Path, options: list[str]) -> bytes:
    (folder / "recipient.pem").write_bytes(certificate(KEY).public_bytes(serialization.Encoding.PEM))
    (folder / "plaintext").write_bytes(DATA_KEY)
    command = ["openssl", "cms", "-encrypt", "-binary", "-in", "plaintext", "-outform", "DER", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
