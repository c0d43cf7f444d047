"""Where credentials come from, and that they are shown nowhere."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from host.config import FileCredentials, InstanceCredentials
from host.credentials import FileSource, InstanceSource, source_of
from host.errors import HostError

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


def test_the_configuration_chooses_the_source() -> None:
    assert isinstance(source_of(FileCredentials("/x")), FileSource)
    assert isinstance(source_of(InstanceCredentials()), InstanceSource)
