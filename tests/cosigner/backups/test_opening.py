"""Locations by name, and the files with their secrets."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosigner.backups.locations import (
    LocationError,
    LocationSecrets,
    SecretFile,
    Service,
    Token,
    open_location,
)
from cosigner.backups.locations.file import FileLocation
from tests.cosigner.backups.places import secret_file

SERVICE = Service("http://127.0.0.1:8080", "sandbox")
pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture
def secrets(tmp_path: Path) -> LocationSecrets:
    return LocationSecrets(
        endpoint_token=secret_file(tmp_path / "a", "SECRET"),
        google=secret_file(tmp_path / "b", "{}"),
        icloud_api_token=secret_file(tmp_path / "c", "SECRET"),
        icloud_web_token=secret_file(tmp_path / "d", "SECRET"),
    )


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("service", "service"),
        ("file:/tmp/backups", "file"),
        ("file:relative/path", "file"),
        ("file:~/backups", "file"),
        ("s3://bucket", "s3"),
        ("s3://bucket/", "s3"),
        ("s3://bucket/of/alice", "s3"),
        ("s3://bucket/of/alice/?region=eu-central-1&endpoint=https://minio.example", "s3"),
        ("gdrive", "google_drive"),
        ("icloud:iCloud.com.example.wallet", "icloud"),
        ("icloud:iCloud.com.example.wallet/development", "icloud"),
        ("https://backups.example/of/alice", "endpoint"),
        ("http://127.0.0.1:8081", "endpoint"),
    ],
)
def test_names_of_locations(secrets: LocationSecrets, spec: str, kind: str) -> None:
    assert open_location(spec, secrets=secrets, service=SERVICE).kind == kind


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "service:",
        "service:x",
        "Service",
        "file",
        "file:",
        "file:\0",
        "s3:bucket",
        "s3:/bucket",
        "s3://",
        "s3:///x",
    ]
    + ["s3://bucket/a b", "s3://bucket/..", "s3://bucket?token=x", "s3://bucket?region=", "s3://b"]
    + [
        "s3://bucket?endpoint=http://minio.example",
        "gdrive:",
        "gdrive:x",
        "icloud",
        "icloud:",
        "icloud:com.example",
    ]
    + [
        "icloud:iCloud.com.example/staging",
        "icloud:iCloud.com.example/a/b",
        "http://backups.example",
        "https://",
        "https:",
    ]
    + [
        "https://user:SECRET@backups.example",
        "https://backups.example?token=SECRET",
        "ftp://x",
        "/tmp/backups",
        "C:\\x",
    ],
)
def test_what_names_no_location(secrets: LocationSecrets, spec: str) -> None:
    with pytest.raises(LocationError) as caught:
        open_location(spec, secrets=secrets, service=SERVICE)
    assert caught.value.code == "location_refused"
    assert "SECRET" not in str(caught.value)


def test_the_service_needs_to_be_known(secrets: LocationSecrets) -> None:
    with pytest.raises(LocationError) as caught:
        open_location("service", secrets=secrets)
    assert caught.value.code == "location_refused"


def test_a_home_is_expanded_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, secrets: LocationSecrets
) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    for spec, path in (("file:~/b", "/home/alice/b"), ("file:$HOME/b", "$HOME/b"), ("file:a:b", "a:b")):
        location = open_location(spec, secrets=secrets)
        assert isinstance(location, FileLocation)
        assert location._directory == Path(path)


@pytest.mark.parametrize(
    ("spec", "variable"),
    [
        ("gdrive", "COSIGNER_GOOGLE_CREDENTIALS_FILE"),
        ("icloud:iCloud.com.example", "COSIGNER_ICLOUD_API_TOKEN_FILE"),
        ("https://backups.example", "COSIGNER_BACKUP_TOKEN_FILE"),
    ],
)
def test_a_missing_secret_is_named_by_its_variable(spec: str, variable: str) -> None:
    with pytest.raises(LocationError) as caught:
        open_location(spec, secrets=LocationSecrets())
    assert caught.value.code == "location_unauthorized"
    assert variable in caught.value.message


def test_the_environment_names_files_and_options_come_first(tmp_path: Path) -> None:
    environment = {
        "COSIGNER_BACKUP_TOKEN_FILE": "/a",
        "COSIGNER_ICLOUD_WEB_TOKEN_FILE": "/b",
        "COSIGNER_ICLOUD_API_TOKEN_FILE": "",
    }
    found = LocationSecrets.named({"endpoint_token": Path("/option"), "google": None}, environment)
    assert found == LocationSecrets(
        endpoint_token=SecretFile(Path("/option")), icloud_web_token=SecretFile(Path("/b"))
    )


def test_without_options_the_environment_alone_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COSIGNER_BACKUP_TOKEN_FILE", str(secret_file(tmp_path / "token", " SECRET\r\n").path))
    assert open_location("https://backups.example").kind == "endpoint"


# --- secrets ---------------------------------------------------------------------------------------------------------------


def test_a_token_shows_itself_to_nobody() -> None:
    token = Token("SECRET")
    assert (repr(token), str(token)) == ("<Token>", "<Token>")
    for forbidden in (
        lambda: pickle.dumps(token),
        lambda: copy.copy(token),
        lambda: hash(token),
        lambda: token == Token("SECRET"),
    ):
        with pytest.raises(TypeError):
            forbidden()
    assert token.reveal() == "SECRET"


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "a\n", "a\r\nx-header: y", "é", "\x7f", "a" * 8193, "\ud800"]
)
def test_what_no_header_carries_is_no_token(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Token(text)
    assert text not in str(caught.value) or not text.strip()


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=100))
def test_any_printable_text_is_one(text: str) -> None:
    assert Token(text).reveal() == text


def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "token", "SECRET")
    for mode in (0o640, 0o604, 0o660, 0o601):
        file.path.chmod(mode)
        with pytest.raises(LocationError) as caught:
            file.token()
        assert caught.value.code == "location_unauthorized"
        assert "SECRET" not in str(caught.value)
    file.path.chmod(0o400)
    assert file.token().reveal() == "SECRET"


def test_what_is_no_file_with_a_token(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name, content in (
        ("empty", ""),
        ("words", "two words"),
        ("large", "x" * 16385),
        ("binary", "\x00\x01"),
        ("é", "é"),
    ):
        secret_file(tmp_path / name, content)
    for name in ("pipe", "folder", "missing", "empty", "words", "large", "binary", "é"):
        with pytest.raises(LocationError) as caught:
            SecretFile(tmp_path / name).token()
        assert caught.value.code == "location_unauthorized"


def test_a_replaced_token_is_whole_and_its_owners(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "token", "old")
    file.replace(Token("new+/="))
    assert file.token().reveal() == "new+/="
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_a_token_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = secret_file(tmp_path / "token", "old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(LocationError) as caught:
            file.replace(Token("SECRET"))
    assert caught.value.code == "location_refused"
    assert "SECRET" not in str(caught.value)
    assert file.token().reveal() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
