"""S3: its errors, translated; what else lies in the bucket; boto3 that is not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from cosigner.backups.locations import LocationError
from cosigner.backups.locations import s3 as module
from cosigner.backups.locations.s3 import S3Location
from protocol.envelope.errors import Culprit, Reaction
from tests.cosigner.backups.conftest import bucket
from tests.cosigner.backups.places import refused, run
from tests.support.aws import REGION
from tests.support.local_server import LocalServer, Received, Reply

pytestmark = pytest.mark.usefixtures("credentials")

ROOT = Path(__file__).parents[3]


class Failing(LocalServer):
    """Answers every request with one error of S3's."""

    def __init__(self) -> None:
        super().__init__()
        self.reply = Reply()

    def handle(self, request: Received) -> Reply:
        return self.reply


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    made = Failing()
    with made.running():
        yield made


def failure(status: int, code: str) -> Reply:
    text = f"<Error><Code>{code}</Code><Message>SECRET words about arn:aws:iam::111122223333:role/x</Message></Error>"
    return Reply(status, text.encode(), {"content-type": "application/xml"})


ERRORS = [
    (403, "AccessDenied", "location_unauthorized"),
    (403, "InvalidAccessKeyId", "location_unauthorized"),
    (403, "SignatureDoesNotMatch", "location_unauthorized"),
    (400, "ExpiredToken", "location_unauthorized"),
    (403, "SomethingNew", "location_unauthorized"),
    (404, "NoSuchBucket", "location_refused"),
    (400, "InvalidRequest", "location_refused"),
    (400, "EntityTooLarge", "backup_too_large"),
    (503, "SlowDown", "location_unavailable"),
    (500, "InternalError", "location_unavailable"),
    (429, "TooManyRequests", "location_unavailable"),
    (409, "OperationAborted", "location_unavailable"),
    (400, "\x1b[2J", "location_refused"),
]


def test_errors_of_the_service(server: Failing) -> None:
    location = S3Location("backups", region=REGION, endpoint=server.url)
    for status, given, code in ERRORS:
        server.reply = failure(status, given)
        for work in (location.put("a", b"x"), location.get("a"), location.delete("a"), location.names()):
            error = refused(work)
            assert error.code == code, given
            assert "111122223333" not in error.message
            assert error.message.isprintable()


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    location = S3Location("backups", region=REGION, endpoint="http://127.0.0.1:1")
    error = refused(location.get("a"))
    assert (error.code, error.reaction) == ("location_unavailable", Reaction.RETRY)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    error = refused(S3Location("backups", region=REGION, endpoint="http://127.0.0.1:1").get("a"))
    assert (error.code, error.culprit) == ("location_unauthorized", Culprit.CLIENT)


def test_no_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    location = S3Location("backups", region=None)  # S3 has one for those who name none
    assert location.kind == "s3"


def test_an_oversized_object_is_not_read(endpoint: str) -> None:
    place = bucket(endpoint)
    client = boto3.client("s3", region_name=REGION, endpoint_url=endpoint)
    name = place.location._bucket  # type: ignore[attr-defined]
    client.put_object(Bucket=name, Key="of/alice/a", Body=bytes(65537))
    client.put_object(Bucket=name, Key="of/alice/b", Body=b"")
    assert refused(place.location.get("a")).code == "backup_too_large"
    assert refused(place.location.get("b")).code == "location_refused"


def test_other_objects_of_the_bucket_are_left_alone(endpoint: str) -> None:
    place = bucket(endpoint)
    client = boto3.client("s3", region_name=REGION, endpoint_url=endpoint)
    name = place.location._bucket  # type: ignore[attr-defined]
    others = ["of/alice/A", "of/alice/deeper/a", "of/bob/a", "a", "of/alice", "of/alice/a.txt"]
    for key in others:
        client.put_object(Bucket=name, Key=key, Body=b"theirs")
    run(place.location.put("a", b"mine"))
    assert run(place.location.names()) == ["a"]
    run(place.location.delete("a"))
    listed = client.list_objects_v2(Bucket=name)["Contents"]
    assert sorted(item["Key"] for item in listed) == sorted(others)
    client.close()


def test_a_list_of_several_pages(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    place = bucket(endpoint)
    names = [place.make_name(number) for number in range(7)]
    for name in names:
        run(place.location.put(name, b"x"))
    assert run(place.location.names()) == names
    monkeypatch.setattr(module, "MAX_NAMES", 5)
    assert refused(place.location.names()).code == "location_refused"


@pytest.mark.parametrize(
    ("bucket_name", "prefix", "region"),
    [
        ("", "", None),
        ("A", "", None),
        ("a/b", "", None),
        ("ok-bucket", "no-slash", None),
        ("ok-bucket", "../", None),
    ]
    + [("ok-bucket", "/", None), ("ok-bucket", "", "eu_west"), ("ok-bucket", "", "x.evil.example/#")],
)
def test_names_that_s3_does_not_have(bucket_name: str, prefix: str, region: str | None) -> None:
    with pytest.raises(LocationError) as caught:
        S3Location(bucket_name, prefix, region=region)
    assert caught.value.code == "location_refused"


def test_another_endpoint_must_speak_tls() -> None:
    with pytest.raises(LocationError):
        S3Location("ok-bucket", region=REGION, endpoint="http://minio.example")


def test_without_boto3_the_extra_is_named_and_the_others_work() -> None:
    program = """
import sys
sys.modules["boto3"] = None  # as if it were not installed
from cosigner.backups.locations import LocationError, open_location
assert open_location("file:/tmp/x").kind == "file"
try:
    open_location("s3://bucket")
except LocationError as error:
    assert "cosigner[s3]" in error.message, error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
