"""The fake KMS as an unmodified boto3 sees it: attestation, key policies, contexts, errors, restarts."""

from __future__ import annotations

import base64
import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, SSLError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from attestation import AttestationError, TrustPolicy
from enclave.cms import decrypt
from simulator.kms import Credential, Encoding, Fault, KmsSimulator, key_policy
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki

HOUSE = Path(__file__).parents[2]
KEY = rsa.generate_private_key(65537, 2048)
SPKI = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
CONTEXT = {"environment": "test", "purpose": "seal"}
PCRS = {0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48}


def recipient(document: bytes) -> dict[str, Any]:
    return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}


def refused(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture
def arn(simulator: KmsSimulator) -> str:
    """A key that only the measured enclave may use."""
    return simulator.create_key(key_policy(PCRS))


def test_an_attested_enclave_gets_its_data_key_twice(client: Any, nsm: FakeNsm, arn: str) -> None:
    document = nsm.attest(None, None, SPKI)
    made = client.generate_data_key(
        KeyId=arn, KeySpec="AES_256", EncryptionContext=CONTEXT, Recipient=recipient(document)
    )
    assert made["KeyId"] == arn
    assert made["Plaintext"] == b""
    data_key = decrypt(made["CiphertextForRecipient"], KEY)
    assert len(data_key) == 32
    opened = client.decrypt(
        CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT, Recipient=recipient(document)
    )
    assert opened["KeyId"] == arn
    assert opened["Plaintext"] == b""
    assert decrypt(opened["CiphertextForRecipient"], KEY) == data_key


def test_both_encodings_are_sent(state: Path, connect: Callable[..., Any], nsm: FakeNsm) -> None:
    for encoding in (Encoding.CHUNKED, Encoding.PRIMITIVE):
        with KmsSimulator(state, encoding=encoding) as simulator:
            answer = connect(simulator).generate_random(
                NumberOfBytes=32, Recipient=recipient(nsm.attest(None, None, SPKI))
            )
            assert len(decrypt(answer["CiphertextForRecipient"], KEY)) == 32
            assert answer["Plaintext"] == b""
            assert answer["CiphertextForRecipient"].endswith(bytes(10)) == (encoding is Encoding.CHUNKED)


def test_encodings_alternate_at_random(client: Any, nsm: FakeNsm) -> None:
    document = nsm.attest(None, None, SPKI)
    sizes = {
        len(client.generate_random(NumberOfBytes=32, Recipient=recipient(document))["CiphertextForRecipient"])
        for _ in range(40)
    }
    assert sizes == {489, 493}


def test_a_call_without_recipient_is_denied_on_a_conditioned_key(client: Any, arn: str) -> None:
    assert refused(client.generate_data_key, KeyId=arn, KeySpec="AES_256") == "AccessDeniedException"
    assert refused(client.encrypt, KeyId=arn, Plaintext=b"data") == "AccessDeniedException"


def test_another_measurement_is_denied(client: Any, pki: NitroPki, arn: str, nsm: FakeNsm) -> None:
    good = nsm.attest(None, None, SPKI)
    made = client.generate_data_key(KeyId=arn, KeySpec="AES_256", Recipient=recipient(good))
    for index in PCRS:
        other = FakeNsm(pki, measurements={**PCRS, index: b"\x09" * 48})
        with pytest.raises(ClientError) as caught:
            client.decrypt(
                CiphertextBlob=made["CiphertextBlob"], Recipient=recipient(other.attest(None, None, SPKI))
            )
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
        assert arn in caught.value.response["Error"]["Message"]


def test_pcr16_can_be_pinned_and_must_be_locked(client: Any, simulator: KmsSimulator, nsm: FakeNsm) -> None:
    value = nsm.extend_pcr(16, b"manifest")
    arn = simulator.create_key(key_policy({**PCRS, 16: value}))
    call = {"KeyId": arn, "KeySpec": "AES_256"}
    before = recipient(nsm.attest(None, None, SPKI))
    assert refused(client.generate_data_key, **call, Recipient=before) == "AccessDeniedException"
    nsm.lock_pcr(16)
    assert client.generate_data_key(**call, Recipient=recipient(nsm.attest(None, None, SPKI)))["KeyId"] == arn


def test_documents_of_other_roots_are_refused(client: Any, arn: str) -> None:
    stranger = FakeNsm(NitroPki.ephemeral(), measurements=PCRS)
    call = {"KeyId": arn, "KeySpec": "AES_256", "Recipient": recipient(stranger.attest(None, None, SPKI))}
    assert refused(client.generate_data_key, **call) == "ValidationException"


def test_documents_older_than_five_minutes_are_refused(client: Any, pki: NitroPki, arn: str) -> None:
    for age, expected in ((290, None), (310, "ValidationException"), (-60, "ValidationException")):
        then = datetime.now(UTC) - timedelta(seconds=age)
        old = FakeNsm(pki, measurements=PCRS, clock=lambda then=then: then)
        call = {"KeyId": arn, "KeySpec": "AES_256", "Recipient": recipient(old.attest(None, None, SPKI))}
        if expected is None:
            assert client.generate_data_key(**call)["KeyId"] == arn
        else:
            assert refused(client.generate_data_key, **call) == expected


def test_documents_without_a_usable_key_are_refused(client: Any, nsm: FakeNsm, arn: str) -> None:
    curve_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    wrong = curve_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for public_key in (None, b"not a key", wrong, SPKI + b"\0"):
        document = nsm.attest(None, None, public_key)
        call = {"KeyId": arn, "KeySpec": "AES_256", "Recipient": recipient(document)}
        assert refused(client.generate_data_key, **call) == "ValidationException"


def test_debug_mode_and_altered_documents_are_refused(
    client: Any, pki: NitroPki, nsm: FakeNsm, arn: str
) -> None:
    altered = bytearray(nsm.attest(None, None, SPKI))
    altered[-1] ^= 1
    debug = FakeNsm(pki, measurements={}).attest(None, None, SPKI)
    for document in (bytes(altered), debug, b"\x84"):
        call = {"KeyId": arn, "KeySpec": "AES_256", "Recipient": recipient(document)}
        assert refused(client.generate_data_key, **call) == "ValidationException"


def test_other_key_encryption_algorithms_are_refused(simulator: KmsSimulator, nsm: FakeNsm, arn: str) -> None:
    info = {
        "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1",
        "AttestationDocument": base64.b64encode(nsm.attest(None, None, SPKI)).decode(),
    }
    answer = raw_call(simulator, "GenerateDataKey", {"KeyId": arn, "KeySpec": "AES_256", "Recipient": info})
    assert answer["__type"] == "ValidationException"


def test_recipient_is_refused_where_kms_does_not_have_it(
    simulator: KmsSimulator, nsm: FakeNsm, arn: str
) -> None:
    info = {
        "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
        "AttestationDocument": base64.b64encode(nsm.attest(None, None, SPKI)).decode(),
    }
    for operation in ("Encrypt", "DescribeKey", "GetKeyPolicy", "PutKeyPolicy", "CreateKey"):
        answer = raw_call(simulator, operation, {"KeyId": arn, "Plaintext": "AA==", "Recipient": info})
        assert answer["__type"] == "ValidationException"


def test_encryption_contexts_are_enforced_exactly(client: Any, simulator: KmsSimulator) -> None:
    arn = simulator.create_key()
    blob = client.encrypt(KeyId=arn, Plaintext=b"data", EncryptionContext={"ab": "c", "d": "e"})[
        "CiphertextBlob"
    ]
    good = client.decrypt(CiphertextBlob=blob, EncryptionContext={"d": "e", "ab": "c"})
    assert good["Plaintext"] == b"data"
    for context in (
        {},
        {"ab": "c"},
        {"a": "bc", "d": "e"},
        {"ab": "c", "d": "E"},
        {"ab": "c", "d": "e", "f": "g"},
    ):
        assert (
            refused(client.decrypt, CiphertextBlob=blob, EncryptionContext=context)
            == "InvalidCiphertextException"
        )


def test_ciphertexts_are_authentic_and_know_their_key(client: Any, simulator: KmsSimulator) -> None:
    one, two = simulator.create_key(), simulator.create_key()
    blob = client.encrypt(KeyId=one, Plaintext=b"data")["CiphertextBlob"]
    assert refused(client.decrypt, CiphertextBlob=blob, KeyId=two) == "IncorrectKeyException"
    assert client.decrypt(CiphertextBlob=blob, KeyId=one)["KeyId"] == one
    assert client.decrypt(CiphertextBlob=blob, KeyId=one.rpartition("/")[2])["KeyId"] == one
    changed = blob[:-1] + bytes([blob[-1] ^ 1])
    assert refused(client.decrypt, CiphertextBlob=changed) == "InvalidCiphertextException"
    assert refused(client.decrypt, CiphertextBlob=b"nonsense") == "InvalidCiphertextException"


def test_keys_are_made_described_and_repolicied_over_the_wire(client: Any) -> None:
    made = client.create_key(Description="for tests")["KeyMetadata"]
    assert made["KeySpec"] == "SYMMETRIC_DEFAULT"
    arn = made["Arn"]
    assert client.describe_key(KeyId=arn)["KeyMetadata"]["Description"] == "for tests"
    open_policy = json.loads(client.get_key_policy(KeyId=arn)["Policy"])
    assert open_policy["Statement"][0]["Action"] == "kms:*"
    closed = key_policy(PCRS)
    assert refused(client.put_key_policy, KeyId=arn, Policy=closed) == "MalformedPolicyDocumentException"
    client.put_key_policy(KeyId=arn, Policy=closed, BypassPolicyLockoutSafetyCheck=True)
    assert client.get_key_policy(KeyId=arn)["Policy"] == closed
    assert (
        refused(client.put_key_policy, KeyId=arn, Policy=json.dumps(open_policy)) == "AccessDeniedException"
    )
    assert refused(client.generate_data_key, KeyId=arn, KeySpec="AES_256") == "AccessDeniedException"


def test_unsimulated_things_are_refused_rather_than_ignored(client: Any, arn: str) -> None:
    assert refused(client.create_key, KeySpec="RSA_2048") == "UnsupportedOperationException"
    assert refused(client.create_key, KeyUsage="SIGN_VERIFY") == "UnsupportedOperationException"
    assert refused(client.create_key, MultiRegion=True) == "UnsupportedOperationException"
    assert refused(client.create_key, Origin="EXTERNAL") == "UnsupportedOperationException"
    assert refused(client.list_keys) == "UnknownOperationException"
    assert refused(client.create_key, Policy="{}") == "MalformedPolicyDocumentException"
    assert refused(client.describe_key, KeyId="no-such-key") == "NotFoundException"
    other_region = arn.replace("us-east-1", "eu-west-1")
    assert refused(client.describe_key, KeyId=other_region) == "NotFoundException"


def test_data_keys_have_the_asked_size(client: Any, simulator: KmsSimulator) -> None:
    arn = simulator.create_key()
    for size in ({"KeySpec": "AES_128"}, {"NumberOfBytes": 16}):
        assert len(client.generate_data_key(KeyId=arn, **size)["Plaintext"]) == 16
    assert refused(client.generate_data_key, KeyId=arn) == "ValidationException"
    both = {"KeySpec": "AES_256", "NumberOfBytes": 32}
    assert refused(client.generate_data_key, KeyId=arn, **both) == "ValidationException"


def test_keys_survive_a_restart(state: Path, connect: Callable[..., Any], nsm: FakeNsm) -> None:
    with KmsSimulator(state) as first:
        arn = first.create_key(key_policy(PCRS))
        made = connect(first).generate_data_key(
            KeyId=arn,
            KeySpec="AES_256",
            EncryptionContext=CONTEXT,
            Recipient=recipient(nsm.attest(None, None, SPKI)),
        )
    with KmsSimulator(state) as second:
        opened = connect(second).decrypt(
            CiphertextBlob=made["CiphertextBlob"],
            EncryptionContext=CONTEXT,
            Recipient=recipient(nsm.attest(None, None, SPKI)),
        )
        assert second.ca_pem == first.ca_pem
    assert opened["KeyId"] == arn
    assert decrypt(opened["CiphertextForRecipient"], KEY) == decrypt(made["CiphertextForRecipient"], KEY)
    assert (state / "kms-keys.json").stat().st_mode & 0o777 == 0o600


def test_signatures_are_checked_when_secrets_are_known(
    state: Path, simulator: KmsSimulator, connect: Callable[..., Any]
) -> None:
    assert state
    simulator.credentials = {"AKIDEXAMPLE": Credential("secret"), "ASIAEXAMPLE": Credential("other", "token")}
    try:
        simulator.create_key()
        assert connect(simulator).generate_random(NumberOfBytes=8)["Plaintext"]
        temporary = {"aws_access_key_id": "ASIAEXAMPLE", "aws_secret_access_key": "other"}
        session = connect(simulator, **temporary, aws_session_token="token")
        assert session.generate_random(NumberOfBytes=8)["Plaintext"]
        for arguments, code in (
            ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
            ({"aws_access_key_id": "AKIDUNKNOWN"}, "UnrecognizedClientException"),
            (temporary, "UnrecognizedClientException"),
            ({"aws_session_token": "surplus"}, "UnrecognizedClientException"),
        ):
            assert refused(connect(simulator, **arguments).generate_random, NumberOfBytes=8) == code
    finally:
        simulator.credentials = None


def test_old_signatures_and_other_regions_are_refused(state: Path, connect: Callable[..., Any]) -> None:
    later = datetime.now(UTC) + timedelta(minutes=6)
    with KmsSimulator(state, clock=lambda: later) as simulator:
        call = connect(simulator).generate_random
        assert refused(call, NumberOfBytes=8) == "InvalidSignatureException"
    with KmsSimulator(state, region="eu-west-1") as simulator:
        simulator.region = "us-east-1"
        call = connect(simulator).generate_random
        simulator.region = "eu-west-1"
        assert refused(call, NumberOfBytes=8) == "InvalidSignatureException"


def raw_call(
    simulator: KmsSimulator, operation: str, body: object, *, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """POST without boto3's own checks; a signature of the right form is enough while no secrets are known."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"AKIDEXAMPLE/{stamp[:8]}/us-east-1/kms/aws4_request"
    names = "host;x-amz-date;x-amz-target"
    sent = {
        "X-Amz-Target": f"TrentService.{operation}",
        "X-Amz-Date": stamp,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={'0' * 64}",
        **(headers or {}),
    }
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(simulator.url, data=data, headers={k: v for k, v in sent.items() if v})
    context = ssl.create_default_context(cadata=simulator.ca_pem.decode())
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            content = error.read()
        return dict(json.loads(content)) if content else {"status": error.code}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"not json", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"KeyId": ' + b"[" * 100_000],
)  # fmt: skip
def test_malformed_json_is_a_serialization_error(simulator: KmsSimulator, body: bytes) -> None:
    assert raw_call(simulator, "DescribeKey", body)["__type"] == "SerializationException"


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("DescribeKey", {"KeyId": 1}),
        ("DescribeKey", {"KeyId": ["a"]}),
        ("Decrypt", {"CiphertextBlob": "not base64!"}),
        ("Decrypt", {"CiphertextBlob": 5}),
        ("Decrypt", {"CiphertextBlob": "AAAA", "EncryptionContext": "text"}),
        ("Decrypt", {"CiphertextBlob": "AAAA", "EncryptionContext": {"a": 1}}),
        ("Decrypt", {"CiphertextBlob": "AAAA", "Recipient": []}),
        ("GenerateRandom", {"NumberOfBytes": "8"}),
        ("GenerateRandom", {"NumberOfBytes": True}),
        ("CreateKey", {"MultiRegion": "yes"}),
    ],
)
def test_members_of_wrong_types_are_serialization_errors(
    simulator: KmsSimulator, operation: str, body: dict[str, object]
) -> None:
    assert raw_call(simulator, operation, body)["__type"] == "SerializationException"


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("DescribeKey", {}),
        ("Decrypt", {}),
        ("Decrypt", {"CiphertextBlob": ""}),
        ("Decrypt", {"CiphertextBlob": "AAAA", "Recipient": {}}),
        ("Encrypt", {"KeyId": "x"}),
        ("GenerateRandom", {}),
        ("GenerateRandom", {"NumberOfBytes": 0}),
        ("GenerateRandom", {"NumberOfBytes": 1025}),
    ],
)
def test_missing_and_excessive_members_are_refused(
    simulator: KmsSimulator, operation: str, body: dict[str, object]
) -> None:
    assert raw_call(simulator, operation, body)["__type"] in {"ValidationException", "NotFoundException"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": ""}, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer token"}, "IncompleteSignatureException"),
        ({"X-Amz-Date": "yesterday"}, "IncompleteSignatureException"),
        ({"X-Amz-Target": "DynamoDB_20120810.GetItem"}, "UnknownOperationException"),
        ({"X-Amz-Target": ""}, "UnknownOperationException"),
        ({"X-Amz-Target": "TrentService.__class__"}, "UnknownOperationException"),
    ],
)
def test_requests_that_nobody_signed_are_refused(
    simulator: KmsSimulator, headers: dict[str, str], code: str
) -> None:
    assert raw_call(simulator, "GenerateRandom", {"NumberOfBytes": 8}, headers=headers)["__type"] == code


def test_a_huge_body_is_refused_unread(simulator: KmsSimulator) -> None:
    assert (
        raw_call(simulator, "GenerateRandom", b"{}", headers={"Content-Length": "9999999"})["status"] == 413
    )


def test_silent_and_broken_clients_do_not_block_others(simulator: KmsSimulator, client: Any) -> None:
    with (
        socket.create_connection(("127.0.0.1", simulator.port)),
        socket.create_connection(("127.0.0.1", simulator.port)) as broken,
    ):
        broken.sendall(b"not tls")
        assert client.generate_random(NumberOfBytes=8)["Plaintext"]


def test_the_certificate_is_checked_by_clients(simulator: KmsSimulator, connect: Callable[..., Any]) -> None:
    public = connect(simulator)
    public._endpoint.http_session._verify = True
    with pytest.raises(SSLError):
        public.generate_random(NumberOfBytes=8)


def test_faults_are_for_the_next_requests_only(simulator: KmsSimulator, client: Any) -> None:
    simulator.faults.inject(Fault.THROTTLE, times=2, operation="GenerateRandom")
    simulator.faults.inject(Fault.INTERNAL)
    arn = simulator.create_key()
    assert refused(client.describe_key, KeyId=arn) == "KMSInternalException"
    assert client.describe_key(KeyId=arn)
    for _ in range(2):
        assert refused(client.generate_random, NumberOfBytes=8) == "ThrottlingException"
    assert client.generate_random(NumberOfBytes=8)["Plaintext"]


def test_it_starts_once_and_stops(state: Path, connect: Callable[..., Any]) -> None:
    simulator = KmsSimulator(state)
    with pytest.raises(RuntimeError):
        _ = simulator.port
    simulator.start()
    with pytest.raises(RuntimeError):
        simulator.start()
    client = connect(simulator)
    simulator.stop()
    simulator.stop()
    with pytest.raises(EndpointConnectionError):
        client.generate_random(NumberOfBytes=8)


def test_roots_can_be_named(state: Path, connect: Callable[..., Any]) -> None:
    foreign = NitroPki.ephemeral()
    document = FakeNsm(foreign, measurements=PCRS).attest(None, None, SPKI)
    trust = TrustPolicy(roots=frozenset({foreign.root_sha256}))
    for simulator in (KmsSimulator(state, trust=trust), KmsSimulator(state, root_sha256=foreign.root_sha256)):
        with simulator:
            answer = connect(simulator).generate_random(NumberOfBytes=8, Recipient=recipient(document))
            assert len(decrypt(answer["CiphertextForRecipient"], KEY)) == 8


def test_it_runs_by_itself(tmp_path: Path, connect: Callable[..., Any]) -> None:
    command = [sys.executable, "-m", "simulator.kms", "--state", str(tmp_path), "--json"]
    with subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            context = ssl.create_default_context(cafile=ready["ca_file"])
            with socket.create_connection(("localhost", ready["port"])) as tcp:
                with context.wrap_socket(tcp, server_hostname="kms.us-east-1.amazonaws.com") as tls:
                    assert tls.version() == "TLSv1.3"
            assert ready["roots"] == [NitroPki.open(tmp_path).root_sha256]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@dataclass(frozen=True)
class Unsigned:
    """What a test's own verifier believes."""

    module_id: str
    pcrs: dict[int, bytes]
    public_key: bytes | None


def test_a_test_can_bring_its_own_verifier(state: Path, connect: Callable[..., Any]) -> None:
    asked: list[tuple[bytes, datetime]] = []

    def verify(document: bytes, now: datetime) -> Unsigned:
        asked.append((document, now))
        if document != b"unsigned":
            raise AttestationError("signature_invalid", "not the one")
        return Unsigned("i-0-enc0", PCRS, SPKI)

    with KmsSimulator(state, verify=verify) as simulator:
        client = connect(simulator)
        arn = simulator.create_key(key_policy(PCRS))
        call = {"KeyId": arn, "KeySpec": "AES_256"}
        made = client.generate_data_key(**call, Recipient=recipient(b"unsigned"))
        assert len(decrypt(made["CiphertextForRecipient"], KEY)) == 32
        assert (
            refused(client.generate_data_key, **call, Recipient=recipient(b"other")) == "ValidationException"
        )
        assert [document for document, _ in asked] == [b"unsigned", b"other"]
        assert all(now.tzinfo is not None for _, now in asked)
        trail = simulator.events[0]["additionalEventData"]["recipient"]
    assert trail["attestationDocumentModuleId"] == "i-0-enc0"
    assert "attestationDocumentEnclavePCR8" not in trail


def test_a_verifier_without_measurements_opens_nothing(state: Path, connect: Callable[..., Any]) -> None:
    def verify(document: bytes, now: datetime) -> Unsigned:
        return Unsigned("i-0-enc0", {}, SPKI)

    with KmsSimulator(state, verify=verify) as simulator:
        call = {"KeyId": simulator.create_key(), "KeySpec": "AES_256"}
        client = connect(simulator)
        assert refused(client.generate_data_key, **call, Recipient=recipient(b"x")) == "ValidationException"


def test_a_verifier_replaces_trust_and_cannot_be_mixed_with_it(state: Path) -> None:
    trust = TrustPolicy(roots=frozenset({"00" * 32}))
    with pytest.raises(ValueError, match="verifier"):
        KmsSimulator(state, verify=lambda document, now: Unsigned("", {}, None), trust=trust)


def test_the_command_line_has_no_way_to_another_verifier() -> None:
    command = [sys.executable, "-m", "simulator.kms", "--help"]
    text = subprocess.run(command, cwd=HOUSE, check=True, capture_output=True, text=True).stdout
    assert "--root-sha256" in text
    assert not {"verif", "unsigned", "insecure", "debug"} & set(text.lower().replace("-", " ").split())


def test_documents_are_no_older_than_five_minutes_whatever_the_trust(
    state: Path, pki: NitroPki, connect: Callable[..., Any]
) -> None:
    patient = TrustPolicy(roots=frozenset({pki.root_sha256}), max_age=timedelta(hours=1))
    with KmsSimulator(state, trust=patient) as simulator:
        arn = simulator.create_key(key_policy(PCRS))
        then = datetime.now(UTC) - timedelta(seconds=310)
        old = FakeNsm(pki, measurements=PCRS, clock=lambda: then).attest(None, None, SPKI)
        call = {"KeyId": arn, "KeySpec": "AES_256", "Recipient": recipient(old)}
        assert refused(connect(simulator).generate_data_key, **call) == "ValidationException"


def test_access_keys_can_belong_to_roles(state: Path, connect: Callable[..., Any]) -> None:
    session = "arn:aws:sts::111122223333:assumed-role/enclave/i-1"
    policy = json.dumps(
        {
            "Statement": {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111122223333:role/enclave"},
                "Action": "kms:GenerateDataKey",
                "Resource": "*",
                "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*"}},
            }
        }
    )
    with KmsSimulator(state, principals={"ASIAROLE": session}) as simulator:
        call = {"KeyId": simulator.create_key(policy), "KeySpec": "AES_256"}
        assert connect(simulator, aws_access_key_id="ASIAROLE").generate_data_key(**call)["Plaintext"]
        assert refused(connect(simulator).generate_data_key, **call) == "AccessDeniedException"
    with pytest.raises(ValueError, match="principal"):
        KmsSimulator(state, principals={"X": "arn:aws:iam::111122223333:role/enclave"})


