"""``python -m host.nitro``: launch a Nitro enclave, say where it is, and end when it ends. Run as a service of its own.

``nitro-cli run-enclave`` returns as soon as the enclave was started, and every launch gets another CID. This process turns that into
something that a service manager can supervise: it writes the enclave's address into a file (the host reads it, ``enclave.address_file``), looks
after the enclave until it is gone, and then exits with a status that asks for a restart. On SIGTERM it terminates the enclave.

Exit codes: 0 terminated as asked, 1 the enclave could not be started or is gone, 2 bad usage, 3 refused: the enclave is in debug mode.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from protocol.envelope.errors import CosignerError, Culprit

from .errors import HostError
from .log import Log

EXIT_OK: Final = 0
EXIT_GONE: Final = 1
EXIT_USAGE: Final = 2
EXIT_DEBUG: Final = 3

LISTEN_PORT: Final = 5000  # where the enclave listens (docs/spec/wire.md §1.2)
MEMORY_FACTOR: Final = 4  # nitro-cli refuses less memory than four times the image
_MAX_OUTPUT: Final = 1 << 20
_RUN_SECONDS: Final = 120.0
_ASK_SECONDS: Final = 30.0
_MAX_SILENCE: Final = 3  # descriptions in a row that nitro-cli failed to give
_MIB: Final = 1 << 20

T = TypeVar("T")
EnclaveId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,128}\Z")]


class Launched(msgspec.Struct, frozen=True, rename={"enclave_id": "EnclaveID", "cid": "EnclaveCID"}):
    """What ``run-enclave`` prints; members that are not needed here are ignored, since new versions add some."""

    enclave_id: EnclaveId
    cid: Annotated[int, Meta(ge=4, lt=0xFFFFFFFF)]


class Described(
    msgspec.Struct,
    frozen=True,
    rename={
        "enclave_id": "EnclaveID",
        "cid": "EnclaveCID",
        "name": "EnclaveName",
        "state": "State",
        "flags": "Flags",
    },
):
    """One of the enclaves that ``describe-enclaves`` prints."""

    enclave_id: EnclaveId
    cid: int
    state: str
    flags: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What to launch. ``memory`` in MiB, ``poll`` in seconds."""

    eif: Path
    memory: int
    cpus: int
    address_file: Path
    name: str
    nitro_cli: str
    poll: float


class DebugModeError(HostError):
    """The enclave is in debug mode: whoever is on the instance reads its console, and its PCRs are zero."""


def main(arguments: list[str] | None = None) -> int:
    """Run the launcher; the exit code."""
    options = _options(arguments)
    log = Log()
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.ask())
    try:
        Launcher(options, log=log, stop=stop).run()
    except CosignerError as error:
        log.event("enclave_gone", "error", code=error.code, reason=error.message)
        return EXIT_DEBUG if isinstance(error, DebugModeError) else EXIT_GONE
    return EXIT_OK


