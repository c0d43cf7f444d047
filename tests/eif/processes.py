"""Processes that do not outlive the tests, however those end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

# The kernel sends the signal when the *thread* ends that started the process (prctl(2)); this one ends with the interpreter.
_SPAWNER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


def spawn(command: Sequence[object], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that the kernel kills when this process ends.

    :param options: as for `subprocess.Popen`; standard input is empty.
    """
    words = ["setpriv", "--pdeathsig", "KILL", *map(str, command)]
    return _SPAWNER.submit(subprocess.Popen, words, stdin=subprocess.DEVNULL, **options).result()


def end(process: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM, and SIGKILL after ``grace`` seconds. May be called again."""
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