def test_policies_that_lock_out_are_refused_unless_asked_for(client: Any, simulator: KmsSimulator) -> None:
    arn = simulator.create_key()
    no_change = json.dumps(
        {
            "Statement": {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["kms:GetKeyPolicy", "kms:Decrypt"],
                "Resource": "*",
            }
        }
    )
    for_another = json.loads(client.get_key_policy(KeyId=arn)["Policy"])
    for_another["Statement"][0]["Principal"] = {"AWS": f"arn:aws:iam::{simulator.account}:user/other"}
    denied = json.loads(client.get_key_policy(KeyId=arn)["Policy"])
    denied["Statement"].append({"Effect": "Deny", "Principal": "*", "Action": "kms:Put*", "Resource": "*"})
    for policy in (no_change, json.dumps(for_another), json.dumps(denied)):
        before = client.get_key_policy(KeyId=arn)["Policy"]
        refusal = refused(client.put_key_policy, KeyId=arn, Policy=policy)
        assert refusal == "MalformedPolicyDocumentException"
        assert client.get_key_policy(KeyId=arn)["Policy"] == before
        assert refused(client.create_key, Policy=policy) == "MalformedPolicyDocumentException"
        made = client.create_key(Policy=policy, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]
        assert made["Arn"]
    malformed = {"Policy": "{}", "BypassPolicyLockoutSafetyCheck": True}
    assert refused(client.put_key_policy, KeyId=arn, **malformed) == "MalformedPolicyDocumentException"
    client.put_key_policy(KeyId=arn, Policy=no_change, BypassPolicyLockoutSafetyCheck=True)
    assert client.get_key_policy(KeyId=arn)["Policy"] == no_change


