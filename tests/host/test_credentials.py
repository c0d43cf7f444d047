"""Where credentials come from, and that they are shown nowhere."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.config import FileCredentials, InstanceCredentials
from host.credentials import FileSource, InstanceSource, source_of
from host.errors import HostError
from tests.host.fake_enclave import FakeEnclave
from tests.host.rig import running_host, wait_until

GOOD = {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "very-secret", "SessionToken": "token"}


def fetch(path: Path) -> Any:
    return asyncio.run(FileSource(path).fetch())


def test_a_file_of_the_form_of_credential_process_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**GOOD, "Expiration": "2099-05-06T07:08:09Z", "Comment": "ignored"}))
    credentials = fetch(path)
    assert (credentials.aws.access_key_id, credentials.aws.session_token) == ("AKIA", "token")
    assert credentials.expires_at == dt.datetime(2099, 5, 6, 7, 8, 9, tzinfo=dt.UTC).timestamp()
    assert "very-secret" not in repr(credentials) + repr(credentials.aws)
    path.write_text(json.dumps({key: GOOD[key] for key in ("Version", "AccessKeyId", "SecretAccessKey")}))
    assert fetch(path).aws.session_token == ""
    assert fetch(path).expires_at is None


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", json.dumps({**GOOD, "Version": 2}), json.dumps({**GOOD, "SecretAccessKey": ""})]
    + [json.dumps({**GOOD, "Expiration": "2099-05-06T07:08:09"}), json.dumps({**GOOD, "Expiration": "soon"})],
)
def test_a_file_of_another_form_is_refused_without_quoting_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(HostError) as caught:
        fetch(path)
    assert caught.value.code == "credentials_unavailable"
    assert "very-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_expired_credentials_are_not_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**GOOD, "Expiration": "2020-01-01T00:00:00Z"}))
    with pytest.raises(HostError) as caught:
        fetch(path)
    assert caught.value.code == "credentials_expired"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        fetch(tmp_path / "none.json")
    assert str(tmp_path / "none.json") in caught.value.message


def test_awss_chain_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAENV",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
    }.items():
        monkeypatch.setenv(name, value)
    credentials = asyncio.run(InstanceSource().fetch())
    assert (credentials.aws.access_key_id, credentials.aws.session_token) == ("AKIAENV", "t")


def test_an_empty_chain_is_a_stable_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(HostError) as caught:
        asyncio.run(InstanceSource().fetch())
    assert caught.value.code == "credentials_unavailable"


# --- the instance's role ---------------------------------------------------------------------------------------------------


class Metadata:
    """An instance's metadata service, version 2: no token, no answer. ``role`` is what it has now; ``None``: it fails."""

    def __init__(self) -> None:
        self.role: dict[str, str] | None = None
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                assert self.path == "/latest/api/token"
                self.answer(200, b"a-token")

            def do_GET(self) -> None:
                base = "/latest/meta-data/iam/security-credentials/"
                if self.headers.get("x-aws-ec2-metadata-token") != "a-token":
                    self.answer(401, b"")
                elif outer.role is None:
                    self.answer(500, b"")
                elif self.path == base:
                    self.answer(200, b"cosigner-parent")
                else:
                    assert self.path == base + "cosigner-parent"
                    outer.asked += 1
                    self.answer(
                        200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **outer.role}).encode()
                    )

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def has(self, name: str, *, minutes: float) -> None:
        end = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
        self.role = {
            "AccessKeyId": name,
            "SecretAccessKey": "not-for-logs-secret",
            "Token": f"token of {name}",
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "LastUpdated": "2026-01-01T00:00:00Z",
        }


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Metadata]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    service = Metadata()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{service.server.server_port}/")
    service.thread.start()
    yield service
    service.server.shutdown()
    service.thread.join(20)
    service.server.server_close()


@pytest.mark.parametrize("minutes_left", [1, 6, 14, 360])
def test_newer_credentials_of_the_role_are_found_as_soon_as_ec2_has_them(
    metadata: Metadata, minutes_left: float
) -> None:
    source = InstanceSource()
    metadata.has("AKIAOLD", minutes=minutes_left)
    assert asyncio.run(source.fetch()).aws.access_key_id == "AKIAOLD"
    metadata.has("AKIANEW", minutes=360)
    credentials = asyncio.run(source.fetch()).aws
    assert (credentials.access_key_id, credentials.session_token) == ("AKIANEW", "token of AKIANEW")


def test_a_moment_without_metadata_service_loses_nothing(metadata: Metadata) -> None:
    source = InstanceSource()
    with pytest.raises(HostError) as caught:
        asyncio.run(source.fetch())
    assert caught.value.code == "credentials_unavailable"
    metadata.has("AKIAFIRST", minutes=360)
    assert asyncio.run(source.fetch()).aws.access_key_id == "AKIAFIRST"
    metadata.role = None
    assert asyncio.run(source.fetch()).aws.access_key_id == "AKIAFIRST"
    metadata.has("AKIASECOND", minutes=360)
    assert asyncio.run(source.fetch()).aws.access_key_id == "AKIASECOND"


def test_the_host_hands_the_roles_credentials_in_and_newer_ones_before_the_old_ones_end(
    metadata: Metadata,
) -> None:
    fake = FakeEnclave()
    metadata.has("AKIAOLD", minutes=6)
    with running_host(fake, credentials={"source": "aws"}) as rig:
        assert fake.provisions[0].credentials.access_key_id == "AKIAOLD"
        asked = metadata.asked
        wait_until(lambda: metadata.asked > asked + 3)
        assert fake.updates == []  # the same ones again are not handed in
        metadata.has("AKIANEW", minutes=360)
        wait_until(lambda: fake.updates)
        assert [update.access_key_id for update in fake.updates] == ["AKIANEW"]
        assert "not-for-logs-secret" not in rig.log.getvalue()


def test_the_configuration_chooses_the_source() -> None:
    assert isinstance(source_of(FileCredentials("/x")), FileSource)
    assert isinstance(source_of(InstanceCredentials()), InstanceSource)
