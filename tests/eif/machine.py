"""An enclave in QEMU: its processes, its serial console, its end."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .processes import end, spawn

GUEST_CID: Final = 4
PARENT_CID: Final = 2  # where guests of vhost-device-vsock find their host; on Nitro it is 3
MEMORY_MB: Final = 1024
CPUS: Final = 2  # the least that Nitro gives an enclave on x86_64
FIRMWARE: Final = (Path("/usr/share/seabios"), Path("/usr/share/qemu"))
INSTANCE: Final = "i-0123456789abcdef0"
MODULE_ID: Final = f"{INSTANCE}-enc0123456789abcdef"
ROLE: Final = "arn:aws:iam::111122223333:role/parent"
# Parameters that the parent adds; QEMU measures the command line of the image alone. The first is the image's own; the second saves the
# guest's clock, which the emulator's uneven timer would otherwise make the kernel distrust, and then to lose seconds in a minute.
PARAMETERS: Final = f"cosigner.parent_cid={PARENT_CID} tsc=reliable"
# The window that the guest gets to send, and so the largest packet. vhost-device-vsock 0.3 drops packets in more than one buffer, as Linux
# sends them above 32 KiB since its commit 6693731487a8 («vsock/virtio: Allocate nonlinear SKBs for handling large transmit buffers»).
WINDOW: Final = 16 << 10  # bytes
_PATIENCE: Final = 30.0  # seconds, for what takes moments
_GRACE: Final = 5.0  # seconds
_CONSOLE_TAIL: Final = 60  # lines


class MachineError(Exception):
    """The machine did not do what it should have; the message ends with the last lines of its console."""


@dataclass(frozen=True)
class Tools:
    """What `tests/eif/tools/prepare.sh` made."""

    directory: Path

    @property
    def qemu(self) -> Path:
        return self.directory / "qemu-system-x86_64"

    @property
    def vhost_vsock(self) -> Path:
        return self.directory / "vhost-device-vsock"


class Machine:
    """One enclave after another, from images that may differ, at one place in the file system.

    :param directory: for sockets and logs; its path must be short (unix sockets).
    :ivar vsock: the unix socket that leads to the enclave's ports; see `tests.eif.vsock`.
    """

    def __init__(self, tools: Tools, directory: Path) -> None:
        self._tools = tools
        self._directory = directory
        self.vsock = directory / "vsock"
        self.console = directory / "console.log"
        self._vhost: subprocess.Popen[bytes] | None = None
        self._qemu: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running QEMU."""
        assert self._qemu is not None
        return self._qemu.pid

    @property
    def running(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    def start(self, eif: Path) -> None:
        """Power on; returns when the vsock device is there, long before the enclave answers.

        :raises MachineError: a process ended at once.
        """
        assert not self.running
        self.stop()
        device = self._directory / "vhost-user"
        for stale in (self.vsock, device):
            stale.unlink(missing_ok=True)
        with (self._directory / "vhost.log").open("ab") as log:
            self._vhost = spawn(
                [
                    self._tools.vhost_vsock,
                    "--vm",
                    f"guest-cid={GUEST_CID},uds-path={self.vsock},socket={device},tx-buffer-size={WINDOW}",
                ],
                stdout=log,
                stderr=log,
            )
        self._await(device.is_socket, "vhost-device-vsock")
        firmware = [word for path in FIRMWARE for word in ("-L", str(path))]
        with self.console.open("ab") as console:
            self._qemu = spawn(
                [
                    self._tools.qemu,
                    *firmware,
                    *("-M", f"nitro-enclave,vsock=v,id={MODULE_ID},parent-id={INSTANCE},parent-role={ROLE}"),
                    *("-chardev", f"socket,id=v,path={device}"),
                    *("-kernel", str(eif), "-append", PARAMETERS),
                    *("-accel", "tcg", "-cpu", "max", "-m", f"{MEMORY_MB}M", "-smp", str(CPUS)),
                    *("-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
                ],
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        threading.Thread(target=_hang_up, args=(self._qemu, self._vhost), daemon=True).start()

    def kill(self) -> None:
        """SIGKILL: what `nitro-cli terminate-enclave`, a failing instance, or an attacker with the host does."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()

    def await_end(self, seconds: float) -> None:
        """Wait until the enclave has ended by itself.

        :raises MachineError: it has not.
        """
        assert self._qemu is not None
        try:
            self._qemu.wait(seconds)
        except subprocess.TimeoutExpired:
            raise MachineError(f"the enclave still runs after {seconds:g} s\n{self.tail()}") from None

    def stop(self) -> None:
        """End every process. May be called again."""
        for process in (self._qemu, self._vhost):
            if process is not None:
                end(process, _GRACE)
        self._qemu = self._vhost = None

    def tail(self) -> str:
        """The end of the console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        lines = "".join(c if c.isprintable() or c == "\n" else "?" for c in text).splitlines()[
            -_CONSOLE_TAIL:
        ]
        return "\n".join(["--- console ---", *lines, "--- end of console ---"])

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline or (self._vhost is not None and self._vhost.poll() is not None):
                log = (self._directory / "vhost.log").read_text(errors="replace")
                raise MachineError(f"{what} did not start: {log[-2000:]}")
            time.sleep(0.01)


def _hang_up(qemu: subprocess.Popen[bytes], vhost: subprocess.Popen[bytes]) -> None:
    """A hypervisor resets the connections of a machine that has ended; vhost-device-vsock would keep them for the next one."""
    qemu.wait()
    vhost.kill()
