"""Documents that nobody signed are believed by this suite's profile alone. Whatever ships refuses them."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

import boto3
import cbor2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from attestation import AWS_NITRO_ROOT_G1, ISSUED, AttestationError, TrustPolicy
from attestation.verify import verify
from cosigner import AsyncClient, AttestationRefused, ClientConfig
from cosigner.transport import Transport
from simulator.kms.server import KmsSimulator
from simulator.pki import NitroPki
from tests.eif.trust import NotQemuError, QemuUnsignedDocuments, qemu_payload
from tests.eif.world import ENVIRONMENT

SIMULATOR = NitroPki.ephemeral()
ROOTS = {"production": AWS_NITRO_ROOT_G1, "simulator": SIMULATOR.root_sha256}


@pytest.fixture(scope="module")
def document(enclave):
    """As the NSM of the machine made it."""

    async def ask():
        async with Transport(enclave.api_url) as transport:
            return (await transport.attestation(bytes(32)))[0]

    return asyncio.run(ask())


@pytest.mark.parametrize("root", ROOTS)
def test_the_verifier_refuses_it_under_every_root(document, root):
    with pytest.raises(AttestationError) as refused:
        verify(document, policy=TrustPolicy(roots=frozenset({ROOTS[root]})), at=ISSUED)
    assert refused.value.code == "cose_algorithm"


def test_the_verifier_refuses_it_under_the_root_of_this_very_suite(enclave, document):
    with pytest.raises(AttestationError) as refused:
        verify(document, policy=enclave.policy(), at=ISSUED)
    assert refused.value.code == "cose_algorithm"


@pytest.mark.parametrize("root", ROOTS)
def test_an_ordinary_client_refuses_it_and_sends_nothing(enclave, root):
    policy = TrustPolicy(roots=frozenset({ROOTS[root]}), pcrs=enclave.policy().pcrs)

    async def ask():
        config = ClientConfig(enclave.api_url, ENVIRONMENT, policy)
        async with AsyncClient(config, token_provider=lambda: "a.b.c") as client:
            with pytest.raises(AttestationRefused) as refused:
                await client.open()
            assert refused.value.code == "attestation_cose_algorithm"
            assert client.traffic.sent == 0

    asyncio.run(ask())


def test_an_ordinary_client_refuses_what_the_profile_signed(enclave, document):
    """The profile's root is made anew for each run, and pinned by nobody else."""
    signed = enclave.profile.sign(document)
    verify(signed, policy=enclave.policy(), at=datetime.now(UTC))
    for root in ROOTS.values():
        with pytest.raises(AttestationError) as refused:
            verify(signed, policy=TrustPolicy(roots=frozenset({root})), at=datetime.now(UTC))
        assert refused.value.code == "root_not_trusted"


def test_the_ordinary_kms_simulator_refuses_it(document, tmp_path):
    with KmsSimulator(tmp_path / "state") as kms:
        (tmp_path / "ca.pem").write_bytes(kms.ca_pem)
        client = boto3.client(
            "kms",
            region_name=kms.region,
            endpoint_url=kms.url,
            verify=str(tmp_path / "ca.pem"),
            aws_access_key_id="ASIATEST",
            aws_secret_access_key=secrets.token_hex(16),
            config=Config(proxies={}, retries={"max_attempts": 1}),
        )
        recipient = {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}
        with pytest.raises(ClientError) as refused:
            client.generate_data_key(KeyId=kms.create_key(), KeySpec="AES_256", Recipient=recipient)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert "attestation document" in refused.value.response["Error"]["Message"]


def altered(document: bytes, **fields) -> bytes:
    protected, unprotected, payload, signature = cbor2.loads(document)
    return cbor2.dumps([protected, unprotected, cbor2.dumps(cbor2.loads(payload) | fields), signature])


def test_the_profile_signs_nothing_but_unsigned_documents_of_qemu(document):
    profile = QemuUnsignedDocuments()
    protected, unprotected, payload, signature = cbor2.loads(document)
    others = {
        "already signed": profile.sign(document),
        "one byte of signature": cbor2.dumps([protected, unprotected, payload, b"\1" + signature[1:]]),
        "a longer signature": cbor2.dumps([protected, unprotected, payload, bytes(96)]),
        "ES384": cbor2.dumps([bytes.fromhex("a1013822"), unprotected, payload, signature]),
        "an unprotected header": cbor2.dumps([protected, {1: 2}, payload, signature]),
        "a certificate": altered(document, certificate=b"\1" * 64),
        "two in the bundle": altered(document, cabundle=[bytes(64)] * 2),
        "tagged": b"\xd2" + document,
        "followed by a byte": document + b"\0",
        "cut": document[:-1],
        "nothing": b"",
    }
    for name, other in others.items():
        with pytest.raises(NotQemuError):
            pytest.fail(f"{name}: {profile.sign(other)!r}")


def test_the_profile_changes_nothing_but_the_proof(enclave, document):
    signed = cbor2.loads(cbor2.loads(enclave.profile.sign(document))[2])
    before = qemu_payload(document)
    assert signed.keys() == before.keys()
    assert {name for name in before if before[name] != signed[name]} == {"certificate", "cabundle"}
