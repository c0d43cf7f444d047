"""The enclave as a child process: its own process group, its output line by line in the host's log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Final

from protocol.envelope.errors import Culprit, Reaction

from .errors import HostError
from .log import Log

_MAX_LINE: Final = 4096
_SECRETS_OF_THE_HOST: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class EnclaveProcess:
    """A running child. Made by :meth:`start`.

    :ivar exited: resolves with the exit code (negative: the signal that ended it).
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Log) -> None:
        self._process = process
        self._log = log
        self._output = asyncio.create_task(self._pass_on_output())
        self.exited: Final[asyncio.Task[int]] = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, command: Sequence[str], log: Log) -> EnclaveProcess:
        """Start the command in a process group of its own, without the host's AWS credentials in its environment.

        :raises HostError: ``enclave_start_failed``.
        """
        environment = {name: value for name, value in os.environ.items() if name not in _SECRETS_OF_THE_HOST}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            raise HostError(
                "enclave_start_failed",
                f"Cannot start {command[0]!r}: {error.strerror}. Check enclave.command in the configuration.",
                culprit=Culprit.HOST,
                reaction=Reaction.RETRY,
            ) from None
        log.event("enclave_started", pid=process.pid)
        return cls(process, log)

    def obituary(self) -> HostError:
        """The error that says how a child that has exited ended."""
        return HostError(
            "enclave_exited",
            f"The enclave process ended with code {self.exited.result()}; see its last words in the log (enclave_output).",
            culprit=Culprit.ENCLAVE,
            reaction=Reaction.RETRY,
        )

    async def stop(self, grace: float) -> int:
        """End the process group: SIGTERM, and SIGKILL after ``grace`` seconds. May be called again.

        :returns: the exit code.
        """
        self._signal(signal.SIGTERM)
        await asyncio.wait([self.exited], timeout=grace)
        self._signal(signal.SIGKILL)  # also for what the child left behind in its group
        code = await self.exited
        await asyncio.wait([self._output], timeout=1)  # a grandchild of another group may hold the pipe open
        self._output.cancel()
        self._log.event("enclave_ended", pid=self._process.pid, exit_code=code)
        return code

    def _signal(self, number: signal.Signals) -> None:
        # A group keeps its id while a member is left. That of an empty one could go to a stranger only after the kernel has
        # handed out all other ids; so little time passes between the child's end and this.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _pass_on_output(self) -> None:
        if self._process.stdout is not None:
            async for line in _lines(self._process.stdout):
                self._log.event("enclave_output", line=line)


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """The lines of a stream, as text; longer ones cut to 4,096 bytes."""
    pending = b""
    while chunk := await reader.read(_MAX_LINE):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line[:_MAX_LINE].decode("utf-8", "replace").rstrip()
        pending = pending[:_MAX_LINE]
    if pending:
        yield pending.decode("utf-8", "replace").rstrip()
