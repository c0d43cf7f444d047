"""The native parts that only an image has, built for the tests of its confinement."""

import importlib.machinery
import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

NATIVE = Path(__file__).parents[2] / "native"


@pytest.fixture(scope="session")
def built() -> list[Path]:
    """Everything that cargo made of the two packages."""
    messages = subprocess.run(
        [
            "cargo",
            "build",
            "--locked",
            "--quiet",
            "--message-format=json",
            *("--package", "cosigner-nsm"),
            *("--package", "cosigner-confine"),
            *("--lib", "--example", "confined"),
        ],
        cwd=NATIVE,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    artifacts = [json.loads(line) for line in messages.splitlines()]
    return [Path(name) for artifact in artifacts for name in artifact.get("filenames", [])]


@pytest.fixture(scope="session")
def confined(built: list[Path]) -> str:
    """A program that runs another one under the filters which PID 1 puts on the enclave."""
    return str(next(path for path in built if path.name == "confined"))


@pytest.fixture(scope="session")
def extension(built: list[Path]) -> Path:
    """The file of ``enclave._nsm``."""
    return next(path for path in built if path.name == "lib_nsm.so")


@pytest.fixture(scope="session")
def native(extension: Path) -> ModuleType:
    """``enclave._nsm`` itself, under its own name but not in the package."""
    loader = importlib.machinery.ExtensionFileLoader("enclave._nsm", str(extension))
    spec = importlib.util.spec_from_file_location("enclave._nsm", extension, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
