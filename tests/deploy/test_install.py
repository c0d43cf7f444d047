"""``deploy/install.sh`` with its system commands replaced by ones that take notes: what is put where, twice, and what is left alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("rpm", "dnf", "systemctl", "systemd-sysusers", "python3.11")


class Instance:
    """A folder that stands for an instance's file system, and the journal of the commands that were run."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.journal_file = folder / "journal"
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name in COMMANDS:
            self.script(name, "")
        # "python3.11 -m venv DIR" makes an interpreter that takes notes, too.
        self.script("interpreter", "")
        self.script(
            "python3.11",
            f'mkdir -p "$3/bin"; cp "{self.tools}/interpreter" "$3/bin/python"; chmod 755 "$3/bin/python"',
        )

    def script(self, name: str, body: str) -> None:
        path = self.tools / name
        path.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> "{self.journal_file}"\n{body}\n')
        path.chmod(0o755)

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.journal_file.write_text("")
        return subprocess.run(
            ["sh", "deploy/install.sh", *(arguments or ("--root", str(self.root)))],
            cwd=ROOT,
            env={"PATH": f"{self.tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def journal(self, command: str) -> list[str]:
        return [line for line in self.journal_file.read_text().splitlines() if line.startswith(command + " ")]

    def tree(self) -> dict[str, tuple[int, bytes]]:
        return {
            str(path.relative_to(self.root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path)


def test_everything_the_units_name_is_put_where_they_look_for_it(instance: Instance) -> None:
    done = instance.install()
    assert done.returncode == 0, done.stderr
    tree = instance.tree()
    for unit in (ROOT / "deploy" / "systemd").iterdir():
        assert tree[f"etc/systemd/system/{unit.name}"] == (0o644, unit.read_bytes())
    assert {name for name in tree if name.startswith("etc/cosigner/")} == {
        "etc/cosigner/host.json",
        "etc/cosigner/enclave.env",
        "etc/cosigner/readiness.env",
    }
    assert "opt/cosigner/doc/runbooks/incident.md" in tree
    assert "still to come" in done.stdout
    enabled = [line for line in instance.journal("systemctl") if " enable " in line]
    for unit in ("cosigner-enclave.service", "cosigner-host.service", "cosigner-readiness.timer"):
        assert unit in enabled[0]
    assert not any(" start " in line for line in instance.journal("systemctl"))


def test_the_installed_modules_are_the_hosts_alone_and_they_run(instance: Instance) -> None:
    assert instance.install().returncode == 0
    library = instance.root / "opt/cosigner/lib"
    assert {path.name for path in library.iterdir()} == {"host", "protocol"}
    assert {path.name for path in (library / "protocol").iterdir()} == {"__init__.py", "envelope"}
    assert (library / "host/openapi.json").exists()
    for module in ("host", "host.nitro", "host.readiness_metric"):
        usage = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            env={"PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=instance.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert usage.returncode == 0, usage.stderr


def test_a_second_run_changes_nothing_and_keeps_what_the_operator_wrote(instance: Instance) -> None:
    packaged = instance.root / "etc/nitro_enclaves/allocator.yaml"
    packaged.parent.mkdir(parents=True)
    packaged.write_text("memory_mib: 512\ncpu_count: 2\n")
    assert instance.install().returncode == 0
    assert (packaged.parent / "allocator.yaml.before-cosigner").read_text().startswith("memory_mib: 512")
    assert "memory_mib: 1024" in packaged.read_text()
    (instance.root / "etc/cosigner/host.json").write_text("the operator's")
    packaged.write_text("memory_mib: 4096\ncpu_count: 4\n")
    before = instance.tree()
    again = instance.install()
    assert again.returncode == 0
    assert instance.tree() == before
    assert "wrote" not in again.stdout
    assert instance.journal("python3.11") == []
    assert not any("pip" in line for line in instance.journal("python"))


def test_a_changed_module_is_replaced_and_a_removed_one_goes(instance: Instance) -> None:
    assert instance.install().returncode == 0
    library = instance.root / "opt/cosigner/lib"
    (library / "host/api.py").write_text("changed")
    (library / "host/stranger.py").write_text("print('left over')")
    assert instance.install().returncode == 0
    assert (library / "host/api.py").read_bytes() == (ROOT / "host/api.py").read_bytes()
    assert not (library / "host/stranger.py").exists()
    assert {path.name for path in library.parent.iterdir()} == {"lib", "venv", "doc", "enclave"}


def test_dependencies_that_failed_to_install_are_installed_next_time(instance: Instance) -> None:
    instance.script("python3.11", f'mkdir -p "$3/bin"; cp "{instance.tools}/failing" "$3/bin/python"')
    instance.script("failing", "exit 1")
    assert instance.install().returncode != 0
    assert not (instance.root / "opt/cosigner/venv/host.txt").exists()
    instance.script("failing", "exit 0")
    (instance.root / "opt/cosigner/venv/bin/python").write_bytes((instance.tools / "failing").read_bytes())
    assert instance.install().returncode == 0
    (call,) = instance.journal("python")
    assert "--require-hashes" in call
    assert (instance.root / "opt/cosigner/venv/host.txt").exists()


def test_packages_that_are_missing_are_installed_and_others_are_not(instance: Instance) -> None:
    instance.script("rpm", 'test "$3" = python3.11')
    assert instance.install().returncode == 0
    assert instance.journal("dnf") == ["dnf install -y -q aws-nitro-enclaves-cli"]


def test_bad_usage_is_refused_before_anything_is_done(instance: Instance) -> None:
    assert instance.install("--prefix", "/nowhere").returncode == 2
    assert instance.journal_file.read_text() == ""
