"""The runbooks name what exists: files, targets, commands with their options, AWS's operations with their parameters, units, codes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
import msgspec
import pytest
from botocore import xform_name

from cosigner.config import ConfigFile

ROOT = Path(__file__).parents[2]
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
PAGES = [*RUNBOOKS, ROOT / "deploy" / "README.md"]
GLOBAL_OPTIONS = {"--query", "--output"}  # of every aws command
# Commands of the aws program that are no operation of an API.
AWS_OWN = {("s3", "cp"), ("cloudformation", "wait"), ("ssm", "start-session")}


def blocks(page: Path, language: str = "") -> Iterator[str]:
    for found in re.finditer(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if found[1] == language:
            yield found[2]


def commands(beginning: str) -> list[tuple[str, list[str]]]:
    """Every command of the pages that begins with some word: (page, words), from blocks and from inline code."""
    found = []
    for page in PAGES:
        texts = [block.replace("\\\n", " ") for block in blocks(page)]
        texts += re.findall(r"(?<!`)`([^`\n]+(?:\n +[^`\n]+)?)`(?!`)", page.read_text())
        for line in "\n".join(texts).splitlines():
            for part in re.split(r"&& |; do ", line):
                if part.strip().startswith(beginning + " "):
                    words = shlex.split(part.replace("…", "x"), comments=True)
                    found.append((page.name, words[: words.index(">")] if ">" in words else words))
    return found


@cache
def help_of(*words: str) -> str:
    done = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def test_there_is_something_to_check() -> None:
    assert [page.name for page in RUNBOOKS] == [
        "first-deployment.md",
        "incident.md",
        "rollback.md",
        "upgrade.md",
        "webhooks.md",
    ]
    assert len(commands("aws")) >= 20
    assert len(commands(".venv/bin/python")) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        assert not target or (page.parent / target).exists(), target


def split(module: str, words: list[str]) -> tuple[str, list[str]]:
    """The help of the subcommand that a command line names, and the line's options."""
    subcommands: list[str] = []
    text = help_of(sys.executable, "-m", module)
    for word in words:
        if word.startswith("-") or not re.search(
            rf"^ +{re.escape(word)}( |$)|[{{,]{re.escape(word)}[,}}]", text, re.MULTILINE
        ):
            break
        subcommands.append(word)
        text = help_of(sys.executable, "-m", module, *subcommands)
    return text, [word for word in words if word.startswith("--")]


def test_our_own_commands_take_these_options() -> None:
    lines = [(page, words[2], words[3:]) for page, words in commands(".venv/bin/python") + commands("python")]
    lines += [(page, "cosigner", words[1:]) for page, words in commands(".venv/bin/cosigner")]
    checked = 0
    for page, module, words in lines:
        text, options = split(module, words)
        for option in options:
            assert f"{option} " in text or f"{option}\n" in text, (page, module, words)
            checked += 1
    assert checked >= 15


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {words[1] for _, words in commands("make")}
    assert asked
    assert asked <= targets


def test_awss_operations_have_these_parameters() -> None:
    session = botocore.session.get_session()
    checked = 0
    for page, words in commands("aws"):
        service, operation, *rest = words[1:]
        if (service, operation) in AWS_OWN:
            continue
        model = session.get_service_model(service)
        known = {xform_name(name, "-"): name for name in model.operation_names}
        assert operation in known, (page, service, operation)
        shape = model.operation_model(known[operation]).input_shape
        members = {xform_name(name, "-") for name in shape.members} if shape is not None else set()
        for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
            name = option.removeprefix("--").removeprefix("no-")
            assert option in GLOBAL_OPTIONS or name in members, (page, operation, option)
            checked += 1
    assert checked >= 30


def test_every_unit_exists() -> None:
    ours = {unit.name for unit in (ROOT / "deploy" / "systemd").iterdir()}
    for page in PAGES:
        for unit in re.findall(r"cosigner-[a-z]+\.(?:service|timer)", page.read_text()):
            assert unit in ours
    for _, words in commands("systemctl"):
        for unit in words[2:]:
            assert f"{unit}.service" in ours, unit


def test_every_code_that_an_incident_names_is_in_the_code() -> None:
    sources = "".join(
        path.read_text() for room in ("host", "enclave") for path in (ROOT / room).rglob("*.py")
    )
    table = (
        (ROOT / "docs/runbooks/incident.md").read_text().partition("| what it says |")[2].partition("\n\n")[0]
    )
    codes = set(re.findall(r"`([a-z]+_[a-z_]+)`", table)) - {"no_entropy"}
    assert len(codes) >= 12
    for code in codes:
        assert f'"{code}"' in sources, code


def test_the_clients_configuration_is_one() -> None:
    (text,) = blocks(ROOT / "docs/runbooks/first-deployment.md", "json")
    raw = json.loads(text)
    raw["trust"]["pcrs"] = {index: ["ab" * 48] for index in raw["trust"]["pcrs"]}
    for extra in ({}, {"accept_editable_key_policy": True}):
        msgspec.convert({**raw, "trust": {**raw["trust"], **extra}}, ConfigFile, strict=True)
