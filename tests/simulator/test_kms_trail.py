"""The log of calls: the fields of CloudTrail, and nothing secret."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from simulator.kms import Fault, KmsSimulator, key_policy
from simulator.nsm import FakeNsm

KEY = rsa.generate_private_key(65537, 2048)
SPKI = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
PCRS = {0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48}
CONTEXT = {"environment": "test"}
SESSION = "arn:aws:sts::111122223333:assumed-role/enclave/i-0123456789abcdef0"


@pytest.fixture
def logged(state: Path, tmp_path: Path, connect: Callable[..., Any]) -> Any:
    """A simulator with a log file, and a client of it."""
    with KmsSimulator(state, log=tmp_path / "trail.jsonl", principals={"ASIAROLE": SESSION}) as simulator:
        yield simulator, connect(simulator)


def recipient(nsm: FakeNsm) -> dict[str, Any]:
    document = nsm.attest(None, None, SPKI)
    return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}


def test_an_attested_call_shows_who_attested_what(logged: Any, nsm: FakeNsm) -> None:
    simulator, client = logged
    arn = simulator.create_key(key_policy(PCRS))
    client.generate_data_key(
        KeyId=arn, KeySpec="AES_256", EncryptionContext=CONTEXT, Recipient=recipient(nsm)
    )
    [event] = simulator.events
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["eventTime"])
    identity = event["userIdentity"]
    assert identity["type"] == "IAMUser"
    assert identity["userName"] == identity["accessKeyId"] == "AKIDEXAMPLE"
    assert identity["arn"] == f"arn:aws:iam::{simulator.account}:user/AKIDEXAMPLE"
    assert "Boto3" in event["userAgent"] or "botocore" in event["userAgent"].lower()
    expected = {
        "eventSource": "kms.amazonaws.com",
        "eventName": "GenerateDataKey",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": {"keyId": arn, "keySpec": "AES_256", "encryptionContext": CONTEXT},
        "responseElements": None,
        # KMS Developer Guide, «Monitoring requests for Nitro enclaves»
        "additionalEventData": {
            "recipient": {
                "attestationDocumentModuleId": nsm.module_id,
                "attestationDocumentEnclaveImageDigest": "01" * 48,
                "attestationDocumentEnclavePCR1": "02" * 48,
                "attestationDocumentEnclavePCR2": "03" * 48,
                "attestationDocumentEnclavePCR3": "00" * 48,
                "attestationDocumentEnclavePCR4": nsm.describe_pcr(4)[1].hex(),
                "attestationDocumentEnclavePCR8": "00" * 48,
            }
        },
        "readOnly": True,
        "resources": [{"accountId": simulator.account, "type": "AWS::KMS::Key", "ARN": arn}],
        "eventType": "AwsApiCall",
        "recipientAccountId": simulator.account,
    }
    assert {name: event[name] for name in expected} == expected
    assert "errorCode" not in event


def test_a_refusal_shows_its_error(logged: Any, nsm: FakeNsm) -> None:
    simulator, client = logged
    arn = simulator.create_key(key_policy({**PCRS, 0: b"\x09" * 48}))
    with pytest.raises(ClientError) as caught:
        client.generate_data_key(
            KeyId=arn, KeySpec="AES_256", EncryptionContext=CONTEXT, Recipient=recipient(nsm)
        )
    [event] = simulator.events
    assert event["errorCode"] == "AccessDenied"
    assert event["errorMessage"] == caught.value.response["Error"]["Message"]
    assert event["requestID"] == caught.value.response["ResponseMetadata"]["RequestId"]
    assert event["requestParameters"]["encryptionContext"] == CONTEXT
    assert event["additionalEventData"]["recipient"]["attestationDocumentEnclaveImageDigest"] == "01" * 48
    assert event["resources"][0]["ARN"] == arn


def test_a_document_that_is_not_believed_leaves_no_measurements(logged: Any, nsm: FakeNsm) -> None:
    simulator, client = logged
    arn = simulator.create_key(key_policy(PCRS))
    forged = recipient(nsm)
    forged["AttestationDocument"] = forged["AttestationDocument"][:-1] + b"\0"
    with pytest.raises(ClientError):
        client.generate_data_key(KeyId=arn, KeySpec="AES_256", Recipient=forged)
    [event] = simulator.events
    assert event["errorCode"] == "ValidationException"
    assert "additionalEventData" not in event


def test_sessions_of_roles_are_shown_as_such(logged: Any, connect: Callable[..., Any]) -> None:
    simulator, _ = logged
    connect(simulator, aws_access_key_id="ASIAROLE").generate_random(NumberOfBytes=8)
    [event] = simulator.events
    assert event["userIdentity"]["type"] == "AssumedRole"
    assert event["userIdentity"]["arn"] == SESSION
    issuer = event["userIdentity"]["sessionContext"]["sessionIssuer"]
    assert issuer["arn"] == "arn:aws:iam::111122223333:role/enclave"
    assert (event["requestParameters"], event["resources"]) == (None, [])


def test_changes_are_not_read_only_and_grants_are_named(logged: Any) -> None:
    simulator, client = logged
    arn = client.create_key()["KeyMetadata"]["Arn"]
    grantee = f"arn:aws:iam::{simulator.account}:user/x"
    constraints = {"EncryptionContextSubset": {"Case": "Kept"}}
    made = client.create_grant(
        KeyId=arn, GranteePrincipal=grantee, Operations=["Decrypt"], Constraints=constraints
    )
    client.put_key_policy(KeyId=arn, Policy=client.get_key_policy(KeyId=arn)["Policy"])
    client.revoke_grant(KeyId=arn, GrantId=made["GrantId"])
    names = {event["eventName"]: event for event in simulator.events}
    assert {name for name, event in names.items() if event["readOnly"]} == {"GetKeyPolicy"}
    assert names["CreateKey"]["responseElements"]["keyMetadata"]["arn"] == arn
    assert names["CreateGrant"]["responseElements"] == {"grantId": made["GrantId"]}
    assert names["CreateGrant"]["requestParameters"] == {
        "keyId": arn,
        "granteePrincipal": grantee,
        "operations": ["Decrypt"],
        "constraints": {"encryptionContextSubset": {"Case": "Kept"}},
    }
    assert json.loads(names["PutKeyPolicy"]["requestParameters"]["policy"])["Statement"]
    assert made["GrantToken"] not in json.dumps(simulator.events)


def test_nothing_secret_enters_the_log(logged: Any, nsm: FakeNsm, tmp_path: Path) -> None:
    simulator, client = logged
    arn = simulator.create_key()
    secret = b"a plaintext that nobody should see"
    ciphertext = client.encrypt(KeyId=arn, Plaintext=secret)["CiphertextBlob"]
    assert client.decrypt(CiphertextBlob=ciphertext)["Plaintext"] == secret
    data_key = client.generate_data_key(KeyId=arn, KeySpec="AES_256")
    simulator.faults.inject(Fault.PLAINTEXT)
    asked = recipient(nsm)
    leaked = client.generate_data_key(KeyId=arn, KeySpec="AES_256", Recipient=asked)
    log = (tmp_path / "trail.jsonl").read_text()
    for value in (
        secret,
        ciphertext,
        data_key["Plaintext"],
        data_key["CiphertextBlob"],
        leaked["Plaintext"],
        leaked["CiphertextForRecipient"],
        asked["AttestationDocument"],
    ):
        assert len(value) >= 32
        for form in (base64.b64encode(value).decode()[:40], value.hex()[:40], value.decode("latin-1")):
            assert form not in log


def test_the_file_has_every_event_as_a_line(logged: Any, tmp_path: Path) -> None:
    simulator, client = logged
    for size in (8, 16):
        client.generate_random(NumberOfBytes=size)
    lines = (tmp_path / "trail.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == simulator.events
    assert len({event["eventID"] for event in simulator.events}) == 2


def test_what_nobody_signed_is_not_logged(logged: Any, connect: Callable[..., Any]) -> None:
    simulator, client = logged
    simulator.credentials = {}
    with pytest.raises(ClientError):
        client.generate_random(NumberOfBytes=8)
    assert simulator.events == []
