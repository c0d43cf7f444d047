"""A deployment around an enclave in QEMU: the KMS simulator, the host process, an operator's key policy and manifest, clients.

The host is ``python -m host`` as it ships. Only its addresses say that this is not Nitro: where a parent has ``vsock:CID:5000``, it gets
the unix socket of a bridge.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from attestation import TrustPolicy
from attestation.key_policy import render
from cosigner import AsyncClient, ClientConfig, ShareStore
from enclave.main import LISTEN_PORT, STORAGE_PORT, TUNNEL_PORT
from enclave.manifest import MANIFEST_PCR, KmsEndpoint, Manifest, expected_pcr
from simulator.kms.policy import ACCOUNT
from simulator.kms.server import KmsSimulator
from simulator.pki import write_private
from tests.support.manifests import environment, token

from .machine import INSTANCE, ROLE, Machine, MachineError, Tools
from .trust import QemuTransport, QemuUnsignedDocuments
from .vsock import Bridge, Heartbeat, Reasons

ENVIRONMENT: Final = "sandbox"
HEARTBEAT_PORT: Final = 9000
REASON_PORT: Final = 5003
KMS_PORT: Final = 443
INSTANCE_KEY_ID: Final = "ASIATESTINSTANCEROLE"
PASSPHRASE: Final = b"correct horse battery staple"
_BOOT: Final = 180.0  # seconds; emulation is slow, and machines are shared
_START: Final = 60.0  # seconds
_TIMING: Final = {"status": 1, "backoff": 0.2, "backoff_max": 1, "request": 60, "provision": 120}


class Deployment:
    """Everything but the power switch: `boot` powers the enclave on, `machine` turns it off.

    :param measurements: PCR0, PCR1 and PCR2 that `make eif` printed, which key policy and clients pin.
    :param directory: state and sockets; a short path.
    """

    def __init__(self, tools: Tools, eif: Path, measurements: dict[int, bytes], directory: Path) -> None:
        self.eif = eif
        self.profile = QemuUnsignedDocuments()
        self.machine = Machine(tools, directory)
        self.host_log = directory / "host.log"
        self.api_url = ""
        self.boots = 0
        self._directory = directory
        self._exits = contextlib.ExitStack()
        self.kms = KmsSimulator(
            directory,
            verify=self.profile.judge,
            principals={INSTANCE_KEY_ID: f"arn:aws:sts::{ACCOUNT}:assumed-role/parent/{INSTANCE}"},
        )
        write_private(directory / "kms-ca.pem", self.kms.ca_pem)
        self.manifest = self._manifest()
        self.pcrs = {**measurements, MANIFEST_PCR: expected_pcr(self.manifest)}

    def __enter__(self) -> Deployment:
        with contextlib.ExitStack() as exits:
            exits.callback(self.machine.stop)
            exits.enter_context(self.kms)
            self._restrict_key()
            vsock = self.machine.vsock
            self.heartbeat = exits.enter_context(Heartbeat(_port(vsock, HEARTBEAT_PORT)))
            self.reasons = exits.enter_context(Reasons(_port(vsock, REASON_PORT)))
            bridge = self._directory / "enclave"
            exits.enter_context(Bridge(bridge, vsock, LISTEN_PORT, self.heartbeat.booted.is_set))
            exits.enter_context(self._host(bridge))
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def boot(self, eif: Path | None = None, *, ready: bool = True) -> None:
        """Power on, wait for the heartbeat, and, if ``ready``, until the host has provisioned the enclave.

        :raises MachineError: with the end of the console.
        """
        self.heartbeat.booted.clear()
        self.reasons.arrived.clear()
        self.machine.start(eif or self.eif)
        self.wait_until(self.heartbeat.booted.is_set, "the heartbeat")
        self.boots += 1
        if ready:
            self.wait_until(self.ready, "readiness")

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = _BOOT) -> None:
        """Wait while the machine runs.

        :raises MachineError: with the end of the console.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            late = time.monotonic() > deadline
            if late or not self.machine.running:
                happened = f"not within {seconds:g} s" if late else "the machine ended"
                log = self.host_log.read_text(errors="replace").splitlines()[-15:]
                raise MachineError("\n".join([f"waiting for {what}: {happened}", self.machine.tail(), *log]))
            time.sleep(0.05)

    def ready(self) -> bool:
        """Whether the host says that the enclave serves."""
        try:
            with urllib.request.urlopen(f"{self.api_url}/readyz", timeout=5):
                return True
        except urllib.error.HTTPError as refusal:
            refusal.close()
        except OSError:
            pass
        return False

    def policy(self) -> TrustPolicy:
        """What clients of this deployment pin."""
        return TrustPolicy(
            roots=frozenset({self.profile.root_sha256}),
            pcrs={index: frozenset({value}) for index, value in self.pcrs.items()},
        )

    def client(self, shares: ShareStore | None = None) -> AsyncClient:
        """A client whose transport signs what QEMU left unsigned, and that is an ordinary one otherwise."""
        config = ClientConfig(self.api_url, ENVIRONMENT, self.policy())
        transport = QemuTransport(self.api_url, self.profile)
        return AsyncClient(config, shares, token_provider=lambda: token("alice"), transport=transport)

    def _manifest(self) -> bytes:
        self.key_arn = self.kms.create_key()
        return Manifest(
            version=1,
            environments=[environment(ENVIRONMENT, kms_key_arn=self.key_arn)],
            kms=KmsEndpoint(
                region=self.kms.region,
                host=self.kms.host_name,
                port=KMS_PORT,
                ca_pem=self.kms.ca_pem.decode(),
            ),
        ).encode()

    def _restrict_key(self) -> None:
        """Release data keys to this image under this manifest, and let nobody change that: what an operator does last."""
        operator = boto3.client(
            "kms",
            region_name=self.kms.region,
            endpoint_url=self.kms.url,
            verify=str(self._directory / "kms-ca.pem"),
            aws_access_key_id="AKIATESTOPERATORUSER",
            aws_secret_access_key=secrets.token_hex(16),
            config=Config(proxies={}, retries={"max_attempts": 1}),
        )
        operator.put_key_policy(
            KeyId=self.key_arn,
            Policy=render([self.pcrs], account=ACCOUNT, role=ROLE),
            BypassPolicyLockoutSafetyCheck=True,
        )

    @contextlib.contextmanager
    def _host(self, enclave: Path) -> Iterator[None]:
        credentials, manifest = self._directory / "credentials.json", self._directory / "manifest.cbor"
        secret = {
            "Version": 1,
            "AccessKeyId": INSTANCE_KEY_ID,
            "SecretAccessKey": secrets.token_hex(16),
        }
        write_private(credentials, json.dumps(secret).encode())
        write_private(manifest, self.manifest)
        vsock = self.machine.vsock
        config: dict[str, Any] = {
            "listen": "tcp:127.0.0.1:0",
            "enclave": {"address": f"unix:{enclave}"},
            "ports": {
                "storage": f"unix:{_port(vsock, STORAGE_PORT)}",
                "tunnel": f"unix:{_port(vsock, TUNNEL_PORT)}",
            },
            "storage": {"sqlite": str(self._directory / "store.sqlite3")},
            "tunnel": {
                "allow": [
                    {"host": self.kms.host_name, "port": KMS_PORT, "dial": f"tcp:127.0.0.1:{self.kms.port}"}
                ]
            },
            "manifest": str(manifest),
            "credentials": {"source": "file", "path": str(credentials)},
            "timing": _TIMING,
        }
        path = self._directory / "host.json"
        write_private(path, json.dumps(config).encode())
        with self.host_log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "host", "--config", str(path), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            self.api_url = _listening(process, self.host_log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _port(vsock: Path, number: int) -> Path:
    return vsock.with_name(f"{vsock.name}_{number}")


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    timer = threading.Timer(_START, process.kill)
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        timer.cancel()
    if not line:
        raise MachineError(f"the host did not start:\n{log.read_text(errors='replace')[-2000:]}")
    return str(json.loads(line)["url"])
