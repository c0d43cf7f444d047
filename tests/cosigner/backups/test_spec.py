"""What ``docs/spec/backups.md`` says about locations is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from cosigner.backups.locations import MAX_BACKUP, SYNTAX, LocationSecrets, icloud, interface, oauth
from cosigner.backups.locations import google_drive as drive
from host.errors import CATALOGUE
from protocol.envelope.errors import Culprit

SPEC = (Path(__file__).parents[3] / "docs/spec/backups.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without their head."""
    section = SPEC.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    assert section, heading
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("|").strip() for cell in line] for line in lines]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_errors_are_those_that_locations_raise() -> None:
    stated = {
        words(row[0])[0]: row[2]
        for row in rows("What every location does")
        if row[0].startswith(("`backup_", "`location_"))
    }
    made = [
        interface.missing("x"),
        interface.unauthorized("x", "y"),
        interface.unavailable("x", "y"),
        interface.refused("x"),
        interface.too_large(Culprit.CLIENT),
    ]
    assert stated == {error.code: error.reaction.value for error in made}


def test_the_variables_are_those_that_are_read() -> None:
    stated = [words(row[0])[0] for row in rows("Secrets") if row[0].startswith("`COSIGNER_")]
    assert stated == list(LocationSecrets.VARIABLES.values())


def test_the_names_of_locations_are_those_that_open() -> None:
    before = SPEC.partition("## Locations")[2].partition("### What every location does")[0]
    stated = [
        words(line.split("|")[2])[0]
        for line in before.splitlines()
        if line.startswith("| ") and "`" in line.split("|")[2]
    ]
    assert ", ".join(stated) == SYNTAX


def test_the_hosts_codes_have_the_stated_status() -> None:
    stated = {
        code: int(row[0]) for row in rows("Service storage") if row[0].isdigit() for code in words(row[1])
    }
    assert stated == {code: CATALOGUE[code].status for code in stated}
    assert {
        code for code in CATALOGUE if code.startswith(("backup_", "locator_", "environment_m"))
    } <= stated.keys()


def test_addresses_and_sizes_are_the_stated_ones() -> None:
    for text in (
        f"{MAX_BACKUP:,}",
        oauth.GOOGLE_TOKEN_URL,
        icloud.API,
        f"https://*{icloud.ASSET_HOST}",
        icloud.RECORD_TYPE,
    ):
        assert f"`{text}" in SPEC or f" {text}" in SPEC, text
    assert f"`NAME{drive.SUFFIX}`" in SPEC
