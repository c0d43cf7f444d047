"""Attested KMS calls against the simulator, over real TLS: what is believed, what is refused, what is repeated."""

from __future__ import annotations

import inspect
import json
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enclave import kms as kms_module
from enclave.key_policy import Measurement, Verdict
from enclave.kms import ATTEMPTS, AttestedKms, KmsError
from enclave.nsm import Nsm, NsmError
from simulator.kms import Credential, Fault, KmsSimulator, key_policy
from simulator.kms.server import _Response
from simulator.nsm import FakeNsm
from simulator.pki import NitroPki, TlsAuthority

PCRS = {0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48}
CONTEXT = {"environment": "test", "purpose": "seal"}
HOST = "kms.us-east-1.amazonaws.com"


@dataclass
class Credentials:
    access_key_id: str = "AKIDEXAMPLE"
    secret_access_key: str = "secret-of-the-host"
    session_token: str = ""


class Scripted(KmsSimulator):
    """Notes every request, and answers with `script` instead of the truth when there is one."""

    script: tuple[int, bytes] | None = None

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.requests: list[dict[str, Any]] = []

    def _answer(self, headers: Mapping[str, str], body: bytes) -> _Response | None:
        self.requests.append(json.loads(body))
        if self.script is not None:
            return _Response(*self.script)
        return super()._answer(headers, body)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kms")


@pytest.fixture(scope="module")
def shared(state: Path) -> Iterator[Scripted]:
    with Scripted(state) as running:
        yield running


@pytest.fixture
def simulator(shared: Scripted) -> Iterator[Scripted]:
    shared.requests.clear()
    yield shared
    shared.faults.clear()
    shared.credentials = None
    shared.script = None


@pytest.fixture(scope="module")
def nsm(state: Path) -> FakeNsm:
    return FakeNsm(NitroPki.open(state), measurements=PCRS)


@pytest.fixture(scope="module")
def arn(shared: Scripted) -> str:
    return shared.create_key(key_policy(PCRS))


def enclave(simulator: KmsSimulator, nsm: Nsm, **changes: Any) -> AttestedKms:
    normal = {
        "region": "us-east-1",
        "host": HOST,
        "port": 443,
        "dial": lambda host, port: connected(simulator),
        "credentials": Credentials,
        "nsm": nsm,
        "ca_pem": simulator.ca_pem.decode(),
        "sleep": lambda seconds: None,
    }
    return AttestedKms(**{**normal, **changes})


def connected(simulator: KmsSimulator) -> socket.socket:
    tunnel = socket.create_connection(("127.0.0.1", simulator.port), timeout=5)
    tunnel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tunnel


def refused(call: Any, *arguments: Any) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(*arguments)
    error = caught.value
    assert (error.code, error.culprit, error.reaction) in documented()
    return error


def documented() -> set[tuple[str, ...]]:
    rows = re.findall(r"\| `(kms_\w+)` \| (\w+) \| (\w+) \|", inspect.getdoc(KmsError) or "")
    assert len(rows) == 21
    return set(rows)


