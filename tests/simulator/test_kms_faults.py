"""Misbehaviour: each fault as a client sees it, and how faults are chosen."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from simulator.kms import Fault, Faults, Injection, KmsSimulator
from simulator.nsm import FakeNsm

KEY = rsa.generate_private_key(65537, 2048)
SPKI = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.fixture
def ask(simulator: KmsSimulator, client: Any, nsm: FakeNsm) -> Callable[[Fault | None], Any]:
    """GenerateDataKey for a recipient, under a fault."""
    arn = simulator.create_key()

    def call(fault: Fault | None) -> Any:
        if fault is not None:
            simulator.faults.inject(fault, seconds=0.01 if fault is Fault.DELAY else 0.0)
        document = nsm.attest(None, None, SPKI)
        return client.generate_data_key(
            KeyId=arn,
            KeySpec="AES_256",
            Recipient={"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document},
        )

    return call


def openssl_opens(envelope: bytes, directory: Path) -> bytes | None:
    """The envelope's content by OpenSSL, which is told nothing of how this simulator writes it; None if it refuses."""
    (directory / "key.pem").write_bytes(
        KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (directory / "envelope").write_bytes(envelope)
    done = subprocess.run(
        [
            "openssl",
            "cms",
            "-decrypt",
            "-inform",
            "DER",
            "-inkey",
            "key.pem",
            "-in",
            "envelope",
            "-out",
            "opened",
        ],
        cwd=directory,
        check=False,
        capture_output=True,
        timeout=30,
    )
    return (directory / "opened").read_bytes() if done.returncode == 0 else None


def test_openssl_opens_what_is_sent(ask: Any, tmp_path: Path) -> None:
    for _ in range(8):  # both encodings, but for one time in 128
        content = openssl_opens(ask(None)["CiphertextForRecipient"], tmp_path)
        assert content is not None
        assert len(content) == 32


@pytest.mark.parametrize("fault", [Fault.FORGED_ENVELOPE, Fault.FOREIGN_ENVELOPE])
def test_openssl_gets_no_data_key_out_of_false_envelopes(ask: Any, fault: Fault, tmp_path: Path) -> None:
    content = openssl_opens(ask(fault)["CiphertextForRecipient"], tmp_path)
    assert content is None or len(content) != 32


def test_good_envelopes_around_something_else(
    ask: Any, simulator: KmsSimulator, client: Any, tmp_path: Path
) -> None:
    made = ask(Fault.SUBSTITUTED_KEY)
    content = openssl_opens(made["CiphertextForRecipient"], tmp_path)
    true = client.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"]
    assert content is not None
    assert len(content) == len(true) == 32
    assert content != true
    short = openssl_opens(ask(Fault.SHORT_KEY)["CiphertextForRecipient"], tmp_path)
    assert short is not None
    assert len(short) == 16


def test_answers_that_say_too_much_or_too_little(ask: Any) -> None:
    assert len(ask(Fault.PLAINTEXT)["Plaintext"]) == 32
    assert "CiphertextForRecipient" not in ask(Fault.NO_ENVELOPE)
    assert ask(Fault.OTHER_KEY_ID)["KeyId"].endswith("00000000-0000-0000-0000-000000000000")
    assert len(ask(Fault.DELAY)["CiphertextBlob"]) > 32


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (Fault.THROTTLE, "ThrottlingException", 400),
        (Fault.INTERNAL, "KMSInternalException", 500),
        (Fault.DENIED, "AccessDeniedException", 400),
        (Fault.EXPIRED_TOKEN, "ExpiredTokenException", 400),
        (Fault.UNAVAILABLE, "503", 503),
    ],
)
def test_errors_look_like_those_of_aws(ask: Any, fault: Fault, code: str, status: int) -> None:
    with pytest.raises(ClientError) as caught:
        ask(fault)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.GARBAGE, Fault.EMPTY])
def test_boto3_takes_unreadable_answers_for_empty_ones(ask: Any, fault: Fault) -> None:
    """Known of botocore's JSON parser: a client that does not look for the members it needs believes a success."""
    assert ask(fault).keys() == {"ResponseMetadata"}


