"""``python -m simulator.stack``: the whole mock stack as separate processes: KMS, JWT issuer, host, and the enclave that the host supervises.

It plays the operator: creates the KMS key, writes the manifest, puts a key policy that pins this very measurement, starts the host, and
writes the configuration that clients use (``client.json``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from attestation import TrustPolicy
from enclave.manifest import MANIFEST_PCR, KmsEndpoint, Manifest, expected_pcr
from simulator.issuer import HOST as ISSUER_HOST
from simulator.kms import key_policy
from simulator.measure import measurements
from simulator.pki import NitroPki, write_private
from simulator.sandbox import ADMINISTRATOR, ENVIRONMENT, ISSUER_PORT, administrator_pem, environment

KMS_PORT: Final = 443  # the port that enclave and manifest know; the host's tunnel leads it to the simulator
OPERATOR: Final = "AKIAMOCKOPERATORUSER"  # the simulator takes the access key id for the user's name
_START_TIMEOUT: Final = 60.0  # seconds
_STOP_TIMEOUT: Final = 15.0


@dataclass(frozen=True)
class Stack:
    """A running stack.

    :ivar client_config: the file that clients need.
    :ivar audit_log: where the host keeps the log of decisions.
    :ivar token_url: where the mock issuer gives tokens.
    """

    api_url: str
    client_config: Path
    state: Path
    audit_log: Path
    token_url: str


class StackError(Exception):
    """A part of the stack did not start."""


@contextlib.contextmanager
def running(state: Path, *, api_port: int = 0, log: int | None = None) -> Iterator[Stack]:
    """Run the stack; everything it keeps lies in ``state``.

    :param api_port: the host's port on loopback; 0 for any free one.
    :param log: file descriptor for the processes' logs; standard error by default.
    :raises StackError: a process ended or was not ready in time.
    """
    state = state.resolve()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as exits:
        # Unix socket paths have at most 107 bytes, whatever the length of the state directory's own path.
        sockets = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="cosigner-")))
        kms = exits.enter_context(_process(["simulator.kms", "--state", str(state), "--json"], log))
        ready = _ready_line(kms, "the KMS simulator")
        arguments = ["--state", str(state), "--kms", ready["url"], "--environment", ENVIRONMENT, "--json"]
        issuer = exits.enter_context(_process(["simulator.issuer", *arguments], log))
        issuing = _ready_line(issuer, "the JWT issuer")
        pcrs, manifest_file = provision_kms(state, ready)
        tunnel = [
            {"host": host, "port": port, "dial": f"tcp:127.0.0.1:{there}"}
            for host, port, there in (
                (kms_host(ready), KMS_PORT, ready["port"]),
                (ISSUER_HOST, ISSUER_PORT, issuing["port"]),
            )
        ]
        host_config = _host_config(
            state, sockets, tunnel=tunnel, manifest_file=manifest_file, api_port=api_port
        )
        host = exits.enter_context(_process(["host", "--config", str(host_config), "--json"], log))
        api_url = _ready_line(host, "the host")["url"]
        _await_enclave(api_url, host)
        client_file = state / "client.json"
        token_url = f"{issuing['url']}/token"
        write_private(client_file, client_config(state, api_url, pcrs, token_url=token_url))
        yield Stack(api_url, client_file, state, state / "store.sqlite3.audit-log", token_url)


def kms_host(ready: dict[str, Any]) -> str:
    """The name under which the enclave knows KMS."""
    return f"kms.{ready['region']}.amazonaws.com"


def provision_kms(state: Path, ready: dict[str, Any]) -> tuple[dict[int, bytes], Path]:
    """What an operator does once: key, manifest, key policy. Returns the PCRs to pin, and the manifest's file."""
    kms = boto3.client(
        "kms",
        region_name=ready["region"],
        endpoint_url=ready["url"],
        verify=ready["ca_file"],
        aws_access_key_id=OPERATOR,
        aws_secret_access_key=secrets.token_hex(16),
        config=Config(proxies={}, retries={"max_attempts": 1}),
    )
    key_file = state / "kms-key-arn"
    if key_file.exists():
        key_arn = key_file.read_text().strip()
    else:
        key_arn = kms.create_key(Description="Cosigner mock environment")["KeyMetadata"]["Arn"]
        write_private(key_file, key_arn.encode())
    manifest = Manifest(
        version=1,
        # One TLS authority of the simulator signs for KMS and issuer.
        environments=[environment(state, key_arn, Path(ready["ca_file"]).read_text())],
        kms=KmsEndpoint(
            region=ready["region"],
            host=kms_host(ready),
            port=KMS_PORT,
            ca_pem=Path(ready["ca_file"]).read_text(),
        ),
    ).encode()
    manifest_file = state / "manifest.cbor"
    write_private(manifest_file, manifest)
    pcrs = {**measurements(), MANIFEST_PCR: expected_pcr(manifest)}
    kms.put_key_policy(
        KeyId=key_arn, Policy=editable(key_policy(pcrs, account=ready["account"]), ready["account"])
    )
    return pcrs, manifest_file


def editable(policy: str, account: str) -> str:
    """Let the operator change the policy later: the measurements change with every edit of the code.

    An operator who may do this may also let another image at the keys; a production manifest says ``pinned``, and the enclave then
    refuses such a policy (``docs/threat-model.md``).
    """
    parsed = json.loads(policy)
    parsed["Statement"].append(
        {
            "Sid": "OperatorMayChangeThisPolicy",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account}:user/{OPERATOR}"},
            "Action": ["kms:PutKeyPolicy"],
            "Resource": "*",
        }
    )
    return json.dumps(parsed)


