"""How things are measured: CPU time of the calling thread, the median of several batches, on one core."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BATCHES = 9


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    :ivar value: in ``unit``.
    :ivar target: upper bound in ``unit`` (lower bound with ``at_least``), or ``None``.
    """

    stage: str
    what: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def pin_to_one_core() -> int:
    """Keep this thread, and what it starts from now on, on one core; returns its number."""
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def cpu_ms(work: Callable[[], object], *, repeat: int) -> float:
    """Median over batches of the CPU milliseconds of one call of ``work`` in this thread."""
    work()
    gc.collect()
    samples = []
    for _ in range(BATCHES):
        started = time.thread_time()
        for _ in range(repeat):
            work()
        samples.append((time.thread_time() - started) / repeat * 1000)
    return statistics.median(samples)


def split_cpu_ms(play: Callable[[], dict[str, float]], *, repeat: int) -> dict[str, float]:
    """Median CPU milliseconds for each part of a protocol run; ``play`` returns seconds by part."""
    play()
    gc.collect()
    runs = [play() for _ in range(repeat)]
    return {part: statistics.median(run[part] for run in runs) * 1000 for part in runs[0]}


class Stopwatch:
    """Adds CPU time of this thread up, by name of the part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._part = ""
        self._started = 0.0

    def __call__(self, part: str) -> Stopwatch:
        self._part = part
        return self

    def __enter__(self) -> None:
        self._started = time.thread_time()

    def __exit__(self, *_: object) -> None:
        elapsed = time.thread_time() - self._started
        self.seconds[self._part] = self.seconds.get(self._part, 0.0) + elapsed


def yardstick_ms() -> float:
    """One Ed25519 verification by the ``cryptography`` library: what figures of different machines can be compared by."""
    key = Ed25519PrivateKey.generate()
    signature = key.sign(b"yardstick")
    public = key.public_key()
    return cpu_ms(lambda: public.verify(signature, b"yardstick"), repeat=200)