def test_a_data_key_is_generated_and_decrypted_again(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    ciphertext, data_key = kms.generate_data_key(arn, CONTEXT)
    assert isinstance(data_key, bytearray)
    assert len(data_key) == 32
    assert bytes(data_key) not in ciphertext
    again = kms.decrypt_data_key(arn, ciphertext, CONTEXT)
    assert again == data_key
    assert again is not data_key


def test_many_calls_meet_both_encodings(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    ciphertext, data_key = kms.generate_data_key(arn, CONTEXT)
    assert all(kms.decrypt_data_key(arn, ciphertext, CONTEXT) == data_key for _ in range(8))


def test_every_request_carries_a_recipient_with_a_key_of_its_own(
    simulator: Scripted, nsm: FakeNsm, arn: str
) -> None:
    kms = enclave(simulator, nsm)
    ciphertext, _ = kms.generate_data_key(arn, CONTEXT)
    kms.decrypt_data_key(arn, ciphertext, CONTEXT)
    documents = [request["Recipient"]["AttestationDocument"] for request in simulator.requests]
    assert len(set(documents)) == 2
    for request in simulator.requests:
        assert request["KeyId"] == arn
        assert request["EncryptionContext"] == CONTEXT


def test_no_unattested_call_exists() -> None:
    public = {name for name in vars(AttestedKms) if not name.startswith("_")}
    assert public == {"judge_key", "generate_data_key", "decrypt_data_key"}
    source = inspect.getsource(kms_module)
    # boto3's operations are named where they are handed to the one function that adds `Recipient`, nowhere else.
    assert len(re.findall(r"self\._client\.\w+", source)) == 2
    assert len(re.findall(r"self\._attested\(\s+self\._client\.\w+,", source)) == 2
    # The only others are three that return nothing secret, and those take no `Recipient`.
    assert kms_module._METHODS == {
        "DescribeKey": "describe_key",
        "GetKeyPolicy": "get_key_policy",
        "ListGrants": "list_grants",
    }
    assert source.count("getattr(") == source.count("getattr(self._client, _METHODS[action])") == 1
    assert source.count("operation(") == 1
    assert "_call(operation, Recipient=" in source


def test_wrong_pcr_at_kms(simulator: Scripted, state: Path, nsm: FakeNsm, arn: str) -> None:
    ciphertext, _ = enclave(simulator, nsm).generate_data_key(arn, CONTEXT)
    for index in PCRS:
        other = FakeNsm(NitroPki.open(state), measurements={**PCRS, index: b"\x09" * 48})
        impostor = enclave(simulator, other)
        assert refused(impostor.decrypt_data_key, arn, ciphertext, CONTEXT).code == "kms_denied"
        assert refused(impostor.generate_data_key, arn, CONTEXT).code == "kms_denied"


def test_plaintext_filled_in(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    ciphertext, _ = kms.generate_data_key(arn, CONTEXT)
    for call, arguments in (
        (kms.generate_data_key, (arn, CONTEXT)),
        (kms.decrypt_data_key, (arn, ciphertext, CONTEXT)),
    ):
        simulator.faults.inject(Fault.PLAINTEXT)
        assert refused(call, *arguments).code == "kms_plaintext_returned"


def test_plaintext_of_an_open_key(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    """A KMS, or an emulator, that ignores `Recipient` altogether."""
    simulator.script = (
        200,
        json.dumps({"KeyId": arn, "Plaintext": "AAAA", "CiphertextBlob": "AAAA"}).encode(),
    )
    assert refused(enclave(simulator, nsm).generate_data_key, arn, CONTEXT).code == "kms_plaintext_returned"


def test_another_key_id(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    ciphertext, _ = kms.generate_data_key(arn, CONTEXT)
    for call, arguments in (
        (kms.generate_data_key, (arn, CONTEXT)),
        (kms.decrypt_data_key, (arn, ciphertext, CONTEXT)),
    ):
        simulator.faults.inject(Fault.OTHER_KEY_ID)
        assert refused(call, *arguments).code == "kms_key_mismatch"


def test_a_key_named_by_less_than_its_arn_is_another_key(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    key_id = arn.rpartition("/")[2]
    assert refused(enclave(simulator, nsm).generate_data_key, key_id, CONTEXT).code == "kms_key_mismatch"


@pytest.mark.parametrize("fault", [Fault.FORGED_ENVELOPE, Fault.FOREIGN_ENVELOPE])
def test_forged_envelope(simulator: Scripted, nsm: FakeNsm, arn: str, fault: Fault) -> None:
    kms = enclave(simulator, nsm)
    simulator.faults.inject(fault)
    assert refused(kms.generate_data_key, arn, CONTEXT).code == "kms_envelope_refused"


def test_envelopes_that_hold_no_data_key(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    simulator.faults.inject(Fault.SHORT_KEY)
    assert refused(kms.generate_data_key, arn, CONTEXT).code == "kms_data_key_length"
    simulator.faults.inject(Fault.NO_ENVELOPE)
    assert refused(kms.generate_data_key, arn, CONTEXT).code == "kms_answer_malformed"


def test_a_substituted_key_opens_which_is_why_sealed_records_must(
    simulator: Scripted, nsm: FakeNsm, arn: str
) -> None:
    """An envelope is not authenticated: this is the limit of what this layer can notice."""
    kms = enclave(simulator, nsm)
    ciphertext, data_key = kms.generate_data_key(arn, CONTEXT)
    simulator.faults.inject(Fault.SUBSTITUTED_KEY)
    assert kms.decrypt_data_key(arn, ciphertext, CONTEXT) != data_key


class Replaying(FakeNsm):
    """An NSM that answers with a document made earlier."""

    recorded: bytes

    def attest(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
        return self.recorded


def test_unrelated_attestation_document(simulator: Scripted, state: Path, nsm: FakeNsm, arn: str) -> None:
    """Somebody else's fresh document: KMS seals for that key, and the envelope does not name ours."""
    documents: list[bytes] = []

    class Recording(FakeNsm):
        def attest(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
            documents.append(super().attest(user_data, nonce, public_key))
            return documents[-1]

    enclave(simulator, Recording(NitroPki.open(state), measurements=PCRS)).generate_data_key(arn, CONTEXT)
    replaying = Replaying(NitroPki.open(state), measurements=PCRS)
    replaying.recorded = documents[0]
    error = refused(enclave(simulator, replaying).generate_data_key, arn, CONTEXT)
    assert error.code == "kms_envelope_refused"
    assert "envelope_recipient" in error.message


def test_stale_attestation_document(simulator: Scripted, state: Path, arn: str) -> None:
    then = datetime.now(UTC) - timedelta(minutes=6)
    slow = FakeNsm(NitroPki.open(state), measurements=PCRS, clock=lambda: then)
    error = refused(enclave(simulator, slow).generate_data_key, arn, CONTEXT)
    assert error.code == "kms_request_refused"
    assert "too_old" in error.message


def test_attestation_document_of_another_root(simulator: Scripted, arn: str) -> None:
    stranger = FakeNsm(NitroPki.ephemeral(), measurements=PCRS)
    assert refused(enclave(simulator, stranger).generate_data_key, arn, CONTEXT).code == "kms_request_refused"


def test_an_nsm_that_refuses(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    class Broken(FakeNsm):
        def attest(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
            raise NsmError("InternalError", "out of order")

    broken = Broken(NitroPki.ephemeral(), measurements=PCRS)
    assert refused(enclave(simulator, broken).generate_data_key, arn, CONTEXT).code == "kms_nsm_failed"
    assert simulator.requests == []


def test_context_mismatch(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    ciphertext, _ = kms.generate_data_key(arn, CONTEXT)
    for context in (
        {"environment": "prod", "purpose": "seal"},
        {"environment": "test"},
        {**CONTEXT, "more": "x"},
    ):
        assert refused(kms.decrypt_data_key, arn, ciphertext, context).code == "kms_ciphertext_refused"
    with pytest.raises(ValueError, match="encryption context"):
        kms.generate_data_key(arn, {})


def test_ciphertexts_of_other_keys_and_altered_ones(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    other = simulator.create_key(key_policy(PCRS))
    ciphertext, _ = kms.generate_data_key(other, CONTEXT)
    assert refused(kms.decrypt_data_key, arn, ciphertext, CONTEXT).code == "kms_key_unusable"
    altered = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    assert refused(kms.decrypt_data_key, other, altered, CONTEXT).code == "kms_ciphertext_refused"
    missing = arn[:-1] + ("0" if arn[-1] != "0" else "1")
    assert refused(kms.generate_data_key, missing, CONTEXT).code == "kms_key_unusable"


def test_throttling_then_success(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    waits: list[float] = []
    kms = enclave(simulator, nsm, sleep=waits.append)
    simulator.faults.inject(Fault.THROTTLE, times=2)
    simulator.faults.inject(Fault.INTERNAL)
    assert len(kms.generate_data_key(arn, CONTEXT)[1]) == 32
    assert len(waits) == 3
    assert all(0.1 <= wait <= 5 for wait in waits)
    assert waits[2] > waits[0] / 4


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.THROTTLE, "kms_throttled"),
        (Fault.INTERNAL, "kms_unavailable"),
        (Fault.DROP, "kms_tunnel_failed"),
    ],
)
def test_attempts_are_bounded(simulator: Scripted, nsm: FakeNsm, arn: str, fault: Fault, code: str) -> None:
    waits: list[float] = []
    simulator.faults.inject(fault, times=100)
    error = refused(enclave(simulator, nsm, sleep=waits.append).generate_data_key, arn, CONTEXT)
    assert (error.code, error.reaction) == (code, "retry")
    assert len(simulator.requests) == ATTEMPTS
    assert len(waits) == ATTEMPTS - 1


def test_what_repeating_cannot_mend_is_not_repeated(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    simulator.faults.inject(Fault.PLAINTEXT, times=100)
    refused(enclave(simulator, nsm).generate_data_key, arn, CONTEXT)
    assert len(simulator.requests) == 1


def test_a_dropped_connection_then_success(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    simulator.faults.inject(Fault.DROP)
    assert enclave(simulator, nsm).generate_data_key(arn, CONTEXT)


def test_an_answer_that_takes_too_long(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm, timeout_s=0.3)
    simulator.faults.inject(Fault.DELAY, times=100, seconds=1.0)
    assert refused(kms.generate_data_key, arn, CONTEXT).code == "kms_tunnel_failed"


def test_a_tunnel_that_does_not_open(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    dialled: list[tuple[str, int]] = []

    def dial(host: str, port: int) -> socket.socket:
        dialled.append((host, port))
        raise ConnectionRefusedError("not on the list")

    error = refused(enclave(simulator, nsm, dial=dial).generate_data_key, arn, CONTEXT)
    assert (error.code, error.culprit) == ("kms_tunnel_failed", "host")
    assert dialled == [(HOST, 443)] * ATTEMPTS


def test_a_tunnel_that_ends_at_once_or_talks_nonsense(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    for first_bytes in (b"", b"HTTP/1.1 200 OK\r\n\r\n"):

        def dial(host: str, port: int, first_bytes: bytes = first_bytes) -> socket.socket:
            ours, theirs = socket.socketpair()
            with theirs:
                theirs.sendall(first_bytes)
            return ours

        error = refused(enclave(simulator, nsm, dial=dial).generate_data_key, arn, CONTEXT)
        assert error.code in {"kms_tunnel_failed", "kms_tls_failed"}


def test_tls_certificate_not_matching(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm, host="kms.eu-west-1.amazonaws.com")
    error = refused(kms.generate_data_key, arn, CONTEXT)
    assert (error.code, error.culprit, error.reaction) == ("kms_tls_failed", "host", "abort")
    assert simulator.requests == []


def test_tls_certificate_of_another_authority(
    simulator: Scripted, nsm: FakeNsm, arn: str, tmp_path: Path
) -> None:
    for ca_pem in (TlsAuthority.open(tmp_path).pem.decode(), None):
        assert (
            refused(enclave(simulator, nsm, ca_pem=ca_pem).generate_data_key, arn, CONTEXT).code
            == "kms_tls_failed"
        )
    assert simulator.requests == []


@pytest.mark.parametrize(
    "ca_pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_authorities_that_cannot_be_read(simulator: Scripted, nsm: FakeNsm, ca_pem: str) -> None:
    assert refused(lambda: enclave(simulator, nsm, ca_pem=ca_pem)).code == "kms_tls_failed"


def test_credentials_rotated_between_calls(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    current = Credentials("ASIAONE", "secret one", "token one")
    kms = enclave(simulator, nsm, credentials=lambda: current)
    simulator.credentials = {"ASIAONE": Credential("secret one", "token one")}
    ciphertext, data_key = kms.generate_data_key(arn, CONTEXT)
    simulator.credentials = {"ASIATWO": Credential("secret two", "token two")}
    error = refused(kms.decrypt_data_key, arn, ciphertext, CONTEXT)
    assert (error.code, error.culprit, error.reaction) == ("kms_credentials_refused", "host", "retry")
    current = Credentials("ASIATWO", "secret two", "token two")
    assert kms.decrypt_data_key(arn, ciphertext, CONTEXT) == data_key


def test_credentials_refreshed_while_a_call_is_repeated(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    current = Credentials("ASIAOLD", "old", "expired")
    simulator.credentials = {"ASIANEW": Credential("new", "token")}

    def refresh(_: float) -> None:
        nonlocal current
        current = Credentials("ASIANEW", "new", "token")

    kms = enclave(simulator, nsm, credentials=lambda: current, sleep=refresh)
    assert kms.generate_data_key(arn, CONTEXT)
    assert len(simulator.requests) == 2


def test_no_credentials_yet(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    def none() -> Credentials:
        raise LookupError("the host has handed in no credentials yet")

    error = refused(enclave(simulator, nsm, credentials=none).generate_data_key, arn, CONTEXT)
    assert (error.code, error.reaction) == ("kms_credentials_missing", "retry")
    assert simulator.requests == []


def test_malformed_json(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    kms = enclave(simulator, nsm)
    simulator.faults.inject(Fault.GARBAGE)
    assert refused(kms.generate_data_key, arn, CONTEXT).code == "kms_answer_malformed"
    for status, body in (
        (200, b""),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"{"),
        (200, b"[" * 100_000),
        (200, b'"' + b"a" * 2_000_000 + b'"'),
        (200, json.dumps({"KeyId": arn}).encode()),
        (200, json.dumps({"KeyId": arn, "CiphertextForRecipient": "!"}).encode()),
        (200, json.dumps({"KeyId": arn, "CiphertextForRecipient": 5}).encode()),
        (200, json.dumps({"KeyId": arn, "CiphertextForRecipient": {}}).encode()),
        (400, b"not json"),
        (400, b"[]"),
    ):
        simulator.script = (status, body)
        assert refused(kms.generate_data_key, arn, CONTEXT).code in {
            "kms_answer_malformed",
            "kms_key_mismatch",
            "kms_envelope_refused",
        }


REFUSALS = [
    (400, "com.amazonaws.kms#AccessDeniedException", "kms_denied"),
    (400, "ThrottlingException", "kms_throttled"),
    (400, "LimitExceededException", "kms_throttled"),
    (500, "KMSInternalException", "kms_unavailable"),
    (503, "ServiceUnavailable", "kms_unavailable"),
    (502, "", "kms_unavailable"),
    (400, "ExpiredTokenException", "kms_credentials_refused"),
    (400, "KMSInvalidStateException", "kms_key_unusable"),
    (400, "DisabledException", "kms_key_unusable"),
    (400, "InvalidCiphertextException", "kms_ciphertext_refused"),
    (400, "ValidationException", "kms_request_refused"),
    (400, "SomethingNewException", "kms_request_refused"),
    (301, "Moved", "kms_request_refused"),
]


def test_refusals_of_kms_keep_their_meaning(simulator: Scripted, one_enclave: AttestedKms, arn: str) -> None:
    for status, name, code in REFUSALS:
        simulator.script = (status, json.dumps({"__type": name, "message": "why"}).encode())
        assert refused(one_enclave.generate_data_key, arn, CONTEXT).code == code


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["AAAA", "", "MIAGCSqG"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
_NAMES = st.sampled_from(
    [
        "KeyId",
        "Plaintext",
        "CiphertextBlob",
        "CiphertextForRecipient",
        "KeyMaterialId",
        "__type",
        "message",
        "Message",
    ]
)


@pytest.fixture
def one_enclave(simulator: Scripted, nsm: FakeNsm, monkeypatch: pytest.MonkeyPatch) -> AttestedKms:
    """With one RSA key: making them would be nearly all of the next test's time."""
    key = kms_module.rsa.generate_private_key(public_exponent=65537, key_size=2048)
    monkeypatch.setattr(kms_module.rsa, "generate_private_key", lambda **_: key)
    return enclave(simulator, nsm)


@given(answer=st.dictionaries(_NAMES, _JSON), status=st.sampled_from([200, 204, 400, 403, 500]))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_answer_is_refused_with_a_documented_code(
    simulator: Scripted, one_enclave: AttestedKms, arn: str, answer: dict[str, Any], status: int
) -> None:
    simulator.script = (status, json.dumps(answer).encode())
    refused(one_enclave.generate_data_key, arn, CONTEXT)


def test_environment_and_home_directory_have_no_say(
    simulator: Scripted, nsm: FakeNsm, arn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / ".aws"
    home.mkdir()
    (home / "config").write_text(
        "[default]\nregion = eu-central-1\nca_bundle = /nowhere\nendpoint_url = http://evil\n"
    )
    (home / "credentials").write_text("[default]\naws_access_key_id = EVIL\naws_secret_access_key = evil\n")
    models = tmp_path / "models" / "kms" / "2014-11-01"
    models.mkdir(parents=True)
    (models / "service-2.json").write_text("{}")
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "EVIL",
        "AWS_SECRET_ACCESS_KEY": "evil",
        "AWS_SESSION_TOKEN": "evil",
        "AWS_PROFILE": "no-such-profile",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_CA_BUNDLE": "/nowhere",
        "REQUESTS_CA_BUNDLE": "/nowhere",
        "AWS_DATA_PATH": str(tmp_path / "models"),
        "AWS_ENDPOINT_URL": "http://evil",
        "AWS_ENDPOINT_URL_KMS": "http://evil",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "50",
        "AWS_RETRY_MODE": "nonsense",
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_CSM_ENABLED": "true",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "https_proxy": "http://127.0.0.1:1",
        "SSLKEYLOGFILE": str(tmp_path / "keys.log"),
    }.items():
        monkeypatch.setenv(name, value)
    simulator.credentials = {"AKIDEXAMPLE": Credential("secret-of-the-host")}
    kms = enclave(simulator, nsm)
    ciphertext, data_key = kms.generate_data_key(arn, CONTEXT)
    assert kms.decrypt_data_key(arn, ciphertext, CONTEXT) == data_key
    assert len(simulator.requests) == 2
    # botocore makes an HTTP session that is never used, and with it this file; no keys may get there.
    assert "TRAFFIC_SECRET" not in (tmp_path / "keys.log").read_text()


def test_nothing_secret_is_logged_even_at_debug_level(
    simulator: Scripted, nsm: FakeNsm, arn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = Credentials("ASIAEXAMPLE", "very-secret-key", "very-secret-token")
    simulator.faults.inject(Fault.THROTTLE)
    simulator.faults.inject(Fault.PLAINTEXT)
    refused(enclave(simulator, nsm, credentials=lambda: secret).generate_data_key, arn, CONTEXT)
    assert [
        record for record in caplog.records if record.name.split(".")[0] in {"boto3", "botocore", "urllib3"}
    ] == []
    assert "very-secret" not in caplog.text


def test_no_connection_outlives_its_call(simulator: Scripted, nsm: FakeNsm, arn: str) -> None:
    tunnels: list[socket.socket] = []

    def dial(host: str, port: int) -> socket.socket:
        tunnels.append(socket.create_connection(("127.0.0.1", simulator.port)))
        return tunnels[-1]

    kms = enclave(simulator, nsm, dial=dial)
    simulator.faults.inject(Fault.DROP)
    kms.generate_data_key(arn, CONTEXT)
    assert len(tunnels) == 2
    assert all(tunnel.fileno() == -1 for tunnel in tunnels)


# --- judging a key ---------------------------------------------------------------------------------------------------

MANIFEST_PCR = b"\x10" * 48
OURS = Measurement(image=PCRS[0], manifest=MANIFEST_PCR)
PINNED = key_policy({**PCRS, 16: MANIFEST_PCR})


def judge(kms: AttestedKms, arn: str, *, accept_editable: bool = False) -> Verdict:
    return kms.judge_key(arn, ours=OURS, accept_editable=accept_editable)


def judge_refused(kms: AttestedKms, arn: str, **options: bool) -> KmsError:
    return refused(lambda: judge(kms, arn, **options))


def targets(simulator: Scripted) -> list[str]:
    """Which operations were called, told apart by their members."""
    names = {frozenset({"KeyId"}): "look", frozenset({"KeyId", "PolicyName"}): "policy"}
    return [names.get(frozenset(request), "other") for request in simulator.requests]


def test_a_key_is_judged_by_its_metadata_policy_and_grants_in_that_order(
    simulator: Scripted, nsm: FakeNsm
) -> None:
    """Grants last: under a policy that lets nobody grant, none can have come since the policy was read."""
    arn = simulator.create_key(PINNED)
    assert judge(enclave(simulator, nsm), arn) is Verdict.PINNED
    assert targets(simulator) == ["look", "policy", "look"]
    assert simulator.requests[1] == {"KeyId": arn, "PolicyName": "default"}
    assert all("Recipient" not in request for request in simulator.requests)


def test_a_policy_for_another_release_is_refused_over_the_wire(simulator: Scripted, nsm: FakeNsm) -> None:
    arn = simulator.create_key(key_policy({**PCRS, 16: b"\x11" * 48}))
    assert judge_refused(enclave(simulator, nsm), arn).code == "kms_policy_refused"
    assert judge(enclave(simulator, nsm), arn, accept_editable=True) is Verdict.EDITABLE


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"MultiRegion": True}, "kms_key_metadata_refused"),
    ({"Origin": "EXTERNAL"}, "kms_key_metadata_refused"),
    ({"KeyManager": "AWS"}, "kms_key_metadata_refused"),
    ({"KeyUsage": "SIGN_VERIFY"}, "kms_key_metadata_refused"),
    ({"KeySpec": "RSA_2048"}, "kms_key_metadata_refused"),
    ({"CustomKeyStoreId": "cks-1234"}, "kms_key_metadata_refused"),
    ({"Arn": "arn:aws:kms:us-east-1:111122223333:key/other"}, "kms_key_mismatch"),
    ({"KeyState": "PendingDeletion", "Enabled": False}, "kms_key_unusable"),
]


@pytest.mark.parametrize(("claims", "code"), CLAIMS, ids=str)
def test_a_key_of_another_kind_is_refused_before_its_policy_is_read(
    simulator: Scripted, nsm: FakeNsm, claims: dict[str, Any], code: str
) -> None:
    arn = simulator.create_key(PINNED, claims=claims)
    assert judge_refused(enclave(simulator, nsm), arn).code == code
    assert targets(simulator) == ["look"]


def test_a_role_that_may_not_look_is_refused(simulator: Scripted, nsm: FakeNsm) -> None:
    for action in ("kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListGrants"):
        policy = json.loads(PINNED)
        policy["Statement"][1]["Action"].remove(action)
        arn = simulator.create_key(json.dumps(policy))
        error = judge_refused(enclave(simulator, nsm), arn)
        assert (error.code, error.reaction) == ("kms_policy_unreadable", "abort")
        assert action.removeprefix("kms:") in error.message


def test_looking_is_repeated_like_every_call(simulator: Scripted, nsm: FakeNsm) -> None:
    arn = simulator.create_key(PINNED)
    waits: list[float] = []
    for fault in (Fault.THROTTLE, Fault.INTERNAL, Fault.DROP):
        simulator.faults.inject(fault)
    assert judge(enclave(simulator, nsm, sleep=waits.append), arn) is Verdict.PINNED
    assert len(waits) == 3
    simulator.faults.inject(Fault.THROTTLE, times=100)
    simulator.requests.clear()
    assert judge_refused(enclave(simulator, nsm), arn).code == "kms_throttled"
    assert len(simulator.requests) == ATTEMPTS


class Answering(Scripted):
    """Answers each operation of the judgement from a table instead."""

    table: Mapping[str, object]

    def _answer(self, headers: Mapping[str, str], body: bytes) -> _Response | None:
        operation = next(value for name, value in headers.items() if name.lower() == "x-amz-target")
        name = operation.rpartition(".")[2]
        self.requests.append({"operation": name, **json.loads(body)})
        answer = self.table[name]
        found = answer(json.loads(body)) if callable(answer) else answer
        return _Response(200, json.dumps(found).encode())


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    with Answering(tmp_path_factory.mktemp("answering")) as running:
        yield running


ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
GOOD_METADATA = {
    "AWSAccountId": "111122223333",
    "KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab",
    "Arn": ARN,
    "Enabled": True,
    "KeyUsage": "ENCRYPT_DECRYPT",
    "KeyState": "Enabled",
    "Origin": "AWS_KMS",
    "KeyManager": "CUSTOMER",
    "KeySpec": "SYMMETRIC_DEFAULT",
    "MultiRegion": False,
}
GOOD_ANSWERS: Mapping[str, object] = {
    "DescribeKey": {"KeyMetadata": GOOD_METADATA},
    "GetKeyPolicy": {"Policy": PINNED, "PolicyName": "default"},
    "ListGrants": {"Grants": [], "Truncated": False},
}


def more(request: dict[str, Any]) -> dict[str, Any]:
    """Empty pages without end."""
    return {"Grants": [], "Truncated": True, "NextMarker": request.get("Marker", "") + "x"}


def late(request: dict[str, Any]) -> dict[str, Any]:
    """A grant on the third page."""
    if request.get("Marker") != "xx":
        return more(request)
    return {"Grants": [{"GrantId": "1", "Operations": ["Decrypt"]}], "Truncated": False}


NONSENSE: list[tuple[str, object, str]] = [
    ("DescribeKey", {}, "kms_answer_malformed"),
    ("DescribeKey", {"KeyMetadata": []}, "kms_answer_malformed"),
    ("DescribeKey", {"KeyMetadata": "x"}, "kms_answer_malformed"),
    ("DescribeKey", {"KeyMetadata": {}}, "kms_key_mismatch"),
    ("DescribeKey", {"KeyMetadata": {**GOOD_METADATA, "MultiRegion": "false"}}, "kms_key_metadata_refused"),
    ("GetKeyPolicy", {}, "kms_answer_malformed"),
    ("GetKeyPolicy", {"Policy": None}, "kms_answer_malformed"),
    ("GetKeyPolicy", {"Policy": {"Version": "2012-10-17"}}, "kms_answer_malformed"),
    ("GetKeyPolicy", {"Policy": ""}, "kms_policy_refused"),
    ("GetKeyPolicy", {"Policy": "[" * 2_000}, "kms_policy_refused"),
    ("GetKeyPolicy", {"Policy": "[" * 20_000}, "kms_answer_malformed"),
    ("GetKeyPolicy", {"Policy": "\ud800"}, "kms_policy_refused"),
    ("ListGrants", {}, "kms_answer_malformed"),
    ("ListGrants", {"Grants": "none"}, "kms_answer_malformed"),
    ("ListGrants", {"Grants": [], "Truncated": "no"}, "kms_answer_malformed"),
    ("ListGrants", {"Grants": [], "Truncated": True}, "kms_answer_malformed"),
    ("ListGrants", {"Grants": [], "Truncated": True, "NextMarker": ""}, "kms_answer_malformed"),
    ("ListGrants", {"Grants": [{}], "Truncated": True}, "kms_key_has_grants"),
    ("ListGrants", more, "kms_answer_malformed"),
    ("ListGrants", late, "kms_key_has_grants"),
]


@pytest.mark.parametrize(("operation", "answer", "code"), NONSENSE, ids=lambda value: str(value)[:40])
def test_nonsense_about_a_key_is_refused(
    answering: Answering, nsm: FakeNsm, operation: str, answer: object, code: str
) -> None:
    answering.table = GOOD_ANSWERS
    assert judge(enclave(answering, nsm), ARN) is Verdict.PINNED
    answering.table = {**GOOD_ANSWERS, operation: answer}
    answering.requests.clear()
    assert judge_refused(enclave(answering, nsm), ARN).code == code
    assert len(answering.requests) <= 10


def test_words_that_are_no_text_travel_as_a_question_mark(simulator: Scripted, nsm: FakeNsm) -> None:
    """JSON can hold half of a surrogate pair; a fault with it could not be encoded."""
    simulator.script = (400, b'{"__type": "ValidationException", "message": "\\ud800"}')
    error = judge_refused(enclave(simulator, nsm), ARN)
    assert error.message.encode()
    assert "?" in error.message