def test_a_truncated_answer_is_shorter_than_announced(simulator: KmsSimulator) -> None:
    simulator.faults.inject(Fault.TRUNCATED)
    context = ssl.create_default_context(cadata=simulator.ca_pem.decode())
    connection = http.client.HTTPSConnection("localhost", simulator.port, context=context, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/", b"{}")
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()


def test_a_dropped_connection(ask: Any) -> None:
    with pytest.raises(ConnectionClosedError):
        ask(Fault.DROP)
    assert ask(None)["CiphertextBlob"]


@pytest.mark.parametrize(
    ("text", "injection"),
    [
        ("throttle", Injection(Fault.THROTTLE)),
        ("throttle:Decrypt", Injection(Fault.THROTTLE, "Decrypt")),
        ("drop*3", Injection(Fault.DROP, times=3)),
        ("internal:GenerateDataKey*always", Injection(Fault.INTERNAL, "GenerateDataKey", times=None)),
        ("delay@2.5", Injection(Fault.DELAY, seconds=2.5)),
        ("delay:Decrypt*2@0.050", Injection(Fault.DELAY, "Decrypt", 0.05, 2)),
        ("forged-envelope", Injection(Fault.FORGED_ENVELOPE)),
    ],
)
def test_faults_can_be_written_down(text: str, injection: Injection) -> None:
    assert Injection.parse(text) == injection
    assert Injection.parse(str(injection)) == injection


@pytest.mark.parametrize(
    "text",
    ["", "nap", "throttle*0", "throttle*-1", "throttle*", "throttle:", "delay", "delay@0", "throttle@1", "delay@1e9",
     "delay@9999", "Throttle", "throttle Decrypt", "throttle:Decrypt:Encrypt"],
)  # fmt: skip
def test_what_is_no_fault(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Injection.parse(text)


@given(st.lists(st.tuples(st.sampled_from(["Decrypt", "Encrypt", None]), st.integers(1, 3)), max_size=5))
def test_each_fault_happens_as_often_as_asked(wanted: list[tuple[str | None, int]]) -> None:
    faults = Faults()
    for operation, times in wanted:
        faults.inject(Fault.DROP, operation=operation, times=times)
    total = sum(times for _, times in wanted)
    taken = 0
    for operation in ("Decrypt", "Encrypt"):
        for _ in range(total + 1):
            taken += faults.take(operation) is not None
    assert taken == total
    assert faults.waiting == []


def test_a_fault_without_end_ends_by_clearing(simulator: KmsSimulator, client: Any) -> None:
    simulator.faults.inject(Fault.THROTTLE, operation="GenerateRandom", times=None)
    for _ in range(5):
        with pytest.raises(ClientError):
            client.generate_random(NumberOfBytes=8)
    simulator.faults.clear()
    assert client.generate_random(NumberOfBytes=8)["Plaintext"]


def control(simulator: KmsSimulator, method: str, name: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{simulator.url}/_simulator/{name}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
    )
    context = ssl.create_default_context(cadata=simulator.ca_pem.decode())
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_running_simulator_is_controlled_from_outside(state: Path, connect: Callable[..., Any]) -> None:
    with KmsSimulator(state) as simulator:
        client = connect(simulator)
        assert control(simulator, "POST", "faults", {"fault": "throttle*2"}) == (
            200,
            {"faults": ["throttle*2"]},
        )
        with pytest.raises(ClientError):
            client.generate_random(NumberOfBytes=8)
        assert control(simulator, "GET", "faults") == (200, {"faults": ["throttle"]})
        assert control(simulator, "DELETE", "faults") == (200, {"faults": []})
        client.generate_random(NumberOfBytes=8)
        status, answer = control(simulator, "GET", "events")
        assert status == 200
        assert [event.get("errorCode") for event in answer["events"]] == ["ThrottlingException", None]
        assert answer["events"] == simulator.events


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("POST", "faults", {"fault": "nap"}, 400),
        ("POST", "faults", {"fault": 5}, 400),
        ("POST", "faults", {}, 400),
        ("POST", "faults", [], 400),
        ("POST", "events", {}, 404),
        ("GET", "keys", None, 404),
        ("DELETE", "events", None, 404),
    ],
)
def test_what_control_does_not_do(
    simulator: KmsSimulator, method: str, name: str, body: Any, status: int
) -> None:
    assert control(simulator, method, name, body)[0] == status
    assert simulator.faults.waiting == []


def test_other_paths_are_not_kms(simulator: KmsSimulator) -> None:
    context = ssl.create_default_context(cadata=simulator.ca_pem.decode())
    for method, path in (("POST", "/kms"), ("GET", "/"), ("GET", "/_simulator")):
        request = urllib.request.Request(
            simulator.url + path, method=method, data=b"{}" if method == "POST" else None
        )
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(request, context=context, timeout=10)
        caught.value.close()
