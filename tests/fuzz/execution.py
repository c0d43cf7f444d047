"""Run a target once, and tell a refusal from a finding."""

from __future__ import annotations

import re
import time

from tests.fuzz.targets import Target


class Finding(Exception):  # noqa: N818
    """A target raised something that it does not declare, or accepted what it must not."""

    def __init__(self, target: Target, data: bytes, error: BaseException) -> None:
        super().__init__(
            f"{target.name}: {type(error).__name__}: {error}\ninput ({len(data)} bytes): {data.hex()}"
        )
        self.data = data


def execute(target: Target, data: bytes) -> str | None:
    """``None`` if ``data`` was accepted, else a text that is the same for refusals of the same kind.

    :raises Finding: neither. Panics of the native core arrive as ``BaseException``.
    """
    try:
        target.run(data)
    except KeyboardInterrupt:
        raise
    except target.refusals as refusal:
        said = re.sub(r"'[^']*'|`[^`]*`|\"[^\"]*\"|0x\w+|[0-9a-f]{8,}|\d+", "_", str(refusal))
        return f"{type(refusal).__name__} {getattr(refusal, 'code', '')} {said[:120]}"
    except BaseException as error:
        raise Finding(target, data, error) from error
    return None


def execute_within_bounds(target: Target, data: bytes) -> str | None:
    """Like ``execute``, and a finding as well if ``data`` costs more CPU time of this thread than the target allows.

    What is too slow once is tried again: only the fastest of four runs counts, so that a busy machine is no finding.
    """
    outcome, spent = _timed(target, data)
    if target.cpu_ms is not None and spent > target.cpu_ms:
        spent = min(_timed(target, data)[1] for _ in range(3))
        if spent > target.cpu_ms:
            error = TimeoutError(f"{spent:.0f} ms of CPU; allowed are {target.cpu_ms:g}")
            raise Finding(target, data, error) from error
    return outcome


def _timed(target: Target, data: bytes) -> tuple[str | None, float]:
    started = time.thread_time()
    outcome = execute(target, data)
    return outcome, (time.thread_time() - started) * 1000
