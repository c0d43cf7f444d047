"""The client's configuration: what is wrong with it is said, with what to do about it."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation import AWS_NITRO_ROOT_G1
from cosigner.config import PATH_VARIABLE, ClientConfig, ConfigFile, dump
from cosigner.errors import CosignerError
from protocol.envelope.errors import Culprit

GOOD: dict[str, Any] = {
    "api_url": "https://cosigner.example/api/",
    "environment": "sandbox",
    "trust": {
        "roots": [AWS_NITRO_ROOT_G1],
        "pcrs": {"0": ["01" * 48], "1": ["02" * 48], "2": ["03" * 48, "04" * 48], "16": ["05" * 48]},
    },
}


def load(directory: Path, content: Any) -> ClientConfig:
    path = directory / "client.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return ClientConfig.load(path)


def refused(directory: Path, content: Any) -> CosignerError:
    with pytest.raises(CosignerError) as caught:
        load(directory, content)
    assert caught.value.code == "config_invalid"
    assert caught.value.culprit is Culprit.CLIENT
    return caught.value


def test_a_good_configuration_becomes_a_trust_policy(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.api_url == "https://cosigner.example/api"
    assert config.environment == "sandbox"
    assert config.policy.roots == {AWS_NITRO_ROOT_G1}
    assert dict(config.policy.pcrs) == {
        0: {b"\x01" * 48},
        1: {b"\x02" * 48},
        2: {b"\x03" * 48, b"\x04" * 48},
        16: {b"\x05" * 48},
    }
    assert config.policy.max_age == timedelta(seconds=300)


def test_what_is_dumped_is_what_is_loaded(tmp_path: Path) -> None:
    parsed = msgspec.convert(GOOD, ConfigFile)
    assert load(tmp_path, dump(parsed).encode()) == ClientConfig.from_file(parsed)


def test_the_variable_names_the_file_and_an_argument_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path, GOOD)
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "client.json"))
    assert ClientConfig.load().environment == "sandbox"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(GOOD | {"environment": "other"}))
    assert ClientConfig.load(other).environment == "other"


def test_without_either_the_default_place_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CosignerError, match=r"\.cosigner/client\.json"):
        ClientConfig.load()
    (tmp_path / ".cosigner").mkdir()
    load(tmp_path / ".cosigner", GOOD)
    assert ClientConfig.load().environment == "sandbox"


def test_a_missing_file_says_where_it_was_looked_for_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CosignerError) as caught:
        ClientConfig.load(tmp_path / "absent.json")
    assert caught.value.code == "config_missing"
    assert str(tmp_path / "absent.json") in caught.value.message
    for hint in ("make stack", "--config", PATH_VARIABLE):
        assert hint in caught.value.message


def test_a_directory_in_its_place_is_missing_too(tmp_path: Path) -> None:
    with pytest.raises(CosignerError, match="directory") as caught:
        ClientConfig.load(tmp_path)
    assert caught.value.code == "config_missing"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"{} trailing", b"[" * 100_000, b'{"a":' * 100_000],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_json_object_is_refused_with_the_file_named(tmp_path: Path, content: bytes) -> None:
    assert str(tmp_path / "client.json") in refused(tmp_path, content).message


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for name in path[:-1]:
            config = config[name]
        del config[path[-1]]

    return change


def with_value(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (without("api_url"), "api_url"),
        (without("environment"), "environment"),
        (without("trust"), "trust"),
        (without("trust", "roots"), "roots"),
        (without("trust", "pcrs"), "pcrs"),
        (with_value(1, "extra"), "extra"),
        (with_value(True, "trust", "allow_debug"), "allow_debug"),
        (with_value([], "trust", "roots"), "roots"),
        (with_value([AWS_NITRO_ROOT_G1.upper()], "trust", "roots"), "roots"),
        (with_value([AWS_NITRO_ROOT_G1[:-1]], "trust", "roots"), "roots"),
        (with_value([AWS_NITRO_ROOT_G1 + "\n"], "trust", "roots"), "roots"),
        (with_value(AWS_NITRO_ROOT_G1, "trust", "roots"), "roots"),
        (with_value([], "trust", "pcrs", "0"), "pcrs"),
        (with_value(["AB" * 48], "trust", "pcrs", "0"), "pcrs"),
        (with_value(["01" * 47], "trust", "pcrs", "0"), "pcrs"),
        (with_value("01" * 48, "trust", "pcrs", "0"), "pcrs"),
        (with_value(["01" * 48], "trust", "pcrs", "32"), "pcrs"),
        (with_value(["01" * 48], "trust", "pcrs", "00"), "pcrs"),
        (with_value(["01" * 48], "trust", "pcrs", "-1"), "pcrs"),
        (with_value("yes", "trust", "accept_editable_key_policy"), "accept_editable_key_policy"),
        (with_value(1, "trust", "accept_editable_key_policy"), "accept_editable_key_policy"),
        (with_value(0, "trust", "max_age_s"), "max_age_s"),
        (with_value(3601, "trust", "max_age_s"), "max_age_s"),
        (with_value("300", "trust", "max_age_s"), "max_age_s"),
        (with_value("ftp://cosigner.example", "api_url"), "api_url"),
        (with_value("cosigner.example", "api_url"), "api_url"),
        (with_value("https://", "api_url"), "api_url"),
        (with_value("https://a b", "api_url"), "api_url"),
        (with_value("Sandbox", "environment"), "environment"),
        (with_value("a" * 64, "environment"), "environment"),
        (with_value("../etc", "environment"), "environment"),
    ],
)
def test_every_mistake_is_refused_and_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], about: str
) -> None:
    content = json.loads(json.dumps(GOOD))
    change(content)
    assert about in refused(tmp_path, content).message


@pytest.mark.parametrize("missing", ["0", "1", "2", "16"])
def test_each_pcr_that_makes_up_the_measurement_must_be_pinned(tmp_path: Path, missing: str) -> None:
    content = json.loads(json.dumps(GOOD))
    del content["trust"]["pcrs"][missing]
    message = refused(tmp_path, content).message
    assert f"must pin PCR {missing} as well" in message


def test_all_missing_pcrs_are_named_in_order(tmp_path: Path) -> None:
    content = json.loads(json.dumps(GOOD))
    content["trust"]["pcrs"] = {"3": ["01" * 48]}
    assert "PCR 0, 1, 2, 16" in refused(tmp_path, content).message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_configuration_or_config_invalid(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    refused(tmp_path_factory.getbasetemp(), raw)


def test_text_that_is_not_utf_8_is_an_invalid_configuration(tmp_path) -> None:
    path = tmp_path / "client.json"
    path.write_bytes(b'{"api_url":"http://\xff"}')
    with pytest.raises(CosignerError) as refused:
        ClientConfig.load(path)
    assert refused.value.code == "config_invalid"