class Stop:
    """The wish that the enclave be terminated. A pipe: a signal handler may write to it at any moment, while
    ``threading.Event`` could meet its own lock.
    """

    def __init__(self) -> None:
        self._asked, self._ask = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def ask(self) -> None:
        """Ask for it. May be called again."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wishes
            os.write(self._ask, b"!")

    def wait(self, seconds: float) -> bool:
        """Wait up to so long; whether it was asked for."""
        return bool(select.select([self._asked], [], [], seconds)[0])


class Launcher:
    """One launch of an enclave.

    :param stop: asked to terminate it.
    """

    def __init__(self, options: Options, *, log: Log, stop: Stop) -> None:
        self._options = options
        self._log = log
        self._stop = stop
        self._cli = NitroCli(options.nitro_cli)

    def run(self) -> None:
        """Launch the enclave and watch it until ``stop`` is asked for; whatever happens, neither enclave nor address file are left behind.

        :raises HostError: ``enclave_start_failed``, ``enclave_gone``, ``enclave_debug_mode``, ``nitro_cli_failed``.
        """
        options = self._options
        _check_memory(options)
        _forget(options.address_file)
        for leftover in self._cli.describe():
            if leftover.name == options.name:
                self._log.event("enclave_leftover_terminated", "warning", address=f"vsock:{leftover.cid}")
                self._cli.terminate(leftover.enclave_id)
        launched = self._cli.run(options)
        try:
            self._refuse_debug_mode(launched)
            address = f"vsock:{launched.cid}:{LISTEN_PORT}"
            write_atomically(options.address_file, f"{address}\n")
            self._log.event("enclave_launched", address=address)
            self._watch(launched)
        finally:
            _forget(options.address_file)
            self._terminate(launched)

    def _refuse_debug_mode(self, launched: Launched) -> None:
        described = self._find(launched)
        if described is None:
            raise _gone("it ended at once")
        if described.cid != launched.cid:
            raise _failed("nitro_cli_failed", "nitro-cli names two CIDs for one enclave")
        if described.flags != "NONE":
            raise DebugModeError(
                "enclave_debug_mode",
                f"The enclave runs with the flags {described.flags!r}; only NONE is accepted.",
                culprit=Culprit.HOST,
            )

    def _watch(self, launched: Launched) -> None:
        silent = 0
        while not self._stop.wait(self._options.poll):
            try:
                described = self._find(launched)
            except HostError as error:
                silent += 1
                self._log.event("enclave_not_described", "warning", code=error.code, attempt=silent)
                if silent >= _MAX_SILENCE:
                    raise
                continue
            silent = 0
            if described is None or described.state != "RUNNING":
                raise _gone(
                    "nitro-cli does not list it as running any more; the host's log has its last words, if any"
                )

    def _find(self, launched: Launched) -> Described | None:
        return next(
            (found for found in self._cli.describe() if found.enclave_id == launched.enclave_id), None
        )

    def _terminate(self, launched: Launched) -> None:
        """End the enclave if it is still there. A failure is logged: the reason for which we came here counts more."""
        try:
            if self._find(launched) is not None:
                self._cli.terminate(launched.enclave_id)
                self._log.event("enclave_terminated")
        except HostError as error:
            self._log.event("enclave_not_terminated", "error", code=error.code, reason=error.message)


class NitroCli:
    """AWS's ``nitro-cli``. What it prints on stdout is JSON; what it says on stderr goes to ours."""

    def __init__(self, program: str) -> None:
        self._program = program

    def run(self, options: Options) -> Launched:
        """Launch. There is no way to ask for debug mode here.

        :raises HostError: ``enclave_start_failed``, ``nitro_cli_failed``.
        """
        output = self._call(
            "run-enclave",
            *("--eif-path", str(options.eif), "--memory", str(options.memory)),
            *("--cpu-count", str(options.cpus), "--enclave-name", options.name),
            code="enclave_start_failed",
            seconds=_RUN_SECONDS,
        )
        return _decode(output, Launched)

    def describe(self) -> list[Described]:
        """All enclaves of this instance.

        :raises HostError: ``nitro_cli_failed``.
        """
        return _decode(self._call("describe-enclaves"), list[Described])

    def terminate(self, enclave_id: str) -> None:
        """Terminate an enclave.

        :raises HostError: ``nitro_cli_failed``.
        """
        self._call("terminate-enclave", "--enclave-id", enclave_id)

    def _call(self, *arguments: str, code: str = "nitro_cli_failed", seconds: float = _ASK_SECONDS) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603  (no shell; the program is named by whoever installed this)
                [self._program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=seconds,
                check=False,
                start_new_session=True,  # a signal to this process's group must not hit nitro-cli half-way
            )
        except OSError as error:
            raise _failed(code, f"cannot start {self._program!r}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise _failed(code, f"nitro-cli {arguments[0]} did not end within {seconds:g} s") from None
        if done.returncode != 0:
            raise _failed(
                code,
                f"nitro-cli {arguments[0]} ended with code {done.returncode}; what it said stands above in this log",
            )
        return done.stdout


def write_atomically(path: Path, text: str) -> None:
    """Write a file that readers see whole or not at all.

    :raises HostError: ``address_file_failed``.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)  # the host is another user
            Path(temporary).replace(path)
        except BaseException:
            _forget(Path(temporary))
            raise
    except OSError as error:
        raise _failed("address_file_failed", f"cannot write {path}: {error.strerror}") from None


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _check_memory(options: Options) -> None:
    """nitro-cli's own message for this says neither figure."""
    try:
        size = options.eif.stat().st_size
    except OSError as error:
        raise _failed("enclave_start_failed", f"cannot read {options.eif}: {error.strerror}") from None
    needed = -(-MEMORY_FACTOR * size // _MIB)
    if options.memory < needed:
        raise _failed(
            "enclave_start_failed",
            f"an image of {size} bytes needs {needed} MiB of memory or more, and gets {options.memory}",
        )


def _decode(output: bytes, kind: type[T]) -> T:
    try:
        if len(output) > _MAX_OUTPUT:
            raise ValueError
        return msgspec.json.decode(output, type=kind, strict=True)
    except (msgspec.MsgspecError, ValueError):
        raise _failed(
            "nitro_cli_failed", "nitro-cli printed something else than its documentation says"
        ) from None


def _gone(reason: str) -> HostError:
    return _failed("enclave_gone", reason)


def _failed(code: str, reason: str) -> HostError:
    return HostError(code, f"{reason[:1].upper()}{reason[1:]}.", culprit=Culprit.HOST)


def _options(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m host.nitro", description="Launch a Nitro enclave and end when it ends."
    )
    parser.add_argument("--eif", required=True, type=Path, metavar="FILE", help="the enclave's image")
    parser.add_argument(
        "--memory", required=True, type=int, metavar="MIB", help="at least four times the image"
    )
    parser.add_argument(
        "--cpus", required=True, type=int, metavar="N", help="whole cores: an even number on x86"
    )
    parser.add_argument(
        "--address-file", required=True, type=Path, metavar="FILE", help="where to write the address"
    )
    parser.add_argument("--name", default="cosigner", help="the enclave's name (default: cosigner)")
    parser.add_argument("--nitro-cli", default="nitro-cli", metavar="PROGRAM", help="default: nitro-cli")
    parser.add_argument(
        "--poll",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="between two looks at the enclave (default: 2)",
    )
    given = parser.parse_args(arguments)
    if min(given.memory, given.cpus, given.poll) <= 0:
        parser.error("--memory, --cpus and --poll must be positive")
    return Options(**vars(given))


if __name__ == "__main__":
    sys.exit(main())
