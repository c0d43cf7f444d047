"""A document of a real enclave (AWS root G1, 2022), and openssl's opinion on signatures and chains."""

import json
import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from attestation import AWS_NITRO_ROOT_G1, TrustPolicy
from attestation.cli import main
from attestation.document import AttestationDocument, parse
from attestation.errors import AttestationError
from attestation.verify import ISSUED, verify
from tests.attestation.minting import NOW, document

VECTORS = Path(os.environ.get("CONFORMANCE_VECTORS", Path(__file__).parents[2] / ".." / "shared" / "vectors"))
NAME = "nitro-attestation-2022.cbor"
ISSUED_AT = datetime(2022, 7, 6, 14, 18, 22, 484000, tzinfo=UTC)


@pytest.fixture
def real() -> bytes:
    if not VECTORS.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"no conformance vectors in {VECTORS}")
    found = sorted(VECTORS.glob("nitro-attestation-*.cbor"))
    assert [path.name for path in found] == [NAME]
    return found[0].read_bytes()


def test_the_real_document_verifies_at_its_own_time(real: bytes) -> None:
    verified = verify(real, policy=TrustPolicy(), at=ISSUED)
    assert verified.root_sha256 == AWS_NITRO_ROOT_G1
    assert verified.module_id == "i-07e25f3bada361dec-enc0181d3dff86da785"
    assert verified.issued_at == ISSUED_AT
    assert sorted(verified.pcrs) == list(range(16))
    assert verified.nonce is None
    assert verified.public_key is not None
    assert len(verified.public_key) == 800


def test_the_real_document_is_too_old_and_then_expired(real: bytes) -> None:
    for later, code in ((301, "too_old"), (4 * 3600, "certificate_expired")):
        with pytest.raises(AttestationError) as caught:
            verify(real, policy=TrustPolicy(), at=ISSUED_AT + timedelta(seconds=later))
        assert caught.value.code == code


def test_no_bit_of_the_real_document_can_change(real: bytes) -> None:
    for position in range(0, len(real), 37):
        changed = bytearray(real)
        changed[position] ^= 0x40
        with pytest.raises(AttestationError):
            verify(bytes(changed), policy=TrustPolicy(), at=ISSUED)


def test_the_command_verifies_the_real_document(real: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert real
    assert main(["verify", str(VECTORS / NAME), "--at", "issued", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True
    assert main(["verify", str(VECTORS / NAME), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == "certificate_expired"


def test_openssl_agrees_about_the_real_document(real: bytes, tmp_path: Path) -> None:
    assert openssl_accepts(parse(real), ISSUED_AT, tmp_path)


def test_openssl_agrees_about_minted_documents(tmp_path: Path) -> None:
    assert openssl_accepts(parse(document()), NOW, tmp_path)
    assert not openssl_accepts(parse(document()), NOW + timedelta(hours=4), tmp_path)
    expired = {"zonal": {"not_after": NOW - timedelta(seconds=1)}}
    assert not openssl_accepts(parse(document(chain=expired)), NOW, tmp_path)


def openssl_accepts(parsed: AttestationDocument, at: datetime, folder: Path) -> bool:
    """Judge chain and signature with the openssl command alone."""
    *issuers, leaf = (x509.load_der_x509_certificate(der) for der in (*parsed.cabundle, parsed.certificate))
    _write_pem(folder / "root.pem", issuers[:1])
    _write_pem(folder / "issuers.pem", issuers[1:])
    _write_pem(folder / "leaf.pem", [leaf])
    public_key = leaf.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "key.pem").write_bytes(public_key)
    (folder / "signed").write_bytes(parsed.signed_bytes)
    (folder / "signature").write_bytes(_der_signature(parsed.signature))
    chain = [
        "openssl", "verify", "-x509_strict", "-attime", str(int(at.timestamp())), "-CAfile", "root.pem",
        "-untrusted", "issuers.pem", "leaf.pem",
    ]  # fmt: skip
    signature = ["openssl", "dgst", "-sha384", "-verify", "key.pem", "-signature", "signature", "signed"]
    if _is_real(parsed):
        # Instance certificates of 2022 have no key identifiers, which RFC 5280 asks of all but the root.
        chain.remove("-x509_strict")
    return all(
        subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
        for command in (chain, signature)
    )


def _is_real(parsed: AttestationDocument) -> bool:
    return parsed.module_id.startswith("i-07e25f3bada361dec")


def _write_pem(path: Path, certificates: Sequence[x509.Certificate]) -> None:
    path.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))


def _der_signature(raw: bytes) -> bytes:
    """ECDSA-Sig-Value (RFC 3279 §2.2.3), written here by hand."""
    integers = b""
    for half in (raw[:48], raw[48:]):
        digits = half.lstrip(b"\0")
        digits = b"\0" + digits if digits[0] & 0x80 else digits
        integers += bytes([2, len(digits)]) + digits
    return bytes([0x30, len(integers)]) + integers
