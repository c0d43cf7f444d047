"""The compose stack, as a user runs it: through ``docker compose`` and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docker.images import HOUSE

_TIMEOUT = 180  # seconds, for whatever compose does


@dataclass(frozen=True)
class Compose:
    """A stack of its own, under a project name and ports that nobody else uses."""

    project: str
    port: int
    issuer_port: int
    files: tuple[Path, ...]

    def __call__(self, *arguments: str) -> str:
        files = [word for file in self.files for word in ("--file", str(file))]
        done = subprocess.run(
            [
                "docker",
                "compose",
                "--project-name",
                self.project,
                "--project-directory",
                str(HOUSE),
                *files,
                *arguments,
            ],
            env={
                **os.environ,
                "COSIGNER_PORT": str(self.port),
                "COSIGNER_ISSUER_PORT": str(self.issuer_port),
            },
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> None:
        self("up", "--detach", "--wait")

    def client_config(self, directory: Path) -> Path:
        """What the README tells the user to fetch."""
        target = directory / "client.json"
        self("cp", "host:/config/client.json", str(target))
        return target

    def containers(self) -> dict[str, dict]:
        """What Docker says of each service's container."""
        ids = self("ps", "--all", "--quiet").split()
        inspected = json.loads(
            subprocess.run(["docker", "inspect", *ids], capture_output=True, check=True).stdout
        )
        return {entry["Config"]["Labels"]["com.docker.compose.service"]: entry for entry in inspected}


@contextlib.contextmanager
def stack(*overrides: Path) -> Iterator[Compose]:
    """A running stack; its containers, networks and volumes are removed at the end."""
    with socket.socket() as probe, socket.socket() as other:
        for one in (probe, other):
            one.bind(("127.0.0.1", 0))
        port, issuer_port = (one.getsockname()[1] for one in (probe, other))
    files = (HOUSE / "compose.yaml", *overrides)
    compose = Compose(f"cosigner-test-{os.getpid()}-{port}", port, issuer_port, files)
    try:
        compose.up()
        yield compose
    finally:
        compose("down", "--volumes", "--timeout", "5")
