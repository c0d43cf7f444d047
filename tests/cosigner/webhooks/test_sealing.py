"""What an inbox keeps is sealed under a key in a file, or under keys that KMS guards (moto's)."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from cosigner.errors import StoreError
from cosigner.webhooks import Inbox, KmsSealer, LocalSealer, Receiver, Sealer
from tests.cosigner.webhooks.sent import API_KEY, key, sent
from tests.host.webhooks.arrivals import SECRET


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield boto3.client("kms", region_name="us-east-1")


@pytest.fixture(params=["local", "kms"])
def sealer(request: pytest.FixtureRequest, tmp_path: Path) -> Sealer:
    if request.param == "local":
        return LocalSealer(tmp_path / "key")
    client = request.getfixturevalue("kms")
    return KmsSealer(client.create_key()["KeyMetadata"]["Arn"], client)


def not_authentic(call: Any) -> None:
    with pytest.raises(StoreError) as caught:
        call()
    assert caught.value.code == "delegation_not_authentic"


def test_what_is_sealed_opens_in_its_context_only(sealer: Sealer) -> None:
    sealed = sealer.seal(b"plaintext", b"context")
    assert b"plaintext" not in sealed
    assert sealed != sealer.seal(b"plaintext", b"context")
    assert sealer.open(sealed, b"context") == b"plaintext"
    not_authentic(lambda: sealer.open(sealed, b"another"))
    for index in range(0, len(sealed), 7):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(StoreError) as caught:
            sealer.open(bytes(changed), b"context")
        # KMS says of a wrapped key that names another of its keys that it may not be used
        codes = (
            {"delegation_not_authentic", "sealing_key_unusable"} if isinstance(sealer, KmsSealer) else set()
        )
        assert caught.value.code in codes | {"delegation_not_authentic"}
    for other in (b"", sealed[:-1], sealed + b"\x00"):
        not_authentic(lambda other=other: sealer.open(other, b"context"))


def test_an_inbox_works_over_either(sealer: Sealer, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox", sealer)
    Receiver(SECRET, key(), inbox, tolerance=None).receive(*sent())
    assert inbox.delegations()[0].opened.api_key == API_KEY


def test_a_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = LocalSealer(path).seal(b"x", b"c")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32
    assert LocalSealer(path).open(sealed, b"c") == b"x"
    not_authentic(lambda: LocalSealer(tmp_path / "other").open(sealed, b"c"))


def test_a_key_file_that_is_none_or_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * 31)
    (tmp_path / "zero").write_bytes(bytes(32))
    (tmp_path / "open").write_bytes(b"x" * 32)
    for name in ("short", "zero"):
        (tmp_path / name).chmod(0o600)
    (tmp_path / "open").chmod(0o640)
    for name in ("short", "zero", "open", "missing/folder"):
        with pytest.raises(StoreError) as caught:
            LocalSealer(tmp_path / name)
        assert caught.value.code == "sealing_key_unusable"


def test_kms_that_refuses_or_is_away_is_told_apart_from_a_record_that_was_changed(kms: Any) -> None:
    sealed = KmsSealer(kms.create_key()["KeyMetadata"]["Arn"], kms).seal(b"x", b"c")
    nowhere = boto3.client("kms", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    nowhere.meta.events.register("before-send", unreachable)
    missing = KmsSealer(f"arn:aws:kms:us-east-1:123456789012:key/{uuid.uuid4()}", kms)
    for call, reason in (
        (lambda: missing.seal(b"x", b"c"), "NotFoundException"),
        (lambda: KmsSealer("k", nowhere).seal(b"x", b"c"), "EndpointConnectionError"),
        (lambda: KmsSealer("k", nowhere).open(sealed, b"c"), "EndpointConnectionError"),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.code == "sealing_key_unusable"
        assert reason in caught.value.message


def unreachable(**_: Any) -> None:
    raise EndpointConnectionError(endpoint_url="https://kms.example")
