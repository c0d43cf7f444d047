"""``cosigner audit rebuild``: what runs beside what was built."""

import json
from pathlib import Path
from typing import Any

import pytest

from attestation import measurements
from cosigner import audit
from cosigner.cli import commands
from cosigner.cli.main import main
from cosigner.errors import CosignerError
from tests.cosigner.world import MEASUREMENTS, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """An enclave that measures to MEASUREMENTS, reached by the command as by any client."""
    made = World()
    monkeypatch.setattr(commands.ClientConfig, "load", lambda path: made.config())
    monkeypatch.setattr(commands, "AsyncClient", lambda settings: made.client())
    return made


def run(tmp_path: Path, pcrs: dict[int, bytes], *flags: str) -> int:
    file = tmp_path / "measurements.json"
    file.write_text(measurements.dump(pcrs))
    return main(["audit", "rebuild", "--measurements", str(file), *flags])


def test_a_rebuild_that_matches(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, MEASUREMENTS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The enclave runs what was built here."
    assert [line.split() for line in lines[2:]] == [
        [f"PCR{index}", "match", value.hex()] for index, value in MEASUREMENTS.items()
    ]


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_one_pcr_that_differs_is_named_and_fails(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: int
) -> None:
    pcrs = MEASUREMENTS | {wrong: b"\x77" * 48}
    assert run(tmp_path, pcrs) == 1
    text = capsys.readouterr().out
    assert text.startswith("The enclave does NOT run what was built here.\n")
    assert text.count("MISMATCH") == 1
    assert f"PCR{wrong}" in next(line for line in text.splitlines() if "MISMATCH" in line)
    assert MEASUREMENTS[wrong].hex() in text
    assert pcrs[wrong].hex() in text


def test_for_programs_it_is_one_object(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, MEASUREMENTS | {2: b"\x77" * 48}, "--json") == 1
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert body["matches"] is False
    assert {index: pcr["matches"] for index, pcr in body["pcrs"].items()} == {
        "0": True,
        "1": True,
        "2": False,
    }
    assert body["pcrs"]["2"] == {
        "matches": False,
        "running": MEASUREMENTS[2].hex(),
        "rebuilt": (b"\x77" * 48).hex(),
    }
    assert run(tmp_path, MEASUREMENTS, "--json") == 0
    assert json.loads(capsys.readouterr().out)["matches"] is True


def test_a_signed_rebuild_does_not_match_an_unsigned_enclave(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PCR8 of an image that nobody signed is all zero."""
    assert run(tmp_path, MEASUREMENTS | {8: b"\x08" * 48}) == 1
    assert "PCR8" in capsys.readouterr().out


def test_an_enclave_that_is_not_trusted_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its document proves nothing, whatever it says."""
    other = World(measurements=MEASUREMENTS | {0: b"\x10" * 48})
    monkeypatch.setattr(commands.ClientConfig, "load", lambda path: other.config())
    monkeypatch.setattr(commands, "AsyncClient", lambda settings: other.client())
    assert run(tmp_path, MEASUREMENTS | {0: b"\x10" * 48}, "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "attestation_pcr_mismatch"


def test_without_a_build_it_says_how_to_make_one(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "rebuild"]) == 1
    err = capsys.readouterr().err
    assert "measurements_missing" in err
    assert "build/eif/measurements.json" in err
    assert "make eif" in err


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 1, "pcrs": {"0": "00"}}', " " * 5000, '{"version": 1, "pcrs": {}}']
)
def test_a_file_that_holds_no_measurements_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "measurements.json"
    file.write_text(text)
    with pytest.raises(CosignerError) as caught:
        audit.load_rebuild(file)
    assert caught.value.code == "measurements_invalid"
