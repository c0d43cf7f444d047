"""What the images hold, against a committed budget; what they must not hold, by name; and that two builds of the host's hold the same.

``make test-images``: needs docker and the images of ``make images``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.docker.images import ENCLAVE, HOST, HOUSE, SIMULATOR, configuration, docker, files, python

BUDGETS = json.loads((HOUSE / "tests/docker/budget.json").read_text())
WHOLE_KEYS = HOUSE / "tests/docker/whole_keys.py"
IMAGES = {"enclave": ENCLAVE, "host": HOST}
BOTH = pytest.mark.parametrize("name", IMAGES)
EVERY = pytest.mark.parametrize("image", [ENCLAVE, HOST, SIMULATOR])

# Programs that would turn a hole into a foothold, and what belongs to builders and tests.
PROGRAMS = re.compile(
    r"(^|/)((ba|da|z|k|a|c|tc|fi)?sh|busybox|toybox|perl|awk|env|su|sudo|mount|curl|wget|nc|ssh|gdb|strace"
    r"|gcc|cc|c\+\+|ld|as|make|cargo|rustc|apt(-get)?|dpkg|pip3?)(-?[\d.]+)?$"
)
MODULES = (
    "simulator",
    "cosigner",
    "tests",
    "bench",
    "moto",
    "pytest",
    "_pytest",
    "hypothesis",
    "pip",
    "setuptools",
    "ensurepip",
    "venv",
)


def below(image: str, folder: str) -> set[str]:
    """Names in a folder of an image."""
    return {
        path.removeprefix(f"{folder}/").partition("/")[0]
        for path in files(image)
        if path.startswith(f"{folder}/")
    }


def modules(image: str, folder: str) -> set[str]:
    return {
        name.partition(".")[0]
        for name in below(image, folder)
        if not name.endswith(".dist-info") and name != "__pycache__"
    }


@BOTH
def test_nothing_lies_where_nothing_is_expected(name):
    image, budget = IMAGES[name], BUDGETS[name]
    assert {path.partition("/")[0] for path in files(image)} == set(budget["top"])
    assert below(image, "opt") == {"cosigner", "dependencies"}
    assert modules(image, "opt/cosigner") == set(budget["own"])
    assert modules(image, "opt/dependencies") <= set(budget["dependencies"])
    described = {
        name for name in below(image, "opt/dependencies/botocore/data") if not name.endswith(".json")
    }
    assert described == set(budget["aws"])


@BOTH
def test_the_image_keeps_its_budget(name):
    image, budget = IMAGES[name], BUDGETS[name]
    regular = [entry for entry in files(image).values() if entry.kind == "file"]
    assert sum(entry.size for entry in regular) <= budget["megabytes"] * 1_000_000
    assert len(regular) <= budget["files"]


@BOTH
def test_interpreter_and_loader_are_the_only_programs(name):
    binaries = {path for path, entry in files(IMAGES[name]).items() if entry.head == b"\x7fELF"}
    libraries = {path for path in binaries if re.search(r"\.so(\.[\d.]+)?$", path)}
    programs = binaries - libraries
    loaders = {
        path for path in libraries if re.fullmatch(r"usr/lib(64)?/(\S+/)?ld-linux-[\w-]+\.so\.\d", path)
    }
    assert len(programs) == 1
    assert re.fullmatch(r"usr/(local/)?bin/python3\.\d+", programs.pop())
    assert len(loaders) == 1
    system = {
        path for path in libraries - loaders if not path.startswith("opt/") and "lib-dynload" not in path
    }
    assert {path.rpartition("/")[2].partition(".")[0] for path in system} <= set(BUDGETS[name]["libraries"])


@EVERY
def test_there_is_no_shell_no_compiler_and_no_installer(image):
    assert [path for path in files(image) if PROGRAMS.search(path) and not path.startswith("opt/")] == []
    for shell in ("/bin/sh", "/bin/bash", "/bin/dash", "/usr/bin/env"):
        assert docker("run", "--rm", f"--entrypoint={shell}", image, check=False).returncode == 127
    scripts = [path for path, entry in files(image).items() if entry.head[:2] == b"#!" and entry.mode & 0o111]
    assert scripts == []


@EVERY
def test_nothing_in_the_image_gives_rights_or_lets_others_write(image):
    for path, entry in files(image).items():
        assert entry.kind in {"file", "directory", "link"}, path
        assert not entry.mode & 0o6000, path
        if entry.kind != "link" and path != "tmp":
            assert not entry.mode & 0o022, path


@EVERY
def test_nothing_runs_as_root(image):
    assert configuration(image)["User"] == "10001:10001"
    done = python(image, "import os; print(os.getuid(), os.getgid(), os.getgroups())")
    assert done.stdout.split()[:2] == ["10001", "10001"]


def test_the_code_in_the_enclaves_image_belongs_to_root():
    assert {entry.owner for entry in files(ENCLAVE).values()} == {(0, 0)}


@BOTH
@pytest.mark.parametrize("module", MODULES)
def test_fakes_tests_and_tools_cannot_be_imported(name, module):
    done = python(IMAGES[name], f"import {module}")
    assert done.returncode == 1
    assert f"ModuleNotFoundError: No module named '{module}'" in done.stderr


@pytest.mark.parametrize("module", ["host", "uvicorn", "sqlite3", "pycparser", "cffi"])
def test_the_enclave_has_nothing_of_the_host(module):
    assert f"No module named '{module}'" in python(ENCLAVE, f"import {module}").stderr


@pytest.mark.parametrize(
    "module", ["enclave", "threshold", "attestation", "protocol.channel", "protocol.messages", "cryptography"]
)
def test_the_host_cannot_even_parse_a_ceremony(module):
    assert "No module named" in python(HOST, f"import {module}").stderr


@BOTH
def test_every_module_of_ours_can_be_imported(name):
    """What the pruning took away is not needed by any of them."""
    code = """
