"""A host over a fake enclave, real sockets throughout: the event loop runs in a thread, the test talks HTTP to it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from host import config as configuration
from host import service
from host.log import Log
from tests.host.fake_enclave import FakeEnclave

T = TypeVar("T")

OCTETS = {"content-type": "application/octet-stream"}
SESSION = "0" * 31 + "1"
RECORDS = f"/v1/sessions/{SESSION}/records"
FAST = {
    "backoff": 0.02,
    "backoff_max": 0.2,
    "status": 0.05,
    "credentials": 0.05,
    "start": 20,
    "stop": 5,
    "request": 10,
}


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose paths are short enough for unix sockets (at most 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="ch-") as name:
        yield Path(name)


def wait_until(condition: Callable[[], T], *, seconds: float = 20, what: str = "the condition") -> T:
    """Poll until ``condition`` is true, and return its value; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.005)
    return value


async def eventually(condition: Callable[[], object]) -> None:
    """As :func:`wait_until`, inside an event loop."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (the conditions are of other threads, processes and the kernel)
            await asyncio.sleep(0.005)


def write_credentials(folder: Path, name: str, expires: str | None = None) -> None:
    content: dict[str, Any] = {"Version": 1, "AccessKeyId": name, "SecretAccessKey": "not-for-logs-secret"}
    if expires is not None:
        content["Expiration"] = expires
    temporary = folder / "credentials.tmp"
    temporary.write_text(json.dumps(content))
    temporary.replace(folder / "credentials.json")


def configuration_for(folder: Path, **changes: Any) -> dict[str, Any]:
    """A good configuration whose sockets and files lie in ``folder``; ``changes`` replaces or adds members."""
    (folder / "manifest.cbor").write_bytes(b"a manifest")
    if not (folder / "credentials.json").exists():
        write_credentials(folder, "AKIAFIRST")
    return {
        "listen": "tcp:127.0.0.1:0",
        "enclave": {"address": f"unix:{folder}/e.sock", "command": None},
        "ports": {"storage": f"unix:{folder}/s.sock", "tunnel": f"unix:{folder}/t.sock"},
        "storage": {"sqlite": f"{folder}/store.sqlite3"},
        "tunnel": {"allow": []},
        "manifest": f"{folder}/manifest.cbor",
        "credentials": {"source": "file", "path": f"{folder}/credentials.json"},
        "timing": FAST,
        **changes,
    }


class Rig:
    """A running host."""

    def __init__(self, folder: Path, fake: FakeEnclave | None, raw: dict[str, Any]) -> None:
        self.folder = folder
        self.fake = fake
        self.log = io.StringIO()
        self.url = ""
        self._config = configuration.parse(msgspec.json.encode(raw))
        self._address = raw["enclave"].get("address")
        self._answers = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the host's event loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def readiness(self) -> dict[str, Any]:
        with httpx.Client(base_url=self.url) as client:
            return dict(client.get("/readyz").json())

    def metric(self, name: str) -> float:
        """The value of one sample, named as in the exposition; 0 when it is not there."""
        with httpx.Client(base_url=self.url) as client:
            for line in client.get("/metrics").text.splitlines():
                if line.startswith(name + " "):
                    return float(line.rsplit(" ", 1)[1])
        return 0.0

    def wait_ready(self) -> None:
        wait_until(lambda: self.readiness()["ready"], what="readiness")

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]

    def start(self) -> None:
        self._thread.start()
        assert self._answers.wait(20)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
        finally:
            self._answers.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if self.fake is not None:
            await self.fake.start(self._address)
        try:
            await service.run(self._config, log=Log(self.log), stop=self._stop, listening=self._listening)
        finally:
            if self.fake is not None:
                await self.fake.stop()

    def _listening(self, url: str) -> None:
        self.url = url
        self._answers.set()


@contextlib.contextmanager
def running_host(fake: FakeEnclave | None = None, *, ready: bool = True, **changes: Any) -> Iterator[Rig]:
    """A host over ``fake`` (or, with a command in ``changes``, over a child process).

    :param ready: wait until it is.
    """
    with short_folder() as folder:
        rig = Rig(folder, fake, configuration_for(folder, **changes))
        rig.start()
        try:
            if ready:
                rig.wait_ready()
            yield rig
        finally:
            rig.stop()
