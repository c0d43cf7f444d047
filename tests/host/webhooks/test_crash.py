"""A host that is killed at any moment: nothing that the enclave handed over is lost. Real processes, real signals, real TLS."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from protocol.envelope import cbor, frames
from protocol.envelope.errors import Culprit
from protocol.envelope.messages import Done, OutboxEvent, StoragePut, StorageReplyFrame, StorageRequestFrame
from tests.host.rig import configuration_for, short_folder, wait_until
from tests.host.webhooks.arrivals import outbox_event, subscription
from tests.host.webhooks.receiver import Receiver, Taken

SOON = [0.0, *(0.3 * number for number in range(1, 15)), 600.0]
ROOT = str(Path(__file__).parents[3])


class Host:
    """``python -m host``, without an enclave behind it: the test is the enclave."""

    def __init__(self, folder: Path, receiver: Receiver, **webhooks: Any) -> None:
        self.folder = folder
        self.config = folder / "host.json"
        section = {
            "allow_private": True,
            "ca_file": receiver.ca_file,
            "poll": 0.05,
            "timeout": 0.5,
            **webhooks,
        }
        self.config.write_bytes(msgspec.json.encode(configuration_for(folder, webhooks=section)))
        self.writes = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "host", "--config", str(self.config), "--json"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["event"] == "listening"

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        process = self.process
        assert process is not None
        process.send_signal(number)
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()

    def put(self, event: OutboxEvent) -> None:
        """Hand an event over; returns when the host says that it is durable."""
        self.writes += 1
        request = StoragePut(key=f"r/{self.writes}", expected=0, epoch=1, value=b"v", event=event)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(f"{self.folder}/s.sock")
            sock.sendall(frames.pack(cbor.encode(StorageRequestFrame(id=1, body=request))))
            raw = frames.read_blocking(sock, culprit=Culprit.STORAGE)
        assert cbor.decode(raw, StorageReplyFrame, culprit=Culprit.STORAGE).body == Done()

    def webhooks(self, *arguments: str) -> list[dict[str, Any]]:
        """``python -m host webhooks``, beside the running host or without it."""
        command = [
            sys.executable,
            "-m",
            "host",
            "webhooks",
            *arguments,
            "--config",
            str(self.config),
            "--json",
        ]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def host_and_receiver(**webhooks: Any) -> Iterator[tuple[Host, Receiver]]:
    with short_folder() as folder, Receiver() as receiver:
        host = Host(folder, receiver, **webhooks)
        host.start()
        try:
            host.put(subscription(url=f"{receiver.url}/"))
            yield host, receiver
        finally:
            host.end()


def test_a_host_that_is_killed_between_two_attempts_makes_the_next_one() -> None:
    with host_and_receiver(schedule=[0, 1, 2, 3, 4, 5, 6, 7, 8]) as (host, receiver):
        receiver.answer(lambda taken: 500)
        event = outbox_event()
        host.put(event)
        wait_until(lambda: host.webhooks("list") and host.webhooks("list")[0]["attempts"] >= 1)
        host.end()
        before = len(receiver.taken)
        receiver.answer(lambda taken: 200)
        host.start()
        wait_until(lambda: host.webhooks("list", "--state", "delivered"))
        assert len(receiver.taken) > before
        assert {taken.json["eventId"] for taken in receiver.taken} == {event.event_id}
        assert len({taken.body for taken in receiver.taken}) == 1


def test_a_host_that_is_killed_in_the_middle_of_an_attempt_makes_it_again() -> None:
    with host_and_receiver() as (host, receiver):
        ended = threading.Event()

        def answer(_: Taken) -> int:
            if not ended.is_set():
                host.end()
                ended.set()
            return 200

        receiver.answer(answer)
        host.put(outbox_event())
        assert ended.wait(20)
        host.start()
        wait_until(lambda: host.webhooks("list", "--state", "delivered"))
        assert len({taken.body for taken in receiver.taken}) == 1


def test_whenever_host_and_receiver_are_killed_nothing_is_lost() -> None:
    chance = random.Random(8)
    with host_and_receiver() as (host, receiver):
        handed_over: set[str] = set()
        for _ in range(5):
            for _ in range(20):
                event = outbox_event(data={"walletId": "w", "padding": "x" * chance.randrange(2000)})
                host.put(event)
                handed_over.add(event.event_id)
            if chance.random() < 0.5:
                receiver.answer(lambda taken: b"" if chance.random() < 0.5 else 503)
            time.sleep(
                chance.random() / 4
            )  # so that the kills hit different moments; nothing is asserted of it
            host.end()
            receiver.answer(lambda taken: 200)
            host.start()
        wait_until(
            lambda: {taken.json["eventId"] for taken in list(receiver.taken)} == handed_over, seconds=60
        )
        wait_until(lambda: not host.webhooks("list"), seconds=60, what="an empty queue")


def test_the_operators_command_works_beside_a_running_host() -> None:
    with host_and_receiver(schedule=[0]) as (host, receiver):
        receiver.answer(lambda taken: 500)
        event = outbox_event()
        host.put(event)
        (dead,) = wait_until(lambda: host.webhooks("dead"))
        assert (dead["event_id"], dead["reason"], dead["attempts"]) == (event.event_id, "status_500", 1)
        receiver.answer(lambda taken: 200)
        (again,) = host.webhooks("redeliver", "--dead")
        wait_until(lambda: host.webhooks("list", "--state", "delivered"))
        assert receiver.taken[-1].json["redelivery"] is True
        assert receiver.taken[-1].json["messageId"] == again["message_id"]
        assert host.webhooks("dead") == []
        (third,) = host.webhooks("redeliver", "--event", event.event_id)
        wait_until(lambda: receiver.taken[-1].json["messageId"] == third["message_id"])
        host.webhooks("ping", "--environment", "sandbox")
        wait_until(lambda: receiver.named("ping"))
        host.end(signal.SIGTERM)
        assert host.process is not None
        assert host.process.returncode == 0
        host.start()
