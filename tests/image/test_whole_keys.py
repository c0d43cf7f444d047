"""Whole keys are not for enclaves: what an image is built from has no way to them, and needs none.

``tests/docker/test_images.py`` looks into the image itself.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=HOUSE, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_images_native_core_is_built_without_default_features():
    lines = (HOUSE / "Dockerfile.enclave").read_text().splitlines()
    (build,) = [line for line in lines if "cargo build" in line and "cosigner-bindings" in line]
    assert "--no-default-features" in build.split()
    assert not re.search(r"--(all-)?features\b|-F\b", build)
    bindings = (HOUSE / "native/bindings/Cargo.toml").read_text()
    assert 'cosigner-core = { path = "../core", default-features = false }' in bindings


def test_the_python_face_never_reaches_a_builder():
    ignored = (HOUSE / ".dockerignore").read_text().splitlines()
    assert ignored.index("threshold/device.py") > ignored.index("!threshold")
    assert not [line for line in ignored[ignored.index("threshold/device.py") :] if line.startswith("!")]


def test_the_enclave_starts_without_the_names():
    """Every module that the image has is imported over a native core that lacks them, as the image's does."""
    code = """
import importlib, pkgutil, sys, types
package = types.ModuleType("threshold")
package.__path__ = ["threshold"]
sys.modules["threshold"] = package
from threshold import _native
del _native.SecretKey, _native.Passcode, sys.modules["threshold"]
count = 0
for name in ("threshold", "attestation", "policy", "protocol", "enclave"):
    root = importlib.import_module(name)
    for found in pkgutil.walk_packages(root.__path__, name + "."):
        if found.name not in {"threshold.device", "enclave._nsm"} and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
            count += 1
assert "threshold.device" not in sys.modules
print(count)
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_what_is_looked_for_in_the_image_is_found_in_a_clients_build():
    """Otherwise the image's test would find nothing anywhere."""
    program = (HOUSE / "tests/docker/whole_keys.py").read_text()
    done = run("-c", program)
    assert done.returncode == 1
    looked_for = set(re.findall(r'"([^"]+)"', program.partition("NAMES = ")[2].partition("found = ")[0]))
    assert len(looked_for) == 14
    assert set(done.stderr.strip().removeprefix("whole keys: ").split(", ")) == looked_for