import importlib, pkgutil, sys
count = 0
for package in sys.argv[1:]:
    root = importlib.import_module(package)
    for found in pkgutil.walk_packages(root.__path__, package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
            count += 1
print(count)
"""
    budget = BUDGETS[name]
    run = ["run", "--rm", "--network=none", "--read-only", "--entrypoint=/usr/bin/python3", IMAGES[name]]
    done = docker(*run, "-I", "-B", "-c", code, *budget["own"], check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


@pytest.mark.parametrize("image", [ENCLAVE, SIMULATOR])
def test_no_code_in_an_enclave_puts_a_key_together(image):
    """Neither names nor strings of ``threshold.device`` are there: the native core is built without its feature."""
    assert "opt/cosigner/threshold/device.py" not in files(image)
    done = python(image, WHOLE_KEYS.read_text())
    assert done.returncode == 0, done.stderr
    assert "No module named 'threshold.device'" in python(image, "import threshold.device").stderr


def test_a_client_for_kms_can_be_made_from_what_is_left_of_botocore():
    code = """
from enclave.aws import client
made = client("kms", region="eu-central-1", host="kms.eu-central-1.amazonaws.com", port=443, dial=None, credentials=None,
              ca_pem=None, timeout_s=1)
print(sorted(made.meta.service_model.operation_names)[:3], made.meta.endpoint_url)
"""
    done = python(ENCLAVE, code)
    assert done.returncode == 0, done.stderr
    assert "https://kms.eu-central-1.amazonaws.com" in done.stdout


def test_outside_an_enclave_production_ends_with_its_code():
    done = docker("run", "--rm", "--network=none", "--read-only", ENCLAVE, check=False)
    assert done.returncode == 1
    last = json.loads(done.stderr.splitlines()[-1])
    assert (last["event"], last["code"]) == ("no_nsm_device", "nsm_device_unavailable")


def test_the_environment_has_no_say_in_what_the_enclave_runs(tmp_path):
    """Planted modules and variables of the interpreter are ignored: ``python3 -I``."""
    (tmp_path / "enclave").mkdir()
    (tmp_path / "enclave/__init__.py").write_text("print('planted')")
    (tmp_path / "enclave/__main__.py").write_text("print('planted')")
    tmp_path.chmod(0o755)
    planted = [
        f"--volume={tmp_path}:/planted:ro",
        "--env=PYTHONPATH=/planted",
        "--env=PYTHONHOME=/planted",
        "--workdir=/planted",
    ]
    done = docker("run", "--rm", *planted, ENCLAVE, check=False)
    assert "planted" not in done.stdout + done.stderr
    assert "no_nsm_device" in done.stderr


def test_the_simulators_image_is_production_with_the_fakes_on_top():
    production, simulator = files(ENCLAVE), files(SIMULATOR)
    changed = {path for path, entry in production.items() if simulator.get(path) != entry}
    assert changed == set()
    assert modules(SIMULATOR, "opt/cosigner") == {*BUDGETS["enclave"]["own"], "simulator"}


def test_a_second_build_of_the_host_elsewhere_holds_the_same_bytes(tmp_path):
    """No cache, another directory, another time. Of the enclave's image it is ``make test-reproducible`` that builds twice."""
    context = tmp_path / "somewhere" / "else"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, check=True).stdout
    for name in tracked.decode().rstrip("\0").split("\0"):
        if (HOUSE / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(HOUSE / name, context / name)
    base = [f"--build-arg=PYTHON_BASE={os.environ['PYTHON_BASE']}"] if "PYTHON_BASE" in os.environ else []
    tags = [f"cosigner-{order}-build-{os.getpid()}" for order in ("first", "second")]
    try:
        build = ["build", *base, "--file", "Dockerfile.host"]
        docker(*build, "--tag", tags[0], str(HOUSE), timeout=600, directory=HOUSE)
        docker(*build, "--no-cache", "--tag", tags[1], str(context), timeout=600, directory=context)
        first, second = (files(tag) for tag in tags)
        assert first.keys() == second.keys()
        assert {path for path in first if first[path] != second[path]} == set()
    finally:
        docker("image", "rm", *tags, check=False)
