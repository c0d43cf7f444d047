"""``docs/walkthroughs``: the tests that they name exist, and the commands in them are ones that the parser takes."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from cosigner.cli.main import _parser

HOUSE = Path(__file__).parents[2]
PAGES = sorted((HOUSE / "docs/walkthroughs").glob("*.md"))
LINK = re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")


def test_they_are_all_there() -> None:
    assert [page.stem for page in PAGES] == [
        "lock-out",
        "lost-device",
        "lost-phone",
        "stolen-database",
        "stolen-session",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_a_walk_through_names_exists(page: Path) -> None:
    named = LINK.findall(page.read_text())
    assert len(named) >= 3
    for name, path in named:
        parsed = ast.parse((page.parent / path).resolve().read_text())
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        assert name in {node.name for node in parsed.body if isinstance(node, functions)}, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_walk_through_is_one_that_the_parser_takes(page: Path) -> None:
    lines = [line.strip() for line in page.read_text().splitlines() if ".venv/bin/cosigner " in line]
    assert lines
    for line in lines:
        options = _parser().parse_args(shlex.split(line)[1:])
        assert callable(options.run)