def _host_config(
    state: Path, sockets: Path, *, tunnel: list[dict[str, Any]], manifest_file: Path, api_port: int
) -> Path:
    credentials = state / "credentials.json"
    write_private(
        credentials,
        json.dumps(
            {"Version": 1, "AccessKeyId": "ASIAMOCKINSTANCEROLE", "SecretAccessKey": secrets.token_hex(16)}
        ).encode(),
    )
    addresses = {name: f"unix:{sockets}/{name}" for name in ("enclave", "storage", "tunnel")}
    config = {
        "listen": f"tcp:127.0.0.1:{api_port}",
        "enclave": {
            "address": addresses["enclave"],
            "command": [
                sys.executable,
                "-m",
                "simulator.enclave",
                "--state",
                str(state),
                "--listen",
                addresses["enclave"],
                "--storage",
                addresses["storage"],
                "--tunnel",
                addresses["tunnel"],
            ],
        },
        "ports": {"storage": addresses["storage"], "tunnel": addresses["tunnel"]},
        "storage": {"sqlite": str(state / "store.sqlite3")},
        "webhooks": {
            "allow_private": True,
            "ca_file": str(state / "kms-ca.pem"),
        },  # one TLS authority for all simulators
        "tunnel": {"allow": tunnel},
        "manifest": str(manifest_file),
        "credentials": {"source": "file", "path": str(credentials)},
    }
    path = state / "host.json"
    write_private(path, json.dumps(config, indent=2).encode())
    return path


def client_config(state: Path, api_url: str, pcrs: dict[int, bytes], *, token_url: str) -> bytes:
    """What clients need: where the API is, what the enclave behind it must be, and where the mock issuer gives tokens."""
    trust = TrustPolicy(roots=frozenset({NitroPki.open(state).root_sha256}))
    config = {
        "api_url": api_url,
        "environment": ENVIRONMENT,
        "trust": {
            "roots": sorted(trust.roots),
            "pcrs": {str(index): [value.hex()] for index, value in sorted(pcrs.items())},
            "max_age_s": int(trust.max_age.total_seconds()),
            "accept_editable_key_policy": True,  # the mock operator edits it with every change of the code
        },
        "mock_issuer": {"token_url": token_url, "ca_pem": (state / "kms-ca.pem").read_text()},
        "administrators": {
            "quorum": 1,
            "keys": [{"name": ADMINISTRATOR, "algorithm": "ed25519", "public_key": administrator_pem(state)}],
        },
    }
    return json.dumps(config, indent=2).encode()


@contextlib.contextmanager
def _process(module_and_arguments: list[str], log: int | None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(  # noqa: S603  (our own modules)
        [sys.executable, "-m", *module_and_arguments],
        stdout=subprocess.PIPE,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches us alone; we stop the others in order
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready_line(process: subprocess.Popen[bytes], what: str) -> dict[str, Any]:
    timer = threading.Timer(_START_TIMEOUT, process.kill)
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        timer.cancel()
    if not line:
        raise StackError(f"{what} ended or was not ready within {_START_TIMEOUT:g} s; its log says why")
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def _await_enclave(api_url: str, host: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    reason = ""
    while time.monotonic() < deadline:
        if host.poll() is not None:
            raise StackError("the host ended; its log says why")
        try:
            with urllib.request.urlopen(f"{api_url}/readyz", timeout=5):  # noqa: S310  (our own loopback URL)
                return
        except urllib.error.HTTPError as refusal:
            reason = refusal.read(4096).decode(errors="replace")
        except OSError as error:
            reason = str(error)
        time.sleep(0.05)
    raise StackError(f"the enclave was not ready within {_START_TIMEOUT:g} s: {reason}")


def main() -> int:
    """Run the stack until SIGINT or SIGTERM."""
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with contextlib.ExitStack() as exits:
            log = None
            if options.log is not None:
                options.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                log = exits.enter_context(options.log.open("ab")).fileno()
            stack = exits.enter_context(running(options.state, api_port=options.port, log=log))
            _announce(stack, as_json=options.json)
            stop.wait()
            if not options.json:
                print("Stopping.", flush=True)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _announce(stack: Stack, *, as_json: bool) -> None:
    if as_json:
        ready = {
            "ready": True,
            "api_url": stack.api_url,
            "client_config": str(stack.client_config),
            "audit_log": str(stack.audit_log),
            "state": str(stack.state),
        }
        print(json.dumps(ready), flush=True)
        return
    print(
        f"""The mock stack is running (nothing in it protects a key; use it to try and to test).
  API            {stack.api_url}
  client config  {stack.client_config}
Try in another terminal:
  .venv/bin/cosigner attest
  .venv/bin/cosigner login
  .venv/bin/cosigner wallet create --chain solana
Ctrl-C stops it; wallets stay in {stack.state}.""",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.stack",
        description="Run KMS simulator, JWT issuer, host and enclave (mock attestation) as separate processes.",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".cosigner"),
        metavar="DIR",
        help="keeps everything (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="the API's port on loopback (default: any free one)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="append the processes' logs to FILE")
    parser.add_argument("--json", action="store_true", help="print the ready line as one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