def test_encryption_contexts_can_be_conditions(client: Any, simulator: KmsSimulator) -> None:
    policy = json.loads(client.get_key_policy(KeyId=simulator.create_key())["Policy"])
    policy["Statement"].append(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "kms:GenerateDataKey",
            "Resource": "*",
            "Condition": {"StringNotEquals": {"kms:EncryptionContext:Environment": "test"}},
        }
    )
    call = {"KeyId": simulator.create_key(json.dumps(policy)), "KeySpec": "AES_256"}
    assert client.generate_data_key(**call, EncryptionContext={"environment": "test"})["Plaintext"]
    for context in ({"environment": "Test"}, {"other": "test"}, {}):
        assert refused(client.generate_data_key, **call, EncryptionContext=context) == "AccessDeniedException"
    twice = {"a": "1", "A": "1"}
    assert (
        refused(client.generate_data_key, **call, EncryptionContext=twice) == "UnsupportedOperationException"
    )


def test_a_dry_run_releases_nothing(client: Any, simulator: KmsSimulator, nsm: FakeNsm) -> None:
    call = {"KeyId": simulator.create_key(), "KeySpec": "AES_256", "DryRun": True}
    assert refused(client.generate_data_key, **call) == "DryRunOperationException"


def test_random_bytes_are_sealed_for_a_recipient(client: Any, nsm: FakeNsm) -> None:
    document = nsm.attest(None, None, SPKI)
    for size in (1, 16, 1024):
        answer = client.generate_random(NumberOfBytes=size, Recipient=recipient(document))
        assert answer["Plaintext"] == b""
        assert len(decrypt(answer["CiphertextForRecipient"], KEY)) == size
        assert len(client.generate_random(NumberOfBytes=size)["Plaintext"]) == size
