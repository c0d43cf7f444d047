"""Is anything lost when host and receiver are killed at random for a minute? Real processes, SIGKILL, TLS between them.

The bench plays the enclave: it hands an event over until the host has said that it is durable, and counts it from then on. The receiver
notes an event in a file before it answers. Afterwards both run in peace until the host's queue is empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from host.webhooks.events import CREATED, SUBSCRIPTION, new_id
from protocol.envelope import cbor, frames
from protocol.envelope.errors import Culprit, ProtocolError
from protocol.envelope.messages import (
    Conflict,
    Done,
    OutboxEvent,
    StoragePut,
    StorageReplyFrame,
    StorageRequestFrame,
)
from simulator.pki import TlsAuthority

from .measure import Figure

SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 120.0
_PAUSE: Final = 0.01  # seconds between two events
_SECRET: Final = "whsec_" + "A" * 32
_ROOT: Final = Path(__file__).parents[1]


def figures(seconds: float = SECONDS) -> list[Figure]:
    with TemporaryDirectory(prefix="ck-") as name:
        folder = Path(name)
        handed_over, kills = _torment(folder, seconds)
        noted = set((folder / "noted").read_text().split())
    return [
        Figure(
            "webhooks",
            f"handed over in {seconds:g} s while {kills} processes were killed",
            len(handed_over),
            "",
        ),
        Figure("webhooks", "lost of them", len(handed_over - noted), "", 0),
    ]


def _torment(folder: Path, seconds: float) -> tuple[set[str], int]:
    port = _prepare(folder)
    receiver = _Process([sys.executable, "-m", "bench.webhook_kills", str(folder), str(port)], ready=b"ready")
    host = _Process(
        [sys.executable, "-m", "host", "--config", f"{folder}/host.json", "--json"], ready=b'"listening"'
    )
    stop = threading.Event()
    killers = [threading.Thread(target=process.be_killed, args=(stop,)) for process in (receiver, host)]
    handed_over: set[str] = set()
    try:
        url = f"https://localhost:{port}/"
        data = {"url": url, "secret": _SECRET, "events": [CREATED], "enabled": True}
        _hand_over(folder, "s", _event(SUBSCRIPTION, url, data))
        for killer in killers:
            killer.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            event = _event(CREATED, url, {"walletId": new_id(), "shareSetId": new_id()})
            _hand_over(folder, f"k/{len(handed_over)}", event)
            handed_over.add(event.event_id)
            time.sleep(_PAUSE)
    finally:
        stop.set()
        for killer in killers:
            if killer.is_alive():
                killer.join(60)
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline and not handed_over <= set((folder / "noted").read_text().split()):
        time.sleep(0.2)
    receiver.kill()
    host.kill()
    return handed_over, receiver.kills + host.kills


class _Process:
    """A process that is started again whenever it is killed."""

    def __init__(self, command: list[str], *, ready: bytes) -> None:
        self._command = command
        self._ready = ready
        self.kills = 0
        self._start()

    def be_killed(self, stop: threading.Event) -> None:
        """Until told to stop; then it runs on."""
        while not stop.wait(random.uniform(0.2, 3)):  # noqa: S311  (when, is no secret)
            self.kill()
            self.kills += 1
            self._start()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if self._ready not in line:
            raise AssertionError(f"{self._command[2]} did not start: {line!r}")


def _prepare(folder: Path) -> int:
    """Configuration, certificates; a port that is free."""
    authority = TlsAuthority.open(folder)
    issued = authority.server(["localhost"])
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "server.pem").write_bytes(issued.key_pem + issued.pem)
    (folder / "noted").touch()
    (folder / "manifest").write_bytes(b"no enclave comes for it")
    schedule = [0.0, *(0.5 * number for number in range(1, 15)), 30.0]
    config = {
        "listen": "tcp:127.0.0.1:0",
        "enclave": {"address": f"unix:{folder}/e.sock"},
        "ports": {"storage": f"unix:{folder}/s.sock", "tunnel": f"unix:{folder}/t.sock"},
        "storage": {"sqlite": f"{folder}/store"},
        "webhooks": {
            "allow_private": True,
            "ca_file": f"{folder}/ca.pem",
            "timeout": 1,
            "schedule": schedule,
        },
        "tunnel": {"allow": []},
        "manifest": f"{folder}/manifest",
        "credentials": {"source": "file", "path": f"{folder}/credentials"},
    }
    (folder / "host.json").write_text(json.dumps(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _event(name: str, url: str, data: dict[str, object]) -> OutboxEvent:
    return OutboxEvent(
        event_id=new_id(),
        environment="sandbox",
        name=name,
        endpoint=url,
        data=json.dumps(data).encode(),
        subscription_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    )


def _hand_over(folder: Path, key: str, event: OutboxEvent) -> None:
    """Until the host says that it is durable, or that it was: an answer may have been lost with the host."""
    request = StoragePut(key=key, expected=0, epoch=1, value=b"value", event=event)
    raw = frames.pack(cbor.encode(StorageRequestFrame(id=1, body=request)))
    while True:
        with contextlib.suppress(OSError, ProtocolError), _connection(folder) as sock:
            sock.sendall(raw)
            answer = frames.read_blocking(sock, culprit=Culprit.STORAGE)
            reply = cbor.decode(answer, StorageReplyFrame, culprit=Culprit.STORAGE).body
            if isinstance(reply, Done | Conflict):
                return
        time.sleep(0.05)


@contextlib.contextmanager
def _connection(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(f"{folder}/s.sock")
        yield sock


async def _receive(folder: Path, port: int) -> None:
    """The receiver's process: notes every event, then answers."""
    with (folder / "noted").open("a", buffering=1) as noted:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    body = json.loads(await reader.readexactly(length))
                    noted.write(body["eventId"] + "\n")
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "server.pem")
        server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_receive(Path(sys.argv[1]), int(sys.argv[2])))
