"""``examples/webhook_receiver.py`` as a process of its own, and the host that delivers to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosigner.webhooks import Inbox, LocalSealer
from host.webhooks.events import REVOKED
from simulator.pki import TlsAuthority
from tests.cosigner.webhooks.sent import API_KEY, SHARE_SET, created_data, key, revoked_data, sent
from tests.host.webhooks.arrivals import ENVIRONMENT, SECRET, outbox_event, subscription
from tests.host.webhooks.running import section, sending

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def example(folder: Path) -> Iterator[str]:
    """The example over TLS; its URL."""
    authority = TlsAuthority.open(folder)
    issued = authority.server(["localhost"])
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "cert.pem").write_bytes(issued.pem)
    (folder / "tls.pem").write_bytes(issued.key_pem)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DYNAMIC_WEBHOOK_SECRET": SECRET,
        "DYNAMIC_DELEGATION_PRIVATE_KEY": key().pem().decode(),
    }
    command = [
        sys.executable,
        "examples/webhook_receiver.py",
        "--state",
        str(folder / "state"),
        "--port",
        str(port),
    ]
    command += ["--certificate", str(folder / "cert.pem"), "--private-key", str(folder / "tls.pem")]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, process.stderr and process.stderr.read()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"https://localhost:{port}/webhooks"
    finally:
        process.terminate()
        process.communicate(timeout=30)


def post(url: str, ca: Path, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=ca)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_example_takes_what_the_host_delivers_and_refuses_the_rest(tmp_path: Path) -> None:
    async def deliver(url: str) -> None:
        config = section(ca_file=str(tmp_path / "ca.pem"))
        async with sending(tmp_path, config) as running:
            await running.put(subscription(url=url))
            await running.put(outbox_event(data=created_data()))
            await running.put(outbox_event(REVOKED, revoked_data(shareSetId="another")))
            async with asyncio.timeout(30):
                while len(await running.store.outbox.lines(ENVIRONMENT, "delivered", count=9)) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    with example(tmp_path) as url:
        asyncio.run(deliver(url))
        now = int(time.time())
        headers, body = sent(at=now)
        assert post(url, tmp_path / "ca.pem", headers, body) == (200, {"result": "new"})
        assert post(url, tmp_path / "ca.pem", headers, body) == (200, {"result": "repeated"})
        assert post(url, tmp_path / "ca.pem", {}, body) == (401, {"code": "signature_missing"})
        assert post(url, tmp_path / "ca.pem", headers, body + b" ") == (401, {"code": "signature_wrong"})
        stale, body = sent(at=now - 3600)
        assert post(url, tmp_path / "ca.pem", stale, body) == (401, {"code": "signature_stale"})
        headers, body = sent(data={"x": 1}, at=now)
        assert post(url, tmp_path / "ca.pem", headers, body) == (400, {"code": "webhook_malformed"})
        assert post(url, tmp_path / "ca.pem", {}, bytes(300 << 10))[0] == 413
    inbox = Inbox(tmp_path / "state" / "inbox.sqlite3", LocalSealer(tmp_path / "state" / "sealing.key"))
    (found,) = inbox.delegations()
    assert (found.share_set_id, found.opened.api_key) == (SHARE_SET, API_KEY)
    inbox.close()


@pytest.mark.parametrize("missing", ["DYNAMIC_WEBHOOK_SECRET", "DYNAMIC_DELEGATION_PRIVATE_KEY"])
def test_the_example_says_what_it_needs(tmp_path: Path, missing: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DYNAMIC_WEBHOOK_SECRET": SECRET,
        "DYNAMIC_DELEGATION_PRIVATE_KEY": key().pem().decode(),
    }
    del environment[missing]
    command = [sys.executable, "examples/webhook_receiver.py", "--state", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert missing in done.stderr
