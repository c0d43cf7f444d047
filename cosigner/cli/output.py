"""What commands print: one JSON object with ``--json``, else lines for a person; progress goes to standard error."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from protocol.envelope.errors import CosignerError

_SILENCE: Final = 1.0  # seconds before a step says that it is still at work


class Output:
    """Prints results, progress and errors.

    :param as_json: one JSON object on standard output and nothing else.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def result(self, data: Mapping[str, object], lines: list[str]) -> None:
        """Print ``data`` as JSON, or ``lines``."""
        print(json.dumps(data, indent=2) if self._as_json else "\n".join(lines), flush=True)

    def note(self, line: str) -> None:
        """Tell a person something that is not the result, on standard error."""
        print(line, file=sys.stderr, flush=True)

    def error(self, error: CosignerError) -> None:
        """Print an error: code, what happened, who caused it and what to do."""
        step = getattr(error, "step", None)
        if self._as_json:
            body = {
                "code": error.code,
                "message": error.message,
                "culprit": error.culprit.value,
                "reaction": error.reaction.value,
            }
            print(json.dumps({"error": body | ({"step": step} if step else {})}, indent=2), flush=True)
            return
        print(f"error: {error.message}", file=sys.stderr)
        where = f", failing step {step}" if step else ""
        print(f"       code {error.code}, caused by the {error.culprit.value}{where}", file=sys.stderr)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show that ``what`` is under way if it takes longer than a second."""
        finished = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(what, finished), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()

    def _watch(self, what: str, finished: threading.Event) -> None:
        started = time.monotonic()
        if finished.wait(_SILENCE):
            return
        if not sys.stderr.isatty():
            print(f"{what} …", file=sys.stderr, flush=True)
            finished.wait()
            return
        while not finished.is_set():
            elapsed = time.monotonic() - started
            print(f"\r{what} … {elapsed:.0f} s", end="", file=sys.stderr, flush=True)
            finished.wait(_SILENCE)
        print(f"\r{what}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
