"""``python -m host webhooks`` where nothing runs: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from host import __main__ as command
from host.storage.sqlite import SqliteStore
from host.webhooks.events import read
from tests.host.rig import configuration_for
from tests.host.webhooks.arrivals import ENVIRONMENT, NOW, arrival, subscription
from tests.host.webhooks.stores import Place


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "host.json"
    path.write_bytes(msgspec.json.encode(configuration_for(tmp_path)))
    return path


def filled(config: Path, *arrivals: Any) -> None:
    async def body(store: Any) -> None:
        for each in arrivals:
            await store.outbox.add(each)

    Place(lambda: SqliteStore(str(config.parent / "store.sqlite3"))).run(body)


def test_a_listing_shows_no_data_and_no_secret(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = arrival(data={"walletId": "w", "encryptedWalletApiKey": "hush"})
    filled(config, read(subscription(), now=NOW), made)
    assert command.main(["webhooks", "list", "--config", str(config)]) == 0
    text = capsys.readouterr().out
    assert made.event.event_id in text
    assert "2025-10-09T08:53:20.000Z" in text
    for secret in ("hush", "whsec", "https://"):
        assert secret not in text
    assert command.main(["webhooks", "list", "--json", "--config", str(config)]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["channel"], row["state"], row["redelivery"]) == (ENVIRONMENT, "pending", False)
    assert command.main(["webhooks", "dead", "--config", str(config)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["redeliver", "--event", "0f8fad5b-d9cb-469f-a165-70867728950e"], 1, "webhook_event_unknown"),
        (["ping", "--environment", "elsewhere"], 1, "webhook_unsubscribed"),
        (
            ["redeliver", "--event", "0f8fad5b-d9cb-469f-a165-70867728950e", "--environment", "x"],
            1,
            "webhook_event_unknown",
        ),
    ],
)
def test_what_is_refused_says_why(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    filled(config, read(subscription(), now=NOW))
    assert command.main(["webhooks", *arguments, "--config", str(config)]) == code
    assert said in capsys.readouterr().err


def test_the_secret_of_notices_is_made_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for environment in ("a", "a", "b"):
        assert (
            command.main(["webhooks", "secret", "--environment", environment, "--config", str(config)]) == 0
        )
        shown.append(capsys.readouterr().out.strip())
    assert shown[0] == shown[1] != shown[2]
    assert command.main(["webhooks", "secret", "--new", "--environment", "a", "--config", str(config)]) == 0
    shown.append(capsys.readouterr().out.strip())
    assert shown[3] not in shown[:3]
    assert all(secret.startswith("whsec_") and len(secret) == 50 for secret in shown)


@pytest.mark.parametrize(
    "arguments",
    [
        ["secret"],
        [],
        ["redeliver"],
        ["redeliver", "--dead", "--event", "x"],
        ["list", "--count", "0"],
        ["list", "--state", "lost"],
    ],
)
def test_usage_is_checked(config: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["webhooks", *arguments, *(["--config", str(config)] if arguments else [])])
    assert caught.value.code == 2


def test_a_configuration_that_is_missing_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["webhooks", "list", "--config", str(tmp_path / "none")]) == 2
    assert "config_unreadable" in capsys.readouterr().err
