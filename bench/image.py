"""What ships and how fast it starts: sizes of images, boot to first signature in mock mode, memory of the containers.

Figures of images that were not built here (`make images`) are left out, and named. The image in QEMU has a bench of its own (`bench.eif`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cosigner import Client, ClientConfig, ShareStore
from cosigner.mock_issuer import provider
from simulator import stack
from tests.support.world import solana_message

from .measure import Figure
from .stack import processes

HOUSE = Path(__file__).resolve().parent.parent
IMAGES = ("cosigner-enclave", "cosigner-simulator", "cosigner-host")
_MEGABYTE = 1_000_000
_WAIT = 60  # seconds


def figures() -> Iterator[Figure]:
    yield from _boot()
    missing = [image for image in IMAGES if not _docker("image", "inspect", image)]
    if missing:
        print(f"left out: {', '.join(missing)} (make images), and the stack in containers", file=sys.stderr)
        return
    for image in IMAGES:
        size = int(_docker("image", "inspect", "--format", "{{.Size}}", image))
        yield Figure(image, "size of the image", size / _MEGABYTE, "MB")
    yield from _compose()


def _boot() -> Iterator[Figure]:
    """Mock mode, with a wallet from an earlier life: how long until it signs again?"""
    with tempfile.TemporaryDirectory(prefix="cosigner-bench-") as directory:
        state = Path(directory).resolve() / "state"
        shares = ShareStore.create(Path(directory) / "shares", os.urandom(32))
        with (Path(directory) / "log").open("ab") as log:
            with stack.running(state, log=log.fileno()) as running:
                wallet_id, message = _wallet(running.client_config, shares)
            started = time.perf_counter()
            with stack.running(state, log=log.fileno()) as running:
                _until_signed(running.client_config, shares, wallet_id, message)
                elapsed = time.perf_counter() - started
                yield Figure("mock stack", "start of all processes to first signature", elapsed, "s")
                started = time.perf_counter()
                os.kill(processes(state)["simulator.enclave"], signal.SIGKILL)
                _until_signed(running.client_config, shares, wallet_id, message)
                elapsed = time.perf_counter() - started
                yield Figure("mock stack", "death of the enclave to the next signature", elapsed, "s", 3.0)


def _compose() -> Iterator[Figure]:
    """The stack in containers, under a name and with volumes of its own."""
    with tempfile.TemporaryDirectory(prefix="cosigner-bench-") as directory:
        config = Path(directory) / "client.json"
        project = f"cosigner-bench-{os.getpid()}"
        environment = {
            **os.environ,
            "COSIGNER_PORT": str(20000 + os.getpid() % 10000),
            "COSIGNER_ISSUER_PORT": str(30000 + os.getpid() % 10000),
        }

        def compose(*arguments: str) -> str:
            command = ["docker", "compose", "--project-name", project, *arguments]
            done = subprocess.run(
                command, cwd=HOUSE, env=environment, check=True, capture_output=True, text=True
            )
            return done.stdout

        try:
            started = time.perf_counter()
            compose("up", "--detach", "--wait")
            yield Figure("docker compose", "up, to healthy", time.perf_counter() - started, "s")
            compose("cp", "host:/config/client.json", str(config))
            shares = ShareStore.create(Path(directory) / "shares", os.urandom(32))
            wallet_id, message = _wallet(config, shares)
            started = time.perf_counter()
            _docker("restart", "--time", "0", compose("ps", "--quiet", "enclave").strip())
            _until_signed(config, shares, wallet_id, message)
            elapsed = time.perf_counter() - started
            yield Figure("docker compose", "restart of the enclave to the next signature", elapsed, "s")
            for name, used in _memory(compose("ps", "--quiet").split()):
                yield Figure("docker compose", f"memory of {name.removeprefix(f'{project}-')}", used, "MB")
        finally:
            compose("down", "--volumes", "--timeout", "1")


def _wallet(config: Path, shares: ShareStore) -> tuple[str, bytes]:
    loaded = ClientConfig.load(config)
    with Client(loaded, shares, token_provider=provider(loaded)) as client:
        wallet = client.create_wallet("solana")
    return wallet.wallet_id, solana_message(wallet.address)


def _until_signed(config: Path, shares: ShareStore, wallet_id: str, message: bytes) -> None:
    """Try with fresh clients until one gets its signature: while the enclave starts, the host says so at once."""
    deadline = time.perf_counter() + _WAIT
    while True:
        try:
            with Client(ClientConfig.load(config), shares) as client:
                client.sign_solana(wallet_id, message)
                return
        except Exception:  # whatever a half-started stack says
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.02)


def _memory(containers: list[str]) -> Iterator[tuple[str, float]]:
    """Name and resident megabytes (cache not counted) of each container."""
    units = {"B": 1e-6, "KiB": 1024e-6, "MiB": 1.048576, "GiB": 1073.741824}
    for line in _docker("stats", "--no-stream", "--format", "{{json .}}", *containers).splitlines():
        entry = json.loads(line)
        used = entry["MemUsage"].partition(" ")[0]
        number = used.rstrip("BKMGi")
        yield entry["Name"], float(number) * units[used.removeprefix(number)]


def _docker(*arguments: str) -> str:
    """What docker prints; nothing where there is no docker, or it refuses."""
    program = shutil.which("docker")
    if program is None:
        return ""
    return subprocess.run(
        [program, *arguments], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout.strip("[]\n")
