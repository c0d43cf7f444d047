"""A peer that speaks the link protocol over a real socket, with behaviour that a test can bend. Not an enclave: it holds no secret.

Run as a program it is a child for the supervisor: ``fake_enclave.py ADDRESS JOURNAL [--refuse-provisions N] [--exit-after SECONDS]``.
The journal is a file with one line for each thing that happened.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from protocol.envelope import cbor, frames
from protocol.envelope.address import Address
from protocol.envelope.errors import Culprit, Reaction
from protocol.envelope.messages import (
    Attest,
    Attested,
    AwsCredentials,
    Done,
    Fault,
    LinkReply,
    LinkReplyFrame,
    LinkRequestFrame,
    OpenSession,
    Provision,
    Record,
    RecordReply,
    SessionOpened,
    Status,
    StatusReply,
    UpdateCredentials,
)

CHANNEL_KEY = b"\x05" * 1216
Handler = Callable[["FakeEnclave", LinkRequestFrame, asyncio.StreamWriter], Awaitable[bool]]


class FakeEnclave:
    """The fake.

    :param on_request: sees every frame first; a true answer means that it has dealt with it.
    :param provision_faults: what the first attempts to provision are answered with.
    :param serves_some: it is ready for some of its environments all the same.
    """

    def __init__(
        self,
        *,
        on_request: Handler | None = None,
        provision_faults: list[Fault] | None = None,
        phase: str = "awaiting_manifest",
        journal: Path | None = None,
        serves_some: bool = False,
    ) -> None:
        self.phase, self.reason = phase, ""
        self.serves_some = serves_some
        self.on_request = on_request
        self.provision_faults = list(provision_faults or [])
        self.provisions: list[Provision] = []
        self.updates: list[AwsCredentials] = []
        self.connections = 0
        self.looks = 0  # requests for the status
        self.writers: set[asyncio.StreamWriter] = set()
        self._journal = journal
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> None:
        self._server = await Address.parse(address).listen(self._connected)
        self.note(f"listening {os.getpid()}")

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop_links()

    def drop_links(self) -> None:
        for writer in list(self.writers):
            writer.transport.abort()

    def note(self, line: str) -> None:
        if self._journal is not None:
            with self._journal.open("a") as file:
                file.write(line + "\n")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            while (raw := await frames.read(reader, culprit=Culprit.HOST)) is not None:
                frame = cbor.decode(raw, LinkRequestFrame, culprit=Culprit.HOST)
                if self.on_request is None or not await self.on_request(self, frame, writer):
                    self.reply(writer, frame.id, self.answer(frame))
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    @staticmethod
    def reply(writer: asyncio.StreamWriter, number: int, body: LinkReply) -> None:
        writer.write(frames.pack(cbor.encode(LinkReplyFrame(id=number, body=body))))

    def answer(self, frame: LinkRequestFrame) -> LinkReply:
        match frame.body:
            case Status():
                self.looks += 1
                return StatusReply(
                    phase=self.phase, reason=self.reason, sessions=3, counters={"signatures": 7}
                )
            case Provision():
                return self._provision(frame.body)
            case UpdateCredentials(credentials=credentials):
                self.updates.append(credentials)
                self.note(f"update {credentials.access_key_id}")
                return Done()
            case Attest(nonce=nonce):
                return Attested(document=b"document over " + nonce, channel_key=CHANNEL_KEY)
            case OpenSession(hello=hello):
                return SessionOpened(session_id=bytes(15) + b"\x01", hello=b"answer to " + hello)
            case Record(session_id=session_id, record=record):
                if session_id != bytes(15) + b"\x01":
                    return fault("session_unknown", culprit=Culprit.CLIENT)
                if record.startswith(b"fault:"):
                    return fault(*record.decode().split(":")[1:])
                return RecordReply(record[::-1])
        return fault("phase_illegal")

    def _provision(self, request: Provision) -> LinkReply:
        self.provisions.append(request)
        self.note(f"provision {request.credentials.access_key_id}")
        if self.provision_faults:
            self.phase = "ready" if self.serves_some else "awaiting_keys"
            self.reason = "live has no data key: kms_denied (see to it)." if self.serves_some else ""
            return self.provision_faults.pop(0)
        self.phase, self.reason = "ready", ""
        return Done()


def fault(code: str, culprit: str = Culprit.ENCLAVE, reaction: str = Reaction.RETRY) -> Fault:
    return Fault(
        code=code, message="As the test wishes.", culprit=Culprit(culprit), reaction=Reaction(reaction)
    )


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    journal = Path(options.journal)
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    fake = FakeEnclave(
        provision_faults=[fault("kms_access_denied", Culprit.KMS)] * options.refuse_provisions,
        journal=journal,
    )
    await fake.start(options.address)
    print("a line of the enclave's own", file=sys.stderr, flush=True)
    await stop.wait()
    fake.note("stopped by SIGTERM")
    await fake.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("journal")
    parser.add_argument("--refuse-provisions", type=int, default=0)
    parser.add_argument("--deaf", action="store_true", help="ignore SIGTERM")
    asyncio.run(_main(parser.parse_args()))
