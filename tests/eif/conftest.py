"""`make test-eif` gives what is needed by options; without them nothing here runs, and nothing is skipped instead."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from attestation.measurements import load

from .machine import Tools
from .world import Deployment


def pytest_addoption(parser):
    group = parser.getgroup("eif")
    group.addoption("--eif", type=Path, help="the image under test")
    group.addoption("--measurements", type=Path, help="its measurements.json")
    group.addoption("--eif-tools", type=Path, help="the directory that tests/eif/tools/prepare.sh prints")


def _required(request, option: str) -> Path:
    path = request.config.getoption(option)
    if path is None or not path.exists():
        pytest.fail(
            f"{option} names nothing that is there; run these tests with `make test-eif`", pytrace=False
        )
    return path.resolve()


@pytest.fixture(scope="session")
def eif(request) -> Path:
    return _required(request, "--eif")


@pytest.fixture(scope="session")
def measurements(request) -> dict[int, bytes]:
    return load(_required(request, "--measurements").read_bytes())


@pytest.fixture(scope="session")
def tools(request) -> Tools:
    return Tools(_required(request, "--eif-tools"))


@pytest.fixture
def directory():
    """A directory with a path short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="eif-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def short_directory():
    """The same, for a module."""
    with tempfile.TemporaryDirectory(prefix="eif-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def enclave(tools, eif, measurements):
    """The image under test, booted once and provisioned; tests that end it boot it again."""
    with (
        tempfile.TemporaryDirectory(prefix="eif-") as path,
        Deployment(tools, eif, measurements, Path(path)) as deployment,
    ):
        deployment.boot()
        yield deployment


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """The console's end belongs to the report of a test that failed."""
    report = yield
    deployment = getattr(item, "funcargs", {}).get("enclave")
    if report.failed and deployment is not None:
        report.sections.append(("serial console", deployment.machine.tail()))
        host = deployment.host_log.read_text(errors="replace").splitlines()[-20:]
        report.sections.append(("host's log", "\n".join(host)))
    return report
