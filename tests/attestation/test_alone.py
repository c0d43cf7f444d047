"""An outside auditor takes this one folder, and needs `cbor2` and `cryptography` beside it, nothing else."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.attestation import images
from tests.attestation.minting import NOW, document, root_sha256

HOUSE = Path(__file__).parents[2]
PACKAGE = HOUSE / "attestation"
# cryptography's own dependency, and the binary modules behind the two.
DISTRIBUTIONS = ("cbor2", "cryptography", "cffi")
ALLOWED = {"attestation", "cbor2", "cryptography", "cffi", "_cffi_backend", "_openssl", "pycparser"}

PROGRAM = """
import runpy, sys
sys.path[:0] = {paths!r}
sys.argv = ["attestation", *{arguments!r}]
try:
    runpy.run_module("attestation", run_name="__main__")
except SystemExit as exit_:
    strangers = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names) - {allowed!r} - {{"__main__"}}
    if strangers:
        print("imported as well:", sorted(strangers), file=sys.stderr)
        sys.exit(99)
    import attestation
    print(attestation.__file__, file=sys.stderr)
    raise
"""


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """A folder with the two libraries and nothing else of the development environment."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    for name in DISTRIBUTIONS:
        distribution = metadata.distribution(name)
        for top in {Path(str(file)).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            source = Path(str(distribution.locate_file(top)))
            if not (folder / top).exists() and source.exists():
                (folder / top).symlink_to(source)
    return folder


def run_alone(package: Path, libraries: Path, *arguments: object) -> tuple[int, str]:
    """Run the command isolated (-I), without site-packages (-S), from an empty folder; status and output."""
    program = PROGRAM.format(
        paths=[str(package), str(libraries)],
        arguments=[str(argument) for argument in arguments],
        allowed=ALLOWED,
    )
    empty = libraries.parent / "empty"
    empty.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        cwd=empty,
        capture_output=True,
        text=True,
        check=False,
        env={},
    )
    assert str(package) in done.stderr, done.stderr
    return done.returncode, done.stdout


def audit(package: Path, libraries: Path, folder: Path) -> None:
    """Every command once."""
    (folder / "document.cbor").write_bytes(document())
    (folder / "image.eif").write_bytes(images.signed_image())
    raw, image = folder / "document.cbor", folder / "image.eif"
    status, shown = run_alone(
        package, libraries, "verify", raw, "--root-sha256", root_sha256(), "--at", NOW.isoformat(), "--json"
    )
    assert (status, json.loads(shown)["verified"]) == (0, True)
    assert run_alone(package, libraries, "inspect", raw)[0] == 0
    status, shown = run_alone(package, libraries, "measure", image, "--json")
    assert json.loads(shown)["pcrs"]["0"] == images.PCR0.hex()
    status, shown = run_alone(package, libraries, "policy", "from-eif", image)
    assert (status, json.loads(shown)["version"]) == (0, 1)


def copied(target: Path) -> Path:
    return Path(
        shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    )


def test_a_copy_of_the_folder_runs_every_command(tmp_path: Path, libraries: Path) -> None:
    copied(tmp_path / "alone" / "attestation")
    audit(tmp_path / "alone", libraries, tmp_path)


def test_a_wheel_of_the_folder_runs_every_command(tmp_path: Path, libraries: Path) -> None:
    copied(tmp_path / "source")
    command = [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(tmp_path / "source"),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    installed = {path.relative_to(tmp_path / "installed") for path in (tmp_path / "installed").rglob("*.py")}
    assert installed == {path.relative_to(HOUSE) for path in PACKAGE.rglob("*.py")}
    audit(tmp_path / "installed", libraries, tmp_path)


def test_it_imports_the_standard_library_and_the_two_libraries_only() -> None:
    allowed = {"attestation", "cbor2", "cryptography"} | sys.stdlib_module_names
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                found.add((node.module or "").partition(".")[0])
    assert found <= allowed
    assert {"cbor2", "cryptography"} <= found
    # It reads files that it is given, and contacts nobody.
    assert not found & {"socket", "http", "urllib", "ssl", "subprocess", "pickle", "ctypes"}


def test_its_requirements_are_those_of_the_whole() -> None:
    own = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    whole = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    assert set(own["dependencies"]) <= set(whole["dependencies"])
    assert (own["version"], own["requires-python"], own["license"]) == (
        whole["version"], whole["requires-python"], whole["license"],
    )  # fmt: skip
