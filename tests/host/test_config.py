"""The configuration file: what is accepted, and that every refusal names its field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host import config as configuration
from host.errors import HostError

GOOD: dict[str, Any] = {
    "listen": "tcp:127.0.0.1:8440",
    "enclave": {"address": "vsock:16:5000", "command": None},
    "ports": {"storage": "vsock:3:5001", "tunnel": "vsock:3:5002"},
    "storage": {"sqlite": "/var/lib/cosigner/store.sqlite3"},
    "tunnel": {"allow": [{"host": "kms.us-east-1.amazonaws.com", "port": 443, "dial": None}]},
    "manifest": "/etc/cosigner/manifest.cbor",
    "credentials": {"source": "aws"},
}

PORTS = {"storage": 5001, "tunnel": 5002, "obituary": 5003}


def changed(path: str, value: Any) -> bytes:
    """GOOD with one member set (or, with ``...``, removed)."""
    raw = json.loads(json.dumps(GOOD))
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    node = raw
    for part in parents:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return json.dumps(raw).encode()


def test_a_good_configuration_has_closed_defaults() -> None:
    config = configuration.parse(json.dumps(GOOD).encode())
    assert config.enclave.command is None
    assert config.limits.requests_per_second is None
    assert config.tunnel.allow[0].dial is None
    assert isinstance(config.credentials, configuration.InstanceCredentials)


def test_what_a_nitro_instance_needs_can_be_said() -> None:
    raw = {
        **GOOD,
        "enclave": {"address_file": "/run/cosigner/enclave.address"},
        "ports": {name: f"vsock:4294967295:{port}" for name, port in PORTS.items()},
        "storage": {"dynamodb": {"table": "cosigner-records", "region": "us-east-1"}},
    }
    config = configuration.parse(json.dumps(raw).encode())
    assert config.enclave.address is None
    assert config.ports.obituary == "vsock:4294967295:5003"
    assert config.storage.dynamodb == configuration.DynamoDbSection("cosigner-records", "us-east-1")


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("listen", "8440", "listen"),
        ("listen", "vsock:3:8440", "listen"),
        ("listen", "tcp:127.0.0.1:70000", "listen"),
        ("listen", ..., "listen"),
        ("listen", 8440, "listen"),
        ("enclave.address", "unix:relative", "enclave.address"),
        ("enclave.address", "http://x", "enclave.address"),
        ("enclave.address", ..., "enclave.address"),
        ("enclave.address_file", "/run/cosigner/enclave.address", "enclave.address_file"),
        ("enclave", {"address_file": "enclave.address"}, "enclave.address_file"),
        ("enclave", {"address_file": "/run/e", "command": ["launch"]}, "enclave.command"),
        ("enclave.command", [], "enclave.command"),
        ("enclave.command", "python -m enclave", "enclave.command"),
        ("enclave.pid", 1, "pid"),
        ("ports.storage", "vsock:3:5002", "ports"),
        ("ports.tunnel", ..., "tunnel"),
        ("ports.obituary", "vsock:3:5001", "ports"),
        ("ports.obituary", "5003", "ports.obituary"),
        ("storage.sqlite", "relative/path", "storage.sqlite"),
        ("storage", {}, "storage"),
        ("storage.dynamodb", {"table": "cosigner", "region": "us-east-1"}, "storage"),
        ("storage", {"dynamodb": {"table": "cosigner"}}, "storage.dynamodb"),
        ("storage", {"dynamodb": {"table": "arn:aws:dynamodb", "region": "us-east-1"}}, "dynamodb.table"),
        ("storage", {"dynamodb": {"table": "cosigner", "region": "US"}}, "dynamodb.region"),
        ("tunnel.allow.0.host", "*", "tunnel.allow[0].host"),
        ("tunnel.allow.0.host", "*.amazonaws.com", "tunnel.allow[0].host"),
        ("tunnel.allow.0.host", "169.254.169.254", "tunnel.allow[0].host"),
        ("tunnel.allow.0.host", "KMS.amazonaws.com", "tunnel.allow[0].host"),
        ("tunnel.allow.0.port", 0, "tunnel.allow[0].port"),
        ("tunnel.allow.0.dial", "vsock:3:1", "tunnel.allow[0].dial"),
        ("tunnel.allow", [{"host": "a.example", "port": 1}] * 2, "tunnel.allow[1]"),
        ("manifest", "", "manifest"),
        ("credentials", {"source": "inline"}, "credentials.source"),
        ("credentials", {"source": "file"}, "credentials"),
        ("credentials", {"source": "aws", "secret": "x"}, "credentials"),
        ("limits", {"concurrency": 0}, "limits.concurrency"),
        ("limits", {"body_bytes": 1}, "limits.body_bytes"),
        ("timing", {"request": 0}, "timing.request"),
        ("timing", {"request": "30"}, "timing.request"),
        ("unknown", 1, "unknown"),
    ],
)
def test_a_refusal_names_the_field(path: str, value: Any, names: str) -> None:
    with pytest.raises(HostError) as caught:
        configuration.parse(changed(path, value))
    assert caught.value.code == "config_invalid"
    assert names in caught.value.message


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        ("enclave.address", "5000", "vsock:CID:PORT"),
        ("storage.sqlite", "store.sqlite3", "absolute path"),
        ("tunnel.allow.0.host", "*", "lower-case name"),
    ],
)
def test_a_refusal_says_what_to_write_instead(path: str, value: Any, hint: str) -> None:
    with pytest.raises(HostError) as caught:
        configuration.parse(changed(path, value))
    assert hint in caught.value.message


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"\xff", b'{"listen": NaN}', b" " * (257 << 10)])
def test_what_is_not_a_configuration_is_refused(raw: bytes) -> None:
    with pytest.raises(HostError) as caught:
        configuration.parse(raw)
    assert caught.value.code == "config_invalid"


@given(st.binary(max_size=200))
def test_no_file_makes_the_parser_fail_otherwise(raw: bytes) -> None:
    with pytest.raises(HostError):
        configuration.parse(raw)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        configuration.load(tmp_path / "none.json")
    assert caught.value.code == "config_unreadable"
    assert str(tmp_path / "none.json") in caught.value.message
