"""The section ``webhooks`` of the host's configuration."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from host import config as configuration
from host.errors import HostError
from host.log import Log
from host.metrics import Metrics
from host.webhooks import service
from tests.host.rig import configuration_for
from tests.host.webhooks.stores import sqlite

DEPLOYED = Path(__file__).parents[3] / "deploy" / "config" / "host.json"


def parse(folder: Path, **section: Any) -> configuration.WebhooksSection:
    return configuration.parse(msgspec.json.encode(configuration_for(folder, webhooks=section))).webhooks


def test_nothing_is_open_by_default_and_the_schedule_is_over_a_day(tmp_path: Path) -> None:
    section = configuration.parse(msgspec.json.encode(configuration_for(tmp_path))).webhooks
    assert section == parse(tmp_path)
    assert section.allow_private is False
    assert section.ports == []
    assert section.schedule == [0, 15, 60, 600, 3600, 86400]
    rules = service.rules_of(section)
    assert (rules.allow_private, rules.ports) == (False, frozenset())


def test_the_configuration_that_is_deployed_says_that_private_networks_are_closed() -> None:
    assert json.loads(DEPLOYED.read_text())["webhooks"] == {"allow_private": False}


@pytest.mark.parametrize(
    "section",
    [
        {"allow_private": 1},
        {"ports": [0]},
        {"ports": [65536]},
        {"ca_file": "relative"},
        {"schedule": []},
        {"schedule": [1, 2]},
        {"schedule": [0, 5, 5]},
        {"schedule": [0, 9, 3]},
        {"concurrency": 0},
        {"timeout": 0},
        {"timeout": 61},
        {"poll": 0},
        {"retention_days": 0},
        {"environment_names": {"Upper": "x"}},
        {"environment_names": {"a": ""}},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, section: dict[str, Any]) -> None:
    with pytest.raises(HostError) as caught:
        parse(tmp_path, **section)
    assert caught.value.code == "config_invalid"
    assert "webhooks" in caught.value.message


def test_authorities_that_cannot_be_read_stop_the_host(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")

    async def body(store: Any) -> None:
        for name in ("missing.pem", "empty.pem"):
            with pytest.raises(HostError) as caught:
                service.dispatcher(
                    parse(tmp_path, ca_file=f"{tmp_path}/{name}"),
                    store.outbox,
                    log=Log(io.StringIO()),
                    metrics=Metrics(),
                )
            assert caught.value.code == "webhooks_unusable"

    sqlite(tmp_path).run(body)
